/*
 * Test. The chat side of a simulated node: what router, keyd and mesh have
 * around the cores, for one app at each end of a chat, without their doors.
 * keyd's engine runs as it is, with real keys and a store that survives the
 * node; the router's core of each chat does not.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/ipc/codes.h"
#include "regress/sim/house.h"

#define TRY_AGAIN (3 * SECOND)
#define MISSING   SECOND
#define WINDOW    16 /* messages */
#define TICK      (500 * MS)

/* A frame between two houses: what keyd or the router sent. */
struct frame {
	uint32_t type; /* enum ipc_type */
	uint32_t length;
	union {
		struct ipc_setup setup;
		struct ipc_sealed sealed;
		struct ipc_teardown teardown;
		struct ipc_setup_refused refused;
		struct ipc_relay_ack ack;
		struct chat_key key; /* the first of each */
	} payload;
	uint8_t tail[];
};

/* --- sides --------------------------------------------------------------- */

/* The end that a side of a node is of; the other one of the talk. */
static struct sim_end *
side_end(struct sim_node *node, const struct sim_side *side, int other)
{
	size_t index = (size_t)(side - node->house->sides);

	return (&node->sim->talks[index / 2]
		     .ends[(index & 1) ^ (size_t)(other != 0)]);
}

static const char *
side_chat(struct sim_node *node, const struct sim_side *side)
{
	return (node->sim->talks[(side - node->house->sides) / 2].chat_id);
}

/* The app is connected here, and the node stands. */
static int
side_here(struct sim_node *node, const struct sim_side *side)
{
	return (side_end(node, side, 0)->node == node->index);
}

static struct sim_side *
side_find(struct sim_node *node, const struct chat_key *key)
{
	struct sim_house *house = node->house;
	uint32_t i;

	for (i = 0; i < 2 * node->sim->talk_count; i++)
		if (memcmp(&house->sides[i].key, key, sizeof(*key)) == 0)
			return (&house->sides[i]);
	sim_fail(node->sim, "node %u has no such chat", node->index);
	return (&house->sides[0]);
}

/* --- what keyd sends ----------------------------------------------------- */

/* Kept until keyd's commit. */
static uint8_t *
house_queue(struct sim_house *house, uint32_t peer, enum ipc_type type,
    const void *payload, const void *tail, size_t length)
{
	struct sim_blob *blob;
	struct frame frame = { .type = (uint32_t)type };
	uint8_t *to;

	frame.length = (uint32_t)length;
	memcpy(&frame.payload, payload, ipc_payload_size(type));
	blob = calloc(1, sizeof(*blob) + sizeof(peer) + sizeof(frame) + length);
	if (blob == NULL)
		err(1, "calloc");
	blob->length = sizeof(peer) + sizeof(frame) + length;
	memcpy(blob->bytes, &peer, sizeof(peer));
	memcpy(blob->bytes + sizeof(peer), &frame, sizeof(frame));
	to = blob->bytes + sizeof(peer) + sizeof(frame);
	if (tail != NULL)
		memcpy(to, tail, length);
	*house->end = blob;
	house->end = &blob->next;
	return (to);
}

/* Whoever has the other end; its own node when that is nowhere. */
static uint32_t
side_peer(struct sim_node *node, const struct sim_side *side)
{
	return (side_end(node, side, 1)->node);
}

static void
router_code(struct sim_node *node, struct sim_side *side, uint32_t code)
{
	if (code == CODE_RATCHET_DESYNC || code == CODE_RATCHET_FAILED)
		sim_fail(node->sim, "a ratchet diverged");
	core_suspend(&side->core);
	side->try_at = node->sim->now + TRY_AGAIN;
}

static void
router_record(struct sim_side *side, const struct ipc_chat_record *record)
{
	side->known = 1;
	if (record->version == 0)
		core_offered(&side->core, 0);
	else
		core_restore(&side->core, record->version, record->accepted,
		    record->acked, record->delivered);
}

static void
house_router(struct sim_node *node, enum ipc_type type, const void *payload)
{
	struct sim_side *side;

	if (type == IPC_CHAT_RECORDS_END)
		return;
	side = side_find(node, payload);
	switch (type) {
	case IPC_CHAT_RECORD:
		router_record(side, payload);
		break;
	case IPC_CHAT_READY:
		side->known = 1;
		core_ready(&side->core, payload);
		core_attach(&side->core, side_here(node, side));
		side_end(node, side, 0)->readies++;
		break;
	case IPC_CHAT_ERROR:
		router_code(
		    node, side, ((const struct ipc_chat_code *)payload)->code);
		break;
	case IPC_CHAT_ENDED:
		core_gone(&side->core);
		side_end(node, side, 0)->ended++;
		break;
	default: /* offers: the app asks by itself */
		break;
	}
}

static void
house_send(void *arg, enum process to, enum ipc_type type, const void *payload,
    const void *tail, size_t length)
{
	struct sim_node *node = arg;
	uint32_t peer;

	if (to == PROCESS_ROUTER)
		house_router(node, type, payload);
	if (to != PROCESS_MESH)
		return;
	peer = side_peer(node, side_find(node, payload));
	if (peer != UINT32_MAX)
		(void)house_queue(
		    node->house, peer, type, payload, tail, length);
}

static uint8_t *
house_send_tail(void *arg, enum process to, enum ipc_type type,
    const void *payload, size_t length)
{
	struct sim_node *node = arg;
	uint32_t peer;

	if (to == PROCESS_ROUTER) {
		node->house->opened_length = length;
		return (length <= sizeof(node->house->opened)
			    ? node->house->opened
			    : NULL);
	}
	peer = side_peer(node, side_find(node, payload));
	return (
	    house_queue(node->house, peer == UINT32_MAX ? node->index : peer,
		type, payload, NULL, length));
}

static void
house_sign(void *arg, const uint8_t *bytes, size_t length,
    uint8_t signature[SIGNATURE_SIZE])
{
	const struct sim_node *node = arg;

	(void)crypto_sign_detached(
	    signature, NULL, bytes, length, node->house->secret);
}

static void
house_random(void *arg, void *bytes, size_t length)
{
	(void)arg;
	randombytes_buf(bytes, length); /* seeded: sim_init() */
}

/* --- life ---------------------------------------------------------------- */

static void
house_make(struct sim_node *node)
{
	struct sim_house *house = calloc(1, sizeof(*house));

	if (house == NULL)
		err(1, "calloc");
	node->house = house;
	(void)crypto_sign_keypair(house->key, house->secret);
	(void)snprintf(
	    house->node_id, sizeof(house->node_id), "node-%u", node->index);
	house->config.rekey.limit = 3;
	house->config.rekey.window = 30 * SECOND;
	house->config.rekey.grace = 30 * SECOND;
	house->config.rekey.after_time = 120 * SECOND;
	house->config.rekey.after_messages = 40;
	house->config.rekey.key_lifetime = 24 * 3600 * SECOND;
	house->config.keystore.chat_idle = 24 * 3600 * SECOND;
	house->heard = calloc(node->sim->count, sizeof(*house->heard));
	if (house->heard == NULL)
		err(1, "calloc");
}

static void
sides_make(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct sim_side *side;
	uint32_t i;

	node->house->sides =
	    calloc(2 * sim->talk_count + 1, sizeof(*node->house->sides));
	if (node->house->sides == NULL)
		err(1, "calloc");
	for (i = 0; i < 2 * sim->talk_count; i++) {
		side = &node->house->sides[i];
		core_init(&side->core, WINDOW, 1 << 20);
		if (chat_key_make(&side->key, sim->talks[i / 2].chat_id,
			side_end(node, side, 0)->key,
			side_end(node, side, 1)->key) == -1)
			errx(1, "chat_key_make");
	}
}

void
sim_house_start(struct sim_node *node)
{
	struct chats_io io = { house_send, house_send_tail, house_sign,
		house_random, node };
	struct sim_house *house;
	enum store_error error;

	if (node->sim->talks == NULL)
		return;
	if (node->house == NULL)
		house_make(node);
	house = node->house;
	house->end = &house->out;
	sides_make(node);
	house->streams = sim_streams_make(node->sim->count);
	house->store = store_open(house->node_id, &error);
	if (house->store == NULL ||
	    store_unlock(house->store, "pass", 4, 1, 1) != STORE_OK)
		errx(1, "store");
	house->chats = chats_new(&io, house->store, &house->config, house->key,
	    node->incarnation, sim_wall(node));
	if (house->chats == NULL)
		err(1, "chats_new");
	chats_report(house->chats);
	sim_event(node->sim, node->sim->now, SIM_EVENT_CHATS, node, 0, NULL);
}

void
sim_house_stop(struct sim_node *node)
{
	struct sim_house *house = node->house;
	struct sim_blob *blob;
	uint32_t i;

	if (house == NULL)
		return;
	chats_free(house->chats);
	store_close(house->store);
	sim_streams_free(house->streams, node->sim->count);
	for (i = 0; i < 2 * node->sim->talk_count; i++)
		core_free(&house->sides[i].core);
	free(house->sides);
	while ((blob = house->out) != NULL) {
		house->out = blob->next;
		free(blob);
	}
}

/* --- the router ---------------------------------------------------------- */

/* Ask keyd for the chat, or to go on with it, where the peer's app is. */
static void
side_start(struct sim_node *node, struct sim_side *side, uint32_t peer)
{
	struct sim_end *end = side_end(node, side, 0);
	struct sim_end *other = side_end(node, side, 1);
	struct ipc_chat_start start = { .key = side->key };

	side->try_at = node->sim->now + TRY_AGAIN;
	if (other->node != peer)
		return; /* its attestation went with it */
	(void)strlcpy(
	    start.chat_id, side_chat(node, side), sizeof(start.chat_id));
	sim_end_attest(node->sim, end, &start.local);
	sim_end_attest(node->sim, other, &start.peer);
	start.flags = side->core.version != 0 ? CHAT_RESUME : 0;
	start.delivered = side->core.written;
	start.acked = side->core.acked;
	if (start.flags == 0)
		core_offered(&side->core, 0);
	core_suspend(&side->core);
	chats_set_now(node->house->chats, sim_wall(node));
	chats_start(node->house->chats, &start, NULL, 0);
}

static void
side_try(struct sim_node *node, struct sim_side *side)
{
	uint32_t peer;

	if (!side_here(node, side) || side->core.state == CHAT_STATE_GONE ||
	    node->sim->now < side->try_at)
		return;
	if (side->core.state == CHAT_STATE_READY && !side->core.missing)
		return;
	peer = sim_app_where(node, side_end(node, side, 1)->app);
	if (peer == UINT32_MAX)
		node->house->asked++;
	else if (sim_stream_is_up(node, peer))
		side_start(node, side, peer);
	else
		sim_stream_want(node, peer);
}

/* What the app says, as far as the node takes it; what it said before and
 * the node does not know any more, it says again. */
static void
side_say(struct sim_node *node, struct sim_side *side)
{
	struct sim_end *end = side_end(node, side, 0);
	struct chat_kept about = { 0 };
	uint8_t payload[128];
	uint64_t sequence;
	size_t length;

	while ((sequence = side->core.accepted + 1) <= end->wanted) {
		length = sim_end_payload(end, sequence, payload);
		if (core_accept(&side->core, sequence, payload, length, NULL, 0,
			&about) != CHAT_ACCEPTED)
			break;
	}
}

/* The app is given a message. */
static void
side_hear(struct sim_node *node, struct sim_side *side, uint64_t sequence,
    const void *payload, size_t length)
{
	struct sim_end *end = side_end(node, side, 0);
	uint8_t expected[128];

	if (sequence != end->heard + 1 ||
	    length !=
		sim_end_payload(side_end(node, side, 1), sequence, expected) ||
	    memcmp(payload, expected, length) != 0)
		end->wrong++;
	end->heard = sequence;
	core_put(&side->core);
	core_written(&side->core, sequence);
}

static void
side_acks(struct sim_node *node, struct sim_side *side)
{
	struct sim_end *end = side_end(node, side, 0);
	struct chat_kept *kept;
	uint64_t sequence;

	while (core_next_ack(&side->core, &sequence, &kept)) {
		if (sequence > end->acked)
			end->acked = sequence;
		core_told(&side->core);
	}
}

/* All that a side has to do now; 1 when there was something for keyd. */
static int
side_flow(struct sim_node *node, struct sim_side *side)
{
	struct sim_house *house = node->house;
	struct ipc_chat_progress progress = { .key = side->key };
	struct ipc_relay_ack ack = { .key = side->key };
	struct ipc_seal seal = { .key = side->key };
	struct chat_kept *kept;
	uint64_t sequence;
	int busy = 0;

	side_say(node, side);
	while ((kept = core_next_seal(&side->core, &seal.sequence)) != NULL) {
		chats_seal(house->chats, &seal, kept->bytes, kept->length);
		busy = 1;
	}
	while ((kept = core_next_delivery(&side->core, &sequence)) != NULL)
		side_hear(node, side, sequence, kept->bytes, kept->length);
	side_acks(node, side);
	if (core_take_progress(&side->core)) {
		progress.delivered = side->core.written;
		progress.acked = side->core.acked;
		chats_progress(house->chats, &progress);
		busy = 1;
	}
	if (core_take_relay(&side->core, &ack.sequence) &&
	    side_peer(node, side) != UINT32_MAX)
		(void)house_queue(
		    house, side_peer(node, side), IPC_RELAY_ACK, &ack, NULL, 0);
	return (busy);
}

static void
house_flush(struct sim_node *node)
{
	struct sim_house *house = node->house;
	struct sim_blob *blob;
	uint32_t peer;

	if (chats_commit(house->chats) == -1)
		errx(1, "chats_commit");
	while ((blob = house->out) != NULL) {
		house->out = blob->next;
		if (house->out == NULL)
			house->end = &house->out;
		memcpy(&peer, blob->bytes, sizeof(peer));
		sim_stream_send(node, peer, blob->bytes + sizeof(peer),
		    blob->length - sizeof(peer));
		free(blob);
	}
}

void
sim_house_drain(struct sim_node *node)
{
	uint32_t i;
	int busy = 1;

	if (node->house == NULL || node->house->chats == NULL)
		return;
	chats_set_now(node->house->chats, sim_wall(node));
	while (busy) {
		busy = 0;
		for (i = 0; i < 2 * node->sim->talk_count; i++)
			if (side_here(node, &node->house->sides[i]))
				busy |= side_flow(node, &node->house->sides[i]);
		house_flush(node);
	}
}

void
sim_house_tick(struct sim_node *node)
{
	struct sim_side *side;
	uint32_t i;

	sim_streams_tick(node);
	chats_set_now(node->house->chats, sim_wall(node));
	chats_tick(node->house->chats);
	for (i = 0; i < 2 * node->sim->talk_count; i++) {
		side = &node->house->sides[i];
		if (side->core.missing && side->try_at == 0)
			side->try_at = node->sim->now + MISSING;
		side_try(node, side);
	}
	sim_event(
	    node->sim, node->sim->now + TICK, SIM_EVENT_CHATS, node, 0, NULL);
}

/* --- streams ------------------------------------------------------------- */

/* Frames were lost with the stream before: every chat is gone on with. */
void
sim_house_up(struct sim_node *node, uint32_t peer)
{
	struct sim_side *side;
	uint32_t i;

	for (i = 0; i < 2 * node->sim->talk_count; i++) {
		side = &node->house->sides[i];
		if (!side_here(node, side) || side_peer(node, side) != peer)
			continue;
		core_suspend(&side->core);
		side->try_at = 0;
		side_try(node, side);
	}
}

void
sim_house_down(struct sim_node *node, uint32_t peer)
{
	struct sim_side *side;
	uint32_t i;

	for (i = 0; i < 2 * node->sim->talk_count; i++) {
		side = &node->house->sides[i];
		if (side_peer(node, side) == peer) {
			core_suspend(&side->core);
			side->try_at = 0;
		}
	}
}

static void
house_open(struct sim_node *node, struct sim_side *side, struct frame *frame,
    const uint8_t *tail)
{
	struct sim_house *house = node->house;
	enum chat_verdict verdict;

	house->opened_length = SIZE_MAX;
	chats_open(house->chats, &frame->payload.sealed, tail, frame->length);
	if (house->opened_length == SIZE_MAX)
		return;
	verdict = core_opened(&side->core, frame->payload.sealed.sequence,
	    house->opened, house->opened_length, 1);
	if (verdict == CHAT_DELIVER)
		side_hear(node, side, frame->payload.sealed.sequence,
		    house->opened, house->opened_length);
}

/* What mesh and router make of a frame from peer. */
void
sim_house_frame(
    struct sim_node *node, uint32_t peer, const uint8_t *bytes, size_t length)
{
	const uint8_t *node_key = node->sim->nodes[peer].house->key;
	struct sim_house *house = node->house;
	struct sim_side *side;
	struct sim_end *other;
	struct frame frame;

	(void)length;
	memcpy(&frame, bytes, sizeof(frame));
	bytes += sizeof(frame);
	frame.payload.key.side ^= 1; /* ours, not theirs */
	side = side_find(node, &frame.payload.key);
	other = side_end(node, side, 1);
	chats_set_now(house->chats, sim_wall(node));
	switch (frame.type) {
	case IPC_SETUP_OUT:
		if (other->node != peer)
			break; /* no attestation says that it is there */
		memcpy(frame.payload.setup.node, node_key, KEY_SIZE);
		sim_end_attest(node->sim, other, &frame.payload.setup.peer);
		chats_setup_in(
		    house->chats, &frame.payload.setup, bytes, frame.length);
		break;
	case IPC_SEALED:
		house_open(node, side, &frame, bytes);
		break;
	case IPC_TEARDOWN_OUT:
		memcpy(frame.payload.teardown.node, node_key, KEY_SIZE);
		chats_teardown_in(house->chats, &frame.payload.teardown);
		break;
	case IPC_SETUP_REFUSED:
		router_code(node, side, frame.payload.refused.code);
		break;
	case IPC_RELAY_ACK:
		core_acknowledged(&side->core, frame.payload.ack.sequence);
		break;
	}
}
