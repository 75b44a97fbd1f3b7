/*
 * mesh, unprivileged; node bytes are hostile. Set-ups of tielines: out to
 * the node that keyd names; in only when the source app's signed presence
 * names the node that sent it, waiting a little for a presence that the
 * set-up overtook.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/gossip.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/tieline.h"
#include "mesh/tieline_setup.h"
#include "mesh/tieline_table.h"
#include "mesh/wire_frame.h"

#define PARKED_MAX 1024
#define PARKED_FOR CLOCK_SECOND

/* A set-up that came before the presence of its source app. */
struct parked {
	TAILQ_ENTRY(parked) entry;
	struct peer *peer;
	int64_t until; /* monotonic ns */
	struct ipc_setup setup;
	uint8_t source[KEY_SIZE];
	uint8_t *tail;
	size_t tail_length;
};

static TAILQ_HEAD(parked_list, parked) parked = TAILQ_HEAD_INITIALIZER(parked);
static unsigned parked_count;

static void
send_error(struct peer *peer, struct rpc_stream *stream,
    const struct frame *about, const struct chat_key *key, const char *chat_id,
    enum hermes_code code, int64_t retry_after)
{
	struct frame frame = { .body = FRAME_ERROR };
	const char *word = code_word(code);
	uint8_t *room;

	if (about != NULL)
		frame.correlation = about->correlation;
	if (key != NULL)
		tieline_name(&frame, key->handle, chat_id);
	frame.word.bytes = (const uint8_t *)word;
	frame.word.length = strlen(word);
	frame.retry_after = retry_after;
	if (stream == NULL) {
		(void)route_send(peer, &frame, 0);
		return;
	}
	/* Who does not read answers gets none. */
	if (rpc_stream_congested(stream) ||
	    (room = rpc_stream_reserve(stream, frame_bound(&frame))) == NULL)
		return;
	rpc_stream_commit(stream, frame_write(&frame, room));
}

void
tieline_answer_error(struct peer *peer, struct rpc_stream *stream,
    const struct frame *frame, enum hermes_code code)
{
	send_error(peer, stream, frame, NULL, NULL, code, 0);
}

void
tieline_answer_lost(
    struct peer *peer, struct rpc_stream *stream, const struct frame *frame)
{
	struct chat_key key = { 0 };

	if (frame->handle == NULL)
		return;
	memcpy(key.handle, frame->handle, KEY_SIZE);
	send_error(peer, stream, frame, &key, "", CODE_CHAT_NOT_READY, 0);
}

/* --- in ------------------------------------------------------------------ */

static void
setup_to_keyd(struct peer *peer, const struct ipc_setup *setup,
    const uint8_t *tail, size_t tail_length)
{
	struct tieline_side *side;

	side = tieline_take(&setup->key, setup->chat_id, peer);
	if (side == NULL) {
		metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
		send_error(peer, NULL, NULL, &setup->key, setup->chat_id,
		    CODE_LIMIT_REACHED, 0);
		return;
	}
	tieline_saw(side, &setup->peer);
	budget_spend(peer, BUDGET_KEYD, BUDGET_SETUP_IN);
	ipc_send(
	    proc_ipc(PROCESS_KEYD), IPC_SETUP_IN, setup, tail, tail_length);
}

/* The other app's presence as the chat's side had it last. */
static int
setup_seen_before(const struct peer *peer, struct ipc_setup *setup)
{
	const struct tieline *tieline = tieline_find(setup->key.handle);
	const struct tieline_side *side;

	if (tieline == NULL)
		return (0);
	side = &tieline->side[setup->key.side];
	if (!side->used || side->peer != peer || side->seen == NULL)
		return (0);
	setup->peer = *side->seen;
	return (1);
}

/*
 * May the set-up come from peer? 1 and its presence, 0 not (yet). A chat
 * whose other app was on that node, and which is nowhere else now, still
 * has its node for an owner: the app is away, the chat is not.
 */
static int
setup_sender_is_right(const struct peer *peer, struct ipc_setup *setup,
    const uint8_t source[KEY_SIZE])
{
	struct peer *at;

	switch (presence_find(source, &setup->peer, &at)) {
	case PRESENCE_FOUND:
		return (at == peer);
	case PRESENCE_LOCAL:
		return (0);
	case PRESENCE_UNKNOWN:
		break;
	}
	return (setup_seen_before(peer, setup));
}

/* The app must be here, unless it has the chat already and is away. */
static int
setup_target_is_here(struct ipc_setup *setup, const uint8_t target[KEY_SIZE])
{
	const struct tieline *tieline;
	struct attestation local;

	switch (presence_find(target, &local, NULL)) {
	case PRESENCE_LOCAL:
		setup->local_issued = local.issued_at;
		return (1);
	case PRESENCE_FOUND:
		return (0); /* it has left what is here */
	case PRESENCE_UNKNOWN:
		break;
	}
	tieline = tieline_find(setup->key.handle);
	if (tieline != NULL && tieline->side[setup->key.side].used)
		return (1);
	/* An app that is away does not end its chats: keyd knows them. */
	return (setup->answer || (setup->flags & CHAT_RESUME) != 0 ||
		setup->offer.version > 1);
}

static void
unpark(struct parked *one)
{
	TAILQ_REMOVE(&parked, one, entry);
	parked_count--;
	one->peer->parked--;
	free(one->tail);
	free(one);
}

/* The other node is told no and forgotten. */
static void
park_refuse(struct parked *one, enum hermes_code code)
{
	metric_add(METRIC_MESH_REFUSED_SENDER, 1);
	/* An answer is not answered; the app comes back or not. */
	if (!one->setup.answer)
		send_error(one->peer, NULL, NULL, &one->setup.key,
		    one->setup.chat_id, code, 0);
	unpark(one);
}

/* All places are taken: the node that has most of them gives its oldest to one
 * that has fewer. 0 or -1. */
static int
park_make_room(const struct peer *peer)
{
	struct parked *one, *most = NULL;

	for (one = TAILQ_FIRST(&parked); one != NULL;
	     one = TAILQ_NEXT(one, entry))
		if (most == NULL || one->peer->parked > most->peer->parked)
			most = one;
	if (most == NULL || most->peer->parked <= peer->parked + 1)
		return (-1);
	park_refuse(most, CODE_LIMIT_REACHED);
	return (0);
}

/* Takes over tail. */
static int
setup_park(struct peer *peer, const struct ipc_setup *setup,
    const uint8_t source[KEY_SIZE], uint8_t *tail, size_t tail_length)
{
	struct parked *one;

	if ((parked_count >= PARKED_MAX && park_make_room(peer) == -1) ||
	    (one = calloc(1, sizeof(*one))) == NULL) {
		free(tail);
		return (-1);
	}
	one->peer = peer;
	one->until = clock_monotonic() + PARKED_FOR;
	one->setup = *setup;
	memcpy(one->source, source, KEY_SIZE);
	one->tail = tail;
	one->tail_length = tail_length;
	TAILQ_INSERT_TAIL(&parked, one, entry);
	parked_count++;
	peer->parked++;
	gossip_ask(peer);
	return (0);
}

void
tieline_presence(const uint8_t app[KEY_SIZE])
{
	struct parked *one, *next;

	for (one = TAILQ_FIRST(&parked); one != NULL; one = next) {
		next = TAILQ_NEXT(one, entry);
		if (memcmp(one->source, app, KEY_SIZE) != 0 ||
		    !setup_sender_is_right(one->peer, &one->setup, one->source))
			continue;
		setup_to_keyd(
		    one->peer, &one->setup, one->tail, one->tail_length);
		unpark(one);
	}
}

void
tieline_tick(int64_t now)
{
	struct parked *one, *next;

	for (one = TAILQ_FIRST(&parked); one != NULL && one->until <= now;
	     one = next) {
		next = TAILQ_NEXT(one, entry);
		park_refuse(one, CODE_UNKNOWN_APP);
	}
}

int
tieline_setup_in(
    struct peer *peer, struct rpc_stream *stream, const struct frame *frame)
{
	uint8_t source[KEY_SIZE], target[KEY_SIZE], *tail;
	struct ipc_setup setup;
	size_t tail_length;

	budget_spend(peer, BUDGET_MESH,
	    BUDGET_SETUP + (uint32_t)(frame->setup.length / BUDGET_BYTES));
	if (frame_setup_read(&frame->setup, peer->node_id, peer->node_key,
		&setup, source, target, &tail, &tail_length) == -1) {
		if (errno == EACCES) {
			metric_add(METRIC_MESH_REFUSED_SENDER, 1);
			return (-1);
		}
		metric_add(METRIC_MESH_REFUSED_FORM, 1);
		tieline_answer_error(peer, stream, frame, CODE_INVALID_FRAME);
		return (0);
	}
	if (!setup_target_is_here(&setup, target)) {
		send_error(peer, stream, frame, &setup.key, setup.chat_id,
		    CODE_TARGET_NOT_FOUND, 0);
		free(tail);
		return (0);
	}
	if (!setup_sender_is_right(peer, &setup, source)) {
		if (setup_park(peer, &setup, source, tail, tail_length) == -1)
			send_error(peer, stream, frame, &setup.key,
			    setup.chat_id, CODE_LIMIT_REACHED, 0);
		return (0);
	}
	setup_to_keyd(peer, &setup, tail, tail_length);
	free(tail);
	return (0);
}

/* --- out ----------------------------------------------------------------- */

static void
offer_target(const struct offer *offer, uint8_t source[KEY_SIZE],
    uint8_t target[KEY_SIZE])
{
	memcpy(source, offer->side == CHAT_LO ? offer->app_lo : offer->app_hi,
	    KEY_SIZE);
	memcpy(target, offer->side == CHAT_LO ? offer->app_hi : offer->app_lo,
	    KEY_SIZE);
}

/* Both apps are here: the offer turns round and goes back to keyd. */
static void
setup_loop(const struct ipc_setup *out, const struct ipc_message *message)
{
	uint8_t source[KEY_SIZE], target[KEY_SIZE];
	struct ipc_setup in = *out;
	struct tieline_side *side;

	offer_target(&out->offer, source, target);
	in.key.side ^= 1;
	if (!setup_target_is_here(&in, target)) {
		tieline_route_error(&out->key, CODE_TARGET_NOT_FOUND, 0, 0);
		return;
	}
	if (presence_find(source, &in.peer, NULL) != PRESENCE_LOCAL &&
	    !setup_seen_before(NULL, &in)) {
		tieline_route_error(&out->key, CODE_UNKNOWN_APP, 0, 0);
		return;
	}
	if ((side = tieline_take(&in.key, in.chat_id, NULL)) == NULL) {
		tieline_route_error(&out->key, CODE_LIMIT_REACHED, 0, 0);
		return;
	}
	tieline_saw(side, &in.peer);
	ipc_send(proc_ipc(PROCESS_KEYD), IPC_SETUP_IN, &in, message->tail,
	    message->tail_length);
}

static void
setup_send(struct peer *peer, const struct ipc_setup *setup,
    const struct ipc_message *message)
{
	struct frame frame = { .body = FRAME_SETUP };
	uint8_t *packed;

	packed = frame_setup_pack(setup, message->tail, message->tail_length,
	    &mesh.identity, &frame.setup.length);
	if (packed == NULL) {
		log_warn("setup_not_packed", "error=\"%s\"", strerror(errno));
		tieline_route_error(&setup->key, CODE_INVALID_FRAME, 0, 0);
		return;
	}
	frame.setup.bytes = packed;
	(void)route_send(peer, &frame, 1);
	free(packed);
}

void
tieline_on_setup_out(void *arg, const struct ipc_message *message)
{
	const struct ipc_setup *setup = message->payload;
	struct tieline_side *side;
	struct peer *peer = NULL;
	int self = mesh_is_self(setup->node);
	uint8_t source[KEY_SIZE], target[KEY_SIZE];

	(void)arg;
	if (setup->key.side > CHAT_HI || setup->offer.side > CHAT_HI ||
	    memchr(setup->chat_id, '\0', sizeof(setup->chat_id)) == NULL)
		return;
	/* What an app has left for another node is nobody's business. */
	offer_target(&setup->offer, source, target);
	if (presence_find(source, NULL, NULL) == PRESENCE_FOUND)
		return;
	if (!self && ((peer = peer_find(setup->node)) == NULL || peer->ended)) {
		tieline_route_error(&setup->key, CODE_ROUTE_UNAVAILABLE, 0, 0);
		return;
	}
	side = tieline_take(&setup->key, setup->chat_id, peer);
	if (side == NULL) {
		tieline_route_error(&setup->key, CODE_LIMIT_REACHED, 0, 0);
		return;
	}
	side->confirmed = 1;
	if (setup->answer)
		budget_spend(peer, BUDGET_KEYD, BUDGET_ANSWER);
	if (self)
		setup_loop(setup, message);
	else
		setup_send(peer, setup, message);
}

void
tieline_on_setup_refused(void *arg, const struct ipc_message *message)
{
	const struct ipc_setup_refused *refused = message->payload;
	struct tieline *tieline;
	struct chat_key key = refused->key;
	enum hermes_code code = (enum hermes_code)refused->code;
	struct peer *peer = NULL;

	(void)arg;
	if (key.side > CHAT_HI || refused->code == CODE_NONE ||
	    refused->code >= CODE_COUNT)
		return;
	tieline = tieline_find(key.handle);
	if (mesh_is_self(refused->node)) {
		key.side ^= 1;
		tieline_route_error(
		    &key, code, refused->expected, refused->retry_after);
	} else if ((peer = peer_find(refused->node)) != NULL) {
		/* Or an attestation ended on its way: it is not cut. */
		if (code == CODE_AUTH_FAILED)
			budget_spend(peer, BUDGET_KEYD, BUDGET_REFUSED);
		send_error(peer, NULL, NULL, &key,
		    tieline == NULL ? "" : tieline->chat_id, code,
		    refused->retry_after);
	}
	/* It stood for this set-up only. */
	if (peer != NULL || mesh_is_self(refused->node))
		tieline_over(&refused->key, peer, 1);
}
