/*
 * Tests only. keyd dies, at each call that changes its files, before it and
 * in the middle of it, and at random instants. Each time it must open again,
 * know what it had said was so, forget what it had said was erased, use no
 * counter of an epoch twice, and carry on with the chat: no message lost,
 * none delivered twice. (L38, L46.)
 *
 *	sweep HERMESD CALLS.so FOLDER calls [FIRST [STEP [LAST]]]
 *	sweep HERMESD CALLS.so FOLDER instants COUNT [SEED]
 *
 * The last line is "N passed, N failed", a death each.
 */

#include <sys/wait.h>

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/util/clock.h"
#include "regress/house/life.h"

static struct life life;
static unsigned long passed, failed;

/* Look at a life that was cut off; it must have been by us. */
static int
after(int lived, const char *how, unsigned long at)
{
	if (lived == -1) {
		house_kill(&life.a);
		if (!WIFSIGNALED(life.a.status) ||
		    WTERMSIG(life.a.status) != SIGKILL)
			life_fail(&life, "keyd ended by itself");
	}
	life_again(&life);
	if (life.failure == NULL)
		passed++;
	else {
		printf("not ok %s %lu: %s (%s)\n", how, at, life.failure,
		    life.main_id);
		failed++;
	}
	life_end(&life);
	return (lived);
}

static void
sweep_calls(unsigned long first, unsigned long step, unsigned long last)
{
	unsigned long at, number = 0;
	int died = 1;

	for (at = first; died && at <= last; at += step) {
		life_begin(&life, ++number, at, 0);
		died = after(life_live(&life), "death before call", at) == -1;
		if (!died || life.calls->died_in != CALL_WRITE)
			continue;
		life_begin(&life, ++number, at, 1);
		(void)after(life_live(&life), "death in the write", at);
	}
	printf("L38, L46: calls swept: %lu to %lu by %lu%s\n", first, at - step,
	    step, died ? "" : ", to the end of the life");
}

/* --- at random instants -------------------------------------------------- */

static void
on_instant(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (life.a.pid > 0)
		(void)kill(life.a.pid, SIGKILL);
}

/* Live, and how long that took (us). */
static int64_t
live_timed(int *lived)
{
	int64_t began = clock_monotonic();

	*lived = life_live(&life);
	return ((clock_monotonic() - began) / 1000 + 1);
}

static void
sweep_instants(unsigned long count, unsigned seed)
{
	struct event *timer = evtimer_new(life.b.base, on_instant, NULL);
	struct timeval delay;
	int64_t whole;
	unsigned long i, died = 0;
	int lived;

	if (timer == NULL)
		err(1, "sweep");
	srandom(seed);
	life_begin(&life, 0, 0, 0);
	whole = live_timed(&lived);
	if (after(lived, "no death", 0) == -1)
		return;
	for (i = 1; i <= count; i++) {
		int64_t took, us = random() % whole;

		delay.tv_sec = us / 1000000;
		delay.tv_usec = us % 1000000;
		life_begin(&life, i, 0, 0);
		if (evtimer_add(timer, &delay) == -1)
			err(1, "sweep");
		took = live_timed(&lived);
		(void)evtimer_del(timer);
		/* Lives get shorter when the machine has less to do. */
		if (lived == 0)
			whole = took;
		died += after(lived, "death number", i) == -1;
	}
	event_free(timer);
	printf("L38, L46: instants: seed %u, %lu of %lu deaths in a life of "
	       "%lld us\n",
	    seed, died, count, (long long)whole);
	if (died < count / 4) {
		printf("not ok: too few deaths to prove anything\n");
		failed++;
	}
}

static unsigned long
argument(int argc, char **argv, int i, unsigned long otherwise)
{
	return (argc > i ? strtoul(argv[i], NULL, 10) : otherwise);
}

int
main(int argc, char **argv)
{
	if (argc < 5 || sodium_init() == -1) {
		fprintf(stderr,
		    "usage: sweep HERMESD CALLS.so FOLDER calls "
		    "[FIRST [STEP [LAST]]]\n       sweep HERMESD CALLS.so "
		    "FOLDER instants COUNT [SEED]\n");
		return (2);
	}
	life_init(&life, argv[1], argv[2], argv[3]);
	if (strcmp(argv[4], "calls") == 0)
		sweep_calls(argument(argc, argv, 5, 1),
		    argument(argc, argv, 6, 1),
		    argument(argc, argv, 7, 100000));
	else
		sweep_instants(argument(argc, argv, 5, 50),
		    (unsigned)argument(argc, argv, 6, randombytes_random()));
	life_free(&life);
	printf("%lu passed, %lu failed\n", passed, failed);
	return (failed != 0);
}
