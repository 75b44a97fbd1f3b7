/*
 * mesh, unprivileged; node bytes are hostile. RouteFrames by hand: the ones
 * that every chat message costs are written and read without an allocation.
 */
#ifndef MESH_WIRE_FRAME_H
#define MESH_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "proto/nodemesh.pb-c.h"

enum frame_body {
	FRAME_NONE = 0, /* no body known to us */
	FRAME_SETUP = 2,
	FRAME_RELAY = 3,
	FRAME_TEARDOWN = 4,
	FRAME_ERROR = 5,
	FRAME_RELAY_ACK = 6,
	FRAME_CREDIT = 7
};

struct frame_text {
	const uint8_t *bytes; /* in the frame, not owned */
	size_t length;
};

/* One RouteFrame; the fields its body has are set. */
struct frame {
	enum frame_body body;
	struct frame_text correlation;
	const uint8_t *handle;   /* KEY_SIZE bytes, or NULL */
	const uint8_t *instance; /* TEARDOWN: INSTANCE_SIZE, or NULL */
	struct frame_text chat_id;
	struct frame_text payload; /* RELAY */
	uint64_t sequence;         /* RELAY, RELAY_ACK */
	uint64_t counter;          /* RELAY */
	uint64_t bytes;            /* CREDIT */
	uint32_t version;          /* RELAY, TEARDOWN */
	uint32_t messages;         /* CREDIT */
	int64_t retry_after;       /* ERROR */
	struct frame_text word;    /* ERROR code, TEARDOWN reason */
	struct frame_text setup;   /* SETUP: packed SetupTieline */
};

/* Read a whole RouteFrame. 0, or -1 with errno EINVAL. Unknown fields are
 * skipped; of several bodies the last counts, as in protobuf. */
int frame_read(struct frame *frame, const uint8_t *bytes, size_t length);

/*
 * Write one; body, handle, chat_id and what the body has are used. out has
 * room for frame_bound() bytes. The length, never 0.
 */
size_t frame_bound(const struct frame *frame);
size_t frame_write(const struct frame *frame, uint8_t *out);

/*
 * A set-up on the wire, from keyd's message and the StartChat in its tail
 * (packed approuter.v1.StartChat, may be empty). On the heap, its length in
 * *length; NULL with errno EINVAL or ENOMEM.
 */
uint8_t *frame_setup_pack(const struct ipc_setup *setup, const uint8_t *tail,
    size_t tail_length, const struct ipc_identity *identity, size_t *length);

/*
 * The reverse: packed is frame.setup, local the side that receives it. Fills
 * key (of the local side), chat_id, offer, delivered, acked, answer, flags,
 * and the StartChat to go in the tail (on the heap, *tail_length; NULL when
 * the source sent none). The source's and the target's app key follow from
 * the offer; ids that say otherwise are refused. 0, or -1 with errno EINVAL,
 * or EACCES when it names another sender than node_id and node_key.
 */
int frame_setup_read(const struct frame_text *packed, const char *node_id,
    const uint8_t node_key[KEY_SIZE], struct ipc_setup *setup,
    uint8_t source[KEY_SIZE], uint8_t target[KEY_SIZE], uint8_t **tail,
    size_t *tail_length);

#endif
