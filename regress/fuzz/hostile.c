/*
 * Tests only. A real keyd in a process of its own, whose router, mesh and
 * control lie (L22): random frames of every type and length, its own words
 * changed and sent back, bytes that are no message, floods that nobody reads.
 * It must live, keep its memory bounded, close the door of whoever breaks the
 * rules and no other; and an honest chat must go on afterwards.
 *
 *	hostile HERMESD FOLDER [SEED [SECONDS]]
 *
 * The last line is "N passed, N failed", one for each second of lies.
 */

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/ipc/ipc_door.h"
#include "common/util/clock.h"
#include "regress/house/house.h"

#define PATIENCE_MS  120000
#define MEMORY_MAX   (192L * 1024 * 1024)
#define MEMORY_FLOOD (24L * 1024 * 1024) /* a few marks and batches */
#define KEPT         32

struct lie {
	enum process as;
	int fd;              /* ours; -1: closed */
	struct buffer heard; /* what keyd said */
};

/* What keyd said to the mesh, to be said back. */
struct kept {
	uint8_t *frame;
	size_t length;
};

static struct {
	struct event_base *base;
	struct house a, b; /* a is lied to */
	struct lie lies[3];
	struct kept kept[KEPT];
	size_t kept_count;
	struct chat_key honest;
	uint64_t random;
	const char *failure;
	unsigned int passed, failed;
} t = { .lies = { { .as = PROCESS_ROUTER, .fd = -1 },
	    { .as = PROCESS_MESH, .fd = -1 },
	    { .as = PROCESS_CONTROL, .fd = -1 } } };

static void
fail(const char *why)
{
	if (t.failure == NULL)
		t.failure = why;
}

/* SplitMix64: the same lies for the same seed. */
static uint64_t
chance(uint64_t below)
{
	uint64_t z = (t.random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return ((z ^ (z >> 31)) % below);
}

/* --- keyd's health ------------------------------------------------------ */

static int
alive(void)
{
	siginfo_t info = { .si_pid = 0 };

	return (t.a.pid > 0 && t.a.parent != NULL &&
		waitid(P_PID, (id_t)t.a.pid, &info,
		    WEXITED | WNOHANG | WNOWAIT) == 0 &&
		info.si_pid == 0);
}

static long
memory(void)
{
	char path[64];
	long pages = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%ld/statm", (long)t.a.pid);
	if ((file = fopen(path, "r")) == NULL ||
	    fscanf(file, "%*d %ld", &pages) != 1)
		fail("keyd's memory cannot be read");
	if (file != NULL)
		(void)fclose(file);
	return (pages * sysconf(_SC_PAGESIZE));
}

/* --- doors -------------------------------------------------------------- */

static void
lie_open(struct lie *lie)
{
	struct ipc_door door = { .peer = lie->as };
	int fds[2];

	if (lie->fd != -1)
		(void)close(lie->fd);
	buffer_free(&lie->heard);
	if (ipc_pair(fds) == -1)
		err(1, "pair");
	lie->fd = fds[0];
	ipc_send_fd(t.a.parent, IPC_DOOR, &door, fds[1]);
	(void)event_base_loop(t.base, EVLOOP_NONBLOCK);
}

static void
keep(const uint8_t *frame, size_t length)
{
	struct kept *kept = &t.kept[t.kept_count++ % KEPT];

	free(kept->frame);
	if ((kept->frame = malloc(length)) == NULL)
		err(1, "keep");
	memcpy(kept->frame, frame, length);
	kept->length = length;
}

/* Read what is there; the number of messages of that type. -1: the end. */
static int
lie_read(struct lie *lie, enum ipc_type wanted)
{
	static uint8_t room[256 * 1024];
	struct ipc_header header;
	int count = 0, end = 0;
	size_t size;
	ssize_t n;

	while ((n = recv(lie->fd, room, sizeof(room), MSG_DONTWAIT)) > 0)
		if (buffer_append(&lie->heard, room, (size_t)n) == -1)
			err(1, "read");
	end = n == 0 || (errno != EAGAIN && errno != EINTR);
	while (buffer_length(&lie->heard) >= sizeof(header)) {
		memcpy(&header, buffer_bytes(&lie->heard), sizeof(header));
		size = ipc_frame_size(header.length);
		if (buffer_length(&lie->heard) < size)
			break;
		if (header.type == wanted)
			count++;
		if (header.type == IPC_SETUP_OUT ||
		    header.type == IPC_TEARDOWN_OUT ||
		    header.type == IPC_SEALED)
			keep(buffer_bytes(&lie->heard), size);
		buffer_consume(&lie->heard, size);
	}
	return (count > 0 ? count : end ? -1 : 0);
}

/* Wait for a message of that type (IPC_NONE: for the end). 0 or -1. */
static int
lie_wait(struct lie *lie, enum ipc_type wanted)
{
	struct pollfd pfd = { .fd = lie->fd, .events = POLLIN };
	int64_t end = clock_monotonic() + PATIENCE_MS * CLOCK_MS;
	int result;

	while (clock_monotonic() < end && alive()) {
		(void)event_base_loop(t.base, EVLOOP_NONBLOCK);
		result = lie_read(lie, wanted);
		if (wanted == IPC_NONE ? result == -1 : result > 0)
			return (0);
		if (result == -1)
			return (-1);
		(void)poll(&pfd, 1, 50);
	}
	return (-1);
}

/* Write all, reading what comes meanwhile. -1: the door is closed. */
static int
lie_write(struct lie *lie, const uint8_t *bytes, size_t length)
{
	struct pollfd pfd = { .fd = lie->fd, .events = POLLOUT | POLLIN };
	int64_t end = clock_monotonic() + PATIENCE_MS * CLOCK_MS;
	ssize_t n;

	while (length > 0) {
		n = send(lie->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			bytes += n;
			length -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN || lie_read(lie, IPC_NONE) == -1)
			return (-1);
		if (clock_monotonic() > end) {
			fail("keyd reads no more");
			return (-1);
		}
		(void)event_base_loop(t.base, EVLOOP_NONBLOCK);
		(void)poll(&pfd, 1, 50);
	}
	return (0);
}

static uint8_t *
frame_new(enum ipc_type type, size_t tail, size_t *length)
{
	struct ipc_header header = { .type = (uint16_t)type };
	uint8_t *frame;

	header.length = (uint32_t)(ipc_payload_size(type) + tail);
	*length = ipc_frame_size(header.length);
	if ((frame = calloc(1, *length)) == NULL)
		err(1, "frame");
	memcpy(frame, &header, sizeof(header));
	return (frame);
}

/* An honest question on a door, and its answer. */
static void
lie_probe(struct lie *lie)
{
	static const struct {
		enum ipc_type question, answer;
	} probes[] = { { IPC_CHALLENGE, IPC_CHALLENGE_SIGNED },
		{ IPC_SIGN_DIGEST, IPC_SIGNED_DIGEST },
		{ IPC_METRICS_GET, IPC_METRICS } };
	size_t length, i = (size_t)(lie - t.lies);
	uint8_t *frame = frame_new(probes[i].question, 0, &length);

	if (lie_write(lie, frame, length) == -1 ||
	    lie_wait(lie, probes[i].answer) == -1)
		fail("a door that kept the rules is not served");
	free(frame);
}

/* --- lies --------------------------------------------------------------- */

static void
scramble(uint8_t *bytes, size_t length)
{
	size_t n;

	switch (chance(4)) {
	case 0:
		for (n = 0; n < length; n++)
			bytes[n] = (uint8_t)chance(256);
		break;
	case 1:
		memset(bytes, (int)chance(2) * 0xff, length);
		break;
	default:
		for (n = 1 + chance(4); n > 0 && length > 0; n--)
			bytes[chance(length)] = (uint8_t)chance(256);
	}
}

/* Not of the honest chat: a router may end its chats, as it may. */
static int
spares_honest(const uint8_t *frame, size_t length)
{
	return (length < sizeof(struct ipc_header) + KEY_SIZE ||
		memcmp(frame + sizeof(struct ipc_header), t.honest.handle,
		    KEY_SIZE) != 0);
}

/* What it said itself, as its peer would have said it, changed. */
static uint8_t *
lie_back(size_t *length)
{
	const struct kept *kept;
	struct ipc_header header;
	struct chat_key *key;
	uint8_t *frame;

	if (t.kept_count == 0)
		return (NULL);
	kept = &t.kept[chance(t.kept_count < KEPT ? t.kept_count : KEPT)];
	if ((frame = malloc(kept->length)) == NULL)
		err(1, "frame");
	memcpy(frame, kept->frame, kept->length);
	*length = kept->length;
	memcpy(&header, frame, sizeof(header));
	header.type = header.type == IPC_SETUP_OUT ? IPC_SETUP_IN
		      : header.type == IPC_SEALED  ? IPC_OPEN
						   : IPC_TEARDOWN_IN;
	memcpy(frame, &header, sizeof(header));
	key = (struct chat_key *)(void *)(frame + sizeof(header));
	key->side ^= 1;
	if (header.type == IPC_SETUP_IN)
		house_attest(&t.b, &((struct ipc_setup *)(void *)key)->peer);
	if (chance(3) > 0)
		scramble(frame + sizeof(header), header.length);
	return (frame);
}

/* A chat that may be started; it is answered by nobody, or by a lie. */
static uint8_t *
lie_start(size_t *length)
{
	uint8_t *frame = frame_new(IPC_CHAT_START, chance(2) * 40, length);
	struct ipc_chat_start *start =
	    (void *)(frame + sizeof(struct ipc_header));

	(void)snprintf(
	    start->chat_id, sizeof(start->chat_id), "lie %d", (int)chance(20));
	(void)chat_key_make(
	    &start->key, start->chat_id, t.a.app_key, t.b.app_key);
	house_attest(&t.a, &start->local);
	house_attest(&t.b, &start->peer);
	start->flags = (uint32_t)chance(16);
	if (chance(3) == 0)
		scramble((uint8_t *)start, sizeof(*start));
	return (frame);
}

/* Any message this neighbour may send, of a length it may have. */
static uint8_t *
lie_any(const struct lie *lie, size_t *length)
{
	const struct ipc_row *row;
	enum ipc_type type;
	uint8_t *frame;
	size_t tail;

	do {
		type = (enum ipc_type)(1 + chance(IPC_TYPE_COUNT - 1));
		row = &ipc_rows[type];
	} while (!(row->from & (unsigned int)lie->as) ||
		 !(row->to & PROCESS_KEYD) || row->descriptor);
	tail = row->tail == 0 ? 0 : chance(row->tail < 4096 ? row->tail : 4096);
	frame = frame_new(type, tail, length);
	scramble(frame + sizeof(struct ipc_header), row->size + tail);
	return (frame);
}

/* A message that breaks the table somehow. */
static uint8_t *
lie_broken(size_t *length)
{
	struct ipc_header header = { 0 };
	uint8_t *frame;

	*length = sizeof(header) + 64;
	if ((frame = calloc(1, *length)) == NULL)
		err(1, "frame");
	header.length = 48;
	header.type = IPC_PASSPHRASE; /* without its descriptor */
	switch (chance(4)) {
	case 0:
		header.type = (uint16_t)(IPC_TYPE_COUNT + chance(1000));
		break;
	case 1:
		header.type = IPC_IDENTITY; /* keyd's own to say */
		break;
	case 2:
		header.type = IPC_METRICS_GET;
		header.length = UINT32_MAX - (uint32_t)chance(64);
		break;
	default:
		break;
	}
	memcpy(frame, &header, sizeof(header));
	return (frame);
}

static void
lie_some(struct lie *lie)
{
	uint8_t *frame;
	size_t length, n, i = (size_t)(lie - t.lies);

	for (n = 1 + chance(30); n > 0; n--) {
		frame = NULL;
		if (i == 0 && chance(3) == 0)
			frame = lie_start(&length);
		else if (i == 1 && chance(2) == 0)
			frame = lie_back(&length);
		if (frame == NULL)
			frame = lie_any(lie, &length);
		if (spares_honest(frame, length) &&
		    lie_write(lie, frame, length) == -1)
			fail("keyd closed a door that kept the rules");
		free(frame);
		if (t.failure != NULL)
			return;
	}
}

static void
lie_break(struct lie *lie)
{
	size_t length;
	uint8_t *frame = lie_broken(&length);

	if (lie_write(lie, frame, length) == 0 && lie_wait(lie, IPC_NONE) == -1)
		fail("whoever breaks the table keeps the door");
	free(frame);
	lie_open(lie);
}

/* Ask and ask and never read. */
static void
lie_flood(struct lie *lie)
{
	static const enum ipc_type types[] = { IPC_CHALLENGE, IPC_SIGN_DIGEST,
		IPC_METRICS_GET };
	size_t length, i = (size_t)(lie - t.lies), n, sent = 0;
	uint8_t *frame = frame_new(types[i], 0, &length);
	struct pollfd pfd = { .fd = lie->fd, .events = POLLOUT };
	long before = memory();

	/* Until keyd takes no more for a while. */
	for (n = 0; n < 400000 && alive(); n++) {
		if (send(lie->fd, frame, length, MSG_NOSIGNAL | MSG_DONTWAIT) ==
		    (ssize_t)length)
			sent++;
		else if (poll(&pfd, 1, 300) == 0)
			break;
	}
	if (memory() > before + MEMORY_FLOOD)
		fail("a flood that nobody reads fills keyd's memory");
	/* The others go on; but what is for chats waits with router and mesh. */
	if (i == 2)
		lie_probe(&t.lies[0]);
	free(frame);
	lie_open(lie);
	lie_probe(lie);
}

/* The largest message there may be, for a chat there is. */
static void
lie_large(struct lie *lie)
{
	size_t length;
	uint8_t *frame = frame_new(IPC_SEAL, IPC_TAIL_PAYLOAD, &length);
	struct ipc_seal *seal = (void *)(frame + sizeof(struct ipc_header));

	seal->key = t.honest;
	seal->sequence = 2;
	(void)lie_write(lie, frame, length);
	free(frame);
}

/* A passphrase that never comes: the pipe stays open and empty. */
static void
lie_passphrase(struct lie *lie)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	size_t length;
	uint8_t *frame = frame_new(IPC_PASSPHRASE, 0, &length);
	struct iovec iov = { frame, length };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int fds[2];

	((struct ipc_header *)(void *)frame)->descriptor = 1;
	if (pipe(fds) == -1)
		err(1, "pipe");
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fds[0], sizeof(int));
	if (sendmsg(lie->fd, &msg, MSG_NOSIGNAL) != (ssize_t)length)
		err(1, "sendmsg");
	lie_probe(&t.lies[0]);
	(void)close(fds[0]);
	(void)close(fds[1]);
	free(frame);
}

/* --- the rounds --------------------------------------------------------- */

static void
count(const char *what)
{
	if (!alive())
		fail("keyd died");
	else if (memory() > MEMORY_MAX)
		fail("keyd's memory grows");
	if (t.failure == NULL)
		t.passed++;
	else {
		t.failed++;
		printf("FAIL %s: %s\n", what, t.failure);
	}
}

static void
one_round(unsigned int n)
{
	struct lie *lie = &t.lies[chance(3)];
	size_t i;

	lie_some(lie);
	if (chance(2) == 0)
		lie_break(lie);
	if (n == 3)
		lie_large(&t.lies[0]);
	if (n == 4)
		lie_passphrase(&t.lies[2]);
	if (n == 5 || n == 6 || n == 7)
		lie_flood(&t.lies[n - 5]);
	for (i = 0; i < 3 && t.failure == NULL; i++)
		lie_probe(&t.lies[i]);
}

/* A message of the honest chat gets through. */
static void
talk(const char *what, uint32_t flags)
{
	struct house_chat *chat, *peer;
	struct chat_key key;
	uint64_t before;
	uint32_t ready;

	chat = house_chat_start(&t.a, "honest", 0, flags);
	ready = chat->ready;
	if (house_wait(&t.a, &chat->ready, ready + 1) == -1) {
		fail("the honest chat does not start");
		count(what);
		return;
	}
	t.honest = key = chat->key;
	key.side ^= 1;
	peer = house_chat_find(&t.b, &key);
	if (peer == NULL || house_wait(&t.b, &peer->ready, 1) == -1)
		fail("the honest chat has no other end");
	else {
		before = peer->delivered;
		house_send(&t.a, chat, "0123456789abcdef0123456789abcdef", 32);
		if (house_wait(&t.b, &peer->delivered, before + 1) == -1)
			fail("the honest message does not arrive");
	}
	count(what);
}

static void
prepare(const char *program, const char *folder)
{
	static char paths[2][4096];

	if (mkdir(folder, 0755) == -1 && errno != EEXIST)
		err(1, "%s", folder);
	(void)snprintf(paths[0], sizeof(paths[0]), "%s/a", folder);
	(void)snprintf(paths[1], sizeof(paths[1]), "%s/b", folder);
	if (mkdir(paths[0], 0700) == -1 || mkdir(paths[1], 0700) == -1)
		err(1, "%s", folder);
	if (sodium_init() == -1 || (t.base = event_base_new()) == NULL)
		errx(1, "start");
	house_init(&t.a, t.base, program, "alpha", paths[0], "pass", "a");
	house_init(&t.b, t.base, program, "beta", paths[1], "pass", "b");
	house_link(&t.a, &t.b);
	if (house_start(&t.a) == -1 || house_start(&t.b) == -1)
		errx(1, "keyd does not start");
}

int
main(int argc, char *argv[])
{
	int64_t end;
	unsigned int n = 0, seconds;
	char name[32];
	size_t i;

	if (argc < 3)
		errx(1, "usage: hostile HERMESD FOLDER [SEED [SECONDS]]");
	t.random = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	prepare(argv[1], argv[2]);
	talk("before", 0);
	for (i = 0; i < 3; i++)
		lie_open(&t.lies[i]);
	seconds = argc > 4 ? (unsigned int)atoi(argv[4]) : 10;
	for (; seconds > 0 && t.failure == NULL; seconds--) {
		end = clock_monotonic() + CLOCK_SECOND;
		while (clock_monotonic() < end && t.failure == NULL)
			one_round(n++);
		(void)snprintf(name, sizeof(name), "round %u", n);
		count(name);
	}
	/* It stops in order, and a new one has all that was true. */
	if (t.failure == NULL) {
		if (house_stop(&t.a) != 0)
			fail("keyd does not stop in order");
		else if (house_start(&t.a) == -1)
			fail("keyd does not start again");
		else
			talk("after", CHAT_RESUME);
	}
	if (t.failure != NULL && t.failed == 0)
		count("end");
	house_free(&t.a);
	house_free(&t.b);
	printf("%u passed, %u failed\n", t.passed, t.failed);
	return (t.failed > 0);
}
