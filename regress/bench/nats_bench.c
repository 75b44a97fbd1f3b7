/*
 * The same work as hermes_bench.c, on NATS: what `make bench` measures Hermes
 * against. A publisher on one server, a subscriber on another of the same
 * cluster, which acknowledges each message; a window of unacknowledged
 * messages for each subject ("chat"). Prints one JSON object.
 *
 *	nats_bench URL_A URL_B CA.pem CHATS MESSAGES SIZE WINDOW ROUNDS HOW
 *
 * HOW is "turns" (one subscription a chat, as an application has that talks
 * to many peers, and a message to each in turn), "bursts" (the same, the whole
 * window of a chat at once), "wildcard" (as bursts, with one subscription for
 * all chats) or "pairs" (a publisher and a subscriber for each chat, each with
 * a connection of its own).
 */

#include <sys/types.h>
#include <sys/wait.h>

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <nats/nats.h>

#define MAX_CHATS 1024

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t unacked[MAX_CHATS];
	uint64_t acked;
} state = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, { 0 }, 0 };

static void
check(natsStatus status, const char *what)
{
	if (status == NATS_OK)
		return;
	fprintf(
	    stderr, "nats_bench: %s: %s\n", what, natsStatus_GetText(status));
	_exit(1);
}

static enum { TURNS, BURSTS, WILDCARD, PAIRS } how;

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

static natsConnection *
connect_to(const char *url, const char *ca)
{
	natsConnection *connection;
	natsOptions *options;

	check(natsOptions_Create(&options), "options");
	check(natsOptions_SetURL(options, url), url);
	check(natsOptions_SetSecure(options, true), "tls");
	check(natsOptions_LoadCATrustedCertificates(options, ca), ca);
	check(natsConnection_Connect(&connection, options), "connect");
	natsOptions_Destroy(options);
	return (connection);
}

/* Subscriber: acknowledge on ack.N what came on chat.N; answer ping. */
static void
on_message(natsConnection *connection, natsSubscription *subscription,
    natsMsg *message, void *arg)
{
	char subject[64];

	(void)subscription;
	(void)arg;
	if (natsMsg_GetReply(message) != NULL)
		check(
		    natsConnection_Publish(connection,
			natsMsg_GetReply(message), natsMsg_GetData(message), 8),
		    "reply");
	else {
		(void)snprintf(subject, sizeof(subject), "ack.%s",
		    natsMsg_GetSubject(message) + strlen("chat."));
		check(natsConnection_Publish(
			  connection, subject, natsMsg_GetData(message), 8),
		    "ack");
	}
	natsMsg_Destroy(message);
}

static void
on_ack(natsConnection *connection, natsSubscription *subscription,
    natsMsg *message, void *arg)
{
	long chat =
	    strtol(natsMsg_GetSubject(message) + strlen("ack."), NULL, 10);

	(void)connection;
	(void)subscription;
	(void)arg;
	pthread_mutex_lock(&state.lock);
	state.unacked[chat]--;
	state.acked++;
	pthread_cond_signal(&state.changed);
	pthread_mutex_unlock(&state.lock);
	natsMsg_Destroy(message);
}

static void
subscribe(
    natsConnection *connection, const char *subject, natsMsgHandler handler)
{
	natsSubscription *subscription;

	check(natsConnection_Subscribe(
		  &subscription, connection, subject, handler, NULL),
	    "subscribe");
	check(
	    natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
}

/*
 * Connect, once or for each chat, and subscribe to prefix.0 to
 * prefix.(chats-1), or to prefix.* at once.
 */
static void
connect_all(const char *url, const char *ca, const char *prefix, long chats,
    natsMsgHandler handler, natsConnection **connections)
{
	char subject[64];
	long i;

	for (i = 0; i < chats; i++) {
		if (i == 0 || how == PAIRS)
			connections[i] = connect_to(url, ca);
		else
			connections[i] = connections[0];
		if (how == WILDCARD)
			(void)snprintf(
			    subject, sizeof(subject), "%s.*", prefix);
		else
			(void)snprintf(
			    subject, sizeof(subject), "%s.%ld", prefix, i);
		if (i == 0 || how != WILDCARD)
			subscribe(connections[i], subject, handler);
	}
	for (i = 0; i < (how == PAIRS ? chats : 1); i++)
		check(natsConnection_Flush(connections[i]), "flush");
}

static void
subscriber(const char *url, const char *ca, long chats, int ready)
{
	static natsConnection *connections[MAX_CHATS];

	connect_all(url, ca, "chat", chats, on_message, connections);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y ? -1 : x > y);
}

static void
round_trips(natsConnection *connection, const char *payload, size_t size,
    double *p50, double *p99)
{
	enum { N = 2000 };
	static double times[N];
	natsMsg *reply;
	double start;
	int i;

	for (i = -100; i < N; i++) {
		start = now();
		check(natsConnection_Request(&reply, connection, "chat.0",
			  payload, (int)size, 5000),
		    "request");
		natsMsg_Destroy(reply);
		if (i >= 0)
			times[i] = now() - start;
	}
	qsort(times, N, sizeof(times[0]), compare);
	*p50 = times[N / 2];
	*p99 = times[N * 99 / 100];
}

/* Messages a second, all acknowledged. */
static double
rate(natsConnection **connections, char (*subjects)[32], long chats,
    long messages, const char *payload, size_t size, uint64_t window)
{
	double start = now();
	long i, sent = 0, chat;

	pthread_mutex_lock(&state.lock);
	state.acked = 0;
	while (sent < messages) {
		for (i = 0; i < chats && sent < messages; i++) {
			chat = i;
			while (
			    state.unacked[chat] < window && sent < messages) {
				uint64_t burst, room;

				room = how == TURNS
					   ? 1
					   : window - state.unacked[chat];
				if (room > (uint64_t)(messages - sent))
					room = (uint64_t)(messages - sent);
				state.unacked[chat] += room;
				pthread_mutex_unlock(&state.lock);
				for (burst = 0; burst < room; burst++)
					check(natsConnection_Publish(
						  connections[chat],
						  subjects[chat], payload,
						  (int)size),
					    "publish");
				sent += (long)room;
				pthread_mutex_lock(&state.lock);
				if (how == TURNS)
					break;
			}
		}
		if (sent < messages) {
			int full = 1;

			for (i = 0; i < chats; i++)
				full = full && state.unacked[i] >= window;
			if (full)
				pthread_cond_wait(&state.changed, &state.lock);
		}
	}
	while (state.acked < (uint64_t)messages)
		pthread_cond_wait(&state.changed, &state.lock);
	pthread_mutex_unlock(&state.lock);
	return ((double)messages / (now() - start));
}

int
main(int argc, char **argv)
{
	static char subjects[MAX_CHATS][32];
	static natsConnection *connections[MAX_CHATS];
	char *payload, byte;
	double p50, p99;
	long chats, messages, rounds, i;
	size_t size;
	uint64_t window;
	pid_t child;
	int ready[2];

	if (argc != 10) {
		fprintf(stderr, "usage: nats_bench URL_A URL_B CA CHATS "
				"MESSAGES SIZE WINDOW ROUNDS "
				"turns|bursts|wildcard|pairs\n");
		return (2);
	}
	chats = strtol(argv[4], NULL, 10);
	messages = strtol(argv[5], NULL, 10);
	size = (size_t)strtol(argv[6], NULL, 10);
	window = (uint64_t)strtol(argv[7], NULL, 10);
	rounds = strtol(argv[8], NULL, 10);
	how = strcmp(argv[9], "turns") == 0    ? TURNS
	      : strcmp(argv[9], "bursts") == 0 ? BURSTS
	      : strcmp(argv[9], "pairs") == 0  ? PAIRS
					       : WILDCARD;
	if (chats < 1 || chats > MAX_CHATS || size < 8 || window < 1)
		return (2);
	if (pipe(ready) == -1 || (child = fork()) == -1)
		return (1);
	if (child == 0)
		subscriber(argv[2], argv[3], chats, ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		return (1);

	connect_all(argv[1], argv[3], "ack", chats, on_ack, connections);
	payload = calloc(1, size);
	if (payload == NULL)
		return (1);
	for (i = 0; i < chats; i++)
		(void)snprintf(subjects[i], sizeof(subjects[i]), "chat.%ld", i);
	round_trips(connections[0], payload, size, &p50, &p99);
	(void)rate(
	    connections, subjects, chats, messages / 10, payload, size, window);
	printf("{\"chats\": %ld, \"size\": %zu, \"window\": %ju, "
	       "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"rates\": [",
	    chats, size, (uintmax_t)window, p50 * 1e3, p99 * 1e3);
	for (i = 0; i < rounds; i++)
		printf("%s%.0f", i == 0 ? "" : ", ",
		    rate(connections, subjects, chats, messages, payload, size,
			window));
	printf("]}\n");
	kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	return (0);
}
