/*
 * Many apps and many chats on two nodes, through libhermes, as it is told on
 * standard input, a word and numbers a line; answers each line with one JSON
 * object. Between lines the apps live on and answer their nodes. Whatever is
 * missing, doubled, out of order or refused ends the program with status 1.
 *
 *	crowd_bench NODE_A NODE_B PAIRS
 *
 *	pairs		PAIRS apps on each node
 *	apps N		N more apps on NODE_A
 *	chats N		N more chats between the pairs, one pair after another
 *	messages N C	N messages over the first C chats, each acknowledged
 */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "regress/bench/bench.h"

#define CHATS_MAX  200000
#define PAIRS_MAX  256
#define STARTS_MAX 32  /* of a pair, asked for and not ready */
#define CONNECTING 64  /* apps that are not connected yet */
#define FLIGHT     16  /* messages of a chat that are not acknowledged */
#define PAYLOAD    256 /* bytes of a message */

struct pair {
	struct hermes *asks;
	char peer[HERMES_APP_ID_SIZE];
};

static struct {
	struct event_base *base;
	const char *nodes[2];
	struct pair pairs[PAIRS_MAX];
	long pair_count;
	struct hermes_chat *chats[CHATS_MAX];
	long connected, connect_more;  /* apps */
	long started, ready, start_to; /* chats */
	long sent, acked, received, send_to, over;
} crowd;

static void
stop(void)
{
	(void)event_base_loopbreak(crowd.base);
}

/* --- apps ---------------------------------------------------------------- */

static void app_more(void);

static void
on_connected(struct hermes *app, const char *session, void *arg)
{
	(void)app;
	(void)session;
	(void)arg;
	crowd.connected++;
	app_more();
}

/* --- chats --------------------------------------------------------------- */

static void
chats_more(void)
{
	struct pair *pair;
	char id[64];

	while (crowd.started < crowd.start_to &&
	       crowd.started - crowd.ready < STARTS_MAX * crowd.pair_count) {
		pair = &crowd.pairs[crowd.started % crowd.pair_count];
		(void)snprintf(id, sizeof(id), "crowd-%ld", crowd.started);
		crowd.chats[crowd.started] =
		    hermes_chat_start(pair->asks, id, pair->peer, NULL);
		if (crowd.chats[crowd.started] == NULL)
			die("chat", strerror(errno));
		crowd.started++;
	}
	if (crowd.ready == crowd.start_to)
		stop();
}

static void
on_ready(struct hermes_chat *chat, int resumed, void *arg)
{
	(void)chat;
	(void)resumed;
	(void)arg;
	crowd.ready++;
	chats_more();
}

/* --- messages ------------------------------------------------------------ */

static void
messages_more(void)
{
	static uint8_t payload[PAYLOAD];
	struct hermes_chat *chat;

	while (crowd.sent < crowd.send_to &&
	       crowd.sent - crowd.acked < FLIGHT * crowd.over) {
		chat = crowd.chats[crowd.sent % crowd.over];
		if (hermes_send(chat, payload, sizeof(payload), NULL) == -1)
			die("send", strerror(errno));
		crowd.sent++;
	}
}

static void
on_acked(struct hermes_chat *chat, uint64_t sequence, int64_t rtt, void *arg)
{
	(void)chat;
	(void)sequence;
	(void)rtt;
	(void)arg;
	if (++crowd.acked == crowd.send_to && crowd.received == crowd.send_to)
		stop();
	messages_more();
}

/* The sequence before is kept in the pointer itself. */
static void
on_message(struct hermes_chat *chat, uint64_t sequence, const void *payload,
    size_t length, void *arg)
{
	uint64_t last = (uint64_t)(uintptr_t)hermes_chat_arg(chat);

	(void)payload;
	(void)arg;
	if (sequence != last + 1 || length != PAYLOAD)
		die(hermes_chat_id(chat), "out of order");
	hermes_chat_set_arg(chat, (void *)(uintptr_t)sequence);
	if (++crowd.received == crowd.send_to && crowd.acked == crowd.send_to)
		stop();
}

/* --- what is asked for --------------------------------------------------- */

static struct hermes *
app_new(int asks)
{
	struct hermes_callbacks callbacks = { .connected = on_connected,
		.disconnected = on_disconnected,
		.ready = asks ? on_ready : NULL,
		.message = on_message,
		.acked = on_acked,
		.error = on_error,
		.gone = on_gone };
	struct hermes_options options;
	struct hermes *app;
	uint8_t seed[HERMES_KEY_SIZE];
	char error[256];

	randombytes_buf(seed, sizeof(seed));
	hermes_options_default(&options);
	options.node = crowd.nodes[asks ? 0 : 1];
	options.seed = seed;
	options.accept_auto = 1;
	options.heartbeat = 0;
	options.reconnect = 0;
	app = hermes_new(
	    crowd.base, &options, &callbacks, NULL, error, sizeof(error));
	if (app == NULL)
		die("app", error);
	return (app);
}

static long apps_made, apps_to;

static void
app_more(void)
{
	while (
	    apps_made < apps_to && apps_made - crowd.connected < CONNECTING) {
		(void)app_new(1);
		apps_made++;
	}
	if (crowd.connected == apps_to)
		stop();
}

static void
pairs_make(void)
{
	struct pair *pair;
	long i;

	apps_made = apps_to = 2 * crowd.pair_count;
	for (i = 0; i < crowd.pair_count; i++) {
		pair = &crowd.pairs[i];
		pair->asks = app_new(1);
		(void)memcpy(
		    pair->peer, hermes_app_id(app_new(0)), sizeof(pair->peer));
	}
}

static void
obey(const char *word, long count, long over)
{
	if (strcmp(word, "pairs") == 0)
		pairs_make();
	else if (strcmp(word, "apps") == 0) {
		apps_to += count;
		app_more();
	} else if (strcmp(word, "chats") == 0 && crowd.pair_count > 0 &&
		   crowd.start_to + count <= CHATS_MAX) {
		crowd.start_to += count;
		chats_more();
	} else if (strcmp(word, "messages") == 0 && over > 0 &&
		   over <= crowd.ready) {
		crowd.send_to += count;
		crowd.over = over;
		messages_more();
	} else
		die(word, "not understood");
}

static void
on_line(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	stop();
}

int
main(int argc, char **argv)
{
	struct event *more;
	char line[128], word[32];
	double start;
	long count, over;

	if (argc != 4 || sodium_init() == -1 ||
	    (crowd.base = event_base_new()) == NULL) {
		fprintf(stderr, "usage: crowd_bench NODE_A NODE_B PAIRS\n");
		return (2);
	}
	crowd.nodes[0] = argv[1];
	crowd.nodes[1] = argv[2];
	crowd.pair_count = strtol(argv[3], NULL, 10);
	if (crowd.pair_count < 0 || crowd.pair_count > PAIRS_MAX)
		return (2);
	/* One line at a time comes, and the next after its answer. */
	more = event_new(crowd.base, STDIN_FILENO, EV_READ, on_line, NULL);
	if (more == NULL)
		return (1);
	for (;;) {
		(void)event_add(more, NULL);
		(void)event_base_dispatch(crowd.base);
		if (fgets(line, sizeof(line), stdin) == NULL)
			break;
		count = over = 0;
		if (sscanf(line, "%31s %ld %ld", word, &count, &over) < 1)
			continue;
		start = now();
		obey(word, count, over);
		(void)event_base_dispatch(crowd.base);
		printf("{\"word\": \"%s\", \"seconds\": %.4f}\n", word,
		    now() - start);
		(void)fflush(stdout);
	}
	event_free(more);
	return (0);
}
