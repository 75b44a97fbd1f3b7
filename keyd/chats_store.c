/*
 * keyd only. The records of chats: reading all at start, writing what
 * changed in one transaction a batch. Two records a chat: the cold one
 * changes with an epoch and is synced, the hot one with every message.
 *
 * Chain keys are not among what is written. After a restart a chat rekeys
 * before it seals or opens anything (the link is here for that), so no
 * restart, backup or loss of power can bring a counter or a key back, and
 * nothing on disk opens a message.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/chat.h"
#include "keyd/keyscan.h"
#include "keyd/secret.h"
#include "keyd/store.h"

#define COLD_FORMAT 4
/* Bytes of what struct chat has, without those of the chat_id. */
#define COLD_CHAT                                                              \
	(1 + sizeof(struct chat_key) + 4 + 5 * KEY_SIZE + INSTANCE_SIZE + 8 +  \
	    4 + 4 + 8 + 8)
#define HOT_FORMAT     1
#define COLD_SIZE      2048
#define HOT_SIZE       128
#define PURGE_INTERVAL (60 * INT64_C(1000000000))

/* --- encoding ----------------------------------------------------------- */

/* What the chat does not say of an own offer. */
static void
encode_offer(struct encoder *e, const struct offer *offer)
{
	encode_u32(e, offer->version);
	if (offer->version == 0)
		return;
	encode_u32(e, offer->flags);
	encode_bytes(e,
	    offer->side == CHAT_LO ? offer->node_hi : offer->node_lo, KEY_SIZE);
	encode_bytes(e, offer->ephemeral, KEY_SIZE);
	encode_bytes(e, offer->link_commitment, KEY_SIZE);
	encode_bytes(e, offer->app_key_hash, KEY_SIZE);
	encode_u64(e, offer->generation);
	encode_bytes(e, offer->instance, INSTANCE_SIZE);
	encode_bytes(e, offer->signature, SIGNATURE_SIZE);
}

static void
decode_offer(struct decoder *d, const struct chats *chats,
    const struct chat *chat, struct offer *offer)
{
	int lo = chat->key.side == CHAT_LO;

	memset(offer, 0, sizeof(*offer));
	if ((offer->version = decode_u32(d)) == 0)
		return;
	offer->flags = decode_u32(d);
	if (offer->flags & ~(uint32_t)OFFER_FLAGS)
		d->failed = 1;
	offer->side = chat->key.side;
	memcpy(offer->handle, chat->key.handle, KEY_SIZE);
	memcpy(lo ? offer->app_lo : offer->app_hi, chat->local_app, KEY_SIZE);
	memcpy(lo ? offer->app_hi : offer->app_lo, chat->peer_app, KEY_SIZE);
	memcpy(lo ? offer->node_lo : offer->node_hi, chats->node_key, KEY_SIZE);
	decode_bytes(d, lo ? offer->node_hi : offer->node_lo, KEY_SIZE);
	decode_bytes(d, offer->ephemeral, KEY_SIZE);
	decode_bytes(d, offer->link_commitment, KEY_SIZE);
	decode_bytes(d, offer->app_key_hash, KEY_SIZE);
	offer->generation = decode_u64(d);
	decode_bytes(d, offer->instance, INSTANCE_SIZE);
	decode_bytes(d, offer->signature, SIGNATURE_SIZE);
}

/* Those that there are, after a bit for each. */
static void
encode_keys(struct encoder *e, const uint64_t keys[KEYS_REMEMBERED])
{
	uint32_t there = 0;
	int i;

	for (i = 0; i < KEYS_REMEMBERED; i++)
		there |= (uint32_t)(keys[i] != 0) << i;
	encode_u32(e, there);
	for (i = 0; i < KEYS_REMEMBERED; i++)
		if (keys[i] != 0)
			encode_u64(e, keys[i]);
}

static void
decode_keys(struct decoder *d, uint64_t keys[KEYS_REMEMBERED])
{
	uint32_t there = decode_u32(d);
	int i;

	if (there >> KEYS_REMEMBERED != 0)
		d->failed = 1;
	for (i = 0; i < KEYS_REMEMBERED; i++)
		keys[i] = there >> i & 1 ? decode_u64(d) : 0;
}

/* What struct chat has of it, then what struct change has. */
static size_t
encode_cold(const struct chat *chat, uint8_t *out)
{
	const struct change *change = chat->change;
	struct encoder e = { .bytes = out, .size = COLD_SIZE };

	encode_u8(&e, COLD_FORMAT);
	encode_bytes(&e, &chat->key, sizeof(chat->key));
	encode_lp(&e, chat->chat_id, strlen(chat->chat_id));
	encode_bytes(&e, chat->local_app, KEY_SIZE);
	encode_bytes(&e, chat->peer_app, KEY_SIZE);
	encode_bytes(&e, chat->peer_node, KEY_SIZE);
	encode_bytes(&e, chat->instance, INSTANCE_SIZE);
	encode_u64(&e, (uint64_t)chat->peer_issued);
	encode_u32(&e, chat->version);
	encode_u32(&e, chat->rekeys);
	encode_u64(&e, (uint64_t)chat->created_at);
	encode_u64(&e, (uint64_t)chat->last_ratchet_at);
	encode_bytes(&e, chat->ratchet.secrets->link, KEY_SIZE);
	encode_bytes(&e, chat->ratchet.secrets->ephemeral, KEY_SIZE);

	encode_offer(&e, &change->own);
	encode_offer(&e, &change->pending);
	encode_u32(&e, change->pending_cause);
	encode_bytes(&e, change->peer_offer, KEY_SIZE);
	encode_u64(&e, change->peer_generation);
	encode_keys(&e, change->app_keys);
	encode_keys(&e, change->peer_keys);
	return (e.length);
}

static size_t
encode_hot(const struct chat *chat, uint8_t *out)
{
	struct encoder e = { .bytes = out, .size = HOT_SIZE };

	encode_u8(&e, HOT_FORMAT);
	encode_u8(&e, (uint8_t)(chat->confirmed | chat->reset_unheard << 1));
	encode_u64(&e, chat->accepted);
	encode_u64(&e, chat->delivered);
	encode_u64(&e, chat->acked);
	encode_u64(&e, chat->sent);
	encode_u64(&e, chat->received);
	encode_u64(&e, (uint64_t)chat->last_active);
	return (e.length);
}

/* --- reading ------------------------------------------------------------ */

/* Of a record that opened: 0, or -1 with errno, when we do not know it. */
static int
decode_format(struct decoder *d, int known)
{
	int format = decode_u8(d);

	if (!d->failed && format == known)
		return (0);
	errno = d->failed ? EINVAL : EPROTONOSUPPORT;
	return (-1);
}

/* The names in a cold record: 0, or -1 when they are not its own. */
static int
decode_names(struct decoder *d, const uint8_t *name, size_t name_length,
    struct chat_key *key, char chat_id[CHAT_ID_SIZE])
{
	decode_bytes(d, key, sizeof(*key));
	decode_lp_text(d, chat_id, CHAT_ID_SIZE);
	return (d->failed || key->side > CHAT_HI ||
			name_length != sizeof(*key) ||
			memcmp(name, key, sizeof(*key)) != 0
		    ? -1
		    : 0);
}

static void
decode_chat(struct decoder *d, struct chat *chat)
{
	struct ratchet_secrets *secrets = chat->ratchet.secrets;

	decode_bytes(d, chat->peer_node, KEY_SIZE);
	decode_bytes(d, chat->instance, INSTANCE_SIZE);
	chat->peer_issued = (int64_t)decode_u64(d);
	chat->version = decode_u32(d);
	chat->rekeys = decode_u32(d);
	chat->created_at = (int64_t)decode_u64(d);
	chat->last_ratchet_at = (int64_t)decode_u64(d);
	decode_bytes(d, secrets->link, KEY_SIZE);
	decode_bytes(d, secrets->ephemeral, KEY_SIZE);
	keyscan_made(KEYSCAN_LINK, secrets->link, KEY_SIZE);
	keyscan_made(KEYSCAN_EPHEMERAL, secrets->ephemeral, KEY_SIZE);
}

/* 0, or -1 with errno. */
static int
decode_change(struct decoder *d, const struct chats *chats,
    const struct chat *chat, struct change *change)
{
	decode_offer(d, chats, chat, &change->own);
	decode_offer(d, chats, chat, &change->pending);
	change->pending_cause = decode_u32(d);
	decode_bytes(d, change->peer_offer, KEY_SIZE);
	change->peer_generation = decode_u64(d);
	decode_keys(d, change->app_keys);
	decode_keys(d, change->peer_keys);
	if (decode_done(d) == 0)
		return (0);
	errno = EINVAL;
	return (-1);
}

static int
load_cold(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct chats *chats = arg;
	struct decoder d = { .bytes = data, .length = length };
	struct chat_key key;
	char chat_id[CHAT_ID_SIZE];
	uint8_t local_app[KEY_SIZE], peer_app[KEY_SIZE];
	struct chat *chat;

	if (decode_format(&d, COLD_FORMAT) == -1)
		return (-1);
	errno = EINVAL;
	if (decode_names(&d, name, name_length, &key, chat_id) == -1)
		return (-1);
	decode_bytes(&d, local_app, KEY_SIZE);
	decode_bytes(&d, peer_app, KEY_SIZE);
	chat = chat_new(chats, &key, chat_id, local_app, peer_app);
	if (chat == NULL)
		return (-1);
	decode_chat(&d, chat);
	if (decode_change(&d, chats, chat, chat->change) == -1)
		return (-1);
	if (chat->created_at < 0 || chat->last_ratchet_at < 0) {
		errno = EINVAL;
		return (-1);
	}
	chat->restored = 1;
	chat->pending_restored = chat_offered(chat) != 0;
	/* The store came to a lesser machine: that offer leads nowhere. */
	if (chat->version != 0 &&
	    (chat->change->pending.flags & ~ratchet_offer_flags(1)) &
		OFFER_AES) {
		chat_offer_drop(chat);
		chat_touch(chats, chat, DIRTY_COLD);
	}
	chat_rest(chats, chat);
	return (0);
}

int
chat_read_change(
    struct chats *chats, const struct chat *chat, struct change *change)
{
	size_t length, before = COLD_CHAT + strlen(chat->chat_id);
	uint8_t *plain = secret_new(SECRET_MAX);
	struct decoder d;
	int result = -1;

	if (plain == NULL)
		return (-1);
	switch (store_get(chats->store, STORE_COLD, &chat->key,
	    sizeof(chat->key), plain, SECRET_MAX, &length)) {
	case 1:
		errno = EINVAL;
		if (length < before)
			break;
		d = (struct decoder){ plain + before, length - before, 0 };
		result = decode_change(&d, chats, chat, change);
		break;
	case 0:
		errno = ENOENT;
		break;
	default:
		break;
	}
	secret_free(plain, SECRET_MAX);
	return (result);
}

static int
load_hot(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct chats *chats = arg;
	struct decoder d = { .bytes = data, .length = length };
	struct chat_key key;
	struct chat *chat = NULL;
	uint8_t flags;

	if (decode_format(&d, HOT_FORMAT) == -1)
		return (-1);
	if (name_length == sizeof(key)) {
		memcpy(&key, name, sizeof(key));
		chat = chat_find(chats, &key);
	}
	if (chat == NULL) {
		errno = EINVAL;
		return (-1);
	}
	flags = decode_u8(&d);
	chat->confirmed = flags & 1;
	chat->reset_unheard = flags >> 1 & 1;
	chat->accepted = decode_u64(&d);
	chat->delivered = decode_u64(&d);
	chat->acked = decode_u64(&d);
	chat->sent = decode_u64(&d);
	chat->received = decode_u64(&d);
	chat->last_active = (int64_t)decode_u64(&d);
	if (decode_done(&d) == -1 || chat->last_active < 0) {
		errno = EINVAL;
		return (-1);
	}
	return (0);
}

static int
load_tombstone(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct chats *chats = arg;
	struct decoder d = { .bytes = data, .length = length };
	struct tombstone *tombstone;

	if (name_length != KEY_SIZE) {
		errno = EINVAL;
		return (-1);
	}
	if ((tombstone = calloc(1, sizeof(*tombstone))) == NULL)
		return (-1);
	memcpy(tombstone->id, name, KEY_SIZE);
	tombstone->floor = decode_u32(&d);
	tombstone->until = (int64_t)decode_u64(&d);
	/* Older stores do not say how it ended. */
	tombstone->status = STATUS_DELETED;
	tombstone->ended = tombstone->floor;
	if (d.length > 0)
		tombstone->status = decode_u32(&d);
	if (d.length > 0)
		tombstone->ended = decode_u32(&d);
	if (d.length > 0)
		decode_bytes(&d, tombstone->instance, INSTANCE_SIZE);
	if (decode_done(&d) == -1) {
		free(tombstone);
		errno = EINVAL;
		return (-1);
	}
	if (table_put(&chats->tombstones, tombstone->id, tombstone) == -1) {
		free(tombstone);
		return (-1);
	}
	return (0);
}

int
chats_load(struct chats *chats)
{
	if (store_walk(chats->store, STORE_COLD, load_cold, chats) == -1 ||
	    store_walk(chats->store, STORE_HOT, load_hot, chats) == -1 ||
	    store_walk(chats->store, STORE_TOMBSTONE, load_tombstone, chats) ==
		-1)
		return (-1);
	return (0);
}

/* --- writing ------------------------------------------------------------ */

static int
write_tombstone(struct chats *chats, const struct tombstone *tombstone)
{
	uint8_t bytes[20 + INSTANCE_SIZE];
	struct encoder e = { .bytes = bytes, .size = sizeof(bytes) };

	encode_u32(&e, tombstone->floor);
	encode_u64(&e, (uint64_t)tombstone->until);
	encode_u32(&e, tombstone->status);
	encode_u32(&e, tombstone->ended);
	encode_bytes(&e, tombstone->instance, INSTANCE_SIZE);
	return (store_put(chats->store, STORE_TOMBSTONE, tombstone->id,
	    KEY_SIZE, bytes, e.length));
}

static int
write_erased(struct chats *chats, const struct chat *chat)
{
	const struct tombstone *tombstone;

	if (store_delete(chats->store, STORE_COLD, &chat->key,
		sizeof(chat->key)) == -1 ||
	    store_delete(
		chats->store, STORE_HOT, &chat->key, sizeof(chat->key)) == -1)
		return (-1);
	tombstone = tombstone_find(chats, &chat->key);
	return (tombstone == NULL ? 0 : write_tombstone(chats, tombstone));
}

static int
write_chat(struct chats *chats, const struct chat *chat, uint8_t *plain)
{
	size_t length;

	if (chat->dirty & DIRTY_ERASED)
		return (write_erased(chats, chat));
	if (chat->dirty & DIRTY_COLD) {
		length = encode_cold(chat, plain);
		if (store_put(chats->store, STORE_COLD, &chat->key,
			sizeof(chat->key), plain, length) == -1)
			return (-1);
	}
	if (chat->dirty & (DIRTY_COLD | DIRTY_HOT | DIRTY_COUNTS)) {
		length = encode_hot(chat, plain);
		if (store_put(chats->store, STORE_HOT, &chat->key,
			sizeof(chat->key), plain, length) == -1)
			return (-1);
	}
	return (0);
}

/* Take tombstones out whose time is over. */
static int
purge_tombstones(struct chats *chats)
{
	struct tombstone *tombstone;
	size_t cursor = 0;

	while ((tombstone = table_next(&chats->tombstones, &cursor)) != NULL) {
		if (tombstone->until >= chats->now)
			continue;
		if (store_delete(chats->store, STORE_TOMBSTONE, tombstone->id,
			KEY_SIZE) == -1)
			return (-1);
		(void)table_remove(&chats->tombstones, tombstone->id);
		free(tombstone);
	}
	chats->purge_at = chats->now + PURGE_INTERVAL;
	return (0);
}

static void
commit_done(struct chats *chats)
{
	struct chat *chat, *next;

	for (chat = chats->dirty; chat != NULL; chat = next) {
		next = chat->dirty_next;
		chat->dirty_next = NULL;
		chat->listed = 0;
		if (chat->dirty & DIRTY_ERASED)
			chat_free(chats, chat);
		else
			chat->dirty = 0;
	}
	chats->dirty = chats->dirty_last = NULL;
	chats->due = 0;
}

void
chats_settle(struct chats *chats)
{
	chats->due = chats->dirty != NULL;
}

int
chats_commit(struct chats *chats)
{
	struct chat *chat;
	uint8_t *plain;
	int sync = 0, result = 0;

	if (!chats->due && chats->now < chats->purge_at)
		return (0);
	if ((plain = secret_new(SECRET_MAX)) == NULL)
		return (-1);
	for (chat = chats->dirty; chat != NULL && result == 0;
	     chat = chat->dirty_next) {
		sync |= chat->dirty & (DIRTY_COLD | DIRTY_ERASED);
		result = write_chat(chats, chat, plain);
	}
	secret_free(plain, SECRET_MAX);
	if (result == 0 && chats->now >= chats->purge_at)
		result = purge_tombstones(chats);
	if (result == -1 || store_commit(chats->store, sync != 0) == -1) {
		store_abort(chats->store);
		metric_add(METRIC_RATCHET_FAILURES_STORE, 1);
		return (-1);
	}
	commit_done(chats);
	return (0);
}
