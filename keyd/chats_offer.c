/*
 * keyd only. Own offers and the epochs they lead to. See chat.h. Offers,
 * resets and recovery are modelled in regress/model/tieline.pml.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/chat.h"

static const uint8_t zero_link[KEY_SIZE];

void
chat_count_rekey(int base, uint32_t cause)
{
	if (cause > CAUSE_NONE && cause < CAUSE_COUNT_OF)
		metric_add((enum metric)(base + (int)cause - CAUSE_APP), 1);
}

void
chat_policy(const struct chat *chat, struct policy_chat *state)
{
	state->version = chat->version;
	state->pending = chat_offered(chat);
	state->pending_reset = chat->change != NULL &&
			       (chat->change->pending.flags & OFFER_RESET) != 0;
}

static void
offer_make(struct chats *chats, struct chat *chat, uint32_t version,
    uint32_t reset, enum rekey_cause cause, const uint8_t *app_key_hash)
{
	struct offer offer = { .version = version, .side = chat->key.side };
	int lo = chat->key.side == CHAT_LO;
	uint8_t random[KEY_SIZE], bytes[OFFER_SIGNED];

	memcpy(offer.handle, chat->key.handle, KEY_SIZE);
	offer.flags =
	    ratchet_offer_flags((int)chats->config->rekey.hkdf_sha512) |
	    (reset ? OFFER_RESET : 0);
	memcpy(lo ? offer.app_lo : offer.app_hi, chat->local_app, KEY_SIZE);
	memcpy(lo ? offer.app_hi : offer.app_lo, chat->peer_app, KEY_SIZE);
	memcpy(lo ? offer.node_lo : offer.node_hi, chats->node_key, KEY_SIZE);
	memcpy(lo ? offer.node_hi : offer.node_lo, chat->peer_node, KEY_SIZE);
	if (app_key_hash == NULL)
		app_key_hash = chat->change->pending.version != 0
				   ? chat->change->pending.app_key_hash
				   : chat->change->own.app_key_hash;
	memcpy(offer.app_key_hash, app_key_hash, KEY_SIZE);
	offer.generation = chats->generation;
	memcpy(offer.instance, chat->instance, INSTANCE_SIZE);
	ratchet_commit_link(reset ? zero_link : chat->ratchet.secrets->link,
	    offer.link_commitment);
	chats->io.random(chats->io.arg, random, sizeof(random));
	ratchet_make_ephemeral(&chat->ratchet, random, offer.ephemeral);
	sodium_memzero(random, sizeof(random));
	offer_signed_bytes(&offer, bytes);
	chats->io.sign(chats->io.arg, bytes, sizeof(bytes), offer.signature);
	chat->change->pending = offer;
	chat->pending_restored = 0;
	chat->change->pending_cause = cause;
	chat_touch(chats, chat, DIRTY_COLD);
}

void
chat_offer(struct chats *chats, struct chat *chat, uint32_t version,
    uint32_t reset, enum rekey_cause cause, const uint8_t *app_key_hash)
{
	char handle[HEX_SHORT_SIZE];

	offer_make(chats, chat, version, reset, cause, app_key_hash);
	chat_count_rekey(METRIC_REKEYS_ATTEMPT_APP, cause);
	log_debug("offer", "handle=%s side=%d version=%u cause=%u",
	    hex_short(handle, chat->key.handle, KEY_SIZE), chat->key.side,
	    version, cause);
}

void
chat_offer_back(struct chats *chats, struct chat *chat, uint32_t version,
    uint32_t reset, enum rekey_cause cause)
{
	offer_make(chats, chat, version, reset, cause, NULL);
}

void
chat_offer_drop(struct chat *chat)
{
	memset(&chat->change->pending, 0, sizeof(chat->change->pending));
}

void
chat_drop_tail(struct chat *chat)
{
	free(chat->tail);
	chat->tail = NULL;
}

void
chat_keep_tail(struct chat *chat, const uint8_t *tail, size_t length)
{
	if (length == 0)
		return;
	chat_drop_tail(chat);
	if ((chat->tail = malloc(sizeof(*chat->tail) + length)) == NULL)
		return; /* the peer app hears of it without it */
	memcpy(chat->tail->bytes, tail, length);
	chat->tail->length = length;
}

static void
chat_send_setup(struct chats *chats, const struct chat *chat,
    const struct offer *offer, uint32_t answer, uint32_t flags)
{
	struct ipc_setup setup = { .key = chat->key, .offer = *offer };
	/* The StartChat goes with the offer it was given for. */
	const struct chat_tail *tail =
	    offer == &chat->change->pending || chat_offered(chat) == 0
		? chat->tail
		: NULL;

	memcpy(setup.node, chat->peer_node, KEY_SIZE);
	(void)strlcpy(setup.chat_id, chat->chat_id, sizeof(setup.chat_id));
	setup.delivered = chat->delivered;
	setup.acked = chat->acked;
	memcpy(setup.instance, chat->instance, INSTANCE_SIZE);
	setup.answer = answer;
	setup.flags = flags;
	if (offer == &chat->change->pending)
		setup.cause = chat->change->pending_cause;
	chats->io.send(chats->io.arg, PROCESS_MESH, IPC_SETUP_OUT, &setup,
	    tail == NULL ? NULL : tail->bytes, tail == NULL ? 0 : tail->length);
}

void
chat_confirm(struct chats *chats, struct chat *chat)
{
	if (chat->confirmed)
		return;
	chat->confirmed = 1;
	chat_touch(chats, chat, DIRTY_HOT);
	if (chat_offered(chat) == 0)
		chat_drop_tail(chat);
}

void
chat_send_present(
    struct chats *chats, struct chat *chat, uint32_t answer, uint32_t flags)
{
	if (chat->version != 0)
		chat_send_setup(chats, chat, &chat->change->own, answer, flags);
}

void
chat_send_pending(struct chats *chats, struct chat *chat)
{
	uint32_t flags = 0;

	if (chat->version != 0 && !chat->confirmed)
		chat_send_present(chats, chat, 1, 0);
	if (chat->change->pending_cause == CAUSE_RESUME ||
	    chat->change->pending_cause == CAUSE_RECOVERY)
		flags = CHAT_RESUME;
	else
		flags = CHAT_REKEY | (chat->resuming ? CHAT_RESUME : 0);
	/* New here, but (a reset) not for the app. */
	if (chat->version == 0)
		flags =
		    chat->change->pending.flags & OFFER_RESET ? CHAT_RESUME : 0;
	chat->change->offered_at = chats->now;
	chat_send_setup(chats, chat, &chat->change->pending, 0, flags);
}

void
chat_offer_hash(const struct offer *offer, uint8_t hash[KEY_SIZE])
{
	uint8_t bytes[OFFER_ENCODED];

	offer_encode(offer, bytes);
	(void)crypto_generichash(hash, KEY_SIZE, bytes, sizeof(bytes), NULL, 0);
}

static uint64_t
key_begins(const uint8_t key[KEY_SIZE])
{
	struct decoder d = { .bytes = key, .length = 8 };

	return (decode_u64(&d));
}

int
chat_key_used(const uint64_t used[KEYS_REMEMBERED], const uint8_t key[KEY_SIZE])
{
	uint64_t begins = key_begins(key);
	size_t i;

	for (i = 0; begins != 0 && i < KEYS_REMEMBERED; i++)
		if (used[i] == begins)
			return (1);
	return (0);
}

enum hermes_code
chat_derive(struct chats *chats, struct chat *chat, const struct offer *peer,
    int confirmed)
{
	int reset =
	    ((peer->flags | chat->change->pending.flags) & OFFER_RESET) != 0;
	char handle[HEX_SHORT_SIZE];

	if (ratchet_derive(&chat->ratchet, &chat->change->pending, peer) ==
	    -1) {
		metric_add(METRIC_RATCHET_FAILURES_DERIVATION, 1);
		chat_count_rekey(
		    METRIC_REKEYS_FAILED_APP, chat->change->pending_cause);
		return (CODE_DERIVATION_FAILED);
	}
	if (chat->pending_restored)
		ratchet_close(&chat->ratchet);
	chat->pending_restored = chat->next_due = 0;
	if (chat->version != 0)
		chat->rekeys++;
	if (peer->generation < chat->change->peer_generation)
		log_warn("peer_store_went_back", "handle=%s version=%u",
		    hex_short(handle, chat->key.handle, KEY_SIZE),
		    peer->version);
	offer_instance(&chat->change->pending, peer, chat->instance);
	chat->version = peer->version;
	chat->change->own = chat->change->pending;
	chat_offer_drop(chat);
	chat_offer_hash(peer, chat->change->peer_offer);
	chat->change->peer_keys[chat->version % KEYS_REMEMBERED] =
	    key_begins(peer->ephemeral);
	chat->change->app_keys[chat->version % KEYS_REMEMBERED] =
	    key_begins(chat->change->own.app_key_hash);
	chat->change->peer_generation = peer->generation;
	chat->last_ratchet_at = chat->last_active = chats->now;
	chat->wanted = 0;
	chat->change->previous_until = chats->now + chats->config->rekey.grace;
	chat->confirmed = (uint8_t)confirmed;
	if (confirmed)
		chat_drop_tail(chat);
	chat_touch(chats, chat, DIRTY_COLD | DIRTY_HOT);
	chats->erased = 1; /* the ephemeral and the old link */
	chat_count_rekey(
	    METRIC_REKEYS_APPLIED_APP, chat->change->pending_cause);
	if (reset || chat->change->pending_cause == CAUSE_RECOVERY)
		metric_add(METRIC_RATCHET_RECOVERIES_RECOVERED, 1);
	log_debug("epoch", "handle=%s side=%d version=%u cause=%u reset=%d",
	    hex_short(handle, chat->key.handle, KEY_SIZE), chat->key.side,
	    chat->version, chat->change->pending_cause, reset);
	return (CODE_NONE);
}

void
chat_send_ready(struct chats *chats, struct chat *chat, enum rekey_cause cause,
    int resumed, int first, int reset, uint64_t peer_delivered,
    uint64_t peer_acked)
{
	struct ipc_chat_ready ready = { .key = chat->key };

	ready.version = chat->version;
	ready.cause = cause;
	ready.resumed = (uint32_t)resumed;
	ready.first = (uint32_t)first;
	ready.reset = (uint32_t)(reset || chat->reset_untold);
	chat->reset_untold = 0;
	if (ready.reset && !first) {
		chat->reset_unheard = 1;
		chat_touch(chats, chat, DIRTY_HOT);
	}
	ready.peer_delivered = peer_delivered;
	ready.peer_acked = peer_acked;
	memcpy(ready.instance, chat->instance, INSTANCE_SIZE);
	if (resumed)
		chat->resuming = 0;
	chats->io.send(
	    chats->io.arg, PROCESS_ROUTER, IPC_CHAT_READY, &ready, NULL, 0);
}

void
chat_send_wanted(struct chats *chats, struct chat *chat, enum rekey_cause cause)
{
	static const uint8_t none[KEY_SIZE];
	struct ipc_chat_wanted wanted = { .key = chat->key };

	if (cause != CAUSE_NONE &&
	    ((cause != CAUSE_OPERATOR && cause != CAUSE_AGE &&
		 cause != CAUSE_COUNT) ||
		memcmp(chat->change->own.app_key_hash, none, KEY_SIZE) == 0))
		return;
	wanted.version = chat->version;
	chats->io.send(
	    chats->io.arg, PROCESS_ROUTER, IPC_CHAT_WANTED, &wanted, NULL, 0);
}

void
chat_send_error(struct chats *chats, const struct chat_key *key,
    enum hermes_code code, uint32_t expected, int64_t retry_after)
{
	struct ipc_chat_code error = { .key = *key };

	error.code = code;
	error.expected = expected;
	error.retry_after = retry_after;
	chats->io.send(
	    chats->io.arg, PROCESS_ROUTER, IPC_CHAT_ERROR, &error, NULL, 0);
}

void
chat_leave_node(struct chat *chat, const struct attestation *peer)
{
	memcpy(chat->peer_node, peer->node_key, KEY_SIZE);
	chat->peer_issued = peer->issued_at;
	ratchet_close(&chat->ratchet);
	chat->confirmed = 1; /* nobody there to catch up */
}

void
chat_move(struct chats *chats, struct chat *chat,
    const struct attestation *peer, uint32_t above)
{
	struct policy_chat state;
	uint32_t version;

	chat_policy(chat, &state);
	chat_leave_node(chat, peer);
	chat->resuming = 1;
	version = policy_reset_version(&state, above);
	if (version == 0) {
		chat_finish(chats, chat, 0, STATUS_RATCHET_DESYNC, 1);
		return;
	}
	/* A chat that never had an epoch has no link to reset, unless the
	 * app had it elsewhere. */
	chat_offer(chats, chat, version,
	    state.version != 0 || state.pending_reset,
	    state.version != 0 ? CAUSE_RESUME : CAUSE_NONE, NULL);
	chat_send_pending(chats, chat);
}

/* Too many recoveries, or no version left: the chat ends for both. */
static int
recovery_failed(struct chats *chats, struct chat *chat)
{
	char handle[HEX_SHORT_SIZE];

	metric_add(METRIC_RATCHET_RECOVERIES_THROTTLED, 1);
	metric_add(METRIC_RATCHET_RECOVERIES_FAILED, 1);
	log_warn("ratchet_desync", "handle=%s side=%d version=%u",
	    hex_short(handle, chat->key.handle, KEY_SIZE), chat->key.side,
	    chat->version);
	chat_finish(chats, chat, 0, STATUS_RATCHET_DESYNC, 1);
	return (-1);
}

int
chat_is_recovering(const struct chat *chat)
{
	return (chat_offered(chat) != 0 &&
		chat->change->pending_cause == CAUSE_RECOVERY);
}

int
chat_recovery_count(struct chats *chats, struct chat *chat)
{
	const struct config_rekey *rekey = &chats->config->rekey;

	if (throttle_attempt(&chat->change->recovery_throttle, rekey->limit,
		rekey->window, chats->now) != 0)
		return (recovery_failed(chats, chat));
	return (0);
}

int
chat_recover(struct chats *chats, struct chat *chat, uint32_t reset_above)
{
	struct policy_chat state;
	uint32_t version;
	char handle[HEX_SHORT_SIZE];

	if (chat_wake(chats, chat) == -1)
		return (0); /* what diverged fails again */
	chat_policy(chat, &state);
	/* One at a time: what fails meanwhile is the same divergence. */
	if (chat_is_recovering(chat) &&
	    (reset_above == 0 ||
		(state.pending_reset && state.pending > reset_above)))
		return (0);
	version = reset_above != 0 ? policy_reset_version(&state, reset_above)
				   : chat->version + 1;
	if (version == 0)
		return (recovery_failed(chats, chat));
	if (chat_recovery_count(chats, chat) == -1)
		return (-1);
	metric_add(METRIC_RATCHET_RECOVERIES_ATTEMPT, 1);
	log_warn("ratchet_recovery", "handle=%s side=%d version=%u reset=%d",
	    hex_short(handle, chat->key.handle, KEY_SIZE), chat->key.side,
	    version, reset_above != 0);
	if (reset_above == 0 && chat->change->pending.version != 0)
		/* A rekey under way will do; the peer may have it already. */
		chat->change->pending_cause = CAUSE_RECOVERY;
	else
		chat_offer(chats, chat, version, reset_above != 0,
		    CAUSE_RECOVERY, NULL);
	chat_send_pending(chats, chat);
	return (0);
}
