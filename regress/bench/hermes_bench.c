/*
 * Acknowledged messages a second and round trips between apps of two nodes,
 * through libhermes; the twin of nats_bench.c. The receivers run in a process
 * of their own and count: a message missing, doubled or out of order, or
 * receivers that die, end the run with status 1, before it says a figure of
 * what went wrong. Prints one JSON object.
 *
 *	hermes_bench NODE_A NODE_B CHATS MESSAGES SIZE ROUNDS HOW
 *
 * HOW is "turns" (all chats between one pair of apps, a message of each in
 * turn), "bursts" (the same, the whole window of a chat at once) or "pairs" (as
 * many pairs of apps, each app with a connection of its own).
 *
 * With ROUNDS 0 each line "MESSAGES PACE" on standard input is a round, and
 * prints an object of its own: its rate, and the 99th percentile of its round
 * trips. PACE: messages a second; 0: as many as are taken.
 */

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "regress/bench/bench.h"

#define MAX_CHATS 4096
#define TRIPS     2000

static struct {
	struct event_base *base;
	struct hermes_chat *chats[MAX_CHATS];
	long chat_count;
	long ready;
	long to_send;
	long sent;
	long acked;
	long total;
	long sent_ever; /* in all rounds */
	long received;  /* the receivers': of all chats */
	int report;     /* between the two processes */
	size_t size;
	char *payload;
	double trips[TRIPS];
	int tripping;
	long pace; /* messages a second, 0: no matter */
	double began;
	struct event *turn; /* NULL: in bursts */
	long next;          /* whose turn it is */
} bench;

/* --- receiver ------------------------------------------------------------ */

static void
receiver_message(struct hermes_chat *chat, uint64_t sequence,
    const void *payload, size_t length, void *arg)
{
	uint64_t *last = hermes_chat_arg(chat);

	(void)payload;
	(void)length;
	(void)arg;
	if (last == NULL) {
		last = calloc(1, sizeof(*last));
		if (last == NULL)
			die("receiver", "memory");
		hermes_chat_set_arg(chat, last);
	}
	if (sequence != *last + 1)
		die(hermes_chat_id(chat), "out of order");
	*last = sequence;
	bench.received++;
}

static void
receiver_connected(struct hermes *app, const char *session, void *arg)
{
	(void)app;
	(void)session;
	(void)arg;
	if (write(bench.report, "r", 1) != 1)
		_exit(1);
}

/* The sender has ended its half, or died: the count of what came. */
static void
receiver_report(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	(void)arg;
	_exit(write(fd, &bench.received, sizeof(bench.received)) !=
	      sizeof(bench.received));
}

static void
receiver(const char *node, uint8_t (*seeds)[HERMES_KEY_SIZE], long apps)
{
	struct hermes_callbacks callbacks = { .message = receiver_message,
		.connected = receiver_connected,
		.error = on_error };
	struct hermes_options options;
	struct event *end;
	char error[256];
	long i;

	if ((bench.base = event_base_new()) == NULL ||
	    (end = event_new(bench.base, bench.report, EV_READ, receiver_report,
		 NULL)) == NULL ||
	    event_add(end, NULL) == -1)
		die("receiver", "memory");
	hermes_options_default(&options);
	options.node = node;
	options.accept_auto = 1;
	for (i = 0; i < apps; i++) {
		options.seed = seeds[i];
		if (hermes_new(bench.base, &options, &callbacks, NULL, error,
			sizeof(error)) == NULL)
			die("receiver", error);
	}
	(void)event_base_dispatch(bench.base);
	_exit(1);
}

/* --- sender -------------------------------------------------------------- */

/* 1; or 0 when the chat takes no more for now. */
static int
send_one(struct hermes_chat *chat)
{
	if (hermes_send(chat, bench.payload, bench.size, NULL) == -1) {
		if (errno != EAGAIN)
			die("send", strerror(errno));
		return (0);
	}
	bench.sent++;
	bench.sent_ever++;
	return (1);
}

/* A message of each chat in turn, until none takes one more. */
static void
take_turns(evutil_socket_t fd, short what, void *arg)
{
	long full = 0;

	(void)fd;
	(void)what;
	(void)arg;
	while (bench.sent < bench.to_send && full < bench.chat_count) {
		full = send_one(bench.chats[bench.next]) ? 0 : full + 1;
		bench.next = (bench.next + 1) % bench.chat_count;
	}
}

static void
fill(struct hermes_chat *chat)
{
	if (bench.turn != NULL)
		event_active(bench.turn, EV_TIMEOUT, 0);
	else
		while (bench.sent < bench.to_send && send_one(chat))
			continue;
}

/* As many more as are due by now. */
static void
pace(evutil_socket_t fd, short what, void *arg)
{
	long due = (long)((now() - bench.began) * (double)bench.pace) + 1;

	(void)fd;
	(void)what;
	(void)arg;
	bench.to_send = due < bench.total ? due : bench.total;
	fill(bench.chats[0]);
}

static void
sender_ready(struct hermes_chat *chat, int resumed, void *arg)
{
	(void)chat;
	(void)resumed;
	(void)arg;
	if (++bench.ready == bench.chat_count)
		(void)event_base_loopbreak(bench.base);
}

static void
sender_writable(struct hermes_chat *chat, void *arg)
{
	(void)arg;
	fill(chat);
}

static void
sender_acked(
    struct hermes_chat *chat, uint64_t sequence, int64_t rtt, void *arg)
{
	(void)sequence;
	(void)arg;
	if (bench.tripping || bench.pace > 0)
		bench.trips[bench.acked % TRIPS] = (double)rtt / 1e6;
	if (++bench.acked == bench.total) {
		(void)event_base_loopbreak(bench.base);
		return;
	}
	if (bench.tripping)
		bench.to_send = bench.sent + 1;
	fill(chat);
}

static double
run(long messages, int tripping)
{
	double start = now();
	long i;

	bench.tripping = tripping;
	bench.sent = bench.acked = 0;
	bench.total = messages;
	bench.began = start;
	bench.to_send = tripping || bench.pace > 0 ? 1 : messages;
	for (i = 0; i < bench.chat_count; i++)
		fill(bench.chats[i]);
	(void)event_base_dispatch(bench.base);
	if (bench.acked != messages)
		die("run", "ended early");
	return ((double)messages / (now() - start));
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y ? -1 : x > y);
}

/* Each line asks for a round. */
static void
run_asked(void)
{
	static const struct timeval often = { 0, 1000 };
	struct event *timer = event_new(bench.base, -1, EV_PERSIST, pace, NULL);
	double rate;
	long messages, trips;

	if (timer == NULL)
		die("pace", "memory");
	while (scanf("%ld %ld", &messages, &bench.pace) == 2) {
		if (bench.pace > 0 && event_add(timer, &often) == -1)
			die("pace", "memory");
		rate = run(messages, 0);
		(void)event_del(timer);
		trips = messages < TRIPS ? messages : TRIPS;
		qsort(bench.trips, (size_t)trips, sizeof(bench.trips[0]),
		    compare);
		printf("{\"rate\": %.1f, \"p99_ms\": %.3f}\n", rate,
		    bench.pace > 0 ? bench.trips[trips * 99 / 100] : 0.0);
		(void)fflush(stdout);
	}
	event_free(timer);
}

static void
run_rounds(long messages, long rounds, double took)
{
	long i;

	/* Only what is asked for is in the CPU time of the nodes. */
	if (bench.chat_count == 1) {
		(void)run(TRIPS / 10, 1);
		(void)run(TRIPS, 1);
	}
	qsort(bench.trips, TRIPS, sizeof(bench.trips[0]), compare);
	printf("{\"chats\": %ld, \"size\": %zu, \"set_up_s\": %.3f, "
	       "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"rates\": [",
	    bench.chat_count, bench.size, took, bench.trips[TRIPS / 2],
	    bench.trips[TRIPS * 99 / 100]);
	(void)run(messages / 10, 0);
	for (i = 0; i < rounds; i++)
		printf("%s%.0f", i == 0 ? "" : ", ", run(messages, 0));
	printf("]}\n");
}

/* One app on node, and count chats with peer. */
static void
sender_start(
    const char *node, const uint8_t *seed, const char *peer, long count)
{
	struct hermes_callbacks callbacks = { .ready = sender_ready,
		.acked = sender_acked,
		.writable = sender_writable,
		.error = on_error,
		.gone = on_gone };
	struct hermes_options options;
	struct hermes *app;
	struct hermes_chat *chat;
	char text[256];

	hermes_options_default(&options);
	options.node = node;
	options.seed = seed;
	options.start_timeout = INT64_C(30) * 1000000000;
	app = bench.base == NULL ? NULL
				 : hermes_new(bench.base, &options, &callbacks,
				       NULL, text, sizeof(text));
	if (app == NULL)
		die("sender", text);
	while (count-- > 0) {
		(void)snprintf(text, sizeof(text), "bench-%ld-%ld",
		    (long)getpid(), bench.chat_count);
		chat = hermes_chat_start(app, text, peer, NULL);
		if (chat == NULL)
			die("chat", strerror(errno));
		bench.chats[bench.chat_count++] = chat;
	}
}

static void
receivers_gone(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	(void)arg;
	die("receiver", "ended early");
}

/* All that was sent must have come, once. */
static void
receivers_end(pid_t child)
{
	long received;

	if (shutdown(bench.report, SHUT_WR) == -1 ||
	    read(bench.report, &received, sizeof(received)) != sizeof(received))
		die("receiver", "no count");
	(void)waitpid(child, NULL, 0);
	if (received != bench.sent_ever)
		die("receiver", "other messages than were sent");
}

/* Both sides up, and every chat ready. The pid of the receivers. */
static pid_t
set_up(const char *from, const char *to, long apps, long chats)
{
	static uint8_t seeds[2][MAX_CHATS][HERMES_KEY_SIZE];
	char peer[HERMES_APP_ID_SIZE], byte;
	struct event *gone;
	pid_t child;
	int ends[2];
	long i;

	randombytes_buf(seeds, sizeof(seeds));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == -1 ||
	    (child = fork()) == -1)
		die("set-up", strerror(errno));
	bench.report = ends[child == 0];
	(void)close(ends[child != 0]);
	if (child == 0)
		receiver(to, seeds[1], apps);
	for (i = 0; i < apps; i++)
		if (read(bench.report, &byte, 1) != 1)
			die("receiver", "ended early");
	if ((bench.base = event_base_new()) == NULL ||
	    (gone = evsignal_new(bench.base, SIGCHLD, receivers_gone, NULL)) ==
		NULL ||
	    event_add(gone, NULL) == -1)
		die("set-up", "memory");
	for (i = 0; i < apps; i++) {
		hermes_key_app_id(seeds[1][i], peer);
		sender_start(from, seeds[0][i], peer, chats / apps);
	}
	(void)event_base_dispatch(bench.base);
	if (bench.ready != bench.chat_count)
		die("set-up", "ended early");
	return (child);
}

int
main(int argc, char **argv)
{
	double start, took;
	long chats, messages, rounds;
	pid_t child;

	if (argc != 8 || sodium_init() == -1) {
		fprintf(stderr, "usage: hermes_bench NODE_A NODE_B CHATS "
				"MESSAGES SIZE ROUNDS "
				"turns|bursts|pairs\n");
		return (2);
	}
	chats = strtol(argv[3], NULL, 10);
	messages = strtol(argv[4], NULL, 10);
	bench.size = (size_t)strtol(argv[5], NULL, 10);
	rounds = strtol(argv[6], NULL, 10);
	bench.payload = calloc(1, bench.size + 1);
	if (chats < 1 || chats > MAX_CHATS || bench.payload == NULL)
		return (2);
	start = now();
	child = set_up(
	    argv[1], argv[2], strcmp(argv[7], "pairs") == 0 ? chats : 1, chats);
	took = now() - start;
	if (strcmp(argv[7], "turns") == 0 &&
	    (bench.turn = event_new(bench.base, -1, 0, take_turns, NULL)) ==
		NULL)
		die("turns", "memory");
	if (rounds > 0)
		run_rounds(messages, rounds, took);
	else
		run_asked();
	receivers_end(child);
	return (0);
}
