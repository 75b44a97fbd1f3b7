/*
 * Tests only. A door of common/ipc fed bytes in pieces, with descriptors:
 * however they are cut, the same messages come out in the same order, all of
 * them as the table has them, and then, perhaps, the end.
 */

#include <sys/socket.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/ipc/ipc_door.h"
#include "common/ipc/messages.h"
#include "regress/fuzz/fuzz.h"

#define MESSAGES 256

struct run {
	uint8_t hashes[MESSAGES][KEY_SIZE];
	size_t count;
	int closed;
	int pause_at; /* stop reading after that many, once */
	struct ipc *ipc;
};

static struct event_base *base;

static void
on_message(void *arg, const struct ipc_message *message)
{
	const struct ipc_row *row = &ipc_rows[message->type];
	struct run *run = arg;
	crypto_generichash_state state;

	FUZZ_CHECK(row->from & PROCESS_PARENT && row->to & PROCESS_KEYD);
	FUZZ_CHECK(message->tail_length <= row->tail);
	FUZZ_CHECK((uintptr_t)message->payload % 8 == 0);
	FUZZ_CHECK((message->fd != -1) == (row->descriptor != 0));
	if (message->fd != -1)
		(void)close(message->fd);
	(void)crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)row->name, strlen(row->name));
	(void)crypto_generichash_update(&state, message->payload, row->size);
	(void)crypto_generichash_update(
	    &state, message->tail, message->tail_length);
	if (run->count < MESSAGES)
		(void)crypto_generichash_final(
		    &state, run->hashes[run->count++], KEY_SIZE);
	if (run->pause_at > 0 && --run->pause_at == 0)
		ipc_pause(run->ipc, 1);
}

static void
on_closed(void *arg, const char *reason)
{
	struct run *run = arg;

	(void)reason;
	run->closed = 1;
	run->ipc = NULL;
}

static void
write_piece(int fd, const uint8_t *bytes, size_t length, int descriptors)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	int fds[2] = { STDERR_FILENO, STDERR_FILENO };
	size_t size = (size_t)descriptors * sizeof(int);

	if (descriptors > 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(size);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(cmsg), fds, size);
	}
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The input: bytes of the stream, cut as cuts says; 0: in one piece. */
static void
run(struct run *out, struct input stream, struct input cuts)
{
	static ipc_handler handlers[IPC_TYPE_COUNT];
	struct ipc_callbacks callbacks = { .handlers = handlers,
		.closed = on_closed };
	const uint8_t *at;
	size_t i, n;
	int fds[2], how, whole = cuts.left == 0;

	for (i = 0; i < IPC_TYPE_COUNT; i++)
		handlers[i] = i == IPC_NONE ? NULL : on_message;
	FUZZ_CHECK(ipc_pair(fds) == 0);
	out->ipc = ipc_new(
	    base, fds[0], PROCESS_KEYD, PROCESS_PARENT, &callbacks, out);
	FUZZ_CHECK(out->ipc != NULL);
	while (stream.left > 0) {
		how = input_u8(&cuts);
		n = whole || cuts.left == 0 ? stream.left
					    : 1 + (size_t)how % 64;
		n = input_span(&stream, n, &at);
		write_piece(
		    fds[1], at, n, whole || how < 0xe0 ? 0 : 1 + (how == 0xff));
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		if (out->ipc != NULL && how == 0x11)
			ipc_pause(out->ipc, 0);
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
	}
	if (out->ipc != NULL)
		ipc_pause(out->ipc, 0);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	(void)close(fds[1]);
	for (i = 0; i < 10 && out->ipc != NULL; i++) {
		ipc_pause(out->ipc, 0);
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
	}
	FUZZ_CHECK(out->closed && out->ipc == NULL);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(4);
	base = event_base_new();
	return (0);
}

/* Byte 0: how many bytes of cuts follow; type bytes are brought into range,
 * so that random bytes are messages often enough. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run cut, whole;
	struct input input = { data, size }, cuts = { NULL, 0 };
	struct input stream = { NULL, 0 };
	uint8_t how = input_u8(&input);
	size_t i;

	memset(&cut, 0, sizeof(cut));
	memset(&whole, 0, sizeof(whole));
	cuts.left = input_span(&input, how & 0x1f, &cuts.at);
	stream.left = input_span(&input, SIZE_MAX, &stream.at);
	cut.pause_at = how >> 5;
	run(&cut, stream, cuts);
	run(&whole, stream, (struct input){ NULL, 0 });
	/* What comes in one piece with a broken frame is not looked at; a
	 * descriptor that came along may have ended the other earlier. */
	for (i = 0; i < cut.count && i < whole.count; i++)
		FUZZ_CHECK(
		    memcmp(cut.hashes[i], whole.hashes[i], KEY_SIZE) == 0);
	return (0);
}
