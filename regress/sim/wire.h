/*
 * Test. What the simulator's network carries: messages, events, and what is
 * counted of them. Part of regress/sim/sim.h.
 */
#ifndef REGRESS_SIM_WIRE_H
#define REGRESS_SIM_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "mesh/swim.h"

struct sim_random {
	uint64_t state[4];
};

/* One of the apps that a node has; also as it travels. */
struct sim_claim {
	uint32_t app;
	uint32_t departed;
	int64_t issued;
	int64_t expires;
	uint64_t mark; /* stands for the app's signature: app, node, times */
};

/* A node's AppSync. */
struct sim_sync {
	uint32_t node;
	uint32_t full;
	uint64_t sequence;
	uint32_t count;
	uint32_t zero;
	uint64_t mark; /* stands for the node's signature */
	struct sim_claim claims[];
};

enum sim_kind {
	SIM_SWIM,
	SIM_SYNC,  /* a full sync, asked for */
	SIM_ASK,   /* what have you after that sequence? */
	SIM_STREAM /* a segment of a stream between two houses */
};

struct sim_blob {
	struct sim_blob *next;
	size_t length;
	uint8_t bytes[];
};

struct sim_digest {
	uint32_t node;
	uint32_t zero;
	uint64_t sequence;
};

struct sim_message {
	enum sim_kind kind;
	uint32_t from;
	uint32_t to;
	struct swim_message swim;
	struct swim_update *updates; /* owned, statements held */
	size_t update_count;
	struct sim_blob *blobs; /* sim_sync each */
	struct sim_digest *digests;
	size_t digest_count;
};

enum sim_event_type {
	SIM_EVENT_MESSAGE,
	SIM_EVENT_TICK,
	SIM_EVENT_SIGNED, /* a descriptor of number is signed */
	SIM_EVENT_BOOT,   /* contact the bootstrap node again */
	SIM_EVENT_APPS,   /* what the directory needs */
	SIM_EVENT_CHATS   /* what chats and streams need */
};

struct sim_event {
	int64_t at;
	uint64_t order;
	enum sim_event_type type;
	uint32_t node;
	uint32_t life; /* of the node; stale if not */
	uint64_t number;
	struct sim_message *message;
};

/* What all links are like; each has figures of its own around these. */
struct sim_network {
	int64_t base_min; /* ns, one way */
	int64_t base_max;
	int64_t jitter; /* ns, mean of the means */
	double drop;    /* means, too: from 0 to twice that */
	double duplicate;
	double reorder; /* part that is held back */
	int64_t hold;   /* ns, how long at most */
};

enum sim_shape {
	SIM_EXPONENTIAL,
	SIM_LOGNORMAL,
	SIM_PARETO, /* a heavy tail */
	SIM_SHAPES
};

/* One way of one link. */
struct sim_link {
	int64_t base;
	int64_t jitter; /* ns, mean */
	enum sim_shape shape;
	double drop;
	double duplicate;
	double reorder;
};

struct sim_counts {
	uint64_t sent;
	uint64_t delivered;
	uint64_t dropped;
	uint64_t duplicated;
	uint64_t cut;     /* by partitions */
	uint64_t crossed; /* delivered between groups */
	uint64_t to_down;
	uint64_t bytes; /* as they would be on the wire */
	uint64_t types[SWIM_GOSSIP + 1];
	uint64_t forged;  /* statements refused */
	uint64_t delay;   /* ns, sum of delivered */
	uint64_t carried; /* on the way when counting began */
};

#endif
