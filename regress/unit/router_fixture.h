/*
 * The router without its neighbours: proc, doors and gRPC are played here, so
 * that every file of router/ runs as it is. keyd and mesh are played too, for
 * one node whose apps chat with each other. Include once.
 */
#ifndef ROUTER_FIXTURE_H
#define ROUTER_FIXTURE_H

#include <sys/queue.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>
#include <event2/event.h>
#include <sodium.h>

#include "common/proc/proc.h"
#include "common/proc/sources.h"
#include "common/rpc/rpc.h"
#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "proto/approuter.pb-c.h"
#include "router/chats.h"
#include "router/service.h"
#include "router/session.h"

typedef Approuter__V1__AppFrame Frame;

struct ipc {
	enum process peer;
	int congested;
};

struct sent { /* a message on a door */
	TAILQ_ENTRY(sent) entry;
	enum ipc_type type;
	uint8_t *payload;
	uint8_t *tail;
	size_t tail_length;
};

struct written {
	TAILQ_ENTRY(written) entry;
	Frame *frame;
	size_t length;
};

struct rpc_stream {
	void *arg;
	int congested;
	int waiting;
	int cancelled;
	int finished;
	enum rpc_status status;
	size_t sent; /* bytes of the app */
	size_t consumed;
	size_t queued;
	uint8_t *room;
	TAILQ_HEAD(, written) written;
};

TAILQ_HEAD(sent_list, sent);

static struct {
	struct event_base *base;
	struct config config;
	const struct proc_hooks *hooks;
	struct ipc doors[32];
	int mesh_down;
	struct sent_list out;
	int done;
	int paused;
	uint8_t node_key[KEY_SIZE];
	uint8_t node_secret[64];
} world = { .out = TAILQ_HEAD_INITIALIZER(world.out) };

/* --- proc and doors ------------------------------------------------------ */

int
proc_run(enum process self, const struct proc_hooks *hooks)
{
	(void)self;
	world.hooks = hooks;
	return (0);
}

struct event_base *
proc_base(void)
{
	return (world.base);
}

const struct config *
proc_config(void)
{
	return (&world.config);
}

struct ipc *
proc_ipc(enum process peer)
{
	if (peer == PROCESS_MESH && world.mesh_down)
		return (NULL);
	world.doors[peer].peer = peer;
	return (&world.doors[peer]);
}

void
proc_broken(enum process peer, const char *why)
{
	ck_abort_msg("proc_broken %d %s", (int)peer, why);
}

void
proc_done(void)
{
	world.done = 1;
}

static const struct {
	size_t size;
	size_t tail;
} rows[IPC_TYPE_COUNT] = {
#define IPC_MESSAGE(name, from_, to, type, tail_, fd)                          \
	[IPC_##name] = { sizeof(struct type), tail_ },
#include "common/ipc/messages.def"
#undef IPC_MESSAGE
};

void
ipc_send(struct ipc *ipc, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	struct sent *sent = calloc(1, sizeof(*sent));

	ck_assert_ptr_nonnull(ipc);
	ck_assert_ptr_nonnull(sent);
	ck_assert_uint_le(tail_length, rows[type].tail);
	sent->type = type;
	sent->payload = malloc(rows[type].size);
	memcpy(sent->payload, payload, rows[type].size);
	sent->tail = malloc(tail_length + 1);
	if (tail_length > 0)
		memcpy(sent->tail, tail, tail_length);
	sent->tail_length = tail_length;
	TAILQ_INSERT_TAIL(&world.out, sent, entry);
}

size_t
ipc_queued(const struct ipc *ipc)
{
	(void)ipc;
	return (0);
}

int
ipc_congested(const struct ipc *ipc)
{
	return (ipc->congested);
}

int
ipc_call(struct ipc *ipc, enum ipc_type type, const void *payload,
    enum ipc_type reply, void *reply_payload, int timeout_ms)
{
	(void)ipc;
	(void)type;
	(void)payload;
	(void)reply;
	(void)reply_payload;
	(void)timeout_ms;
	return (-1);
}

/* A message from a neighbour, then the end of its batch. */
static void
from(enum process peer, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	struct ipc_message message;
	uint8_t *copy = malloc(tail_length + 1);

	if (tail_length > 0)
		memcpy(copy, tail, tail_length);
	message.type = type;
	message.payload = payload;
	message.tail = copy;
	message.tail_length = tail_length;
	message.fd = -1;
	ck_assert_ptr_nonnull(world.hooks->handlers[type]);
	world.hooks->handlers[type](NULL, &message);
	world.hooks->batch(peer);
	free(copy);
}

static struct sent *
take(void)
{
	struct sent *sent = TAILQ_FIRST(&world.out);

	if (sent != NULL)
		TAILQ_REMOVE(&world.out, sent, entry);
	return (sent);
}

static void
sent_free(struct sent *sent)
{
	free(sent->payload);
	free(sent->tail);
	free(sent);
}

/* --- gRPC ---------------------------------------------------------------- */

void
rpc_stream_set_arg(struct rpc_stream *stream, void *arg)
{
	stream->arg = arg;
}

struct rpc_connection *
rpc_stream_connection(const struct rpc_stream *stream)
{
	(void)stream;
	return (NULL);
}

uint64_t
sources_show(uint64_t id)
{
	(void)id;
	return (0);
}

void
sources_metrics(const struct rpc_counters *counters)
{
	(void)counters;
}

void
rpc_connection_prove(struct rpc_connection *connection)
{
	(void)connection;
}

int
rpc_connection_may_verify(struct rpc_connection *connection)
{
	(void)connection;
	return (1);
}

void
rpc_connection_blame(struct rpc_connection *connection)
{
	(void)connection;
}

const char *
rpc_connection_name(const struct rpc_connection *connection)
{
	(void)connection;
	return ("127.0.0.1 port 1");
}

uint8_t *
rpc_stream_reserve(struct rpc_stream *stream, size_t length)
{
	if (stream->finished || stream->cancelled)
		return (NULL);
	ck_assert_ptr_null(stream->room);
	stream->room = malloc(length + 1);
	return (stream->room);
}

void
rpc_stream_commit(struct rpc_stream *stream, size_t length)
{
	struct written *written = calloc(1, sizeof(*written));

	written->frame =
	    approuter__v1__app_frame__unpack(NULL, length, stream->room);
	ck_assert_ptr_nonnull(written->frame);
	written->length = length;
	free(stream->room);
	stream->room = NULL;
	TAILQ_INSERT_TAIL(&stream->written, written, entry);
}

size_t
rpc_stream_queued(const struct rpc_stream *stream)
{
	return (stream->queued);
}

size_t
rpc_stream_unsent(const struct rpc_stream *stream)
{
	return (stream->queued);
}

int
rpc_stream_congested(const struct rpc_stream *stream)
{
	if (stream->congested)
		((struct rpc_stream *)(uintptr_t)stream)->waiting = 1;
	return (stream->congested);
}

void
rpc_stream_consume(struct rpc_stream *stream, size_t length)
{
	stream->consumed += length;
	ck_assert_uint_le(stream->consumed, stream->sent);
}

void
rpc_stream_finish(
    struct rpc_stream *stream, enum rpc_status status, const char *message)
{
	(void)message;
	ck_assert(!stream->finished);
	stream->finished = 1;
	stream->status = status;
}

void
rpc_stream_cancel(struct rpc_stream *stream)
{
	stream->cancelled = 1;
}

void
service_init(void)
{
}

void
service_certificate(const uint8_t *pem, size_t length)
{
	(void)pem;
	(void)length;
}

void
service_certificate_file(int fd)
{
	(void)fd;
}

void
service_listen(int fd)
{
	(void)fd;
}

void
service_listeners_close(void)
{
}

void
service_configured(void)
{
}

void
service_set_health(void)
{
}

void
service_pause(int pause)
{
	world.paused = pause;
}

void
service_drain(void)
{
}

void
service_free(void)
{
}

void
service_tick(void)
{
}

void
service_counters(struct rpc_counters *counters)
{
	memset(counters, 0, sizeof(*counters));
}

/* --- an app -------------------------------------------------------------- */

struct app_player {
	uint8_t key[KEY_SIZE];
	uint8_t secret[64];
	char id[APP_ID_LENGTH + 1];
	struct rpc_stream *stream;
	struct attestation attestation; /* of its last APP_UP */
	int up;
};

static struct app_player alice, bob, carol;
static struct app_player *crowd; /* more of them, for one test */
static size_t crowd_count;

static struct rpc_stream *
stream_open(void)
{
	struct rpc_stream *stream = calloc(1, sizeof(*stream));

	ck_assert_ptr_nonnull(stream);
	TAILQ_INIT(&stream->written);
	ck_assert_int_eq(session_opened(stream, NULL), RPC_OK);
	return (stream);
}

/* The stream's end, as the event loop would bring it. */
static void
stream_close(struct rpc_stream *stream)
{
	struct written *written;

	session_closed(stream, RPC_CANCELLED, NULL, stream->arg);
	while ((written = TAILQ_FIRST(&stream->written)) != NULL) {
		TAILQ_REMOVE(&stream->written, written, entry);
		approuter__v1__app_frame__free_unpacked(written->frame, NULL);
		free(written);
	}
	free(stream);
}

static void
app_say(struct rpc_stream *stream, Frame *frame)
{
	size_t length = approuter__v1__app_frame__get_packed_size(frame);
	uint8_t *bytes = malloc(length + 1);

	(void)approuter__v1__app_frame__pack(frame, bytes);
	stream->sent += length;
	session_message(stream, bytes, length, stream->arg);
	free(bytes);
}

/* The next frame that the app was sent, or NULL; the caller frees it. */
static Frame *
app_hear(struct rpc_stream *stream)
{
	struct written *written = TAILQ_FIRST(&stream->written);
	Frame *frame;

	if (written == NULL)
		return (NULL);
	TAILQ_REMOVE(&stream->written, written, entry);
	frame = written->frame;
	free(written);
	return (frame);
}

static void
frame_free(Frame *frame)
{
	approuter__v1__app_frame__free_unpacked(frame, NULL);
}

/* The next frame must be of this kind. */
static Frame *
app_expect(struct app_player *app, Approuter__V1__AppFrame__BodyCase kind)
{
	Frame *frame = app_hear(app->stream);

	ck_assert_msg(frame != NULL, "nothing instead of %d", (int)kind);
	ck_assert_msg(frame->body_case == kind, "%d instead of %d (%s)",
	    (int)frame->body_case, (int)kind,
	    frame->body_case == APPROUTER__V1__APP_FRAME__BODY_ERROR
		? frame->error->code
		: "");
	return (frame);
}

static void
app_expect_error(struct app_player *app, const char *code)
{
	Frame *frame = app_expect(app, APPROUTER__V1__APP_FRAME__BODY_ERROR);

	ck_assert_str_eq(frame->error->code, code);
	frame_free(frame);
}

static void
app_expect_nothing(struct app_player *app)
{
	ck_assert_ptr_null(app_hear(app->stream));
}

#define EXPECT(app, kind) app_expect(app, APPROUTER__V1__APP_FRAME__BODY_##kind)

static void
app_make_keys(struct app_player *app, uint8_t seed_byte)
{
	uint8_t seed[32];

	memset(app, 0, sizeof(*app));
	memset(seed, seed_byte, sizeof(seed));
	(void)crypto_sign_seed_keypair(app->key, app->secret, seed);
	hex_encode(app->id, app->key, KEY_SIZE);
}

/* Answer the Challenge on the stream. change: spoil something first. */
static void
app_connect_stream(struct app_player *app, struct rpc_stream *stream,
    int accept_auto, void (*change)(Approuter__V1__Connect *))
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__Connect connect = APPROUTER__V1__CONNECT__INIT;
	Approuter__V1__Connect__MetadataEntry entry =
	    APPROUTER__V1__CONNECT__METADATA_ENTRY__INIT;
	Approuter__V1__Connect__MetadataEntry *entries = &entry;
	struct metadata_pair pair = { "accept", 6, "auto", 4 };
	struct attestation attestation = { .kind = ATTESTATION_V2 };
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	uint8_t signature[SIGNATURE_SIZE];
	char accept[] = "accept", word[] = "auto";
	Frame *challenge = app_hear(stream);

	ck_assert_ptr_nonnull(challenge);
	ck_assert_int_eq(
	    challenge->body_case, APPROUTER__V1__APP_FRAME__BODY_CHALLENGE);
	memcpy(attestation.app_key, app->key, KEY_SIZE);
	memcpy(attestation.node_key, challenge->challenge->node_public_key.data,
	    KEY_SIZE);
	memcpy(attestation.nonce, challenge->challenge->nonce.data, KEY_SIZE);
	(void)strlcpy(attestation.node_id, challenge->challenge->node_id,
	    sizeof(attestation.node_id));
	attestation.issued_at = clock_wall();
	attestation.expires_at = attestation.issued_at + 3600 * CLOCK_SECOND;
	metadata_hash(attestation.metadata_hash, &pair, accept_auto ? 1 : 0);
	(void)crypto_sign_detached(signature, NULL, bytes,
	    attestation_signed_bytes(&attestation, bytes), app->secret);
	entry.key = accept;
	entry.value = word;
	if (accept_auto) {
		connect.metadata = &entries;
		connect.n_metadata = 1;
	}
	connect.app_public_key.data = app->key;
	connect.app_public_key.len = KEY_SIZE;
	connect.signature.data = signature;
	connect.signature.len = SIGNATURE_SIZE;
	connect.nonce.data = attestation.nonce;
	connect.nonce.len = KEY_SIZE;
	connect.node_id = attestation.node_id;
	connect.issued_at = attestation.issued_at;
	connect.expires_at = attestation.expires_at;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CONNECT;
	frame.connect = &connect;
	if (change != NULL)
		change(&connect);
	app_say(stream, &frame);
	frame_free(challenge);
}

/* --- keyd and mesh ------------------------------------------------------- */

struct played_chat {
	struct chat_key key; /* of side 0 */
	int used;
	int started[2];
	uint32_t version;
	struct ipc_chat_start start[2];
	uint64_t delivered[2];
	uint64_t acked[2];
};

static struct {
	struct played_chat chats[64];
	int cut;                 /* drop what is sealed */
	int mute;                /* answer no CHAT_START */
	enum hermes_code refuse; /* each CHAT_START */
	struct {
		uint8_t app[KEY_SIZE];
		int used;
	} watches[16];
	int unreachable;
	unsigned int seals, relay_acks, progresses, starts;
} played;

static struct app_player *
player_of(const uint8_t key[KEY_SIZE])
{
	struct app_player *all[] = { &alice, &bob, &carol };
	size_t i;

	for (i = 0; i < 3; i++)
		if (memcmp(all[i]->key, key, KEY_SIZE) == 0)
			return (all[i]);
	for (i = 0; i < crowd_count; i++)
		if (memcmp(crowd[i].key, key, KEY_SIZE) == 0)
			return (&crowd[i]);
	return (NULL);
}

static void
play_presence(const uint8_t app[KEY_SIZE])
{
	struct ipc_presence presence;
	struct app_player *player = player_of(app);

	memset(&presence, 0, sizeof(presence));
	memcpy(presence.app, app, KEY_SIZE);
	if (player != NULL && player->up) {
		presence.status = PRESENCE_LOCAL;
		presence.reachable = !played.unreachable;
		(void)strlcpy(presence.node_id, "node-a", NODE_ID_SIZE);
		presence.attestation = player->attestation;
	}
	from(PROCESS_MESH, IPC_PRESENCE, &presence, NULL, 0);
}

static void
play_watchers(const uint8_t app[KEY_SIZE])
{
	int i;

	for (i = 0; i < 16; i++)
		if (played.watches[i].used &&
		    memcmp(played.watches[i].app, app, KEY_SIZE) == 0)
			play_presence(app);
}

static void
play_watch(const struct ipc_app *app, int on)
{
	int i, free_slot = -1;

	for (i = 0; i < 16; i++) {
		if (!played.watches[i].used)
			free_slot = i;
		else if (memcmp(played.watches[i].app, app->app, KEY_SIZE) == 0)
			break;
	}
	if (i == 16) {
		ck_assert_int_ge(free_slot, 0);
		i = free_slot;
	}
	memcpy(played.watches[i].app, app->app, KEY_SIZE);
	played.watches[i].used = on;
	if (on)
		play_presence(app->app);
}

static struct played_chat *
play_chat(const struct chat_key *key, int make)
{
	int i, slot = -1;

	for (i = 0; i < 64; i++) {
		if (!played.chats[i].used)
			slot = i;
		else if (memcmp(played.chats[i].key.handle, key->handle,
			     KEY_SIZE) == 0)
			return (&played.chats[i]);
	}
	if (!make)
		return (NULL);
	ck_assert_int_ge(slot, 0);
	memset(&played.chats[slot], 0, sizeof(played.chats[slot]));
	played.chats[slot].used = 1;
	played.chats[slot].key = *key;
	played.chats[slot].key.side = 0;
	return (&played.chats[slot]);
}

static void
play_ready(
    struct played_chat *chat, int resumed, int first, enum rekey_cause cause)
{
	struct ipc_chat_ready ready;
	int side;

	for (side = 0; side < 2; side++) {
		memset(&ready, 0, sizeof(ready));
		ready.key = chat->key;
		ready.key.side = (uint8_t)side;
		ready.version = chat->version;
		ready.resumed = (uint32_t)resumed;
		ready.first = (uint32_t)first;
		ready.cause = cause;
		ready.peer_delivered = chat->delivered[1 - side];
		ready.peer_acked = chat->acked[1 - side];
		from(PROCESS_KEYD, IPC_CHAT_READY, &ready, NULL, 0);
	}
}

static void
play_offer(const struct ipc_chat_start *start, const struct sent *sent)
{
	struct ipc_chat_offer offer;

	memset(&offer, 0, sizeof(offer));
	offer.key = start->key;
	offer.key.side ^= 1;
	memcpy(offer.chat_id, start->chat_id, sizeof(offer.chat_id));
	memcpy(offer.local_app, start->peer.app_key, KEY_SIZE);
	memcpy(offer.peer_app, start->local.app_key, KEY_SIZE);
	memcpy(offer.peer_node, start->local.node_key, KEY_SIZE);
	offer.version = 1;
	from(PROCESS_KEYD, IPC_CHAT_OFFER, &offer, sent->tail,
	    sent->tail_length);
}

static void
play_start(const struct sent *sent)
{
	const struct ipc_chat_start *start;
	struct played_chat *chat;
	struct ipc_chat_code code;
	int side;

	start = (const struct ipc_chat_start *)(const void *)sent->payload;
	side = start->key.side;
	played.starts++;
	ck_assert_int_eq(attestation_verify(&start->local, clock_wall()), 0);
	ck_assert_int_eq(attestation_verify(&start->peer, clock_wall()), 0);
	if (played.refuse != CODE_NONE) {
		memset(&code, 0, sizeof(code));
		code.key = start->key;
		code.code = played.refuse;
		code.retry_after = 7;
		from(PROCESS_KEYD, IPC_CHAT_ERROR, &code, NULL, 0);
		return;
	}
	if (played.mute)
		return;
	chat = play_chat(&start->key, 1);
	chat->started[side] = 1;
	if (chat->version > 0 && (start->flags & CHAT_REKEY) != 0) {
		chat->version++;
		play_offer(start, sent);
		play_ready(chat, 0, 0, CAUSE_APP);
	} else if (chat->version > 0)
		play_ready(chat, 1, 0, CAUSE_RESUME);
	else {
		if (sent->tail_length > 0)
			play_offer(start, sent);
		if (chat->started[0] && chat->started[1] &&
		    chat->version == 0) {
			chat->version = 1;
			play_ready(chat, 1, 1, CAUSE_NONE);
		}
	}
}

static void
play_end(const struct ipc_chat_end *end)
{
	struct played_chat *chat = play_chat(&end->key, 0);
	struct ipc_chat_end ended = *end;

	if (chat != NULL)
		chat->used = 0;
	from(PROCESS_KEYD, IPC_CHAT_ENDED, &ended, NULL, 0);
	ended.key.side ^= 1;
	if (ended.status == STATUS_DELETED)
		ended.status = STATUS_DELETED_BY_PEER;
	from(PROCESS_KEYD, IPC_CHAT_ENDED, &ended, NULL, 0);
}

static void
play_seal(const struct sent *sent)
{
	struct ipc_opened opened;

	played.seals++;
	if (played.cut)
		return;
	memcpy(&opened, sent->payload, sizeof(opened));
	opened.key.side ^= 1;
	from(PROCESS_KEYD, IPC_OPENED, &opened, sent->tail, sent->tail_length);
}

static void
play_relay_ack(const struct sent *sent)
{
	struct ipc_relay_ack ack;

	played.relay_acks++;
	if (played.cut)
		return;
	memcpy(&ack, sent->payload, sizeof(ack));
	ack.key.side ^= 1;
	from(PROCESS_MESH, IPC_RELAY_ACK, &ack, NULL, 0);
}

static void
play_progress(const struct sent *sent)
{
	struct ipc_chat_progress progress;
	struct played_chat *chat;

	played.progresses++;
	memcpy(&progress, sent->payload, sizeof(progress));
	if ((chat = play_chat(&progress.key, 0)) == NULL)
		return;
	chat->delivered[progress.key.side] = progress.delivered;
	chat->acked[progress.key.side] = progress.acked;
}

static void
play_app_up(const struct sent *sent)
{
	struct ipc_app_up up;
	struct app_player *player;

	memcpy(&up, sent->payload, sizeof(up));
	player = player_of(up.attestation.app_key);
	ck_assert_ptr_nonnull(player);
	player->attestation = up.attestation;
	player->up = 1;
	play_watchers(player->key);
}

static void
play_find(const struct sent *sent)
{
	struct ipc_find find;
	struct ipc_found found;

	memcpy(&find, sent->payload, sizeof(find));
	memset(&found, 0, sizeof(found));
	found.id = find.id;
	memcpy(found.app, find.app, KEY_SIZE);
	from(PROCESS_MESH, IPC_FOUND, &found, NULL, 0);
}

static void
play_one(struct sent *sent)
{
	struct ipc_challenge_signed signed_;
	struct ipc_credit credit;
	struct app_player *player;
	const void *payload = sent->payload;

	switch (sent->type) {
	case IPC_CHALLENGE:
		memset(&signed_, 0, sizeof(signed_));
		signed_.id = ((const struct ipc_challenge *)payload)->id;
		from(PROCESS_KEYD, IPC_CHALLENGE_SIGNED, &signed_, NULL, 0);
		break;
	case IPC_APP_UP:
		play_app_up(sent);
		break;
	case IPC_APP_DOWN:
		player = player_of(((const struct ipc_app *)payload)->app);
		player->up = 0;
		play_watchers(player->key);
		break;
	case IPC_WATCH:
	case IPC_UNWATCH:
		play_watch(payload, sent->type == IPC_WATCH);
		break;
	case IPC_FIND:
		play_find(sent);
		break;
	case IPC_CHAT_START:
		play_start(sent);
		break;
	case IPC_CHAT_END:
		play_end(payload);
		break;
	case IPC_CHAT_PROGRESS:
		play_progress(sent);
		break;
	case IPC_SEAL:
		play_seal(sent);
		break;
	case IPC_RELAY_ACK:
		play_relay_ack(sent);
		break;
	case IPC_CREDIT:
		memcpy(&credit, payload, sizeof(credit));
		credit.key.side ^= 1;
		from(PROCESS_MESH, IPC_CREDIT, &credit, NULL, 0);
		break;
	default:
		ck_abort_msg("message %d", (int)sent->type);
	}
}

/* Let keyd and mesh answer until keyd had so many CHAT_STARTs. */
static void
play_starts(unsigned int starts)
{
	struct sent *sent;
	int n = 0;

	while (played.starts < starts && (sent = take()) != NULL) {
		ck_assert_int_lt(n++, 200000);
		play_one(sent);
		sent_free(sent);
	}
}

/* The same until all is quiet. */
static void
play(void)
{
	play_starts(UINT_MAX);
}

/* --- set-up -------------------------------------------------------------- */

static void
world_begin(void)
{
	struct ipc_identity identity;
	struct ipc_empty empty = { 0 };

	ck_assert_int_ge(sodium_init(), 0);
	log_init("router", LOG_LEVEL_ERROR, 1);
	world.base = event_base_new();
	world.config.limits.sessions = 10;
	world.config.limits.unauthenticated = 5;
	world.config.limits.chats_per_app = 4;
	world.config.limits.message_size = 1000;
	world.config.limits.metadata_size = 1000;
	world.config.limits.chat_window_messages = 16;
	world.config.limits.chat_window_bytes = 1 << 20;
	world.config.limits.members = 16;
	world.config.limits.connect_timeout = 10 * CLOCK_SECOND;
	ck_assert_int_eq(router_main(), 0);
	(void)crypto_sign_keypair(world.node_key, world.node_secret);
	memset(&identity, 0, sizeof(identity));
	identity.unlocked = 1;
	(void)strlcpy(identity.node_id, "node-a", NODE_ID_SIZE);
	memcpy(identity.node_key, world.node_key, KEY_SIZE);
	from(PROCESS_KEYD, IPC_IDENTITY, &identity, NULL, 0);
	from(PROCESS_KEYD, IPC_CHAT_RECORDS_END, &empty, NULL, 0);
	app_make_keys(&alice, 1);
	app_make_keys(&bob, 2);
	app_make_keys(&carol, 3);
}

static void
app_connect(struct app_player *app, int accept_auto)
{
	app->stream = stream_open();
	play();
	app_connect_stream(app, app->stream, accept_auto, NULL);
	frame_free(EXPECT(app, CONNECT_ACK));
	play();
}

static void
app_leave(struct app_player *app)
{
	stream_close(app->stream);
	app->stream = NULL;
	play();
}

/* Start without letting the neighbours work. */
static void
app_start_only(struct app_player *app, struct app_player *peer,
    const char *chat_id, int resume)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	char correlation[] = "start";

	frame.correlation_id = correlation;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &start;
	start.chat_id = (char *)(uintptr_t)chat_id;
	start.target_app_id = peer->id;
	start.resume = resume;
	app_say(app->stream, &frame);
}

static void
app_start_chat(struct app_player *app, struct app_player *peer,
    const char *chat_id, int resume)
{
	app_start_only(app, peer, chat_id, resume);
	play();
}

/* Send without letting the neighbours work. */
static void
app_send_only(struct app_player *app, const char *chat_id, uint64_t sequence)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__ChatMessage message = APPROUTER__V1__CHAT_MESSAGE__INIT;
	char correlation[32];

	(void)snprintf(correlation, sizeof(correlation), "m%llu",
	    (unsigned long long)sequence);
	frame.correlation_id = correlation;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE;
	frame.chat_message = &message;
	message.chat_id = (char *)(uintptr_t)chat_id;
	message.sequence = sequence;
	message.payload.data = (uint8_t *)&sequence;
	message.payload.len = sizeof(sequence);
	app_say(app->stream, &frame);
}

static void
app_send(struct app_player *app, const char *chat_id, uint64_t sequence)
{
	app_send_only(app, chat_id, sequence);
	play();
}

static void
app_expect_message(struct app_player *app, uint64_t sequence)
{
	Frame *frame = EXPECT(app, CHAT_MESSAGE);

	ck_assert_uint_eq(frame->chat_message->sequence, sequence);
	ck_assert_uint_eq(frame->chat_message->payload.len, 8);
	ck_assert_int_eq(
	    memcmp(frame->chat_message->payload.data, &sequence, 8), 0);
	frame_free(frame);
}

static void
app_expect_ack(
    struct app_player *app, uint64_t sequence, const char *correlation)
{
	Frame *frame = EXPECT(app, CHAT_MESSAGE_ACK);

	ck_assert_uint_eq(frame->chat_message_ack->sequence, sequence);
	if (correlation != NULL)
		ck_assert_str_eq(frame->correlation_id, correlation);
	frame_free(frame);
}

/* Both connected, the chat "c" ready. */
static void
chat_begin(void)
{
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	app_start_chat(&alice, &bob, "c", 0);
	frame_free(EXPECT(&bob, START_CHAT));
	app_start_chat(&bob, &alice, "c", 0);
	frame_free(EXPECT(&bob, START_CHAT_ACK));
	frame_free(EXPECT(&alice, START_CHAT));
	frame_free(EXPECT(&alice, START_CHAT_ACK));
}

#endif
