/*
 * keyd only. The table of chats: finding, making, ending them. See
 * chats.h.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/hex.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/chat.h"
#include "keyd/secret.h"

struct chats *
chats_new(const struct chats_io *io, struct store *store,
    const struct config *config, const uint8_t node_key[KEY_SIZE],
    uint64_t generation, int64_t now)
{
	struct chats *chats = calloc(1, sizeof(*chats));
	int saved;

	if (chats == NULL)
		return (NULL);
	chats->io = *io;
	chats->store = store;
	chats->config = config;
	memcpy(chats->node_key, node_key, KEY_SIZE);
	chats->generation = generation;
	chats->now = now;
	io->random(io->arg, chats->attested.key, sizeof(chats->attested.key));
	if ((chats->ended = calloc(ENDED_MAX, sizeof(*chats->ended))) == NULL) {
		free(chats);
		return (NULL);
	}
	table_init(&chats->table, sizeof(struct chat_key));
	table_init(&chats->tombstones, KEY_SIZE);
	table_init(&chats->waiting, sizeof(struct chat_key));
	table_init(&chats->waiting_apps, KEY_SIZE);
	table_init(&chats->waiting_nodes, KEY_SIZE);
	table_init(&chats->shunned, KEY_SIZE);
	TAILQ_INIT(&chats->awake);
	if (chats_load(chats) == -1) {
		saved = errno;
		chats_free(chats);
		errno = saved;
		return (NULL);
	}
	return (chats);
}

void
chats_free(struct chats *chats)
{
	struct chat *chat, *next;
	struct tombstone *tombstone;
	size_t cursor = 0;

	if (chats == NULL)
		return;
	for (chat = chats->dirty; chat != NULL; chat = next) {
		next = chat->dirty_next;
		if (chat->dirty & DIRTY_ERASED)
			chat_free(chats, chat);
	}
	while ((chat = table_next(&chats->table, &cursor)) != NULL)
		chat_free(chats, chat);
	for (cursor = 0;
	     (tombstone = table_next(&chats->tombstones, &cursor)) != NULL;)
		free(tombstone);
	waiting_free_all(chats);
	shunned_free_all(chats);
	table_free(&chats->table);
	table_free(&chats->tombstones);
	table_free(&chats->waiting);
	table_free(&chats->waiting_apps);
	table_free(&chats->waiting_nodes);
	if (chats->scratch != NULL)
		sodium_memzero(chats->scratch, chats->scratch_size);
	free(chats->scratch);
	free(chats->ended);
	free(chats);
}

void
chats_set_now(struct chats *chats, int64_t now)
{
	chats->now = now;
}

void
chats_no_new(struct chats *chats, int refuse)
{
	chats->no_new = refuse;
}

size_t
chats_count(const struct chats *chats)
{
	return (chats->table.count);
}

int
chats_take_erased(struct chats *chats)
{
	int erased = chats->erased;

	chats->erased = 0;
	return (erased);
}

struct chat *
chat_find(const struct chats *chats, const struct chat_key *key)
{
	return (table_get(&chats->table, key));
}

static int
change_new(struct chats *chats, struct chat *chat)
{
	if ((chat->change = calloc(1, sizeof(*chat->change))) == NULL)
		return (-1);
	chat->change->chat = chat;
	TAILQ_INSERT_HEAD(&chats->awake, chat->change, entry);
	return (0);
}

static void
change_free(struct chats *chats, struct chat *chat)
{
	if (chat->change == NULL)
		return;
	TAILQ_REMOVE(&chats->awake, chat->change, entry);
	throttle_free(&chat->change->rekey_throttle);
	throttle_free(&chat->change->recovery_throttle);
	free(chat->change);
	chat->change = NULL;
}

struct chat *
chat_new(struct chats *chats, const struct chat_key *key, const char *chat_id,
    const uint8_t local_app[KEY_SIZE], const uint8_t peer_app[KEY_SIZE])
{
	size_t length = strlen(chat_id) + 1;
	struct chat *chat;

	if (chats->table.count >= CHATS_MAX) {
		errno = ENOSPC;
		return (NULL);
	}
	if ((chat = calloc(1, offsetof(struct chat, chat_id) + length)) == NULL)
		return (NULL);
	chat->ratchet.secrets = secret_new(sizeof(struct ratchet_secrets));
	if (chat->ratchet.secrets == NULL || change_new(chats, chat) == -1) {
		chat_free(chats, chat);
		return (NULL);
	}
	chat->key = *key;
	memcpy(chat->chat_id, chat_id, length);
	memcpy(chat->local_app, local_app, KEY_SIZE);
	memcpy(chat->peer_app, peer_app, KEY_SIZE);
	chat->ratchet.handle = chat->key.handle;
	chat->ratchet.side = key->side;
	chat->created_at = chat->last_active = chats->now;
	if (table_put(&chats->table, &chat->key, chat) == -1) {
		chat_free(chats, chat);
		return (NULL);
	}
	return (chat);
}

void
chat_free(struct chats *chats, struct chat *chat)
{
	ratchet_wipe(&chat->ratchet);
	secret_free(chat->ratchet.secrets, sizeof(struct ratchet_secrets));
	change_free(chats, chat);
	free(chat->tail);
	free(chat);
}

uint32_t
chat_claim(int64_t issued_at)
{
	return ((uint32_t)(issued_at ^ issued_at >> 32));
}

int
chat_is_last(const struct chat *chat)
{
	return (chat->version >= UINT32_MAX - 1);
}

uint32_t
chat_offered(const struct chat *chat)
{
	return (chat->change == NULL ? 0 : chat->change->pending.version);
}

int
chat_wake(struct chats *chats, struct chat *chat)
{
	if (chat->change != NULL)
		return (0);
	if (change_new(chats, chat) == -1)
		return (-1);
	if (chat_read_change(chats, chat, chat->change) == -1) {
		change_free(chats, chat);
		return (-1);
	}
	return (0);
}

void
chat_rest(struct chats *chats, struct chat *chat)
{
	const struct change *change = chat->change;
	int64_t window = chats->config->rekey.window;

	if (change == NULL || chat->version == 0 || chat->listed ||
	    change->pending.version != 0 ||
	    chat->ratchet.previous_version != 0 ||
	    !throttle_idle(&change->rekey_throttle, window, chats->now) ||
	    !throttle_idle(&change->recovery_throttle, window, chats->now) ||
	    !bucket_idle(&change->epoch_bucket, window, chats->now))
		return;
	change_free(chats, chat);
}

void
chat_touch(struct chats *chats, struct chat *chat, uint8_t bits)
{
	chat->dirty |= bits;
	if (bits != DIRTY_COUNTS)
		chats->due = 1;
	if (chat->listed)
		return;
	/* In order: an erased chat is written before its successor. */
	chat->listed = 1;
	chat->dirty_next = NULL;
	if (chats->dirty == NULL)
		chats->dirty = chat;
	else
		chats->dirty_last->dirty_next = chat;
	chats->dirty_last = chat;
}

void
chat_erase(struct chats *chats, struct chat *chat, uint32_t floor,
    enum hermes_status status)
{
	uint32_t top = chat->version;

	/* The peer may have derived the version we offered. */
	if (chat_offered(chat) > top)
		top = chat_offered(chat);
	if (floor > top)
		top = floor;
	(void)table_remove(&chats->table, &chat->key);
	ratchet_wipe(&chat->ratchet);
	secret_free(chat->ratchet.secrets, sizeof(struct ratchet_secrets));
	chat->ratchet.secrets = NULL;
	change_free(chats, chat);
	chats->rekeys_due -= chat->rekey_due;
	chat->floor = top;
	tombstone_raise(chats, &chat->key, top, status, chat->instance);
	chat_touch(chats, chat, DIRTY_ERASED);
	chats->erased = 1;
	if (status == STATUS_NONE)
		return;
	metric_add(METRIC_CHAT_ERASURES_DELETED + (status - STATUS_DELETED), 1);
	if (status == STATUS_EXPIRED || status == STATUS_REKEY_REQUIRED)
		metric_add(METRIC_CHATS_EXPIRED, 1);
}

void
chat_finish(struct chats *chats, struct chat *chat, uint32_t floor,
    enum hermes_status status, int tell_peer)
{
	struct ipc_chat_end end = { .key = chat->key, .status = status };
	struct ipc_teardown teardown = { .key = chat->key };
	char handle[HEX_SHORT_SIZE];

	memcpy(teardown.node, chat->peer_node, KEY_SIZE);
	/* Who has yet to derive it knows it by its version only. */
	if (chat->confirmed)
		memcpy(teardown.instance, chat->instance, INSTANCE_SIZE);
	(void)strlcpy(
	    teardown.chat_id, chat->chat_id, sizeof(teardown.chat_id));
	log_info("chat_erased", "handle=%s side=%d version=%u status=%s",
	    hex_short(handle, chat->key.handle, KEY_SIZE), chat->key.side,
	    chat->version, status_word(status));
	chat_erase(chats, chat, floor, status);
	chats->io.send(
	    chats->io.arg, PROCESS_ROUTER, IPC_CHAT_ENDED, &end, NULL, 0);
	if (!tell_peer)
		return;
	teardown.status = (uint32_t)status;
	teardown.version = chat->floor;
	chats->ended[chats->ended_next].teardown = teardown;
	chats->ended[chats->ended_next].at = chats->now;
	chats->ended_next = (chats->ended_next + 1) % ENDED_MAX;
	chats->io.send(
	    chats->io.arg, PROCESS_MESH, IPC_TEARDOWN_OUT, &teardown, NULL, 0);
}

void
chats_report_ended(struct chats *chats)
{
	const struct ended *ended;
	size_t i;

	/* Told twice does no harm: a chat that has the name since then has a
	 * higher version. */
	for (i = 0; i < ENDED_MAX; i++) {
		ended = &chats->ended[(chats->ended_next + i) % ENDED_MAX];
		if (ended->at != 0 && chats->now - ended->at < ENDED_LIFETIME)
			chats->io.send(chats->io.arg, PROCESS_MESH,
			    IPC_TEARDOWN_OUT, &ended->teardown, NULL, 0);
	}
}

/* --- ends --------------------------------------------------------------- */

/* The app left the chat: its peer finds it at another node. Where it has come
 * from one, an offer to go on with what it had is of before; one that begins
 * is as good as it was. */
static void
end_left(struct chats *chats, const struct ipc_chat_end *end, struct chat *chat)
{
	struct waiting *waiting = waiting_find(chats, &end->key);

	if (chat != NULL) {
		chat_untie(chats, &end->key, chat->peer_node);
		chat_erase(chats, chat, 0, STATUS_NONE);
	}
	if (waiting != NULL && (waiting->offer.flags & OFFER_RESET) != 0) {
		chat_untie(chats, &end->key, waiting->node);
		waiting_remove(chats, waiting);
		waiting = NULL;
	}
	chats->io.send(
	    chats->io.arg, PROCESS_ROUTER, IPC_CHAT_ENDED, end, NULL, 0);
	if (waiting != NULL)
		waiting_tell(chats, waiting);
}

void
chats_end(struct chats *chats, const struct ipc_chat_end *end)
{
	struct chat *chat = chat_find(chats, &end->key);
	struct waiting *waiting;

	if (end->status >= STATUS_COUNT)
		return;
	if (end->status == STATUS_NONE) {
		end_left(chats, end, chat);
		return;
	}
	if (chat != NULL) {
		chat_finish(chats, chat, 0, (enum hermes_status)end->status, 1);
		return;
	}
	/* The app does not want what a peer offered. */
	if ((waiting = waiting_find(chats, &end->key)) != NULL)
		waiting_end(chats, waiting, (enum hermes_status)end->status);
	chats->io.send(
	    chats->io.arg, PROCESS_ROUTER, IPC_CHAT_ENDED, end, NULL, 0);
}

/* The peer's word for it, seen from this side. */
static enum hermes_status
status_here(uint32_t status)
{
	if (status == STATUS_NONE || status >= STATUS_COUNT ||
	    status == STATUS_DELETED)
		return (STATUS_DELETED_BY_PEER);
	return ((enum hermes_status)status);
}

/*
 * Is it the end of what has this instance here, and is at version top? An end
 * says which, or (of a chat that the peer need not have had an epoch of) has
 * a version that is not below.
 */
static int
teardown_is_of(const struct ipc_teardown *teardown,
    const uint8_t instance[INSTANCE_SIZE], uint32_t top)
{
	if (instance_is_known(teardown->instance))
		return (instance_is_same(teardown->instance, instance));
	return (teardown->version >= top);
}

void
chat_untie(struct chats *chats, const struct chat_key *key,
    const uint8_t node[KEY_SIZE])
{
	struct ipc_teardown over = { .key = *key, .status = STATUS_NONE };

	memcpy(over.node, node, KEY_SIZE);
	chats->io.send(
	    chats->io.arg, PROCESS_MESH, IPC_TEARDOWN_OUT, &over, NULL, 0);
}

void
chats_teardown_in(struct chats *chats, const struct ipc_teardown *teardown)
{
	struct chat *chat = chat_find(chats, &teardown->key);
	struct waiting *waiting;
	struct ipc_chat_end end = { .key = teardown->key };
	uint32_t top;

	if (teardown->status == STATUS_NONE)
		return; /* from keyd to mesh only */
	if (chat != NULL) {
		top = chat->version != 0 ? chat->version : chat_offered(chat);
		/* Only the peer's node may, and only this chat, not one that
		 * had the name before. */
		if (memcmp(chat->peer_node, teardown->node, KEY_SIZE) != 0 ||
		    !teardown_is_of(teardown, chat->instance, top))
			return;
		if (chat->version == 0 && teardown->version > top &&
		    !instance_is_known(teardown->instance) &&
		    teardown->version - top < POLICY_RESET_STEP) {
			/* Not the end of this one: the peer remembers a chat
			 * of that name which we do not. Begin above it, but
			 * not whenever and as high as it likes. */
			if (teardown->version >= UINT32_MAX - 1 ||
			    throttle_attempt(&chat->change->recovery_throttle,
				chats->config->rekey.limit,
				chats->config->rekey.window, chats->now) != 0)
				return;
			chat_offer(chats, chat, teardown->version + 1,
			    (chat->change->pending.flags & OFFER_RESET) != 0,
			    CAUSE_NONE, NULL);
			chat_send_pending(chats, chat);
			return;
		}
		if (teardown->version > top &&
		    teardown->version - top <= POLICY_RESET_STEP)
			top = teardown->version;
		chat_finish(chats, chat, top, status_here(teardown->status), 0);
		chat_untie(chats, &teardown->key, teardown->node);
		return;
	}
	waiting = waiting_find(chats, &teardown->key);
	if (waiting != NULL &&
	    (memcmp(waiting->node, teardown->node, KEY_SIZE) != 0 ||
		!teardown_is_of(
		    teardown, waiting->offer.instance, waiting->offer.version)))
		return;
	chat_untie(chats, &teardown->key, teardown->node);
	if (waiting == NULL)
		return;
	end.status = status_here(teardown->status);
	waiting_remove(chats, waiting);
	chats->io.send(
	    chats->io.arg, PROCESS_ROUTER, IPC_CHAT_ENDED, &end, NULL, 0);
}

void
chats_progress(struct chats *chats, const struct ipc_chat_progress *progress)
{
	struct chat *chat = chat_find(chats, &progress->key);

	if (chat == NULL ||
	    (progress->delivered <= chat->delivered &&
		progress->acked <= chat->acked && !progress->reset_told))
		return;
	if (progress->reset_told)
		chat->reset_unheard = 0;
	if (progress->delivered > chat->delivered)
		chat->delivered = progress->delivered;
	if (progress->acked > chat->acked && progress->acked <= chat->accepted)
		chat->acked = progress->acked;
	chat_touch(chats, chat, DIRTY_HOT);
}

void
chats_report(struct chats *chats)
{
	struct ipc_chat_record record;
	struct ipc_empty empty = { 0 };
	struct chat *chat;
	size_t cursor = 0;

	while ((chat = table_next(&chats->table, &cursor)) != NULL) {
		memset(&record, 0, sizeof(record));
		record.key = chat->key;
		(void)strlcpy(
		    record.chat_id, chat->chat_id, sizeof(record.chat_id));
		memcpy(record.local_app, chat->local_app, KEY_SIZE);
		memcpy(record.peer_app, chat->peer_app, KEY_SIZE);
		memcpy(record.peer_node, chat->peer_node, KEY_SIZE);
		record.version = chat->version;
		record.reset = chat->reset_unheard;
		record.accepted = chat->accepted;
		record.acked = chat->acked;
		record.delivered = chat->delivered;
		record.created_at = chat->created_at;
		memcpy(record.instance, chat->instance, INSTANCE_SIZE);
		chats->io.send(chats->io.arg, PROCESS_ROUTER, IPC_CHAT_RECORD,
		    &record, NULL, 0);
	}
	chats->io.send(chats->io.arg, PROCESS_ROUTER, IPC_CHAT_RECORDS_END,
	    &empty, NULL, 0);
	waiting_report(chats);
}
