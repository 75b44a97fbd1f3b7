/*
 * Tests only. What the fuzz targets share: the input as a cursor, a check
 * that ends the process, randomness and time that depend on the input alone.
 */
#ifndef REGRESS_FUZZ_H
#define REGRESS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* A target: libFuzzer's names. Always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The property must hold, else the input is a finding. */
#define FUZZ_CHECK(condition)                                                  \
	((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
void fuzz_fail(const char *file, int line, const char *what)
    __attribute__((noreturn));
/* Called first, if set: where a property need not hold (starve.c). */
extern void (*fuzz_on_fail)(void);

/* Bytes of the input, taken one after another; zero when there are none. */
struct input {
	const uint8_t *at;
	size_t left;
};

uint8_t input_u8(struct input *input);
uint16_t input_u16(struct input *input);
uint32_t input_u32(struct input *input);
uint64_t input_u64(struct input *input);
/* Up to length bytes to out, the rest zero. */
void input_bytes(struct input *input, void *out, size_t length);
/* Up to length bytes where they lie; their number. */
size_t input_span(struct input *input, size_t length, const uint8_t **at);

/* libsodium draws from a generator with this seed from now on. */
void fuzz_seed(uint64_t seed);

/* Log nothing below errors; what is fatal() to a process is a finding. */
void fuzz_quiet(void);

#endif
