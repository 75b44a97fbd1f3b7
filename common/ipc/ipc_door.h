/*
 * Any process of hermesd. The inside of a door, shared by ipc.c, ipc_input.c
 * and ipc_output.c only.
 */
#ifndef COMMON_IPC_IPC_DOOR_H
#define COMMON_IPC_IPC_DOOR_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/util/buffer.h"

#define IPC_READ_SIZE (256 * 1024)
#define IPC_HIGH_MARK (4 * 1024 * 1024)
#define IPC_LOW_MARK  (1024 * 1024)
#define IPC_KEEP_SIZE (4 * 1024 * 1024) /* larger buffers are freed */

/* A row of messages.def. */
struct ipc_row {
	const char *name;
	unsigned int from; /* enum process bits */
	unsigned int to;
	size_t size; /* of the payload struct */
	size_t tail; /* longest */
	unsigned int descriptor;
};

extern const struct ipc_row ipc_rows[IPC_TYPE_COUNT];

/* A descriptor on its way; position: of its frame in the stream. */
struct ipc_fd {
	TAILQ_ENTRY(ipc_fd) entry;
	uint64_t position;
	int fd;
};
TAILQ_HEAD(ipc_fds, ipc_fd);

struct ipc {
	int fd;
	enum process self;
	enum process peer;
	struct ipc_callbacks callbacks;
	void *arg;

	struct event *readable; /* persistent */
	struct event *writable; /* once */
	struct event *deferred; /* end of this turn */

	struct buffer in;
	size_t checked;        /* bytes of in: whole frames */
	unsigned int expected; /* descriptors of those */
	unsigned int arrived;  /* descriptors in fds_in */
	struct ipc_fds fds_in;
	uint8_t *held; /* input a handler looks at */

	struct buffer out;
	size_t released;  /* of out: may be written */
	uint64_t written; /* bytes of the stream */
	uint64_t taken;   /* and of the other one */
	struct ipc_fds fds_out;

	/* Replies of each type that nobody waits for any more. */
	uint16_t late[IPC_TYPE_COUNT];

	int out_dead; /* nobody reads any more */
	int corked;
	int paused;
	int congested;
	int relieved; /* uncongested is due */
	int dispatching;
	int freed;        /* free it after dispatch */
	const char *gone; /* why the door must close */
};

/* Bytes a frame takes with length bytes of payload and tail. */
static inline size_t
ipc_frame_size(size_t length)
{
	return (sizeof(struct ipc_header) + ((length + 7) & ~(size_t)7));
}

/* Forget and close all descriptors of a list. */
void ipc_fds_close(struct ipc_fds *fds);

/*
 * Read once and check what came. 1: something came; 0: nothing there now;
 * -1: the door is gone, ipc->gone says why.
 */
int ipc_input_read(struct ipc *ipc);

/* Handle the checked messages until the door is paused or freed. */
void ipc_input_dispatch(struct ipc *ipc);

/*
 * The reply to an ipc_call() among the messages from *scan on: copied out,
 * struck from the input, 1. 0 when it is not there; *scan is then where to
 * go on.
 */
int ipc_input_find(
    struct ipc *ipc, size_t *scan, enum ipc_type reply, void *payload);

/* Make the input safe to read into while a handler looks at a message. */
void ipc_input_hold(struct ipc *ipc);

/* Write what is released and fits. 0, or -1 and ipc->gone. */
int ipc_output_write(struct ipc *ipc);

#endif
