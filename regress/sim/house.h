/*
 * Test. The chat side of a simulated node: keyd's engine (chats, policy,
 * ratchet) on a store in memory, the router's core of each chat, and streams
 * to other nodes. Apps chat through it; see house.c and stream.c.
 */
#ifndef REGRESS_SIM_HOUSE_H
#define REGRESS_SIM_HOUSE_H

#include "keyd/chats.h"
#include "keyd/store.h"
#include "regress/sim/sim.h"
#include "router/chat.h"

/* One end of a talk: an app, and what it knows of its messages. */
struct sim_end {
	uint8_t key[KEY_SIZE];
	uint8_t secret[64];
	uint32_t app;  /* as the directory names it */
	uint32_t node; /* where it is connected; UINT32_MAX nowhere */
	int64_t issued;
	uint64_t wanted; /* messages it wants to have sent */
	uint64_t acked;  /* told to be delivered */
	uint64_t heard;  /* of the other, in order, once */
	uint64_t wrong;  /* doubled, missing, changed */
	uint64_t ended;  /* the chat ended */
	uint64_t readies;
};

struct sim_talk {
	struct sim_end ends[2];
	char chat_id[CHAT_ID_SIZE + 7];
};

/* The router's side of a chat. */
struct sim_side {
	struct chat_core core;
	struct chat_key key;
	int known; /* keyd has it */
	int64_t try_at;
};

struct sim_stream;

struct sim_house {
	uint8_t key[KEY_SIZE];
	uint8_t secret[64];
	char node_id[NODE_ID_SIZE];
	struct config config;
	struct store *store;
	struct chats *chats;
	struct sim_side *sides; /* two for each talk */
	struct sim_stream *streams;
	uint64_t stream_count;
	uint64_t *heard;       /* of each peer, its latest stream */
	struct sim_blob *out;  /* queued until the commit */
	struct sim_blob **end; /* each: peer, frame */
	uint8_t opened[256];
	size_t opened_length;
	uint64_t asked; /* for apps that were unknown */
};

/* stream.c */
struct sim_stream *sim_streams_make(uint32_t count);
void sim_streams_free(struct sim_stream *streams, uint32_t count);
void sim_streams_tick(struct sim_node *node);
int sim_stream_is_up(const struct sim_node *node, uint32_t peer);
void sim_stream_want(struct sim_node *node, uint32_t peer);
void sim_stream_break(struct sim_node *node, uint32_t peer);
void sim_stream_send(
    struct sim_node *node, uint32_t peer, const void *bytes, size_t length);
void sim_stream_receive(
    struct sim_node *node, const struct sim_message *message);

/* talk.c */
void sim_talks_make(struct sim *sim, uint32_t count);
void sim_talks_free(struct sim *sim);
/* The app of an end connects to a node, or (UINT32_MAX) leaves. */
void sim_end_move(struct sim *sim, struct sim_end *end, uint32_t node);
/* That it is at its node, signed by it. */
void sim_end_attest(
    const struct sim *sim, const struct sim_end *end, struct attestation *out);
/* Its message of that sequence; the length. */
size_t sim_end_payload(
    const struct sim_end *end, uint64_t sequence, uint8_t out[128]);

/* house.c */
void sim_house_start(struct sim_node *node);
void sim_house_stop(struct sim_node *node);
void sim_house_tick(struct sim_node *node);
void sim_house_drain(struct sim_node *node); /* after every event */
void sim_house_up(struct sim_node *node, uint32_t peer);
void sim_house_down(struct sim_node *node, uint32_t peer);
void sim_house_frame(
    struct sim_node *node, uint32_t peer, const uint8_t *bytes, size_t length);

#endif
