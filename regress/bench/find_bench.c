/*
 * FindApp through a node, of an app on another node: answers a second, with
 * 64 questions under way. An answer that is not `found` ends the run with
 * status 1. Prints one JSON object.
 *
 *	find_bench NODE APP_ID LOOKUPS ROUNDS
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

#define UNDER_WAY  64
#define ROUNDS_MAX 16

static struct {
	struct event_base *base;
	struct hermes *app;
	const char *wanted;
	long lookups;
	long asked;
	long answered;
	int rounds;
	int round;
	double start;
	double rates[ROUNDS_MAX];
} bench;

static void
ask(void)
{
	if (bench.asked == bench.lookups)
		return;
	bench.asked++;
	if (hermes_find(bench.app, bench.wanted, NULL) == -1)
		die("find", strerror(errno));
}

static void
round_start(void)
{
	int i;

	bench.asked = bench.answered = 0;
	bench.start = now();
	for (i = 0; i < UNDER_WAY; i++)
		ask();
}

static void
on_connected(struct hermes *app, const char *session, void *arg)
{
	(void)app;
	(void)session;
	(void)arg;
	round_start();
}

static void
on_found(struct hermes *app, const char *app_id, const char *node_id,
    const char *status, void *arg)
{
	(void)app;
	(void)app_id;
	(void)node_id;
	(void)arg;
	if (strcmp(status, "found") != 0)
		die("found", status);
	if (++bench.answered < bench.lookups) {
		ask();
		return;
	}
	bench.rates[bench.round++] =
	    (double)bench.lookups / (now() - bench.start);
	if (bench.round == bench.rounds)
		(void)event_base_loopbreak(bench.base);
	else
		round_start();
}

int
main(int argc, char **argv)
{
	struct hermes_callbacks callbacks = { .connected = on_connected,
		.disconnected = on_disconnected,
		.error = on_error,
		.found = on_found };
	struct hermes_options options;
	uint8_t seed[HERMES_KEY_SIZE];
	char text[256];
	int i;

	if (argc != 5 || sodium_init() == -1) {
		fprintf(
		    stderr, "usage: find_bench NODE APP_ID LOOKUPS ROUNDS\n");
		return (1);
	}
	bench.wanted = argv[2];
	bench.lookups = atol(argv[3]);
	bench.rounds = atoi(argv[4]);
	if (bench.lookups < 1 || bench.rounds < 1 || bench.rounds > ROUNDS_MAX)
		die("arguments", "out of range");
	randombytes_buf(seed, sizeof(seed));
	bench.base = event_base_new();
	hermes_options_default(&options);
	options.node = argv[1];
	options.seed = seed;
	bench.app = bench.base == NULL
			? NULL
			: hermes_new(bench.base, &options, &callbacks, NULL,
			      text, sizeof(text));
	if (bench.app == NULL)
		die("app", text);
	(void)event_base_dispatch(bench.base);
	if (bench.round != bench.rounds)
		die("run", "ended early");
	printf("{\"rates\": [");
	for (i = 0; i < bench.rounds; i++)
		printf("%s%.1f", i > 0 ? ", " : "", bench.rates[i]);
	printf("]}\n");
	return (0);
}
