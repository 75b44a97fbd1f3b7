/*
 * Tests only, of fuzz_router.c. What apps say: Connect, good or spoiled, and
 * frames that the input chooses. Include once, after router_ears.h.
 */
#ifndef REGRESS_FUZZ_ROUTER_MOUTHS_H
#define REGRESS_FUZZ_ROUTER_MOUTHS_H

static struct input *feed;

/* --- streams ------------------------------------------------------------- */

static void
slot_close(struct slot *slot)
{
	if (slot->stream == NULL)
		return;
	hear(slot);
	stream_close(slot->stream);
	if (slot->challenge != NULL)
		frame_free(slot->challenge);
	memset(slot, 0, sizeof(*slot));
}

static void
slot_open(struct slot *slot)
{
	struct rpc_stream *stream = stream_new();

	slot_close(slot);
	if (session_opened(stream, NULL) == RPC_OK)
		slot->stream = stream;
	else
		stream_free(stream);
}

static void
slot_say(struct slot *slot, const uint8_t *bytes, size_t length)
{
	uint8_t *exact;

	if (slot->stream == NULL)
		return;
	said_note(slot, bytes, length);
	/* Of its exact size, so that a read beyond it is seen. */
	FUZZ_CHECK((exact = malloc(length + 1)) != NULL);
	if (length > 0)
		memcpy(exact + 1, bytes, length);
	app_say_bytes(slot->stream, exact + 1, length);
	free(exact);
}

static void
slot_say_frame(struct slot *slot, Frame *frame)
{
	size_t length = approuter__v1__app_frame__get_packed_size(frame);
	uint8_t *bytes = malloc(length + 1);

	FUZZ_CHECK(bytes != NULL);
	(void)approuter__v1__app_frame__pack(frame, bytes);
	slot_say(slot, bytes, length);
	free(bytes);
}

static char *
any_chat(uint8_t byte)
{
	return ((char *)(uintptr_t)chat_ids[(byte & 3) % CHATS]);
}

/* --- Connect ------------------------------------------------------------- */

static struct app_player *connecting;
static uint8_t connects; /* 1: accept=auto; 2: arrived; 0x80: spoiled */
static int spoiled;

/* Sign as apps of contract v1 do. */
static void
sign_v1(Approuter__V1__Connect *connect)
{
	struct metadata_pair pair = { "accept", 6, "auto", 4 };
	static uint8_t bytes[512], signature[SIGNATURE_SIZE];
	size_t length;

	connect->nonce.len = 0;
	length = attestation_v1_bytes(bytes, sizeof(bytes), connect->node_id,
	    &pair, connect->n_metadata > 0);
	(void)crypto_sign_detached(
	    signature, NULL, bytes, length, connecting->secret);
	connect->signature.data = signature;
}

static void
spoil(Approuter__V1__Connect *connect)
{
	uint8_t how = input_u8(feed), at = input_u8(feed);
	static uint8_t bytes[SIGNATURE_SIZE];
	static char name[] = "node-b";

	spoiled = 1;
	switch (how % 8) {
	case 0:
		memcpy(bytes, connect->signature.data, SIGNATURE_SIZE);
		bytes[at % SIGNATURE_SIZE] ^= 1;
		connect->signature.data = bytes;
		break;
	case 1:
		connect->expires_at += at + 1;
		break;
	case 2:
		connect->node_id = name;
		break;
	case 3:
		memcpy(bytes, connect->nonce.data, KEY_SIZE);
		bytes[at % KEY_SIZE] ^= 1;
		connect->nonce.data = bytes;
		break;
	case 4:
		connect->app_public_key.data = apps[at % APPS]->key;
		spoiled = apps[at % APPS] != connecting;
		break;
	case 5:
		connect->app_public_key.len = at % KEY_SIZE;
		break;
	case 6:
		sign_v1(connect);
		spoiled = !world.config.app_compat_v1;
		break;
	case 7:
		connect->issued_at -= (int64_t)at * 3600 * CLOCK_SECOND;
		spoiled = at > 0;
		break;
	}
}

static void
adjust(Approuter__V1__Connect *connect)
{
	connect->arrived = connects >> 1 & 1;
	if (connects & 0x80)
		spoil(connect);
}

static void
slot_connect(struct slot *slot, struct app_player *app)
{
	Approuter__V1__Challenge bare = APPROUTER__V1__CHALLENGE__INIT;
	uint8_t nonce[KEY_SIZE] = { 0 };
	char name[] = "node-a";

	connects = input_u8(feed);
	if (slot->stream == NULL || slot->connected || slot->app != NULL)
		return;
	bare.node_id = name;
	bare.nonce.data = nonce;
	bare.nonce.len = KEY_SIZE;
	bare.node_public_key.data = world.node_key;
	bare.node_public_key.len = KEY_SIZE;
	connecting = app;
	/* Without the node's nonce it is not signed for this stream. */
	spoiled = slot->challenge == NULL;
	slot->app = app;
	app_answer(app, slot->stream,
	    slot->challenge == NULL ? &bare : slot->challenge->challenge,
	    connects & 1, adjust);
	if (spoiled)
		slot->app = NULL;
	hear(slot);
	if (spoiled)
		FUZZ_CHECK(slot->stream->finished && !slot->connected);
}

/* --- frames -------------------------------------------------------------- */

/* A valid signature over the start, by the app of the slot. */
static void
sign_start(const struct app_player *app, Approuter__V1__StartChat *start,
    uint8_t signature[SIGNATURE_SIZE])
{
	struct start_chat_fields fields = { .chat_id = start->chat_id,
		.source_app_id = app->id,
		.target_app_id = start->target_app_id,
		.public_key = start->local_ephemeral_public_key.data,
		.salt = start->hkdf_salt.data,
		.salt_length = start->hkdf_salt.len,
		.info = start->hkdf_info.data,
		.info_length = start->hkdf_info.len,
		.version = start->key_version,
		.rekey = start->rekey };
	uint8_t bytes[1024];
	size_t length = start_chat_signed_bytes(&fields, bytes, sizeof(bytes));

	(void)crypto_sign_detached(signature, NULL, bytes, length, app->secret);
	start->signature.data = signature;
	start->signature.len = SIGNATURE_SIZE;
}

/* Small ones as they are; the largest there are, from above. */
static uint64_t
any_sequence(void)
{
	uint8_t byte = input_u8(feed);

	if (byte < 0xe0)
		return (byte);
	return (byte & 0x10 ? UINT64_MAX - (byte & 0xf)
			    : (uint64_t)INT64_MAX + 8 - (byte & 0xf));
}

/* Where the app says that it stands; of all before it has heard. */
static void
say_where(const struct slot *slot, Approuter__V1__StartChat *start, int chat,
    int target)
{
	uint64_t *heard;

	start->next_send_sequence = any_sequence();
	start->next_receive_sequence = any_sequence();
	if (slot->app != NULL) {
		placed[chat][app_index(slot->app)] = 1;
		heard = &most[chat][app_index(slot->app)];
		if (start->next_send_sequence > *heard)
			*heard = start->next_send_sequence;
	}
	heard = &most[chat][target];
	if (start->next_receive_sequence > *heard)
		*heard = start->next_receive_sequence;
}

static void
say_start(struct slot *slot)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	uint8_t what = input_u8(feed), how = input_u8(feed);
	uint8_t key[KEY_SIZE], salt[32], signature[SIGNATURE_SIZE];
	static const uint8_t scalar[KEY_SIZE] = { 1 };
	char correlation[] = "start", good[] = "node-a", bad[] = "node-b";

	frame.correlation_id = correlation;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &start;
	start.chat_id = any_chat(what);
	start.target_app_id = apps[(what >> 2) % APPS]->id;
	start.rekey = how & 1;
	start.resume = how >> 1 & 1;
	if (how & 4)
		start.key_version = input_u8(feed);
	if (how & 0x80)
		say_where(slot, &start, (what & 3) % CHATS, (what >> 2) % APPS);
	if (how & 8)
		start.target_node_hint = how & 0x10 ? good : bad;
	if (how & 0x20) {
		(void)crypto_scalarmult_base(key, scalar);
		start.local_ephemeral_public_key.data = key;
		start.local_ephemeral_public_key.len = KEY_SIZE;
		memset(salt, 7, sizeof(salt));
		start.hkdf_salt.data = salt;
		start.hkdf_salt.len = what >> 5;
		if (slot->app != NULL)
			sign_start(slot->app, &start, signature);
		if (how & 0x40)
			key[input_u8(feed) % KEY_SIZE] ^= 1;
	}
	slot_say_frame(slot, &frame);
}

static void
say_message(struct slot *slot)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__ChatMessage message = APPROUTER__V1__CHAT_MESSAGE__INIT;
	uint8_t what = input_u8(feed), how = input_u8(feed);
	static uint8_t payload[1100];
	char correlation[] = "message";
	int me = slot->app == NULL ? 0 : app_index(slot->app);

	if (how & 1)
		frame.correlation_id = correlation;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE;
	frame.chat_message = &message;
	message.chat_id = any_chat(what);
	if (how & 2)
		message.peer_app_id = apps[(what >> 2) % APPS]->id;
	message.sequence = most[(what & 3) % CHATS][me] + 1;
	if (how & 4)
		message.sequence = input_u8(feed);
	memset(payload, how, sizeof(payload));
	message.payload.data = payload;
	message.payload.len = (size_t)(how >> 4) * 70; /* at most 1050 */
	slot_say_frame(slot, &frame);
}

static void
say_delete(struct slot *slot)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__DeleteChat delete_chat =
	    APPROUTER__V1__DELETE_CHAT__INIT;
	uint8_t what = input_u8(feed);

	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_DELETE_CHAT;
	frame.delete_chat = &delete_chat;
	delete_chat.chat_id = any_chat(what);
	if (what & 0x80)
		delete_chat.peer_app_id = apps[(what >> 2) % APPS]->id;
	slot_say_frame(slot, &frame);
}

static void
say_find(struct slot *slot)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__FindApp find = APPROUTER__V1__FIND_APP__INIT;
	Approuter__V1__Heartbeat heartbeat = APPROUTER__V1__HEARTBEAT__INIT;
	uint8_t what = input_u8(feed);
	char id[APP_ID_LENGTH + 1];

	if (what & 1) {
		frame.body_case = APPROUTER__V1__APP_FRAME__BODY_HEARTBEAT;
		frame.heartbeat = &heartbeat;
		heartbeat.timestamp_nanos = what;
	} else {
		(void)strlcpy(id, apps[(what >> 2) % APPS]->id, sizeof(id));
		id[0] = what & 2 ? id[0] : 'f'; /* mostly nobody's */
		frame.body_case = APPROUTER__V1__APP_FRAME__BODY_FIND_APP;
		frame.find_app = &find;
		find.target_app_id = id;
	}
	slot_say_frame(slot, &frame);
}

static void
say_raw(struct slot *slot)
{
	const uint8_t *bytes;
	size_t length = input_span(feed, input_u16(feed), &bytes);

	slot_say(slot, bytes, length);
}

#endif
