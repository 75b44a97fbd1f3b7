/*
 * mesh, unprivileged; node bytes are hostile. Gossip streams: either side's
 * stream carries both ways, so that a node nobody can dial still hears and
 * is heard. Messages are told apart here and handed to members.c and
 * presence.c.
 */
#include <stdlib.h>
#include <string.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "common/util/rate.h"
#include "mesh/gossip.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/query.h"
#include "mesh/revoke.h"
#include "mesh/rumour.h"
#include "mesh/unpack.h"
#include "mesh/wire.h"

#define GOSSIP_PATH        "/nodemesh.v1.NodeMesh/Gossip"
#define OUTBOX_MAX         (256U * 1024)      /* bytes waiting for a dial */
#define QUEUE_MAX          (8U * 1024 * 1024) /* bytes on one stream */
#define EVENTS_MAX         512                /* in one message */
#define DIGESTS_MAX        32768
#define ASKS               8 /* of one peer, in ASKS_IN */
#define ASKS_IN            (4 * CLOCK_SECOND)
#define ANSWERS            32 /* long ones for one peer, in ANSWERS_IN */
#define ANSWERS_IN         (8 * CLOCK_SECOND)
#define RUMOURS_MAX        1024
#define RUMOUR_BYTES       (8U * 1024 * 1024)
#define RUMOURS_TELL       32 /* with one GOSSIP */
#define RUMOURS_TELL_BYTES (256U * 1024)

static struct rumours rumours;
static int rumours_ready;

static struct rumours *
all_rumours(void)
{
	if (!rumours_ready)
		rumours_init(&rumours, RUMOURS_MAX, RUMOUR_BYTES);
	rumours_ready = 1;
	return (&rumours);
}

/* --- sending ------------------------------------------------------------- */

static struct trunk *
gossip_trunk(struct peer *peer)
{
	struct trunk *trunk;

	for (trunk = TAILQ_FIRST(&peer->trunks); trunk != NULL;
	     trunk = TAILQ_NEXT(trunk, entry))
		if (trunk->gossip != NULL)
			return (trunk);
	return (NULL);
}

/* Room for length bytes on a stream or in the outbox; NULL: lost. */
static uint8_t *
gossip_reserve(struct peer *peer, struct trunk *trunk, size_t length)
{
	uint32_t prefix = (uint32_t)length;
	uint8_t *room;

	if (trunk != NULL) {
		/* Who does not read is told less; it will be suspected. */
		if (rpc_stream_queued(trunk->gossip) > QUEUE_MAX)
			return (NULL);
		trunk->used = clock_monotonic();
		return (rpc_stream_reserve(trunk->gossip, length));
	}
	if (buffer_length(&peer->outbox) + sizeof(prefix) + length >
		OUTBOX_MAX ||
	    (room = buffer_reserve(&peer->outbox, sizeof(prefix) + length)) ==
		NULL)
		return (NULL);
	memcpy(room, &prefix, sizeof(prefix));
	return (room + sizeof(prefix));
}

static void
gossip_commit(struct peer *peer, struct trunk *trunk, size_t length)
{
	if (trunk != NULL) {
		rpc_stream_commit(trunk->gossip, length);
		return;
	}
	buffer_commit(&peer->outbox, sizeof(uint32_t) + length);
	peer_want(peer, WANT_GOSSIP);
	gossip_trunk_up(peer, peer_dialled_trunk(peer));
}

void
gossip_send_raw(struct peer *peer, const uint8_t *bytes, size_t length)
{
	struct trunk *trunk = gossip_trunk(peer);
	uint8_t *room;

	if ((room = gossip_reserve(peer, trunk, length)) == NULL)
		return;
	memcpy(room, bytes, length);
	gossip_commit(peer, trunk, length);
}

void
gossip_send(
    struct peer *peer, const struct Nodemesh__V1__GossipMessage *message)
{
	struct trunk *trunk = gossip_trunk(peer);
	size_t length;
	uint8_t *room;

	length = nodemesh__v1__gossip_message__get_packed_size(message);
	if ((room = gossip_reserve(peer, trunk, length)) == NULL)
		return;
	nodemesh__v1__gossip_message__pack(message, room);
	gossip_commit(peer, trunk, length);
}

static void
emit_rumour(void *arg, const struct rumour *rumour)
{
	gossip_send_raw(arg, rumour->bytes, rumour->length);
}

static void
send_rumours(struct peer *peer)
{
	(void)rumours_tell(all_rumours(), RUMOURS_TELL, RUMOURS_TELL_BYTES,
	    swim_retransmits(members_swim()), emit_rumour, peer);
	if (rumours.count == 0)
		members_want_gossip(0);
}

static void
send_events(struct peer *peer, struct Nodemesh__V1__MembershipEvent **events,
    size_t count)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	size_t i;

	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_MEMBERSHIP;
	for (i = 0; i < count; i++) {
		message.membership = events[i];
		gossip_send(peer, &message);
	}
}

static void
send_push_pull(struct peer *peer, const struct swim_message *swim,
    struct Nodemesh__V1__MembershipEvent **events, size_t count)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__PushPull push_pull = NODEMESH__V1__PUSH_PULL__INIT;
	struct Nodemesh__V1__AppDigest *digests, **list;
	size_t i, most = proc_config()->limits.members + 1;

	if (most > DIGESTS_MAX)
		most = DIGESTS_MAX;
	/* With the last part: by then the names in them are known there. */
	if (swim->more)
		most = 0;
	digests = calloc(most + 1, sizeof(*digests));
	list = calloc(most + 1, sizeof(void *));
	if (digests != NULL && list != NULL) {
		push_pull.n_apps = presence_digests(digests, most);
		for (i = 0; i < push_pull.n_apps; i++)
			list[i] = &digests[i];
		push_pull.apps = list;
	}
	push_pull.reply = swim->reply;
	push_pull.members = events;
	push_pull.n_members = count;
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_PUSH_PULL;
	message.push_pull = &push_pull;
	gossip_send(peer, &message);
	free(digests);
	free(list);
}

/* Ping, PingReq and Ack are one layout in three types. */
#define PROBE(type, TYPE, member)                                              \
	static void send_##member(struct peer *peer,                           \
	    const struct swim_message *swim, char *target,                     \
	    struct Nodemesh__V1__MembershipEvent **events, size_t count)       \
	{                                                                      \
		struct Nodemesh__V1__GossipMessage message =                   \
		    NODEMESH__V1__GOSSIP_MESSAGE__INIT;                        \
		struct Nodemesh__V1__##type body =                             \
		    NODEMESH__V1__##TYPE##__INIT;                              \
                                                                               \
		body.sequence = swim->sequence;                                \
		body.target = target;                                          \
		body.updates = events;                                         \
		body.n_updates = count;                                        \
		message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_##TYPE; \
		message.member = &body;                                        \
		gossip_send(peer, &message);                                   \
	}
PROBE(Ping, PING, ping)
PROBE(PingReq, PING_REQ, ping_req)
PROBE(Ack, ACK, ack)

static void
send_nack(struct peer *peer, const struct swim_message *swim, char *target)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__Nack nack = NODEMESH__V1__NACK__INIT;

	nack.sequence = swim->sequence;
	nack.target = target;
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_NACK;
	message.nack = &nack;
	gossip_send(peer, &message);
}

void
gossip_send_swim(struct peer *peer, const struct swim_message *message,
    const struct swim_update *updates, size_t count)
{
	struct Nodemesh__V1__MembershipEvent *events[SWIM_SYNC];
	char target[NODE_ID_SIZE] = "";
	const char *name;
	size_t i, packed = 0;

	if (message->type <= SWIM_NACK &&
	    (name = members_name(message->target)) != NULL)
		(void)strlcpy(target, name, sizeof(target));
	for (i = 0; i < count && packed < SWIM_SYNC; i++)
		if ((events[packed] = members_pack(&updates[i])) != NULL)
			packed++;
	switch (message->type) {
	case SWIM_PING:
		send_ping(peer, message, target, events, packed);
		break;
	case SWIM_PING_REQ:
		send_ping_req(peer, message, target, events, packed);
		break;
	case SWIM_ACK:
		send_ack(peer, message, target, events, packed);
		break;
	case SWIM_NACK:
		send_nack(peer, message, target);
		send_events(peer, events, packed);
		break;
	case SWIM_PUSH_PULL:
		send_push_pull(peer, message, events, packed);
		break;
	case SWIM_GOSSIP:
		send_events(peer, events, packed);
		if (!message->reply)
			send_rumours(peer);
		break;
	}
	for (i = 0; i < packed; i++)
		members_pack_free(events[i]);
}

/* The answer is the state of the whole mesh. */
void
gossip_ask(struct peer *peer)
{
	peer->ask_owed =
	    rate_take(&peer->asks_due, clock_monotonic(), ASKS, ASKS_IN, 0) > 0;
	if (!peer->ask_owed)
		members_contact(peer);
}

void
gossip_tick(struct peer *peer)
{
	if (peer->ask_owed)
		gossip_ask(peer);
}

void
gossip_tell_all(const uint8_t node[KEY_SIZE], const uint8_t *bytes,
    size_t length, int fresh, int own)
{
	struct peer *peer;
	size_t cursor = 0;

	while (own && (peer = peer_next(&cursor)) != NULL)
		if (gossip_trunk(peer) != NULL)
			gossip_send_raw(peer, bytes, length);
	if (rumours_add(all_rumours(), node, bytes, length, fresh) == -1)
		log_debug("rumour_dropped", "bytes=%zu", length);
	members_want_gossip(1);
}

void
gossip_say(struct peer *peer, const uint8_t node[KEY_SIZE],
    const struct Nodemesh__V1__GossipMessage *message, int fresh)
{
	uint8_t *packed;
	size_t length;

	if (peer != NULL) {
		gossip_send(peer, message);
		return;
	}
	length = nodemesh__v1__gossip_message__get_packed_size(message);
	if ((packed = malloc(length)) == NULL)
		return;
	nodemesh__v1__gossip_message__pack(message, packed);
	gossip_tell_all(node, packed, length, fresh, 1);
	free(packed);
}

void
gossip_forget(const uint8_t node[KEY_SIZE])
{
	rumours_drop(all_rumours(), node);
}

/* --- receiving ----------------------------------------------------------- */

static int
take_events(struct peer *peer, struct Nodemesh__V1__MembershipEvent **events,
    size_t count, int synced)
{
	size_t i;

	if (count > EVENTS_MAX) {
		metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
		return (0);
	}
	for (i = 0; i < count; i++)
		if (members_event(events[i], peer, synced) == -1)
			return (-1);
	return (0);
}

static int
on_probe(struct peer *peer, enum swim_message_type type, uint64_t sequence,
    const char *target, struct Nodemesh__V1__MembershipEvent **updates,
    size_t count)
{
	struct swim_message message = { .type = type };

	if (take_events(peer, updates, count, 0) == -1)
		return (-1);
	message.sequence = sequence;
	/* A name that is not known is nobody's key. */
	(void)members_key(target, message.target);
	members_receive(peer, &message);
	return (0);
}

/* An update that came alone. */
static int
on_event(struct peer *peer, struct Nodemesh__V1__MembershipEvent *event)
{
	const struct swim_message message = { .type = SWIM_GOSSIP };

	if (take_events(peer, &event, 1, 0) == -1)
		return (-1);
	members_receive(peer, &message);
	return (0);
}

int
gossip_may_answer(struct peer *peer)
{
	if (rate_take(&peer->answers_due, clock_monotonic(), ANSWERS,
		ANSWERS_IN, 0) == 0)
		return (1);
	metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
	return (0);
}

static int
on_push_pull(struct peer *peer, const struct Nodemesh__V1__PushPull *body)
{
	struct swim_message message = { .type = SWIM_PUSH_PULL };

	if (take_events(peer, body->members, body->n_members, 1) == -1)
		return (-1);
	/* Every node has presence of its own: without, another part follows. */
	if (body->n_apps > 0)
		presence_judge(peer, body);
	if (!body->reply && gossip_may_answer(peer))
		revoke_tell(peer);
	message.reply = body->reply;
	members_receive(peer, &message);
	if (body->reply && body->n_apps > 0)
		query_answered(peer);
	return (0);
}

/* 0, or -1: it speaks for another node. */
static int
gossip_take(struct peer *peer,
    const struct Nodemesh__V1__GossipMessage *message, const uint8_t *raw,
    size_t length)
{
	switch (message->body_case) {
	case NODEMESH__V1__GOSSIP_MESSAGE__BODY_HEARTBEAT:
		/* Contract v1; its time is the sender's and not believed. */
		return (strcmp(message->heartbeat->node_id, peer->node_id) == 0
			    ? 0
			    : -1);
	case NODEMESH__V1__GOSSIP_MESSAGE__BODY_MEMBERSHIP:
		return (on_event(peer, message->membership));
	case NODEMESH__V1__GOSSIP_MESSAGE__BODY_APP_SYNC:
		return (presence_sync(peer, message->app_sync, raw, length));
	case NODEMESH__V1__GOSSIP_MESSAGE__BODY_PING:
		return (on_probe(peer, SWIM_PING, message->ping->sequence,
		    message->ping->target, message->ping->updates,
		    message->ping->n_updates));
	case NODEMESH__V1__GOSSIP_MESSAGE__BODY_PING_REQ:
		return (on_probe(peer, SWIM_PING_REQ,
		    message->ping_req->sequence, message->ping_req->target,
		    message->ping_req->updates, message->ping_req->n_updates));
	case NODEMESH__V1__GOSSIP_MESSAGE__BODY_ACK:
		return (on_probe(peer, SWIM_ACK, message->ack->sequence,
		    message->ack->target, message->ack->updates,
		    message->ack->n_updates));
	case NODEMESH__V1__GOSSIP_MESSAGE__BODY_NACK:
		return (on_probe(peer, SWIM_NACK, message->nack->sequence,
		    message->nack->target, NULL, 0));
	case NODEMESH__V1__GOSSIP_MESSAGE__BODY_PUSH_PULL:
		return (on_push_pull(peer, message->push_pull));
	case NODEMESH__V1__GOSSIP_MESSAGE__BODY_REVOCATION:
		return (revoke_take(peer, message->revocation));
	default:
		metric_add(METRIC_MESH_REFUSED_FORM, 1);
		return (0);
	}
}

/* --- streams ------------------------------------------------------------- */

static void
on_message(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	struct trunk *trunk = arg;
	struct Nodemesh__V1__GossipMessage *message;
	int result = 0;

	rpc_stream_consume(stream, length);
	mesh_mind_keyd();
	budget_spend(trunk->peer, BUDGET_MESH,
	    BUDGET_MESSAGE + (uint32_t)(length / BUDGET_BYTES));
	if (trunk_admit(trunk) == -1)
		result = -1;
	else if ((message = unpack_bounded(
		      &nodemesh__v1__gossip_message__descriptor, bytes,
		      length)) == NULL)
		metric_add(METRIC_MESH_REFUSED_FORM, 1);
	else {
		result = gossip_take(trunk->peer, message, bytes, length);
		nodemesh__v1__gossip_message__free_unpacked(message, NULL);
		if (result == -1)
			metric_add(METRIC_MESH_REFUSED_SENDER, 1);
	}
	if (result == 0)
		return;
	if (trunk->owner != NULL)
		rpc_stream_cancel(stream);
	else
		rpc_stream_finish(stream, RPC_PERMISSION_DENIED,
		    "frame names another sender");
}

static void
on_server_finished(struct rpc_stream *stream, void *arg)
{
	(void)arg;
	rpc_stream_finish(stream, RPC_OK, NULL);
}

static void
on_closed(struct rpc_stream *stream, enum rpc_status status, const char *text,
    void *arg)
{
	struct trunk *trunk = arg;

	(void)status;
	(void)text;
	if (trunk == NULL || trunk->gossip != stream)
		return;
	trunk->gossip = NULL;
	if (trunk->peer != NULL && gossip_trunk(trunk->peer) == NULL)
		members_connected(trunk->peer, 0);
}

const struct rpc_stream_callbacks gossip_server_callbacks = { .message =
								  on_message,
	.finished = on_server_finished,
	.closed = on_closed };

static const struct rpc_stream_callbacks client_callbacks = {
	.message = on_message, .closed = on_closed
};

static void
outbox_flush(struct peer *peer, struct trunk *trunk)
{
	uint32_t length;

	while (buffer_length(&peer->outbox) > 0) {
		memcpy(&length, buffer_bytes(&peer->outbox), sizeof(length));
		(void)rpc_stream_send(trunk->gossip,
		    buffer_bytes(&peer->outbox) + sizeof(length), length);
		buffer_consume(&peer->outbox, sizeof(length) + length);
	}
	buffer_free(&peer->outbox);
}

enum rpc_status
gossip_opened(struct rpc_stream *stream, void *arg)
{
	struct trunk *trunk = rpc_connection_arg(rpc_stream_connection(stream));
	enum rpc_status status;

	(void)arg;
	rpc_stream_set_arg(stream, NULL);
	if (trunk == NULL || members_swim() == NULL)
		return (RPC_UNAVAILABLE);
	if ((status = trunk_welcome(trunk)) != RPC_OK)
		/* Who was away when it was revoked hears of it here. */
		return (status == RPC_PERMISSION_DENIED && trunk->known &&
				revoke_refuse(stream, trunk->binding.node_key)
			    ? RPC_OK
			    : status);
	budget_spend(trunk->peer, BUDGET_MESH, BUDGET_STREAM);
	rpc_stream_set_arg(stream, trunk);
	trunk->gossip = stream;
	outbox_flush(trunk->peer, trunk);
	members_connected(trunk->peer, 1);
	return (RPC_OK);
}

void
gossip_trunk_up(struct peer *peer, struct trunk *trunk)
{
	if (trunk == NULL || gossip_trunk(peer) != NULL)
		return;
	trunk->gossip = rpc_call(
	    trunk->connection, GOSSIP_PATH, 0, &client_callbacks, trunk);
	if (trunk->gossip == NULL) {
		trunk_close(trunk);
		return;
	}
	peer_unwant(peer, WANT_GOSSIP);
	outbox_flush(peer, trunk);
	members_connected(peer, 1);
	/* Known from before, not met in this life: exchange states. */
	if (peer->state != NODE_ALIVE)
		members_contact(peer);
}

void
gossip_close_all(void)
{
	struct trunk *trunk;
	struct peer *peer;
	size_t cursor = 0;

	while ((peer = peer_next(&cursor)) != NULL)
		for (trunk = TAILQ_FIRST(&peer->trunks); trunk != NULL;
		     trunk = TAILQ_NEXT(trunk, entry)) {
			if (trunk->gossip == NULL)
				continue;
			if (trunk->owner != NULL)
				rpc_stream_half_close(trunk->gossip);
			else
				rpc_stream_finish(trunk->gossip, RPC_OK, NULL);
		}
}
