/*
 * Attestations that keyd has seen before: each signature is looked at once,
 * form and times always, and nothing that differs by a bit passes for one
 * that was good.
 */

#include "common/util/log.h"
#include "regress/unit/chat_pair.h"
#include "regress/unit/suite.h"

#define CHATS 20
#define APPS  64
#define HOUR  (INT64_C(3600) * 1000000000)

static struct pair pair;
static struct attested attested;

static void
setup(void)
{
	pair_setup(&pair);
	memset(&attested, 0, sizeof(attested));
}

static void
teardown(void)
{
	pair_teardown(&pair);
}

START_TEST(a_signature_is_looked_at_once)
{
	struct attestation one;
	int i;

	pair_attest(&pair.nodes[0], pair.now, &one);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(attested_verify(&attested, &one, pair.now), 0);
	ck_assert_uint_eq(attested.checked, 1);
	/* Known or not, a time passes. */
	ck_assert_int_eq(attested_verify(&attested, &one,
			     pair.now + ATTESTATION_MAX_AGE + HOUR),
	    -1);
	ck_assert_int_eq(attested_verify(&attested, &one, pair.now - HOUR), -1);
	ck_assert_int_eq(attested_verify(&attested, &one, pair.now), 0);
	ck_assert_uint_eq(attested.checked, 1);
}
END_TEST

/* Apps enough that some share a set. */
START_TEST(one_does_not_push_out_another)
{
	struct attestation all[APPS];
	int i, round;

	for (i = 0; i < APPS; i++)
		pair_attest(&pair.nodes[0], pair.now - i, &all[i]);
	for (round = 0; round < 3; round++)
		for (i = 0; i < APPS; i++)
			ck_assert_int_eq(
			    attested_verify(&attested, &all[i], pair.now), 0);
	ck_assert_uint_eq(attested.checked, APPS);
}
END_TEST

/* Any bit of it changed: not what was good. */
START_TEST(nothing_else_passes_for_it)
{
	struct attestation one, other;
	uint8_t bytes[ATTESTATION_ENCODED];
	size_t i, read = 0;

	pair_attest(&pair.nodes[0], pair.now, &one);
	ck_assert_int_eq(attested_verify(&attested, &one, pair.now), 0);
	for (i = 1; i < sizeof(bytes); i++) {
		attestation_encode(&one, bytes);
		bytes[i] ^= 1;
		if (attestation_decode(&other, bytes, sizeof(bytes)) == -1)
			continue;
		read++;
		ck_assert_msg(
		    attested_verify(&attested, &other, pair.now) == -1,
		    "byte %zu", i);
		/* Nor is it remembered as good. */
		ck_assert_int_eq(
		    attested_verify(&attested, &other, pair.now), -1);
	}
	ck_assert_uint_gt(read, SIGNATURE_SIZE);
	ck_assert_uint_eq(attested.checked, 1 + 2 * read);
	ck_assert_int_eq(attested_verify(&attested, &one, pair.now), 0);
}
END_TEST

START_TEST(chats_of_two_apps_cost_two_signatures)
{
	int i;

	for (i = 0; i < CHATS; i++) {
		(void)snprintf(
		    pair.chat_id, sizeof(pair.chat_id), "chat-%d", i);
		pair_start(&pair, 0, 0, 0);
		pair_run(&pair);
		pair_start(&pair, 1, 1, 0);
		pair_run(&pair);
	}
	ck_assert_uint_eq(chats_count(pair.nodes[0].chats), CHATS);
	ck_assert_uint_eq(chats_count(pair.nodes[1].chats), CHATS);
	ck_assert_int_eq(pair.nodes[0].readies, CHATS);
	ck_assert_uint_eq(pair.nodes[0].chats->attested.checked, 2);
	ck_assert_uint_eq(pair.nodes[1].chats->attested.checked, 2);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("attested");
	TCase *tcase = tcase_create("attested");

	if (sodium_init() == -1)
		return (1);
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_signature_is_looked_at_once);
	tcase_add_test(tcase, one_does_not_push_out_another);
	tcase_add_test(tcase, nothing_else_passes_for_it);
	tcase_add_test(tcase, chats_of_two_apps_cost_two_signatures);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
