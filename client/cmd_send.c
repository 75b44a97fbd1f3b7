/*
 * hermes send: lines of stdin, or --count generated messages, until each is
 * acknowledged. hermes delete: only end the chat.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "client/cmd.h"
#include "common/util/clock.h"

static struct {
	const char *peer;
	struct app_chat *chat;
	struct input *input;
	struct event *pace;
	char *text; /* app->size bytes */
	int ended;
	int blocked;
} sender;

static void
send_maybe_done(struct app *app)
{
	if (sender.ended && sender.chat->acked == sender.chat->sent &&
	    app->received >= app->answers)
		app_finish(app, EXIT_DONE);
}

static int
send_failed(struct app *app)
{
	if (errno == EAGAIN) {
		sender.blocked = 1;
		return (-1);
	}
	print_error("not sent: %s", strerror(errno));
	app_finish(app, EXIT_ERROR);
	return (-1);
}

/* --- lines --------------------------------------------------------------- */

static int
send_on_line(const char *line, size_t length, void *arg)
{
	if (app_send(arg, sender.chat, line, length) == -1)
		return (send_failed(arg));
	return (0);
}

static void
send_on_end(void *arg)
{
	sender.ended = 1;
	send_maybe_done(arg);
}

static const struct input_callbacks send_input = { .line = send_on_line,
	.end = send_on_end };

/* --- generated messages -------------------------------------------------- */

static int
send_one(struct app *app)
{
	struct hermes_progress progress;

	hermes_chat_progress(sender.chat->chat, &progress);
	generate_message(progress.next_send, sender.text, app->size);
	if (app_send(app, sender.chat, sender.text, app->size) == -1)
		return (send_failed(app));
	if (sender.chat->sent == app->count)
		sender.ended = 1;
	return (0);
}

static void
send_generated(struct app *app)
{
	struct timeval tv;

	if (app->interval == 0) {
		while (!sender.ended && send_one(app) == 0)
			;
		return;
	}
	tv.tv_sec = (time_t)(app->interval / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(app->interval % CLOCK_SECOND / 1000);
	if (!sender.ended && send_one(app) == 0 && !sender.ended)
		(void)event_add(sender.pace, &tv); /* its heap slot was
							   kept */
}

static void
send_on_pace(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	if (sender.chat->chat != NULL)
		send_generated(arg);
}

/* --- hooks --------------------------------------------------------------- */

static void
send_connected(struct app *app)
{
	if (sender.chat == NULL)
		sender.chat = app_start_chat(app, app->chat_id, sender.peer);
}

static void
send_ready(struct app *app, struct app_chat *entry)
{
	if (entry != sender.chat || sender.input != NULL || sender.text != NULL)
		return;
	if (app->count == 0) {
		sender.input = input_new(app->base, &send_input, app);
		if (sender.input == NULL)
			app_finish(app, EXIT_LOCAL);
		return;
	}
	sender.text = malloc(app->size + 1);
	sender.pace = evtimer_new(app->base, send_on_pace, app);
	if (sender.text == NULL || sender.pace == NULL) {
		app_finish(app, EXIT_LOCAL);
		return;
	}
	send_generated(app);
}

static void
send_writable(struct app *app, struct app_chat *entry)
{
	if (entry != sender.chat || !sender.blocked)
		return;
	sender.blocked = 0;
	if (sender.input != NULL)
		input_resume(sender.input);
	else
		send_generated(app);
}

static void
send_acked(
    struct app *app, struct app_chat *entry, uint64_t sequence, int64_t rtt)
{
	(void)entry;
	(void)sequence;
	(void)rtt;
	send_maybe_done(app);
}

/* An answer, or what an echo sent back. */
static void
send_message(struct app *app, struct app_chat *entry, uint64_t sequence,
    const char *payload, size_t length)
{
	if (app->check && !generate_matches(sequence, payload, length)) {
		print_error(
		    "message %llu is altered", (unsigned long long)sequence);
		app_finish(app, EXIT_VERIFY);
		return;
	}
	if (!app->check && !app->markers)
		print_line(hermes_chat_peer(entry->chat), payload, length);
	send_maybe_done(app);
}

static void
send_finishing(struct app *app)
{
	input_free(sender.input);
	if (sender.pace != NULL)
		event_free(sender.pace);
	free(sender.text);
	if (sender.chat != NULL && app->status == EXIT_DONE &&
	    (sender.chat->acked != sender.chat->sent ||
		app->received < app->answers))
		app->status = EXIT_VERIFY; /* stopped by a signal */
}

static const struct app_hooks send_hooks = { .connected = send_connected,
	.ready = send_ready,
	.writable = send_writable,
	.acked = send_acked,
	.message = send_message,
	.finishing = send_finishing };

int
cmd_send(struct app *app, int argc, char **argv)
{
	(void)argc;
	sender.peer = argv[0];
	return (app_run(app, &send_hooks, 0));
}

/* --- delete -------------------------------------------------------------- */

static void
delete_ready(struct app *app, struct app_chat *entry)
{
	(void)entry;
	app_finish(app, EXIT_DONE);
}

static const struct app_hooks delete_hooks = { .connected = send_connected,
	.ready = delete_ready };

int
cmd_delete(struct app *app, int argc, char **argv)
{
	(void)argc;
	sender.peer = argv[0];
	app->delete_at_end = 1;
	return (app_run(app, &delete_hooks, 0));
}
