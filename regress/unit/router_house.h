/*
 * Tests only. keyd and mesh as the router sees them, for one node whose apps
 * chat with each other. Include once, after router_apps.h.
 */
#ifndef REGRESS_UNIT_ROUTER_HOUSE_H
#define REGRESS_UNIT_ROUTER_HOUSE_H

#include <limits.h>

#include "router/chats.h"
#include "router/service.h"

static int service_paused;
/* Around each CHAT_ENDED, if set. */
static void (*on_chat_ended)(const struct chat_key *key, int after);

/* --- the gRPC server ----------------------------------------------------- */

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
	service_paused = pause;
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

/* --- keyd and mesh ------------------------------------------------------- */

#define PLAYED_CHATS 128

struct played_chat {
	struct chat_key key; /* of side 0 */
	int used;
	int started[2];
	int left[2]; /* by its app, which may go on */
	uint32_t version;
	struct ipc_chat_start start[2];
	uint64_t delivered[2];
	uint64_t acked[2];
};

static struct {
	struct played_chat chats[PLAYED_CHATS];
	int cut;                 /* drop what is sealed */
	int mute;                /* answer no CHAT_START */
	enum hermes_code refuse; /* each CHAT_START */
	struct {
		uint8_t app[KEY_SIZE];
		int used;
	} watches[16];
	int unreachable;
	unsigned int seals, relay_acks, progresses, starts;
	unsigned int resets_told;        /* of progresses */
	uint32_t flags;                  /* of the last CHAT_START */
	uint8_t named[INSTANCE_SIZE];    /* by it */
	uint8_t instance[INSTANCE_SIZE]; /* of whatever gets ready */
} played;

HELPER struct app_player *
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

HELPER void
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

HELPER void
play_watchers(const uint8_t app[KEY_SIZE])
{
	int i;

	for (i = 0; i < 16; i++)
		if (played.watches[i].used &&
		    memcmp(played.watches[i].app, app, KEY_SIZE) == 0)
			play_presence(app);
}

HELPER void
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
		PLAYED_CHECK(free_slot >= 0);
		i = free_slot;
	}
	memcpy(played.watches[i].app, app->app, KEY_SIZE);
	played.watches[i].used = on;
	if (on)
		play_presence(app->app);
}

HELPER struct played_chat *
play_chat(const struct chat_key *key, int make)
{
	int i, slot = -1;

	for (i = 0; i < PLAYED_CHATS; i++) {
		if (!played.chats[i].used)
			slot = i;
		else if (memcmp(played.chats[i].key.handle, key->handle,
			     KEY_SIZE) == 0)
			return (&played.chats[i]);
	}
	if (!make)
		return (NULL);
	PLAYED_CHECK(slot >= 0);
	memset(&played.chats[slot], 0, sizeof(played.chats[slot]));
	played.chats[slot].used = 1;
	played.chats[slot].key = *key;
	played.chats[slot].key.side = 0;
	return (&played.chats[slot]);
}

HELPER void
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
		ready.first = (uint32_t)(first || chat->left[side]);
		ready.reset = (uint32_t)(chat->left[0] || chat->left[1]);
		ready.cause = cause;
		ready.peer_delivered = chat->delivered[1 - side];
		ready.peer_acked = chat->acked[1 - side];
		memcpy(ready.instance, played.instance, INSTANCE_SIZE);
		from(PROCESS_KEYD, IPC_CHAT_READY, &ready, NULL, 0);
	}
	chat->left[0] = chat->left[1] = 0;
}

HELPER void
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

HELPER void
play_refuse(const struct chat_key *key, enum hermes_code why)
{
	struct ipc_chat_code code;

	memset(&code, 0, sizeof(code));
	code.key = *key;
	code.code = why;
	code.retry_after = 7;
	from(PROCESS_KEYD, IPC_CHAT_ERROR, &code, NULL, 0);
}

HELPER void
play_start(const struct sent *sent)
{
	const struct ipc_chat_start *start;
	struct played_chat *chat;
	int side;

	start = (const struct ipc_chat_start *)(const void *)sent->payload;
	side = start->key.side;
	played.starts++;
	played.flags = start->flags;
	memcpy(played.named, start->instance, INSTANCE_SIZE);
	if (attestation_verify(&start->local, clock_wall()) == -1 ||
	    attestation_verify(&start->peer, clock_wall()) == -1) {
		play_refuse(&start->key, CODE_AUTH_FAILED);
		return;
	}
	if (played.refuse != CODE_NONE) {
		play_refuse(&start->key, played.refuse);
		return;
	}
	if (played.mute)
		return;
	chat = play_chat(&start->key, 1);
	chat->started[side] = 1;
	if (start->flags & CHAT_CONTINUE) {
		chat->left[side] |= chat->version == 0;
		chat->delivered[side] = start->delivered;
		chat->acked[side] = start->acked;
	}
	if (chat->version > 0 && chat->left[1 - side])
		return; /* nobody there to agree with */
	if (chat->version > 0 && (start->flags & CHAT_REKEY) != 0) {
		chat->version++;
		play_offer(start, sent);
		play_ready(chat, 0, 0, CAUSE_APP);
	} else if (chat->version > 0) {
		chat->version += (uint32_t)chat->left[side];
		play_ready(chat, 1, 0, CAUSE_RESUME);
	} else {
		if (sent->tail_length > 0)
			play_offer(start, sent);
		if (chat->started[0] && chat->started[1] &&
		    chat->version == 0) {
			chat->version = 1;
			play_ready(chat, 1, 1, CAUSE_NONE);
		}
	}
}

/* The chat is over at keyd, and was on that side for that reason. */
HELPER void
play_ended(const struct chat_key *key, enum hermes_status status)
{
	struct ipc_chat_end ended = { .key = *key, .status = status };

	if (on_chat_ended != NULL && status != STATUS_NONE)
		on_chat_ended(key, 0);
	from(PROCESS_KEYD, IPC_CHAT_ENDED, &ended, NULL, 0);
	if (on_chat_ended != NULL && status != STATUS_NONE)
		on_chat_ended(key, 1);
}

HELPER void
play_end(const struct ipc_chat_end *end)
{
	struct played_chat *chat = play_chat(&end->key, 0);
	enum hermes_status status = (enum hermes_status)end->status;
	struct chat_key other = end->key;

	if (status == STATUS_NONE) {
		if (chat != NULL) {
			chat->left[end->key.side] = chat->version > 0;
			chat->started[end->key.side] = 0;
			chat->delivered[end->key.side] = 0;
			chat->acked[end->key.side] = 0;
		}
		play_ended(&end->key, status);
		return;
	}
	if (chat != NULL)
		chat->used = 0;
	play_ended(&end->key, status);
	other.side ^= 1;
	play_ended(
	    &other, status == STATUS_DELETED ? STATUS_DELETED_BY_PEER : status);
}

HELPER void
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

HELPER void
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

HELPER void
play_progress(const struct sent *sent)
{
	struct ipc_chat_progress progress;
	struct played_chat *chat;

	played.progresses++;
	memcpy(&progress, sent->payload, sizeof(progress));
	played.resets_told += progress.reset_told != 0;
	if ((chat = play_chat(&progress.key, 0)) == NULL)
		return;
	chat->delivered[progress.key.side] = progress.delivered;
	chat->acked[progress.key.side] = progress.acked;
}

HELPER void
play_app_up(const struct sent *sent)
{
	struct ipc_app_up up;
	struct app_player *player;

	memcpy(&up, sent->payload, sizeof(up));
	player = player_of(up.attestation.app_key);
	PLAYED_CHECK(player != NULL);
	player->attestation = up.attestation;
	player->up = 1;
	play_watchers(player->key);
}

HELPER void
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

HELPER void
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
		PLAYED_CHECK(!"a message for nobody");
	}
}

/* Let keyd and mesh answer until keyd had so many CHAT_STARTs. */
HELPER void
play_starts(unsigned int starts)
{
	struct sent *sent;
	int n = 0;

	while (played.starts < starts && (sent = take()) != NULL) {
		PLAYED_CHECK(n++ < 200000);
		play_one(sent);
		sent_free(sent);
	}
}

/* The same until all is quiet. */
HELPER void
play(void)
{
	play_starts(UINT_MAX);
}

/* --- set-up -------------------------------------------------------------- */

HELPER void
world_begin(void)
{
	struct ipc_identity identity;
	struct ipc_empty empty = { 0 };

	PLAYED_CHECK(sodium_init() >= 0);
	log_init("router", LOG_LEVEL_ERROR, 1);
	world.base = event_base_new();
	world.config.limits.sessions = 10;
	world.config.limits.unauthenticated = 5;
	world.config.limits.chats_per_app = 4;
	world.config.limits.message_size = 1000;
	world.config.limits.metadata_size = 1000;
	world.config.limits.chat_window_messages = 16;
	world.config.limits.chat_window_bytes = 1 << 20;
	world.config.limits.kept_messages = 1 << 30;
	world.config.limits.members = 16;
	world.config.limits.connect_timeout = 10 * CLOCK_SECOND;
	PLAYED_CHECK(router_main() == 0);
	flow_init(); /* of what go() does, the timers of no chat */
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

#endif
