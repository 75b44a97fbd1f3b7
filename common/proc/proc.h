/*
 * Any child of hermesd: the frame that the four children share. A child is
 * the same binary, executed anew with the parent's door as descriptor 3; it
 * gets everything else (config, doors, listeners) through that door, already
 * under its own user and without privileges.
 */
#ifndef COMMON_PROC_PROC_H
#define COMMON_PROC_PROC_H

#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/util/log.h"

struct event_base;

#define PROC_PARENT_FD 3

/* The arg of every ipc_handler of a child. */
struct proc_door {
	enum process peer; /* who sent it: the door says so */
	struct ipc *ipc;
};

/* What a child's main file gives. Any hook may be NULL. */
struct proc_hooks {
	/* Messages of this process's own; arg is the sender's proc_door. */
	const ipc_handler *handlers; /* [IPC_TYPE_COUNT] */
	/* The last moment outside the sandbox: read what of the system's
	 * files is needed later. */
	void (*prepare)(void);
	/* A batch from peer was handled. */
	void (*batch)(enum process peer);
	void (*uncongested)(enum process peer);
	/* First configuration, or a new one (reload 1). */
	void (*configured)(const struct config *config, int reload);
	void (*listener)(enum listener_kind kind, uint32_t index, int fd);
	void (*listeners_close)(void);
	void (*tls_file)(int fd);
	/* A neighbour came (first or anew) or went. Not for the parent. */
	void (*door_up)(enum process peer, struct ipc *ipc);
	void (*door_down)(enum process peer);
	/* Everything is here: start serving. READY is sent for it. */
	void (*go)(void);
	/* Answers the parent's ping; NULL: it serves. */
	enum ipc_condition (*condition)(void);
	/* Stop in order within grace ns, then call proc_done(). */
	void (*shutdown)(int64_t grace);
	/* Last act before any exit, also fatal(): wipe secrets. */
	void (*wipe)(void);
};

/*
 * Where a child logs: stderr when foreground is not 0, and every level when
 * verbose is not 0, until the configuration comes. Before proc_run().
 */
void proc_set_log(int foreground, int verbose);

/* Where config sends the log of a process with a standard error or without. */
enum log_target proc_log_target(const struct config *config, int foreground);
/* Log as config says; a socket is given with log_set_target() after it. */
void proc_apply_log(const struct config *config, int foreground);

/*
 * Run the child until it is told to stop: names the log, makes sure no
 * privileges are left, forbids core dumps and ptrace, reads the parent's
 * door, enters the sandbox with the first configuration. A closed parent's door (the parent died) or a closed door to keyd
 * ends the process at once, wiped, status 1; but control, which has nothing
 * to wipe and answers operators to the end, goes on without keyd until the
 * parent says otherwise. Returns the exit status.
 */
int proc_run(enum process self, const struct proc_hooks *hooks);

struct event_base *proc_base(void);
const struct config *proc_config(void);
struct ipc *proc_ipc(enum process peer); /* NULL while it is down */

/*
 * The neighbour broke the rules: nothing more is read from it, proc_ipc() is
 * NULL from now on, the parent is told to kill it. door_down is called before
 * the turn of the event loop ends, not inside this call.
 */
void proc_broken(enum process peer, const char *why);

/* The shutdown hook has finished: tell the parent, leave the loop, exit 0. */
void proc_done(void);

/* Entry points, one a process, called by control/hermesd.c. */
int router_main(void);
int keyd_main(void);
int mesh_main(void);
int control_main(void);

#endif
