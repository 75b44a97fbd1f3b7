/*
 * mesh, unprivileged; node bytes are hostile. Tielines: the chats' frames
 * between this node and others, on one RouteChat stream per pair of nodes.
 */
#ifndef MESH_ROUTE_H
#define MESH_ROUTE_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "common/rpc/rpc.h"
#include "common/util/buffer.h"

struct peer;
struct trunk;

/* One RouteChat stream. */
struct route_stream {
	struct rpc_stream *stream;
	struct peer *peer;
	struct trunk *trunk;
	uint32_t own;     /* we opened it */
	uint32_t closing; /* we half closed it */
	int64_t since;    /* monotonic ns */
};

/*
 * The streams with one peer. Both nodes may have opened one: the one opened
 * by the smaller node key carries the frames; the other's opener half
 * closes it, and sends again only when the peer has read it to the end, so
 * that no frame overtakes another.
 */
struct route {
	struct route_stream *own;
	struct route_stream *theirs; /* the last one accepted */
	struct route_stream *active; /* we send on this; or NULL */
	struct buffer waiting;       /* frames for when it is up */
	uint32_t waiting_count;
	TAILQ_HEAD(, told) told; /* ends that may be unread */
	uint32_t told_count;
	uint32_t repeat;    /* they are to be told again */
	uint32_t tielines;  /* chats that need it */
	uint32_t announced; /* TIELINE_UP was sent */
	int64_t not_before; /* monotonic, of an opening */
};

/* Streams, mesh/route.c. */
extern const struct rpc_stream_callbacks route_server_callbacks;
enum rpc_status route_opened(struct rpc_stream *stream, void *arg);
void route_trunk_up(struct peer *peer); /* one we dialled */
void route_tick(struct peer *peer, int64_t now);

void route_init(struct route *route);
void route_free(struct route *route); /* what waits; it has no stream */

/*
 * Send a frame to peer: 0, or -1 when no stream is up. keep: set-ups wait
 * (bounded) for the stream. Teardowns wait always, and go again on the next
 * stream when this one breaks before they are surely read.
 */
struct frame;
int route_send(struct peer *peer, const struct frame *frame, int keep);

/* A chat needs the stream to peer (1 more), or no longer (1 less). */
void route_need(struct peer *peer);
void route_unneed(struct peer *peer);

/* Grace is over or the node was revoked: its chats end. */
void route_ended(struct peer *peer);

/* A new router's door: it hears of every stream that is up, and of this
 * node's own tieline. */
void route_tell_router(void);

/* Half close every stream. */
void route_close_all(void);

#endif
