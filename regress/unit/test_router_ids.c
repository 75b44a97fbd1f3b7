/*
 * The router's tables: what a chat_id means to an app that has many chats of
 * it, and that this takes no longer than with one.
 */

#include <time.h>

#include "regress/unit/router_fixture.h"

#define MANY 4000

static uint8_t local[KEY_SIZE];
static struct side *sides[MANY];
static struct app *app;

static void
peer_key(unsigned int i, uint8_t key[KEY_SIZE])
{
	memset(key, 0x55, KEY_SIZE);
	memcpy(key, &i, sizeof(i));
}

/* Chat number i of the app, with a peer of its own. */
static void
chat(unsigned int i, const char *chat_id)
{
	uint8_t key[KEY_SIZE];

	peer_key(i, key);
	sides[i] = side_make(local, key, chat_id);
	ck_assert_ptr_nonnull(sides[i]);
	app = sides[i]->app;
}

static void
drop(unsigned int i)
{
	side_drop(sides[i]);
	sides[i] = NULL;
}

static enum hermes_code
means(const char *chat_id, const char *peer, struct side **found)
{
	struct span id = { (const uint8_t *)chat_id, strlen(chat_id) };
	struct span who = { (const uint8_t *)peer, strlen(peer) };

	return (side_lookup(app, id, who, found));
}

/* What it must mean, the long way. */
static enum hermes_code
means_by_walk(const char *chat_id, const char *peer, struct side **found)
{
	unsigned int i, count[2] = { 0, 0 };
	struct side *best[2] = { NULL, NULL };
	int taken;

	*found = NULL;
	for (i = 0; i < MANY; i++) {
		if (sides[i] == NULL ||
		    strcmp(sides[i]->chat_id, chat_id) != 0 ||
		    (peer[0] != '\0' && strcmp(sides[i]->peer->hex, peer) != 0))
			continue;
		count[sides[i]->taken]++;
		best[sides[i]->taken] = sides[i];
	}
	taken = count[1] > 0;
	if (count[taken] == 0)
		return (CODE_CHAT_NOT_FOUND);
	if (count[taken] > 1)
		return (CODE_AMBIGUOUS_CHAT);
	*found = best[taken];
	return (CODE_NONE);
}

static void
world_of_ids(void)
{
	world_begin();
	world.config.limits.chats_per_app = MANY;
	memset(local, 0xaa, sizeof(local));
	memset(sides, 0, sizeof(sides));
	/* One that stays, so that the app does. */
	chat(MANY - 1, "stays");
}

START_TEST(as_by_a_walk)
{
	static const char *const ids[] = { "a", "b", "c" };
	struct side *found, *wanted;
	unsigned int turn, i;
	const char *id, *peer;

	world_of_ids();
	srand(7);
	for (turn = 0; turn < 20000; turn++) {
		i = (unsigned int)rand() % 12;
		id = ids[rand() % 3];
		if (sides[i] == NULL)
			chat(i, ids[i % 3]);
		else if (rand() % 3 == 0)
			drop(i);
		else if (rand() % 3 == 0)
			ck_assert_int_eq(side_take(sides[i]), 0);
		i = (unsigned int)rand() % 12;
		peer =
		    sides[i] == NULL || rand() % 2 ? "" : sides[i]->peer->hex;
		ck_assert_int_eq(
		    means(id, peer, &found), means_by_walk(id, peer, &wanted));
		ck_assert_ptr_eq(found, wanted);
	}
}
END_TEST

START_TEST(peers_that_are_none)
{
	struct side *found;
	char peer[80];

	world_of_ids();
	chat(0, "a");
	chat(1, "a");
	(void)snprintf(peer, sizeof(peer), "%s", sides[0]->peer->hex);
	ck_assert_int_eq(means("a", peer, &found), CODE_NONE);
	ck_assert_ptr_eq(found, sides[0]);
	peer[5] = 'A' + (peer[5] - 'a'); /* an id is written in lower case */
	ck_assert_int_eq(means("a", peer, &found), CODE_CHAT_NOT_FOUND);
	ck_assert_ptr_null(found);
	ck_assert_int_eq(means("a", "55", &found), CODE_CHAT_NOT_FOUND);
	ck_assert_int_eq(means("a", sides[MANY - 1]->peer->hex, &found),
	    CODE_CHAT_NOT_FOUND);
	ck_assert_int_eq(means("", "", &found), CODE_CHAT_NOT_FOUND);
	/* With itself nobody chats. */
	memset(peer, 'a', APP_ID_LENGTH);
	peer[APP_ID_LENGTH] = '\0';
	ck_assert_int_eq(means("a", peer, &found), CODE_CHAT_NOT_FOUND);
}
END_TEST

static double
cpu(void)
{
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
	return ((double)now.tv_sec + (double)now.tv_nsec / 1e9);
}

/* The CPU time of finding each chat of many, by peer and not. */
static double
cost(int same)
{
	struct side *found;
	unsigned int i, wrong = 0;
	char id[16];
	double from;

	for (i = 0; i < MANY - 1; i++) {
		(void)snprintf(id, sizeof(id), "%u", same ? 0 : i);
		chat(i, id);
		ck_assert_int_eq(side_take(sides[i]), 0);
	}
	from = cpu(); /* no assertion below: each costs more than this */
	for (i = 0; i < MANY - 1; i++) {
		const char *peer = sides[i]->peer->hex;

		wrong += means(sides[i]->chat_id, peer, &found) != CODE_NONE ||
			 found != sides[i];
		wrong += means(sides[i]->chat_id, "", &found) !=
			 (same ? CODE_AMBIGUOUS_CHAT : CODE_NONE);
	}
	from = cpu() - from;
	ck_assert_uint_eq(wrong, 0);
	for (i = 0; i < MANY - 1; i++)
		drop(i);
	return (from);
}

/* Beside each other in one run; a walk would take some hundred times as long. */
START_TEST(as_fast_with_many)
{
	double each, same, once;
	int i;

	world_of_ids();
	each = cost(0);
	same = cost(1);
	/* The least of some: what else happens only adds to it. */
	for (i = 0; i < 5; i++) {
		once = cost(0);
		each = once < each ? once : each;
		once = cost(1);
		same = once < same ? once : same;
	}
	printf("%d chats: of ids of their own %.0f ns each, of one id %.0f\n",
	    MANY - 1, each * 1e9 / (MANY - 1), same * 1e9 / (MANY - 1));
	ck_assert(same < each * 20);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, as_by_a_walk);
	tcase_add_test(tcase, peers_that_are_none);
	tcase_add_test(tcase, as_fast_with_many);
}

int
main(void)
{
	return (router_run("router_ids", add_tests));
}
