/*
 * keyd only. Offers of the keyd at the other end: whether they are what they
 * say, those for which there is no chat here, and those of another chat of the
 * name than ours. Neither mesh nor the other node is believed beyond what is
 * signed.
 */

#include <string.h>

#include "common/util/hex.h"
#include "common/util/log.h"
#include "keyd/setup.h"

void
setup_refuse(struct arriving *a, enum hermes_code code, uint32_t expected,
    int64_t retry_after)
{
	struct ipc_setup_refused refused = { .key = a->setup->key };
	char handle[HEX_SHORT_SIZE], node[HEX_SHORT_SIZE];
	char instance[HEX_SHORT_SIZE];

	log_info("setup_refused",
	    "handle=%s from=%s code=%s version=%u instance=%s",
	    hex_short(handle, a->setup->key.handle, KEY_SIZE),
	    hex_short(node, a->setup->node, KEY_SIZE), code_word(code),
	    a->setup->offer.version,
	    hex_short(instance, a->instance, INSTANCE_SIZE));
	memcpy(refused.node, a->setup->node, KEY_SIZE);
	refused.code = code;
	refused.expected = expected;
	refused.retry_after = retry_after;
	a->chats->io.send(a->chats->io.arg, PROCESS_MESH, IPC_SETUP_REFUSED,
	    &refused, NULL, 0);
}

static enum hermes_code
setup_check_names(const struct arriving *a)
{
	const struct ipc_setup *setup = a->setup;
	const struct offer *offer = &setup->offer;
	struct chat_key key;

	if (offer->side != (uint32_t)(setup->key.side ^ 1) ||
	    memchr(setup->chat_id, '\0', CHAT_ID_SIZE) == NULL ||
	    !chat_id_valid(setup->chat_id, strlen(setup->chat_id)) ||
	    chat_key_make(&key, setup->chat_id, a->local_app, a->peer_app) ==
		-1 ||
	    memcmp(&key, &setup->key, sizeof(key)) != 0 ||
	    memcmp(key.handle, offer->handle, KEY_SIZE) != 0)
		return (CODE_INVALID_FRAME);
	return (CODE_NONE);
}

enum hermes_code
setup_check(const struct arriving *a)
{
	const struct chats *chats = a->chats;
	const struct ipc_setup *setup = a->setup;
	const struct offer *offer = &setup->offer;
	int lo = setup->key.side == CHAT_LO;
	enum hermes_code code;

	if ((code = setup_check_names(a)) != CODE_NONE)
		return (code);
	if (chat_is_shunned(chats, setup->node))
		return (CODE_ROUTE_UNAVAILABLE);
	if (memcmp(lo ? offer->node_hi : offer->node_lo, setup->node,
		KEY_SIZE) != 0 ||
	    memcmp(setup->peer.app_key, a->peer_app, KEY_SIZE) != 0 ||
	    (setup->peer.kind == ATTESTATION_V1 &&
		!chats->config->app_compat_v1) ||
	    attested_verify(&a->chats->attested, &setup->peer, chats->now) ==
		-1)
		return (CODE_AUTH_FAILED);
	if (offer_verify(offer) == -1)
		return (CODE_AUTH_FAILED);
	/* An app moved, and one of us has yet to hear of it. */
	if (memcmp(lo ? offer->node_lo : offer->node_hi, chats->node_key,
		KEY_SIZE) != 0 ||
	    memcmp(setup->peer.node_key, setup->node, KEY_SIZE) != 0)
		return (CODE_ROUTE_UNAVAILABLE);
	return (CODE_NONE);
}

/* --- no such chat here -------------------------------------------------- */

/* The word that the peer would have heard, had it been there. */
static enum hermes_status
setup_gone_word(const struct arriving *a)
{
	const struct tombstone *tombstone =
	    tombstone_find(a->chats, &a->setup->key);

	if (tombstone == NULL || tombstone->status == STATUS_NONE ||
	    tombstone->status >= STATUS_COUNT ||
	    tombstone->status == STATUS_DELETED_BY_PEER)
		return (STATUS_DELETED);
	return ((enum hermes_status)tombstone->status);
}

/* What the peer has is over, up to version floor. */
static void
setup_gone(
    struct arriving *a, uint32_t floor, const uint8_t instance[INSTANCE_SIZE])
{
	struct ipc_teardown teardown = { .key = a->setup->key };
	char handle[HEX_SHORT_SIZE];

	log_debug("no_such_chat", "handle=%s side=%d offered=%u floor=%u",
	    hex_short(handle, a->setup->key.handle, KEY_SIZE),
	    a->setup->key.side, a->setup->offer.version, floor);
	memcpy(teardown.node, a->setup->node, KEY_SIZE);
	memcpy(teardown.chat_id, a->setup->chat_id, sizeof(teardown.chat_id));
	memcpy(teardown.instance, instance, INSTANCE_SIZE);
	teardown.status = (uint32_t)setup_gone_word(a);
	teardown.version = floor;
	a->chats->io.send(a->chats->io.arg, PROCESS_MESH, IPC_TEARDOWN_OUT,
	    &teardown, NULL, 0);
}

int
setup_goes_on(const struct arriving *a)
{
	return ((a->setup->flags & CHAT_RESUME) != 0 ||
		!ratchet_commits_to_none(a->setup->offer.link_commitment));
}

/* Has the peer app come to another node, from where it goes on with what it
 * had? Nobody there knows a version of that. */
static int
setup_arrives(const struct arriving *a)
{
	return ((a->setup->offer.flags & OFFER_RESET) != 0 &&
		a->setup->cause == CAUSE_NONE && setup_goes_on(a));
}

/*
 * May a peer that goes on do so with what was deleted? Where it does not say
 * which that is, or others of the name ended here since, only versions tell:
 * it offers at least the one after that which it had. Better that a chat ends
 * which was not over than that a later one has its numbers.
 */
static int
setup_may_be_over(const struct arriving *a)
{
	uint32_t version = a->setup->offer.version;

	return (version == 0 ||
		version - 1 <= tombstone_ended(a->chats, &a->setup->key));
}

void
setup_first(struct arriving *a)
{
	static const uint8_t none[INSTANCE_SIZE];
	const struct ipc_setup *setup = a->setup;
	const struct offer *offer = &setup->offer;
	uint32_t floor = tombstone_floor(a->chats, &setup->key);
	uint32_t ended = tombstone_ended(a->chats, &setup->key);
	int reset = (offer->flags & OFFER_RESET) != 0;
	enum hermes_code code;
	uint32_t expected;

	if (setup->answer) {
		/* To something we have deleted since, or never had. */
		chat_untie(a->chats, &setup->key, setup->node);
		return;
	}
	/* The peer missed that the chat was deleted. */
	if (tombstone_is(a->chats, &setup->key, a->instance) ||
	    (reset && setup_goes_on(a) && setup_may_be_over(a))) {
		setup_gone(a, offer->version, a->instance);
		return;
	}
	if (!reset && setup_goes_on(a)) {
		/* The app left one here for another node. It may be back, but
		 * has yet to say which it goes on with. */
		if (floor > ended)
			setup_refuse(a, CODE_CHAT_NOT_READY, 0, 0);
		else
			setup_gone(a,
			    floor > offer->version ? floor : offer->version,
			    a->instance);
		return;
	}
	if (a->chats->no_new && waiting_find(a->chats, &setup->key) == NULL) {
		setup_refuse(a, CODE_LIMIT_REACHED, 0, CHATS_RETRY);
		return;
	}
	code = policy_first(offer->version, floor, &expected);
	/* It goes on, and so may our app, above what it left here. */
	if (code == CODE_REPLAYED_KEY && reset && offer->version > ended)
		code = CODE_NONE;
	if (code != CODE_NONE) {
		setup_refuse(a, code, expected, 0);
		/* The peer knows a lower floor: tell it ours. That is no end,
		 * so none is named; nor is it of the version offered. */
		if (code == CODE_REPLAYED_KEY)
			setup_gone(a,
			    floor + (uint32_t)(floor == offer->version), none);
		return;
	}
	if (waiting_add(a->chats, setup, a->local_app, a->peer_app, a->tail,
		a->tail_length) == -1)
		setup_refuse(a, CODE_LIMIT_REACHED, 0, 0);
}

/* --- of another chat of the name ----------------------------------------- */

/* An answer is of the chat that it makes with our offer, if not of ours. */
static int
setup_answers_another(const struct arriving *a, const struct chat *chat)
{
	uint8_t made[INSTANCE_SIZE];

	if (instance_is_known(chat->instance))
		return (!instance_is_same(chat->instance, a->instance));
	offer_instance(&chat->change->pending, &a->setup->offer, made);
	return (!instance_is_same(made, a->instance));
}

int
setup_is_of_another(const struct arriving *a, const struct chat *chat)
{
	const struct ipc_setup *setup = a->setup;

	if (setup->answer)
		return (setup_answers_another(a, chat));
	if (instance_is_known(a->instance) && instance_is_known(chat->instance))
		return (instance_differs(a->instance, chat->instance));
	if (tombstone_is(a->chats, &setup->key, a->instance))
		return (1);
	/*
	 * One of the two begins, or is of an app that knows no more than a
	 * version. Nothing is over for an app of ours that goes on, and who
	 * comes without a number disturbs nothing.
	 */
	if (tombstone_ended(a->chats, &setup->key) == 0 ||
	    (chat->version == 0 &&
		(chat->change->pending.flags & OFFER_RESET) != 0) ||
	    !setup_goes_on(a) || !setup_may_be_over(a))
		return (0);
	if (setup_arrives(a))
		return (setup->delivered != 0 || setup->acked != 0);
	return (chat->version == 0);
}

int
setup_refuse_another(struct arriving *a, const struct chat *chat)
{
	if (a->setup->answer)
		return (0);
	/* Of two that live ours may be the one that was left, as long as the
	 * app that is here now has not said that it has it. */
	if ((chat->claim == 0 ||
		chat->claim != chat_claim(a->setup->local_issued)) &&
	    instance_differs(chat->instance, a->instance) &&
	    !tombstone_is(a->chats, &a->setup->key, a->instance)) {
		setup_refuse(a, CODE_CHAT_NOT_READY, 0, 0);
		return (0);
	}
	setup_gone(a, a->setup->offer.version, a->instance);
	return (1);
}
