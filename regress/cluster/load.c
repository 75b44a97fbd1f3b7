/*
 * A load of many apps and chats with full accounting, for the tests of
 * clusters. One process, any number of apps on one node, no privileges.
 *
 * `load ADDRESS` reads commands, one a line:
 *	app SEED			an app; its key is SHA-256 of SEED
 *	chat SEED ID PEERSEED EVERY COUNT SIZE
 *					a chat of that app; a message of SIZE
 *					bytes each EVERY ms (0: as the window
 *					allows), COUNT in all (0: until stop)
 *	go				start to send
 *	stop				send nothing new
 *	drop SEED			break the app's connection
 *	move SEED ADDRESS		go to another node, or to nobody
 *	delete SEED ID			DeleteChat, and start it again
 *	show				one line of JSON: every chat
 * It answers each with a line, "ok" or the JSON, and ends with its input.
 *
 * A message says of which chat, sender and number it is, and is compared
 * with what must be there: one that is lost, doubled, altered or out of
 * order counts as wrong.
 */
#include <sys/queue.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <jansson.h>
#include <sodium.h>

#include "client/hermes.h"
#include "common/util/clock.h"
#include "common/util/log.h"

#define TICK     (10 * CLOCK_MS)
#define TEXT_MAX 4096
#define PATIENCE (INT64_C(3600) * CLOCK_SECOND)

struct app {
	SLIST_ENTRY(app) entry;
	char seed[64];
	struct hermes *hermes;
	unsigned connects;
};

struct load_chat {
	SLIST_ENTRY(load_chat) entry;
	struct app *app;
	struct hermes_chat *chat; /* NULL: gone */
	char id[64];
	char peer_seed[64];
	char peer[HERMES_APP_ID_SIZE];
	int64_t every; /* ns */
	uint64_t count;
	size_t size;
	int64_t next_at; /* monotonic */
	uint64_t sent;
	uint64_t acked;
	uint64_t received;
	uint64_t last_sent; /* sequences; 0: none yet */
	uint64_t last_ack;
	uint64_t last_received;
	uint64_t first; /* received first */
	uint64_t gaps;  /* lost with a stream that broke, of this chat */
	uint64_t wrong;
	uint64_t errors;
	int64_t first_sent; /* monotonic */
	int64_t last_acked;
	uint64_t abandoned; /* unacknowledged when the chat ended */
	unsigned ends;
	char fault[96]; /* the first that was wrong */
	char gone[32];
	char error[32]; /* the last */
	struct hermes_progress progress;
};

static struct {
	struct event_base *base;
	const char *address;
	SLIST_HEAD(, app) apps;
	SLIST_HEAD(, load_chat) chats;
	int going;
} load;

static int
bad(const char *what)
{
	(void)fprintf(stderr, "load: %s\n", what);
	return (-1);
}

/* --- chats --------------------------------------------------------------- */

static void
wrong(struct load_chat *entry, const char *what, uint64_t sequence,
    uint64_t expected)
{
	if (entry->wrong++ == 0)
		(void)snprintf(entry->fault, sizeof(entry->fault),
		    "%s %llu, not %llu", what, (unsigned long long)sequence,
		    (unsigned long long)expected);
}

/* One more than last, or the first of a chat that this process takes up. */
static void
in_order(struct load_chat *entry, const char *what, uint64_t *last,
    uint64_t sequence)
{
	if (*last != 0 && sequence != *last + 1)
		wrong(entry, what, sequence, *last + 1);
	*last = sequence;
}

/* What message number of sender in a chat says: head, then filler. */
static void
compose(char text[TEXT_MAX], size_t size, const char *id, const char *sender,
    uint64_t number)
{
	int n;

	memset(text, 'a' + (int)(number % 26), size);
	n = snprintf(
	    text, size, "%s %s %llu ", id, sender, (unsigned long long)number);
	if (n > 0 && (size_t)n < size)
		text[n] = '.';
}

static void
chat_send(struct load_chat *entry, int64_t now)
{
	char text[TEXT_MAX];
	uint64_t sequence;

	while (load.going && entry->chat != NULL && entry->next_at <= now &&
	       (entry->count == 0 || entry->sent < entry->count)) {
		hermes_chat_progress(entry->chat, &entry->progress);
		compose(text, entry->size, entry->id, entry->app->seed,
		    entry->progress.next_send);
		if (hermes_send(entry->chat, text, entry->size, &sequence) ==
		    -1) {
			if (errno != EAGAIN)
				entry->errors++;
			return;
		}
		if (sequence != entry->progress.next_send)
			wrong(
			    entry, "next", sequence, entry->progress.next_send);
		in_order(entry, "sent", &entry->last_sent, sequence);
		entry->sent++;
		if (entry->first_sent == 0)
			entry->first_sent = now;
		if (entry->every != 0)
			entry->next_at = now + entry->every;
	}
}

static void
on_writable(struct hermes_chat *chat, void *arg)
{
	struct load_chat *entry = hermes_chat_arg(chat);

	(void)arg;
	if (entry != NULL && entry->every == 0)
		chat_send(entry, clock_monotonic());
}

/* The peer may begin a chat again before we do. NULL: it is in no plan, and
 * the test sees what is missing. */
static struct load_chat *
chat_entry(struct hermes_chat *chat, const struct app *app)
{
	struct load_chat *entry = hermes_chat_arg(chat);

	if (entry != NULL)
		return (entry);
	SLIST_FOREACH(entry, &load.chats, entry)
	{
		if (entry->app != app || entry->chat != NULL ||
		    strcmp(entry->id, hermes_chat_id(chat)) != 0 ||
		    strcmp(entry->peer, hermes_chat_peer(chat)) != 0)
			continue;
		entry->chat = chat;
		hermes_chat_set_arg(chat, entry);
		return (entry);
	}
	return (NULL);
}

static void
on_message(struct hermes_chat *chat, uint64_t sequence, const void *payload,
    size_t length, void *arg)
{
	struct load_chat *entry = chat_entry(chat, arg);
	char text[TEXT_MAX];

	if (entry == NULL)
		return;
	if (entry->received++ == 0)
		entry->first = sequence;
	hermes_chat_progress(chat, &entry->progress);
	if (entry->last_received != 0)
		entry->last_received += entry->progress.gaps - entry->gaps;
	entry->gaps = entry->progress.gaps;
	in_order(entry, "received", &entry->last_received, sequence);
	if (length > sizeof(text)) {
		wrong(entry, "length", length, sizeof(text));
		return;
	}
	compose(text, length, entry->id, entry->peer_seed, sequence);
	if (memcmp(text, payload, length) != 0)
		wrong(entry, "content", sequence, sequence);
}

static void
on_acked(struct hermes_chat *chat, uint64_t sequence, int64_t rtt, void *arg)
{
	struct load_chat *entry = hermes_chat_arg(chat);

	(void)rtt;
	(void)arg;
	if (entry == NULL)
		return;
	entry->acked++;
	in_order(entry, "acked", &entry->last_ack, sequence);
	entry->last_acked = clock_monotonic();
}

static void
on_gone(struct hermes_chat *chat, const char *status, void *arg)
{
	struct load_chat *entry = hermes_chat_arg(chat);

	(void)arg;
	if (entry == NULL)
		return;
	hermes_chat_progress(chat, &entry->progress);
	(void)snprintf(entry->gone, sizeof(entry->gone), "%s", status);
	entry->chat = NULL;
	if (entry->sent > entry->acked)
		entry->abandoned = entry->sent - entry->acked;
	entry->ends++;
	entry->gaps = 0;
	entry->last_sent = entry->last_ack = entry->last_received = 0;
}

static void
on_error(struct hermes *hermes, struct hermes_chat *chat,
    const struct hermes_error *error, void *arg)
{
	struct load_chat *entry;

	(void)hermes;
	(void)arg;
	if (chat == NULL || (entry = hermes_chat_arg(chat)) == NULL)
		return;
	entry->errors++;
	(void)snprintf(entry->error, sizeof(entry->error), "%s", error->code);
}

static void
on_connected(struct hermes *hermes, const char *session, void *arg)
{
	struct app *app = arg;

	(void)hermes;
	(void)session;
	app->connects++;
}

static const struct hermes_callbacks callbacks = { .connected = on_connected,
	.message = on_message,
	.acked = on_acked,
	.writable = on_writable,
	.error = on_error,
	.gone = on_gone };

static int
chat_begin(struct load_chat *entry)
{
	entry->chat =
	    hermes_chat_start(entry->app->hermes, entry->id, entry->peer, NULL);
	if (entry->chat == NULL)
		return (bad("chat"));
	hermes_chat_set_arg(entry->chat, entry);
	return (0);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct load_chat *entry;
	int64_t now = clock_monotonic();

	(void)fd;
	(void)what;
	(void)arg;
	SLIST_FOREACH(entry, &load.chats, entry)
	{
		if (entry->chat == NULL &&
		    (strncmp(entry->gone, "deleted", 7) == 0 ||
			strcmp(entry->gone, "not_found") == 0))
			(void)chat_begin(entry);
		chat_send(entry, now);
	}
}

/* --- commands ------------------------------------------------------------ */

static struct app *
app_find(const char *seed)
{
	struct app *app;

	SLIST_FOREACH(app, &load.apps, entry)
	if (strcmp(app->seed, seed) == 0)
		return (app);
	return (NULL);
}

/* Ended for both sides, and asked for again at once. */
static int
command_delete(const struct app *app, const char *id)
{
	struct load_chat *entry;

	SLIST_FOREACH(entry, &load.chats, entry)
	{
		if (entry->app != app || strcmp(entry->id, id) != 0)
			continue;
		if (entry->chat != NULL)
			(void)hermes_chat_delete(entry->chat, "");
		return (0);
	}
	return (bad("no such chat"));
}

static int
command_app(const char *seed)
{
	struct hermes_options options;
	struct app *app;
	uint8_t key[HERMES_KEY_SIZE];
	char error[160];

	if ((app = calloc(1, sizeof(*app))) == NULL)
		return (bad("memory"));
	(void)snprintf(app->seed, sizeof(app->seed), "%s", seed);
	(void)crypto_hash_sha256(key, (const uint8_t *)seed, strlen(seed));
	hermes_options_default(&options);
	options.node = load.address;
	options.seed = key;
	options.reconnect = 1;
	options.accept_auto = 1;
	options.start_timeout = PATIENCE;
	options.backoff_max = CLOCK_SECOND;
	app->hermes = hermes_new(
	    load.base, &options, &callbacks, app, error, sizeof(error));
	sodium_memzero(key, sizeof(key));
	if (app->hermes == NULL) {
		free(app);
		return (bad(error));
	}
	SLIST_INSERT_HEAD(&load.apps, app, entry);
	return (0);
}

static int
command_chat(struct app *app, const char *id, const char *peer,
    const unsigned long long numbers[3])
{
	struct load_chat *entry;
	uint8_t key[HERMES_KEY_SIZE];

	if (numbers[2] < 1 || numbers[2] > TEXT_MAX)
		return (bad("size"));
	if ((entry = calloc(1, sizeof(*entry))) == NULL)
		return (bad("memory"));
	entry->app = app;
	(void)snprintf(entry->id, sizeof(entry->id), "%s", id);
	(void)snprintf(entry->peer_seed, sizeof(entry->peer_seed), "%s", peer);
	entry->every = (int64_t)numbers[0] * CLOCK_MS;
	entry->count = numbers[1];
	entry->size = numbers[2];
	(void)crypto_hash_sha256(key, (const uint8_t *)peer, strlen(peer));
	hermes_key_app_id(key, entry->peer);
	if (chat_begin(entry) == -1) {
		free(entry);
		return (-1);
	}
	SLIST_INSERT_HEAD(&load.chats, entry, entry);
	return (0);
}

static void
show(void)
{
	struct load_chat *entry;
	json_t *list = json_array(), *row;

	SLIST_FOREACH(entry, &load.chats, entry)
	{
		if (entry->chat != NULL)
			hermes_chat_progress(entry->chat, &entry->progress);
		row = json_pack("{s:s s:s s:s s:I s:I s:I s:I s:I s:I s:I s:I"
				" s:I s:I s:I s:b s:f s:s s:s s:s s:I}",
		    "app", entry->app->seed, "peer", entry->peer_seed, "chat",
		    entry->id, "sent", (json_int_t)entry->sent, "acked",
		    (json_int_t)entry->acked, "received",
		    (json_int_t)entry->received, "first",
		    (json_int_t)entry->first, "wrong", (json_int_t)entry->wrong,
		    "errors", (json_int_t)entry->errors, "duplicates",
		    (json_int_t)entry->progress.duplicates, "gaps",
		    (json_int_t)entry->progress.gaps, "resent",
		    (json_int_t)entry->progress.resent, "abandoned",
		    (json_int_t)entry->abandoned, "ends",
		    (json_int_t)entry->ends, "ready",
		    entry->chat != NULL && hermes_chat_is_ready(entry->chat),
		    "seconds",
		    (double)(entry->last_acked - entry->first_sent) /
			(double)CLOCK_SECOND,
		    "fault", entry->fault, "gone", entry->gone, "error",
		    entry->error, "connects", (json_int_t)entry->app->connects);
		if (row == NULL || json_array_append_new(list, row) == -1) {
			(void)bad("memory");
			exit(1);
		}
	}
	(void)json_dumpf(list, stdout, JSON_COMPACT);
	(void)putchar('\n');
	json_decref(list);
}

static int
command(const char *line)
{
	struct app *app;
	unsigned long long numbers[3];
	char words[3][64];

	if (sscanf(line, "app %63s", words[0]) == 1)
		return (command_app(words[0]));
	if (sscanf(line, "chat %63s %63s %63s %llu %llu %llu", words[0],
		words[1], words[2], &numbers[0], &numbers[1],
		&numbers[2]) == 6) {
		if ((app = app_find(words[0])) == NULL)
			return (bad("no such app"));
		return (command_chat(app, words[1], words[2], numbers));
	}
	if (sscanf(line, "drop %63s", words[0]) == 1 &&
	    (app = app_find(words[0])) != NULL)
		return (hermes_set_node(app->hermes, load.address, NULL));
	if (sscanf(line, "move %63s %63s", words[0], words[1]) == 2 &&
	    (app = app_find(words[0])) != NULL)
		return (hermes_set_node(app->hermes, words[1], NULL));
	if (sscanf(line, "delete %63s %63s", words[0], words[1]) == 2 &&
	    (app = app_find(words[0])) != NULL)
		return (command_delete(app, words[1]));
	if (strcmp(line, "go") == 0 || strcmp(line, "stop") == 0) {
		load.going = line[0] == 'g';
		on_tick(-1, 0, NULL);
		return (0);
	}
	return (bad(line));
}

static void
on_input(evutil_socket_t fd, short what, void *arg)
{
	struct evbuffer *input = arg;
	char *line;
	int n;

	(void)what;
	if ((n = evbuffer_read(input, fd, -1)) <= 0) {
		(void)event_base_loopbreak(load.base);
		return;
	}
	while ((line = evbuffer_readln(input, NULL, EVBUFFER_EOL_LF)) != NULL) {
		if (strcmp(line, "show") == 0)
			show();
		else if (command(line) == -1)
			exit(1);
		else
			(void)puts("ok");
		(void)fflush(stdout);
		free(line);
	}
}

int
main(int argc, char *argv[])
{
	const struct timeval every = { 0, TICK / 1000 };
	struct evbuffer *input;
	struct event *tick, *reader;
	struct load_chat *entry;
	struct app *app;

	if (argc != 2 || sodium_init() == -1) {
		(void)fprintf(stderr, "usage: load ADDRESS <commands\n");
		return (1);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	load.address = argv[1];
	load.base = event_base_new();
	input = evbuffer_new();
	if (load.base == NULL || input == NULL)
		return (1);
	tick = event_new(load.base, -1, EV_PERSIST, on_tick, NULL);
	reader = event_new(
	    load.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, input);
	if (tick == NULL || reader == NULL || event_add(tick, &every) == -1 ||
	    event_add(reader, NULL) == -1)
		return (1);
	(void)event_base_dispatch(load.base);
	while ((entry = SLIST_FIRST(&load.chats)) != NULL) {
		SLIST_REMOVE_HEAD(&load.chats, entry);
		free(entry);
	}
	while ((app = SLIST_FIRST(&load.apps)) != NULL) {
		SLIST_REMOVE_HEAD(&load.apps, entry);
		hermes_free(app->hermes);
		free(app);
	}
	(void)event_base_loop(load.base, EVLOOP_NONBLOCK);
	event_free(tick);
	event_free(reader);
	evbuffer_free(input);
	event_base_free(load.base);
	return (0);
}
