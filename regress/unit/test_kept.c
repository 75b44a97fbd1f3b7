/*
 * Test. What libhermes keeps until it is acknowledged, against a plain list
 * of the same messages: sequences, bytes and room that is used again.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_queue.h"
#include "regress/unit/suite.h"

#define STEPS   200000
#define SMALL   700
#define LONGEST 5000 /* some are large */
#define WINDOW  256
#define MANY    1000

static uint32_t seed = 1;

/* A linear congruence (Numerical Recipes): the same in every run. */
static uint32_t
chance(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return ((seed >> 8) % below);
}

/* The bytes of a message, each its own. */
static size_t
fill(uint8_t *bytes, uint64_t sequence, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++)
		bytes[i] = (uint8_t)(sequence * 31 + i * 7);
	return (length);
}

static void
add(struct kept_queue *queue, uint64_t sequence, size_t length)
{
	uint8_t *bytes = malloc(length + 1);

	ck_assert_ptr_nonnull(bytes);
	ck_assert_int_eq(
	    kept_add(queue, bytes, fill(bytes, sequence, length)), 0);
	free(bytes);
}

static void
holds(const struct kept_queue *queue, uint64_t sequence, size_t length)
{
	const struct kept *kept = kept_get(queue, sequence);
	uint8_t bytes[LONGEST];

	ck_assert_ptr_nonnull(kept);
	ck_assert_uint_eq(kept->length, length);
	ck_assert_int_eq(kept->sent_at, 0);
	if (fill(bytes, sequence, length) > 0)
		ck_assert_mem_eq(kept_payload(queue, kept), bytes, length);
}

START_TEST(test_as_a_list)
{
	static size_t lengths[STEPS + 2];
	struct kept_queue queue;
	uint64_t first = 1, next = 1, i;
	size_t step;

	kept_init(&queue);
	for (step = 0; step < STEPS; step++) {
		switch (chance(first + WINDOW > next ? 5 : 2)) {
		case 0:
		case 1:
			if (first == next)
				break;
			kept_shift(&queue);
			first++;
			break;
		default:
			lengths[next] =
			    chance(8) == 0
				? 0
				: chance(chance(8) == 0 ? LONGEST : SMALL);
			add(&queue, next, lengths[next]);
			next++;
		}
		ck_assert_uint_eq(queue.first, first);
		ck_assert_uint_eq(queue.count, next - first);
		ck_assert_ptr_null(kept_get(&queue, first - 1));
		ck_assert_ptr_null(kept_get(&queue, next));
		if (first < next) {
			holds(&queue, first, lengths[first]);
			holds(&queue, next - 1, lengths[next - 1]);
		}
		if (step % 997 == 0)
			for (i = first; i < next; i++)
				holds(&queue, i, lengths[i]);
	}
	kept_free(&queue);
}
END_TEST

START_TEST(test_room_is_used_again)
{
	struct kept_queue queue;
	const uint8_t *bytes;
	uint64_t next;

	kept_init(&queue);
	for (next = 1; next <= WINDOW; next++)
		add(&queue, next, SMALL);
	bytes = queue.bytes;
	for (; next <= 10 * WINDOW; next++) {
		kept_shift(&queue);
		add(&queue, next, SMALL);
	}
	ck_assert_ptr_eq(queue.bytes, bytes);
	ck_assert_uint_le(queue.capacity, 2 * WINDOW * SMALL);
	kept_restart(&queue, 9000);
	ck_assert_uint_eq(queue.count, 0);
	add(&queue, 9000, 3);
	holds(&queue, 9000, 3);
	ck_assert_ptr_eq(queue.bytes, bytes);
	kept_free(&queue);
}
END_TEST

START_TEST(test_much_is_given_back)
{
	struct kept_queue queue;
	size_t i;

	kept_init(&queue);
	for (i = 0; i < MANY; i++)
		add(&queue, i + 1, SMALL);
	ck_assert_uint_ge(queue.capacity, MANY * SMALL);
	for (i = 0; i < MANY; i++)
		kept_shift(&queue);
	ck_assert_ptr_null(queue.bytes);
	add(&queue, MANY + 1, 10);
	holds(&queue, MANY + 1, 10);
	kept_free(&queue);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("kept");
	TCase *tcase = tcase_create("queue");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, test_as_a_list);
	tcase_add_test(tcase, test_room_is_used_again);
	tcase_add_test(tcase, test_much_is_given_back);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
