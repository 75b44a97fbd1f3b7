/*
 * hermes recv: print what comes; with --check, prove that generated messages
 * came whole, once and in order; with --echo, send each back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/cmd.h"

/* A message to be echoed when there is room again. */
struct echo {
	struct echo *next;
	struct app_chat *chat;
	size_t length;
	char bytes[];
};

static struct {
	const char *peer; /* NULL: anybody */
	struct app_chat *chat;
	struct echo *first;
	struct echo **last;
	int altered;
} receiver;

/* --- echo ---------------------------------------------------------------- */

static void
echo_flush(struct app *app)
{
	struct echo *echo;

	while ((echo = receiver.first) != NULL) {
		if (echo->chat->chat != NULL &&
		    app_send(app, echo->chat, echo->bytes, echo->length) ==
			-1 &&
		    errno == EAGAIN)
			return;
		if ((receiver.first = echo->next) == NULL)
			receiver.last = &receiver.first;
		free(echo);
	}
}

static void
echo_add(
    struct app *app, struct app_chat *entry, const char *payload, size_t length)
{
	struct echo *echo;

	if ((echo = malloc(sizeof(*echo) + length)) == NULL) {
		app_finish(app, EXIT_LOCAL);
		return;
	}
	echo->next = NULL;
	echo->chat = entry;
	echo->length = length;
	memcpy(echo->bytes, payload, length);
	*receiver.last = echo;
	receiver.last = &echo->next;
	echo_flush(app);
}

/* --- hooks --------------------------------------------------------------- */

static void
recv_connected(struct app *app)
{
	if (receiver.peer != NULL && receiver.chat == NULL)
		receiver.chat =
		    app_start_chat(app, app->chat_id, receiver.peer);
}

/* All that is due came, and with --echo went back. */
static void
recv_maybe_done(struct app *app)
{
	if (app->count == 0 || app->stay || app->received < app->count)
		return;
	if (app->echo && (receiver.first != NULL || app->acked < app->sent))
		return;
	app_finish(app, EXIT_DONE);
}

static void
recv_message(struct app *app, struct app_chat *entry, uint64_t sequence,
    const char *payload, size_t length)
{
	if (app->check && !generate_matches(sequence, payload, length)) {
		if (entry->altered++ == 0)
			print_error("message %llu of chat %s is altered",
			    (unsigned long long)sequence,
			    hermes_chat_id(entry->chat));
		receiver.altered = 1;
	}
	if (!app->check && !app->markers)
		print_line(hermes_chat_peer(entry->chat), payload, length);
	if (app->echo)
		echo_add(app, entry, payload, length);
	recv_maybe_done(app);
}

static void
recv_acked(
    struct app *app, struct app_chat *entry, uint64_t sequence, int64_t rtt)
{
	(void)entry;
	(void)sequence;
	(void)rtt;
	recv_maybe_done(app);
}

static void
recv_writable(struct app *app, struct app_chat *entry)
{
	(void)entry;
	echo_flush(app);
}

/* Done when the last chat ended and all that was due had come. */
static int
recv_gone(struct app *app, struct app_chat *gone)
{
	struct app_chat *entry;

	(void)gone;
	for (entry = app->first; entry != NULL; entry = entry->next)
		if (entry->chat != NULL)
			return (1);
	if (app->received < app->count)
		return (0);
	if (app->stay)
		app_finish(app, EXIT_DONE);
	return (1);
}

static void
recv_finishing(struct app *app)
{
	struct echo *echo;

	while ((echo = receiver.first) != NULL) {
		receiver.first = echo->next;
		free(echo);
	}
	if (app->status != EXIT_DONE)
		return;
	if (receiver.altered || app->received < app->count)
		app->status = EXIT_VERIFY;
}

static const struct app_hooks recv_hooks = { .connected = recv_connected,
	.message = recv_message,
	.acked = recv_acked,
	.writable = recv_writable,
	.gone = recv_gone,
	.finishing = recv_finishing };

int
cmd_recv(struct app *app, int argc, char **argv)
{
	receiver.last = &receiver.first;
	receiver.peer = argc > 0 ? argv[0] : NULL;
	return (app_run(app, &recv_hooks, receiver.peer == NULL));
}
