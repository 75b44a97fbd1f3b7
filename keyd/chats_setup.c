/*
 * keyd only. SETUP_IN: an offer of the keyd at the other end. Neither the
 * mesh process nor the other node is believed beyond what is signed.
 */

#include <string.h>

#include <sodium.h>

#include "common/util/hex.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/setup.h"

/* New epochs, and resumes of the present one, that a peer may begin in a rekey
 * window, per chat: far more than anybody needs, few enough to bear. */
#define EPOCHS_BURST     100
#define EPOCHS_PER_LIMIT 10

/* --- a chat of ours ----------------------------------------------------- */

/* What the peer says of its progress; true of a chat set up or resumed. */
static void
setup_progress(struct arriving *a, struct chat *chat, int trusted)
{
	const struct ipc_setup *setup = a->setup;

	/* More than we remember having sent: only when our memory may have
	 * gone back, or is not of this node. */
	if (setup->delivered > chat->accepted && trusted)
		chat->accepted = setup->delivered;
	if (setup->delivered > chat->acked &&
	    setup->delivered <= chat->accepted)
		chat->acked = setup->delivered;
	if (setup->acked > chat->delivered)
		chat->delivered = setup->acked;
	chat_touch(a->chats, chat, DIRTY_HOT);
}

static void
setup_ready(struct arriving *a, struct chat *chat, enum rekey_cause cause,
    int resumed, int first, int reset)
{
	uint64_t delivered = a->setup->delivered;

	if (delivered > chat->accepted)
		delivered = chat->accepted;
	chat_send_ready(a->chats, chat, cause, resumed, first, reset, delivered,
	    a->setup->acked);
}

/* The StartChat of the peer app, when it has said one. */
static void
setup_tell_start(struct arriving *a, const struct chat *chat)
{
	static const uint8_t none[KEY_SIZE];
	struct ipc_chat_offer offer = { .key = chat->key };

	if (a->tail_length == 0)
		return;
	(void)strlcpy(offer.chat_id, chat->chat_id, sizeof(offer.chat_id));
	memcpy(offer.local_app, chat->local_app, KEY_SIZE);
	memcpy(offer.peer_app, chat->peer_app, KEY_SIZE);
	memcpy(offer.peer_node, chat->peer_node, KEY_SIZE);
	offer.version = a->setup->offer.version;
	offer.flags = a->setup->flags & CHAT_REKEY;
	if (memcmp(a->setup->offer.app_key_hash, none, KEY_SIZE) != 0)
		offer.flags |= CHAT_HAS_KEY;
	a->chats->io.send(a->chats->io.arg, PROCESS_ROUTER, IPC_CHAT_OFFER,
	    &offer, a->tail, a->tail_length);
}

static enum rekey_cause
setup_cause(const struct arriving *a, const struct chat *chat)
{
	if (a->setup->offer.flags & OFFER_RESET)
		return (CAUSE_RECOVERY);
	if (chat->version == 0)
		return (CAUSE_NONE);
	if (a->setup->cause > CAUSE_NONE && a->setup->cause < CAUSE_COUNT_OF)
		return ((enum rekey_cause)a->setup->cause);
	return (a->setup->flags & CHAT_RESUME ? CAUSE_RESUME : CAUSE_APP);
}

/* The epoch just derived may have been in use in a life before: begin the
 * next one, with an ephemeral key of this life. */
static void
setup_next_epoch(struct arriving *a, struct chat *chat, int reset)
{
	chat->resuming = 1;
	chat->reset_untold |= reset != 0;
	chat->reset_unheard |= reset != 0; /* written with the epoch */
	chat->next_due = 1;
	if (chat_is_last(chat))
		return; /* the next start ends it */
	chat_offer(a->chats, chat, chat->version + 1, 0, CAUSE_RESUME, NULL);
	chat_send_pending(a->chats, chat);
}

/* One more of what the peer may not have without end. 0, or how long (ns)
 * until it may. */
static int64_t
setup_take(const struct arriving *a, struct chat *chat)
{
	const struct config_rekey *rekey = &a->chats->config->rekey;

	return (bucket_take(&chat->change->epoch_bucket,
	    EPOCHS_BURST + EPOCHS_PER_LIMIT * rekey->limit, rekey->window,
	    a->chats->now));
}

/* Both offers of the version are there, or ours is made now: derive. */
static void
setup_derive(struct arriving *a, struct chat *chat)
{
	struct chats *chats = a->chats;
	const struct ipc_setup *setup = a->setup;
	const struct offer *peer = &setup->offer;
	int first = chat->version == 0;
	int trusted = chat->ratchet.version == 0;
	int resumed, reset;
	enum rekey_cause cause;
	enum hermes_code code;
	int64_t wait;

	if (!setup->answer && (wait = setup_take(a, chat)) != 0) {
		chat_count_rekey(
		    METRIC_REKEYS_THROTTLED_APP, setup_cause(a, chat));
		setup_refuse(a, CODE_REKEY_THROTTLED, 0, wait);
		return;
	}
	if (chat->change->pending.version != peer->version)
		chat_offer_back(chats, chat, peer->version,
		    peer->flags & OFFER_RESET, setup_cause(a, chat));
	cause = chat->change->pending_cause;
	reset =
	    ((peer->flags | chat->change->pending.flags) & OFFER_RESET) != 0;
	if (!setup->answer)
		chat_count_rekey(
		    METRIC_REKEYS_ACCEPTED_APP, setup_cause(a, chat));
	code = chat_derive(chats, chat, peer, (int)setup->answer);
	if (code != CODE_NONE) {
		/* An answer may come again and again, for nothing. */
		if (setup->answer && setup_take(a, chat) != 0)
			return;
		setup_refuse(a, code, 0, 0);
		chat_send_error(chats, &chat->key, code, 0, 0);
		return;
	}
	resumed = first || reset || chat->resuming || cause == CAUSE_RESUME ||
		  cause == CAUSE_RECOVERY || (setup->flags & CHAT_RESUME);
	if (resumed)
		setup_progress(a, chat, trusted || reset);
	setup_tell_start(a, chat);
	if (chat->ratchet.version == 0) {
		setup_next_epoch(a, chat, reset);
		return;
	}
	if (!setup->answer)
		chat_send_present(chats, chat, 1, setup->flags & CHAT_RESUME);
	setup_ready(a, chat, cause, resumed, first, reset);
	if (cause != CAUSE_NONE)
		chat_send_wanted(chats, chat, cause);
}

/* The offer of our epoch once more. */
static void
setup_repeat(struct arriving *a, struct chat *chat)
{
	struct chats *chats = a->chats;
	uint32_t resume = a->setup->flags & CHAT_RESUME;
	int64_t wait;

	/* All that was not acknowledged is sent again after it. */
	if (!a->setup->answer && (wait = setup_take(a, chat)) != 0) {
		setup_refuse(a, CODE_REKEY_THROTTLED, 0, wait);
		return;
	}
	/* Offered again it need not be derived there; an answer is. */
	if (a->setup->answer)
		chat_confirm(chats, chat);
	chat_count_rekey(METRIC_REKEYS_RESUME_APP, CAUSE_RESUME);
	if (!a->setup->answer) {
		if (chat->change->pending.version == 0 &&
		    chat->ratchet.version == 0 && !chat_is_last(chat))
			chat_offer(chats, chat, chat->version + 1, 0,
			    CAUSE_RESUME, NULL);
		if (chat->change->pending.version != 0) {
			/* It lacks our present offer: that one first. */
			chat->confirmed = 0;
			chat->resuming |= resume != 0;
			chat_send_pending(chats, chat);
			return;
		}
		chat_send_present(chats, chat, 1, resume);
	} else if (!chat->resuming || !resume)
		/* It goes before an offer of a peer that lost its keys. */
		return;
	if (chat->ratchet.version == 0 || chat->change->pending.version != 0)
		return; /* READY comes with the next epoch */
	if (resume || chat->resuming) {
		setup_progress(a, chat, 0);
		setup_ready(a, chat, CAUSE_RESUME, 1, 0, 0);
	}
}

/* The peer deleted the chat, which we missed, and wants a new one. */
static void
setup_fresh(struct arriving *a, struct chat *chat)
{
	uint32_t floor = a->setup->offer.version - 1;
	char handle[HEX_SHORT_SIZE];

	log_debug("begun_anew", "handle=%s version=%u offered=%u",
	    hex_short(handle, chat->key.handle, KEY_SIZE), chat->version,
	    a->setup->offer.version);
	if (chat->change->pending.version != 0 &&
	    chat->change->pending.version > floor)
		/* Our offer for that version was out already: it may be
		 * refused, but it must not be used again. */
		chat_offer_drop(chat);
	chat_finish(a->chats, chat, floor, STATUS_DELETED_BY_PEER, 0);
	setup_first(a);
}

/* Does the peer begin anew, above what it may know of ours? Then ours has
 * ended, and we missed it. */
static int
setup_begins_above(const struct arriving *a, const struct chat *chat)
{
	const struct offer *offer = &a->setup->offer;

	return (!a->setup->answer && !setup_goes_on(a) &&
		(offer->flags & OFFER_RESET) == 0 && chat->version != 0 &&
		offer->version > chat->version);
}

/* Is it from a node to which the peer app moved since? */
static int
setup_is_later(const struct arriving *a, const struct chat *chat)
{
	return (a->setup->peer.kind == ATTESTATION_V1 ||
		a->setup->peer.issued_at > chat->peer_issued);
}

/* An offer from another node than the chat's. */
static void
setup_moved(struct arriving *a, struct chat *chat)
{
	struct chats *chats = a->chats;
	const struct ipc_setup *setup = a->setup;
	struct policy_chat state;
	uint32_t version;

	if (!setup_is_later(a, chat)) {
		setup_refuse(a, CODE_ROUTE_UNAVAILABLE, 0, 0);
		return;
	}
	chat_policy(chat, &state);
	chat_leave_node(chat, &setup->peer);
	if (setup->answer && chat_offered(chat) == 0) {
		chat_touch(chats, chat, DIRTY_COLD);
		return;
	}
	/* The offer we have out names the old node. */
	version = policy_reset_version(&state, 0);
	if (version == 0 ||
	    (setup->offer.version > version &&
		setup->offer.version - version > POLICY_RESET_STEP)) {
		setup_refuse(a, CODE_INVALID_FRAME, version, 0);
		return;
	}
	if (setup_begins_above(a, chat)) {
		setup_fresh(a, chat);
		return;
	}
	if (!setup->answer && setup->offer.version >= version &&
	    (setup->offer.flags & OFFER_RESET)) {
		chat_offer_drop(chat);
		chat_touch(chats, chat, DIRTY_COLD);
		setup_derive(a, chat);
		return;
	}
	if (setup->offer.version >= version)
		version = policy_reset_version(&state, setup->offer.version);
	chat->resuming = 1;
	chat_offer(chats, chat, version, 1, CAUSE_RESUME, NULL);
	chat_send_pending(chats, chat);
}

/* Where the peer app has moved to it hears that what it goes on with is over,
 * and that there is ours: above the version that has just ended there. */
static void
setup_follow(struct arriving *a, struct chat *chat)
{
	const struct ipc_setup *setup = a->setup;
	uint32_t version = setup->offer.version;

	if (setup_is_later(a, chat) &&
	    (version <= chat->version ||
		version - chat->version < POLICY_RESET_STEP))
		chat_move(a->chats, chat, &setup->peer,
		    version == UINT32_MAX ? version : version + 1);
}

static enum policy_verdict
setup_judge(const struct arriving *a, const struct chat *chat)
{
	const struct offer *offer = &a->setup->offer;
	struct policy_chat state;
	struct policy_offer judged = { .version = offer->version };
	uint8_t hash[KEY_SIZE];

	chat_policy(chat, &state);
	judged.reset = (offer->flags & OFFER_RESET) != 0;
	judged.answer = a->setup->answer != 0;
	judged.resume = (a->setup->flags & CHAT_RESUME) != 0;
	chat_offer_hash(offer, hash);
	judged.same = memcmp(hash, chat->change->peer_offer, KEY_SIZE) == 0;
	judged.same_key =
	    chat_key_used(chat->change->peer_keys, offer->ephemeral);
	judged.unlinked = ratchet_commits_to_none(offer->link_commitment);
	ratchet_commit_link(chat->ratchet.secrets->link, hash);
	judged.linked = memcmp(hash, offer->link_commitment, KEY_SIZE) == 0;
	return (policy_judge(&state, &judged));
}

/* A reset that the peer began is a recovery as one of ours; the one we have
 * under way was counted, and an app that moves there and back is none. */
static void
setup_reset(struct arriving *a, struct chat *chat)
{
	int ours = chat_is_recovering(chat);

	if (chat->version != 0 && !a->setup->answer && !ours &&
	    a->setup->cause == CAUSE_RECOVERY &&
	    chat_recovery_count(a->chats, chat) == -1)
		return;
	setup_derive(a, chat);
}

/* A node where the app has just come may offer what it knows, which is less
 * than the reset we have out to it: that is what it needs, and no recovery. */
static int
setup_lacks_reset(const struct arriving *a, const struct chat *chat)
{
	return (chat->change->pending.version != 0 &&
		(chat->change->pending.flags & OFFER_RESET) != 0 &&
		chat->ratchet.version == 0 &&
		a->setup->offer.version <= chat->version && !a->setup->answer);
}

static void
setup_existing(struct arriving *a, struct chat *chat)
{
	uint32_t version = a->setup->offer.version;
	uint32_t next = chat->version + 1;

	if (setup_lacks_reset(a, chat)) {
		chat_send_pending(a->chats, chat);
		return;
	}
	switch (setup_judge(a, chat)) {
	case POLICY_NEXT:
		setup_derive(a, chat);
		break;
	case POLICY_RESET:
		setup_reset(a, chat);
		break;
	case POLICY_REPEAT:
		setup_repeat(a, chat);
		break;
	case POLICY_STALE:
		chat_count_rekey(METRIC_REKEYS_STALE_APP, CAUSE_APP);
		if (!a->setup->answer) {
			setup_refuse(a, CODE_REPLAYED_KEY, next, 0);
			chat_send_present(a->chats, chat, 1, 0);
		}
		break;
	case POLICY_FRESH:
		setup_fresh(a, chat);
		break;
	case POLICY_WAIT:
		chat_send_pending(a->chats, chat);
		break;
	case POLICY_DIFFERENT:
		chat_count_rekey(METRIC_REKEYS_REPLAYED_APP, CAUSE_RECOVERY);
		setup_refuse(a, CODE_REPLAYED_KEY, next, 0);
		(void)chat_recover(a->chats, chat, version);
		break;
	case POLICY_UNLINKED:
		(void)chat_recover(a->chats, chat, version);
		break;
	case POLICY_BEHIND:
		setup_refuse(a, CODE_INVALID_FRAME, next, 0);
		(void)chat_recover(a->chats, chat, version);
		break;
	case POLICY_JUMP:
		setup_refuse(a, CODE_INVALID_FRAME, next, 0);
		break;
	case POLICY_REPLAY:
		chat_count_rekey(METRIC_REKEYS_REPLAYED_APP, CAUSE_APP);
		setup_refuse(a, CODE_REPLAYED_KEY, next, 0);
		break;
	}
}

void
chats_setup_in(struct chats *chats, const struct ipc_setup *setup,
    const uint8_t *tail, size_t tail_length)
{
	struct arriving a = { .chats = chats,
		.setup = setup,
		.tail = tail,
		.tail_length = tail_length };
	int lo = setup->key.side == CHAT_LO;
	struct chat *chat;
	enum hermes_code code;
	int moved;

	a.local_app = lo ? setup->offer.app_lo : setup->offer.app_hi;
	a.peer_app = lo ? setup->offer.app_hi : setup->offer.app_lo;
	a.instance = instance_is_known(setup->offer.instance)
			 ? setup->offer.instance
			 : setup->instance;
	code = setup_check(&a);
	if (code != CODE_NONE) {
		setup_refuse(&a, code, 0, 0);
		return;
	}
	if ((chat = chat_find(chats, &setup->key)) == NULL) {
		setup_first(&a);
		return;
	}
	if (chat_wake(chats, chat) == -1) {
		setup_refuse(&a, CODE_LIMIT_REACHED, 0, CHATS_RETRY);
		return;
	}
	moved = memcmp(chat->peer_node, setup->node, KEY_SIZE) != 0;
	if (setup_is_of_another(&a, chat)) {
		if (setup_refuse_another(&a, chat) && moved)
			setup_follow(&a, chat);
		return;
	}
	if (moved) {
		setup_moved(&a, chat);
		return;
	}
	if (setup->peer.issued_at > chat->peer_issued)
		chat->peer_issued = setup->peer.issued_at;
	setup_existing(&a, chat);
}
