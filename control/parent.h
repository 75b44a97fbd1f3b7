/*
 * Parent of hermesd, root until set-up and to start children again. The
 * inside of the parent, shared by parent*.c. It reads the configuration, the
 * signals and, from its children, a handful of fixed messages; nothing from
 * the network.
 */
#ifndef CONTROL_PARENT_H
#define CONTROL_PARENT_H

#include <sys/types.h>

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "control/config.h"

#define PARENT_CHILDREN     4
#define PARENT_DEATHS       5 /* of one child in the window ... */
#define PARENT_DEATH_WINDOW (60 * INT64_C(1000000000)) /* ... end us */
#define PARENT_ERROR_SIZE   512
#define PARENT_UNCLEAN      3 /* exit: stopped, but a child died meanwhile */

struct event;
struct event_base;

struct child {
	enum process process;
	const char *user;
	uid_t uid; /* when the parent is root */
	gid_t gid;
	pid_t pid;       /* 0: not running */
	struct ipc *ipc; /* NULL: not running or closed */
	int ready;
	int shut;                     /* it said SHUT: it ends by itself */
	int late;                     /* killed: it took too long to stop */
	uint64_t pinged;              /* the last question */
	uint64_t answered;            /* the last one answered */
	int silent;                   /* it did not in time: logged */
	enum ipc_condition condition; /* as it last said */
	uint64_t restarts;
	int64_t since;                 /* wall clock, of the last change */
	int64_t started;               /* monotonic */
	int64_t deaths[PARENT_DEATHS]; /* monotonic, a ring */
	unsigned int death_count;
	unsigned int backoff; /* restarts without a long life */
	struct event *timer;  /* until the next start */
};

/* In the order of start; stopping has its own. */
enum { CHILD_KEYD, CHILD_MESH, CHILD_ROUTER, CHILD_CONTROL };

struct parent {
	struct event_base *base;
	const char *path; /* of the configuration */
	const struct config_options *options;
	const char *program; /* argv[0] */
	int foreground;
	int verbose;    /* everything is logged, whatever the level */
	int log_socket; /* of syslogd or the journal, or -1 */
	int root;
	int64_t since;           /* wall clock, of our start */
	struct config_file file; /* as written */
	struct config config;    /* ports and names filled in */
	int listeners[LISTEN_KINDS][CONFIG_LISTENERS];
	int passphrase;  /* -1: none, or handed over */
	int certificate; /* -1: keyd makes one */
	int certificate_key;
	struct child children[PARENT_CHILDREN];
	struct event *signals[4];
	struct event *stop_timer;
	struct event *watch; /* asks the children */
	int64_t watch_every; /* ns */
	int watchdog;        /* the service manager wants to be fed */
	char refused[PARENT_ERROR_SIZE]; /* by the last reload; "" */
	int all_ready;                   /* were once */
	int starter; /* who started us waits for a byte here, or -1 */
	int stopping;
	size_t stop_at; /* in the order of stopping */
	int status;     /* to exit with */
};

/* Where the first of several errors is kept, all having been logged. */
struct parent_error {
	char first[PARENT_ERROR_SIZE]; /* "" none */
};

/* --- parent.c ------------------------------------------------------------ */

/*
 * Be the parent until the node ends; returns the exit status. The
 * configuration was not read yet. What options says goes over the file at
 * every reload too.
 */
int parent_run(const char *path, const struct config_options *options,
    const char *program, int foreground, int verbose);

/* The one parent there is, for handlers. */
struct parent *parent_get(void);

/* All children serve, keyd in this condition: let go of who started us. */
void parent_started(struct parent *parent, enum ipc_condition condition);

/* A config_report: log the error, keep the first; arg struct parent_error. */
void parent_report(void *arg, const char *message);

/* --- parent_files.c ------------------------------------------------------ */

/* keyd's folder: there, its own, closed to others. 0, or -1 reported. */
int parent_keystore(struct parent *parent, struct parent_error *error);

/* The passphrase file, -1 in *fd when there is none. 0, or -1 reported. */
int parent_passphrase(
    struct parent *parent, struct parent_error *error, int *fd);

/* Certificate and key as file names them, -1 when it names none; the
 * certificate is one for P-256 and in force. 0, or -1 reported. */
int parent_certificate(const struct config_file *file,
    struct parent_error *error, int *certificate, int *key);

/* --- parent_listen.c ----------------------------------------------------- */

/*
 * Bind what next wants, taking over from parent what stays as it is, into
 * fds. 0, or -1 reported and nothing changed.
 */
int parent_listen(struct parent *parent, const struct config_file *next,
    struct parent_error *error, int fds[LISTEN_KINDS][CONFIG_LISTENERS]);

/* Make fds those of parent, closing the old ones that are not among them. */
void parent_listen_swap(struct parent *parent, const struct config_file *next,
    int fds[LISTEN_KINDS][CONFIG_LISTENERS]);

/* config with the real ports and the endpoints to advertise. */
void parent_effective(const struct parent *parent, struct config *config);

/* Take hermesctl's socket away. */
void parent_unlink(const struct parent *parent);

/* At the end: every address is free again. hermesctl's socket only has no name
 * any more: who waits there for the node to stop is let go by exit(3). */
void parent_unlisten(struct parent *parent);

/* --- parent_child.c ------------------------------------------------------ */

/* Look up the users. 0, or -1 logged. */
int parent_users(struct parent *parent);

/* Start all children, connect them, let them go. */
void parent_start(struct parent *parent);

/* SIGCHLD: collect the dead, start them again or end. */
void parent_reap(struct parent *parent);

/* Hand a child its configuration, listeners and files (again). */
void parent_send_config(struct parent *parent, struct child *child);
void parent_send_listeners(struct parent *parent, struct child *child);
void parent_send_certificate(struct parent *parent, struct child *child);
void parent_send_names(struct child *child); /* to mesh: how it finds nodes */

/* Tell control how child is. */
void parent_state(struct parent *parent, const struct child *child);

/* The child broke the rules or must not live on. */
void parent_kill(struct child *child);

/* --- parent_log.c -------------------------------------------------------- */

/* The log can go where file wants it. 0, or -1 reported. */
int parent_log_check(const struct parent *parent,
    const struct config_file *file, struct parent_error *error);

/* Log as the effective configuration says; sockets are opened anew. */
void parent_log(struct parent *parent);

/* Give a child the socket of the log, if there is one. */
void parent_send_log(struct parent *parent, struct child *child);

/* --- parent_messages.c --------------------------------------------------- */

/* The handlers of what children say; arg struct child. */
extern const ipc_handler parent_handlers[IPC_TYPE_COUNT];

/* Read the configuration again; 0, or -1 and the old one goes on. line is
 * for the operator. */
int parent_reload(struct parent *parent, char *line, size_t size);

/* --- parent_stop.c ------------------------------------------------------- */

/* Stop in order and exit with status. */
void parent_stop(struct parent *parent, int status);

/* A child is gone while stopping; clean: it exited 0. */
void parent_stopped(struct parent *parent, struct child *child, int clean);

/* Kill all children, collect them, exit with status. */
void parent_end(struct parent *parent, int status) __attribute__((noreturn));

/* --- parent_watch.c ------------------------------------------------------ */

/* Before the children start: is there a service manager, how often does it
 * want to be fed. */
void parent_watch_init(struct parent *parent);

/* All children serve for the first time: from now on they are asked. */
void parent_watch_start(struct parent *parent);

/* A child is new or gone. */
void parent_watch_reset(struct parent *parent, struct child *child);

/* The answer of a child; a handler, arg struct child. */
void parent_on_pong(void *arg, const struct ipc_message *message);

/*
 * Tell the service manager, if there is one: assignments of sd_notify(3),
 * "READY=1", "" for none, and with them, on a line of its own, how the node
 * is.
 */
void parent_notify(struct parent *parent, const char *state);

#endif
