/*
 * hermes ping: round trips to a peer app and back. What answers is the
 * acknowledgement: the peer's node wrote the message to the peer's stream.
 */
#include <errno.h>
#include <event2/event.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cmd.h"
#include "common/util/clock.h"

static struct {
	const char *peer;
	struct app_chat *chat;
	struct event *pace;
	char *text;
	double minimum; /* ms */
	double maximum;
	double sum;
	double squares;
} ping;

static void
ping_send(evutil_socket_t fd, short what, void *arg)
{
	struct app *app = arg;
	struct hermes_progress progress;
	struct timeval tv;

	(void)fd;
	(void)what;
	if (ping.chat->chat == NULL)
		return;
	tv.tv_sec = (time_t)(app->interval / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(app->interval % CLOCK_SECOND / 1000);
	hermes_chat_progress(ping.chat->chat, &progress);
	generate_message(progress.next_send, ping.text, app->size);
	/* Full: the peer is away; the next turn tries again. */
	if (app_send(app, ping.chat, ping.text, app->size) == -1 &&
	    errno != EAGAIN) {
		print_error("not sent: %s", strerror(errno));
		app_finish(app, EXIT_ERROR);
		return;
	}
	if (app->count == 0 || ping.chat->sent < app->count)
		(void)event_add(ping.pace, &tv); /* memory set aside */
}

static void
ping_connected(struct app *app)
{
	if (ping.chat == NULL)
		ping.chat = app_start_chat(app, app->chat_id, ping.peer);
}

static void
ping_ready(struct app *app, struct app_chat *entry)
{
	if (entry != ping.chat || ping.text != NULL)
		return;
	ping.text = malloc(app->size + 1);
	ping.pace = evtimer_new(app->base, ping_send, app);
	if (ping.text == NULL || ping.pace == NULL) {
		app_finish(app, EXIT_LOCAL);
		return;
	}
	(void)printf(
	    "PING %s: %llu bytes\n", ping.peer, (unsigned long long)app->size);
	ping_send(-1, 0, app);
}

static void
ping_acked(
    struct app *app, struct app_chat *entry, uint64_t sequence, int64_t rtt)
{
	double ms = (double)rtt / (double)CLOCK_MS;

	if (entry->acked == 1 || ms < ping.minimum)
		ping.minimum = ms;
	if (ms > ping.maximum)
		ping.maximum = ms;
	ping.sum += ms;
	ping.squares += ms * ms;
	if (!app->quiet) {
		(void)printf("ack from %.12s: seq=%llu time=%.3f ms\n",
		    ping.peer, (unsigned long long)sequence, ms);
		(void)fflush(stdout);
	}
	if (entry->acked == app->count)
		app_finish(app, EXIT_DONE);
}

static void
ping_finishing(struct app *app)
{
	double mean, deviation;

	if (ping.pace != NULL)
		event_free(ping.pace);
	free(ping.text);
	(void)printf("--- %s ---\n%llu sent, %llu acknowledged\n", ping.peer,
	    (unsigned long long)app->sent, (unsigned long long)app->acked);
	if (app->acked == 0) {
		if (app->status == EXIT_DONE)
			app->status = EXIT_VERIFY;
		return;
	}
	mean = ping.sum / (double)app->acked;
	deviation = ping.squares / (double)app->acked - mean * mean;
	(void)printf("round-trip min/avg/max/stddev = "
		     "%.3f/%.3f/%.3f/%.3f ms\n",
	    ping.minimum, mean, ping.maximum,
	    deviation > 0 ? sqrt(deviation) : 0);
}

static const struct app_hooks ping_hooks = { .connected = ping_connected,
	.ready = ping_ready,
	.acked = ping_acked,
	.finishing = ping_finishing };

int
cmd_ping(struct app *app, int argc, char **argv)
{
	(void)argc;
	ping.peer = argv[0];
	if (app->interval == 0)
		app->interval = CLOCK_SECOND;
	return (app_run(app, &ping_hooks, 0));
}
