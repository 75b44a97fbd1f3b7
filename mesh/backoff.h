/*
 * Any process; pure. When to try again what failed: each time twice as long,
 * up to a bound, and spread, so that many who lost the same thing at the same
 * instant do not come back at the same instant.
 */
#ifndef MESH_BACKOFF_H
#define MESH_BACKOFF_H

#include <stdint.h>

/* The delay (ns) after one of `delay`: first when that is 0, then double, at
 * most `most`. */
int64_t backoff_after(int64_t delay, int64_t first, int64_t most);

/* delay spread over [delay / 2, delay * 3 / 2) by random, any 64 bits. */
int64_t backoff_jitter(int64_t delay, uint64_t random);

/* 64 random bits, for backoff_jitter(). */
uint64_t backoff_random(void);

#endif
