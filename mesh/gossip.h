/*
 * mesh, unprivileged; node bytes are hostile. Gossip streams: messages of
 * the SWIM core, presence and revocations to and from other nodes.
 */
#ifndef MESH_GOSSIP_H
#define MESH_GOSSIP_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/rpc/rpc.h"
#include "mesh/swim.h"
#include "proto/nodemesh.pb-c.h"

struct peer;
struct trunk;

extern const struct rpc_stream_callbacks gossip_server_callbacks;
enum rpc_status gossip_opened(struct rpc_stream *stream, void *arg);

/* A trunk that we dialled is up: open the stream, send what waits. */
void gossip_trunk_up(struct peer *peer, struct trunk *trunk);

/* Send a message; dials when there is no trunk (the message may be lost). */
void gossip_send(
    struct peer *peer, const struct Nodemesh__V1__GossipMessage *message);
void gossip_send_raw(struct peer *peer, const uint8_t *bytes, size_t length);

/* What the core wants sent. */
void gossip_send_swim(struct peer *peer, const struct swim_message *message,
    const struct swim_update *updates, size_t count);

/* Ask peer for what it knows that we do not: now, or a little later when it
 * was asked often; once for all who want to know. */
void gossip_ask(struct peer *peer);
void gossip_tick(struct peer *peer);

/* May peer have an answer now that is much longer than what it said? 1, and
 * it is counted, or 0: it asks again when it has need of it. */
int gossip_may_answer(struct peer *peer);

/*
 * Tell everybody a packed GossipMessage about node: at once to those with an
 * open stream when it is our own word, and as a rumour. fresh: it replaces
 * earlier ones of that node.
 */
void gossip_tell_all(const uint8_t node[KEY_SIZE], const uint8_t *bytes,
    size_t length, int fresh, int own);
/* Our own word of node: to peer, or (NULL) as above to all. Without memory it
 * is lost. */
void gossip_say(struct peer *peer, const uint8_t node[KEY_SIZE],
    const struct Nodemesh__V1__GossipMessage *message, int fresh);

/* Nothing more is told of node. */
void gossip_forget(const uint8_t node[KEY_SIZE]);

/* Half close every stream. */
void gossip_close_all(void);

#endif
