/*
 * Tests only. Sees all that a keyd seals and knows when it breaks the first
 * rule: no version and counter of a chat twice, no key and nonce twice.
 */
#ifndef REGRESS_WATCH_H
#define REGRESS_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/util/table.h"

struct house;
struct ipc_sealed;

struct watch {
	struct table counters; /* chat, version, counter */
	struct table streams;  /* first bytes of the key stream */
	uint64_t counters_twice;
	uint64_t streams_twice;
};

void watch_init(struct watch *watch);
void watch_free(struct watch *watch);

/* One SEALED with the standard payload of its sequence; the key stream is
 * what that payload and the ciphertext differ in. */
void watch_sealed(struct watch *watch, struct house *house,
    const struct ipc_sealed *sealed, const uint8_t *tail, size_t length);

#endif
