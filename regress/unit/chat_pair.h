/*
 * For tests of keyd: two nodes in one process, each a chat engine on a store
 * of its own, with small stand-ins for router and mesh between them. Frames
 * travel in order, may be lost all at once (a stream broke) or be doubled.
 */
#ifndef REGRESS_UNIT_CHAT_PAIR_H
#define REGRESS_UNIT_CHAT_PAIR_H

#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <sodium.h>

#include "keyd/chat.h"
#include "keyd/store.h"
#include "regress/unit/folder.h"

#define PAIR_WIRE 512

static const uint8_t no_instance[INSTANCE_SIZE];

enum frame_kind {
	FRAME_SETUP,
	FRAME_SEALED,
	FRAME_TEARDOWN,
	FRAME_REFUSED,
	FRAME_ACK
};

struct frame {
	enum frame_kind kind;
	struct ipc_setup setup;
	struct ipc_sealed sealed;
	struct ipc_teardown teardown;
	struct ipc_setup_refused refused;
	uint64_t delivered; /* FRAME_ACK */
	uint8_t tail[64];
	size_t tail_length;
};

struct node {
	struct pair *pair;
	int index; /* 0: app lo is here, 1: hi */
	char folder[PATH_MAX];
	struct config config;
	uint8_t key[KEY_SIZE], secret[64];
	uint8_t app[KEY_SIZE], app_secret[64];
	char node_id[NODE_ID_SIZE];
	int64_t attested; /* the app, as its router and mesh know */
	uint64_t generation;
	struct store *store;
	struct chats *chats;

	/* To this node. */
	struct frame wire[PAIR_WIRE];
	size_t first, count;

	/* Queued by the engine, not flushed before the commit. */
	struct frame out[PAIR_WIRE];
	size_t out_count;

	/* The router's side of the one chat. */
	int ready;     /* an epoch is in force */
	uint64_t next; /* sequence to send */
	uint64_t acked;
	uint64_t delivered; /* to the app, in order */
	uint64_t again;     /* to send again from; 0 */
	uint64_t doubles, gaps;
	uint8_t opened[64];
	size_t opened_length;

	/* What was heard last, and how often. */
	struct ipc_chat_ready last_ready;
	struct ipc_chat_code last_error;
	struct ipc_chat_offer last_offer;
	struct ipc_chat_end last_end;
	struct ipc_chat_record last_record;
	struct ipc_setup_refused last_refused;
	struct ipc_teardown last_teardown;
	struct ipc_setup last_setup; /* sent */
	int readies, firsts, errors, offers, ends, refusals;
	int teardowns, records, rows, setups, resets;
	int unties; /* mesh need not keep a tieline */
	uint8_t offer_tail[64];
	size_t offer_tail_length;
};

struct pair {
	struct node nodes[2];
	int64_t now;
	int unwritten; /* the stores are left out */
	char chat_id[CHAT_ID_SIZE];
};

static inline struct node *
pair_other(struct node *node)
{
	return (&node->pair->nodes[1 - node->index]);
}

/* The chat's key as node sees it. */
static inline struct chat_key
pair_key(struct pair *pair, int index)
{
	struct chat_key key;

	ck_assert_int_eq(
	    chat_key_make(&key, pair->chat_id, pair->nodes[index].app,
		pair->nodes[1 - index].app),
	    0);
	return (key);
}

static inline struct chat *
pair_chat(struct pair *pair, int index)
{
	struct chat_key key = pair_key(pair, index);

	return (chat_find(pair->nodes[index].chats, &key));
}

/* The app of node is at it, as from the time at. */
static inline void
pair_attest(struct node *node, int64_t at, struct attestation *out)
{
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	size_t length;

	memset(out, 0, sizeof(*out));
	out->kind = ATTESTATION_V2;
	memcpy(out->app_key, node->app, KEY_SIZE);
	memcpy(out->node_key, node->key, KEY_SIZE);
	memcpy(out->node_id, node->node_id, NODE_ID_SIZE);
	out->issued_at = at;
	out->expires_at = at + ATTESTATION_MAX_AGE;
	length = attestation_signed_bytes(out, bytes);
	(void)crypto_sign_detached(
	    out->signature, NULL, bytes, length, node->app_secret);
}

/* --- what the engine is given ------------------------------------------- */

static inline struct frame *
pair_queue(struct node *node, enum frame_kind kind, const void *tail,
    size_t tail_length)
{
	struct frame *frame = &node->out[node->out_count++];

	ck_assert_uint_lt(node->out_count, PAIR_WIRE);
	ck_assert_uint_le(tail_length, sizeof(frame->tail));
	memset(frame, 0, sizeof(*frame));
	frame->kind = kind;
	if (tail != NULL)
		memcpy(frame->tail, tail, tail_length);
	frame->tail_length = tail_length;
	return (frame);
}

/* The router's side: what README's router does, for one chat. */
static inline void
pair_router(struct node *node, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	const struct ipc_opened *opened = payload;
	struct frame *frame;

	switch (type) {
	case IPC_CHAT_READY:
		node->last_ready = *(const struct ipc_chat_ready *)payload;
		node->readies++;
		node->firsts += node->last_ready.first != 0;
		node->resets += node->last_ready.reset != 0;
		node->ready = 1;
		if (!node->last_ready.resumed)
			break;
		if (node->last_ready.peer_acked > node->delivered)
			node->delivered = node->last_ready.peer_acked;
		if (node->last_ready.peer_delivered > node->acked)
			node->acked = node->last_ready.peer_delivered;
		if (node->next <= node->acked)
			node->next = node->acked + 1;
		node->again = node->acked + 1;
		break;
	case IPC_CHAT_ERROR:
		node->last_error = *(const struct ipc_chat_code *)payload;
		node->errors++;
		break;
	case IPC_CHAT_OFFER:
		node->last_offer = *(const struct ipc_chat_offer *)payload;
		node->offers++;
		ck_assert_uint_le(tail_length, sizeof(node->offer_tail));
		memcpy(
		    node->offer_tail, tail_length > 0 ? tail : "", tail_length);
		node->offer_tail_length = tail_length;
		break;
	case IPC_CHAT_ENDED:
		node->last_end = *(const struct ipc_chat_end *)payload;
		node->ends++;
		node->ready = 0;
		break;
	case IPC_CHAT_RECORD:
		node->last_record = *(const struct ipc_chat_record *)payload;
		node->records++;
		break;
	case IPC_CHAT_RECORDS_END:
		break;
	case IPC_OPENED:
		if (opened->sequence == node->delivered + 1)
			node->delivered++;
		else if (opened->sequence <= node->delivered)
			node->doubles++;
		else
			node->gaps++;
		frame = pair_queue(node, FRAME_ACK, NULL, 0);
		frame->delivered = node->delivered;
		break;
	default:
		ck_abort_msg("router got %s", ipc_type_name(type));
	}
}

static inline void
pair_mesh(struct node *node, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	switch (type) {
	case IPC_SETUP_OUT:
		node->last_setup = *(const struct ipc_setup *)payload;
		node->setups++;
		pair_queue(node, FRAME_SETUP, tail, tail_length)->setup =
		    node->last_setup;
		break;
	case IPC_SETUP_REFUSED:
		pair_queue(node, FRAME_REFUSED, NULL, 0)->refused =
		    *(const struct ipc_setup_refused *)payload;
		break;
	case IPC_TEARDOWN_OUT:
		if (((const struct ipc_teardown *)payload)->status ==
		    STATUS_NONE) {
			node->unties++;
			break;
		}
		node->teardowns++;
		node->last_teardown = *(const struct ipc_teardown *)payload;
		pair_queue(node, FRAME_TEARDOWN, NULL, 0)->teardown =
		    node->last_teardown;
		break;
	default:
		ck_abort_msg("mesh got %s", ipc_type_name(type));
	}
}

static inline void
pair_send(void *arg, enum process to, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	struct node *node = arg;

	if (to == PROCESS_ROUTER)
		pair_router(node, type, payload, tail, tail_length);
	else if (to == PROCESS_MESH)
		pair_mesh(node, type, payload, tail, tail_length);
	else
		node->rows++;
}

static inline uint8_t *
pair_send_tail(void *arg, enum process to, enum ipc_type type,
    const void *payload, size_t tail_length)
{
	struct node *node = arg;
	struct frame *frame;

	if (to == PROCESS_ROUTER) {
		ck_assert_uint_le(tail_length, sizeof(node->opened));
		node->opened_length = tail_length;
		pair_router(node, type, payload, NULL, 0);
		return (node->opened);
	}
	ck_assert_int_eq(type, IPC_SEALED);
	frame = pair_queue(node, FRAME_SEALED, NULL, tail_length);
	frame->sealed = *(const struct ipc_sealed *)payload;
	return (frame->tail);
}

static inline void
pair_sign(void *arg, const uint8_t *bytes, size_t length,
    uint8_t signature[SIGNATURE_SIZE])
{
	struct node *node = arg;

	(void)crypto_sign_detached(
	    signature, NULL, bytes, length, node->secret);
}

static inline void
pair_random(void *arg, void *bytes, size_t length)
{
	(void)arg;
	randombytes_buf(bytes, length);
}

/* --- nodes -------------------------------------------------------------- */

static inline void
pair_stop(struct pair *pair, int index)
{
	struct node *node = &pair->nodes[index];

	chats_free(node->chats);
	store_close(node->store);
	node->chats = NULL;
	node->store = NULL;
	node->out_count = 0;
	node->ready = 0;
}

static inline void
pair_start_node(struct pair *pair, int index)
{
	struct node *node = &pair->nodes[index];
	struct chats_io io = { .send = pair_send,
		.send_tail = pair_send_tail,
		.sign = pair_sign,
		.random = pair_random,
		.arg = node };
	enum store_error error;
	struct chat *chat;

	node->store = store_open(node->folder, &error);
	ck_assert_ptr_nonnull(node->store);
	ck_assert_int_eq(
	    store_unlock(node->store, "pass", 4, crypto_pwhash_OPSLIMIT_MIN,
		crypto_pwhash_MEMLIMIT_MIN),
	    STORE_OK);
	/* As keyd's identity is: a store that was used is never empty. */
	ck_assert_int_eq(store_put(node->store, STORE_NODE, "node", 4,
			     &node->generation, sizeof(node->generation)),
	    0);
	ck_assert_int_eq(store_commit(node->store, 1), 0);
	node->chats = chats_new(&io, node->store, &node->config, node->key,
	    ++node->generation, pair->now);
	ck_assert_ptr_nonnull(node->chats);
	/* The router learns what it needs from the record. */
	node->again = 0;
	if ((chat = pair_chat(pair, index)) != NULL) {
		node->next = chat->accepted + 1;
		node->acked = chat->acked;
		/* What the app was given it knows better. */
		if (chat->delivered > node->delivered)
			node->delivered = chat->delivered;
	}
}

/* Kill node at once and start it on its store again. */
static inline void
pair_restart(struct pair *pair, int index)
{
	pair_stop(pair, index);
	pair_start_node(pair, index);
}

static inline void
pair_copy_folder(const char *from, const char *to)
{
	char source[PATH_MAX + 256], target[PATH_MAX + 256];
	char bytes[8192];
	struct dirent *entry;
	DIR *dir = opendir(from);
	FILE *in, *out;
	size_t n;

	ck_assert_ptr_nonnull(dir);
	folder_empty(to);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(source, sizeof(source), "%s/%s", from, entry->d_name);
		snprintf(target, sizeof(target), "%s/%s", to, entry->d_name);
		in = fopen(source, "r");
		out = fopen(target, "w");
		ck_assert(in != NULL && out != NULL);
		while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0)
			ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
		fclose(in);
		ck_assert_int_eq(fclose(out), 0);
	}
	closedir(dir);
}

static inline void
pair_config(struct config *config)
{
	memset(config, 0, sizeof(*config));
	config->rekey.limit = 3;
	config->rekey.window = 30 * INT64_C(1000000000);
	config->rekey.grace = 30 * INT64_C(1000000000);
	config->rekey.key_lifetime = 24 * 3600 * INT64_C(1000000000);
}

static inline void
pair_setup(struct pair *pair)
{
	int i;

	memset(pair, 0, sizeof(*pair));
	pair->now = INT64_C(1700000000000000000);
	(void)strlcpy(pair->chat_id, "the chat", sizeof(pair->chat_id));
	for (i = 0; i < 2; i++) {
		struct node *node = &pair->nodes[i];

		node->pair = pair;
		node->index = i;
		node->next = 1;
		pair_config(&node->config);
		snprintf(node->node_id, sizeof(node->node_id), "node-%d", i);
		snprintf(node->folder, sizeof(node->folder),
		    "/tmp/hermes-pair-XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(node->folder));
		(void)crypto_sign_keypair(node->key, node->secret);
		do
			(void)crypto_sign_keypair(node->app, node->app_secret);
		while (i == 1 &&
		       memcmp(pair->nodes[0].app, node->app, KEY_SIZE) >= 0);
	}
	for (i = 0; i < 2; i++)
		pair_start_node(pair, i);
}

static inline void
pair_teardown(struct pair *pair)
{
	int i;

	for (i = 0; i < 2; i++) {
		pair_stop(pair, i);
		folder_remove(pair->nodes[i].folder);
	}
}

/* --- events ------------------------------------------------------------- */

/* Commit, and only then let what was queued go. */
static inline void
pair_commit(struct pair *pair, int index)
{
	struct node *node = &pair->nodes[index];
	struct node *other = pair_other(node);
	struct chat *chat;
	size_t i, cursor = 0;

	if (!pair->unwritten)
		ck_assert_int_eq(chats_commit(node->chats), 0);
	/* Earlier than the tick would: what follows works without. */
	while ((chat = table_next(&node->chats->table, &cursor)) != NULL)
		chat_rest(node->chats, chat);
	for (i = 0; i < node->out_count; i++) {
		ck_assert_uint_lt(other->count, PAIR_WIRE);
		other->wire[(other->first + other->count++) % PAIR_WIRE] =
		    node->out[i];
	}
	node->out_count = 0;
}

static inline void
pair_start_fill(struct pair *pair, int index, struct ipc_chat_start *start)
{
	struct node *node = &pair->nodes[index];

	memset(start, 0, sizeof(*start));
	start->key = pair_key(pair, index);
	(void)strlcpy(start->chat_id, pair->chat_id, sizeof(start->chat_id));
	node->attested = pair->now;
	pair_attest(node, pair->now, &start->local);
	pair_attest(pair_other(node), pair->now, &start->peer);
	start->delivered = node->delivered;
	start->acked = node->acked;
}

static inline void
pair_start_message(struct pair *pair, int index, struct ipc_chat_start *start)
{
	struct node *node = &pair->nodes[index];
	char tail[32];

	snprintf(tail, sizeof(tail), "start of %d", index);
	chats_set_now(node->chats, pair->now);
	chats_start(node->chats, start, (const uint8_t *)tail, strlen(tail));
	pair_commit(pair, index);
}

/* The app of node says StartChat. */
static inline void
pair_start(struct pair *pair, int index, uint32_t version, uint32_t flags)
{
	struct ipc_chat_start start;

	pair_start_fill(pair, index, &start);
	start.version = version;
	start.flags = flags;
	pair_start_message(pair, index, &start);
}

/* Message sequence of node's app goes out (again). */
static inline void
pair_say_sequence(struct pair *pair, int index, uint64_t sequence)
{
	struct node *node = &pair->nodes[index];
	struct ipc_seal seal = { .key = pair_key(pair, index),
		.sequence = sequence };
	char text[32];

	snprintf(text, sizeof(text), "%d says %u", index, (unsigned)sequence);
	chats_set_now(node->chats, pair->now);
	chats_seal(node->chats, &seal, (const uint8_t *)text, strlen(text));
	pair_commit(pair, index);
}

static inline void
pair_say(struct pair *pair, int index)
{
	struct node *node = &pair->nodes[index];

	pair_say_sequence(pair, index, node->next);
	node->next++;
}

static inline void
pair_end(struct pair *pair, int index, enum hermes_status status)
{
	struct ipc_chat_end end = { .key = pair_key(pair, index),
		.status = status };

	chats_set_now(pair->nodes[index].chats, pair->now);
	chats_end(pair->nodes[index].chats, &end);
	pair_commit(pair, index);
}

static inline void
pair_tick(struct pair *pair, int index)
{
	chats_set_now(pair->nodes[index].chats, pair->now);
	chats_tick(pair->nodes[index].chats);
	pair_commit(pair, index);
}

/* What node's mesh makes of a set-up that came from the other node. */
static inline void
pair_take_setup(struct pair *pair, int index, const struct ipc_setup *sent,
    const uint8_t *tail, size_t tail_length)
{
	struct node *node = &pair->nodes[index];
	struct node *other = pair_other(node);
	struct ipc_setup setup = *sent;

	setup.key.side ^= 1;
	memcpy(setup.node, other->key, KEY_SIZE);
	setup.local_issued = node->attested;
	pair_attest(other, pair->now, &setup.peer);
	chats_set_now(node->chats, pair->now);
	chats_setup_in(node->chats, &setup, tail, tail_length);
}

static inline void
pair_take(struct pair *pair, int index, struct frame *frame)
{
	struct node *node = &pair->nodes[index];
	struct ipc_chat_progress progress = { .key = pair_key(pair, index) };

	chats_set_now(node->chats, pair->now);
	switch (frame->kind) {
	case FRAME_SETUP:
		pair_take_setup(pair, index, &frame->setup, frame->tail,
		    frame->tail_length);
		break;
	case FRAME_SEALED:
		frame->sealed.key.side ^= 1;
		chats_open(node->chats, &frame->sealed, frame->tail,
		    frame->tail_length);
		break;
	case FRAME_TEARDOWN:
		frame->teardown.key.side ^= 1;
		memcpy(frame->teardown.node, pair_other(node)->key, KEY_SIZE);
		chats_teardown_in(node->chats, &frame->teardown);
		break;
	case FRAME_REFUSED:
		node->last_refused = frame->refused;
		node->refusals++;
		break;
	case FRAME_ACK:
		if (frame->delivered > node->acked)
			node->acked = frame->delivered;
		progress.acked = node->acked;
		progress.delivered = node->delivered;
		chats_progress(node->chats, &progress);
		break;
	}
	pair_commit(pair, index);
}

/* Deliver one frame to node; 0 when there is none. */
static inline int
pair_step(struct pair *pair, int index)
{
	struct node *node = &pair->nodes[index];
	struct frame frame;

	if (node->count == 0)
		return (0);
	frame = node->wire[node->first];
	node->first = (node->first + 1) % PAIR_WIRE;
	node->count--;
	pair_take(pair, index, &frame);
	return (1);
}

/* The router sends again what a resume asked for. */
static inline int
pair_say_again(struct pair *pair, int index)
{
	struct node *node = &pair->nodes[index];
	uint64_t sequence;

	if (node->again == 0 || !node->ready)
		return (0);
	sequence = node->again;
	node->again = 0;
	for (; sequence < node->next; sequence++)
		pair_say_sequence(pair, index, sequence);
	return (1);
}

/* Until nothing is under way. */
static inline void
pair_run(struct pair *pair)
{
	int steps = 0, busy = 1;

	while (busy) {
		busy = pair_step(pair, 0);
		busy |= pair_step(pair, 1);
		busy |= pair_say_again(pair, 0);
		busy |= pair_say_again(pair, 1);
		ck_assert_msg(steps++ < 10000, "they never rest");
	}
}

/* The stream broke: all under way is lost. */
static inline void
pair_drop(struct pair *pair)
{
	pair->nodes[0].count = pair->nodes[1].count = 0;
}

/* TIELINE_UP at node: its router starts the chat again. */
static inline void
pair_resume(struct pair *pair, int index)
{
	struct ipc_chat_start start;
	struct node *node = &pair->nodes[index];

	pair_start_fill(pair, index, &start);
	start.flags = CHAT_RESUME;
	node->ready = 0;
	chats_set_now(node->chats, pair->now);
	chats_start(node->chats, &start, NULL, 0);
	pair_commit(pair, index);
}

/* A chat with an epoch in force at both ends. */
static inline void
pair_ready(struct pair *pair)
{
	pair_start(pair, 0, 0, 0);
	pair_run(pair);
	pair_start(pair, 1, 0, 0);
	pair_run(pair);
}

#endif
