/* hermes chat: lines typed go out, lines of the peer come in. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cmd.h"

static struct {
	const char *peer; /* NULL: who comes first */
	struct app_chat *chat;
	struct input *input;
	int ended;   /* no more lines */
	int blocked; /* a line waits for room */
} chat;

static void
chat_maybe_done(struct app *app)
{
	if (chat.ended && chat.chat->acked == chat.chat->sent)
		app_finish(app, EXIT_DONE);
}

static int
chat_on_line(const char *line, size_t length, void *arg)
{
	struct app *app = arg;

	if (app_send(app, chat.chat, line, length) == 0)
		return (0);
	if (errno == EAGAIN) {
		chat.blocked = 1;
		return (-1);
	}
	print_error("not sent: %s", strerror(errno));
	return (0);
}

static void
chat_on_end(void *arg)
{
	chat.ended = 1;
	chat_maybe_done(arg);
}

static const struct input_callbacks chat_input = { .line = chat_on_line,
	.end = chat_on_end };

static void
chat_connected(struct app *app)
{
	if (chat.peer == NULL)
		print_status(app,
		    "waiting; the other side types: hermes chat %s",
		    app->own_id);
	else if (chat.chat == NULL)
		chat.chat = app_start_chat(app, app->chat_id, chat.peer);
}

static void
chat_ready(struct app *app, struct app_chat *entry)
{
	if (chat.chat == NULL && chat.peer == NULL) {
		chat.chat = entry;
		print_status(app, "%s is here", hermes_chat_peer(entry->chat));
	}
	if (entry != chat.chat) {
		(void)hermes_chat_delete(entry->chat, "busy");
		return;
	}
	if (chat.input != NULL)
		return;
	chat.input = input_new(app->base, &chat_input, app);
	if (chat.input == NULL)
		app_finish(app, EXIT_LOCAL);
}

static void
chat_writable(struct app *app, struct app_chat *entry)
{
	(void)app;
	if (entry == chat.chat && chat.blocked) {
		chat.blocked = 0;
		input_resume(chat.input);
	}
}

static void
chat_message(struct app *app, struct app_chat *entry, uint64_t sequence,
    const char *payload, size_t length)
{
	(void)app;
	(void)sequence;
	if (entry == chat.chat)
		print_line(hermes_chat_peer(entry->chat), payload, length);
}

static void
chat_acked(
    struct app *app, struct app_chat *entry, uint64_t sequence, int64_t rtt)
{
	(void)entry;
	(void)sequence;
	(void)rtt;
	chat_maybe_done(app);
}

/* The peer ended it: that is how conversations end. */
static int
chat_gone(struct app *app, struct app_chat *entry)
{
	if (entry == chat.chat)
		app_finish(
		    app, entry->acked == entry->sent ? EXIT_DONE : EXIT_GONE);
	return (1);
}

static void
chat_finishing(struct app *app)
{
	(void)app;
	input_free(chat.input);
}

static const struct app_hooks chat_hooks = { .connected = chat_connected,
	.ready = chat_ready,
	.writable = chat_writable,
	.message = chat_message,
	.acked = chat_acked,
	.gone = chat_gone,
	.finishing = chat_finishing };

int
cmd_chat(struct app *app, int argc, char **argv)
{
	chat.peer = argc > 0 ? argv[0] : NULL;
	if (app_identity_made(app) == -1)
		return (EXIT_LOCAL);
	return (app_run(app, &chat_hooks, chat.peer == NULL));
}
