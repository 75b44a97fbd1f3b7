/*
 * How long a message and its ack take on their way when nobody does more than
 * hand them on: eight processes, as two apps and the router, keyd and mesh of
 * two nodes are connected, TLS and doors; each waits in libevent, reads once
 * and writes. For `make bench` to compare with: what the machine alone
 * takes for as many wake-ups. Prints {"p50_ms": [...], "p99_ms": [...]}, a
 * figure a round.
 *
 *	trip_bench FOLDER COUNT ROUNDS
 *
 * FOLDER has cert.pem and key.pem; COUNT round trips a round.
 */

#include <sys/socket.h>
#include <sys/wait.h>

#include <netinet/in.h>

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/ssl.h>
#include <tls.h>

#include "common/ipc/ipc.h"
#include "regress/bench/bare.h"

#define BYTES      256 /* of a message, and of its ack */
#define ROUNDS_MAX 100

enum place {
	APP_A,
	ROUTER_A,
	KEYD_A,
	MESH_A,
	MESH_B,
	KEYD_B,
	ROUTER_B,
	APP_B,
	PLACES
};

/* Who is connected with whom, by TLS or by a door; the first calls. */
static const struct link {
	enum place ends[2];
	int tls;
} links[] = {
	{ { APP_A, ROUTER_A }, 1 },
	{ { ROUTER_A, KEYD_A }, 0 },
	{ { KEYD_A, MESH_A }, 0 },
	{ { MESH_A, MESH_B }, 1 },
	{ { MESH_B, KEYD_B }, 0 },
	{ { KEYD_B, ROUTER_B }, 0 },
	{ { APP_B, ROUTER_B }, 1 },
	{ { ROUTER_B, MESH_B }, 0 },
	{ { MESH_A, ROUTER_A }, 0 },
};
#define LINKS (sizeof(links) / sizeof(links[0]))
#define NONE  LINKS

/* Who is woken by what comes over which link, and writes it to which, in the
 * order of a round trip. The ack begins at router B, once it has written to app
 * B, which is woken beside it: ten wake-ups, one after another, and that. */
static const struct hop {
	enum place place;
	size_t from, to, ack;
} hops[] = {
	{ ROUTER_A, 0, 1, NONE },
	{ KEYD_A, 1, 2, NONE },
	{ MESH_A, 2, 3, NONE },
	{ MESH_B, 3, 4, NONE },
	{ KEYD_B, 4, 5, NONE },
	{ ROUTER_B, 5, 6, 7 },
	{ APP_B, 6, NONE, NONE },
	{ MESH_B, 7, 3, NONE },
	{ MESH_A, 3, 8, NONE },
	{ ROUTER_A, 8, 0, NONE },
	{ APP_A, 0, NONE, NONE },
};
#define HOPS (sizeof(hops) / sizeof(hops[0]))

/* This process's ends. */
static struct {
	struct event_base *base;
	int fds[LINKS]; /* -1: none of ours */
	struct tls *tls[LINKS];
	/* Of app A: */
	double sent;
	double *took;
	uint64_t done, count;
} trip;

static void
trip_write(size_t link)
{
	if (link == NONE)
		return;
	if (trip.tls[link] != NULL)
		bare_write(trip.tls[link], bare_piece, BYTES);
	else if (write(trip.fds[link], bare_piece, BYTES) != BYTES)
		bare_die("write");
}

static void
trip_send(void)
{
	trip.sent = bare_now();
	trip_write(hops[0].from);
}

/* One read, and a write to whom it goes on to. */
static void
trip_hop(evutil_socket_t fd, short what, void *arg)
{
	const struct hop *hop = arg;

	(void)what;
	if (trip.tls[hop->from] != NULL)
		bare_read(trip.tls[hop->from], BYTES);
	else if (read(fd, bare_piece, BARE_PIECE) != BYTES)
		bare_die("read");
	if (hop->place != APP_A) {
		trip_write(hop->to);
		trip_write(hop->ack);
		return;
	}
	trip.took[trip.done++] = bare_now() - trip.sent;
	if (trip.done < trip.count)
		trip_send();
	else
		(void)event_base_loopbreak(trip.base);
}

/* --- before the first ----------------------------------------------------- */

/* Two ends of a TCP connection. */
static void
tcp_pair(int fds[2])
{
	struct sockaddr_in address;
	int listener = bare_listen(&address);

	fds[0] = bare_dial(&address);
	if ((fds[1] = accept(listener, NULL, NULL)) == -1)
		bare_die("accept");
	bare_no_delay(fds[1]);
	(void)close(listener);
}

/* One read(2) takes all that is there, as those of Hermes do; and no ticket
 * comes after the handshake. libtls does not let us at its SSL. */
static void
read_ahead(void *parent, void *data, CRYPTO_EX_DATA *extra, int index,
    long argl, void *argp)
{
	(void)data;
	(void)extra;
	(void)index;
	(void)argl;
	(void)argp;
	SSL_set_read_ahead(parent, 1);
	(void)SSL_set_num_tickets(parent, 0);
}

/* Keep the ends of a place and close all others. */
static void
ends_keep(enum place place, int fds[LINKS][2])
{
	size_t i;
	int side;

	for (i = 0; i < LINKS; i++) {
		trip.fds[i] = -1;
		for (side = 0; side < 2; side++)
			if (links[i].ends[side] == place)
				trip.fds[i] = fds[i][side];
			else
				(void)close(fds[i][side]);
		if (trip.fds[i] == -1 || !links[i].tls)
			continue;
		trip.tls[i] = links[i].ends[0] == place
				  ? bare_call(trip.fds[i])
				  : bare_take(bare_server(), trip.fds[i]);
	}
}

/* Become a place: its ends, and what wakes it. */
static void
become(enum place place, int fds[LINKS][2])
{
	struct event *event;
	size_t i;

	ends_keep(place, fds);
	if ((trip.base = event_base_new()) == NULL)
		bare_die("event_base_new");
	for (i = 0; i < HOPS; i++) {
		if (hops[i].place != place)
			continue;
		event = event_new(trip.base, trip.fds[hops[i].from],
		    EV_READ | EV_PERSIST, trip_hop,
		    (void *)(uintptr_t)&hops[i]);
		if (event == NULL || event_add(event, NULL) == -1)
			bare_die("event_new");
	}
}

/* All places, each ready for the first message; this process is app A. */
static void
set_up(pid_t children[PLACES])
{
	int fds[LINKS][2], ready[2], place;
	size_t i;
	char byte = 0;

	if (pipe(ready) == -1)
		bare_die("pipe");
	(void)SSL_get_ex_new_index(0, NULL, read_ahead, NULL, NULL);
	for (i = 0; i < LINKS; i++)
		if (links[i].tls)
			tcp_pair(fds[i]);
		else if (ipc_pair(fds[i]) == -1)
			bare_die("socketpair");
	for (place = APP_A + 1; place < PLACES; place++) {
		if ((children[place] = fork()) == -1)
			bare_die("fork");
		if (children[place] > 0)
			continue;
		become((enum place)place, fds);
		if (write(ready[1], &byte, 1) != 1)
			bare_die("write");
		(void)event_base_dispatch(trip.base);
		_exit(1);
	}
	become(APP_A, fds);
	for (place = APP_A + 1; place < PLACES; place++)
		if (read(ready[0], &byte, 1) != 1)
			bare_die("read");
}

/* --- rounds --------------------------------------------------------------- */

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y ? -1 : x > y);
}

/* What they took, in order. */
static void
run(uint64_t count)
{
	trip.done = 0;
	trip.count = count;
	trip_send();
	(void)event_base_dispatch(trip.base);
	if (trip.done != count)
		bare_die("ended early");
	qsort(trip.took, count, sizeof(trip.took[0]), compare);
}

static void
print(const char *name, const double *seconds, int rounds)
{
	int i;

	printf("\"%s\": [", name);
	for (i = 0; i < rounds; i++)
		printf("%s%.4f", i == 0 ? "" : ", ", seconds[i] * 1000);
	printf("]");
}

int
main(int argc, char **argv)
{
	double p50[ROUNDS_MAX], p99[ROUNDS_MAX];
	pid_t children[PLACES];
	uint64_t count;
	int i, rounds;

	count = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
	rounds = argc == 4 ? (int)strtol(argv[3], NULL, 10) : 0;
	if (count == 0 || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: trip_bench FOLDER COUNT ROUNDS\n");
		return (2);
	}
	bare_configure(argv[1]);
	if ((trip.took = calloc(count, sizeof(trip.took[0]))) == NULL)
		bare_die("calloc");
	set_up(children);
	run(count / 10 + 1);
	for (i = 0; i < rounds; i++) {
		run(count);
		p50[i] = trip.took[count / 2];
		p99[i] = trip.took[count * 99 / 100];
	}
	printf("{");
	print("p50_ms", p50, rounds);
	printf(", ");
	print("p99_ms", p99, rounds);
	printf("}\n");
	/* Nobody is to see the others end. */
	for (i = APP_A + 1; i < PLACES; i++)
		(void)kill(children[i], SIGSTOP);
	for (i = APP_A + 1; i < PLACES; i++) {
		(void)kill(children[i], SIGKILL);
		(void)waitpid(children[i], NULL, 0);
	}
	return (0);
}
