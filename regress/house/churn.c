/*
 * Tests only. keyd started, stopped, killed, in any order: never a lock
 * error after an unclean stop, never a lost identity, a clean stop keeps what
 * a crash keeps; a second keyd on the same folder gets a clear message and
 * does no harm. (L39, L42, L43.)
 *
 *	churn HERMESD CALLS.so FOLDER ROUNDS [SEED]
 *
 * The last line is "N passed, N failed", a round each.
 */

#include <sys/stat.h>
#include <sys/wait.h>

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/util/clock.h"
#include "regress/house/life.h"

#define BUSY "another process has the store open"

static struct life life;
static struct house second;
static char second_log[600];
static struct event *timer;
static uint8_t node_key[KEY_SIZE];
static int has_identity, shot;
static uint64_t said;
static unsigned long busy, cut_off, stops;

static void
on_instant(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	shot = 1;
	if (life.a.pid > 0)
		(void)kill(life.a.pid, SIGKILL);
}

/* Is text in the file? */
static int
file_says(const char *path, const char *text)
{
	char line[1024];
	FILE *file = fopen(path, "r");
	int found = 0;

	if (file == NULL)
		return (0);
	while (!found && fgets(line, sizeof(line), file) != NULL)
		found = strstr(line, text) != NULL;
	(void)fclose(file);
	return (found);
}

static void
second_opener(void)
{
	(void)unlink(second_log);
	busy++;
	if (house_start(&second) != -1) {
		life_fail(&life, "two have the store open");
		house_kill(&second);
		return;
	}
	if (!WIFEXITED(second.status) || WEXITSTATUS(second.status) == 0)
		life_fail(&life, "the second opener does not fail orderly");
	if (!file_says(second_log, BUSY))
		life_fail(&life, "the second opener is not told why");
}

/* Some work that must be there next time. */
static void
work(void)
{
	struct house_chat *chat, *other;

	chat = house_chat_ready(&life.a, "churn", 0, 0);
	if (chat == NULL) {
		life_fail(&life, "the chat does not resume");
		return;
	}
	said += 3;
	other = house_chat_other(&life.a, chat);
	if (house_talk(&life.a, chat, said, 3) == -1 ||
	    house_talk(&life.b, other, said, 3) == -1)
		life_fail(&life, "messages do not arrive");
	if (chat->twice + other->twice + chat->wrong + other->wrong +
		chat->resets + other->resets !=
	    0)
		life_fail(&life, "twice, wrong, or a reset");
}

/* Started: with the same identity, and not in anybody's way. */
static void
up(void)
{
	if (has_identity &&
	    memcmp(node_key, life.a.identity.node_key, KEY_SIZE) != 0)
		life_fail(&life, "the identity is lost");
	memcpy(node_key, life.a.identity.node_key, KEY_SIZE);
	has_identity = 1;
	if (random() % 4 == 0)
		second_opener();
	if (random() % 2 == 0)
		work();
}

static void
down(void)
{
	struct stat st;
	char path[600];

	if (random() % 2 == 0) {
		house_kill(&life.a);
		return;
	}
	stops++;
	/* Sometimes there is no time to erase what should be. */
	if (house_stop_within(&life.a, random() % 3 == 0 ? 0 : CLOCK_SECOND) !=
	    0)
		life_fail(&life, "a stop is not orderly");
	if (!life.a.shut)
		life_fail(&life, "a stop is not announced");
	(void)snprintf(path, sizeof(path), "%s/kept", life.folder);
	if (stat(path, &st) == -1)
		life_fail(&life, "the store is gone");
}

static void
churn_round(void)
{
	struct timeval delay = { .tv_usec = random() % 60000 };
	int killed = random() % 3 == 0, started;

	(void)unlink(life.log);
	shot = 0;
	if (killed && evtimer_add(timer, &delay) == -1)
		err(1, "churn");
	started = house_start(&life.a) == 0;
	if (killed)
		(void)evtimer_del(timer);
	if (shot) {
		/* Perhaps after all had been said. */
		house_kill(&life.a);
		cut_off++;
		if (!WIFSIGNALED(life.a.status) ||
		    WTERMSIG(life.a.status) != SIGKILL)
			life_fail(&life, "keyd ended by itself");
	} else if (started) {
		up();
		down();
	} else
		life_fail(&life, "keyd does not start");
	if (file_says(life.log, BUSY))
		life_fail(&life, "a lock outlives its holder");
}

int
main(int argc, char **argv)
{
	unsigned long rounds, i, passed = 0, failed = 0;
	unsigned seed;

	if (argc < 5 || sodium_init() == -1) {
		fprintf(stderr, "usage: churn HERMESD CALLS.so FOLDER ROUNDS "
				"[SEED]\n");
		return (2);
	}
	rounds = strtoul(argv[4], NULL, 10);
	seed = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10)
			: randombytes_random();
	srandom(seed);
	life_init(&life, argv[1], argv[2], argv[3]);
	life_begin(&life, 0, 0, 0);
	life.a.environment = NULL;
	if ((timer = evtimer_new(life.b.base, on_instant, NULL)) == NULL)
		err(1, "churn");
	(void)snprintf(
	    second_log, sizeof(second_log), "%s/second.log", argv[3]);
	house_init(&second, life.b.base, argv[1], "a", life.folder,
	    "a passphrase", "life-app-a");
	second.log = second_log;
	for (i = 1; i <= rounds; i++) {
		life.failure = NULL;
		churn_round();
		if (life.failure == NULL) {
			passed++;
			continue;
		}
		printf("not ok round %lu: %s\n", i, life.failure);
		failed++;
		house_kill(&life.a);
	}
	printf("churn: seed %u, %lu rounds: %lu cut off while starting, %lu "
	       "orderly stops, %lu second openers\n",
	    seed, rounds, cut_off, stops, busy);
	house_free(&second);
	life_end(&life);
	life_free(&life);
	event_free(timer);
	printf("%lu passed, %lu failed\n", passed, failed);
	return (failed != 0);
}
