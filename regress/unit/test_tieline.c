/*
 * The mesh process's table of tielines: what an idle one costs, that
 * tielines of one app share its attestation, that nothing stays behind.
 */

#include <malloc.h>
#include <string.h>

#include <check.h>

#include "common/sign/ids.h"
#include "mesh/peer.h"
#include "mesh/tieline_table.h"
#include "regress/unit/suite.h"

#define COUNT 2000
#if defined(__SANITIZE_ADDRESS__) /* counts nothing */
#define BYTES_MAX SIZE_MAX
#define IN_USE()  0
#else
#define BYTES_MAX ((size_t)300 * COUNT)
#define IN_USE()  mallinfo2().uordblks
#endif

static struct attestation seen[2];

static struct chat_key
key_of(unsigned int number)
{
	struct chat_key key = { 0 };

	memcpy(key.handle, &number, sizeof(number));
	key.side = CHAT_HI;
	return (key);
}

static struct tieline_side *
take(unsigned int number, const struct attestation *attestation)
{
	struct chat_key key = key_of(number);
	struct tieline_side *side = tieline_take(&key, "chat", NULL);

	ck_assert_ptr_nonnull(side);
	tieline_saw(side, attestation);
	ck_assert_ptr_nonnull(side->seen);
	ck_assert_mem_eq(side->seen, attestation, sizeof(*attestation));
	return (side);
}

START_TEST(idle_tielines_are_small)
{
	struct tieline *tieline;
	struct chat_key key;
	size_t before = IN_USE(), cursor = 0, count = 0;
	unsigned int i;

	for (i = 0; i < COUNT; i++)
		(void)take(i, &seen[0]);
	ck_assert_uint_le(IN_USE() - before, BYTES_MAX);
	while ((tieline = tieline_next(&cursor)) != NULL) {
		ck_assert_ptr_null(tieline->side[CHAT_LO].seen);
		count++;
	}
	ck_assert_uint_eq(count, COUNT);
	for (i = 0; i < COUNT; i++) {
		key = key_of(i);
		ck_assert_int_eq(
		    tieline_drop(tieline_find(key.handle), CHAT_HI), 1);
		ck_assert_ptr_null(tieline_find(key.handle));
	}
}
END_TEST

START_TEST(an_attestation_is_shared_and_followed)
{
	struct tieline_side *one = take(1, &seen[0]), *two = take(2, &seen[0]);
	struct chat_key key = key_of(1);

	ck_assert_ptr_eq(one->seen, two->seen);
	/* The app is somewhere else in one of them: the other stays. */
	tieline_saw(one, &seen[1]);
	ck_assert_mem_eq(one->seen, &seen[1], sizeof(seen[1]));
	ck_assert_mem_eq(two->seen, &seen[0], sizeof(seen[0]));
	/* The same again, and the only one of it again, are no different. */
	tieline_saw(one, one->seen);
	ck_assert_mem_eq(one->seen, &seen[1], sizeof(seen[1]));
	ck_assert_int_eq(tieline_drop(tieline_find(key.handle), CHAT_HI), 1);
	ck_assert_mem_eq(two->seen, &seen[0], sizeof(seen[0]));
	two = take(2, &seen[1]);
	ck_assert_mem_eq(two->seen, &seen[1], sizeof(seen[1]));
	key = key_of(2);
	ck_assert_int_eq(tieline_drop(tieline_find(key.handle), CHAT_HI), 1);
}
END_TEST

/* Two nodes that an app and its peer have both been on: what is here of the
 * one that left does not take the frames of the one that came. */
START_TEST(a_node_is_at_one_end_of_a_tieline)
{
	static struct peer peer, third;
	struct chat_key lo = key_of(3), hi = lo;
	struct tieline_side *side;

	lo.side = CHAT_LO;
	ck_assert_ptr_nonnull(tieline_take(&lo, "chat", &peer));
	ck_assert_ptr_nonnull(tieline_take(&hi, "chat", &third));
	ck_assert_uint_eq(peer.route.tielines + third.route.tielines, 2);
	/* Its other app goes to peer: the app of lo is not here any more. */
	side = tieline_take(&hi, "chat", &peer);
	ck_assert_ptr_eq(tieline_side_of(tieline_find(hi.handle), &peer), side);
	ck_assert_uint_eq(
	    tieline_which(tieline_find(hi.handle), side), CHAT_HI);
	ck_assert_uint_eq(peer.route.tielines, 1);
	ck_assert_uint_eq(third.route.tielines, 0);
	/* And back, in turn. */
	side = tieline_take(&lo, "chat", &peer);
	ck_assert_uint_eq(
	    tieline_which(tieline_find(hi.handle), side), CHAT_LO);
	ck_assert_uint_eq(peer.route.tielines, 1);
	/* The end told to where the other app once was ends nothing here. */
	tieline_over(&lo, &third, 0);
	tieline_over(&lo, NULL, 0);
	tieline_over(&hi, &peer, 0);
	ck_assert_ptr_nonnull(tieline_find(lo.handle));
	side->confirmed = 1;
	tieline_over(&lo, &peer, 1);
	ck_assert_ptr_nonnull(tieline_find(lo.handle));
	tieline_over(&lo, &peer, 0);
	ck_assert_ptr_null(tieline_find(lo.handle));
	ck_assert_uint_eq(peer.route.tielines, 0);
	/* Both apps here: both sides stay. */
	ck_assert_ptr_nonnull(tieline_take(&lo, "chat", NULL));
	ck_assert_ptr_nonnull(tieline_take(&hi, "chat", NULL));
	ck_assert_int_eq(tieline_drop(tieline_find(lo.handle), CHAT_LO), 0);
	ck_assert_int_eq(tieline_drop(tieline_find(lo.handle), CHAT_HI), 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("tieline");
	TCase *tcase = tcase_create("tieline");

	memset(&seen[0], 1, sizeof(seen[0]));
	memset(&seen[1], 2, sizeof(seen[1]));
	tcase_add_test(tcase, idle_tielines_are_small);
	tcase_add_test(tcase, an_attestation_is_shared_and_followed);
	tcase_add_test(tcase, a_node_is_at_one_end_of_a_tieline);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
