/*
 * hermes(1). What every subcommand that talks to a node does: identity,
 * connect, count each message, say each state once, stop in order.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/cmd.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/log.h"

#define CA_SIZE_MAX    (1024 * 1024)
#define DELETE_TIMEOUT 10 /* s to wait for what --delete asked */

const char *
app_key_path(const struct app *app)
{
	static char path[512];
	const char *home = getenv("HOME");

	if (app->key_path != NULL)
		return (app->key_path);
	if (home == NULL || (size_t)snprintf(path, sizeof(path),
				"%s/.hermes.key", home) >= sizeof(path))
		return (NULL);
	return (path);
}

int
app_identity(struct app *app)
{
	const char *path;

	if (sodium_init() == -1) {
		print_error("no randomness");
		return (-1);
	}
	if (app->seed_text != NULL)
		(void)crypto_hash_sha256(app->seed,
		    (const uint8_t *)app->seed_text, strlen(app->seed_text));
	else {
		path = app_key_path(app);
		if (path == NULL || hermes_key_load(path, app->seed) == -1) {
			print_error("%s: %s", path == NULL ? "key" : path,
			    errno == EPERM
				? "must be a file of yours with mode 0600"
			    : errno == EINVAL ? "not a key file"
			    : errno == ENOENT
				? "is not there; hermes keygen makes one"
				: strerror(errno));
			return (-1);
		}
	}
	hermes_key_app_id(app->seed, app->own_id);
	return (0);
}

int
app_identity_made(struct app *app)
{
	const char *path = app_key_path(app);

	if (app->key_path == NULL && app->seed_text == NULL && path != NULL) {
		if (hermes_key_create(path, app->seed) == 0)
			print_status(app, "made your key, %s", path);
		else if (errno != EEXIST) {
			print_error("%s: %s", path, strerror(errno));
			return (-1);
		}
	}
	return (app_identity(app));
}

/* --- chats of this run --------------------------------------------------- */

/* NULL only without memory, and then the run is over. */
static struct app_chat *
app_chat_of(struct app *app, struct hermes_chat *chat)
{
	struct app_chat *entry;

	if ((entry = hermes_chat_arg(chat)) != NULL)
		return (entry);
	if ((entry = calloc(1, sizeof(*entry))) == NULL) {
		print_error("out of memory");
		exit(EXIT_LOCAL);
	}
	entry->chat = chat;
	entry->next = app->first;
	app->first = entry;
	hermes_chat_set_arg(chat, entry);
	return (entry);
}

struct app_chat *
app_start_chat(struct app *app, const char *chat_id, const char *peer)
{
	struct hermes_chat *chat;
	struct app_chat *entry;

	chat = hermes_chat_start(app->hermes, chat_id, peer, NULL);
	if (chat == NULL) {
		print_error("chat %s: %s", chat_id,
		    errno != EINVAL ? strerror(errno)
		    : strcmp(peer, app->own_id) == 0
			? "an app has none with itself"
			: "not a name of 1 to 128 bytes");
		app_finish(app, EXIT_LOCAL);
		return (NULL);
	}
	entry = app_chat_of(app, chat);
	entry->own = 1;
	return (entry);
}

static void
app_count_chat(struct app *app, const struct app_chat *entry)
{
	struct hermes_progress progress;

	if (entry->chat == NULL)
		return;
	hermes_chat_progress(entry->chat, &progress);
	app->duplicates += progress.duplicates;
	app->gaps += progress.gaps;
	app->resent += progress.resent;
}

int
app_send(
    struct app *app, struct app_chat *chat, const void *payload, size_t length)
{
	uint64_t sequence;

	if (hermes_send(chat->chat, payload, length, &sequence) == -1)
		return (-1);
	chat->sent++;
	app->sent++;
	print_marker(app, "SENT %llu", (unsigned long long)sequence);
	if (app->rekey_every != 0 && chat->sent % app->rekey_every == 0 &&
	    hermes_chat_rekey(chat->chat, NULL) == -1)
		print_status(app, "rekey: %s", strerror(errno));
	return (0);
}

/* --- the end ------------------------------------------------------------- */

static void
app_stop(struct app *app)
{
	app->over = 1;
	(void)event_base_loopbreak(app->base); /* cannot fail on a base */
}

/* Every chat that --delete ended is gone. */
static void
app_maybe_stop(struct app *app)
{
	struct app_chat *entry;

	for (entry = app->first; entry != NULL; entry = entry->next)
		if (entry->chat != NULL)
			return;
	app_stop(app);
}

/* Ask for the chat's end; 1 when there is one to wait for. */
static int
app_delete(struct app *app, struct app_chat *entry)
{
	if (entry->chat == NULL)
		return (0);
	if (hermes_chat_delete(entry->chat, app->reason) == 0)
		return (1);
	return (
	    app->expect_restart || app->follow); /* once it is ready again */
}

void
app_finish(struct app *app, int status)
{
	struct timeval tv = { DELETE_TIMEOUT, 0 };
	struct app_chat *entry;
	int waiting = 0;

	if (app->finishing)
		return;
	app->finishing = 1;
	app->status = status;
	if (app->delete_at_end && status == EXIT_DONE)
		for (entry = app->first; entry != NULL; entry = entry->next)
			waiting |= app_delete(app, entry);
	if (waiting)
		(void)event_add(app->deadline, &tv); /* was added before */
	else
		app_stop(app);
}

/* What the time was up for. */
static void
app_say_timeout(const struct app *app)
{
	const struct app_chat *entry;

	if (app->finishing) {
		print_error("the chat was not deleted in time");
		return;
	}
	if (!app->connected) {
		print_error("timeout: no connection to %s", app->node);
		return;
	}
	for (entry = app->first; entry != NULL; entry = entry->next)
		if (entry->chat != NULL && !hermes_chat_is_ready(entry->chat)) {
			print_error("timeout: no node knows %.12s, or it does "
				    "not take chat %s",
			    hermes_chat_peer(entry->chat),
			    hermes_chat_id(entry->chat));
			return;
		}
	print_error("timeout");
}

static void
app_on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct app *app = arg;

	(void)fd;
	(void)what;
	app_say_timeout(app);
	app->status = EXIT_TIMEOUT;
	app->finishing = 1;
	app_stop(app);
}

static void
app_on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct app *app = arg;

	(void)fd;
	(void)what;
	if (app->finishing)
		app_stop(app);
	else
		app_finish(app, EXIT_DONE);
}

/* --- callbacks of libhermes ---------------------------------------------- */

static void
app_on_connected(struct hermes *hermes, const char *session, void *arg)
{
	struct app *app = arg;
	char key[HEX_SHORT_SIZE];

	(void)session;
	app->connected = 1;
	print_status(app, "connected to %s (%s)", hermes_node_id(hermes),
	    hex_short(key, hermes_node_key(hermes), HERMES_KEY_SIZE));
	print_marker(app, "CONNECTED node=%s", hermes_node_id(hermes));
	if (app->hooks->connected != NULL)
		app->hooks->connected(app);
}

static void
app_on_disconnected(
    struct hermes *hermes, const char *why, int again, void *arg)
{
	struct app *app = arg;
	char text[PRINT_TEXT_SIZE];

	(void)hermes;
	app->connected = 0;
	print_status(app, "not connected: %s%s", print_text(text, why),
	    again ? ", trying again" : "");
	print_marker(app, "DISCONNECTED");
	if (again || app->over)
		return;
	if (app->finishing)
		app_stop(app);
	else
		app_finish(app, EXIT_NODE);
}

static void
app_on_go_away(struct hermes *hermes, const char *reason,
    const struct hermes_node *nodes, size_t count, void *arg)
{
	struct app *app = arg;
	char text[LOG_TEXT_SIZE];

	(void)hermes;
	(void)nodes;
	print_status(app, "the node asks to leave: %s; %zu other nodes",
	    log_text(text, reason, strlen(reason)), count);
	print_marker(app, "GO_AWAY %s", text);
}

static void
app_on_offered(struct hermes *hermes, struct hermes_chat *chat,
    const uint8_t *peer_key, void *arg)
{
	struct app *app = arg;

	(void)hermes;
	(void)peer_key;
	print_status(app, "%.12s wants chat %s", hermes_chat_peer(chat),
	    hermes_chat_id(chat));
	(void)app_chat_of(app, chat);
}

static void
app_on_ready(struct hermes_chat *chat, int resumed, void *arg)
{
	struct app *app = arg;
	struct app_chat *entry = app_chat_of(app, chat);
	struct hermes_progress progress;

	hermes_chat_progress(chat, &progress);
	if (!entry->ready_before)
		print_marker(app, "READY chat=%s version=%u",
		    hermes_chat_id(chat), hermes_chat_version(chat));
	if (resumed || entry->ready_before)
		print_marker(app,
		    "RESUMED next_send=%llu next_receive=%llu "
		    "version=%u",
		    (unsigned long long)progress.next_send - progress.kept,
		    (unsigned long long)progress.next_receive,
		    hermes_chat_version(chat));
	print_status(app, "chat %s with %.12s is ready, keys version %u",
	    hermes_chat_id(chat), hermes_chat_peer(chat),
	    hermes_chat_version(chat));
	if (app->rekey && !entry->ready_before &&
	    hermes_chat_rekey(chat, NULL) == -1)
		print_status(app, "rekey: %s", strerror(errno));
	entry->ready_before = 1;
	if (app->finishing && app->delete_at_end)
		(void)app_delete(app, entry);
	else if (app->hooks->ready != NULL)
		app->hooks->ready(app, entry);
}

static void
app_on_message(struct hermes_chat *chat, uint64_t sequence, const void *payload,
    size_t length, void *arg)
{
	struct app *app = arg;
	struct app_chat *entry = app_chat_of(app, chat);

	if (app->over)
		return; /* -c was reached */
	if (entry->received++ == 0)
		entry->first = sequence;
	app->received++;
	print_marker(app, "RECEIVED %llu", (unsigned long long)sequence);
	if (app->hooks->message != NULL)
		app->hooks->message(app, entry, sequence, payload, length);
}

static void
app_on_acked(
    struct hermes_chat *chat, uint64_t sequence, int64_t rtt, void *arg)
{
	struct app *app = arg;
	struct app_chat *entry = app_chat_of(app, chat);

	entry->acked++;
	app->acked++;
	print_marker(app, "ACKED %llu", (unsigned long long)sequence);
	if (app->hooks->acked != NULL)
		app->hooks->acked(app, entry, sequence, rtt);
}

static void
app_on_writable(struct hermes_chat *chat, void *arg)
{
	struct app *app = arg;

	if (app->hooks->writable != NULL)
		app->hooks->writable(app, app_chat_of(app, chat));
}

static void
app_on_status(struct hermes_chat *chat, const char *status, void *arg)
{
	struct app *app = arg;
	char text[LOG_TEXT_SIZE];

	(void)log_text(text, status, strlen(status));
	print_status(app, "chat %s: %s (keys version %u)", hermes_chat_id(chat),
	    text, hermes_chat_version(chat));
	if (strcmp(status, "rekeyed") == 0)
		print_marker(app, "REKEYED %u", hermes_chat_version(chat));
	else if (strcmp(status, "peer_away") == 0)
		print_marker(app, "PEER_AWAY");
	else if (strcmp(status, "peer_back") == 0)
		print_marker(app, "PEER_BACK");
}

static void
app_on_error(struct hermes *hermes, struct hermes_chat *chat,
    const struct hermes_error *error, void *arg)
{
	struct app *app = arg;
	char code[LOG_TEXT_SIZE], text[PRINT_TEXT_SIZE];

	(void)hermes;
	(void)log_text(code, error->code, strlen(error->code));
	print_error("%s %s: %s", chat == NULL ? "node" : hermes_chat_id(chat),
	    code, print_text(text, error->message));
	print_marker(app, "ERROR %s", code);
	/* A refused rekey hurts nothing, nor does what a stranger began; a
	 * chat of ours that cannot start does. */
	if (chat == NULL ||
	    (!hermes_chat_is_ready(chat) && app_chat_of(app, chat)->own) ||
	    strcmp(error->code, "MESSAGE_TOO_LARGE") == 0)
		app_finish(app, EXIT_ERROR);
}

static void
app_on_gone(struct hermes_chat *chat, const char *status, void *arg)
{
	struct app *app = arg;
	struct app_chat *entry = app_chat_of(app, chat);
	char text[LOG_TEXT_SIZE];
	int expected;

	(void)log_text(text, status, strlen(status));
	print_status(app, "chat %s with %.12s is over: %s",
	    hermes_chat_id(chat), hermes_chat_peer(chat), text);
	print_marker(app, "DELETED %s", text);
	app_count_chat(app, entry);
	entry->chat = NULL;
	if (app->finishing) {
		app_maybe_stop(app);
		return;
	}
	expected = app->hooks->gone != NULL ? app->hooks->gone(app, entry)
					    : !entry->own;
	if (!expected)
		app_finish(app, EXIT_GONE);
}

static void
app_on_found(struct hermes *hermes, const char *app_id, const char *node_id,
    const char *status, void *arg)
{
	struct app *app = arg;

	(void)hermes;
	if (app->hooks->found != NULL)
		app->hooks->found(app, app_id, node_id, status);
}

static const struct hermes_callbacks app_callbacks = { .connected =
							   app_on_connected,
	.disconnected = app_on_disconnected,
	.go_away = app_on_go_away,
	.offered = app_on_offered,
	.ready = app_on_ready,
	.message = app_on_message,
	.acked = app_on_acked,
	.writable = app_on_writable,
	.status = app_on_status,
	.error = app_on_error,
	.gone = app_on_gone,
	.found = app_on_found };

/* --- the run ------------------------------------------------------------- */

static int
app_read_ca(struct app *app, struct hermes_options *options)
{
	FILE *file;
	size_t length;

	if (app->ca_path == NULL)
		return (0);
	if ((file = fopen(app->ca_path, "re")) == NULL) {
		print_error("%s: %s", app->ca_path, strerror(errno));
		return (-1);
	}
	if ((app->ca_pem = malloc(CA_SIZE_MAX)) == NULL) {
		(void)fclose(file);
		return (-1);
	}
	length = fread(app->ca_pem, 1, CA_SIZE_MAX, file);
	(void)fclose(file); /* only read from */
	if (length == 0) {
		print_error("%s: no certificate in it", app->ca_path);
		return (-1);
	}
	options->ca_pem = app->ca_pem;
	options->ca_length = length;
	return (0);
}

/* stdin may be a file, which epoll does not take. */
static struct event_base *
app_base(void)
{
	struct event_config *config;
	struct event_base *base;

	if ((config = event_config_new()) == NULL)
		return (NULL);
	if (event_config_require_features(config, EV_FEATURE_FDS) == -1) {
		event_config_free(config);
		return (NULL);
	}
	base = event_base_new_with_config(config);
	event_config_free(config);
	return (base);
}

static int
app_events(struct app *app)
{
	struct timeval tv;

	app->deadline = evtimer_new(app->base, app_on_deadline, app);
	app->signals[0] = evsignal_new(app->base, SIGINT, app_on_signal, app);
	app->signals[1] = evsignal_new(app->base, SIGTERM, app_on_signal, app);
	if (app->deadline == NULL || app->signals[0] == NULL ||
	    app->signals[1] == NULL || event_add(app->signals[0], NULL) ||
	    event_add(app->signals[1], NULL))
		return (-1);
	tv.tv_sec = (time_t)(app->timeout / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(app->timeout % CLOCK_SECOND / 1000);
	if (app->timeout > 0 && event_add(app->deadline, &tv) == -1)
		return (-1);
	return (0);
}

static void
app_done(struct app *app)
{
	struct app_chat *entry;
	size_t i;

	for (entry = app->first; entry != NULL; entry = entry->next)
		app_count_chat(app, entry);
	if (app->hooks->finishing != NULL)
		app->hooks->finishing(app);
	if (app->status == EXIT_DONE && app->gaps > 0)
		app->status = EXIT_VERIFY;
	print_marker(app,
	    "DONE sent=%llu acked=%llu received=%llu "
	    "duplicates=%llu gaps=%llu resent=%llu",
	    (unsigned long long)app->sent, (unsigned long long)app->acked,
	    (unsigned long long)app->received,
	    (unsigned long long)app->duplicates, (unsigned long long)app->gaps,
	    (unsigned long long)app->resent);
	hermes_free(app->hermes);
	while ((entry = app->first) != NULL) {
		app->first = entry->next;
		free(entry);
	}
	event_free(app->deadline);
	for (i = 0; i < 2; i++)
		event_free(app->signals[i]);
	/* Let the connection close in form before the program ends. */
	(void)event_base_loop(app->base, EVLOOP_NONBLOCK);
	event_base_free(app->base);
	free(app->ca_pem);
	sodium_memzero(app->seed, sizeof(app->seed));
}

int
app_run(struct app *app, const struct app_hooks *hooks, int accept_auto)
{
	struct hermes_options options;
	char error[256];

	app->hooks = hooks;
	if (app->own_id[0] == '\0' && app_identity(app) == -1)
		return (EXIT_LOCAL);
	hermes_options_default(&options);
	options.node = app->node;
	options.seed = app->seed;
	options.node_key = app->has_pin ? app->pin : NULL;
	options.accept_auto = accept_auto;
	options.reconnect = app->expect_restart || app->follow;
	options.follow = app->follow;
	options.window = app->window;
	options.end_to_end = app->end_to_end;
	options.state_folder = app->state_folder;
	if (app->timeout > 0)
		options.start_timeout = app->timeout;
	if (app_read_ca(app, &options) == -1)
		return (EXIT_LOCAL);
	if ((app->base = app_base()) == NULL || app_events(app) == -1) {
		print_error("no event loop");
		return (EXIT_LOCAL);
	}
	app->hermes = hermes_new(
	    app->base, &options, &app_callbacks, app, error, sizeof(error));
	if (app->hermes == NULL) {
		print_error("%s", error);
		return (EXIT_LOCAL);
	}
	if (event_base_dispatch(app->base) == -1)
		app->status = EXIT_LOCAL;
	app_done(app);
	return (app->status);
}
