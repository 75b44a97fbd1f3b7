/*
 * Tests only. What keyd may never do, whoever its neighbours are: sign what
 * nobody may have signed, let a secret out, change keys faster than the
 * configuration says. Its calls to sign are looked at where they are made
 * (--wrap, fuzz.mk).
 */
#ifndef REGRESS_FUZZ_GUARD_H
#define REGRESS_FUZZ_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"

/* What keyd is doing now. */
struct guard {
	enum process from; /* 0: nothing, or its own time */
	enum ipc_type type;
	unsigned int offers; /* signed */
};

extern struct guard guard;

#define FROM(process, message)                                                 \
	(guard.from == PROCESS_##process && guard.type == IPC_##message)

/* Keys that are in keyd's memory, and what they are. */
struct secrets {
	uint8_t keys[128][KEY_SIZE];
	const char *names[128];
	size_t count;
};

/* Add those there are now. */
void secrets_collect(struct secrets *secrets);

/* None of them is among the bytes, which begin with a frame. */
void secrets_absent(
    const struct secrets *secrets, const uint8_t *bytes, size_t length);

/* The first of the bytes that are what, or NULL, without a fuzzer seeing it. */
const uint8_t *find_quietly(
    const uint8_t *bytes, size_t length, const void *what, size_t size);

/*
 * An attempt at a new key of the chat; more than rekey allows in its window
 * are a finding. recovery: 0 rekey, 1 recovery, 2 begun above a peer's.
 */
void attempts_count(
    const struct config_rekey *rekey, const struct chat_key *key, int recovery);
void attempts_forget(const struct chat_key *key); /* it ended */
void attempts_reset(void);

#endif
