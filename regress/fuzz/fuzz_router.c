/*
 * Tests only. Whole sessions of apps, as the router sees them: three apps on
 * a few streams connect, start chats, speak, end, break the contract, and
 * keyd and mesh answer late, early, or not at all. No app is given what was
 * not sent to it, nor out of order or twice on one stream; the end of a chat
 * is told once; no frame is let in before its app is proven; and when all is
 * over the process holds nothing of them.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/log.h"
#include "common/util/metrics.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_timer.h"

#define PLAYED_CHECK(condition) FUZZ_CHECK(condition)

#include "regress/unit/played_doors.h"
#include "regress/unit/played_streams.h"
#include "regress/unit/router_apps.h"
#include "regress/unit/router_house.h"
#include "regress/fuzz/router_ears.h"
#include "regress/fuzz/router_mouths.h"

#define STEPS     300
#define HEAP_ROOM 16384 /* tables that have grown */

/* --- neighbours ---------------------------------------------------------- */

static void
check_text(const char *text, size_t size)
{
	FUZZ_CHECK(memchr(text, '\0', size) != NULL);
}

/* What the app signed of its own key was checked. */
static void
check_start(const struct sent *sent)
{
	const struct ipc_chat_start *chat = (const void *)sent->payload;
	Approuter__V1__StartChat *start;
	struct start_chat_fields fields = { .chat_id = chat->chat_id };
	uint8_t bytes[32768];
	char source[APP_ID_LENGTH + 1];
	size_t length;

	check_text(chat->chat_id, sizeof(chat->chat_id));
	start = approuter__v1__start_chat__unpack(
	    NULL, sent->tail_length, sent->tail);
	FUZZ_CHECK(start != NULL);
	if (start->local_ephemeral_public_key.len > 0) {
		FUZZ_CHECK(start->local_ephemeral_public_key.len == KEY_SIZE);
		FUZZ_CHECK(start->signature.len == SIGNATURE_SIZE);
		hex_encode(source, chat->local.app_key, KEY_SIZE);
		fields.source_app_id = source;
		fields.target_app_id = start->target_app_id;
		fields.public_key = start->local_ephemeral_public_key.data;
		fields.salt = start->hkdf_salt.data;
		fields.salt_length = start->hkdf_salt.len;
		fields.info = start->hkdf_info.data;
		fields.info_length = start->hkdf_info.len;
		fields.version = start->key_version;
		fields.rekey = start->rekey;
		length = start_chat_signed_bytes(&fields, bytes, sizeof(bytes));
		FUZZ_CHECK(length > 0 &&
			   crypto_sign_verify_detached(start->signature.data,
			       bytes, length, chat->local.app_key) == 0);
	}
	approuter__v1__start_chat__free_unpacked(start, NULL);
}

/* Doors get only what holds. */
static void
check_sent(const struct sent *sent)
{
	Approuter__V1__Connect *connect;
	const struct ipc_app_up *up = (const void *)sent->payload;
	const struct ipc_find *find = (const void *)sent->payload;

	switch (sent->type) {
	case IPC_CHAT_START:
		check_start(sent);
		break;
	case IPC_APP_UP:
		check_text(up->session_id, sizeof(up->session_id));
		if (up->attestation.kind == ATTESTATION_V2)
			FUZZ_CHECK(attestation_verify(&up->attestation,
				       up->attestation.issued_at) == 0);
		connect = approuter__v1__connect__unpack(
		    NULL, sent->tail_length, sent->tail);
		FUZZ_CHECK(connect != NULL);
		approuter__v1__connect__free_unpacked(connect, NULL);
		break;
	case IPC_FIND:
		check_text(find->node_hint, sizeof(find->node_hint));
		break;
	default:
		break;
	}
}

/* Let keyd (and) or mesh answer up to so many messages. */
static void
answer(unsigned int doors, int many)
{
	struct sent *sent;

	while (many-- > 0 && (sent = take_of(doors)) != NULL) {
		check_sent(sent);
		if (sent->to != PROCESS_CONTROL)
			play_one(sent);
		sent_free(sent);
	}
	hear_all();
}

static struct played_chat *
any_played(uint8_t byte)
{
	int i;

	for (i = 0; i < 64; i++)
		if (played.chats[(byte + i) % 64].used)
			return (&played.chats[(byte + i) % 64]);
	return (NULL);
}

/* A chat of keyd's store, whose apps are not here yet or again. */
static void
keyd_recalls(uint8_t what, uint8_t how)
{
	struct ipc_chat_record record;
	const struct app_player *local = apps[how % APPS];
	const struct app_player *peer = apps[(how + 1 + (how >> 7)) % APPS];
	struct played_chat *chat;

	memset(&record, 0, sizeof(record));
	(void)strlcpy(
	    record.chat_id, any_chat(what >> 3), sizeof(record.chat_id));
	FUZZ_CHECK(chat_key_make(&record.key, record.chat_id, local->key,
		       peer->key) == 0);
	memcpy(record.local_app, local->key, KEY_SIZE);
	memcpy(record.peer_app, peer->key, KEY_SIZE);
	memcpy(record.peer_node, world.node_key, KEY_SIZE);
	chat = play_chat(&record.key, 1);
	if (chat->version == 0)
		chat->version = how >> 2 & 3;
	record.version = chat->version;
	from(PROCESS_KEYD, IPC_CHAT_RECORD, &record, NULL, 0);
}

/* keyd speaks by itself. */
static void
keyd_speaks(void)
{
	uint8_t what = input_u8(feed), how = input_u8(feed);
	struct played_chat *chat = any_played(what >> 3);
	struct ipc_chat_wanted wanted;
	struct ipc_chat_code code;
	struct ipc_chat_end end;

	if (what % 5 == 4)
		keyd_recalls(what, how);
	if (chat == NULL || what % 5 == 4)
		return;
	memset(&wanted, 0, sizeof(wanted));
	memset(&code, 0, sizeof(code));
	wanted.key = code.key = end.key = chat->key;
	wanted.key.side = code.key.side = end.key.side = how & 1;
	switch (what % 5) {
	case 0:
		end.status = 1 + (how >> 1) % (STATUS_COUNT - 1);
		play_end(&end);
		break;
	case 1:
		if (chat->version == 0)
			break;
		chat->version++;
		play_ready(chat, how & 2, 0, CAUSE_AGE);
		break;
	case 2:
		from(PROCESS_KEYD, IPC_CHAT_WANTED, &wanted, NULL, 0);
		break;
	case 3:
		code.code = (how >> 1) % (CODE_COUNT + 1);
		from(PROCESS_KEYD, IPC_CHAT_ERROR, &code, NULL, 0);
		break;
	}
}

/* mesh is believed only where apps are: it may say anything. */
static void
mesh_speaks(void)
{
	uint8_t what = input_u8(feed), how = input_u8(feed);
	struct played_chat *chat = any_played(how >> 2);
	union {
		struct ipc_relay_ack ack;
		struct ipc_credit credit;
		struct ipc_presence presence;
		struct ipc_app_moved moved;
		struct ipc_found found;
		struct ipc_node_state state;
		struct ipc_chat_code code;
		struct ipc_tieline tieline;
	} say;
	static const enum ipc_type types[] = { IPC_RELAY_ACK, IPC_CREDIT,
		IPC_PRESENCE, IPC_APP_MOVED, IPC_FOUND, IPC_NODE_STATE,
		IPC_ROUTE_ERROR, IPC_TIELINE_UP, IPC_TIELINE_DOWN };
	enum ipc_type type = types[(what & 0x7f) % 9];
	size_t key = 0;

	memset(&say, 0, sizeof(say));
	if (what & 0x80) { /* about a chat, an app or node that is */
		if (type == IPC_TIELINE_UP || type == IPC_TIELINE_DOWN)
			memcpy(say.tieline.node_key, world.node_key, KEY_SIZE);
		else if (type == IPC_PRESENCE || type == IPC_APP_MOVED)
			memcpy(&say, apps[how % APPS]->key, KEY_SIZE);
		else if (chat != NULL) {
			say.code.key = chat->key;
			say.code.key.side = how & 1;
		}
		key = type == IPC_FOUND || type == IPC_NODE_STATE
			  ? 0
			  : sizeof(struct chat_key);
		if (key != 0 && type != IPC_RELAY_ACK && type != IPC_CREDIT &&
		    type != IPC_ROUTE_ERROR)
			key = KEY_SIZE;
	}
	input_bytes(feed, (uint8_t *)&say + key,
	    rows[type].size - key < 24 ? rows[type].size - key : 24);
	from(PROCESS_MESH, type, &say, NULL, 0);
}

static void
mesh_restarts(int up)
{
	struct sent *sent;
	struct ipc *mesh;

	if (!up && !(world.down & PROCESS_MESH)) {
		/* What it has not read is lost. */
		while ((sent = take_of(PROCESS_MESH)) != NULL)
			sent_free(sent);
		world.down |= PROCESS_MESH;
		world.hooks->door_down(PROCESS_MESH);
	} else if (up && (world.down & PROCESS_MESH)) {
		world.down &= ~(unsigned int)PROCESS_MESH;
		memset(played.watches, 0, sizeof(played.watches));
		alice.up = bob.up = carol.up = 0;
		mesh = proc_ipc(PROCESS_MESH);
		world.hooks->door_up(PROCESS_MESH, mesh);
	}
}

static void
control_asks(void)
{
	uint8_t what = input_u8(feed);
	struct ipc_show show = { .id = 9, .what = what >> 2 };
	struct ipc_request request = { .id = 8, .value = what >> 2 };

	switch (what % 4) {
	case 0:
		from(PROCESS_CONTROL, IPC_SHOW, &show, NULL, 0);
		break;
	case 1:
		from(PROCESS_CONTROL, IPC_METRICS_GET, &request, NULL, 0);
		break;
	case 2:
		from(PROCESS_CONTROL, IPC_NEW_CHATS, &request, NULL, 0);
		break;
	case 3:
		from(PROCESS_CONTROL, IPC_EVENTS_WANTED, &request, NULL, 0);
		break;
	}
	answer(PROCESS_CONTROL, 1000);
}

/* --- one input ----------------------------------------------------------- */

static void
configure(uint8_t how)
{
	struct config_limits *limits = &world.config.limits;

	world.config.app_compat_v1 = how & 1;
	limits->messages_per_second = how & 2 ? 2 : 0;
	limits->starts_per_minute = how & 4 ? 3 : 0;
	limits->session_idle = how & 8 ? 60 * CLOCK_SECOND : 0;
	limits->sessions = how & 0x10 ? 2 : 10;
	limits->unauthenticated = how & 0x20 ? 2 : 5;
	limits->chats_per_app = how & 0x40 ? 1 : 4;
	limits->chat_window_messages = how & 0x80 ? 2 : 16;
	limits->kept_messages = how & 0x20 ? 4096 : 1 << 20;
	world.hooks->configured(&world.config, 1);
}

static void
stream_slows(struct slot *slot, uint8_t how)
{
	struct rpc_stream *stream = slot->stream;

	if (stream == NULL)
		return;
	stream->queued = (size_t)(how >> 1) << (how & 0x80 ? 18 : 0);
	stream->congested = how & 1;
	if (stream->congested || !stream->waiting || stream->finished ||
	    stream->cancelled)
		return;
	stream->waiting = 0;
	session_writable_again(stream, stream->arg);
}

static void
step_stream(struct slot *slot, uint8_t what)
{
	switch (what % 12) {
	case 0:
		slot_open(slot);
		break;
	case 1:
		slot_connect(slot, apps[input_u8(feed) % APPS]);
		break;
	case 2:
	case 3:
		say_start(slot);
		break;
	case 4:
	case 5:
	case 6:
		say_message(slot);
		break;
	case 7:
		say_delete(slot);
		break;
	case 8:
		say_find(slot);
		break;
	case 9:
		say_raw(slot);
		break;
	case 10:
		if (slot->stream != NULL)
			stream_slows(slot, input_u8(feed));
		break;
	case 11:
		what = input_u8(feed);
		if (slot->stream == NULL || (what & 1) == 0)
			slot_close(slot);
		else if (!slot->ended) { /* the transport says so once */
			slot->ended = 1;
			session_half_closed(slot->stream, slot->stream->arg);
		}
		break;
	}
	hear_all();
}

static void
step_house(uint8_t what)
{
	switch (what % 12) {
	case 0:
	case 1:
		answer(~0U, 1000000);
		break;
	case 2:
		answer(PROCESS_KEYD, input_u8(feed));
		break;
	case 3:
		answer(PROCESS_MESH, input_u8(feed));
		break;
	case 4:
		timers_run((int64_t)input_u8(feed) * 100 * CLOCK_MS);
		break;
	case 5:
		timers_run((int64_t)input_u8(feed) * 60 * CLOCK_SECOND);
		break;
	case 6:
		keyd_speaks();
		break;
	case 7:
		mesh_speaks();
		break;
	case 8:
		mesh_restarts(input_u8(feed) & 1);
		break;
	case 9:
		control_asks();
		break;
	case 10:
		what = input_u8(feed);
		played.cut = what & 1;
		played.mute = what >> 1 & 1;
		played.unreachable = what >> 2 & 1;
		played.refuse = what & 8 ? (what >> 4) % CODE_COUNT : CODE_NONE;
		world.doors[PROCESS_KEYD].congested = what >> 7;
		if (!(what & 0x80))
			world.hooks->uncongested(PROCESS_KEYD);
		break;
	case 11:
		configure(input_u8(feed));
		break;
	}
	hear_all();
}

static struct side *
any_side(void)
{
	size_t cursor = 0;

	return (side_next(&cursor));
}

/* Everybody goes and every chat ends: the router is as it was. */
static void
finish(void)
{
	struct chat_key key;
	struct sent *sent;
	int i;

	for (i = 0; i < SLOTS; i++)
		slot_close(&slots[i]);
	FUZZ_CHECK(session_next(NULL) == NULL && session_count() == 0);
	while (any_side() != NULL) {
		key = any_side()->key;
		play_ended(
		    &key, any_side()->left ? STATUS_NONE : STATUS_DELETED);
		FUZZ_CHECK(side_find(&key) == NULL);
	}
	mesh_restarts(1);
	memset(&played.chats, 0, sizeof(played.chats));
	played.cut = played.mute = 0;
	played.refuse = CODE_NONE;
	while ((sent = take()) != NULL) {
		check_sent(sent);
		if (sent->to == PROCESS_MESH)
			play_one(sent);
		sent_free(sent);
	}
	/* It announces nobody and watches nobody. */
	for (i = 0; i < APPS; i++)
		FUZZ_CHECK(!apps[i]->up && app_find(apps[i]->key) == NULL);
	for (i = 0; i < 16; i++)
		FUZZ_CHECK(!played.watches[i].used);
	FUZZ_CHECK(TAILQ_EMPTY(&world.out));
	FUZZ_CHECK(timers_pending() <= 2); /* the tick, flow's recheck */
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(11);
	world_begin();
	fuzz_quiet();
	world.hooks->configured(&world.config, 0);
	world.hooks->go();
	on_chat_ended = ended;
	said_clear();
	return (0);
}

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t
heap(void)
{
	return (__sanitizer_get_current_allocated_bytes == NULL
		    ? 0
		    : __sanitizer_get_current_allocated_bytes());
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t before;
	struct input input = { data, size };
	uint8_t what;
	int i;

	fuzz_seed(11);
	feed = &input;
	memset(metrics, 0, sizeof(metrics));
	memset(&played, 0, sizeof(played));
	world.doors[PROCESS_KEYD].congested = 0;
	router.no_new_chats = 0;
	service_paused = 0;
	said_clear();
	configure(input_u8(&input));
	before = heap();
	for (i = 0; i < STEPS && input.left > 0; i++) {
		what = input_u8(&input);
		if (what & 0x80)
			step_house(what & 0x7f);
		else
			step_stream(&slots[what / 12 % SLOTS], what);
	}
	finish();
	said_clear();
	FUZZ_CHECK(heap() <= before + HEAP_ROOM);
	return (0);
}
