/*
 * Tests only, of fuzz_router.c. What apps said, and whether what they hear is
 * right. Include once.
 */
#ifndef REGRESS_FUZZ_ROUTER_EARS_H
#define REGRESS_FUZZ_ROUTER_EARS_H

#include "common/ipc/codes.h"
#include "common/util/table.h"
#include "regress/fuzz/fuzz.h"
#include "regress/unit/router_house.h"

#define APPS  3
#define SLOTS 5
#define CHATS 3

static struct app_player *const apps[APPS] = { &alice, &bob, &carol };
static const char *const chat_ids[CHATS] = { "c", "another chat", "x" };

/* A stream and what its app has heard on it. */
struct slot {
	struct rpc_stream *stream; /* NULL: free */
	struct app_player *app;    /* who said a good Connect */
	Frame *challenge;
	int connected;
	int ended;                      /* it will say no more */
	uint64_t last[CHATS][APPS];     /* message delivered */
	unsigned int ends[CHATS][APPS]; /* DeleteChatAcks */
};

static struct slot slots[SLOTS];

/* --- what apps said ------------------------------------------------------ */

struct said {
	uint8_t hash[KEY_SIZE];
};

static struct table said = { .key_size = KEY_SIZE };
static uint64_t most[CHATS][APPS]; /* highest sequence an app said */
static int placed[CHATS][APPS];    /* it said where it stands, too */

static void
said_hash(uint8_t hash[KEY_SIZE], const uint8_t sender[KEY_SIZE],
    const uint8_t *target, const void *chat_id, size_t chat_length,
    uint64_t sequence, const void *payload, size_t length)
{
	static const uint8_t nobody[KEY_SIZE];
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
	(void)crypto_generichash_update(&state, sender, KEY_SIZE);
	(void)crypto_generichash_update(
	    &state, target == NULL ? nobody : target, KEY_SIZE);
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)&sequence, sizeof(sequence));
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)&chat_length, sizeof(chat_length));
	(void)crypto_generichash_update(&state, chat_id, chat_length);
	(void)crypto_generichash_update(&state, payload, length);
	(void)crypto_generichash_final(&state, hash, KEY_SIZE);
}

static int
chat_index(const void *chat_id, size_t length)
{
	int i;

	for (i = 0; i < CHATS; i++)
		if (strlen(chat_ids[i]) == length &&
		    memcmp(chat_ids[i], chat_id, length) == 0)
			return (i);
	return (-1);
}

static int
app_index(const struct app_player *app)
{
	int i;

	for (i = 0; i < APPS; i++)
		if (apps[i] == app)
			return (i);
	return (-1);
}

/* Remember a message as the router reads it. */
static void
said_note(const struct slot *slot, const uint8_t *bytes, size_t length)
{
	struct frame_chat_message message;
	struct frame frame;
	struct said *item;
	uint8_t target[KEY_SIZE];
	int chat, named;

	if (slot->app == NULL || frame_parse(&frame, bytes, length) == -1 ||
	    frame.field != FRAME_CHAT_MESSAGE ||
	    frame_read_chat_message(&message, frame.body) == -1)
		return;
	named = app_id_read(target, message.peer) == 0;
	FUZZ_CHECK((item = calloc(1, sizeof(*item))) != NULL);
	said_hash(item->hash, slot->app->key, named ? target : NULL,
	    message.chat_id.bytes, message.chat_id.length, message.sequence,
	    message.payload.bytes, message.payload.length);
	chat = chat_index(message.chat_id.bytes, message.chat_id.length);
	if (chat != -1 && message.sequence > most[chat][app_index(slot->app)])
		most[chat][app_index(slot->app)] = message.sequence;
	if (table_get(&said, item->hash) != NULL)
		free(item);
	else
		FUZZ_CHECK(table_put(&said, item->hash, item) == 0);
}

static void
said_clear(void)
{
	size_t cursor = 0;
	void *item;

	while ((item = table_next(&said, &cursor)) != NULL)
		free(item);
	table_free(&said);
	table_init(&said, KEY_SIZE);
	memset(most, 0, sizeof(most));
	memset(placed, 0, sizeof(placed));
}

/* --- what apps hear ------------------------------------------------------ */

static struct app_player *
app_of(const char *id)
{
	int i;

	for (i = 0; i < APPS; i++)
		if (strcmp(apps[i]->id, id) == 0)
			return (apps[i]);
	return (NULL);
}

static void
hear_message(struct slot *slot, const Approuter__V1__ChatMessage *message)
{
	const struct app_player *peer = app_of(message->peer_app_id);
	size_t length = strlen(message->chat_id);
	int chat = chat_index(message->chat_id, length);
	uint8_t named[KEY_SIZE], open[KEY_SIZE];
	uint64_t *last;

	FUZZ_CHECK(peer != NULL && peer != slot->app);
	said_hash(named, peer->key, slot->app->key, message->chat_id, length,
	    message->sequence, message->payload.data, message->payload.len);
	said_hash(open, peer->key, NULL, message->chat_id, length,
	    message->sequence, message->payload.data, message->payload.len);
	FUZZ_CHECK(
	    table_get(&said, named) != NULL || table_get(&said, open) != NULL);
	if (chat == -1)
		return;
	last = &slot->last[chat][app_index(peer)];
	/* What an app says that it was acknowledged does not come again. */
	FUZZ_CHECK(
	    *last == 0 || message->sequence == *last + 1 ||
	    (placed[chat][app_index(peer)] && message->sequence > *last));
	*last = message->sequence;
}

static void
hear_end(struct slot *slot, const Approuter__V1__DeleteChatAck *ack)
{
	const struct app_player *peer = app_of(ack->peer_app_id);
	int chat = chat_index(ack->chat_id, strlen(ack->chat_id));

	FUZZ_CHECK(
	    status_find(ack->status, strlen(ack->status)) != STATUS_NONE);
	if (peer == NULL || chat == -1)
		return;
	slot->last[chat][app_index(peer)] = 0;
	slot->ends[chat][app_index(peer)]++;
}

static void
hear_frame(struct slot *slot, Frame *frame)
{
	int chat;

	/* Before ConnectAck there is nothing but the Challenge. */
	if (frame->body_case == APPROUTER__V1__APP_FRAME__BODY_CONNECT_ACK) {
		FUZZ_CHECK(slot->app != NULL && !slot->connected);
		slot->connected = 1;
	}
	FUZZ_CHECK(
	    slot->connected ||
	    frame->body_case == APPROUTER__V1__APP_FRAME__BODY_CHALLENGE);
	switch (frame->body_case) {
	case APPROUTER__V1__APP_FRAME__BODY_CHALLENGE:
		FUZZ_CHECK(slot->challenge == NULL);
		slot->challenge = frame;
		return;
	case APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE:
		hear_message(slot, frame->chat_message);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE_ACK:
		chat = chat_index(frame->chat_message_ack->chat_id,
		    strlen(frame->chat_message_ack->chat_id));
		FUZZ_CHECK(chat == -1 || frame->chat_message_ack->sequence <=
					     most[chat][app_index(slot->app)]);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_DELETE_CHAT_ACK:
		hear_end(slot, frame->delete_chat_ack);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_START_CHAT:
		FUZZ_CHECK(strcmp(frame->start_chat->target_app_id,
			       slot->app->id) == 0);
		FUZZ_CHECK(strcmp(frame->start_chat->source_app_id,
			       slot->app->id) != 0);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_ERROR:
		FUZZ_CHECK(code_find(frame->error->code,
			       strlen(frame->error->code)) != CODE_NONE);
		break;
	default:
		break;
	}
	frame_free(frame);
}

static void
hear(struct slot *slot)
{
	Frame *frame;

	while (slot->stream != NULL && (frame = app_hear(slot->stream)) != NULL)
		hear_frame(slot, frame);
}

static void
hear_all(void)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		hear(&slots[i]);
}

/* An app that took a chat up, or was told of it, hears of its end, once. */
static void
ended(const struct chat_key *key, int after)
{
	static struct slot *slot;
	static unsigned int *ends, before;
	static int left;
	const struct side *side = side_find(key);
	int i, chat, told;

	hear_all();
	if (after) {
		/* One that was left waits for the word on that. */
		FUZZ_CHECK((side != NULL && side->left) == left);
		FUZZ_CHECK(side == NULL || left);
		FUZZ_CHECK(slot == NULL || *ends == before);
		slot = NULL;
		return;
	}
	slot = NULL;
	left = side != NULL && side->left;
	if (side == NULL || left || side->app->session == NULL)
		return;
	told = side->taken || side->offer_session == side->app->session->number;
	for (i = 0; i < SLOTS; i++)
		if (slots[i].stream == side->app->session->stream)
			slot = &slots[i];
	FUZZ_CHECK(slot != NULL);
	chat = chat_index(side->chat_id, strlen(side->chat_id));
	if (chat == -1 || player_of(side->peer->key) == NULL ||
	    slot->stream->cancelled) {
		slot = NULL;
		return;
	}
	ends = &slot->ends[chat][app_index(player_of(side->peer->key))];
	before = *ends + (told ? 1 : 0);
}

#endif
