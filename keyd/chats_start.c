/*
 * keyd only. CHAT_START: the local app starts, accepts, rekeys or resumes a
 * chat. The router is not believed: names and attestations are checked here.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/util/metrics.h"
#include "keyd/chat.h"

#define RETRY_SOON INT64_C(1000000000)

/* One CHAT_START under way. */
struct starting {
	struct chats *chats;
	const struct ipc_chat_start *start;
	const uint8_t *tail;
	size_t tail_length;
	uint8_t app_key_hash[KEY_SIZE];
};

static void
start_refuse(struct starting *s, enum hermes_code code, uint32_t expected,
    int64_t retry_after)
{
	chat_send_error(s->chats, &s->start->key, code, expected, retry_after);
}

/* Does the attestation show that the app is at that node? */
static int
attested(struct chats *chats, const struct attestation *attestation)
{
	if (attestation->kind == ATTESTATION_V1 &&
	    !chats->config->app_compat_v1)
		return (0);
	return (
	    attested_verify(&chats->attested, attestation, chats->now) == 0);
}

static enum hermes_code
start_check(struct chats *chats, const struct ipc_chat_start *start)
{
	struct chat_key key;

	if (memchr(start->chat_id, '\0', CHAT_ID_SIZE) == NULL ||
	    !chat_id_valid(start->chat_id, strlen(start->chat_id)) ||
	    chat_key_make(&key, start->chat_id, start->local.app_key,
		start->peer.app_key) == -1 ||
	    memcmp(&key, &start->key, sizeof(key)) != 0)
		return (CODE_INVALID_FRAME);
	if (!attested(chats, &start->local) ||
	    memcmp(start->local.node_key, chats->node_key, KEY_SIZE) != 0 ||
	    !attested(chats, &start->peer))
		return (CODE_AUTH_FAILED);
	if (chat_is_shunned(chats, start->peer.node_key))
		return (CODE_ROUTE_UNAVAILABLE);
	return (CODE_NONE);
}

/* Is it the app's own word that it has, or begins, this chat? */
static int
start_claims(const struct starting *s)
{
	return (s->tail_length > 0);
}

/* As long as it does not connect anew. */
static void
start_claim(const struct starting *s, struct chat *chat)
{
	if (start_claims(s))
		chat->claim = chat_claim(s->start->local.issued_at);
}

/* --- a new chat --------------------------------------------------------- */

/* Take up what the peer offered: the chat is ready at once. */
static void
start_accept(struct starting *s, struct chat *chat, struct waiting *waiting)
{
	struct chats *chats = s->chats;
	struct offer peer = waiting->offer;
	uint64_t delivered = waiting->delivered;
	uint64_t acked = waiting->acked;
	int reset = (peer.flags & OFFER_RESET) != 0;
	enum hermes_code code;

	waiting_remove(chats, waiting);
	code = chat_derive(chats, chat, &peer, 0);
	if (code != CODE_NONE) {
		chat_untie(chats, &chat->key, chat->peer_node);
		chat_erase(chats, chat, 0, STATUS_DELETED);
		start_refuse(s, code, 0, 0);
		return;
	}
	/* A peer that has had the chat before, at another node of ours. */
	if (reset && delivered > chat->accepted)
		chat->accepted = chat->acked = delivered;
	if (reset && acked > chat->delivered)
		chat->delivered = acked;
	chat_send_present(chats, chat, 1, 0);
	chat_send_ready(chats, chat, CAUSE_NONE, 1, 1, reset, delivered, acked);
}

/* What the peer offered, if that is what the app starts. */
static struct waiting *
start_waiting(struct starting *s)
{
	const struct ipc_chat_start *start = s->start;
	struct waiting *waiting = waiting_find(s->chats, &start->key);

	if (waiting == NULL)
		return (NULL);
	if (memcmp(waiting->node, start->peer.node_key, KEY_SIZE) != 0)
		waiting_remove(s->chats, waiting);
	else if ((start->flags & CHAT_CONTINUE) &&
		 instance_differs(waiting->offer.instance, start->instance))
		/* The app had a later one of the name. */
		waiting_end(s->chats, waiting, STATUS_DELETED);
	else
		return (waiting);
	return (NULL);
}

/* Is what the app goes on with over? It says which it has, or else at what
 * version it was. */
static int
start_is_over(const struct starting *s)
{
	const struct ipc_chat_start *start = s->start;

	if (!(start->flags & CHAT_CONTINUE))
		return (0);
	if (instance_is_known(start->instance) &&
	    tombstone_has_instance(s->chats, &start->key))
		return (tombstone_is(s->chats, &start->key, start->instance));
	return (start->version <= tombstone_ended(s->chats, &start->key));
}

static void
start_new(struct starting *s)
{
	struct chats *chats = s->chats;
	const struct ipc_chat_start *start = s->start;
	struct waiting *waiting;
	struct chat *chat;
	int going_on = (start->flags & CHAT_CONTINUE) != 0;
	uint32_t floor, ended, version;
	enum hermes_code code;

	floor = tombstone_floor(chats, &start->key);
	ended = tombstone_ended(chats, &start->key);
	if (start_is_over(s)) {
		start_refuse(s, CODE_REPLAYED_KEY, floor + 1, 0);
		return;
	}
	waiting = start_waiting(s);
	/* What was to be accepted is there no more. */
	if ((start->flags & CHAT_AUTO) && waiting == NULL) {
		start_refuse(s, CODE_CHAT_NOT_READY, 0, 0);
		return;
	}
	if (chats->no_new && waiting == NULL) {
		start_refuse(s, CODE_LIMIT_REACHED, 0, CHATS_RETRY);
		return;
	}
	if (going_on)
		code = policy_continue(start->version, floor,
		    waiting != NULL ? waiting->offer.version : 0, &version);
	else
		code = policy_start(start->version, floor,
		    waiting != NULL ? waiting->offer.version : 0, &version);
	if (code != CODE_NONE) {
		start_refuse(s, code, version, 0);
		return;
	}
	if (tombstone_room(chats) == -1 ||
	    (chat = chat_new(chats, &start->key, start->chat_id,
		 start->local.app_key, start->peer.app_key)) == NULL) {
		start_refuse(s, CODE_LIMIT_REACHED, 0, 0);
		return;
	}
	memcpy(chat->peer_node, start->peer.node_key, KEY_SIZE);
	chat->peer_issued = start->peer.issued_at;
	if (going_on) {
		chat->accepted = chat->acked = start->acked;
		chat->delivered = start->delivered;
		memcpy(chat->instance, start->instance, INSTANCE_SIZE);
	}
	start_claim(s, chat);
	/* The peer may have what was left here. */
	going_on |= floor > ended ||
		    (waiting != NULL && (waiting->offer.flags & OFFER_RESET));
	chat_offer(chats, chat, version, going_on, CAUSE_NONE, s->app_key_hash);
	chat_keep_tail(chat, s->tail, s->tail_length);
	if (waiting != NULL && waiting->offer.version == version)
		start_accept(s, chat, waiting);
	else {
		if (waiting != NULL)
			waiting_remove(chats, waiting);
		chat_send_pending(chats, chat);
	}
}

/* --- an existing one ---------------------------------------------------- */

static void
start_rekey(struct starting *s, struct chat *chat)
{
	struct chats *chats = s->chats;
	const struct config_rekey *rekey = &chats->config->rekey;
	struct policy_chat state;
	const uint8_t *hash = NULL;
	uint32_t version;
	enum hermes_code code;
	int64_t wait;

	chat_policy(chat, &state);
	code = policy_rekey(s->start->version, &state, &version);
	if (s->start->flags & CHAT_HAS_KEY)
		hash = s->app_key_hash;
	if (code == CODE_NONE && hash != NULL && chat->version != 0 &&
	    (memcmp(hash, chat->change->own.app_key_hash, KEY_SIZE) == 0 ||
		chat_key_used(chat->change->app_keys, hash)))
		code = CODE_REPLAYED_KEY;
	if (code != CODE_NONE) {
		chat_count_rekey(code == CODE_REPLAYED_KEY
				     ? METRIC_REKEYS_REPLAYED_APP
				     : METRIC_REKEYS_FAILED_APP,
		    CAUSE_APP);
		start_refuse(s, code, version, 0);
		return;
	}
	wait = throttle_attempt(&chat->change->rekey_throttle, rekey->limit,
	    rekey->window, chats->now);
	/* An offer with another app key is out: wait for its epoch. */
	if (wait == 0 && chat->change->pending.version != 0 && hash != NULL &&
	    memcmp(hash, chat->change->pending.app_key_hash, KEY_SIZE) != 0)
		wait = RETRY_SOON;
	if (wait != 0) {
		chat_count_rekey(METRIC_REKEYS_THROTTLED_APP, CAUSE_APP);
		start_refuse(s, CODE_REKEY_THROTTLED, 0, wait);
		return;
	}
	if (chat->change->pending.version == 0)
		chat_offer(chats, chat, version, 0, CAUSE_APP, hash);
	chat_keep_tail(chat, s->tail, s->tail_length);
	if (chat->ratchet.version == 0)
		chat->resuming = 1;
	chat_send_pending(chats, chat);
}

/* Does a resume name the app key that its version has? */
static int
start_key_fits(const struct starting *s, const struct chat *chat)
{
	uint32_t asked = s->start->version;
	uint32_t present = chat->version;

	if (!(s->start->flags & CHAT_HAS_KEY) ||
	    (asked != 0 && asked < present))
		return (1);
	if (chat->change->pending.version != 0 &&
	    (asked == 0 || asked == chat->change->pending.version) &&
	    memcmp(s->app_key_hash, chat->change->pending.app_key_hash,
		KEY_SIZE) == 0)
		return (1);
	return (present != 0 && (asked == 0 || asked == present) &&
		memcmp(s->app_key_hash, chat->change->own.app_key_hash,
		    KEY_SIZE) == 0);
}

static void
start_resume(struct starting *s, struct chat *chat)
{
	const struct ipc_chat_start *start = s->start;
	struct policy_chat state;
	uint32_t version;
	enum hermes_code code;

	chat_policy(chat, &state);
	code = policy_resume(start->version,
	    (start->flags & (CHAT_RESUME | CHAT_CONTINUE)) != 0, &state,
	    &version);
	if ((start->flags & CHAT_CONTINUE) && code == CODE_INVALID_FRAME)
		code = CODE_REPLAYED_KEY;
	if (code != CODE_NONE) {
		start_refuse(s, code, version, 0);
		return;
	}
	if (!start_key_fits(s, chat)) {
		start_refuse(s, CODE_KEY_MISMATCH, version, 0);
		return;
	}
	chat->resuming = 1;
	if (chat->version == 0)
		chat_keep_tail(chat, s->tail, s->tail_length);
	/* Keys of before a restart are gone: a new epoch is due. */
	if (chat->change->pending.version == 0 && chat->ratchet.version == 0)
		chat_offer(
		    s->chats, chat, chat->version + 1, 0, CAUSE_RESUME, NULL);
	if (chat->change->pending.version != 0)
		chat_send_pending(s->chats, chat);
	else
		chat_send_present(s->chats, chat, 0, CHAT_RESUME);
}

/* The app has another chat of the name than we. Where that is not over, ours
 * is what it left here for another node: it is forgotten, and the router asks
 * again. */
static void
start_another(struct starting *s, struct chat *chat)
{
	const struct ipc_chat_start *start = s->start;
	struct ipc_chat_end left = { .key = start->key, .status = STATUS_NONE };

	if (!(start->flags & CHAT_CONTINUE) && !start_claims(s))
		return; /* the router's, which has yet to hear of ours */
	if (!(start->flags & CHAT_CONTINUE) || start_is_over(s)) {
		start_refuse(s, CODE_REPLAYED_KEY, chat->version, 0);
		return;
	}
	memcpy(left.instance, chat->instance, INSTANCE_SIZE);
	chat_erase(s->chats, chat, 0, STATUS_NONE);
	s->chats->io.send(
	    s->chats->io.arg, PROCESS_ROUTER, IPC_CHAT_ENDED, &left, NULL, 0);
}

static void
start_existing(struct starting *s, struct chat *chat)
{
	const struct ipc_chat_start *start = s->start;

	if (instance_differs(start->instance, chat->instance)) {
		start_another(s, chat);
		return;
	}
	if (chat_wake(s->chats, chat) == -1) {
		start_refuse(s, CODE_LIMIT_REACHED, 0, CHATS_RETRY);
		return;
	}
	/* What the app had is not what goes by the name now, wherever the peer
	 * is. */
	if (!instance_is_same(start->instance, chat->instance) &&
	    start_is_over(s)) {
		start_refuse(s, CODE_REPLAYED_KEY, chat->version, 0);
		return;
	}
	start_claim(s, chat);
	if (start->delivered > chat->delivered)
		chat->delivered = start->delivered;
	/* The app may know of more than what was sealed here. */
	if ((start->flags & CHAT_CONTINUE) && start->acked > chat->accepted)
		chat->accepted = start->acked;
	if (start->acked > chat->acked && start->acked <= chat->accepted)
		chat->acked = start->acked;
	chat->last_active = s->chats->now;
	chat_touch(s->chats, chat, DIRTY_HOT);
	if (memcmp(start->peer.node_key, chat->peer_node, KEY_SIZE) != 0) {
		/* Two words for where the app is: the later one counts,
		 * and mesh will have it soon. */
		if (start->peer.kind != ATTESTATION_V1 &&
		    start->peer.issued_at <= chat->peer_issued)
			start_refuse(s, CODE_ROUTE_UNAVAILABLE, 0, 0);
		else
			chat_move(s->chats, chat, &start->peer, 0);
		return;
	}
	if (start->peer.issued_at > chat->peer_issued)
		chat->peer_issued = start->peer.issued_at;
	if (chat_is_last(chat)) {
		chat_finish(s->chats, chat, 0, STATUS_REKEY_REQUIRED, 1);
		return;
	}
	if ((start->flags & CHAT_REKEY) && chat->version != 0)
		start_rekey(s, chat);
	else
		start_resume(s, chat);
}

void
chats_start(struct chats *chats, const struct ipc_chat_start *start,
    const uint8_t *tail, size_t tail_length)
{
	struct starting s = { .chats = chats,
		.start = start,
		.tail = tail,
		.tail_length = tail_length };
	struct chat *chat;
	enum hermes_code code;

	code = start_check(chats, start);
	if (code != CODE_NONE) {
		start_refuse(&s, code, 0, 0);
		return;
	}
	if (start->flags & CHAT_HAS_KEY)
		(void)crypto_hash_sha256(
		    s.app_key_hash, start->app_key, KEY_SIZE);
	if ((chat = chat_find(chats, &start->key)) != NULL)
		start_existing(&s, chat);
	/* It ended while the router asked: that does not begin it, nor accept
	 * the peer's. What the router says after it has read so, it may say
	 * of another chat, so it is not told twice. */
	else if ((start->flags & CHAT_RESUME) == 0)
		start_new(&s);
}

/* --- operators ---------------------------------------------------------- */

static int
may_rekey(const struct chat *chat)
{
	return (chat->version != 0 && !chat_is_last(chat));
}

static size_t
rekey_one(struct chats *chats, struct chat *chat)
{
	if (!may_rekey(chat) || chat_wake(chats, chat) == -1)
		return (0);
	if (chat->change->pending.version == 0)
		chat_offer(chats, chat, chat->version + 1, 0,
		    chat->ratchet.version == 0 ? CAUSE_RESUME : CAUSE_OPERATOR,
		    NULL);
	chat_send_pending(chats, chat);
	return (1);
}

size_t
chats_rekey(struct chats *chats, const struct chat_key *key)
{
	struct chat *chat;
	size_t cursor = 0, count = 0;

	if (key != NULL) {
		chat = chat_find(chats, key);
		return (chat == NULL ? 0 : rekey_one(chats, chat));
	}
	while ((chat = table_next(&chats->table, &cursor)) != NULL) {
		chat->rekey_due = (uint8_t)may_rekey(chat);
		count += chat->rekey_due;
	}
	chats->rekeys_due = count;
	return (count);
}

int
chats_rekey_step(struct chats *chats, size_t count)
{
	struct chat *chat;

	for (; count > 0 && chats->rekeys_due > 0; count--) {
		do {
			chat = table_next(&chats->table, &chats->rekey_at);
			/* Again, as a table that grew has them elsewhere. */
			if (chat == NULL)
				chats->rekey_at = 0;
		} while (chat == NULL || !chat->rekey_due);
		chat->rekey_due = 0;
		chats->rekeys_due--;
		(void)rekey_one(chats, chat);
	}
	return (chats->rekeys_due > 0);
}
