/*
 * mesh, unprivileged; node bytes are hostile. What nodes tell each other of
 * membership: statements that a node signs of itself, updates, messages. Part
 * of mesh/swim.h.
 */
#ifndef MESH_SWIM_MESSAGE_H
#define MESH_SWIM_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

#define SWIM_INCARNATION_MAX (UINT64_C(1) << 62)
#define SWIM_STEP_MAX        (UINT64_C(1) << 32) /* an incarnation */
#define SWIM_STATEMENT_MAX   8192                /* bytes of one */
#define SWIM_UPDATES         32    /* piggy-backed on one message */
#define SWIM_UPDATE_BYTES    16384 /* of statements in one message */
#define SWIM_SYNC            128   /* updates in a push-pull message */

/*
 * A node's signed word about itself, as other nodes are sent it: of ALIVE
 * the descriptor, of LEAVE the signature. Verified by whoever makes it;
 * never changed afterwards; shared by counting references.
 */
struct swim_statement {
	uint32_t references;
	uint32_t length; /* of bytes */
	uint8_t key[KEY_SIZE];
	char node_id[NODE_ID_SIZE];
	uint64_t incarnation;
	uint8_t bytes[];
};

/* A copy of bytes, one reference. NULL with errno EINVAL (longer than
 * SWIM_STATEMENT_MAX, no node id, incarnation 0 or out of range) or ENOMEM. */
struct swim_statement *swim_statement_make(const uint8_t key[KEY_SIZE],
    const char *node_id, uint64_t incarnation, const void *bytes,
    size_t length);
struct swim_statement *swim_statement_hold(struct swim_statement *statement);
/* Let go of one reference; NULL is fine. */
void swim_statement_free(struct swim_statement *statement);

enum swim_update_type {
	SWIM_ALIVE = 1, /* statement: the descriptor */
	SWIM_SUSPECT,
	SWIM_FAIL,
	SWIM_LEAVE /* statement: the signature */
};

/*
 * One MembershipEvent. SUSPECT and FAIL in a push-pull carry the accused's
 * descriptor too, so that the receiver knows the incarnation accused; the
 * caller may pass statement NULL when there was none or it did not verify.
 */
struct swim_update {
	enum swim_update_type type;
	uint8_t key[KEY_SIZE]; /* whom it is of */
	uint64_t incarnation;
	uint8_t accuser[KEY_SIZE];        /* SUSPECT, FAIL */
	struct swim_statement *statement; /* not owned */
	int synced;                       /* it came in a push-pull, so is
						 * likely old news to others */
};

enum swim_message_type {
	SWIM_PING = 1,
	SWIM_PING_REQ,
	SWIM_ACK,
	SWIM_NACK,
	SWIM_PUSH_PULL,
	SWIM_GOSSIP /* updates only: one MembershipEvent message each */
};

struct swim_message {
	enum swim_message_type type;
	uint64_t sequence;        /* PING to NACK, echoed */
	uint8_t target[KEY_SIZE]; /* PING to NACK */
	/* PUSH_PULL: 1 do not answer; ACK, PING, GOSSIP: 1 it is an answer,
	 * which takes no news along that waits to be told. Not of one that came. */
	int reply;
	int more; /* PUSH_PULL that goes out: other parts of it follow */
};

#endif
