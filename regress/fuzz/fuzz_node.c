/* Tests only. See fuzz_node.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/table.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_node.h"
#include "regress/fuzz/fuzz_store.h"

/* --- wires -------------------------------------------------------------- */

void
wire_push(struct wire *wire, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	struct wire_frame *frame, lost;

	if (wire->count == NODE_WIRE) {
		wire_take(wire, 0, &lost);
		free(lost.tail);
	}
	frame = &wire->frames[wire->count++];
	memset(frame, 0, sizeof(*frame));
	frame->type = type;
	FUZZ_CHECK(ipc_payload_size(type) <= sizeof(frame->payload));
	memcpy(&frame->payload, payload, ipc_payload_size(type));
	frame->tail_length = tail_length;
	FUZZ_CHECK((frame->tail = malloc(tail_length + 1)) != NULL);
	if (tail != NULL)
		memcpy(frame->tail, tail, tail_length);
}

void
wire_take(struct wire *wire, size_t index, struct wire_frame *frame)
{
	*frame = wire->frames[index];
	wire->count--;
	memmove(&wire->frames[index], &wire->frames[index + 1],
	    (wire->count - index) * sizeof(*frame));
}

void
wire_clear(struct wire *wire)
{
	while (wire->count > 0)
		free(wire->frames[--wire->count].tail);
}

/* --- the truth ---------------------------------------------------------- */

struct said {
	uint8_t hash[KEY_SIZE];
	unsigned int sealed, opened;
};

static struct table said;
static struct table chains; /* every chain key that sealed */
static int ready;

static void
table_empty(struct table *table)
{
	size_t cursor = 0;
	void *value;

	while ((value = table_next(table, &cursor)) != NULL)
		free(value);
	table_free(table);
}

void
truth_reset(void)
{
	if (ready) {
		table_empty(&said);
		table_empty(&chains);
	}
	ready = 1;
	table_init(&said, KEY_SIZE);
	table_init(&chains, KEY_SIZE);
}

static struct said *
truth_find(const uint8_t handle[KEY_SIZE], uint8_t side, uint64_t sequence,
    const void *payload, size_t length, int make)
{
	crypto_generichash_state state;
	struct said *item;
	uint8_t hash[KEY_SIZE];

	(void)crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
	(void)crypto_generichash_update(&state, handle, KEY_SIZE);
	(void)crypto_generichash_update(&state, &side, 1);
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)&sequence, sizeof(sequence));
	(void)crypto_generichash_update(&state, payload, length);
	(void)crypto_generichash_final(&state, hash, KEY_SIZE);
	if ((item = table_get(&said, hash)) != NULL || !make)
		return (item);
	FUZZ_CHECK((item = calloc(1, sizeof(*item))) != NULL);
	memcpy(item->hash, hash, KEY_SIZE);
	FUZZ_CHECK(table_put(&said, item->hash, item) == 0);
	return (item);
}

void
truth_sealed(const struct chat_key *sender, uint64_t sequence,
    const void *payload, size_t length)
{
	truth_find(sender->handle, sender->side, sequence, payload, length, 1)
	    ->sealed++;
}

void
truth_opened(const struct chat_key *receiver, uint64_t sequence,
    const void *payload, size_t length)
{
	struct said *item = truth_find(receiver->handle,
	    (uint8_t)(receiver->side ^ 1), sequence, payload, length, 0);

	FUZZ_CHECK(item != NULL);
	item->opened++;
	FUZZ_CHECK(item->opened <= item->sealed);
}

uint64_t __real_ratchet_seal(struct ratchet *ratchet, uint64_t sequence,
    const uint8_t *in, size_t length, uint8_t *out);
uint64_t __wrap_ratchet_seal(struct ratchet *ratchet, uint64_t sequence,
    const uint8_t *in, size_t length, uint8_t *out);

/* No chain key may seal twice, whatever the counter says. */
uint64_t
__wrap_ratchet_seal(struct ratchet *ratchet, uint64_t sequence,
    const uint8_t *in, size_t length, uint8_t *out)
{
	uint8_t *chain;

	if (ready) {
		FUZZ_CHECK(ratchet->version != 0);
		FUZZ_CHECK(!sodium_is_zero(ratchet->secrets->send, KEY_SIZE));
		FUZZ_CHECK((chain = malloc(KEY_SIZE)) != NULL);
		(void)crypto_generichash(
		    chain, KEY_SIZE, ratchet->secrets->send, KEY_SIZE, NULL, 0);
		FUZZ_CHECK(table_get(&chains, chain) == NULL);
		FUZZ_CHECK(table_put(&chains, chain, chain) == 0);
	}
	return (__real_ratchet_seal(ratchet, sequence, in, length, out));
}

/* --- apps and their messages -------------------------------------------- */

void
app_attest(const struct app *app, const char *node_id,
    const uint8_t node_key[KEY_SIZE], int64_t at, struct attestation *out)
{
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	size_t length;

	memset(out, 0, sizeof(*out));
	out->kind = ATTESTATION_V2;
	memcpy(out->app_key, app->key, KEY_SIZE);
	memcpy(out->node_key, node_key, KEY_SIZE);
	memcpy(out->node_id, node_id, strlen(node_id));
	out->issued_at = at;
	out->expires_at = at + ATTESTATION_MAX_AGE;
	length = attestation_signed_bytes(out, bytes);
	(void)crypto_sign_detached(
	    out->signature, NULL, bytes, length, app->secret);
}

size_t
node_payload(const struct chat_key *key, uint64_t sequence,
    uint8_t out[NODE_PAYLOAD_MAX])
{
	size_t length = 8 + 8 + 1 + (size_t)(sequence * 7 % 64);

	memset(out, 0, NODE_PAYLOAD_MAX);
	memcpy(out, NODE_MARKER, 8);
	memcpy(out + 8, key->handle, 8);
	out[16] = key->side;
	return (length);
}

/* --- the engine --------------------------------------------------------- */

static void
node_router(struct node *node, enum ipc_type type, const void *payload)
{
	const struct ipc_chat_ready *at = payload;
	struct route *route;

	if (ipc_payload_size(type) < sizeof(struct chat_key) ||
	    (route = node_find(node, payload)) == NULL)
		return;
	switch (type) {
	case IPC_CHAT_READY:
		if (at->first) {
			route->delivered = route->acked = 0;
			route->next = 1;
		}
		route->ready = 1;
		route->ended = 0;
		route->version = at->version;
		if (!at->resumed)
			break;
		if (at->peer_acked > route->delivered)
			route->delivered = at->peer_acked;
		if (at->peer_delivered > route->acked)
			route->acked = at->peer_delivered;
		if (route->next <= route->acked)
			route->next = route->acked + 1;
		break;
	case IPC_CHAT_ENDED:
		route->ready = 0;
		route->ended = 1;
		route->left = ((const struct ipc_chat_end *)payload)->status ==
			      STATUS_NONE;
		break;
	case IPC_CHAT_ERROR:
		route->error = ((const struct ipc_chat_code *)payload)->code;
		break;
	default:
		break;
	}
}

static void
node_send(void *arg, enum process to, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	struct node *node = arg;

	FUZZ_CHECK(tail_length <= 16384);
	if (to == PROCESS_ROUTER)
		node_router(node, type, payload);
	else if (to == PROCESS_MESH)
		wire_push(&node->queued, type, payload, tail, tail_length);
}

static uint8_t *
node_send_tail(void *arg, enum process to, enum ipc_type type,
    const void *payload, size_t tail_length)
{
	struct node *node = arg;

	FUZZ_CHECK(tail_length <= sizeof(node->opened));
	if (to == PROCESS_ROUTER) {
		FUZZ_CHECK(type == IPC_OPENED);
		node->opened_length = tail_length;
		return (node->opened);
	}
	wire_push(&node->queued, type, payload, NULL, tail_length);
	return (node->queued.frames[node->queued.count - 1].tail);
}

static void
node_sign(void *arg, const uint8_t *bytes, size_t length,
    uint8_t signature[SIGNATURE_SIZE])
{
	(void)crypto_sign_detached(
	    signature, NULL, bytes, length, ((struct node *)arg)->secret);
}

static void
node_random(void *arg, void *bytes, size_t length)
{
	(void)arg;
	randombytes_buf(bytes, length);
}

void
node_init(struct node *node, const char *node_id)
{
	size_t i;

	memset(node, 0, sizeof(*node));
	node->node_id = node_id;
	(void)snprintf(node->path, sizeof(node->path), "/%s", node_id);
	(void)crypto_sign_keypair(node->key, node->secret);
	for (i = 0; i < NODE_APPS; i++)
		(void)crypto_sign_keypair(
		    node->apps[i].key, node->apps[i].secret);
	node->config.rekey.limit = 3;
	node->config.rekey.window = 30 * CLOCK_SECOND;
	node->config.rekey.grace = 30 * CLOCK_SECOND;
	node->config.rekey.after_time = 600 * CLOCK_SECOND;
	node->config.rekey.after_messages = 50;
	node->config.rekey.key_lifetime = 3600 * CLOCK_SECOND;
	node->config.keystore.chat_idle = 7200 * CLOCK_SECOND;
}

int
node_load(struct node *node)
{
	struct chats_io io = { node_send, node_send_tail, node_sign,
		node_random, node };
	enum store_error error;

	node->store = store_open(node->path, &error);
	FUZZ_CHECK(node->store != NULL);
	FUZZ_CHECK(store_unlock(node->store, "pass", 4, 1, 1) == STORE_OK);
	node->chats = chats_new(&io, node->store, &node->config, node->key,
	    ++node->generation, fuzz_wall);
	if (node->chats != NULL)
		return (0);
	store_close(node->store);
	return (-1);
}

void
node_start(struct node *node)
{
	struct chat *chat;
	size_t i;

	FUZZ_CHECK(node_load(node) == 0);
	for (i = 0; i < NODE_CHATS; i++) {
		node->routes[i].ready = 0;
		if ((chat = chat_find(node->chats, &node->routes[i].key)) ==
		    NULL)
			continue;
		node->routes[i].next = chat->accepted + 1;
		node->routes[i].acked = chat->acked;
		if (chat->delivered > node->routes[i].delivered)
			node->routes[i].delivered = chat->delivered;
	}
}

void
node_stop(struct node *node)
{
	chats_free(node->chats);
	store_close(node->store);
	node->chats = NULL;
	node->store = NULL;
	wire_clear(&node->queued);
}

void
node_route(struct node *node, size_t index, const char *chat_id,
    const struct app *local, const struct app *peer)
{
	struct route *route = &node->routes[index];

	memset(route, 0, sizeof(*route));
	route->local = local;
	route->peer = peer;
	route->next = 1;
	memcpy(route->chat_id, chat_id, strlen(chat_id));
	FUZZ_CHECK(
	    chat_key_make(&route->key, chat_id, local->key, peer->key) == 0);
}

struct route *
node_find(struct node *node, const struct chat_key *key)
{
	size_t i;

	for (i = 0; i < NODE_CHATS; i++)
		if (node->routes[i].local != NULL &&
		    memcmp(&node->routes[i].key, key, sizeof(*key)) == 0)
			return (&node->routes[i]);
	return (NULL);
}

void
node_start_fill(const struct route *route, const char *node_id,
    const uint8_t node_key[KEY_SIZE], const char *peer_id,
    const uint8_t peer_key[KEY_SIZE], uint32_t version, uint32_t flags,
    struct ipc_chat_start *start)
{
	memset(start, 0, sizeof(*start));
	start->key = route->key;
	memcpy(start->chat_id, route->chat_id, sizeof(route->chat_id));
	app_attest(route->local, node_id, node_key, fuzz_wall, &start->local);
	app_attest(route->peer, peer_id, peer_key, fuzz_wall, &start->peer);
	start->version = version;
	start->flags = flags;
	start->delivered = route->delivered;
	start->acked = route->acked;
}

void
node_say(struct node *node, struct route *route, uint64_t sequence)
{
	struct ipc_seal seal = { .key = route->key, .sequence = sequence };
	uint8_t payload[NODE_PAYLOAD_MAX];
	size_t length = node_payload(&route->key, sequence, payload);

	chats_set_now(node->chats, fuzz_wall);
	truth_sealed(&route->key, sequence, payload, length);
	chats_seal(node->chats, &seal, payload, length);
}

/* --- what comes in ------------------------------------------------------ */

static void
node_opened(struct node *node, const struct ipc_sealed *sealed)
{
	struct ipc_chat_progress progress = { .key = sealed->key };
	struct route *route = node_find(node, &sealed->key);

	truth_opened(
	    &sealed->key, sealed->sequence, node->opened, node->opened_length);
	if (route == NULL)
		return;
	if (sealed->sequence == route->delivered + 1)
		route->delivered++;
	else if (sealed->sequence <= route->delivered)
		route->repeats++;
	else
		route->gaps++;
	FUZZ_CHECK(!node->strict || route->gaps == 0);
	progress.delivered = route->delivered;
	progress.acked = route->acked;
	chats_progress(node->chats, &progress);
}

void
node_deliver(struct node *node, struct wire_frame *frame, const char *from_id,
    const uint8_t from_key[KEY_SIZE], const struct app *peer)
{
	struct ipc_setup *setup = &frame->payload.setup;

	chats_set_now(node->chats, fuzz_wall);
	/* The key is the first of each. */
	frame->payload.sealed.key.side ^= 1;
	switch (frame->type) {
	case IPC_SETUP_OUT:
		memcpy(setup->node, from_key, KEY_SIZE);
		setup->local_issued = fuzz_wall;
		if (peer != NULL)
			app_attest(
			    peer, from_id, from_key, fuzz_wall, &setup->peer);
		chats_setup_in(
		    node->chats, setup, frame->tail, frame->tail_length);
		break;
	case IPC_TEARDOWN_OUT:
		memcpy(frame->payload.teardown.node, from_key, KEY_SIZE);
		chats_teardown_in(node->chats, &frame->payload.teardown);
		break;
	case IPC_SEALED:
		node->opened_length = SIZE_MAX;
		chats_open(node->chats, &frame->payload.sealed, frame->tail,
		    frame->tail_length);
		if (node->opened_length != SIZE_MAX)
			node_opened(node, &frame->payload.sealed);
		break;
	default:
		break;
	}
}

int
node_commit(struct node *node)
{
	struct wire_frame frame;

	if (chats_commit(node->chats) == -1)
		return (-1);
	while (node->queued.count > 0) {
		wire_take(&node->queued, 0, &frame);
		wire_push(&node->wire, frame.type, &frame.payload, frame.tail,
		    frame.tail_length);
		free(frame.tail);
	}
	return (0);
}

void
node_tick(struct node *node)
{
	chats_set_now(node->chats, fuzz_wall);
	chats_tick(node->chats);
}
