/*
 * The ratchet core against vectors of an independent implementation (L03),
 * and against everything that must not open (L05, L08, L11).
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>
#include <sodium.h>

#include "common/util/hex.h"
#include "keyd/aead.h"
#include "keyd/ratchet.h"
#include "keyd/secret.h"
#include "regress/vectors/ratchet_vectors.h"
#include "regress/unit/suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
unhex(uint8_t *out, size_t length, const char *text)
{
	ck_assert_int_eq(hex_decode(out, length, text), 0);
}

static void
assert_hex(const uint8_t *bytes, size_t length, const char *text)
{
	char *hex = malloc(2 * length + 1);

	ck_assert_ptr_nonnull(hex);
	hex_encode(hex, bytes, length);
	ck_assert_str_eq(hex, text);
	free(hex);
}

static void
ratchet_setup(
    struct ratchet *ratchet, const uint8_t handle[KEY_SIZE], uint8_t side)
{
	memset(ratchet, 0, sizeof(*ratchet));
	ratchet->secrets = secret_new(sizeof(*ratchet->secrets));
	ck_assert_ptr_nonnull(ratchet->secrets);
	ratchet->handle = handle;
	ratchet->side = side;
}

static void
ratchet_teardown(struct ratchet *ratchet)
{
	secret_free(ratchet->secrets, sizeof(*ratchet->secrets));
}

/* --- vectors ------------------------------------------------------------- */

static void
vector_derive(struct ratchet *ratchet, const struct vector_epoch *epoch)
{
	int lo = ratchet->side == CHAT_LO;
	uint8_t bytes[OFFER_ENCODED], secret[KEY_SIZE];
	uint8_t public_key[KEY_SIZE], instance[INSTANCE_SIZE];
	struct offer offer_lo, offer_hi;

	unhex(bytes, sizeof(bytes), epoch->offer_lo);
	ck_assert_int_eq(offer_decode(&offer_lo, bytes, sizeof(bytes)), 0);
	ck_assert_int_eq(offer_verify(&offer_lo), 0);
	unhex(bytes, sizeof(bytes), epoch->offer_hi);
	ck_assert_int_eq(offer_decode(&offer_hi, bytes, sizeof(bytes)), 0);
	ck_assert_int_eq(offer_verify(&offer_hi), 0);
	offer_instance(
	    lo ? &offer_lo : &offer_hi, lo ? &offer_hi : &offer_lo, instance);
	assert_hex(instance, INSTANCE_SIZE, epoch->instance);

	unhex(secret, sizeof(secret), lo ? epoch->secret_lo : epoch->secret_hi);
	ratchet_make_ephemeral(ratchet, secret, public_key);
	ck_assert_mem_eq(
	    public_key, lo ? offer_lo.ephemeral : offer_hi.ephemeral, KEY_SIZE);
	ck_assert_int_eq(ratchet_derive(ratchet, lo ? &offer_lo : &offer_hi,
			     lo ? &offer_hi : &offer_lo),
	    0);
	assert_hex(lo ? ratchet->secrets->send : ratchet->secrets->receive,
	    KEY_SIZE, epoch->chain_lo);
	assert_hex(lo ? ratchet->secrets->receive : ratchet->secrets->send,
	    KEY_SIZE, epoch->chain_hi);
	assert_hex(ratchet->secrets->link, KEY_SIZE, epoch->link);
	ck_assert(sodium_is_zero(ratchet->secrets->ephemeral, KEY_SIZE));
}

static void
vector_message(
    struct ratchet *from, struct ratchet *to, const struct vector_message *m)
{
	uint8_t plain[256], sealed[256], ours[256];
	size_t length = strlen(m->plain) / 2;

	unhex(plain, length, m->plain);
	unhex(sealed, length + RATCHET_TAG, m->sealed);
	/* A sender that crashed: it skipped these counters. */
	while (from->send_counter < m->counter)
		(void)ratchet_seal(from, 0, plain, 0, ours);
	ck_assert_uint_eq(
	    ratchet_seal(from, m->sequence, plain, length, ours), m->counter);
	ck_assert_mem_eq(ours, sealed, length + RATCHET_TAG);
	memset(ours, 0, sizeof(ours));
	ck_assert_int_eq(ratchet_open(to, m->version, m->counter, m->sequence,
			     sealed, length + RATCHET_TAG, ours),
	    RATCHET_OK);
	ck_assert_mem_eq(ours, plain, length);
}

START_TEST(l03_vectors_of_both_ends)
{
	const struct vector_chat *chat = &vector_chats[_i];
	struct ratchet lo, hi;
	struct chat_key key;
	uint8_t handle[KEY_SIZE], app_lo[KEY_SIZE];
	uint8_t app_hi[KEY_SIZE];
	size_t e, m, epochs = 0, messages = 0;

	unhex(handle, sizeof(handle), chat->handle);
	unhex(app_lo, sizeof(app_lo), chat->app_lo);
	unhex(app_hi, sizeof(app_hi), chat->app_hi);
	ck_assert_int_eq(chat_key_make(&key, chat->chat_id, app_hi, app_lo), 0);
	ck_assert_mem_eq(key.handle, handle, KEY_SIZE);
	ck_assert_uint_eq(key.side, CHAT_HI);
	ratchet_setup(&lo, handle, CHAT_LO);
	ratchet_setup(&hi, handle, CHAT_HI);
	for (e = 0; e < COUNT(vector_epochs); e++) {
		if (strcmp(vector_epochs[e].name, chat->name) != 0)
			continue;
		vector_derive(&lo, &vector_epochs[e]);
		vector_derive(&hi, &vector_epochs[e]);
		epochs++;
		for (m = 0; m < COUNT(vector_messages); m++) {
			const struct vector_message *v = &vector_messages[m];

			if (strcmp(v->name, chat->name) != 0 ||
			    v->version != vector_epochs[e].version)
				continue;
			vector_message(v->side == CHAT_LO ? &lo : &hi,
			    v->side == CHAT_LO ? &hi : &lo, v);
			messages++;
		}
	}
	ck_assert_uint_eq(epochs, 3);
	ck_assert_uint_eq(messages, 24);
	ratchet_teardown(&lo);
	ratchet_teardown(&hi);
}
END_TEST

/* --- pairs made here ----------------------------------------------------- */

struct pair {
	struct ratchet lo, hi;
	struct offer offer[2];
	uint8_t handle[KEY_SIZE];
};

static void
pair_epoch(struct pair *pair, uint32_t version, uint32_t flags)
{
	uint8_t random[KEY_SIZE];
	int i;

	for (i = 0; i < 2; i++) {
		struct offer *offer = &pair->offer[i];
		struct ratchet *ratchet = i == CHAT_LO ? &pair->lo : &pair->hi;

		memset(offer, 0, sizeof(*offer));
		memcpy(offer->handle, pair->handle, KEY_SIZE);
		offer->version = version;
		offer->flags = flags;
		offer->side = (uint32_t)i;
		offer->app_hi[0] = 1;
		randombytes_buf(random, sizeof(random));
		ratchet_make_ephemeral(ratchet, random, offer->ephemeral);
		ratchet_commit_link(
		    ratchet->secrets->link, offer->link_commitment);
	}
	ck_assert_int_eq(
	    ratchet_derive(&pair->lo, &pair->offer[0], &pair->offer[1]), 0);
	ck_assert_int_eq(
	    ratchet_derive(&pair->hi, &pair->offer[1], &pair->offer[0]), 0);
	ck_assert_mem_eq(
	    pair->lo.secrets->send, pair->hi.secrets->receive, KEY_SIZE);
	ck_assert_mem_eq(
	    pair->hi.secrets->send, pair->lo.secrets->receive, KEY_SIZE);
	ck_assert_mem_eq(
	    pair->hi.secrets->link, pair->lo.secrets->link, KEY_SIZE);
}

static void
pair_setup(struct pair *pair, uint32_t flags)
{
	memset(pair, 0, sizeof(*pair));
	randombytes_buf(pair->handle, KEY_SIZE);
	ratchet_setup(&pair->lo, pair->handle, CHAT_LO);
	ratchet_setup(&pair->hi, pair->handle, CHAT_HI);
	pair_epoch(pair, 1, flags);
}

static void
pair_teardown(struct pair *pair)
{
	ratchet_teardown(&pair->lo);
	ratchet_teardown(&pair->hi);
}

static const uint8_t word[5] = "word";

START_TEST(l05_other_chat_version_side_sequence_do_not_open)
{
	uint32_t flags = _i ? ratchet_offer_flags(0) : 0;
	struct pair pair, other;
	uint8_t sealed[32], out[32];
	uint64_t counter;

	pair_setup(&pair, flags);
	pair_setup(&other, flags);
	counter = ratchet_seal(&pair.lo, 1, word, sizeof(word), sealed);
	/* Another chat, with other keys and with the same keys. */
	ck_assert_int_eq(ratchet_open(&other.hi, 1, counter, 1, sealed,
			     sizeof(word) + RATCHET_TAG, out),
	    RATCHET_AEAD);
	*other.hi.secrets = *pair.hi.secrets;
	ck_assert_int_eq(ratchet_open(&other.hi, 1, counter, 1, sealed,
			     sizeof(word) + RATCHET_TAG, out),
	    RATCHET_AEAD);
	/* Another sequence, another counter, its own sender. */
	ck_assert_int_eq(ratchet_open(&pair.hi, 1, counter, 2, sealed,
			     sizeof(word) + RATCHET_TAG, out),
	    RATCHET_AEAD);
	ck_assert_int_eq(ratchet_open(&pair.hi, 1, counter + 1, 1, sealed,
			     sizeof(word) + RATCHET_TAG, out),
	    RATCHET_AEAD);
	ck_assert_int_eq(ratchet_open(&pair.lo, 1, counter, 1, sealed,
			     sizeof(word) + RATCHET_TAG, out),
	    RATCHET_AEAD);
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 1, counter, 1, sealed, RATCHET_TAG - 1, out),
	    RATCHET_AEAD);
	/* The next version. */
	other = pair;
	pair_epoch(&pair, 2, flags);
	ck_assert_int_eq(ratchet_open(&pair.hi, 2, counter, 1, sealed,
			     sizeof(word) + RATCHET_TAG, out),
	    RATCHET_AEAD);
	/* All failures left the ratchet as it was: it opens in its epoch. */
	ck_assert_int_eq(ratchet_open(&pair.hi, 1, counter, 1, sealed,
			     sizeof(word) + RATCHET_TAG, out),
	    RATCHET_OK);
	ck_assert_mem_eq(out, word, sizeof(word));
	pair_teardown(&pair);
}
END_TEST

/* Long messages go another way to the same bytes, and back. */
START_TEST(length_does_not_change_the_cipher)
{
	static const size_t lengths[] = { 0, 1, 16, 2047, 2048, 2049, 65536,
		1024 * 1024 + 3 };
	size_t length = lengths[_i / 2];
	uint8_t key[KEY_SIZE], aad[61];
	struct aead aead = {
		.aes = _i % 2, .key = key, .aad = aad, .aad_length = sizeof(aad)
	};
	uint8_t *in = malloc(length + 1), *back = malloc(length + 1);
	uint8_t *out = malloc(length + AEAD_TAG);
	uint8_t *same = malloc(length + AEAD_TAG);

	ck_assert(in != NULL && back != NULL && out != NULL && same != NULL);
	if (aead.aes && !crypto_aead_aes256gcm_is_available())
		aead.aes = 0;
	randombytes_buf(key, sizeof(key));
	randombytes_buf(aad, sizeof(aad));
	randombytes_buf(aead.nonce, sizeof(aead.nonce));
	randombytes_buf(in, length);
	if (aead.aes)
		(void)crypto_aead_aes256gcm_encrypt(same, NULL, in, length, aad,
		    sizeof(aad), NULL, aead.nonce, key);
	else
		(void)crypto_aead_chacha20poly1305_ietf_encrypt(same, NULL, in,
		    length, aad, sizeof(aad), NULL, aead.nonce, key);
	aead_seal(&aead, in, length, out);
	ck_assert_mem_eq(out, same, length + AEAD_TAG);
	memset(back, 0xaa, length + 1);
	ck_assert_int_eq(aead_open(&aead, out, length + AEAD_TAG, back), 0);
	ck_assert_int_eq(memcmp(back, in, length), 0);
	/* Nothing opens that was changed, and nothing of it is told. */
	out[length / 2] ^= 1;
	ck_assert_int_eq(aead_open(&aead, out, length + AEAD_TAG, back), -1);
	ck_assert_int_eq(sodium_is_zero(back, length), 1);
	out[length / 2] ^= 1;
	aad[0] ^= 1;
	ck_assert_int_eq(aead_open(&aead, out, length + AEAD_TAG, back), -1);
	free(in);
	free(back);
	free(out);
	free(same);
}
END_TEST

START_TEST(the_commitment_to_no_link_is_known)
{
	uint8_t link[KEY_SIZE] = { 0 }, commitment[KEY_SIZE];

	ratchet_commit_link(link, commitment);
	ck_assert_int_eq(ratchet_commits_to_none(commitment), 1);
	link[KEY_SIZE - 1] = 1;
	ratchet_commit_link(link, commitment);
	ck_assert_int_eq(ratchet_commits_to_none(commitment), 0);
}
END_TEST

START_TEST(replay_is_rejected)
{
	struct pair pair;
	uint8_t sealed[2][32], out[32];

	pair_setup(&pair, ratchet_offer_flags(1));
	(void)ratchet_seal(&pair.lo, 1, word, 5, sealed[0]);
	(void)ratchet_seal(&pair.lo, 2, word, 5, sealed[1]);
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 1, 0, 1, sealed[0], 21, out), RATCHET_OK);
	ck_assert_int_eq(ratchet_open(&pair.hi, 1, 0, 1, sealed[0], 21, out),
	    RATCHET_REPLAY);
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 1, 1, 2, sealed[1], 21, out), RATCHET_OK);
	ck_assert_int_eq(ratchet_open(&pair.hi, 1, 0, 1, sealed[0], 21, out),
	    RATCHET_REPLAY);
	ck_assert_uint_eq(pair.hi.receive_counter, 2);
	pair_teardown(&pair);
}
END_TEST

/* The bound is on the jump, so a session of any length works. */
START_TEST(l11_jump_is_bounded_not_the_session)
{
	struct pair pair;
	uint8_t sealed[32], out[32];
	uint64_t counter = 0, i;

	pair_setup(&pair, 0);
	for (i = 0; i < 3 * RATCHET_JUMP; i++) {
		counter = ratchet_seal(&pair.lo, i, word, 5, sealed);
		/* Every third gets there. */
		if (i % 3 == 0)
			ck_assert_int_eq(ratchet_open(&pair.hi, 1, counter, i,
					     sealed, 21, out),
			    RATCHET_OK);
	}
	/* Exactly RATCHET_JUMP skipped is stepped over, one more is not. */
	while (pair.lo.send_counter < pair.hi.receive_counter + RATCHET_JUMP)
		(void)ratchet_seal(&pair.lo, 0, word, 5, sealed);
	counter = ratchet_seal(&pair.lo, 7, word, 5, sealed);
	ck_assert_uint_eq(counter - pair.hi.receive_counter, RATCHET_JUMP);
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 1, counter, 7, sealed, 21, out), RATCHET_OK);
	for (i = 0; i <= RATCHET_JUMP; i++)
		(void)ratchet_seal(&pair.lo, 0, word, 5, sealed);
	counter = ratchet_seal(&pair.lo, 8, word, 5, sealed);
	ck_assert_uint_eq(counter - pair.hi.receive_counter, RATCHET_JUMP + 1);
	ck_assert_int_eq(ratchet_open(&pair.hi, 1, counter, 8, sealed, 21, out),
	    RATCHET_FAR);
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 1, UINT64_MAX, 8, sealed, 21, out),
	    RATCHET_FAR);
	pair_teardown(&pair);
}
END_TEST

/* Messages on their way while the key changes still open. */
START_TEST(l08_previous_epoch_opens_until_the_first_of_the_new)
{
	struct pair pair;
	uint8_t old[3][32], new[32], out[32];
	int i;

	pair_setup(&pair, ratchet_offer_flags(0));
	for (i = 0; i < 3; i++)
		(void)ratchet_seal(&pair.lo, (uint64_t)i, word, 5, old[i]);
	pair_epoch(&pair, 2, ratchet_offer_flags(0));
	ck_assert_uint_eq(pair.hi.previous_version, 1);
	(void)ratchet_seal(&pair.lo, 3, word, 5, new);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(ratchet_open(&pair.hi, 1, (uint64_t)i,
				     (uint64_t)i, old[i], 21, out),
		    RATCHET_OK);
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 2, 0, 3, new, 21, out), RATCHET_OK);
	ck_assert_uint_eq(pair.hi.previous_version, 0);
	ck_assert(sodium_is_zero(pair.hi.secrets->previous, KEY_SIZE));
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 1, 2, 2, old[2], 21, out), RATCHET_OLD);
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 3, 0, 4, new, 21, out), RATCHET_UNKNOWN);
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 0, 0, 4, new, 21, out), RATCHET_OLD);
	pair_teardown(&pair);
}
END_TEST

/* Two ends whose links differ agree on a reset, and on nothing before it. */
START_TEST(a_reset_closes_what_was_before)
{
	struct pair pair;
	uint8_t old[32], out[32];

	pair_setup(&pair, 0);
	(void)ratchet_seal(&pair.lo, 1, word, 5, old);
	randombytes_buf(pair.lo.secrets->link, KEY_SIZE);
	pair_epoch(&pair, 2, OFFER_RESET);
	ck_assert_uint_eq(pair.hi.previous_version, 0);
	ck_assert(sodium_is_zero(pair.hi.secrets->previous, KEY_SIZE));
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 1, 0, 1, old, 21, out), RATCHET_OLD);
	pair_teardown(&pair);
}
END_TEST

START_TEST(how_far_a_message_is)
{
	struct pair pair;
	uint8_t sealed[32], out[32];

	pair_setup(&pair, 0);
	(void)ratchet_seal(&pair.lo, 1, word, 5, sealed);
	ck_assert_int_eq(
	    ratchet_open(&pair.hi, 1, 0, 1, sealed, 21, out), RATCHET_OK);
	ck_assert_uint_eq(ratchet_skips(&pair.hi, 1, 0), 0);
	ck_assert_uint_eq(ratchet_skips(&pair.hi, 1, 1), 0);
	ck_assert_uint_eq(ratchet_skips(&pair.hi, 1, 3), 2);
	pair_epoch(&pair, 2, 0);
	ck_assert_uint_eq(ratchet_skips(&pair.hi, 1, 3), 2);
	ck_assert_uint_eq(ratchet_skips(&pair.hi, 2, 0), 0);
	ck_assert_uint_eq(ratchet_skips(&pair.hi, 2, 1), 1);
	ck_assert_uint_eq(ratchet_skips(&pair.hi, 3, 1), 0);
	ratchet_close_previous(&pair.hi);
	ck_assert_uint_eq(ratchet_skips(&pair.hi, 1, 3), 0);
	ck_assert_uint_eq(ratchet_skips(&pair.hi, 0, 3), 0);
	pair_teardown(&pair);
}
END_TEST

START_TEST(an_offer_says_what_the_machine_can)
{
	uint32_t aes =
	    crypto_aead_aes256gcm_is_available() ? (uint32_t)OFFER_AES : 0;

	ck_assert_uint_eq(ratchet_offer_flags(0), aes);
	ck_assert_uint_eq(ratchet_offer_flags(1), aes | OFFER_SHA512);
}
END_TEST

/* After a step nothing in memory derives the key of a message sealed. */
START_TEST(l04_steps_wipe_what_they_used)
{
	struct pair pair;
	uint8_t sealed[32], before[KEY_SIZE], link[KEY_SIZE];

	pair_setup(&pair, 0);
	memcpy(before, pair.lo.secrets->send, KEY_SIZE);
	(void)ratchet_seal(&pair.lo, 1, word, 5, sealed);
	ck_assert_mem_ne(before, pair.lo.secrets->send, KEY_SIZE);
	memcpy(link, pair.lo.secrets->link, KEY_SIZE);
	pair_epoch(&pair, 2, 0);
	ck_assert_mem_ne(link, pair.lo.secrets->link, KEY_SIZE);
	ck_assert(sodium_is_zero(pair.lo.secrets->ephemeral, KEY_SIZE));
	ratchet_close(&pair.lo);
	ck_assert(sodium_is_zero(pair.lo.secrets->send, KEY_SIZE));
	ck_assert(sodium_is_zero(pair.lo.secrets->receive, KEY_SIZE));
	ck_assert(sodium_is_zero(pair.lo.secrets->previous, KEY_SIZE));
	ck_assert_uint_eq(pair.lo.version, 0);
	pair_teardown(&pair);
}
END_TEST

START_TEST(weak_public_keys_are_refused)
{
	struct pair pair;
	uint8_t random[KEY_SIZE];
	struct ratchet before;

	pair_setup(&pair, 0);
	randombytes_buf(random, sizeof(random));
	ratchet_make_ephemeral(&pair.lo, random, pair.offer[0].ephemeral);
	pair.offer[0].version = pair.offer[1].version = 2;
	memset(pair.offer[1].ephemeral, 0, KEY_SIZE);
	before = pair.lo;
	ck_assert_int_eq(
	    ratchet_derive(&pair.lo, &pair.offer[0], &pair.offer[1]), -1);
	pair.offer[1].ephemeral[0] = 1;
	ck_assert_int_eq(
	    ratchet_derive(&pair.lo, &pair.offer[0], &pair.offer[1]), -1);
	ck_assert_mem_eq(&before, &pair.lo, sizeof(before));
	/* Two offers of one side, or of two versions. */
	randombytes_buf(pair.offer[1].ephemeral, KEY_SIZE);
	pair.offer[1].version = 3;
	ck_assert_int_eq(
	    ratchet_derive(&pair.lo, &pair.offer[0], &pair.offer[1]), -1);
	pair.offer[1].version = 2;
	pair.offer[1].side = CHAT_LO;
	ck_assert_int_eq(
	    ratchet_derive(&pair.lo, &pair.offer[0], &pair.offer[1]), -1);
	pair_teardown(&pair);
}
END_TEST

START_TEST(secrets_are_wiped_when_freed)
{
	uint8_t *slots[600];
	size_t i;

	for (i = 0; i < COUNT(slots); i++) {
		slots[i] = secret_new(sizeof(struct ratchet_secrets));
		ck_assert_ptr_nonnull(slots[i]);
		ck_assert(
		    sodium_is_zero(slots[i], sizeof(struct ratchet_secrets)));
		memset(slots[i], 0xa5, sizeof(struct ratchet_secrets));
	}
	ck_assert_uint_le(secret_locked() / COUNT(slots), 512);
	secret_free(slots[7], sizeof(struct ratchet_secrets));
	ck_assert(sodium_is_zero(slots[7] + sizeof(void *),
	    sizeof(struct ratchet_secrets) - sizeof(void *)));
	secret_wipe_all();
	for (i = 0; i < COUNT(slots); i++)
		ck_assert(
		    sodium_is_zero(slots[i], sizeof(struct ratchet_secrets)));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("ratchet");
	TCase *tcase = tcase_create("ratchet");

	if (sodium_init() == -1)
		return (1);
	tcase_add_loop_test(
	    tcase, l03_vectors_of_both_ends, 0, COUNT(vector_chats));
	tcase_add_loop_test(
	    tcase, l05_other_chat_version_side_sequence_do_not_open, 0, 2);
	tcase_add_loop_test(tcase, length_does_not_change_the_cipher, 0, 16);
	tcase_add_test(tcase, the_commitment_to_no_link_is_known);
	tcase_add_test(tcase, replay_is_rejected);
	tcase_add_test(tcase, l11_jump_is_bounded_not_the_session);
	tcase_add_test(
	    tcase, l08_previous_epoch_opens_until_the_first_of_the_new);
	tcase_add_test(tcase, a_reset_closes_what_was_before);
	tcase_add_test(tcase, how_far_a_message_is);
	tcase_add_test(tcase, an_offer_says_what_the_machine_can);
	tcase_add_test(tcase, l04_steps_wipe_what_they_used);
	tcase_add_test(tcase, weak_public_keys_are_refused);
	tcase_add_test(tcase, secrets_are_wiped_when_freed);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
