/*
 * mesh, unprivileged. Inside tieline*.c: one entry a chat, found by its
 * handle alone, with the two sides that may be local.
 */
#ifndef MESH_TIELINE_TABLE_H
#define MESH_TIELINE_TABLE_H

#include <sys/queue.h>

#include <stdint.h>

#include "common/ipc/messages.h"

struct peer;

/* The chat as one local side has it. */
struct tieline_side {
	uint32_t used;
	uint32_t confirmed; /* own keyd has answered */
	struct peer *peer;  /* where the other app is; NULL: here */
	/* Its presence there when last seen: the app may be away since. */
	const struct attestation *seen; /* shared; NULL none */
	uint64_t sent;
	uint64_t received;
	uint64_t ack_out; /* to be told to the peer; 0 none */
	uint64_t ack_in;  /* to be told to the router; 0 none */
};

struct tieline {
	uint8_t handle[KEY_SIZE];
	struct tieline_side side[2];
	TAILQ_ENTRY(tieline) entry;
	uint8_t dirty; /* on the list of acks */
	char chat_id[];
};

/* NULL when there is none. */
struct tieline *tieline_find(const uint8_t handle[KEY_SIZE]);
struct tieline *tieline_next(size_t *cursor);
size_t tieline_count(void);

/* The side whose other app is on peer (NULL: here), or NULL. */
struct tieline_side *tieline_side_of(
    struct tieline *tieline, const struct peer *peer);
/* CHAT_LO or CHAT_HI. */
uint8_t tieline_which(
    const struct tieline *tieline, const struct tieline_side *side);

/*
 * The side of key, made when new, its other app on peer (NULL: here) from
 * now on. NULL when the table is full or memory short.
 */
struct tieline_side *tieline_take(
    const struct chat_key *key, const char *chat_id, struct peer *peer);

/* The other app is where attestation says. */
void tieline_saw(
    struct tieline_side *side, const struct attestation *attestation);

/* The side is over; the entry goes with its last one: 1 when it did. */
int tieline_drop(struct tieline *tieline, uint8_t side);

/*
 * The side of key is over, if its other app is on peer (NULL: here) still:
 * who is told so may be where that app was. With unconfirmed, only one that
 * no set-up of ours has used.
 */
void tieline_over(
    const struct chat_key *key, const struct peer *peer, int unconfirmed);

/* Acks of this chat are due at tieline_flush(). */
void tieline_mark(struct tieline *tieline);

#endif
