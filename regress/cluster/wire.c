/*
 * The wires between network namespaces, for tests: one tunnel device in each,
 * and this process, root, carries the packets from one to another; or does
 * not. `wire NETNS...` makes device wire0 in each namespace, where number i
 * has the address 10.77.0.i (from 1). It needs no qdisc that a kernel may
 * lack, and each direction of each pair can be spoilt on its own.
 *
 * Commands on stdin, one a line, answered with one line:
 *	set FROM TO CUT LOSS DELAY	cut 0 or 1; loss in per mille; ms
 *	cable END IN			0: pulled, 1: put back
 *	count FROM TO			"passed dropped", packets
 * It ends with its input.
 */
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <linux/if.h>
#include <linux/if_tun.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/util/clock.h"

#define ENDS     16
#define MTU      2048
#define HELD_MAX 20000 /* packets under way on all wires */
#define HEADER   20    /* of IPv4 */

struct packet {
	STAILQ_ENTRY(packet) entry;
	int64_t due; /* monotonic */
	size_t length;
	uint8_t bytes[];
};

/* One direction of a pair. */
struct way {
	int cut;
	unsigned loss;
	int64_t delay;
	unsigned long long passed;
	unsigned long long dropped;
	STAILQ_HEAD(, packet) held;
};

static struct {
	size_t count;
	int fds[ENDS];
	struct way ways[ENDS][ENDS];
	int out[ENDS]; /* cables */
	size_t held;
} wire;

static int
tunnel_open(const char *netns)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	char path[256];
	int space, fd;

	(void)snprintf(path, sizeof(path), "/run/netns/%s", netns);
	if ((space = open(path, O_RDONLY | O_CLOEXEC)) == -1 ||
	    setns(space, CLONE_NEWNET) == -1)
		err(1, "%s", path);
	(void)close(space);
	(void)strcpy(request.ifr_name, "wire0");
	if ((fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) ==
		-1 ||
	    ioctl(fd, TUNSETIFF, &request) == -1)
		err(1, "tunnel device in %s", netns);
	return (fd);
}

static void
deliver(struct way *way, size_t to, const uint8_t *bytes, size_t length)
{
	if (wire.out[to])
		way->dropped++;
	else if (write(wire.fds[to], bytes, length) == (ssize_t)length)
		way->passed++;
	else
		way->dropped++;
}

static void
carry(size_t from, const uint8_t *bytes, size_t length)
{
	struct packet *packet;
	struct way *way;
	size_t to;

	if (length < HEADER || bytes[0] >> 4 != 4)
		return;
	to = (size_t)bytes[19] - 1;
	if (to >= wire.count || to == from)
		return;
	way = &wire.ways[from][to];
	if (way->cut || randombytes_uniform(1000) < way->loss ||
	    wire.held >= HELD_MAX) {
		way->dropped++;
		return;
	}
	if (way->delay == 0 && STAILQ_EMPTY(&way->held)) {
		deliver(way, to, bytes, length);
		return;
	}
	if ((packet = malloc(sizeof(*packet) + length)) == NULL)
		err(1, NULL);
	packet->due = clock_monotonic() + way->delay;
	packet->length = length;
	memcpy(packet->bytes, bytes, length);
	STAILQ_INSERT_TAIL(&way->held, packet, entry);
	wire.held++;
}

/* Deliver what is due; ms until the next is, or -1. */
static int
release(void)
{
	struct packet *packet;
	struct way *way;
	int64_t now = clock_monotonic(), next = INT64_MAX;
	size_t from, to;

	for (from = 0; from < wire.count; from++)
		for (to = 0; to < wire.count; to++) {
			way = &wire.ways[from][to];
			while ((packet = STAILQ_FIRST(&way->held)) != NULL &&
			       packet->due <= now) {
				deliver(way, to, packet->bytes, packet->length);
				STAILQ_REMOVE_HEAD(&way->held, entry);
				free(packet);
				wire.held--;
			}
			if (packet != NULL && packet->due < next)
				next = packet->due;
		}
	if (next == INT64_MAX)
		return (-1);
	return ((int)((next - now) / CLOCK_MS) + 1);
}

static void
command(const char *line)
{
	struct way *way;
	unsigned from, to, cut, loss, delay;
	int in;

	if (sscanf(line, "set %u %u %u %u %u", &from, &to, &cut, &loss,
		&delay) == 5 &&
	    from - 1 < wire.count && to - 1 < wire.count) {
		way = &wire.ways[from - 1][to - 1];
		way->cut = cut != 0;
		way->loss = loss;
		way->delay = (int64_t)delay * CLOCK_MS;
		(void)puts("ok");
	} else if (sscanf(line, "cable %u %d", &from, &in) == 2 &&
		   from - 1 < wire.count) {
		if (ioctl(wire.fds[from - 1], TUNSETCARRIER, &in) == -1)
			err(1, "carrier");
		wire.out[from - 1] = !in;
		(void)puts("ok");
	} else if (sscanf(line, "count %u %u", &from, &to) == 2 &&
		   from - 1 < wire.count && to - 1 < wire.count) {
		way = &wire.ways[from - 1][to - 1];
		(void)printf("%llu %llu\n", way->passed, way->dropped);
	} else
		errx(1, "what is \"%s\"?", line);
	(void)fflush(stdout);
}

int
main(int argc, char *argv[])
{
	struct pollfd polls[ENDS + 1];
	uint8_t bytes[MTU];
	char line[128];
	ssize_t n;
	size_t i, j;

	if (argc < 2 || argc > ENDS + 1 || sodium_init() == -1)
		errx(1, "usage: wire NETNS ...");
	(void)setvbuf(stdin, NULL, _IONBF, 0);
	wire.count = (size_t)argc - 1;
	for (i = 0; i < wire.count; i++) {
		wire.fds[i] = tunnel_open(argv[i + 1]);
		polls[i].fd = wire.fds[i];
		polls[i].events = POLLIN;
		for (j = 0; j < wire.count; j++)
			STAILQ_INIT(&wire.ways[i][j].held);
	}
	polls[wire.count].fd = STDIN_FILENO;
	polls[wire.count].events = POLLIN;
	(void)puts("ok");
	(void)fflush(stdout);
	for (;;) {
		if (poll(polls, wire.count + 1, release()) == -1 &&
		    errno != EINTR)
			err(1, "poll");
		for (i = 0; i < wire.count; i++)
			while (
			    (n = read(wire.fds[i], bytes, sizeof(bytes))) > 0)
				carry(i, bytes, (size_t)n);
		if (polls[wire.count].revents == 0)
			continue;
		if (fgets(line, sizeof(line), stdin) == NULL)
			return (0);
		line[strcspn(line, "\n")] = '\0';
		command(line);
	}
}
