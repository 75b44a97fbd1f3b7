/*
 * A chat engine of keyd with many chats: what is done to all of them is done
 * by and by, so that nobody waits for it.
 */

#include "regress/unit/chat_rig.h"

#define SECOND INT64_C(1000000000)
#define MANY   300
#define A_TICK 256 /* offers that an engine makes in one */

/* Chat number i, with an epoch in force. */
static void
name(int i)
{
	snprintf(pair.chat_id, sizeof(pair.chat_id), "chat %d", i);
}

static void
make(int from, int to)
{
	struct ipc_chat_start start;
	int i, side;

	for (i = from; i < to; i++)
		for (name(i), side = 0; side < 2; side++) {
			pair_start_fill(&pair, side, &start);
			start.delivered = start.acked = 0;
			pair_start_message(&pair, side, &start);
			pair_run(&pair);
		}
}

/* How many of these chats have an offer out, or are at version at a. */
static int
count(int chats, uint32_t version)
{
	int i, n = 0;

	for (i = 0; i < chats; i++) {
		name(i);
		if (pair_chat(&pair, 0) == NULL)
			continue;
		n += version == 0 ? chat_offered(pair_chat(&pair, 0)) != 0
				  : pair_chat(&pair, 0)->version == version;
	}
	return (n);
}

START_TEST(all_are_rekeyed_by_and_by)
{
	int i;

	make(0, 20);
	ck_assert_uint_eq(chats_rekey(a->chats, NULL), 20);
	ck_assert_int_eq(count(20, 0), 0);
	ck_assert_int_eq(chats_rekey_step(a->chats, 7), 1);
	ck_assert_int_eq(count(20, 0), 7);
	/* Some end meanwhile, and the table grows. */
	for (i = 0; i < 3; i++) {
		name(i);
		pair_end(&pair, 0, STATUS_DELETED);
	}
	make(20, 60);
	while (chats_rekey_step(a->chats, 2))
		;
	pair_commit(&pair, 0);
	pair_run(&pair);
	ck_assert_int_eq(count(60, 2), 17);
	ck_assert_int_eq(count(60, 1), 40);
	ck_assert_int_eq(chats_rekey_step(a->chats, 1), 0);
	/* Of an order that was given twice each hears once. */
	ck_assert_uint_eq(chats_rekey(a->chats, NULL), 57);
	ck_assert_int_eq(chats_rekey_step(a->chats, 30), 1);
	ck_assert_uint_eq(chats_rekey(a->chats, NULL), 57);
	ck_assert_int_eq(chats_rekey_step(a->chats, 57), 0);
	pair_commit(&pair, 0);
	pair_run(&pair);
	ck_assert_int_eq(count(60, 3), 17);
	ck_assert_int_eq(count(60, 2), 40);
}
END_TEST

/* They are of one age, and then nobody answers. */
START_TEST(a_tick_offers_no_more_than_it_may)
{
	int i, setups;

	pair.unwritten = 1;
	make(0, MANY);
	pair.unwritten = 0;
	pair_commit(&pair, 0);
	pair_commit(&pair, 1);
	a->config.rekey.after_time = 600 * SECOND;
	pair.now += 601 * SECOND;
	a->setups = 0;
	pair_tick(&pair, 0);
	ck_assert_int_eq(a->setups, A_TICK);
	pair_drop(&pair);
	for (i = 0; i < 4 && count(MANY, 0) < MANY; i++) {
		pair_tick(&pair, 0);
		pair_drop(&pair);
	}
	ck_assert_int_eq(count(MANY, 0), MANY);
	/* Again, and all of them in turn. */
	for (i = 0; i < 2; i++) {
		pair.now += 10 * SECOND;
		setups = a->setups;
		pair_tick(&pair, 0);
		ck_assert_int_eq(a->setups, setups + A_TICK);
		if (i == 0)
			pair_drop(&pair);
	}
	pair_run(&pair);
	ck_assert_int_eq(count(MANY, 2), A_TICK);
	pair_tick(&pair, 0);
	pair_run(&pair);
	ck_assert_int_eq(count(MANY, 2), MANY);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, all_are_rekeyed_by_and_by);
	tcase_add_test(tcase, a_tick_offers_no_more_than_it_may);
}

int
main(void)
{
	return (rig_run("keyd_many", add_tests));
}
