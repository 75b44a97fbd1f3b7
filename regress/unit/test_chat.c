/*
 * router/chat.c: windows, parking, duplicates, gaps, resume in every order,
 * and two parties over a lossy way with restarts, from a seed: each message
 * arrives exactly once and in order, whatever happened.
 */

#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "router/chat.h"
#include "regress/unit/suite.h"

#define WINDOW 8

static const struct chat_kept about;

static enum chat_verdict
say(struct chat_core *chat, uint64_t sequence)
{
	return (core_accept(
	    chat, sequence, &sequence, sizeof(sequence), "c", 1, &about));
}

static enum chat_verdict
hear(struct chat_core *chat, uint64_t sequence, int writable)
{
	return (
	    core_opened(chat, sequence, &sequence, sizeof(sequence), writable));
}

static void
make_ready(struct chat_core *chat, int resumed, uint64_t peer_delivered,
    uint64_t peer_acked)
{
	struct ipc_chat_ready ready;

	memset(&ready, 0, sizeof(ready));
	ready.version = 1;
	ready.resumed = resumed;
	ready.first = !resumed;
	ready.peer_delivered = peer_delivered;
	ready.peer_acked = peer_acked;
	core_ready(chat, &ready);
}

static void
begin(struct chat_core *chat)
{
	core_init(chat, WINDOW, 1 << 20);
	core_offered(chat, 1);
	make_ready(chat, 0, 0, 0);
	core_attach(chat, 1);
}

/* Seal all that may be; the last sequence, 0 for none. */
static uint64_t
seal_all(struct chat_core *chat)
{
	uint64_t sequence, last = 0;

	while (core_next_seal(chat, &sequence) != NULL) {
		ck_assert(last == 0 || sequence == last + 1);
		last = sequence;
	}
	return (last);
}

static uint64_t
tell_all(struct chat_core *chat)
{
	struct chat_kept *kept;
	uint64_t sequence, n = 0;

	while (core_next_ack(chat, &sequence, &kept)) {
		core_told(chat);
		n++;
	}
	return (n);
}

START_TEST(test_not_ready)
{
	struct chat_core chat;

	core_init(&chat, WINDOW, 1 << 20);
	ck_assert_int_eq(say(&chat, 1), CHAT_NOT_YET);
	core_offered(&chat, 0);
	ck_assert_int_eq(chat.state, CHAT_STATE_OFFERED);
	ck_assert_int_eq(say(&chat, 1), CHAT_NOT_YET);
	/* Both have said StartChat: taken, but nothing to seal with yet. */
	core_offered(&chat, 1);
	ck_assert_int_eq(say(&chat, 1), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 0);
	make_ready(&chat, 0, 0, 0);
	ck_assert_uint_eq(seal_all(&chat), 1);
	core_gone(&chat);
	ck_assert_int_eq(say(&chat, 2), CHAT_NOT_YET);
	core_free(&chat);
}
END_TEST

START_TEST(test_sequences)
{
	struct chat_core chat;
	struct chat_kept *kept;
	uint64_t sequence;

	begin(&chat);
	ck_assert_int_eq(say(&chat, 0), CHAT_GAP);
	ck_assert_int_eq(say(&chat, 2), CHAT_GAP);
	ck_assert_int_eq(say(&chat, UINT64_MAX), CHAT_GAP);
	ck_assert_int_eq(say(&chat, 1), CHAT_ACCEPTED);
	ck_assert_int_eq(say(&chat, 2), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 2);
	/* Said again before it was acknowledged: under its new id. */
	ck_assert_int_eq(
	    core_accept(&chat, 1, "x", 1, "again", 5, &about), CHAT_KNOWN);
	ck_assert_int_eq(
	    core_accept(&chat, 1, "x", 1, "b", 1, &about), CHAT_KNOWN);
	ck_assert_uint_eq(seal_all(&chat), 0);
	core_acknowledged(&chat, 1);
	ck_assert_int_eq(core_next_ack(&chat, &sequence, &kept), 1);
	ck_assert_uint_eq(sequence, 1);
	ck_assert_uint_eq(kept->correlation_length, 1);
	ck_assert_int_eq(kept->bytes[kept->length], 'b');
	core_told(&chat);
	ck_assert_int_eq(core_next_ack(&chat, &sequence, &kept), 0);
	ck_assert_int_eq(say(&chat, 1), CHAT_ACKED);
	ck_assert_int_eq(core_take_progress(&chat), 1);
	ck_assert_int_eq(core_take_progress(&chat), 0);
	/* What the peer acknowledges may wait, what was delivered may not. */
	core_acknowledged(&chat, 2);
	ck_assert_int_eq(core_progress_waits(&chat), 1);
	ck_assert_int_eq(core_opened(&chat, 1, "x", 1, 1), CHAT_DELIVER);
	core_delivered(&chat);
	ck_assert_int_eq(core_progress_waits(&chat), 0);
	ck_assert_int_eq(core_take_progress(&chat), 1);
	ck_assert_int_eq(core_progress_waits(&chat), 0);
	core_free(&chat);
}
END_TEST

START_TEST(test_window)
{
	struct chat_core chat;
	uint64_t i;

	begin(&chat);
	for (i = 1; i <= WINDOW + WINDOW * CHAT_PARKED_WINDOWS; i++) {
		ck_assert_int_eq(say(&chat, i), CHAT_ACCEPTED);
		(void)seal_all(&chat);
	}
	ck_assert_uint_eq(chat.sent, WINDOW);
	ck_assert_uint_eq(core_parked(&chat), WINDOW * CHAT_PARKED_WINDOWS);
	ck_assert_int_eq(say(&chat, i), CHAT_TOO_FAR);
	ck_assert_int_eq(say(&chat, i + 1), CHAT_GAP);
	core_acknowledged(&chat, 3);
	/* Room only comes with the telling of an app that reads. */
	ck_assert_uint_eq(seal_all(&chat), 0);
	ck_assert_uint_eq(tell_all(&chat), 3);
	ck_assert_uint_eq(seal_all(&chat), WINDOW + 3);
	ck_assert_int_eq(say(&chat, i), CHAT_ACCEPTED);
	/* An acknowledgement of what was never sent counts for nothing. */
	core_acknowledged(&chat, UINT64_MAX);
	ck_assert_uint_eq(chat.acked, WINDOW + 3);
	/* The peer's grant narrows the window. */
	(void)tell_all(&chat);
	core_credit(&chat, 2, 1 << 20);
	ck_assert_uint_eq(seal_all(&chat), WINDOW + 5);
	core_free(&chat);
	ck_assert_uint_eq(core_memory(&chat), 0);
}
END_TEST

START_TEST(test_window_bytes)
{
	struct chat_core chat;
	static uint8_t large[3000];

	core_init(&chat, WINDOW, 4000);
	core_offered(&chat, 1);
	make_ready(&chat, 0, 0, 0);
	core_attach(&chat, 1);
	ck_assert_int_eq(
	    core_accept(&chat, 1, large, 3000, NULL, 0, &about), CHAT_ACCEPTED);
	ck_assert_int_eq(
	    core_accept(&chat, 2, large, 1000, NULL, 0, &about), CHAT_ACCEPTED);
	ck_assert_int_eq(
	    core_accept(&chat, 3, large, 1, NULL, 0, &about), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 2);
	core_acknowledged(&chat, 1);
	(void)tell_all(&chat);
	ck_assert_uint_eq(chat.flight_bytes, 1000);
	ck_assert_uint_eq(seal_all(&chat), 3);
	core_acknowledged(&chat, 3);
	(void)tell_all(&chat);
	ck_assert_uint_eq(chat.flight_bytes, 0);
	/* One that is larger than the window goes alone. */
	chat.window_bytes = 100;
	ck_assert_int_eq(
	    core_accept(&chat, 4, large, 3000, NULL, 0, &about), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 4);
	core_free(&chat);
}
END_TEST

START_TEST(test_deliver)
{
	struct chat_core chat;
	uint64_t sequence;

	begin(&chat);
	(void)core_take_relay(&chat, &sequence);
	ck_assert_int_eq(hear(&chat, 2, 1), CHAT_DROPPED);
	ck_assert_int_eq(chat.missing, 1);
	ck_assert_int_eq(hear(&chat, 1, 1), CHAT_DELIVER);
	core_delivered(&chat);
	/* The app reads no more: hold in order, deliver nothing past it. */
	ck_assert_int_eq(hear(&chat, 2, 0), CHAT_HELD);
	ck_assert_int_eq(hear(&chat, 3, 1), CHAT_HELD);
	ck_assert_int_eq(hear(&chat, 3, 1), CHAT_HELD);
	ck_assert_int_eq(hear(&chat, 5, 1), CHAT_DROPPED);
	/* One acknowledgement, however many came. */
	ck_assert_int_eq(core_take_relay(&chat, &sequence), 1);
	ck_assert_uint_eq(sequence, 1);
	ck_assert_int_eq(core_take_relay(&chat, &sequence), 0);
	ck_assert_ptr_nonnull(core_next_delivery(&chat, &sequence));
	core_delivered(&chat);
	ck_assert_ptr_nonnull(core_next_delivery(&chat, &sequence));
	ck_assert_uint_eq(sequence, 3);
	core_delivered(&chat);
	ck_assert_ptr_null(core_next_delivery(&chat, &sequence));
	ck_assert_int_eq(core_take_relay(&chat, &sequence), 1);
	ck_assert_uint_eq(sequence, 3);
	/* A duplicate is acknowledged again, not delivered again. */
	ck_assert_int_eq(hear(&chat, 2, 1), CHAT_HELD);
	ck_assert_int_eq(core_take_relay(&chat, &sequence), 1);
	ck_assert_uint_eq(sequence, 3);
	ck_assert_int_eq(hear(&chat, 4, 1), CHAT_DELIVER);
	core_delivered(&chat);
	core_free(&chat);
}
END_TEST

START_TEST(test_hold_bound)
{
	struct chat_core chat;
	uint64_t i, sequence;

	begin(&chat);
	core_attach(&chat, 0);
	for (i = 1; i <= WINDOW * CHAT_PARKED_WINDOWS; i++)
		ck_assert_int_eq(hear(&chat, i, 1), CHAT_HELD);
	ck_assert_int_eq(chat.missing, 0);
	ck_assert_int_eq(hear(&chat, i, 1), CHAT_DROPPED);
	ck_assert_int_eq(chat.missing, 1);
	ck_assert_int_eq(hear(&chat, i + 1, 1), CHAT_DROPPED);
	ck_assert_ptr_null(core_next_delivery(&chat, &sequence));
	core_attach(&chat, 1);
	for (i = 0; core_next_delivery(&chat, &sequence) != NULL; i++)
		core_delivered(&chat);
	ck_assert_uint_eq(i, WINDOW * CHAT_PARKED_WINDOWS);
	ck_assert_int_eq(hear(&chat, i + 1, 1), CHAT_DELIVER);
	core_free(&chat);
}
END_TEST

START_TEST(test_suspend_resume)
{
	struct chat_core chat;
	uint64_t sequence;

	begin(&chat);
	ck_assert_int_eq(say(&chat, 1), CHAT_ACCEPTED);
	ck_assert_int_eq(say(&chat, 2), CHAT_ACCEPTED);
	ck_assert_int_eq(say(&chat, 3), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 3);
	core_suspend(&chat);
	/* What is said meanwhile waits. */
	ck_assert_int_eq(say(&chat, 4), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 0);
	/* Only the key changed: still cut off. */
	struct ipc_chat_ready rekeyed = { .version = 2 };
	core_ready(&chat, &rekeyed);
	ck_assert_uint_eq(seal_all(&chat), 0);
	make_ready(&chat, 1, 2, 0);
	ck_assert_uint_eq(chat.acked, 2);
	ck_assert_uint_eq(tell_all(&chat), 2);
	ck_assert_uint_eq(seal_all(&chat), 4);
	ck_assert_uint_eq(chat.sent, 4);
	/* Resumed again, in vain: everything unacknowledged once more. */
	make_ready(&chat, 1, 0, 0);
	ck_assert_int_eq(core_next_seal(&chat, &sequence) != NULL, 1);
	ck_assert_uint_eq(sequence, 3);
	ck_assert_uint_eq(seal_all(&chat), 4);
	/* A peer that claims more than was said. */
	make_ready(&chat, 1, 1000, 0);
	ck_assert_uint_eq(chat.acked, 4);
	ck_assert_uint_eq(tell_all(&chat), 2);
	ck_assert_int_eq(say(&chat, 5), CHAT_ACCEPTED);
	core_free(&chat);
}
END_TEST

START_TEST(test_restart)
{
	struct chat_core chat;
	struct chat_kept *kept;
	uint64_t sequence;

	core_init(&chat, WINDOW, 1 << 20);
	core_restore(&chat, 3, 10, 5, 7);
	ck_assert_int_eq(chat.state, CHAT_STATE_SUSPENDED);
	ck_assert_int_eq(say(&chat, 11), CHAT_NOT_YET);
	/* The peer has 8 of ours; it knows that we were given 9. */
	make_ready(&chat, 1, 8, 9);
	ck_assert_uint_eq(chat.accepted, 8);
	ck_assert_uint_eq(chat.delivered, 9);
	ck_assert_uint_eq(seal_all(&chat), 0);
	core_attach(&chat, 1);
	ck_assert_int_eq(core_next_ack(&chat, &sequence, &kept), 1);
	ck_assert_uint_eq(sequence, 6);
	ck_assert_ptr_null(kept);
	ck_assert_uint_eq(tell_all(&chat), 3);
	ck_assert_int_eq(say(&chat, 8), CHAT_ACKED);
	ck_assert_int_eq(say(&chat, 9), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 9);
	ck_assert_int_eq(hear(&chat, 9, 1), CHAT_HELD);
	ck_assert_int_eq(hear(&chat, 10, 1), CHAT_DELIVER);
	core_free(&chat);

	/* Absurd claims of a hostile peer stay bounded. */
	core_init(&chat, WINDOW, 1 << 20);
	core_restore(&chat, 3, 10, 5, 7);
	make_ready(&chat, 1, UINT64_MAX, UINT64_MAX);
	core_attach(&chat, 1);
	ck_assert_uint_le(tell_all(&chat), 65536);
	ck_assert_int_eq(say(&chat, chat.accepted + 1), CHAT_GAP);
	ck_assert_int_eq(hear(&chat, chat.received + 1, 1), CHAT_DROPPED);
	core_free(&chat);

	/* Deleted and begun anew under the same name. */
	core_init(&chat, WINDOW, 1 << 20);
	core_restore(&chat, 3, 10, 5, 7);
	make_ready(&chat, 0, 0, 0);
	core_attach(&chat, 1);
	ck_assert_int_eq(say(&chat, 1), CHAT_ACCEPTED);
	ck_assert_int_eq(hear(&chat, 1, 1), CHAT_DELIVER);
	core_free(&chat);
}
END_TEST

/* The app says where it stands, and the peer has got one more since. */
START_TEST(test_placed)
{
	struct chat_core chat;
	struct ipc_chat_ready ready = { .version = 4,
		.resumed = 1,
		.first = 1,
		.peer_delivered = 20,
		.peer_acked = 28 };

	core_init(&chat, WINDOW, 1 << 20);
	core_offered(&chat, 1);
	core_place(&chat, 20, 31);
	core_ready(&chat, &ready);
	core_attach(&chat, 1);
	/* The peer's node lags behind what the app has got. */
	ck_assert_uint_eq(chat.delivered, 30);
	ck_assert_uint_eq(chat.accepted, 20);
	ck_assert_int_eq(say(&chat, 20), CHAT_ACKED);
	ck_assert_int_eq(say(&chat, 22), CHAT_GAP);
	ck_assert_int_eq(say(&chat, 21), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 21);
	ck_assert_int_eq(hear(&chat, 29, 1), CHAT_HELD);
	ck_assert_int_eq(hear(&chat, 30, 1), CHAT_HELD);
	ck_assert_int_eq(hear(&chat, 31, 1), CHAT_DELIVER);
	core_free(&chat);

	/* Absurd ones do not go round. */
	core_init(&chat, WINDOW, 1 << 20);
	core_offered(&chat, 1);
	core_place(&chat, UINT64_MAX, UINT64_MAX);
	make_ready(&chat, 1, 3, 3);
	core_attach(&chat, 1);
	ck_assert_int_eq(say(&chat, chat.accepted + 1), CHAT_GAP);
	ck_assert_int_eq(hear(&chat, chat.received + 1, 1), CHAT_DROPPED);
	core_free(&chat);
}
END_TEST

/* The app was at another node: its chat is new here, not to the peer. */
START_TEST(test_moved)
{
	struct chat_core chat;
	struct ipc_chat_ready ready = { .version = 4,
		.resumed = 1,
		.first = 1,
		.reset = 1,
		.peer_delivered = 20,
		.peer_acked = 30 };

	core_init(&chat, WINDOW, 1 << 20);
	core_offered(&chat, 1);
	core_ready(&chat, &ready);
	core_attach(&chat, 1);
	ck_assert_uint_eq(tell_all(&chat), 0);
	ck_assert_int_eq(say(&chat, 21), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 21);
	ck_assert_int_eq(hear(&chat, 31, 1), CHAT_DELIVER);
	core_delivered(&chat);
	core_free(&chat);
}
END_TEST

START_TEST(test_app_away)
{
	struct chat_core chat;
	struct chat_kept *kept;
	uint64_t sequence;

	begin(&chat);
	ck_assert_int_eq(say(&chat, 1), CHAT_ACCEPTED);
	ck_assert_int_eq(say(&chat, 2), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 2);
	core_attach(&chat, 0);
	core_acknowledged(&chat, 2);
	ck_assert_uint_eq(core_memory(&chat), 0);
	ck_assert_int_eq(core_next_ack(&chat, &sequence, &kept), 0);
	ck_assert_int_eq(hear(&chat, 1, 1), CHAT_HELD);
	core_attach(&chat, 1);
	ck_assert_uint_eq(tell_all(&chat), 2);
	ck_assert_ptr_nonnull(core_next_delivery(&chat, &sequence));
	core_free(&chat);
}
END_TEST

/* Messages go on while the key changes; only then is it changing. */
START_TEST(test_rekeying)
{
	struct chat_core chat;

	begin(&chat);
	core_rekeying(&chat, 1);
	ck_assert_int_eq(chat.state, CHAT_STATE_REKEYING);
	ck_assert_int_eq(say(&chat, 1), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 1);
	core_rekeying(&chat, 0);
	ck_assert_int_eq(chat.state, CHAT_STATE_READY);
	core_rekeying(&chat, 1);
	core_suspend(&chat);
	ck_assert_int_eq(chat.state, CHAT_STATE_SUSPENDED);
	core_rekeying(&chat, 1);
	ck_assert_int_eq(chat.state, CHAT_STATE_SUSPENDED);
	core_rekeying(&chat, 0);
	ck_assert_int_eq(chat.state, CHAT_STATE_SUSPENDED);
	core_free(&chat);
}
END_TEST

/* What was on the app's stream when that ended comes again from the peer. */
START_TEST(test_stream_lost)
{
	struct chat_core chat;
	uint64_t i, sequence;

	begin(&chat);
	for (i = 1; i <= 2; i++) {
		ck_assert_int_eq(hear(&chat, i, 1), CHAT_DELIVER);
		core_put(&chat);
	}
	core_written(&chat, 1);
	ck_assert_int_eq(hear(&chat, 3, 0), CHAT_HELD);
	ck_assert_int_eq(chat.missing, 0);
	core_attach(&chat, 0);
	ck_assert_int_eq(chat.missing, 1);
	core_attach(&chat, 1);
	ck_assert_ptr_null(core_next_delivery(&chat, &sequence));
	ck_assert_int_eq(hear(&chat, 3, 1), CHAT_DROPPED);
	ck_assert_int_eq(hear(&chat, 1, 1), CHAT_HELD);
	ck_assert_int_eq(hear(&chat, 2, 1), CHAT_DELIVER);
	core_free(&chat);
}
END_TEST

/* The peer knows of more that the app was given than we: what is held beyond
 * that stays. */
START_TEST(test_held_over_a_resume)
{
	struct chat_core chat;
	uint64_t i, sequence;

	begin(&chat);
	for (i = 1; i <= 4; i++)
		ck_assert_int_eq(hear(&chat, i, 0), CHAT_HELD);
	make_ready(&chat, 1, 0, 2);
	ck_assert_uint_eq(chat.delivered, 2);
	ck_assert_ptr_nonnull(core_next_delivery(&chat, &sequence));
	ck_assert_uint_eq(sequence, 3);
	ck_assert_int_eq(hear(&chat, 5, 1), CHAT_HELD);
	core_free(&chat);
}
END_TEST

/* A reset takes no acknowledgement from the app. */
START_TEST(test_reset)
{
	struct ipc_chat_ready ready = {
		.version = 3, .resumed = 1, .reset = 1, .peer_delivered = 2
	};
	struct chat_core chat;

	begin(&chat);
	ck_assert_int_eq(say(&chat, 1), CHAT_ACCEPTED);
	ck_assert_int_eq(say(&chat, 2), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 2);
	core_ready(&chat, &ready);
	ck_assert_int_eq(core_more_acks(&chat), 1);
	ck_assert_uint_eq(tell_all(&chat), 2);
	ck_assert_int_eq(core_more_acks(&chat), 0);
	core_free(&chat);
}
END_TEST

/* The app has sent more, elsewhere: go on after it. */
START_TEST(test_skip)
{
	struct chat_core chat;

	begin(&chat);
	ck_assert_int_eq(say(&chat, 1), CHAT_ACCEPTED);
	ck_assert_int_eq(core_lags(&chat, 2), 0);
	ck_assert_int_eq(core_lags(&chat, 3), 1);
	core_skip(&chat, 11);
	ck_assert_int_eq(core_lags(&chat, 11), 0);
	ck_assert_int_eq(say(&chat, 10), CHAT_ACKED);
	ck_assert_int_eq(say(&chat, 12), CHAT_GAP);
	ck_assert_int_eq(say(&chat, 11), CHAT_ACCEPTED);
	ck_assert_uint_eq(seal_all(&chat), 11);
	ck_assert_uint_eq(tell_all(&chat), 0);
	core_free(&chat);
}
END_TEST

/* --- two parties --------------------------------------------------------- */

#define MESSAGES 400
#define PIPE     4096

enum { DATA, ACK };

struct packet {
	int kind;
	uint64_t sequence;
	uint64_t value;
};

struct party {
	struct chat_core chat;
	/* keyd's record */
	uint64_t accepted;
	uint64_t acked;
	uint64_t delivered;
	/* the app */
	uint64_t next_send;
	uint64_t confirmed;
	uint64_t got;
	int slow;
	/* what is on its way to it */
	struct packet pipe[PIPE];
	size_t head, tail;
};

static struct party parties[2];
static unsigned int seed;

static unsigned int
chance(unsigned int n)
{
	return ((unsigned int)rand_r(&seed) % n);
}

static void
put(struct party *to, int kind, uint64_t sequence, uint64_t value)
{
	struct packet *packet = &to->pipe[to->head++ % PIPE];

	ck_assert_uint_le(to->head - to->tail, PIPE);
	packet->kind = kind;
	packet->sequence = sequence;
	packet->value = value;
}

static void
got(struct party *party, uint64_t sequence, const void *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	ck_assert_uint_eq(sequence, party->got + 1);
	ck_assert_uint_eq(value, sequence * 7);
	party->got++;
}

/* What the glue does: pull until nothing is left. */
static void
pump(struct party *party, struct party *peer)
{
	struct chat_core *chat = &party->chat;
	struct chat_kept *kept;
	uint64_t sequence, value;

	while ((kept = core_next_seal(chat, &sequence)) != NULL) {
		memcpy(&value, kept->bytes, sizeof(value));
		put(peer, DATA, sequence, value);
		if (sequence > party->accepted)
			party->accepted = sequence;
	}
	while (!party->slow && core_next_ack(chat, &sequence, &kept)) {
		ck_assert_uint_eq(sequence, party->confirmed + 1);
		party->confirmed = sequence;
		core_told(chat);
	}
	while (!party->slow &&
	       (kept = core_next_delivery(chat, &sequence)) != NULL) {
		got(party, sequence, kept->bytes);
		core_delivered(chat);
	}
	if (core_take_relay(chat, &sequence))
		put(peer, ACK, sequence, 0);
	/* keyd's transaction may lag behind the acknowledgement. */
	if (chance(3) != 0 && core_take_progress(chat)) {
		party->acked = chat->acked;
		party->delivered = chat->delivered;
	}
}

static void
receive(struct party *party, struct party *peer)
{
	struct packet *packet;

	if (party->head == party->tail)
		return;
	packet = &party->pipe[party->tail++ % PIPE];
	if (packet->kind == ACK)
		core_acknowledged(&party->chat, packet->sequence);
	else if (core_opened(&party->chat, packet->sequence, &packet->value,
		     sizeof(packet->value), !party->slow) == CHAT_DELIVER) {
		got(party, packet->sequence, &packet->value);
		core_delivered(&party->chat);
	}
	pump(party, peer);
}

/* Both ends compare by way of their keyds, whose numbers may lag. */
static void
resume(void)
{
	struct ipc_chat_ready ready;
	int i, first = (int)chance(2);

	for (i = 0; i < 2; i++) {
		struct party *party = &parties[(first + i) % 2];
		struct party *peer = &parties[(first + i + 1) % 2];

		memset(&ready, 0, sizeof(ready));
		ready.version = party->chat.version + 1;
		ready.resumed = 1;
		ready.peer_delivered = peer->delivered;
		ready.peer_acked = peer->acked;
		party->head = party->tail; /* of the old stream */
		core_ready(&party->chat, &ready);
	}
	for (i = 0; i < 2; i++) {
		/* StartChatAck says from where the app goes on. */
		if (parties[i].next_send > parties[i].chat.accepted + 1)
			parties[i].next_send = parties[i].chat.accepted + 1;
		core_attach(&parties[i].chat, 1);
		pump(&parties[i], &parties[1 - i]);
	}
}

static void
cut(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		core_suspend(&parties[i].chat);
		parties[i].tail = parties[i].head;
	}
}

static void
restart(struct party *party)
{
	core_free(&party->chat);
	core_init(&party->chat, WINDOW, 1 << 20);
	/*
	 * The acknowledgement may be on its way and the record behind: then
	 * the peer knows. A delivery that neither knows of would come twice;
	 * so would one of any system that dies between the two.
	 */
	party->delivered = party->got;
	core_restore(
	    &party->chat, 1, party->accepted, party->acked, party->delivered);
	party->confirmed = party->acked;
}

static void
app_sends(struct party *party, struct party *peer)
{
	uint64_t value = party->next_send * 7;
	enum chat_verdict verdict;

	if (party->next_send > MESSAGES)
		return;
	verdict = core_accept(&party->chat, party->next_send, &value,
	    sizeof(value), NULL, 0, &about);
	if (verdict == CHAT_ACCEPTED || verdict == CHAT_ACKED ||
	    verdict == CHAT_KNOWN)
		party->next_send++;
	else
		ck_assert(verdict == CHAT_TOO_FAR || verdict == CHAT_NOT_YET);
	pump(party, peer);
}

static int
finished(void)
{
	return (parties[0].got == MESSAGES && parties[1].got == MESSAGES &&
		parties[0].confirmed == MESSAGES &&
		parties[1].confirmed == MESSAGES);
}

static void
step(void)
{
	unsigned int who = chance(2);
	struct party *party = &parties[who], *peer = &parties[1 - who];

	switch (chance(200)) {
	case 0:
		cut();
		if (chance(3) == 0)
			restart(party);
		if (chance(6) == 0)
			restart(peer);
		app_sends(party, peer);
		resume();
		break;
	case 1:
		core_attach(&party->chat, 0);
		break;
	case 2:
		core_attach(&party->chat, 1);
		pump(party, peer);
		break;
	case 3:
		party->slow = !party->slow;
		break;
	case 4:
		/* A duplicate on the way. */
		if (party->got > 0)
			put(party, DATA, party->got, party->got * 7);
		break;
	default:
		if (chance(2) == 0)
			app_sends(party, peer);
		else
			receive(party, peer);
	}
}

START_TEST(test_two_parties)
{
	int i, n;

	seed = (unsigned int)_i + 1;
	memset(parties, 0, sizeof(parties));
	for (i = 0; i < 2; i++) {
		begin(&parties[i].chat);
		parties[i].next_send = 1;
	}
	for (n = 0; n < 20000 && !finished(); n++)
		step();
	/* Let it come to rest: no more faults. */
	for (i = 0; i < 2; i++)
		parties[i].slow = 0;
	cut();
	resume();
	for (n = 0; n < 100000 && !finished(); n++) {
		app_sends(&parties[n % 2], &parties[1 - n % 2]);
		receive(&parties[n % 2], &parties[1 - n % 2]);
	}
	for (i = 0; i < 2; i++) {
		ck_assert_uint_eq(parties[i].got, MESSAGES);
		ck_assert_uint_eq(parties[i].confirmed, MESSAGES);
		ck_assert_uint_eq(core_unacknowledged(&parties[i].chat), 0);
		ck_assert_uint_eq(core_memory(&parties[i].chat), 0);
		core_free(&parties[i].chat);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("chat");
	TCase *tcase = tcase_create("chat");

	tcase_add_test(tcase, test_not_ready);
	tcase_add_test(tcase, test_sequences);
	tcase_add_test(tcase, test_window);
	tcase_add_test(tcase, test_window_bytes);
	tcase_add_test(tcase, test_deliver);
	tcase_add_test(tcase, test_hold_bound);
	tcase_add_test(tcase, test_suspend_resume);
	tcase_add_test(tcase, test_restart);
	tcase_add_test(tcase, test_moved);
	tcase_add_test(tcase, test_placed);
	tcase_add_test(tcase, test_app_away);
	tcase_add_test(tcase, test_rekeying);
	tcase_add_test(tcase, test_stream_lost);
	tcase_add_test(tcase, test_held_over_a_resume);
	tcase_add_test(tcase, test_reset);
	tcase_add_test(tcase, test_skip);
	tcase_add_loop_test(tcase, test_two_parties, 0, 200);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
