/*
 * Any process of hermesd. A door: one end of the socketpair to one
 * neighbour. Messages are fixed structs, some with a tail of bytes, some with
 * a descriptor; messages.def says which process may send what to whom, how
 * long it is, and every receiver checks that. The neighbour is known by the
 * door alone; what it says of itself is not believed.
 *
 * On the socket (SOCK_STREAM): struct ipc_header, the payload struct, the
 * tail, zero bytes up to a multiple of 8. Host byte order: both ends are one
 * binary on one machine.
 */
#ifndef COMMON_IPC_IPC_H
#define COMMON_IPC_IPC_H

#include <stddef.h>
#include <stdint.h>

struct event_base;

/* The five processes; bits, so that a table row can name several. */
enum process {
	PROCESS_PARENT = 1,
	PROCESS_ROUTER = 2,
	PROCESS_KEYD = 4,
	PROCESS_MESH = 8,
	PROCESS_CONTROL = 16
};
#define PROCESS_CHILDREN                                                       \
	(PROCESS_ROUTER | PROCESS_KEYD | PROCESS_MESH | PROCESS_CONTROL)

const char *process_name(enum process process); /* "router" ... */

enum ipc_type {
	IPC_NONE = 0,
#define IPC_MESSAGE(name, from, to, type, tail, fd) IPC_##name,
#include "common/ipc/messages.def"
#undef IPC_MESSAGE
	IPC_TYPE_COUNT
};

struct ipc_header {
	uint32_t length;     /* of payload struct and tail */
	uint16_t type;       /* enum ipc_type */
	uint16_t descriptor; /* 1: one travels with it */
};

/* A tail this long fits one message of the largest size allowed, sealed. */
#define IPC_TAIL_PAYLOAD (16 * 1024 * 1024 + 64)

/* One received message; payload and tail are valid during the call. */
struct ipc_message {
	enum ipc_type type;
	const void *payload; /* the table's struct, 8-aligned */
	const uint8_t *tail;
	size_t tail_length;
	int fd; /* -1, or the receiver's to close */
};

typedef void (*ipc_handler)(void *arg, const struct ipc_message *message);

struct ipc_callbacks {
	/* One function a message type; NULL: this process never gets it. */
	const ipc_handler *handlers; /* [IPC_TYPE_COUNT] */
	/* All messages of one read were handled. May be NULL. */
	void (*batch)(void *arg);
	/* Our queue to the neighbour fell below the low mark. May be NULL. */
	void (*uncongested)(void *arg);
	/*
	 * The door is gone: the neighbour died, or broke the table (reason
	 * says how; it was logged) and must be killed. The door is freed
	 * when this returns. Not called by ipc_free().
	 */
	void (*closed)(void *arg, const char *reason);
};

struct ipc;

/* The reason, by address, when the neighbour closed the door or died. */
extern const char ipc_reason_closed[];

/*
 * Take over fd (made non-blocking, close-on-exec) as the door from self to
 * peer. NULL with errno.
 */
struct ipc *ipc_new(struct event_base *base, int fd, enum process self,
    enum process peer, const struct ipc_callbacks *callbacks, void *arg);
void ipc_free(struct ipc *ipc); /* queued output is lost */

/*
 * Queue a message; it is written, with all others of this turn of the event
 * loop, when the turn ends (or at ipc_flush() on a corked door). payload is
 * the struct the table names, tail may be NULL with 0. It is our own bug, and
 * fatal, to send what the table does not allow. Running out of memory is
 * fatal too: a door that loses messages is worse than a restart.
 */
void ipc_send(struct ipc *ipc, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length);
void ipc_send_fd(struct ipc *ipc, enum ipc_type type, const void *payload,
    int fd); /* owns fd */

/* Two-part form without a copy of the tail: returns where tail_length bytes
 * go; they must be written before the next call on the door. */
uint8_t *ipc_send_tail(struct ipc *ipc, enum ipc_type type, const void *payload,
    size_t tail_length);

/*
 * A corked door writes nothing by itself: keyd queues answers while it works
 * through a batch and flushes after its transaction has committed.
 */
void ipc_cork(struct ipc *ipc, int cork);
void ipc_flush(struct ipc *ipc); /* write now what fits, rest later */

/* Stop reading (1) or go on (0). */
void ipc_pause(struct ipc *ipc, int pause);

/* Bytes queued; whether they are above the high mark (4 MiB; low: 1 MiB). */
size_t ipc_queued(const struct ipc *ipc);
int ipc_congested(const struct ipc *ipc);

/* Bytes written and read so far. */
uint64_t ipc_traffic(const struct ipc *ipc);

/*
 * Send a message and wait, at most timeout_ms, for the first one of type
 * reply, which is copied to reply_payload (the table's size) and not given to
 * its handler. What else arrives meanwhile is handled later, in order. 0, or
 * -1 with errno ETIMEDOUT or EPIPE. For TLS signatures only, which libtls
 * wants at once.
 */
int ipc_call(struct ipc *ipc, enum ipc_type type, const void *payload,
    enum ipc_type reply, void *reply_payload, int timeout_ms);

/* The size of the payload struct of a type, for tests and tools. */
size_t ipc_payload_size(enum ipc_type type);
const char *ipc_type_name(enum ipc_type type);

/* A connected pair of stream sockets for a door, close-on-exec. 0 or -1. */
int ipc_pair(int fds[2]);

#endif
