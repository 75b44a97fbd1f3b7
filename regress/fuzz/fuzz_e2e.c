/*
 * Tests only. The apps' own ratchet (client/lib_e2e.c): two apps talk, lose
 * messages, change keys, go back to older states and are sent anything. What
 * opens is what the peer sealed under that number, no message key is used
 * twice, and when the network is good again both understand each other.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/lib_e2e.h"
#include "regress/fuzz/fuzz.h"

#define PLAIN   32
#define FLIGHT  8
#define SEALED  512
#define HOSTILE 512
#define ROUNDS  8

struct letter {
	uint8_t bytes[PLAIN + E2E_OVERHEAD];
	size_t length;
	uint64_t sequence;
};

struct end {
	uint8_t app[KEY_SIZE];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	struct e2e e2e;
	struct e2e saved;
	uint64_t sent;
	struct letter flight[FLIGHT]; /* to the other, a ring */
	size_t head;
	size_t tail;
	uint8_t used[SEALED][E2E_ID_SIZE + KEY_SIZE + 4];
	size_t used_count;
};

static struct end ends[2];

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return (0);
}

static struct end *
other(const struct end *end)
{
	return (end == &ends[0] ? &ends[1] : &ends[0]);
}

static void
fresh_key(struct end *end)
{
	uint8_t random[KEY_SIZE];

	randombytes_buf(random, sizeof(random));
	e2e_new_key(&end->e2e, random);
}

static void
end_init(struct end *end)
{
	struct chat_key key;

	FUZZ_CHECK(chat_key_make(&key, "fuzz", end->app, other(end)->app) == 0);
	e2e_init(&end->e2e, &key);
	fresh_key(end);
	end->saved = end->e2e;
}

/* The other's announcement comes, as StartChat has it. */
static void
hear(struct end *end)
{
	static const uint8_t none[KEY_SIZE];
	const struct end *from = other(end);
	enum e2e_result result;

	result =
	    e2e_peer_key(&end->e2e, from->e2e.key_public, from->e2e.answered);
	if (result == E2E_NEED_KEY) {
		fresh_key(end);
		result = e2e_peer_key(&end->e2e, from->e2e.key_public, none);
		FUZZ_CHECK(result == E2E_DONE);
	}
	if (result == E2E_DONE)
		e2e_sign(&end->e2e, end->secret);
}

/* What message number sequence of end says. */
static void
compose(const struct end *end, uint64_t sequence, uint8_t plain[PLAIN])
{
	memset(plain, (int)(sequence & 0xff), PLAIN);
	plain[0] = (uint8_t)(end - ends);
}

static void
key_used(struct end *end, const uint8_t *header)
{
	size_t i;

	for (i = 0; i < end->used_count; i++)
		FUZZ_CHECK(
		    memcmp(end->used[i], header, sizeof(end->used[i])) != 0);
	memcpy(end->used[end->used_count++], header, sizeof(end->used[0]));
}

static int
seal(struct end *end, struct letter *letter)
{
	uint8_t random[KEY_SIZE], plain[PLAIN];
	int stepped;

	if (!e2e_ready(&end->e2e) || end->used_count == SEALED)
		return (-1);
	randombytes_buf(random, sizeof(random));
	letter->sequence = ++end->sent;
	compose(end, letter->sequence, plain);
	letter->length = e2e_seal(&end->e2e, random, letter->sequence, plain,
	    PLAIN, letter->bytes, &stepped);
	FUZZ_CHECK(letter->length <= sizeof(letter->bytes));
	key_used(end, letter->bytes + 2);
	if (stepped)
		end->saved = end->e2e;
	return (0);
}

static enum e2e_result
take(struct end *end, const uint8_t *bytes, size_t length, uint64_t sequence)
{
	uint8_t *plain = malloc(length + 1), expected[PLAIN];
	size_t plain_length;
	enum e2e_result result;

	FUZZ_CHECK(plain != NULL);
	result = e2e_open(&end->e2e, other(end)->app, sequence, bytes, length,
	    plain, &plain_length);
	if (result == E2E_DONE) {
		compose(other(end), sequence, expected);
		FUZZ_CHECK(plain_length == PLAIN &&
			   sequence <= other(end)->sent &&
			   memcmp(plain, expected, PLAIN) == 0);
	}
	free(plain);
	return (result);
}

/* A letter arrives, as it is or changed. */
static void
arrive(struct end *end, struct input *input, int how)
{
	struct end *from = other(end);
	struct letter *letter;
	size_t at;

	if (from->head == from->tail)
		return;
	letter = &from->flight[from->head % FLIGHT];
	if (how == 1) {
		at = input_u16(input) % letter->length;
		letter->bytes[at] ^= input_u8(input) | 1;
	} else if (how == 2)
		letter->length = input_u16(input) % (letter->length + 1);
	else if (how == 3)
		letter->sequence += input_u8(input) + 1U;
	(void)take(end, letter->bytes, letter->length, letter->sequence);
	if (how != 4) /* else it comes once more */
		from->head++;
}

static void
step(struct end *end, struct input *input)
{
	const uint8_t *bytes;
	size_t length;

	switch (input_u8(input) % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
		if (end->tail - end->head < FLIGHT &&
		    seal(end, &end->flight[end->tail % FLIGHT]) == 0)
			end->tail++;
		break;
	case 4:
	case 5:
	case 6:
		arrive(end, input, 0);
		break;
	case 7:
		arrive(end, input, input_u8(input) % 5);
		break;
	case 8:
	case 9:
		hear(end);
		break;
	case 10:
		fresh_key(end);
		break;
	case 11: /* a restart, from what was saved */
		end->e2e = end->saved;
		e2e_loaded(&end->e2e);
		fresh_key(end);
		break;
	case 12:
		end_init(end);
		break;
	case 13: /* lost on the way */
		if (end->head < end->tail)
			end->head++;
		break;
	default:
		length = input_span(input, input_u16(input) % HOSTILE, &bytes);
		(void)take(end, bytes, length, input_u8(input));
		break;
	}
}

static int
pass(struct end *from)
{
	struct letter letter;

	return (seal(from, &letter) == 0 &&
		take(other(from), letter.bytes, letter.length,
		    letter.sequence) == E2E_DONE);
}

/* As libhermes does: who has no session, or cannot open, makes a new key. */
static int
agree(void)
{
	int round, i;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < 2; i++)
			if (!e2e_ready(&ends[i].e2e))
				fresh_key(&ends[i]);
		for (i = 0; i < 4; i++)
			hear(&ends[i & 1]);
		if (pass(&ends[0]) && pass(&ends[1]) && pass(&ends[0]))
			return (1);
		fresh_key(&ends[round & 1]);
	}
	return (0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	uint8_t seed[crypto_sign_SEEDBYTES] = { 0 };
	int i;

	fuzz_seed(input_u8(&input));
	memset(ends, 0, sizeof(ends));
	for (i = 0; i < 2; i++) {
		seed[0] = (uint8_t)i;
		FUZZ_CHECK(crypto_sign_seed_keypair(
			       ends[i].app, ends[i].secret, seed) == 0);
	}
	for (i = 0; i < 2; i++)
		end_init(&ends[i]);
	if (input_u8(&input) & 1) {
		hear(&ends[0]);
		hear(&ends[1]);
	}
	while (input.left > 0) {
		i = input_u8(&input) & 1;
		step(&ends[i], &input);
	}
	for (i = 0; i < 2; i++)
		if (ends[i].used_count > SEALED - 4 * ROUNDS)
			ends[i].used_count = 0;
	FUZZ_CHECK(agree());
	return (0);
}
