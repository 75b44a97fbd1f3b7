/*
 * Tests only. For code that keeps its state for as long as the process lives:
 * each input runs in a child of the process as it was set up, so that the same
 * input does the same. libFuzzer counts what the child ran as its own.
 */
#ifndef REGRESS_FUZZ_APART_H
#define REGRESS_FUZZ_APART_H

#include <stddef.h>
#include <stdint.h>

/* Without libFuzzer whoever replays forks already: it runs right here. */
void apart_run(void (*run)(const uint8_t *data, size_t size),
    const uint8_t *data, size_t size);

#endif
