/*
 * Tests only. A node at the other end of a tieline: a real chat engine
 * (keyd/chats*.c) on a store in memory, apps that sign, and a small router.
 * And what was ever sealed and said, for targets to hold against.
 */
#ifndef REGRESS_FUZZ_NODE_H
#define REGRESS_FUZZ_NODE_H

#include "common/ipc/messages.h"
#include "keyd/chat.h"

#define NODE_APPS     2
#define NODE_CHATS    4
#define NODE_WIRE     48
#define NODE_TAIL_MAX 65536
#define NODE_MARKER                                                            \
	"\x8f"                                                                 \
	"Payload" /* begins every payload */

struct app {
	uint8_t key[KEY_SIZE];
	uint8_t secret[64];
};

/* A message of a keyd to its mesh. */
struct wire_frame {
	enum ipc_type type;
	union {
		struct ipc_setup setup;
		struct ipc_sealed sealed;
		struct ipc_teardown teardown;
		struct ipc_setup_refused refused;
		uint8_t bytes[1];
	} payload;
	uint8_t *tail; /* owned */
	size_t tail_length;
};

struct wire {
	struct wire_frame frames[NODE_WIRE];
	size_t count;
};

/* One side of a chat as its router has it. */
struct route {
	struct chat_key key;
	const struct app *local, *peer;
	char chat_id[CHAT_ID_SIZE];
	int ready;
	int ended;
	int left;      /* so, without a word to the peer */
	uint64_t next; /* sequence to seal */
	uint64_t acked;
	uint64_t delivered;
	uint64_t repeats, gaps;
	uint32_t version;
	uint32_t error;
};

struct node {
	const char *node_id;
	char path[32];
	uint8_t key[KEY_SIZE], secret[64];
	struct app apps[NODE_APPS];
	struct config config;
	uint64_t generation;
	struct store *store;
	struct chats *chats;
	struct wire wire;   /* committed, to the other node */
	struct wire queued; /* not yet committed */
	struct route routes[NODE_CHATS];
	int strict; /* deliver in order, once: what is not is a finding */
	uint8_t opened[NODE_TAIL_MAX];
	size_t opened_length;
};

/* --- wires -------------------------------------------------------------- */

/* Copies; the oldest is lost when there are too many. */
void wire_push(struct wire *wire, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length);
/* Take frame index out; its tail is the caller's to free. */
void wire_take(struct wire *wire, size_t index, struct wire_frame *frame);
void wire_clear(struct wire *wire);

/* --- nodes -------------------------------------------------------------- */

/* Keys from the seeded generator; not started. */
void node_init(struct node *node, const char *node_id);
/* Open the store and load it; -1 and closed: keyd would not start on it. */
int node_load(struct node *node);
void node_start(struct node *node); /* which must load */
void node_stop(struct node *node);  /* as if killed */

/* Chat index of node is chat_id between its app and the other's. */
void node_route(struct node *node, size_t index, const char *chat_id,
    const struct app *local, const struct app *peer);
struct route *node_find(struct node *node, const struct chat_key *key);

/* A presence of app at a node, issued at, signed. */
void app_attest(const struct app *app, const char *node_id,
    const uint8_t node_key[KEY_SIZE], int64_t at, struct attestation *out);

/* CHAT_START of a route as its router would send it. */
void node_start_fill(const struct route *route, const char *node_id,
    const uint8_t node_key[KEY_SIZE], const char *peer_id,
    const uint8_t peer_key[KEY_SIZE], uint32_t version, uint32_t flags,
    struct ipc_chat_start *start);

/* The payload of a message: its length; at most NODE_PAYLOAD_MAX. */
#define NODE_PAYLOAD_MAX 300
size_t node_payload(const struct chat_key *key, uint64_t sequence,
    uint8_t out[NODE_PAYLOAD_MAX]);

/* The router has this message sealed (again). */
void node_say(struct node *node, struct route *route, uint64_t sequence);

/* What came from the mesh, from a node of that key and name. */
void node_deliver(struct node *node, struct wire_frame *frame,
    const char *from_id, const uint8_t from_key[KEY_SIZE],
    const struct app *peer);

/* Commit; what was queued goes on the wire. 0, or -1 when that failed. */
int node_commit(struct node *node);
void node_tick(struct node *node);

/* --- the truth ---------------------------------------------------------- */

void truth_reset(void);
/* Somebody gave this payload to be sealed; somebody opened it: it must have
 * been sealed, for that chat, side and sequence, more often than opened. */
void truth_sealed(const struct chat_key *sender, uint64_t sequence,
    const void *payload, size_t length);
void truth_opened(const struct chat_key *receiver, uint64_t sequence,
    const void *payload, size_t length);
/* Every key seals once; ratchet_seal() is watched from the first reset on. */

#endif
