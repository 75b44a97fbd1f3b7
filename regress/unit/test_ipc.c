/*
 * Test. A door against a neighbour that is honest, slow, or hostile: one end
 * is a door, the other is a door too or bytes written by hand.
 */

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

#define WAIT_NS		(20 * CLOCK_SECOND)

static struct {
	struct event_base	*base;
	struct ipc		*door;		/* the one under test */
	struct ipc		*other;		/* honest neighbour */
	int			 raw;		/* or its descriptor */
	unsigned int		 seen;		/* SEAL, APP_DOWN, ... */
	unsigned int		 batches;
	unsigned int		 uncongested;
	uint64_t		 next;		/* sequence expected */
	uint8_t			 tail[70000];
	size_t			 tail_length;
	int			 fd;		/* last received */
	const char		*closed;	/* reason */
	char			 reason[64];
	int			 pause_after;
	int			 call_inside;
	int			 free_inside;
} t;

static void
on_seal(void *arg, const struct ipc_message *message)
{
	const struct ipc_seal	*seal = message->payload;

	(void)arg;
	ck_assert_uint_eq((uintptr_t)message->payload % 8, 0);
	ck_assert_uint_eq(seal->sequence, t.next);
	t.next++;
	t.seen++;
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

static void
on_sign_digest(void *arg, const struct ipc_message *message)
{
	const struct ipc_sign_digest	*question = message->payload;
	struct ipc_signed_digest	 answer = { .length = 1 };

	answer.signature[0] = question->digest[0];
	ipc_send(*(struct ipc **)arg, IPC_SIGNED_DIGEST, &answer, NULL, 0);
}

static void
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
static void
on_opened(void *arg, const struct ipc_message *message)
{
	const struct ipc_opened		*opened = message->payload;
	struct ipc_sign_digest		 question = { .length = 32 };
	struct ipc_signed_digest	 answer;
	uint64_t			 before = opened->sequence;

	ck_assert_uint_eq(opened->sequence, t.next);
	ck_assert_uint_eq(message->tail[0], (uint8_t)t.next);
	t.next++;
	t.seen++;
	if (t.call_inside == 0)
		return;
	t.call_inside--;
	question.digest[0] = (uint8_t)before;
	ck_assert_int_eq(ipc_call(*(struct ipc **)arg, IPC_SIGN_DIGEST,
	    &question, IPC_SIGNED_DIGEST, &answer, 5000), 0);
	ck_assert_uint_eq(answer.signature[0], (uint8_t)before);
	/* The message is still what it was. */
	ck_assert_uint_eq(opened->sequence, before);
	ck_assert_uint_eq(message->tail[0], (uint8_t)before);
}

static void
on_batch(void *arg)
{
	(void)arg;
	t.batches++;
}

static void
on_uncongested(void *arg)
{
	(void)arg;
	t.uncongested++;
}

static void
on_closed(void *arg, const char *reason)
{
	(void)arg;
	strlcpy(t.reason, reason, sizeof(t.reason));
	t.closed = reason;
	t.door = NULL;
}

static const ipc_handler keyd_handlers[IPC_TYPE_COUNT] = {
	[IPC_SEAL] = on_seal,
	[IPC_SIGN_DIGEST] = on_sign_digest,
	[IPC_PASSPHRASE] = on_passphrase
};

static const ipc_handler router_handlers[IPC_TYPE_COUNT] = {
	[IPC_OPENED] = on_opened
};

static const struct ipc_callbacks keyd_callbacks = {
	keyd_handlers, on_batch, on_uncongested, on_closed
};

static const struct ipc_callbacks router_callbacks = {
	router_handlers, on_batch, on_uncongested, on_closed
};

/* keyd's door to peer; the other end is raw, blocking. */
static void
open_raw(enum process peer)
{
	int	fds[2];

	memset(&t, 0, sizeof(t));
	t.fd = -1;
	t.next = 1;
	t.base = event_base_new();
	ck_assert_int_eq(ipc_pair(fds), 0);
	t.door = ipc_new(t.base, fds[0], PROCESS_KEYD, peer, &keyd_callbacks,
	    &t.door);
	ck_assert_ptr_nonnull(t.door);
	t.raw = fds[1];
	ck_assert_int_eq(fcntl(t.raw, F_SETFL, 0), 0);
}

static void
open_pair(void)
{
	open_raw(PROCESS_ROUTER);
	t.other = ipc_new(t.base, t.raw, PROCESS_ROUTER, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	ck_assert_ptr_nonnull(t.other);
}

static void
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

static int
fd_count(void)
{
	struct dirent	*entry;
	DIR		*dir = opendir("/proc/self/fd");
	int		 n = 0;

	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return (n - 1);
}

/* Turn the loop until *counter is at least n or the door closed. */
static void
run_until(const unsigned int *counter, unsigned int n)
{
	int64_t	end = clock_monotonic() + WAIT_NS;

	while (*counter < n && t.closed == NULL) {
		ck_assert_msg(clock_monotonic() < end, "waited in vain");
		ck_assert_int_ne(event_base_loop(t.base, EVLOOP_ONCE), -1);
	}
}

static void
run_until_closed(void)
{
	unsigned int	never = 0;

	run_until(&never, 1);
}

/* What there is to do now, without waiting for more. */
static void
run_now(void)
{
	int	i;

	for (i = 0; i < 3; i++)
		(void)event_base_loop(t.base, EVLOOP_NONBLOCK);
}

/* Build a frame; its size. */
static size_t
frame(uint8_t *out, enum ipc_type type, size_t payload, size_t tail,
    unsigned int descriptor)
{
	struct ipc_header	header;
	size_t			size;

	header.length = (uint32_t)(payload + tail);
	header.type = (uint16_t)type;
	header.descriptor = (uint16_t)descriptor;
	size = sizeof(header) + ((payload + tail + 7) & ~(size_t)7);
	memset(out, 0, size);
	memcpy(out, &header, sizeof(header));
	return (size);
}

static size_t
seal_frame(uint8_t *out, uint64_t sequence, size_t tail)
{
	struct ipc_seal	seal;
	size_t		size = frame(out, IPC_SEAL, sizeof(seal), tail, 0);

	memset(&seal, 0, sizeof(seal));
	seal.sequence = sequence;
	memcpy(out + sizeof(struct ipc_header), &seal, sizeof(seal));
	memset(out + sizeof(struct ipc_header) + sizeof(seal), 0xa5, tail);
	return (size);
}

static void
put(const void *bytes, size_t length)
{
	ck_assert_int_eq(send(t.raw, bytes, length, MSG_NOSIGNAL),
	    (ssize_t)length);
}

/* Send bytes with count descriptors in one control message. */
static void
put_fds(const void *bytes, size_t length, int count)
{
	uint8_t		 control[CMSG_SPACE(64 * sizeof(int))] = { 0 };
	struct cmsghdr	*cmsg;
	struct iovec	 iov = { (void *)(uintptr_t)bytes, length };
	struct msghdr	 msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int		 i, null;

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
static void
expect_broken(const char *reason)
{
	run_until_closed();
	ck_assert_str_eq(t.reason, reason);
	ck_assert_uint_eq(t.seen, 0);
}

START_TEST(test_short_and_long)
{
	static uint8_t	bytes[100000];
	size_t		size, tails[] = { 0, 1, 7, 8, 9, 255, 65536 }, i;

	open_raw(PROCESS_ROUTER);
	for (i = 0; i < 7; i++) {
		size = seal_frame(bytes, i + 1, tails[i]);
		put(bytes, size);
		run_until(&t.seen, (unsigned int)i + 1);
		ck_assert_uint_eq(t.tail_length, tails[i]);
		if (tails[i] > 0)
			ck_assert_uint_eq(t.tail[tails[i] - 1], 0xa5);
	}
	ck_assert_ptr_null(t.closed);
	close_all();
}
END_TEST

START_TEST(test_split_at_every_byte)
{
	uint8_t	bytes[1024];
	size_t	size, at;

	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 21);
	for (at = 1; at < size; at++) {
		(void)seal_frame(bytes, at, 21);
		put(bytes, at);
		run_now();
		ck_assert_uint_eq(t.seen, at - 1);
		put(bytes + at, size - at);
		run_until(&t.seen, (unsigned int)at);
	}
	/* One byte at a time. */
	(void)seal_frame(bytes, at, 21);
	for (at = 0; at < size; at++) {
		put(bytes + at, 1);
		run_now();
	}
	run_until(&t.seen, (unsigned int)size);
	ck_assert_ptr_null(t.closed);
	close_all();
}
END_TEST

START_TEST(test_merged)
{
	uint8_t	bytes[8192];
	size_t	size = 0;
	int	i;

	open_raw(PROCESS_ROUTER);
	for (i = 1; i <= 20; i++)
		size += seal_frame(bytes + size, (uint64_t)i, (size_t)i);
	put(bytes, size);
	run_until(&t.seen, 20);
	ck_assert_uint_eq(t.batches, 1);
	close_all();
}
END_TEST

/*
 * L23: what a sender says of itself counts for nothing; the door decides.
 * Each of these is a message that some neighbour may send to keyd, on the
 * door of one that may not.
 */
START_TEST(test_L23_sender_that_lies)
{
	static const struct {
		enum process	peer;
		enum ipc_type	type;
	} lies[] = {
		{ PROCESS_ROUTER, IPC_OPEN },
		{ PROCESS_ROUTER, IPC_SETUP_IN },
		{ PROCESS_ROUTER, IPC_MEMBERSHIP },
		{ PROCESS_ROUTER, IPC_PASSPHRASE },
		{ PROCESS_ROUTER, IPC_ERASE },
		{ PROCESS_ROUTER, IPC_SHUTDOWN },
		{ PROCESS_ROUTER, IPC_CONFIG },
		{ PROCESS_MESH, IPC_SEAL },
		{ PROCESS_MESH, IPC_CHAT_START },
		{ PROCESS_MESH, IPC_CHALLENGE },
		{ PROCESS_MESH, IPC_DOOR },
		{ PROCESS_CONTROL, IPC_SEAL },
		{ PROCESS_CONTROL, IPC_SIGN_DIGEST },
		{ PROCESS_CONTROL, IPC_GO },
		{ PROCESS_PARENT, IPC_SEAL },
		{ PROCESS_PARENT, IPC_MESH_CREATE }
	};
	uint8_t	bytes[65536];
	size_t	size, i;

	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		open_raw(lies[i].peer);
		size = frame(bytes, lies[i].type,
		    ipc_payload_size(lies[i].type), 0,
		    lies[i].type == IPC_PASSPHRASE ||
		    lies[i].type == IPC_DOOR);
		ck_assert_uint_le(size, sizeof(bytes));
		put(bytes, size);
		expect_broken("not its message to send");
		close_all();
	}
	/* And on the right door it is taken. */
	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	put_fds(bytes, size, 1);
	run_until(&t.seen, 1);
	close_all();
}
END_TEST

/* Every type on every door: taken, or refused, as the table says. */
START_TEST(test_table_is_kept)
{
	static const enum process peers[] = { PROCESS_PARENT, PROCESS_ROUTER,
	    PROCESS_MESH, PROCESS_CONTROL };
	static const struct {
		unsigned int	from, to;
	} rows[IPC_TYPE_COUNT] = {
#define IPC_MESSAGE(name, from, to, type, tail, fd)			\
		[IPC_##name] = { from, to },
#include "common/ipc/messages.def"
#undef IPC_MESSAGE
	};
	uint8_t	bytes[65536];
	size_t	i, type, size;

	for (i = 0; i < 4; i++) {
		for (type = 1; type < IPC_TYPE_COUNT; type++) {
			if ((rows[type].from & (unsigned int)peers[i]) &&
			    (rows[type].to & PROCESS_KEYD))
				continue;
			open_raw(peers[i]);
			size = frame(bytes, (enum ipc_type)type,
			    ipc_payload_size((enum ipc_type)type), 0, 0);
			put(bytes, size);
			expect_broken(rows[type].from &
			    (unsigned int)peers[i] ? "message for another "
			    "process" : "not its message to send");
			close_all();
		}
	}
}
END_TEST

START_TEST(test_wrong_receiver)
{
	uint8_t	bytes[8192];
	size_t	size;

	open_raw(PROCESS_ROUTER);
	size = frame(bytes, IPC_FIND, sizeof(struct ipc_find), 0, 0);
	put(bytes, size);
	expect_broken("message for another process");
	close_all();
}
END_TEST

START_TEST(test_unknown_type)
{
	static const uint16_t	types[] = { 0, IPC_TYPE_COUNT, 999, 65535 };
	uint8_t			bytes[64];
	size_t			i, size;

	for (i = 0; i < 4; i++) {
		open_raw(PROCESS_ROUTER);
		size = frame(bytes, (enum ipc_type)types[i], 8, 0, 0);
		put(bytes, size);
		expect_broken("unknown type");
		close_all();
	}
}
END_TEST

START_TEST(test_unhandled)
{
	uint8_t	bytes[8192];
	size_t	size;

	open_raw(PROCESS_ROUTER);
	size = frame(bytes, IPC_CHALLENGE, sizeof(struct ipc_challenge), 0, 0);
	put(bytes, size);
	expect_broken("message nobody handles");
	close_all();
}
END_TEST

START_TEST(test_length_off_by_one)
{
	static const size_t	exact = sizeof(struct ipc_sign_digest);
	static const size_t	seal = sizeof(struct ipc_seal);
	struct ipc_header	header;
	uint8_t			bytes[8192];
	size_t			size;
	int			d;

	for (d = -1; d <= 1; d += 2) {
		open_raw(PROCESS_ROUTER);
		size = frame(bytes, IPC_SIGN_DIGEST, exact + (size_t)d, 0, 0);
		put(bytes, size);
		expect_broken("wrong length");
		close_all();
	}
	open_raw(PROCESS_ROUTER);
	size = frame(bytes, IPC_SEAL, seal - 1, 0, 0);
	put(bytes, size);
	expect_broken("wrong length");
	close_all();
	/* Too long a tail is refused at its header. */
	open_raw(PROCESS_ROUTER);
	(void)frame(bytes, IPC_SEAL, seal, 0, 0);
	memcpy(&header, bytes, sizeof(header));
	header.length = (uint32_t)seal + IPC_TAIL_PAYLOAD + 1;
	put(&header, sizeof(header));
	expect_broken("wrong length");
	close_all();
	open_raw(PROCESS_ROUTER);
	header.length = UINT32_MAX;
	put(&header, sizeof(header));
	expect_broken("wrong length");
	close_all();
}
END_TEST

START_TEST(test_longest)
{
	struct ipc_seal	 seal = { .sequence = 1 };
	uint8_t		*to;

	open_pair();
	to = ipc_send_tail(t.other, IPC_SEAL, &seal, IPC_TAIL_PAYLOAD);
	memset(to, 0x5a, IPC_TAIL_PAYLOAD);
	ck_assert_int_eq(ipc_congested(t.other), 1);
	run_until(&t.seen, 1);
	ck_assert_uint_eq(t.tail_length, IPC_TAIL_PAYLOAD);
	run_until(&t.uncongested, 1);
	ck_assert_int_eq(ipc_congested(t.other), 0);
	ck_assert_uint_eq(ipc_queued(t.other), 0);
	close_all();
}
END_TEST

START_TEST(test_padding_must_be_zero)
{
	uint8_t	bytes[8192];
	size_t	size;

	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 3);
	bytes[size - 1] = 1;
	put(bytes, size);
	expect_broken("padding is not zero");
	close_all();
}
END_TEST

START_TEST(test_descriptor_flag_must_fit)
{
	uint8_t	bytes[8192];
	size_t	size;

	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 0);
	put(bytes, size);
	expect_broken("wrong descriptor flag");
	close_all();
	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 0);
	bytes[6] = 1;
	put(bytes, size);
	expect_broken("wrong descriptor flag");
	close_all();
	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 2);
	put_fds(bytes, size, 1);
	expect_broken("wrong descriptor flag");
	close_all();
}
END_TEST

START_TEST(test_missing_descriptor)
{
	uint8_t	bytes[8192];
	size_t	size;

	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	put(bytes, size);
	expect_broken("missing descriptor");
	close_all();
	/* Not with the header either: it would have come with its first byte. */
	open_raw(PROCESS_CONTROL);
	put(bytes, sizeof(struct ipc_header));
	expect_broken("missing descriptor");
	close_all();
}
END_TEST

START_TEST(test_surplus_descriptor)
{
	uint8_t	bytes[8192];
	size_t	size;
	int	before = fd_count();

	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 100);
	put_fds(bytes, size, 1);
	expect_broken("surplus descriptor");
	close_all();
	/* With a frame that has begun. */
	open_raw(PROCESS_ROUTER);
	put_fds(bytes, size / 2, 1);
	expect_broken("surplus descriptor");
	close_all();
	/* A second one with the middle of a frame that has one. */
	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	put_fds(bytes, 9, 1);
	run_now();
	put_fds(bytes + 9, size - 9, 1);
	expect_broken("surplus descriptor");
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

START_TEST(test_descriptor_flood)
{
	uint8_t	bytes[8192];
	size_t	size;
	int	before = fd_count(), i;

	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	for (i = 2; i <= 64; i = i < 32 ? i + 1 : i + 16) {
		open_raw(PROCESS_CONTROL);
		put_fds(bytes, size, i);
		expect_broken("more than one descriptor");
		close_all();
		ck_assert_int_eq(fd_count(), before);
	}
	/* One byte at a time with a descriptor each. */
	open_raw(PROCESS_CONTROL);
	for (i = 0; i < 12; i++)
		put_fds(bytes + i, 1, 1);
	expect_broken("surplus descriptor");
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

START_TEST(test_no_room_for_descriptor)
{
	struct rlimit	limit, none;
	uint8_t		bytes[8192];
	size_t		size;

	/* The table of descriptors is full: truncated, so the door closes. */
	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	put_fds(bytes, size, 1);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	run_until_closed();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_str_eq(t.reason, "more than one descriptor");
	close_all();
}
END_TEST

START_TEST(test_descriptors_pass)
{
	struct ipc_request	request = { 0, 0 };
	char			text[8];
	int			before = fd_count(), fds[2], door[2], i;

	open_raw(PROCESS_CONTROL);
	t.other = ipc_new(t.base, t.raw, PROCESS_CONTROL, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], "1", 1), 1);
	(void)close(fds[1]);
	ipc_send_fd(t.other, IPC_PASSPHRASE, &request, fds[0]);
	ipc_send(t.other, IPC_ERASE, &request, NULL, 0);
	ipc_send_fd(t.other, IPC_PASSPHRASE, &request,
	    open("/dev/null", O_RDONLY | O_CLOEXEC));
	/* ERASE has no handler here: the door closes after the first. */
	run_until_closed();
	ck_assert_str_eq(t.reason, "message nobody handles");
	ck_assert_uint_eq(t.seen, 1);
	ck_assert_int_eq(read(t.fd, text, sizeof(text)), 1);
	ck_assert_int_eq(text[0], '1');
	close_all();
	ck_assert_int_eq(fd_count(), before);

	open_raw(PROCESS_CONTROL);
	t.other = ipc_new(t.base, t.raw, PROCESS_CONTROL, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	for (i = 0; i < 50; i++) {
		ck_assert_int_eq(ipc_pair(door), 0);
		(void)close(door[1]);
		ipc_send_fd(t.other, IPC_PASSPHRASE, &request, door[0]);
	}
	run_until(&t.seen, 50);
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

/* Descriptors that were queued or received but never handled are closed. */
START_TEST(test_descriptors_do_not_leak)
{
	struct ipc_request	request = { 0, 0 };
	int			before = fd_count();

	open_raw(PROCESS_CONTROL);
	t.other = ipc_new(t.base, t.raw, PROCESS_CONTROL, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	ipc_send_fd(t.other, IPC_PASSPHRASE, &request, dup(0));
	close_all();
	ck_assert_int_eq(fd_count(), before);

	open_raw(PROCESS_CONTROL);
	t.other = ipc_new(t.base, t.raw, PROCESS_CONTROL, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	ipc_send_fd(t.other, IPC_PASSPHRASE, &request, dup(0));
	ipc_flush(t.other);
	ipc_pause(t.door, 1);
	run_now();
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

START_TEST(test_many_batched)
{
	struct ipc_seal	seal = { .sequence = 0 };
	uint8_t		tail[100] = { 7 };
	int		i;

	open_pair();
	for (i = 1; i <= 100000; i++) {
		seal.sequence = (uint64_t)i;
		ipc_send(t.other, IPC_SEAL, &seal, tail, (size_t)i % 100);
	}
	run_until(&t.seen, 100000);
	ck_assert_uint_eq(t.seen, 100000);
	/* Far fewer reads than messages: they travel together. */
	ck_assert_uint_lt(t.batches, 2000);
	ck_assert_ptr_null(t.closed);
	close_all();
}
END_TEST

START_TEST(test_one_write_a_turn)
{
	struct ipc_seal	seal = { .sequence = 1 };
	uint8_t		bytes[4096];
	int		fds[2];

	/* Nothing is written while the turn lasts. */
	open_raw(PROCESS_ROUTER);
	ipc_free(t.door);
	(void)close(t.raw);
	ck_assert_int_eq(ipc_pair(fds), 0);
	t.raw = fds[1];
	t.door = ipc_new(t.base, fds[0], PROCESS_ROUTER, PROCESS_KEYD,
	    &router_callbacks, NULL);
	ipc_send(t.door, IPC_SEAL, &seal, "a", 1);
	ipc_send(t.door, IPC_SEAL, &seal, "b", 1);
	ck_assert_int_eq(recv(t.raw, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	run_now();
	ck_assert_int_eq(recv(t.raw, bytes, sizeof(bytes), MSG_DONTWAIT),
	    2 * (8 + (int)sizeof(seal) + 8));
	close_all();
}
END_TEST

START_TEST(test_cork)
{
	struct ipc_seal	seal = { .sequence = 1 };

	open_pair();
	ipc_cork(t.other, 1);
	ipc_send(t.other, IPC_SEAL, &seal, NULL, 0);
	run_now();
	ck_assert_uint_eq(t.seen, 0);
	ipc_flush(t.other);
	seal.sequence = 2;
	ipc_send(t.other, IPC_SEAL, &seal, NULL, 0);
	run_until(&t.seen, 1);
	run_now();
	ck_assert_uint_eq(t.seen, 1);
	ck_assert_uint_gt(ipc_queued(t.other), 0);
	ipc_cork(t.other, 0);
	run_until(&t.seen, 2);
	close_all();
}
END_TEST

/* A flush that does not fit goes on later, and no further. */
START_TEST(test_cork_with_a_full_socket)
{
	struct ipc_seal	seal = { .sequence = 1 };

	open_pair();
	ipc_cork(t.other, 1);
	memset(ipc_send_tail(t.other, IPC_SEAL, &seal, 8000000), 1, 8000000);
	ipc_flush(t.other);
	seal.sequence = 2;
	ipc_send(t.other, IPC_SEAL, &seal, NULL, 0);
	run_until(&t.seen, 1);
	run_now();
	ck_assert_uint_eq(t.seen, 1);
	ipc_flush(t.other);
	run_until(&t.seen, 2);
	close_all();
}
END_TEST

START_TEST(test_pause)
{
	struct ipc_seal	seal = { .sequence = 0 };
	int		i;

	open_pair();
	t.pause_after = 3;
	for (i = 1; i <= 10; i++) {
		seal.sequence = (uint64_t)i;
		ipc_send(t.other, IPC_SEAL, &seal, NULL, 0);
	}
	run_until(&t.seen, 3);
	run_now();
	ck_assert_uint_eq(t.seen, 3);
	ipc_pause(t.door, 0);
	run_until(&t.seen, 10);
	close_all();
}
END_TEST

START_TEST(test_marks)
{
	struct ipc_seal	seal = { .sequence = 0 };
	static uint8_t	tail[65536];

	open_pair();
	ipc_pause(t.door, 1);
	while (!ipc_congested(t.other)) {
		seal.sequence++;
		ipc_send(t.other, IPC_SEAL, &seal, tail, sizeof(tail));
	}
	ck_assert_uint_ge(ipc_queued(t.other), 4 * 1024 * 1024);
	run_now();
	ck_assert_uint_eq(t.uncongested, 0);
	ck_assert_int_eq(ipc_congested(t.other), 1);
	ipc_pause(t.door, 0);
	run_until(&t.uncongested, 1);
	ck_assert_uint_le(ipc_queued(t.other), 1024 * 1024);
	run_until(&t.seen, (unsigned int)seal.sequence);
	ck_assert_uint_eq(t.uncongested, 1);
	close_all();
}
END_TEST

START_TEST(test_closed_after_last_message)
{
	uint8_t	bytes[4096];
	size_t	size;

	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 10);
	put(bytes, size);
	put(bytes, size / 2);		/* died in the middle of the next */
	(void)close(t.raw);
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	ck_assert_uint_eq(t.seen, 1);
	t.raw = dup(0);
	close_all();
}
END_TEST

/* A neighbour that died while we write: its last words still count. */
START_TEST(test_write_to_the_dead)
{
	struct ipc_signed_digest	answer = { 0 };
	uint8_t				bytes[4096];
	int				i;

	open_raw(PROCESS_ROUTER);
	put(bytes, seal_frame(bytes, 1, 10));
	(void)close(t.raw);
	for (i = 0; i < 3; i++) {
		ipc_send(t.door, IPC_SIGNED_DIGEST, &answer, NULL, 0);
		ipc_flush(t.door);
	}
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	ck_assert_uint_eq(t.seen, 1);
	t.raw = dup(0);
	close_all();
	/* A paused door notices when it writes. */
	open_raw(PROCESS_ROUTER);
	ipc_pause(t.door, 1);
	(void)close(t.raw);
	ipc_send(t.door, IPC_SIGNED_DIGEST, &answer, NULL, 0);
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	t.raw = dup(0);
	close_all();
}
END_TEST

START_TEST(test_free_in_handler)
{
	uint8_t	bytes[4096];
	size_t	size;
	int	before = fd_count();

	open_raw(PROCESS_ROUTER);
	t.free_inside = 1;
	size = seal_frame(bytes, 1, 10);
	size += seal_frame(bytes + size, 2, 10);
	put(bytes, size);
	run_until(&t.seen, 1);
	run_now();
	ck_assert_uint_eq(t.seen, 1);
	ck_assert_ptr_null(t.closed);
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

/*
 * A child plays keyd: answers each SIGN_DIGEST after sending OPENEDs, or
 * answers late, or dies.
 */
static pid_t
keyd_child(const int fds[2], int opened_before, int delay_ms, int answers)
{
	struct ipc_signed_digest	answer;
	struct ipc_opened		opened;
	struct ipc_sign_digest		question;
	uint8_t				bytes[4096];
	uint64_t			sequence = 1;
	pid_t				pid = fork();
	int				fd, i, stay = answers > 0;

	ck_assert_int_ne(pid, -1);
	if (pid != 0)
		return (pid);
	(void)close(fds[0]);
	fd = t.raw = fds[1];
	while (answers-- > 0) {
		if (recv(fd, bytes, sizeof(struct ipc_header) +
		    sizeof(question), MSG_WAITALL) <= 0)
			_exit(1);
		memcpy(&question, bytes + sizeof(struct ipc_header),
		    sizeof(question));
		for (i = 0; i < opened_before; i++) {
			memset(&opened, 0, sizeof(opened));
			opened.sequence = sequence++;
			(void)frame(bytes, IPC_OPENED, sizeof(opened), 8, 0);
			memcpy(bytes + 8, &opened, sizeof(opened));
			bytes[8 + sizeof(opened)] = (uint8_t)opened.sequence;
			put(bytes, 8 + sizeof(opened) + 8);
		}
		if (delay_ms > 0)
			(void)poll(NULL, 0, delay_ms);
		memset(&answer, 0, sizeof(answer));
		answer.length = 1;
		answer.signature[0] = question.digest[0];
		(void)frame(bytes, IPC_SIGNED_DIGEST, sizeof(answer), 0, 0);
		memcpy(bytes + 8, &answer, sizeof(answer));
		put(bytes, 8 + sizeof(answer));
		delay_ms = 0;
	}
	if (stay)
		(void)recv(fd, bytes, 1, 0);
	_exit(0);
}

static pid_t
open_router(int opened_before, int delay_ms, int answers)
{
	pid_t	pid;
	int	fds[2];

	memset(&t, 0, sizeof(t));
	t.fd = -1;
	t.next = 1;
	t.base = event_base_new();
	ck_assert_int_eq(ipc_pair(fds), 0);
	ck_assert_int_eq(fcntl(fds[1], F_SETFL, 0), 0);
	pid = keyd_child(fds, opened_before, delay_ms, answers);
	(void)close(fds[1]);
	t.raw = dup(0);
	t.door = ipc_new(t.base, fds[0], PROCESS_ROUTER, PROCESS_KEYD,
	    &router_callbacks, &t.door);
	return (pid);
}

static int
ask(uint8_t what, int timeout_ms)
{
	struct ipc_sign_digest		question = { .length = 32 };
	struct ipc_signed_digest	answer;

	question.digest[0] = what;
	if (ipc_call(t.door, IPC_SIGN_DIGEST, &question, IPC_SIGNED_DIGEST,
	    &answer, timeout_ms) == -1)
		return (-1);
	return (answer.signature[0]);
}

START_TEST(test_call)
{
	pid_t	pid = open_router(5, 0, 3);

	ck_assert_int_eq(ask(11, 5000), 11);
	ck_assert_int_eq(ask(22, 5000), 22);
	ck_assert_uint_eq(t.seen, 0);	/* in nobody's handler yet */
	run_until(&t.seen, 10);
	ck_assert_int_eq(ask(33, 5000), 33);
	run_until(&t.seen, 15);
	ck_assert_ptr_null(t.closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

START_TEST(test_call_inside_a_handler)
{
	pid_t	pid = open_router(4, 0, 13);

	ck_assert_int_eq(ask(200, 5000), 200);
	/* Each of the first 12 messages asks again and brings 4 more. */
	t.call_inside = 12;
	run_until(&t.seen, 52);
	ck_assert_int_eq(t.call_inside, 0);
	ck_assert_ptr_null(t.closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* An answer that comes too late is not taken for the next one. */
START_TEST(test_call_late_answer)
{
	pid_t	pid = open_router(0, 300, 2);

	ck_assert_int_eq(ask(1, 20), -1);
	ck_assert_int_eq(errno, ETIMEDOUT);
	ck_assert_int_eq(ask(2, 10000), 2);
	run_now();
	ck_assert_ptr_null(t.closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);

	/* Nor for something nobody asked for. */
	pid = open_router(1, 100, 1);
	ck_assert_int_eq(ask(1, 10), -1);
	run_until(&t.seen, 1);
	ck_assert_int_eq(ask(2, 10000), -1);
	ck_assert_int_eq(errno, EPIPE);
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

START_TEST(test_call_dead_neighbour)
{
	pid_t	pid = open_router(0, 0, 0);

	ck_assert_int_eq(ask(1, 10000), -1);
	ck_assert_int_eq(errno, EPIPE);
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* Our own bugs end the process. */
START_TEST(test_misuse_not_ours)
{
	struct ipc_seal	seal = { .sequence = 1 };

	open_pair();
	ipc_send(t.door, IPC_SEAL, &seal, NULL, 0);
}
END_TEST

START_TEST(test_misuse_tail)
{
	struct ipc_sign_digest	question = { .length = 32 };

	open_pair();
	ipc_send(t.other, IPC_SIGN_DIGEST, &question, "x", 1);
}
END_TEST

START_TEST(test_misuse_descriptor)
{
	struct ipc_sign_digest	question = { .length = 32 };

	open_pair();
	ipc_send_fd(t.other, IPC_SIGN_DIGEST, &question, dup(0));
}
END_TEST

START_TEST(test_names)
{
	int	type;

	ck_assert_str_eq(process_name(PROCESS_KEYD), "keyd");
	ck_assert_str_eq(process_name((enum process)3), "unknown");
	ck_assert_str_eq(ipc_type_name(IPC_SEAL), "SEAL");
	ck_assert_str_eq(ipc_type_name(IPC_TYPE_COUNT), "unknown");
	ck_assert_uint_eq(ipc_payload_size(IPC_SEAL), sizeof(struct ipc_seal));
	ck_assert_uint_eq(ipc_payload_size(IPC_TYPE_COUNT), 0);
	for (type = 1; type < IPC_TYPE_COUNT; type++)
		ck_assert_uint_eq(ipc_payload_size((enum ipc_type)type) % 8,
		    0);
}
END_TEST

int
main(void)
{
	Suite	*suite = suite_create("ipc");
	TCase	*tc = tcase_create("door");
	SRunner	*runner;
	int	 failed;

	log_init("test_ipc", LOG_LEVEL_ERROR, 1);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_short_and_long);
	tcase_add_test(tc, test_split_at_every_byte);
	tcase_add_test(tc, test_merged);
	tcase_add_test(tc, test_L23_sender_that_lies);
	tcase_add_test(tc, test_table_is_kept);
	tcase_add_test(tc, test_wrong_receiver);
	tcase_add_test(tc, test_unknown_type);
	tcase_add_test(tc, test_unhandled);
	tcase_add_test(tc, test_length_off_by_one);
	tcase_add_test(tc, test_longest);
	tcase_add_test(tc, test_padding_must_be_zero);
	tcase_add_test(tc, test_descriptor_flag_must_fit);
	tcase_add_test(tc, test_missing_descriptor);
	tcase_add_test(tc, test_surplus_descriptor);
	tcase_add_test(tc, test_descriptor_flood);
	tcase_add_test(tc, test_no_room_for_descriptor);
	tcase_add_test(tc, test_descriptors_pass);
	tcase_add_test(tc, test_descriptors_do_not_leak);
	tcase_add_test(tc, test_many_batched);
	tcase_add_test(tc, test_one_write_a_turn);
	tcase_add_test(tc, test_cork);
	tcase_add_test(tc, test_cork_with_a_full_socket);
	tcase_add_test(tc, test_pause);
	tcase_add_test(tc, test_marks);
	tcase_add_test(tc, test_closed_after_last_message);
	tcase_add_test(tc, test_write_to_the_dead);
	tcase_add_test(tc, test_free_in_handler);
	tcase_add_test(tc, test_call);
	tcase_add_test(tc, test_call_inside_a_handler);
	tcase_add_test(tc, test_call_late_answer);
	tcase_add_test(tc, test_call_dead_neighbour);
	tcase_add_exit_test(tc, test_misuse_not_ours, 1);
	tcase_add_exit_test(tc, test_misuse_tail, 1);
	tcase_add_exit_test(tc, test_misuse_descriptor, 1);
	tcase_add_test(tc, test_names);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return (failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}
