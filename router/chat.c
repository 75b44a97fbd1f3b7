/*
 * router: the pure protocol core of a chat; see chat.h. Everything is O(1) a
 * message. Sequences come from apps and other nodes and are not believed:
 * every one is held against our own numbers first.
 */

#include <stdlib.h>
#include <string.h>

#include "router/chat.h"

#define SEQUENCE_MAX INT64_MAX
#define TELL_MAX     65536 /* acknowledgements owed from before a restart */

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	return (a < b ? a : b);
}

/* --- life ---------------------------------------------------------------- */

void
core_init(
    struct chat_core *chat, uint32_t window_messages, uint32_t window_bytes)
{
	memset(chat, 0, sizeof(*chat));
	chat->state = CHAT_STATE_NONE;
	chat->synced = 1;
	chat->window_messages = window_messages;
	chat->window_bytes = window_bytes;
	ring_init(&chat->out, 1);
	ring_init(&chat->in, 1);
}

void
core_free(struct chat_core *chat)
{
	ring_clear(&chat->out, 1);
	ring_clear(&chat->in, 1);
}

void
core_restore(struct chat_core *chat, uint32_t version, uint64_t accepted,
    uint64_t acked, uint64_t delivered)
{
	chat->state = CHAT_STATE_SUSPENDED;
	chat->version = version;
	chat->synced = 0;
	chat->both = 1;
	chat->accepted = chat->sent = accepted;
	chat->acked = chat->told = acked;
	chat->received = chat->delivered = delivered;
	chat->written = chat->relayed = delivered;
	ring_clear(&chat->out, accepted + 1);
	ring_clear(&chat->in, delivered + 1);
}

void
core_skip(struct chat_core *chat, uint64_t next_send)
{
	chat->accepted = smaller(next_send - 1, SEQUENCE_MAX);
	chat->sent = chat->acked = chat->told = chat->accepted;
	ring_clear(&chat->out, chat->accepted + 1);
	chat->flight_bytes = 0;
}

void
core_place(struct chat_core *chat, uint64_t next_send, uint64_t next_receive)
{
	core_skip(chat, next_send);
	chat->received = smaller(next_receive - 1, SEQUENCE_MAX);
	chat->delivered = chat->written = chat->relayed = chat->received;
	ring_clear(&chat->in, chat->received + 1);
}

int
core_lags(const struct chat_core *chat, uint64_t next_send)
{
	return (smaller(next_send, SEQUENCE_MAX) > chat->accepted + 1);
}

void
core_offered(struct chat_core *chat, int both)
{
	if (chat->state == CHAT_STATE_NONE)
		chat->state = CHAT_STATE_OFFERED;
	if (both)
		chat->both = 1;
}

void
core_rekeying(struct chat_core *chat, int on)
{
	if (on && chat->state == CHAT_STATE_READY)
		chat->state = CHAT_STATE_REKEYING;
	else if (!on && chat->state == CHAT_STATE_REKEYING)
		chat->state = CHAT_STATE_READY;
}

void
core_suspend(struct chat_core *chat)
{
	if (chat->state == CHAT_STATE_READY ||
	    chat->state == CHAT_STATE_REKEYING)
		chat->state = CHAT_STATE_SUSPENDED;
}

void
core_gone(struct chat_core *chat)
{
	chat->state = CHAT_STATE_GONE;
}

void
core_credit(struct chat_core *chat, uint32_t messages, uint32_t bytes)
{
	chat->credit_messages = messages;
	chat->credit_bytes = bytes;
}

/* --- out: from the local app --------------------------------------------- */

static int
can_seal(const struct chat_core *chat)
{
	return (chat->state == CHAT_STATE_READY ||
		chat->state == CHAT_STATE_REKEYING);
}

/* May one more message of length bytes be on its way? */
static int
has_room(const struct chat_core *chat, size_t length)
{
	uint64_t flight, messages, bytes;

	messages = chat->window_messages;
	if (chat->credit_messages > 0)
		messages = smaller(messages, chat->credit_messages);
	bytes = chat->window_bytes;
	if (chat->credit_bytes > 0)
		bytes = smaller(bytes, chat->credit_bytes);
	flight = chat->sent + 1 - chat->out.first;
	/* One at least, however large: the limit on size is elsewhere. */
	return (flight == 0 ||
		(flight < messages && chat->flight_bytes + length <= bytes));
}

static int
too_much_parked(const struct chat_core *chat)
{
	return (core_parked(chat) >=
		    CHAT_PARKED_WINDOWS * (uint64_t)chat->window_messages ||
		chat->out.bytes - chat->flight_bytes >=
		    CHAT_PARKED_WINDOWS * (uint64_t)chat->window_bytes);
}

/* A kept message came again: answer it under its new correlation_id. */
static void
keep_correlation(struct chat_core *chat, uint64_t sequence,
    const void *correlation, size_t length)
{
	struct chat_kept *kept, *other;

	if ((kept = ring_get(&chat->out, sequence)) == NULL)
		return;
	if (length > kept->correlation_room) {
		other =
		    kept_new(kept->bytes, kept->length, correlation, length);
		if (other == NULL)
			return; /* the old one will do */
		other->session = kept->session;
		other->at = kept->at;
		ring_replace(&chat->out, sequence, other);
		return;
	}
	if (length > 0)
		memcpy(kept->bytes + kept->length, correlation, length);
	kept->correlation_length = (uint32_t)length;
}

enum chat_verdict
core_accept(struct chat_core *chat, uint64_t sequence, const void *payload,
    size_t length, const void *correlation, size_t correlation_length,
    const struct chat_kept *about)
{
	struct chat_kept *kept;

	if (!chat->synced || !chat->both || chat->state == CHAT_STATE_NONE ||
	    chat->state == CHAT_STATE_GONE)
		return (CHAT_NOT_YET);
	if (sequence != 0 && sequence <= chat->told)
		return (CHAT_ACKED);
	if (sequence != 0 && sequence <= chat->accepted) {
		keep_correlation(
		    chat, sequence, correlation, correlation_length);
		return (CHAT_KNOWN);
	}
	if (sequence != chat->accepted + 1 || sequence > SEQUENCE_MAX)
		return (CHAT_GAP);
	if (too_much_parked(chat))
		return (CHAT_TOO_FAR);
	kept = kept_new(payload, length, correlation, correlation_length);
	if (kept == NULL || ring_push(&chat->out, kept) == -1) {
		free(kept);
		return (CHAT_NO_MEMORY);
	}
	kept->session = about->session;
	kept->at = about->at;
	chat->accepted = sequence;
	return (CHAT_ACCEPTED);
}

struct chat_kept *
core_next_seal(struct chat_core *chat, uint64_t *sequence)
{
	struct chat_kept *kept;

	if (chat->sent == chat->accepted || !can_seal(chat))
		return (NULL);
	kept = ring_get(&chat->out, chat->sent + 1);
	if (kept == NULL || !has_room(chat, kept->length))
		return (NULL);
	chat->sent++;
	chat->flight_bytes += kept->length;
	*sequence = chat->sent;
	return (kept);
}

/* Drop the copies of messages up to sequence, all sent. */
static void
release(struct chat_core *chat, uint64_t sequence)
{
	while (
	    chat->out.first <= sequence && chat->out.first < chat->out.next) {
		chat->flight_bytes -=
		    chat->out.slots[chat->out.first & (chat->out.size - 1)]
			->length;
		ring_shift(&chat->out);
	}
}

void
core_acknowledged(struct chat_core *chat, uint64_t sequence)
{
	sequence = smaller(sequence, chat->sent);
	if (sequence <= chat->acked)
		return;
	chat->acked = sequence;
	if (chat->progress == PROGRESS_NONE)
		chat->progress = PROGRESS_LATER;
	/* With nobody to tell, the copies need not wait for the telling. */
	if (!chat->attached)
		release(chat, sequence);
}

int
core_next_ack(
    struct chat_core *chat, uint64_t *sequence, struct chat_kept **kept)
{
	if (!chat->attached || chat->told >= chat->acked)
		return (0);
	*sequence = chat->told + 1;
	*kept = ring_get(&chat->out, chat->told + 1);
	return (1);
}

int
core_more_acks(const struct chat_core *chat)
{
	return (chat->told + 1 < chat->acked);
}

void
core_told(struct chat_core *chat)
{
	chat->told++;
	release(chat, chat->told);
}

void
core_attach(struct chat_core *chat, int attached)
{
	chat->attached = attached;
	if (attached)
		return;
	release(chat, chat->acked);
	/* What the stream took with it must come again from the peer. */
	if (chat->written < chat->delivered) {
		chat->delivered = chat->received = chat->written;
		ring_clear(&chat->in, chat->written + 1);
		chat->missing = 1;
	}
}

/* --- in: from the peer --------------------------------------------------- */

static int
hold_full(const struct chat_core *chat, size_t length)
{
	uint64_t held = chat->in.next - chat->in.first;

	return (
	    held > 0 &&
	    (held >= CHAT_PARKED_WINDOWS * (uint64_t)chat->window_messages ||
		chat->in.bytes + length >
		    CHAT_PARKED_WINDOWS * (uint64_t)chat->window_bytes));
}

enum chat_verdict
core_hold(struct chat_core *chat, uint64_t sequence, const void *payload,
    size_t length)
{
	struct chat_kept *kept = NULL;

	if (sequence != chat->received + 1 || hold_full(chat, length) ||
	    (kept = kept_new(payload, length, NULL, 0)) == NULL ||
	    ring_push(&chat->in, kept) == -1) {
		free(kept);
		chat->missing = 1;
		return (CHAT_DROPPED);
	}
	chat->received = sequence;
	return (CHAT_HELD);
}

/* A held message came again: the sender's app may have begun anew after a
 * restart of its router, so the later copy is the one that counts. */
static void
hold_again(struct chat_core *chat, uint64_t sequence, const void *payload,
    size_t length)
{
	struct chat_kept *kept;

	if (ring_get(&chat->in, sequence) != NULL &&
	    (kept = kept_new(payload, length, NULL, 0)) != NULL)
		ring_replace(&chat->in, sequence, kept);
}

enum chat_verdict
core_opened(struct chat_core *chat, uint64_t sequence, const void *payload,
    size_t length, int writable)
{
	if (sequence <= chat->delivered) {
		chat->relay_again = 1;
		return (CHAT_HELD);
	}
	if (sequence <= chat->received) {
		hold_again(chat, sequence, payload, length);
		return (CHAT_HELD);
	}
	if (sequence != chat->received + 1 || sequence > SEQUENCE_MAX) {
		chat->missing = 1;
		return (CHAT_DROPPED);
	}
	if (writable && chat->attached && chat->delivered == chat->received)
		return (CHAT_DELIVER);
	return (core_hold(chat, sequence, payload, length));
}

struct chat_kept *
core_next_delivery(struct chat_core *chat, uint64_t *sequence)
{
	if (!chat->attached)
		return (NULL);
	*sequence = chat->delivered + 1;
	return (ring_get(&chat->in, chat->delivered + 1));
}

void
core_put(struct chat_core *chat)
{
	chat->delivered++;
	if (chat->in.first < chat->in.next) {
		ring_shift(&chat->in);
		return;
	}
	chat->in.first = chat->in.next = chat->delivered + 1;
	chat->received = chat->delivered;
}

void
core_written(struct chat_core *chat, uint64_t sequence)
{
	sequence = smaller(sequence, chat->delivered);
	if (sequence <= chat->written)
		return;
	chat->written = sequence;
	chat->progress = PROGRESS_NOW;
}

void
core_delivered(struct chat_core *chat)
{
	core_put(chat);
	core_written(chat, chat->delivered);
}

int
core_take_relay(struct chat_core *chat, uint64_t *sequence)
{
	if (chat->relayed >= chat->written &&
	    (!chat->relay_again || chat->written == 0))
		return (0);
	chat->relay_again = 0;
	chat->relayed = *sequence = chat->written;
	return (1);
}

int
core_take_progress(struct chat_core *chat)
{
	int due = chat->progress != PROGRESS_NONE;

	chat->progress = PROGRESS_NONE;
	return (due);
}

int
core_progress_waits(const struct chat_core *chat)
{
	return (chat->progress == PROGRESS_LATER);
}

/* --- both ends compare --------------------------------------------------- */

/* What the peer has is delivered, the rest is to be sent (again). */
static void
agree_out(struct chat_core *chat, uint64_t peer_delivered)
{
	uint64_t i;

	peer_delivered = smaller(peer_delivered, SEQUENCE_MAX);
	if (!chat->synced) {
		/*
		 * The copies went with the last process. What the peer did
		 * not get, the app has to send again: it was not
		 * acknowledged. A peer ahead of us: our store was rolled
		 * back.
		 */
		if (peer_delivered > chat->acked)
			chat->acked = peer_delivered;
		if (chat->acked - chat->told > TELL_MAX)
			chat->told = chat->acked - TELL_MAX;
		chat->accepted = chat->sent = chat->acked;
		ring_clear(&chat->out, chat->accepted + 1);
		chat->flight_bytes = 0;
		return;
	}
	peer_delivered = smaller(peer_delivered, chat->accepted);
	if (peer_delivered > chat->acked)
		chat->acked = peer_delivered;
	chat->sent = chat->acked;
	chat->flight_bytes = 0;
	for (i = chat->out.first; i <= chat->sent; i++)
		chat->flight_bytes += ring_get(&chat->out, i)->length;
	if (!chat->attached)
		release(chat, chat->acked);
}

/* What the peer knows to be delivered is: our record may lag. */
static void
agree_in(struct chat_core *chat, uint64_t peer_acked)
{
	peer_acked = smaller(peer_acked, SEQUENCE_MAX);
	if (peer_acked > chat->delivered) {
		chat->delivered = peer_acked;
		while (chat->in.first <= peer_acked &&
		       chat->in.first < chat->in.next)
			ring_shift(&chat->in);
		if (chat->received < chat->delivered) {
			chat->received = chat->delivered;
			ring_clear(&chat->in, chat->delivered + 1);
		}
	}
	core_written(chat, peer_acked);
	chat->relay_again = 1;
	chat->missing = 0;
}

void
core_ready(struct chat_core *chat, const struct ipc_chat_ready *ready)
{
	if (chat->state == CHAT_STATE_GONE)
		return;
	chat->version = ready->version;
	if (!ready->resumed && !ready->first) {
		core_rekeying(chat, 0);
		return;
	}
	if (ready->first && !chat->synced)
		/* Not the chat of our record, but a new one of that name. */
		core_restore(chat, ready->version, 0, 0, 0);
	if ((ready->first || ready->reset) &&
	    ready->peer_delivered > chat->accepted) {
		/* New here, or our app was at another node meanwhile, but
		 * not to the peer: go on where it stands. */
		chat->synced = 0;
		chat->told = chat->acked =
		    smaller(ready->peer_delivered, SEQUENCE_MAX);
	}
	agree_out(chat, ready->peer_delivered);
	agree_in(chat, ready->peer_acked);
	chat->synced = 1;
	chat->both = 1;
	chat->progress = PROGRESS_NOW;
	chat->state = CHAT_STATE_READY;
}

uint64_t
core_unacknowledged(const struct chat_core *chat)
{
	return (chat->accepted - chat->acked);
}

uint64_t
core_parked(const struct chat_core *chat)
{
	return (chat->accepted - chat->sent);
}

size_t
core_memory(const struct chat_core *chat)
{
	return (chat->out.memory + chat->in.memory);
}
