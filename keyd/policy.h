/*
 * keyd only. What is allowed and what an offer means: version rules,
 * throttles, tombstone floors. A pure core: no input or output, no clock.
 * regress/model/tieline.pml, which SPIN checks, names its cases the same way
 * and the functions of ratchet.c and chats_*.c that act on them, recovery and
 * stores that went back among them; change both together.
 */
#ifndef KEYD_POLICY_H
#define KEYD_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/codes.h"

/* --- throttles ---------------------------------------------------------- */

/* At most so many attempts, one at least, in a sliding window. Zero to begin
 * with; the times are allocated at the first attempt. */
struct throttle {
	int64_t *times; /* owned; the last limit attempts */
	uint32_t limit; /* entries of times */
	uint32_t next;
	uint32_t count;
};

/*
 * Count an attempt at now unless limit attempts were made in the window (ns)
 * before. 0, or how long (ns) until one is allowed. Out of memory counts as
 * throttled.
 */
int64_t throttle_attempt(
    struct throttle *throttle, uint32_t limit, int64_t window, int64_t now);
/* The same without counting one. */
int64_t throttle_wait(
    const struct throttle *throttle, int64_t window, int64_t now);
/* 1 when no attempt was made in the window before. */
int throttle_idle(const struct throttle *throttle, int64_t window, int64_t now);
void throttle_free(struct throttle *throttle);

/* A bucket that holds size tokens, one at least, and fills up in window ns,
 * at least as many. */
struct bucket {
	uint32_t tokens_used;
	int64_t since;
};

/* Take a token. 0, or how long (ns) until there is one. */
int64_t bucket_take(
    struct bucket *bucket, uint32_t size, int64_t window, int64_t now);
/* 1 when it is full. */
int bucket_idle(const struct bucket *bucket, int64_t window, int64_t now);

/* --- versions ----------------------------------------------------------- */

/* How far a reset may go up, and a first offer above the floor of a tombstone:
 * the name may have had many versions since, at other nodes. */
#define POLICY_RESET_STEP 65536

struct policy_chat {
	uint32_t version;       /* of the last epoch; 0: none yet */
	uint32_t pending;       /* of the own offer not yet answered */
	uint32_t pending_reset; /* that offer resets the link */
};

struct policy_offer {
	uint32_t version;
	uint32_t reset;    /* OFFER_RESET is set */
	uint32_t answer;   /* sent as the answer to ours */
	uint32_t resume;   /* of a chat that is known to exist */
	uint32_t same;     /* the very offer of our last epoch */
	uint32_t same_key; /* ephemeral key of one of our last epochs */
	uint32_t unlinked; /* commits to link 0 */
	uint32_t linked;   /* commits to our link */
};

enum policy_verdict {
	/* The next version: derive, answer unless it is an answer. */
	POLICY_NEXT,
	/* The offer of the epoch in force once more: answer with ours. */
	POLICY_REPEAT,
	/* Below the epoch in force: answer with ours, so that a peer that is
	 * one behind catches up. */
	POLICY_STALE,
	/* Another offer for the version in force: the peer's store went
	 * back. Recover with a reset. */
	POLICY_DIFFERENT,
	/* The next version from a peer that knows of no epoch: it deleted
	 * the chat and starts it anew. Ours is gone too. */
	POLICY_FRESH,
	/* The links differ. Recover with a reset. */
	POLICY_UNLINKED,
	/* A reset to a version above: derive from link 0. */
	POLICY_RESET,
	/* Ours is for a higher version: send it (again). */
	POLICY_WAIT,
	/* The peer is ahead: our store went back. Recover with a reset
	 * above its version. */
	POLICY_BEHIND,
	/* Too far up. Refuse. */
	POLICY_JUMP,
	/* Key material used before. Refuse. */
	POLICY_REPLAY
};

enum policy_verdict policy_judge(
    const struct policy_chat *chat, const struct policy_offer *offer);

/* The version of a reset offer that both ends will take: above all that
 * either has named. 0 when there is none left. */
uint32_t policy_reset_version(const struct policy_chat *chat, uint32_t offered);

/*
 * May the local app start a new chat with this version (0: the next), when
 * floor is the highest version of its predecessor (0: none) and offered the
 * peer's (0: none)? CODE_NONE with *version, or the code word with *version
 * as the one expected.
 */
enum hermes_code policy_start(
    uint32_t asked, uint32_t floor, uint32_t offered, uint32_t *version);

/*
 * The same for a chat that the app had at version had, elsewhere. One that goes
 * on is above that and the floor, and the peer's if that is higher.
 */
enum hermes_code policy_continue(
    uint32_t had, uint32_t floor, uint32_t offered, uint32_t *version);

/* The same for a rekey and for a resume of an existing chat. */
enum hermes_code policy_rekey(
    uint32_t asked, const struct policy_chat *chat, uint32_t *version);
enum hermes_code policy_resume(uint32_t asked, int resume,
    const struct policy_chat *chat, uint32_t *version);

/* May a peer begin a chat we have no record of? As policy_start(). */
enum hermes_code policy_first(
    uint32_t offered, uint32_t floor, uint32_t *expected);

#endif
