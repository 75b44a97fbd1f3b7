/*
 * router: what keyd says of chats: those of its store, offers of peers,
 * epochs in force, refusals. keyd is trusted to have checked the peer's node;
 * the peer app's StartChat within is still hostile bytes.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "router/chats.h"

#define OFFERS_PER_APP 64 /* not taken up; keyd keeps the others */
#define RECOVER_TRIES  3
#define ROUTE_RETRY    (3 * CLOCK_SECOND)
#define OFFER_LIFETIME (600 * CLOCK_SECOND)

/* Offers that an app has not taken up, nor is about to: the oldest first. */
struct offers {
	struct side *side[OFFERS_PER_APP];
	size_t count;
};

static void
offers_gather(struct offers *offers, const struct app *app)
{
	struct side *side;

	offers->count = 0;
	TAILQ_FOREACH(side, &app->sides, app_entry)
	if (offers->count < OFFERS_PER_APP && !side->taken &&
	    !side_established(side) && side->ask == NULL && !side->ending)
		offers->side[offers->count++] = side;
}

/* How many of them are of a node, or (NULL) of an app. */
static size_t
offers_of(const struct offers *offers, const struct link *link,
    const struct peer *peer)
{
	size_t i, count = 0;

	for (i = 0; i < offers->count; i++)
		count += link != NULL ? offers->side[i]->peer->link == link
				      : offers->side[i]->peer == peer;
	return (count);
}

/* The oldest of whoever has most of them: a node, or (by_node 0) an app. NULL:
 * nobody has more than few and one. */
static struct side *
offers_most(const struct offers *offers, int by_node, size_t few)
{
	const struct peer *peer;
	struct side *side = NULL;
	size_t i, count, most = few + 1;

	for (i = 0; i < offers->count; i++) {
		peer = offers->side[i]->peer;
		if (by_node && peer->link == NULL)
			continue;
		count = offers_of(offers, by_node ? peer->link : NULL, peer);
		if (count > most) {
			most = count;
			side = offers->side[i];
		}
	}
	return (side);
}

/*
 * All places for offers to the app are taken. Whoever has most of them, of the
 * nodes or else of the apps, gives its oldest to one that has fewer; keyd
 * keeps that one, should the app ask for it. 0 or -1.
 */
static int
offer_make_room(const struct app *app, const struct ipc_chat_offer *offer)
{
	const struct link *link = link_get(offer->peer_node);
	const struct peer *peer = peer_get(offer->peer_app);
	struct side *side;
	struct offers offers;

	offers_gather(&offers, app);
	side = offers_most(
	    &offers, 1, link == NULL ? 0 : offers_of(&offers, link, NULL));
	if (side == NULL)
		side = offers_most(&offers, 0,
		    peer == NULL ? 0 : offers_of(&offers, NULL, peer));
	if (side == NULL)
		return (-1);
	side_drop(side);
	return (0);
}

/* The side of a chat that keyd names, made if it is new; NULL: no. */
static struct side *
ready_side(const struct chat_key *key, const char *chat_id,
    const uint8_t local[KEY_SIZE], const uint8_t peer[KEY_SIZE],
    const struct ipc_chat_offer *offer)
{
	struct side *side = side_find(key);
	struct app *app;

	if (side != NULL)
		return (side);
	if (!chat_id_valid(chat_id, strnlen(chat_id, CHAT_ID_SIZE)))
		return (NULL);
	app = app_find(local);
	if (offer != NULL && app != NULL && app->offers >= OFFERS_PER_APP &&
	    offer_make_room(app, offer) == -1)
		return (NULL);
	if ((side = side_make(local, peer, chat_id)) == NULL)
		return (NULL);
	if (memcmp(&side->key, key, sizeof(*key)) != 0) {
		log_error("chat_key_differs", "peer=%.12s", side->peer->hex);
		side_drop(side);
		return (NULL);
	}
	side->known = 1;
	return (side);
}

void
ready_record(const struct ipc_chat_record *record)
{
	struct side *side;

	if (side_find(&record->key) != NULL)
		return; /* we know better than the store */
	side = ready_side(&record->key, record->chat_id, record->local_app,
	    record->peer_app, NULL);
	if (side == NULL)
		return;
	peer_set_node(side->peer, record->peer_node);
	side_taken(side); /* it exists, whatever the limit is now */
	if (record->version == 0)
		core_offered(&side->core, 0);
	else
		core_restore(&side->core, record->version, record->accepted,
		    record->acked, record->delivered);
	memcpy(side->instance, record->instance, INSTANCE_SIZE);
	side->reset_untold = record->reset != 0;
}

/* --- offers -------------------------------------------------------------- */

/* Told, and the chat exists: nobody needs to hear it again. */
static void
offer_forget(struct side *side)
{
	if (!side_established(side) || side->offer_session == 0)
		return;
	free(side->offer);
	side->offer = NULL;
}

void
ready_tell_offer(struct side *side)
{
	struct session *session = side->app->session;
	struct frame_body *body = &session_body;
	uint64_t hash = 0;
	static const uint8_t seed[crypto_shorthash_KEYBYTES];

	if (side->offer == NULL || session == NULL || side->ending)
		return;
	/* The same offer renewed is no news. */
	(void)crypto_shorthash(
	    (uint8_t *)&hash, side->offer->bytes, side->offer->length, seed);
	if (side->offer_session == session->number && side->offer_hash == hash)
		return;
	side->offer_session = session->number;
	side->offer_hash = hash;
	frame_begin(body, FRAME_START_CHAT);
	body->length = side->offer->length;
	memcpy(body->bytes, side->offer->bytes, side->offer->length);
	session_send(session, body, SPAN_NONE);
	offer_forget(side);
}

/*
 * Keep the peer app's StartChat as our app is to see it: what the peer signed
 * stays as it is, who and which chat are what keyd verified. 0 or -1.
 */
static int
offer_keep(struct side *side, const uint8_t *tail, size_t length)
{
	static struct frame_start_chat start;
	struct frame_body *body = &session_body;
	struct offer_tail *offer;
	static char own[APP_ID_LENGTH + 1];

	if (frame_read_start_chat(&start, span_of(tail, length)) == -1 ||
	    start.metadata_bytes == FRAME_TOO_MUCH)
		return (-1);
	hex_encode(own, side->app->key, KEY_SIZE);
	start.chat_id = span_of(side->chat_id, strlen(side->chat_id));
	start.target = span_of(own, APP_ID_LENGTH);
	frame_begin(body, FRAME_START_CHAT);
	frame_put_start_chat(body, &start, side->peer->hex);
	if (body->failed ||
	    (offer = malloc(sizeof(*offer) + body->length)) == NULL)
		return (-1);
	offer->length = body->length;
	memcpy(offer->bytes, body->bytes, body->length);
	free(side->offer);
	side->offer = offer;
	if (side->app->session == NULL)
		side->offer_session = 0;
	return (0);
}

void
ready_offer(
    const struct ipc_chat_offer *offer, const uint8_t *tail, size_t tail_length)
{
	struct side *side;

	side = ready_side(&offer->key, offer->chat_id, offer->local_app,
	    offer->peer_app, offer);
	if (side == NULL || side->ending)
		return;
	side->known = 1;
	side->offer_version = offer->version;
	peer_set_node(side->peer, offer->peer_node);
	/* An answer without a StartChat (accept=auto) tells the app nothing;
	 * a first offer without one is still an offer. */
	if ((tail_length > 0 ||
		(side->ask == NULL && !side_established(side))) &&
	    offer_keep(side, tail, tail_length) == 0)
		ready_tell_offer(side);
	if (side_established(side))
		return;
	start_schedule(side, clock_monotonic() + OFFER_LIFETIME);
	core_offered(&side->core, side->ask != NULL);
	if (side->ask == NULL && side->app->session != NULL &&
	    side->app->session->accept_auto)
		start_auto(side);
}

/* --- epochs -------------------------------------------------------------- */

static int
ready_answers(const struct ask *ask, const struct ipc_chat_ready *ready)
{
	switch (ask->kind) {
	case ASK_FIRST:
		return (1);
	case ASK_RESUME:
		/* Of another chat than it has, keyd says what becomes. */
		return ((ready->resumed || ready->first) &&
			!instance_differs(ask->instance, ready->instance));
	default:
		return (ready->version > ask->from_version);
	}
}

static void
ready_ack(struct side *side, uint32_t version, int resumed)
{
	struct frame_body *body = &session_body;
	struct ask *ask = side->ask;

	frame_begin(body, FRAME_START_CHAT_ACK);
	frame_put_text(body, 1, side->chat_id);
	frame_put_number(body, 2, version);
	frame_put_number(body, 3, (uint64_t)resumed);
	frame_put_number(body, 4, side->core.accepted + 1);
	frame_put_number(body, 5, side->core.delivered + 1);
	frame_put_bytes(body, 6, side->instance, INSTANCE_SIZE);
	frame_put_text(body, 20, side->peer->hex);
	session_send(
	    side->app->session, body, correlation_span(&ask->correlation));
	metric_observe(METRIC_ROUTER_LATENCY_START_CHAT,
	    clock_monotonic() - ask->asked_at);
}

/* What we may have unacknowledged, the peer may too. */
static void
ready_grant(const struct side *side)
{
	const struct config_limits *limits = &proc_config()->limits;
	struct ipc *mesh = proc_ipc(PROCESS_MESH);
	struct ipc_credit credit;

	if (mesh == NULL)
		return;
	memset(&credit, 0, sizeof(credit));
	credit.key = side->key;
	credit.messages = limits->chat_window_messages;
	credit.bytes = limits->chat_window_bytes;
	ipc_send(mesh, IPC_CREDIT, &credit, NULL, 0);
}

/* Is it another chat of the name than the app had? It says which that was; one
 * that does not had no chat that nobody had before. */
static int
ready_is_another(const struct side *side)
{
	const struct ask *ask = side->ask;

	return (instance_is_known(ask->instance)
		    ? instance_differs(ask->instance, side->instance)
		    : side->anew);
}

/*
 * The app says that more was acknowledged than was ever accepted here, or at
 * the peer's node. Another chat was begun under the name, and the one it had
 * is over; or the peer lost that with its stream, before it moved, too.
 */
static void
ready_lags(struct side *side, const struct ipc_chat_ready *ready)
{
	struct ask *ask = side->ask;

	if (!ready_is_another(side)) {
		start_skip(side);
		return;
	}
	session_error(side->app->session, correlation_span(&ask->correlation),
	    CODE_REPLAYED_KEY, side, ready->version, 0);
	start_forget(side);
}

/* Does the app say that it had more of the chat than there is? What it says
 * to have received it may have, where the chat is not a new one: the node it
 * had it from need not have heard so. */
static int
ready_is_short(const struct side *side)
{
	const struct ask *ask = side->ask;

	return (instance_differs(ask->instance, side->instance) ||
		core_lags(&side->core, ask->next_send) ||
		(ready_is_another(side) &&
		    ask->next_receive > side->core.delivered + 1));
}

/* That its keys began anew the app hears, however long it was away. */
static void
ready_tell_reset(struct side *side)
{
	if (!side->reset_untold)
		return;
	side->reset_untold = 0;
	side_tell(side, "reset", SPAN_NONE);
	flow_reset_told(side);
}

/* Answer the StartChat this is the answer to; else say what changed. */
static void
ready_tell(
    struct side *side, const struct ipc_chat_ready *ready, uint32_t old_version)
{
	struct session *session = side->app->session;
	struct ask *ask = side->ask;
	int answered = 0;

	if (ready->reset && old_version != 0)
		side->reset_untold = 1;
	if (ask != NULL && ready_answers(ask, ready)) {
		if (session != NULL && ask->session == session->number &&
		    ready_is_short(side)) {
			ready_lags(side, ready);
			return;
		}
		if (session != NULL && ask->session == session->number) {
			ready_ack(side, ready->version,
			    ready->resumed && !ready->first);
			core_attach(&side->core, 1);
			side->anew = 0;
			answered = 1;
		}
		side->accepted = (ask->flags & CHAT_AUTO) != 0;
		start_forget(side);
	}
	if (session == NULL)
		return;
	if (session->accept_auto)
		core_attach(&side->core, 1);
	if (old_version == 0 || !side->core.attached)
		return;
	if (side->reset_untold)
		ready_tell_reset(side);
	else if (!answered && ready->version != old_version)
		side_tell(side, "rekeyed", SPAN_NONE);
}

static void
ready_event(const struct side *side, const struct ipc_chat_ready *ready,
    uint32_t old_version)
{
	struct ipc_event event = { .kind = EVENT_REKEY };

	if (ready->first)
		event.kind = EVENT_CHAT_READY;
	else if (ready->version == old_version || ready->resumed)
		event.kind = EVENT_CHAT_RESUMED;
	event.detail = ready->cause;
	event.version = ready->version;
	chat_event(&event, side);
}

/* It was said to be over while it was begun: nobody here has it, and the peer
 * is not left alone with it. */
static void
ready_disown(const struct ipc_chat_ready *ready)
{
	struct ipc_chat_end end = { .key = ready->key,
		.status = STATUS_DELETED };
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);
	char handle[HEX_SHORT_SIZE];

	log_warn("chat_unknown", "handle=%s state=ready version=%u",
	    hex_short(handle, ready->key.handle, KEY_SIZE), ready->version);
	if (keyd != NULL)
		ipc_send(keyd, IPC_CHAT_END, &end, NULL, 0);
}

void
ready_came(const struct ipc_chat_ready *ready)
{
	struct side *side = side_find(&ready->key);
	uint32_t old_version;

	if (side == NULL) {
		ready_disown(ready);
		return;
	}
	if (side->ending)
		return;
	old_version = side->core.version;
	if (ready->first)
		side->anew = !ready->reset || (ready->peer_delivered == 0 &&
						  ready->peer_acked == 0);
	memcpy(side->instance, ready->instance, INSTANCE_SIZE);
	core_ready(&side->core, ready);
	ready_event(side, ready, old_version);
	side->known = 1;
	offer_forget(side);
	if (ready->resumed || ready->first) {
		side->tries = 0;
		resume_over(side);
		start_schedule(side, 0);
		ready_grant(side);
	}
	ready_tell(side, ready, old_version);
	flow_mark(side);
}

void
ready_repeat(struct side *side)
{
	side->accepted = side->anew = 0;
	ready_ack(side, side->core.version, 1);
	core_attach(&side->core, 1);
	start_forget(side);
	ready_tell_reset(side);
}

void
ready_wanted(const struct ipc_chat_wanted *wanted)
{
	struct side *side = side_find(&wanted->key);

	if (side != NULL && !side->ending && side->app->session != NULL &&
	    side->core.attached)
		side_tell(side, "rekey_wanted", SPAN_NONE);
}

/* --- refusals ------------------------------------------------------------ */

/* Refusals that time, or the peer's return, will cure. */
static int
code_is_soft(enum hermes_code code)
{
	return (code == CODE_UNKNOWN_APP || code == CODE_ROUTE_UNAVAILABLE ||
		code == CODE_TARGET_NOT_FOUND || code == CODE_CHAT_NOT_READY);
}

/*
 * The peer's node will not resume at the version it was offered: the store of
 * one of the two went back. The two keyds see to that by themselves; the app
 * waits as long as they may need.
 */
static int
ready_may_recover(const struct side *side, enum hermes_code code)
{
	return (side_established(side) && side->ask != NULL &&
		side->ask->kind == ASK_RESUME && side->tries < RECOVER_TRIES &&
		(code == CODE_REPLAYED_KEY || code == CODE_INVALID_FRAME));
}

static void
ready_refuse_ask(
    struct side *side, const struct ipc_chat_code *code, int from_keyd)
{
	struct session *session = side->app->session;
	struct ask *ask = side->ask;

	if (session != NULL && ask->session == session->number)
		session_error(session, correlation_span(&ask->correlation),
		    (enum hermes_code)code->code, side, code->expected,
		    code->retry_after);
	start_forget(side);
	/* keyd forgot a chat that it refused to begin. */
	if (from_keyd && !side_established(side) && side->offer_version == 0)
		side_drop(side);
}

void
ready_error(const struct ipc_chat_code *code, int from_keyd)
{
	struct side *side = side_find(&code->key);
	enum hermes_code word = (enum hermes_code)code->code;
	struct ipc_chat_end ended = { .status = STATUS_DELETED };
	char handle[HEX_SHORT_SIZE];

	if (side == NULL || code->code == CODE_NONE || code->code >= CODE_COUNT)
		return;
	/* What ends a chat the peer's node says to keyd, which decides. */
	if (!from_keyd && code_ends_chat(word))
		return;
	if (word == CODE_RATCHET_FAILED) {
		/* To a message; since then it may have ended and begun anew,
		 * but is not ready yet. */
		if (side->core.state == CHAT_STATE_READY ||
		    side->core.state == CHAT_STATE_REKEYING)
			end_failed(side);
		return;
	}
	if (side->ending) {
		if (!from_keyd || side->left)
			return;
		/* It had nothing to end. */
		ended.key = side->key;
		end_ended(&ended);
		return;
	}
	(void)hex_short(handle, side->key.handle, KEY_SIZE);
	if ((side_established(side) && code_is_soft(word)) ||
	    (!from_keyd && ready_may_recover(side, word))) {
		log_debug("chat_waits", "handle=%s code=%s peer=%.12s", handle,
		    code_word(word), side->peer->hex);
		core_suspend(&side->core);
		resume_over(side);
		if (side->resume_at == 0)
			start_schedule(side, clock_monotonic() + ROUTE_RETRY);
		return;
	}
	/* The peer remembers a chat of that name: it says so to keyd, too,
	 * which begins above it or ends this one. */
	if (!from_keyd && side->ask != NULL && side->ask->kind == ASK_FIRST &&
	    (word == CODE_REPLAYED_KEY ||
		(word == CODE_INVALID_FRAME &&
		    (side->ask->flags & CHAT_CONTINUE))))
		return;
	if (side->ask != NULL && side->ask->sent)
		ready_refuse_ask(side, code, from_keyd);
	else
		log_debug("chat_refused", "handle=%s code=%s peer=%.12s",
		    handle, code_word(word), side->peer->hex);
}
