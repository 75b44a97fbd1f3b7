/*
 * Test. What the tests of doors share: a door of keyd whose other end is a
 * door too or bytes written by hand.
 */
#ifndef REGRESS_UNIT_DOOR_H
#define REGRESS_UNIT_DOOR_H

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/util/clock.h"
#include "common/util/log.h"

#define WAIT_NS (120 * CLOCK_SECOND)
#define LONG_MS 120000 /* for an answer that comes */

static struct {
	struct event_base *base;
	struct ipc *door;  /* the one under test */
	struct ipc *other; /* honest neighbour */
	int raw;           /* or its descriptor */
	unsigned int seen; /* SEAL, APP_DOWN, ... */
	unsigned int batches;
	unsigned int uncongested;
	uint64_t next; /* sequence expected */
	uint8_t tail[70000];
	size_t tail_length;
	int fd;             /* last received */
	const char *closed; /* reason */
	char reason[64];
	int pause_after;
	int call_inside;
	int free_inside;
} t;

static inline void
on_seal(void *arg, const struct ipc_message *message)
{
	const struct ipc_seal *seal = message->payload;

	(void)arg;
	ck_assert_uint_eq((uintptr_t)message->payload % 8, 0);
	ck_assert_uint_eq(seal->sequence, t.next);
	t.next++;
	t.seen++;
	ck_assert_int_eq(message->fd, -1);
	t.tail_length = message->tail_length;
	if (message->tail_length <= sizeof(t.tail))
		memcpy(t.tail, message->tail, message->tail_length);
	if (t.pause_after > 0 && --t.pause_after == 0)
		ipc_pause(t.door, 1);
	if (t.free_inside) {
		ipc_free(t.door);
		t.door = NULL;
	}
}

static inline void
on_sign_digest(void *arg, const struct ipc_message *message)
{
	const struct ipc_sign_digest *question = message->payload;
	struct ipc_signed_digest answer = { .length = 1 };

	answer.signature[0] = question->digest[0];
	ipc_send(*(struct ipc **)arg, IPC_SIGNED_DIGEST, &answer, NULL, 0);
}

static inline void
on_passphrase(void *arg, const struct ipc_message *message)
{
	(void)arg;
	ck_assert_int_ne(message->fd, -1);
	ck_assert_int_eq(fcntl(message->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	t.seen++;
	if (t.fd != -1)
		(void)close(t.fd);
	t.fd = message->fd;
}

/* The router's side: OPENED from keyd, perhaps calling keyd meanwhile. */
static inline void
on_opened(void *arg, const struct ipc_message *message)
{
	const struct ipc_opened *opened = message->payload;
	struct ipc_sign_digest question = { .length = 32 };
	struct ipc_signed_digest answer;
	uint64_t before = opened->sequence;

	ck_assert_uint_eq(opened->sequence, t.next);
	ck_assert_uint_eq(message->tail[0], (uint8_t)t.next);
	t.next++;
	t.seen++;
	if (t.call_inside == 0)
		return;
	t.call_inside--;
	question.digest[0] = (uint8_t)before;
	ck_assert_int_eq(ipc_call(*(struct ipc **)arg, IPC_SIGN_DIGEST,
			     &question, IPC_SIGNED_DIGEST, &answer, LONG_MS),
	    0);
	ck_assert_uint_eq(answer.signature[0], (uint8_t)before);
	/* The message is still what it was. */
	ck_assert_uint_eq(opened->sequence, before);
	ck_assert_uint_eq(message->tail[0], (uint8_t)before);
}

static inline void
on_batch(void *arg)
{
	(void)arg;
	t.batches++;
}

static inline void
on_uncongested(void *arg)
{
	(void)arg;
	t.uncongested++;
}

static inline void
on_closed(void *arg, const char *reason)
{
	(void)arg;
	strlcpy(t.reason, reason, sizeof(t.reason));
	t.closed = reason;
	t.door = NULL;
}

static const ipc_handler keyd_handlers[IPC_TYPE_COUNT] = { [IPC_SEAL] = on_seal,
	[IPC_SIGN_DIGEST] = on_sign_digest,
	[IPC_PASSPHRASE] = on_passphrase };

static const ipc_handler router_handlers[IPC_TYPE_COUNT] = { [IPC_OPENED] =
								 on_opened };

static const struct ipc_callbacks keyd_callbacks = { keyd_handlers, on_batch,
	on_uncongested, on_closed };

static const struct ipc_callbacks router_callbacks = { router_handlers,
	on_batch, on_uncongested, on_closed };

/* keyd's door to peer; the other end is raw, blocking. */
static inline void
open_raw(enum process peer)
{
	int fds[2];

	memset(&t, 0, sizeof(t));
	t.fd = -1;
	t.next = 1;
	t.base = event_base_new();
	ck_assert_int_eq(ipc_pair(fds), 0);
	t.door = ipc_new(
	    t.base, fds[0], PROCESS_KEYD, peer, &keyd_callbacks, &t.door);
	ck_assert_ptr_nonnull(t.door);
	t.raw = fds[1];
	ck_assert_int_eq(fcntl(t.raw, F_SETFL, 0), 0);
}

static inline void
open_pair(void)
{
	open_raw(PROCESS_ROUTER);
	t.other = ipc_new(t.base, t.raw, PROCESS_ROUTER, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	ck_assert_ptr_nonnull(t.other);
}

static inline void
close_all(void)
{
	ipc_free(t.door);
	if (t.other != NULL)
		ipc_free(t.other);
	else
		(void)close(t.raw);
	if (t.fd != -1)
		(void)close(t.fd);
	event_base_free(t.base);
}

static inline int
fd_count(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return (n - 1);
}

/* Turn the loop until *counter is at least n or the door closed. */
static inline void
run_until(const unsigned int *counter, unsigned int n)
{
	int64_t end = clock_monotonic() + WAIT_NS;

	while (*counter < n && t.closed == NULL) {
		ck_assert_msg(clock_monotonic() < end, "waited in vain");
		ck_assert_int_ne(event_base_loop(t.base, EVLOOP_ONCE), -1);
	}
}

static inline void
run_until_closed(void)
{
	unsigned int never = 0;

	run_until(&never, 1);
}

/* What there is to do now, without waiting for more. */
static inline void
run_now(void)
{
	int i;

	for (i = 0; i < 3; i++)
		(void)event_base_loop(t.base, EVLOOP_NONBLOCK);
}

/* Build a frame; its size. */
static inline size_t
frame(uint8_t *out, enum ipc_type type, size_t payload, size_t tail,
    unsigned int descriptor)
{
	struct ipc_header header;
	size_t size;

	header.length = (uint32_t)(payload + tail);
	header.type = (uint16_t)type;
	header.descriptor = (uint16_t)descriptor;
	size = sizeof(header) + ((payload + tail + 7) & ~(size_t)7);
	memset(out, 0, size);
	memcpy(out, &header, sizeof(header));
	return (size);
}

static inline size_t
seal_frame(uint8_t *out, uint64_t sequence, size_t tail)
{
	struct ipc_seal seal;
	size_t size = frame(out, IPC_SEAL, sizeof(seal), tail, 0);

	memset(&seal, 0, sizeof(seal));
	seal.sequence = sequence;
	memcpy(out + sizeof(struct ipc_header), &seal, sizeof(seal));
	memset(out + sizeof(struct ipc_header) + sizeof(seal), 0xa5, tail);
	return (size);
}

static inline void
put(const void *bytes, size_t length)
{
	ck_assert_int_eq(
	    send(t.raw, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
}

/* Send bytes with count descriptors in one control message. */
static inline void
put_fds(const void *bytes, size_t length, int count)
{
	uint8_t control[CMSG_SPACE(64 * sizeof(int))] = { 0 };
	struct cmsghdr *cmsg;
	struct iovec iov = { (void *)(uintptr_t)bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int i, null;

	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	msg.msg_control = control;
	msg.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
	for (i = 0; i < count; i++)
		memcpy(CMSG_DATA(cmsg) + (size_t)i * sizeof(int), &null,
		    sizeof(int));
	ck_assert_int_eq(sendmsg(t.raw, &msg, MSG_NOSIGNAL), (ssize_t)length);
	(void)close(null);
}

/* The door must close, saying why, with nothing handled. */
static inline void
expect_broken(const char *reason)
{
	run_until_closed();
	ck_assert_str_eq(t.reason, reason);
	ck_assert_uint_eq(t.seen, 0);
}

#endif
