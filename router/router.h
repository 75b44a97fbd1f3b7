/*
 * router: the process that serves apps. What its files share: who this node
 * is, and what state the process is in.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include <stdint.h>

#include "common/ipc/codes.h"
#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/frame/frames.h"

/* A correlation_id that outlives its frame. */
struct correlation {
	uint8_t length;
	uint8_t bytes[FRAME_CORRELATION_MAX];
};

struct router {
	struct ipc_identity identity;
	int recorded; /* keyd told all its chats */
	int no_new_chats;
	int draining;
};

extern struct router router;

/* 1 while apps may connect: keyd is unlocked, its chats are known, and the
 * node is not stopping. */
int router_serving(void);

/* Count an error answered to an app. */
void router_count_error(enum hermes_code code);

static inline struct span
correlation_span(const struct correlation *correlation)
{
	return (span_of(correlation->bytes, correlation->length));
}

/* span is at most FRAME_CORRELATION_MAX long: frame_parse() saw to it. */
void correlation_set(struct correlation *correlation, struct span span);

#endif
