/*
 * mesh, unprivileged; node bytes are hostile. RouteChat streams: opening,
 * accepting, which of two carries the frames, what waits for one. The
 * frames themselves are tieline.c's.
 */
#include <stdlib.h>
#include <string.h>

#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/route.h"
#include "mesh/tieline.h"
#include "mesh/wire_frame.h"

#define ROUTE_PATH    "/nodemesh.v1.NodeMesh/RouteChat"
#define WAITING_COUNT 1024 /* frames kept for a stream */
#define WAITING_BYTES (4U * 1024 * 1024)
#define QUEUE_MAX     (64U * 1024 * 1024) /* on one stream */
/* Two nodes that open a stream at the same time do so within this. */
#define SAME_TIME     (5 * CLOCK_SECOND)
#define YIELD         (300 * CLOCK_MS)
#define SHORT_LIFE    CLOCK_SECOND /* of a stream that was refused */
#define CLOSING_MAX   (5 * CLOCK_SECOND)
/* On a stream that still answers after this, what was sent has been read. */
#define TOLD_FOR      (30 * CLOCK_SECOND)
#define TOLD_COUNT    1024

/* A teardown, packed: nobody asks for it again, so it is told for sure. */
struct told {
	TAILQ_ENTRY(told) entry;
	int64_t at; /* monotonic */
	size_t length;
	uint8_t bytes[];
};

static void route_choose(struct peer *);

static int
own_wins(const struct peer *peer)
{
	return (memcmp(mesh.identity.node_key, peer->node_key, KEY_SIZE) < 0);
}

/* --- what waits ---------------------------------------------------------- */

static void
waiting_clear(struct route *route)
{
	buffer_free(&route->waiting);
	route->waiting_count = 0;
}

static int
waiting_add(struct route *route, const struct frame *frame)
{
	uint32_t length;
	size_t bound = frame_bound(frame);
	uint8_t *room;

	if (route->waiting_count >= WAITING_COUNT ||
	    buffer_length(&route->waiting) + bound > WAITING_BYTES ||
	    (room = buffer_reserve(&route->waiting, sizeof(length) + bound)) ==
		NULL)
		return (-1);
	length = (uint32_t)frame_write(frame, room + sizeof(length));
	memcpy(room, &length, sizeof(length));
	buffer_commit(&route->waiting, sizeof(length) + length);
	route->waiting_count++;
	return (0);
}

static void
waiting_flush(struct peer *peer)
{
	struct route *route = &peer->route;
	uint32_t length;

	while (route->waiting_count > 0) {
		memcpy(&length, buffer_bytes(&route->waiting), sizeof(length));
		if (rpc_stream_send(route->active->stream,
			buffer_bytes(&route->waiting) + sizeof(length),
			length) == -1)
			break;
		buffer_consume(&route->waiting, sizeof(length) + length);
		route->waiting_count--;
	}
	if (route->waiting_count == 0)
		buffer_free(&route->waiting);
}

/* --- ends of chats ------------------------------------------------------- */

/* The oldest one. */
static void
told_forget(struct route *route)
{
	struct told *told = TAILQ_FIRST(&route->told);

	if (told == NULL)
		return;
	TAILQ_REMOVE(&route->told, told, entry);
	route->told_count--;
	free(told);
}

static void
told_clear(struct route *route)
{
	while (route->told_count > 0)
		told_forget(route);
	route->repeat = 0;
}

static void
told_keep(struct route *route, const struct frame *frame)
{
	struct told *told;

	if (route->told_count >= TOLD_COUNT)
		told_forget(route);
	if ((told = malloc(sizeof(*told) + frame_bound(frame))) == NULL)
		return;
	told->at = clock_monotonic();
	told->length = frame_write(frame, told->bytes);
	TAILQ_INSERT_TAIL(&route->told, told, entry);
	route->told_count++;
}

/* After what else waits: a set-up of the same chat may be older, and goes
 * first; where it is newer, its version protects it. */
static void
told_again(struct route *route)
{
	struct told *told;
	int64_t now = clock_monotonic();

	if (!route->repeat)
		return;
	route->repeat = 0;
	for (told = TAILQ_FIRST(&route->told); told != NULL;
	     told = TAILQ_NEXT(told, entry)) {
		told->at = now;
		if (rpc_stream_send(
			route->active->stream, told->bytes, told->length) == -1)
			break;
	}
}

static void
told_expire(struct route *route, int64_t now)
{
	while (route->told_count > 0 && route->active != NULL &&
	       now - TAILQ_FIRST(&route->told)->at > TOLD_FOR)
		told_forget(route);
}

void
route_init(struct route *route)
{
	buffer_init(&route->waiting);
	TAILQ_INIT(&route->told);
}

void
route_free(struct route *route)
{
	waiting_clear(route);
	told_clear(route);
}

/* --- telling the router -------------------------------------------------- */

static void
tell(enum ipc_type type, const uint8_t node_key[KEY_SIZE], int ended)
{
	struct ipc *router = proc_ipc(PROCESS_ROUTER);
	struct ipc_tieline message = { 0 };

	if (router == NULL)
		return;
	memcpy(message.node_key, node_key, KEY_SIZE);
	message.ended = (uint64_t)ended;
	ipc_send(router, type, &message, NULL, 0);
}

void
route_tell_router(void)
{
	struct peer *peer;
	size_t cursor = 0;

	if (!mesh.identity.unlocked || !mesh.going)
		return;
	tell(IPC_TIELINE_UP, mesh.identity.node_key, 0);
	while ((peer = peer_next(&cursor)) != NULL)
		if (peer->route.active != NULL)
			tell(IPC_TIELINE_UP, peer->node_key, 0);
}

static void
route_up(struct peer *peer)
{
	log_info("route_up", "node=%s opened_by=%s", peer->node_id,
	    peer->route.active->own ? "self" : "peer");
	peer_unwant(peer, WANT_ROUTE);
	peer->route.announced = 1;
	waiting_flush(peer);
	told_again(&peer->route);
	tell(IPC_TIELINE_UP, peer->node_key, 0);
}

static void
route_down(struct peer *peer)
{
	log_info("route_down", "node=%s chats=%u", peer->node_id,
	    peer->route.tielines);
	if (peer->route.announced)
		tell(IPC_TIELINE_DOWN, peer->node_key, 0);
	peer->route.announced = 0;
	/* Lost while we already thought the node dead. */
	if (peer->ended)
		route_ended(peer);
	/* The smaller key opens first; the other only if it does not. */
	peer->route.not_before =
	    clock_monotonic() + (own_wins(peer) ? 0 : YIELD);
}

/* --- streams ------------------------------------------------------------- */

/*
 * Which stream do we send on? With two, the winner's; but the loser first
 * ends its own and waits until the winner has read it all.
 */
static void
route_choose(struct peer *peer)
{
	struct route *route = &peer->route;
	struct route_stream *best = NULL, *before = route->active;

	if (route->own != NULL && route->theirs != NULL && !own_wins(peer) &&
	    !route->own->closing) {
		route->own->closing = 1;
		route->own->since = clock_monotonic();
		rpc_stream_half_close(route->own->stream);
	}
	if (route->own != NULL)
		best = route->own->closing ? NULL : route->own;
	else
		best = route->theirs;
	route->active = best;
	if (best == before)
		return;
	route->repeat = route->told_count > 0;
	if (best != NULL)
		route_up(peer);
	else if (route->own == NULL || !route->own->closing)
		route_down(peer);
}

static struct route_stream *
route_stream_new(
    struct rpc_stream *stream, struct peer *peer, struct trunk *trunk, int own)
{
	struct route_stream *rs;

	if ((rs = calloc(1, sizeof(*rs))) == NULL)
		return (NULL);
	rs->stream = stream;
	rs->peer = peer;
	rs->trunk = trunk;
	rs->own = own != 0;
	rs->since = clock_monotonic();
	return (rs);
}

static void
on_message(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	struct route_stream *rs = arg;

	rs->trunk->used = clock_monotonic();
	rpc_stream_consume(stream, length);
	mesh_mind_keyd();
	if (tieline_frame(rs->peer, stream, bytes, length) == -1) {
		if (rs->own)
			rpc_stream_cancel(stream);
		else
			rpc_stream_finish(stream, RPC_PERMISSION_DENIED,
			    "frame names another sender");
	}
}

static void
on_finished(struct rpc_stream *stream, void *arg)
{
	struct route_stream *rs = arg;

	if (!rs->own)
		rpc_stream_finish(stream, RPC_OK, NULL);
}

static void
on_closed(struct rpc_stream *stream, enum rpc_status status, const char *text,
    void *arg)
{
	struct route_stream *rs = arg;
	struct peer *peer;
	int short_lived;

	(void)stream;
	(void)text;
	if (rs == NULL)
		return;
	peer = rs->peer;
	log_debug("route_closed", "node=%s own=%u status=%d", peer->node_id,
	    rs->own, (int)status);
	short_lived = rs->own && !rs->closing &&
		      clock_monotonic() - rs->since < SHORT_LIFE;
	if (peer->route.own == rs)
		peer->route.own = NULL;
	if (peer->route.theirs == rs)
		peer->route.theirs = NULL;
	/* Other processes have more to say, but there is nowhere to send it. */
	if (mesh.stopping && peer->route.active == rs)
		peer->route.active = NULL;
	free(rs);
	if (mesh.stopping)
		return;
	route_choose(peer);
	if (short_lived)
		peer->route.not_before = clock_monotonic() + SHORT_LIFE;
}

const struct rpc_stream_callbacks route_server_callbacks = {
	.message = on_message, .finished = on_finished, .closed = on_closed
};

static const struct rpc_stream_callbacks client_callbacks = {
	.message = on_message, .finished = on_finished, .closed = on_closed
};

enum rpc_status
route_opened(struct rpc_stream *stream, void *arg)
{
	struct trunk *trunk = rpc_connection_arg(rpc_stream_connection(stream));
	struct route_stream *rs, *old;
	struct route *route;
	enum rpc_status status;

	(void)arg;
	rpc_stream_set_arg(stream, NULL);
	if (trunk == NULL || mesh.stopping)
		return (RPC_UNAVAILABLE);
	if ((status = trunk_welcome(trunk)) != RPC_OK)
		return (status);
	rs = route_stream_new(stream, trunk->peer, trunk, 0);
	if (rs == NULL)
		return (RPC_RESOURCE_EXHAUSTED);
	rpc_stream_set_arg(stream, rs);
	route = &trunk->peer->route;
	budget_spend(trunk->peer, BUDGET_MESH,
	    BUDGET_STREAM + BUDGET_CHAT * route->tielines);
	/* It opens a second one: it has lost the first. */
	old = route->theirs;
	route->theirs = rs;
	if (old != NULL) {
		rpc_stream_cancel(old->stream);
		if (route->active == old)
			route->active = NULL;
	}
	if (route->own != NULL && own_wins(trunk->peer) &&
	    clock_monotonic() - route->own->since > SAME_TIME) {
		/* Ours is long open, it would have used it: it lost ours. */
		old = route->own;
		route->own = NULL;
		if (route->active == old)
			route->active = NULL;
		rpc_stream_cancel(old->stream);
	}
	route_choose(trunk->peer);
	return (RPC_OK);
}

void
route_trunk_up(struct peer *peer)
{
	struct trunk *trunk = peer_dialled_trunk(peer);
	struct route *route = &peer->route;
	struct route_stream *rs;

	if (trunk == NULL || route->own != NULL || route->theirs != NULL ||
	    (peer->want & WANT_ROUTE) == 0 || mesh.stopping)
		return;
	if ((rs = route_stream_new(NULL, peer, trunk, 1)) == NULL)
		return;
	rs->stream =
	    rpc_call(trunk->connection, ROUTE_PATH, 0, &client_callbacks, rs);
	if (rs->stream == NULL) {
		free(rs);
		trunk_close(trunk);
		return;
	}
	route->own = rs;
	route_choose(peer);
}

static void
route_open(struct peer *peer)
{
	if (peer->route.own != NULL || peer->route.theirs != NULL ||
	    clock_monotonic() < peer->route.not_before)
		return;
	peer_want(peer, WANT_ROUTE);
	route_trunk_up(peer);
}

int
route_send(struct peer *peer, const struct frame *frame, int keep)
{
	struct route_stream *rs = peer->route.active;
	uint8_t *room;

	if (frame->body == FRAME_TEARDOWN) {
		told_keep(&peer->route, frame);
		if (rs == NULL) {
			peer->route.repeat = 1;
			route_open(peer);
			return (-1);
		}
	}
	if (rs == NULL) {
		if (keep && waiting_add(&peer->route, frame) == 0)
			route_open(peer);
		return (-1);
	}
	room = rpc_stream_reserve(rs->stream, frame_bound(frame));
	if (room == NULL)
		return (-1);
	rpc_stream_commit(rs->stream, frame_write(frame, room));
	rs->trunk->used = clock_monotonic();
	/* A peer that reads nothing must not fill our memory. */
	if (rpc_stream_queued(rs->stream) > QUEUE_MAX)
		rpc_stream_cancel(rs->stream);
	return (0);
}

void
route_need(struct peer *peer)
{
	peer->route.tielines++;
}

void
route_unneed(struct peer *peer)
{
	if (--peer->route.tielines == 0)
		peer_unwant(peer, WANT_ROUTE);
}

void
route_ended(struct peer *peer)
{
	/* Believed dead and yet connected: its chats go on while it is. */
	if (peer->route.active != NULL && peer->state != NODE_REVOKED)
		return;
	waiting_clear(&peer->route);
	told_clear(&peer->route);
	tieline_forget_peer(peer);
	peer_unwant(peer, WANT_ROUTE);
	peer->route.announced = 0;
	tell(IPC_TIELINE_DOWN, peer->node_key,
	    peer_is_revoked(peer->node_key) ? 2 : 1);
}

void
route_tick(struct peer *peer, int64_t now)
{
	struct route *route = &peer->route;

	if (route->own != NULL && route->own->closing &&
	    now - route->own->since > CLOSING_MAX)
		rpc_stream_cancel(route->own->stream);
	told_expire(route, now);
	if ((route->tielines > 0 || route->waiting_count > 0 ||
		route->repeat) &&
	    !peer->ended)
		route_open(peer);
}

void
route_close_all(void)
{
	struct peer *peer;
	size_t cursor = 0;

	while ((peer = peer_next(&cursor)) != NULL) {
		if (peer->route.own != NULL)
			rpc_stream_half_close(peer->route.own->stream);
		if (peer->route.theirs != NULL)
			rpc_stream_finish(
			    peer->route.theirs->stream, RPC_OK, NULL);
	}
}
