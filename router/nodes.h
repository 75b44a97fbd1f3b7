/* router: the other nodes, as apps are told of them. */
#ifndef ROUTER_NODES_H
#define ROUTER_NODES_H

#include "common/ipc/messages.h"
#include "common/frame/frames.h"

void nodes_init(void);

/* NODE_STATE came. */
void nodes_update(const struct ipc_node_state *state);

/* Put the living ones, at most NODES_HINTED, into body as field. */
#define NODES_HINTED 128
void nodes_put(struct frame_body *body, uint32_t field);

#endif
