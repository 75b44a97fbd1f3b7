/*
 * Test. The schedule of trying again: it doubles up to its bound, and many
 * that begin at the same instant come back spread out, not in waves.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/clock.h"
#include "mesh/backoff.h"
#include "regress/unit/suite.h"

#define FIRST (100 * CLOCK_MS)
#define MOST  (5 * CLOCK_SECOND)
#define NODES 1000
#define SLOT  (100 * CLOCK_MS)
#define SLOTS 400

static uint64_t seed;

/* splitmix64: the same in every run. */
static uint64_t
random64(void)
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31));
}

START_TEST(test_doubles_to_its_bound)
{
	static const int64_t expected[] = { FIRST, 2 * FIRST, 4 * FIRST,
		8 * FIRST, 16 * FIRST, 32 * FIRST, MOST, MOST, MOST };
	int64_t delay = 0;
	size_t i;

	for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		delay = backoff_after(delay, FIRST, MOST);
		ck_assert_int_eq(delay, expected[i]);
	}
	ck_assert_int_eq(backoff_after(0, MOST, FIRST), FIRST);
	ck_assert_int_eq(
	    backoff_after(INT64_MAX - 1, FIRST, INT64_MAX), INT64_MAX);
}
END_TEST

START_TEST(test_jitter_keeps_its_bounds)
{
	static const uint64_t edges[] = { 0, 1, UINT64_MAX, UINT64_MAX - 1 };
	int64_t delay, waited;
	size_t i;

	for (delay = 1; delay < MOST; delay = delay * 3 + 1)
		for (i = 0; i < 1000; i++) {
			waited = backoff_jitter(
			    delay, i < 4 ? edges[i] : random64());
			ck_assert_int_ge(waited, delay / 2);
			ck_assert_int_lt(waited, delay / 2 + delay);
		}
	ck_assert_int_eq(backoff_jitter(0, 7), 0);
	ck_assert_int_eq(backoff_jitter(-1, 7), 0);
	ck_assert(backoff_random() != backoff_random());
}
END_TEST

/*
 * A thousand nodes lose the same neighbour at the same instant and dial it
 * until it is back after 30 s. Once the delays have grown it meets at no
 * instant more than a small part of them.
 */
START_TEST(test_no_thundering_herd)
{
	static unsigned slots[SLOTS];
	int64_t delay, at;
	unsigned node, i, worst = 0, sum = 0;

	memset(slots, 0, sizeof(slots));
	for (node = 0; node < NODES; node++) {
		at = delay = 0;
		for (;;) {
			delay = backoff_after(delay, FIRST, MOST);
			at += backoff_jitter(delay, random64());
			if (at / SLOT >= SLOTS)
				break;
			slots[at / SLOT]++;
		}
	}
	for (i = 100; i < SLOTS; i++) {
		sum += slots[i];
		if (slots[i] > worst)
			worst = slots[i];
	}
	/* Everybody once in 5 s is 20 a slot; in step it would be 1,000. */
	ck_assert_uint_gt(sum, 5 * NODES);
	ck_assert_uint_lt(worst, 60);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("backoff");
	TCase *tcase = tcase_create("backoff");

	tcase_add_test(tcase, test_doubles_to_its_bound);
	tcase_add_test(tcase, test_jitter_keeps_its_bounds);
	tcase_add_test(tcase, test_no_thundering_herd);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
