/* Tests only. See fuzz.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/log.h"
#include "regress/fuzz/fuzz.h"

static uint64_t state;

void (*fuzz_on_fail)(void);

void
fuzz_fail(const char *file, int line, const char *what)
{
	if (fuzz_on_fail != NULL)
		fuzz_on_fail();
	(void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

/* --- input -------------------------------------------------------------- */

size_t
input_span(struct input *input, size_t length, const uint8_t **at)
{
	if (length > input->left)
		length = input->left;
	*at = input->at;
	if (length > 0) /* at may be NULL */
		input->at += length;
	input->left -= length;
	return (length);
}

void
input_bytes(struct input *input, void *out, size_t length)
{
	const uint8_t *at;
	size_t have = input_span(input, length, &at);

	memset(out, 0, length);
	if (have > 0)
		memcpy(out, at, have);
}

uint8_t
input_u8(struct input *input)
{
	uint8_t value;

	input_bytes(input, &value, sizeof(value));
	return (value);
}

uint16_t
input_u16(struct input *input)
{
	uint16_t value;

	input_bytes(input, &value, sizeof(value));
	return (value);
}

uint32_t
input_u32(struct input *input)
{
	uint32_t value;

	input_bytes(input, &value, sizeof(value));
	return (value);
}

uint64_t
input_u64(struct input *input)
{
	uint64_t value;

	input_bytes(input, &value, sizeof(value));
	return (value);
}

/* --- randomness --------------------------------------------------------- */

/* SplitMix64: any seed will do. */
static uint64_t
next(void)
{
	uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31));
}

static const char *
random_name(void)
{
	return ("seeded");
}

static uint32_t
random_number(void)
{
	return ((uint32_t)next());
}

static void
random_bytes(void *const bytes, const size_t length)
{
	uint8_t *out = bytes;
	size_t i;

	for (i = 0; i < length; i++)
		out[i] = (uint8_t)next();
}

static int
random_close(void)
{
	return (0);
}

static randombytes_implementation seeded = {
	.implementation_name = random_name,
	.random = random_number,
	.buf = random_bytes,
	.close = random_close,
};

void
fuzz_seed(uint64_t seed)
{
	static int done;

	if (!done) {
		done = 1;
		if (randombytes_set_implementation(&seeded) == -1 ||
		    sodium_init() == -1)
			abort();
	}
	state = seed;
}

void
fuzz_quiet(void)
{
	log_init("fuzz", LOG_LEVEL_ERROR, 1);
	if (getenv("FUZZ_LOG") != NULL)
		log_set_level(LOG_LEVEL_DEBUG);
	else
		log_set_level((enum log_level)(LOG_LEVEL_ERROR + 1));
	log_set_fatal_hook(abort);
}
