/*
 * The Double Ratchet between two apps (client/lib_e2e.c): both ends agree in
 * any order of talk, nothing old or foreign opens, lost state is found and
 * mended, and what was stored opens nothing that came before it.
 */
#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_e2e.h"
#include "regress/unit/suite.h"

#define PLAIN_MAX 64

/* One app: its identity, its ratchet, and how far the chat is. */
struct end {
	uint8_t app[KEY_SIZE];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	struct e2e e2e;
	uint64_t sent;
	uint64_t received;
};

struct sealed {
	uint8_t bytes[PLAIN_MAX + E2E_OVERHEAD];
	size_t length;
	uint64_t sequence;
	uint8_t plain[PLAIN_MAX];
	size_t plain_length;
};

static struct end lo, hi;

static const uint8_t none[KEY_SIZE];

static void
fresh_key(struct end *end)
{
	uint8_t random[KEY_SIZE];

	randombytes_buf(random, sizeof(random));
	e2e_new_key(&end->e2e, random);
}

static void
end_init(struct end *end, const struct end *peer, const char *chat_id)
{
	struct chat_key key;

	ck_assert_int_eq(chat_key_make(&key, chat_id, end->app, peer->app), 0);
	e2e_init(&end->e2e, &key);
	end->sent = end->received = 0;
	fresh_key(end);
}

/* a hears of b's key as libhermes does; a may answer with one of its own. */
static enum e2e_result
tell(struct end *to, struct end *from)
{
	enum e2e_result result;
	uint8_t key[KEY_SIZE], answers[KEY_SIZE];

	memcpy(key, from->e2e.key_public, KEY_SIZE);
	memcpy(answers, from->e2e.answered, KEY_SIZE);
	result = e2e_peer_key(&to->e2e, key, answers);
	if (result == E2E_NEED_KEY) {
		fresh_key(to);
		ck_assert_int_eq(e2e_peer_key(&to->e2e, key, none), E2E_DONE);
	}
	if (result == E2E_DONE || result == E2E_NEED_KEY)
		e2e_sign(&to->e2e, to->secret);
	return (result);
}

static void
both_init(const char *chat_id)
{
	end_init(&lo, &hi, chat_id);
	end_init(&hi, &lo, chat_id);
	ck_assert_int_eq(tell(&lo, &hi), E2E_DONE);
	ck_assert_int_eq(tell(&hi, &lo), E2E_DONE);
}

static void
setup(void)
{
	struct end one;

	ck_assert_int_ge(sodium_init(), 0);
	(void)crypto_sign_keypair(lo.app, lo.secret);
	(void)crypto_sign_keypair(hi.app, hi.secret);
	if (memcmp(lo.app, hi.app, KEY_SIZE) > 0) {
		one = lo;
		lo = hi;
		hi = one;
	}
	both_init("chat");
}

static void
seal(struct end *end, struct sealed *m)
{
	uint8_t random[KEY_SIZE];
	int stepped;

	randombytes_buf(random, sizeof(random));
	m->plain_length = randombytes_uniform(PLAIN_MAX + 1);
	randombytes_buf(m->plain, m->plain_length);
	m->sequence = ++end->sent;
	m->length = e2e_seal(&end->e2e, random, m->sequence, m->plain,
	    m->plain_length, m->bytes, &stepped);
	ck_assert_uint_le(m->length, m->plain_length + E2E_OVERHEAD);
}

static enum e2e_result
try_open(struct end *end, const struct end *from, const struct sealed *m,
    uint8_t *plain, size_t *length)
{
	return (e2e_open(&end->e2e, from->app, m->sequence, m->bytes, m->length,
	    plain, length));
}

static void
must_open(struct end *end, const struct end *from, const struct sealed *m)
{
	uint8_t plain[PLAIN_MAX + E2E_OVERHEAD];
	size_t length;

	ck_assert_int_eq(try_open(end, from, m, plain, &length), E2E_DONE);
	ck_assert_uint_eq(length, m->plain_length);
	ck_assert_mem_eq(plain, m->plain, length);
	end->received = m->sequence;
}

static void
must_not_open(struct end *end, const struct end *from, const struct sealed *m)
{
	uint8_t plain[PLAIN_MAX + E2E_OVERHEAD];
	struct e2e before = end->e2e;
	size_t length;

	ck_assert_int_ne(try_open(end, from, m, plain, &length), E2E_DONE);
	ck_assert_mem_eq(&before, &end->e2e, sizeof(before));
}

static void
pass(struct end *from, struct end *to)
{
	struct sealed m;

	seal(from, &m);
	must_open(to, from, &m);
}

/* Who speaks first, and both at once, does not matter. */
START_TEST(test_any_order)
{
	struct sealed queue[2][8];
	size_t head[2] = { 0, 0 }, tail[2] = { 0, 0 }, i, who;
	struct end *ends[2] = { &lo, &hi };

	for (i = 0; i < 4000; i++) {
		who = randombytes_uniform(2);
		if (randombytes_uniform(2) && tail[who] - head[who] < 8)
			seal(ends[who], &queue[who][tail[who]++ % 8]);
		else if (head[who] < tail[who])
			must_open(ends[!who], ends[who],
			    &queue[who][head[who]++ % 8]);
	}
	ck_assert_uint_gt(lo.sent, 100);
	ck_assert_uint_gt(hi.sent, 100);
}
END_TEST

/* The announcement travels until the peer has used the session. */
START_TEST(test_announced_until_confirmed)
{
	struct sealed m;

	seal(&lo, &m);
	ck_assert_uint_eq(m.length, m.plain_length + E2E_OVERHEAD);
	must_open(&hi, &lo, &m);
	pass(&hi, &lo);
	seal(&lo, &m);
	ck_assert_uint_eq(m.length, m.plain_length + E2E_HEADER + E2E_TAG);
	must_open(&hi, &lo, &m);
}
END_TEST

START_TEST(test_altered)
{
	struct sealed m, copy;
	size_t i;

	pass(&lo, &hi);
	pass(&hi, &lo);
	seal(&lo, &m);
	for (i = 0; i < m.length; i++) {
		copy = m;
		copy.bytes[i] ^= 1;
		must_not_open(&hi, &lo, &copy);
	}
	for (i = 0; i < m.length; i++) {
		copy = m;
		copy.length = i;
		must_not_open(&hi, &lo, &copy);
	}
	copy = m;
	copy.sequence++;
	must_not_open(&hi, &lo, &copy);
	must_not_open(&lo, &hi, &m); /* sent back to its sender */
	must_open(&hi, &lo, &m);
	must_not_open(&hi, &lo, &m); /* again */
}
END_TEST

/* Of another chat of the same two, or with a forged announcement. */
START_TEST(test_foreign)
{
	struct end other = hi;
	struct sealed m;

	seal(&lo, &m);
	end_init(&other, &lo, "another");
	must_not_open(&other, &lo, &m);
	end_init(&hi, &lo, "chat"); /* knows no session */
	m.bytes[m.length - E2E_TAG - m.plain_length - 1] ^= 1;
	must_not_open(&hi, &lo, &m); /* the signature */
}
END_TEST

/* What is kept after a message was opened opens none of those before. */
START_TEST(test_forward_secret)
{
	struct sealed m[6];
	size_t i;

	for (i = 0; i < 3; i++) {
		seal(&lo, &m[i]);
		must_open(&hi, &lo, &m[i]);
	}
	pass(&hi, &lo);
	for (; i < 6; i++) {
		seal(&lo, &m[i]);
		must_open(&hi, &lo, &m[i]);
	}
	for (i = 0; i < 6; i++) {
		must_not_open(&hi, &lo, &m[i]);
		must_not_open(&lo, &hi, &m[i]);
	}
}
END_TEST

/* A thief of all of one end's state is out after one exchange. */
START_TEST(test_heals)
{
	struct end thief;
	struct sealed m;
	uint8_t plain[PLAIN_MAX + E2E_OVERHEAD];
	size_t length;

	pass(&lo, &hi);
	pass(&hi, &lo);
	thief = hi;
	seal(&lo, &m);
	ck_assert_int_eq(try_open(&thief, &lo, &m, plain, &length), E2E_DONE);
	must_open(&hi, &lo, &m);
	pass(&hi, &lo); /* brings a ratchet key the thief has not */
	seal(&lo, &m);
	ck_assert_int_ne(try_open(&thief, &lo, &m, plain, &length), E2E_DONE);
	must_open(&hi, &lo, &m);
}
END_TEST

START_TEST(test_skips)
{
	struct sealed m;
	struct e2e before;
	uint32_t i;

	pass(&lo, &hi);
	for (i = 0; i < E2E_SKIP_MAX; i++)
		seal(&lo, &m);
	before = hi.e2e;
	seal(&lo, &m);
	must_open(&hi, &lo, &m); /* the bound itself */
	hi.e2e = before;
	seal(&lo, &m);
	must_not_open(&hi, &lo, &m);
}
END_TEST

/* A new session by either, by both at once, or by one and again. */
START_TEST(test_renewal)
{
	struct sealed old;
	int round;

	for (round = 0; round < 40; round++) {
		pass(&lo, &hi);
		pass(&hi, &lo);
		seal(&hi, &old);
		switch (round % 4) {
		case 0:
			fresh_key(&lo);
			ck_assert_int_eq(tell(&hi, &lo), E2E_NEED_KEY);
			must_open(&lo, &hi, &old);
			ck_assert_int_eq(tell(&lo, &hi), E2E_DONE);
			break;
		case 1: /* both: they agree on one */
			fresh_key(&lo);
			fresh_key(&hi);
			must_open(&lo, &hi, &old);
			ck_assert_int_eq(tell(&lo, &hi), E2E_DONE);
			ck_assert_int_eq(tell(&hi, &lo), E2E_DONE);
			break;
		case 2: /* the answer comes with a message only */
			fresh_key(&lo);
			must_open(&lo, &hi, &old);
			ck_assert_int_eq(tell(&hi, &lo), E2E_NEED_KEY);
			pass(&hi, &lo);
			e2e_sign(&lo.e2e, lo.secret);
			break;
		default: /* an answer to a key given up is not taken */
			must_open(&lo, &hi, &old);
			fresh_key(&lo);
			ck_assert_int_eq(tell(&hi, &lo), E2E_NEED_KEY);
			fresh_key(&lo);
			ck_assert_int_eq(tell(&lo, &hi), E2E_KNOWN);
			ck_assert_int_eq(tell(&hi, &lo), E2E_NEED_KEY);
			ck_assert_int_eq(tell(&lo, &hi), E2E_DONE);
			break;
		}
		ck_assert_int_eq(tell(&hi, &lo), E2E_KNOWN);
		ck_assert_int_eq(tell(&lo, &hi), E2E_KNOWN);
		ck_assert_mem_eq(
		    lo.e2e.current.id, hi.e2e.current.id, E2E_ID_SIZE);
	}
}
END_TEST

/* A key that one end has used already, and the other not: what says which key
 * of ours it goes with is believed. */
START_TEST(test_key_used_on_one_side)
{
	end_init(&lo, &hi, "chat");
	end_init(&hi, &lo, "chat");
	ck_assert_int_eq(tell(&hi, &lo), E2E_DONE); /* the answer is lost */
	fresh_key(&hi);
	ck_assert_int_eq(tell(&lo, &hi), E2E_DONE);
	ck_assert_int_eq(tell(&hi, &lo), E2E_DONE);
	pass(&lo, &hi);
	pass(&hi, &lo);
	fresh_key(&hi);
	ck_assert_int_eq(tell(&lo, &hi), E2E_NEED_KEY);
	fresh_key(&lo); /* lost again */
	ck_assert_int_eq(tell(&hi, &lo), E2E_DONE);
	ck_assert_int_eq(tell(&lo, &hi), E2E_DONE);
	pass(&hi, &lo);
	pass(&lo, &hi);
}
END_TEST

/* A restart from a saved state: it opens what was on its way, and seals
 * nothing until there is a new session, so no key is used twice. */
START_TEST(test_restart)
{
	struct sealed on_its_way, m;
	struct e2e saved;

	pass(&lo, &hi);
	pass(&hi, &lo);
	pass(&lo, &hi); /* brings a ratchet key, and is saved */
	saved = lo.e2e;
	pass(&lo, &hi); /* not saved */
	seal(&hi, &on_its_way);
	lo.e2e = saved;
	e2e_loaded(&lo.e2e);
	ck_assert(!e2e_ready(&lo.e2e));
	fresh_key(&lo);
	must_open(&lo, &hi, &on_its_way);
	ck_assert_int_eq(tell(&hi, &lo), E2E_NEED_KEY);
	ck_assert_int_eq(tell(&lo, &hi), E2E_DONE);
	pass(&lo, &hi);
	pass(&hi, &lo);

	end_init(&lo, &hi, "chat"); /* and with all of it lost */
	seal(&hi, &m);
	ck_assert_int_eq(e2e_open(&lo.e2e, hi.app, m.sequence, m.bytes,
			     m.length, m.plain, &m.plain_length),
	    E2E_LOST);
	ck_assert_int_eq(tell(&hi, &lo), E2E_NEED_KEY);
	ck_assert_int_eq(tell(&lo, &hi), E2E_DONE);
	pass(&hi, &lo);
	pass(&lo, &hi);
}
END_TEST

/* Keys on which nothing can be agreed. */
START_TEST(test_bad_keys)
{
	static const uint8_t one[KEY_SIZE] = { 1 };
	struct sealed m;

	end_init(&lo, &hi, "chat");
	ck_assert_int_eq(e2e_peer_key(&lo.e2e, none, none), E2E_BROKEN);
	ck_assert_int_eq(e2e_peer_key(&lo.e2e, one, none), E2E_BROKEN);
	ck_assert(!e2e_ready(&lo.e2e));
	both_init("chat");
	pass(&lo, &hi);
	pass(&hi, &lo);
	seal(&lo, &m);
	memset(m.bytes + 2 + E2E_ID_SIZE, 0, KEY_SIZE);
	must_not_open(&hi, &lo, &m);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("e2e");
	TCase *tc = tcase_create("e2e");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_any_order);
	tcase_add_test(tc, test_announced_until_confirmed);
	tcase_add_test(tc, test_altered);
	tcase_add_test(tc, test_foreign);
	tcase_add_test(tc, test_forward_secret);
	tcase_add_test(tc, test_heals);
	tcase_add_test(tc, test_skips);
	tcase_add_test(tc, test_renewal);
	tcase_add_test(tc, test_key_used_on_one_side);
	tcase_add_test(tc, test_restart);
	tcase_add_test(tc, test_bad_keys);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
