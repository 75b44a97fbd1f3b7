/*
 * hermes bench: --chats chats with one peer, --count messages in each of
 * --size bytes, as fast as the windows allow; JSON about what it took. Only
 * acknowledged messages count; the clock runs from the first message, when
 * every chat is ready, to the last acknowledgement.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cmd.h"
#include "common/util/clock.h"

static struct {
	const char *peer;
	char *text;
	int64_t *rtts; /* ns, of every message */
	size_t rtt_count;
	uint64_t total;
	uint64_t ready; /* chats */
	int started;
	int64_t connected_at;
	int64_t start;
	int64_t end;
} bench;

static void
bench_fill(struct app *app, struct app_chat *entry)
{
	struct hermes_progress progress;

	hermes_chat_progress(entry->chat, &progress);
	while (entry->sent < app->count) {
		generate_message(progress.next_send++, bench.text, app->size);
		if (app_send(app, entry, bench.text, app->size) == 0)
			continue;
		if (errno != EAGAIN) {
			print_error("not sent: %s", strerror(errno));
			app_finish(app, EXIT_ERROR);
		}
		return;
	}
}

static void
bench_connected(struct app *app)
{
	char name[160];
	uint64_t i;

	if (bench.connected_at != 0)
		return;
	bench.connected_at = clock_monotonic();
	for (i = 0; i < app->chats; i++) {
		(void)snprintf(name, sizeof(name), "%s-%llu", app->chat_id,
		    (unsigned long long)i);
		if (app_start_chat(app, name, bench.peer) == NULL)
			return;
	}
}

static void
bench_ready(struct app *app, struct app_chat *entry)
{
	if (bench.started || entry->done)
		return;
	entry->done = 1;
	if (++bench.ready < app->chats)
		return;
	bench.started = 1;
	bench.start = clock_monotonic();
	for (entry = app->first; entry != NULL; entry = entry->next)
		bench_fill(app, entry);
}

static void
bench_writable(struct app *app, struct app_chat *entry)
{
	if (bench.started)
		bench_fill(app, entry);
}

static void
bench_acked(
    struct app *app, struct app_chat *entry, uint64_t sequence, int64_t rtt)
{
	(void)entry;
	(void)sequence;
	if (bench.rtt_count < bench.total)
		bench.rtts[bench.rtt_count++] = rtt;
	if (app->acked < bench.total)
		return;
	bench.end = clock_monotonic();
	app_finish(app, EXIT_DONE);
}

static int
bench_compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left < right ? -1 : left > right);
}

static double
bench_quantile(double q)
{
	size_t i;

	if (bench.rtt_count == 0)
		return (0);
	i = (size_t)(q * (double)(bench.rtt_count - 1));
	return ((double)bench.rtts[i] / (double)CLOCK_MS);
}

static void
bench_print(struct app *app)
{
	double seconds;
	json_t *json;

	seconds = (double)(bench.end - bench.start) / (double)CLOCK_SECOND;
	qsort(bench.rtts, bench.rtt_count, sizeof(*bench.rtts), bench_compare);
	json = json_pack("{s:I s:I s:I s:I s:I s:f s:f s:f s:f s:f s:f s:f}",
	    "chats", (json_int_t)app->chats, "messages_per_chat",
	    (json_int_t)app->count, "size", (json_int_t)app->size, "acked",
	    (json_int_t)app->acked, "errors",
	    (json_int_t)(bench.total - app->acked), "seconds", seconds,
	    "setup_seconds",
	    (double)(bench.start - bench.connected_at) / (double)CLOCK_SECOND,
	    "rate", seconds > 0 ? (double)app->acked / seconds : 0.0,
	    "ack_p50_ms", bench_quantile(0.50), "ack_p90_ms",
	    bench_quantile(0.90), "ack_p99_ms", bench_quantile(0.99),
	    "ack_max_ms", bench_quantile(1.0));
	if (json == NULL) {
		app->status = EXIT_LOCAL;
		return;
	}
	(void)json_dumpf(json, stdout, JSON_COMPACT);
	(void)putchar('\n');
	(void)fflush(stdout);
	json_decref(json);
}

static void
bench_finishing(struct app *app)
{
	if (app->acked < bench.total) {
		bench.end = clock_monotonic();
		if (app->status == EXIT_DONE)
			app->status = EXIT_VERIFY;
	}
	if (bench.started)
		bench_print(app);
	free(bench.text);
	free(bench.rtts);
}

static const struct app_hooks bench_hooks = { .connected = bench_connected,
	.ready = bench_ready,
	.writable = bench_writable,
	.acked = bench_acked,
	.finishing = bench_finishing };

int
cmd_bench(struct app *app, int argc, char **argv)
{
	(void)argc;
	bench.peer = argv[0];
	if (app->count == 0)
		app->count = 10000;
	bench.total = app->count * app->chats;
	if (bench.total / app->chats != app->count ||
	    bench.total > 100 * 1000 * 1000) {
		print_error("too many messages");
		return (EXIT_LOCAL);
	}
	bench.text = malloc(app->size + 1);
	bench.rtts = calloc(bench.total, sizeof(*bench.rtts));
	if (bench.text == NULL || bench.rtts == NULL) {
		print_error("out of memory");
		return (EXIT_LOCAL);
	}
	return (app_run(app, &bench_hooks, 0));
}
