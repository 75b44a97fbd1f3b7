/*
 * router: one side of one chat as a pure protocol core. It is told what
 * happened and then asked, until it has no more, what is to be done: which
 * message to seal, which acknowledgement to pass on, what to deliver. No
 * I/O, no clock, no randomness.
 *
 * Messages of the local app, by sequence:
 *
 *	released <= acked <= sent <= accepted;   told <= acked
 *
 * accepted: taken from the app. sent: given to keyd to be sealed; what lies
 * between sent and accepted is parked. acked: on the stream of the peer app.
 * told: the local app knows that. released: its copy is gone. Messages of
 * the peer app:
 *
 *	relayed <= written <= delivered <= received
 *
 * received: held. delivered: on the local app's stream. written: out of this
 * process, which may die at any time, so only this far the peer and keyd's
 * record are told. relayed: acknowledged to the peer's node.
 */
#ifndef ROUTER_CHAT_H
#define ROUTER_CHAT_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "router/kept.h"

/* More than this many windows parked is BACKPRESSURE; as many are held. */
#define CHAT_PARKED_WINDOWS 4

/* Is keyd to be told of what was acknowledged? */
enum chat_progress { PROGRESS_NONE, PROGRESS_LATER, PROGRESS_NOW };

struct chat_core {
	enum chat_state state;
	uint32_t version;
	/* The numbers below are right: the chat is new, or both ends have
	 * compared them since this process started. */
	uint8_t synced;
	uint8_t both;     /* both apps have said StartChat */
	uint8_t attached; /* local app may be told and given */
	uint8_t relay_again;
	uint8_t missing;  /* a message of the peer was dropped */
	uint8_t progress; /* enum chat_progress */
	uint64_t accepted;
	uint64_t sent;
	uint64_t acked;
	uint64_t told;
	uint64_t received;
	uint64_t delivered;
	uint64_t written;
	uint64_t relayed;
	uint32_t window_messages;
	uint32_t window_bytes;
	uint32_t credit_messages; /* the peer's grant */
	uint32_t credit_bytes;
	size_t flight_bytes; /* sent, not released */
	struct chat_ring out;
	struct chat_ring in;
};

void core_init(
    struct chat_core *chat, uint32_t window_messages, uint32_t window_bytes);
void core_free(struct chat_core *chat);

/* The chat was in keyd's store: suspended, its numbers to be compared. */
void core_restore(struct chat_core *chat, uint32_t version, uint64_t accepted,
    uint64_t acked, uint64_t delivered);

/* The app has had a chat that is new here: its next message is next_send,
 * the next it wants next_receive, each at least 1. */
void core_place(
    struct chat_core *chat, uint64_t next_send, uint64_t next_receive);

/* The app knows to be acknowledged what was not accepted here? Then its next
 * message, at least 1, is next_send, whatever is kept. */
int core_lags(const struct chat_core *chat, uint64_t next_send);
void core_skip(struct chat_core *chat, uint64_t next_send);

/* --- events -------------------------------------------------------------- */

/* One side wants the chat, or (both) the other one too; or a new key. */
void core_offered(struct chat_core *chat, int both);
void core_rekeying(struct chat_core *chat, int on);

/* CHAT_READY came. */
void core_ready(struct chat_core *chat, const struct ipc_chat_ready *ready);

/* The way to the peer is cut: seal nothing until core_ready(). */
void core_suspend(struct chat_core *chat);
void core_gone(struct chat_core *chat);

/* The local app is here and has taken up the chat (1), or left (0). */
void core_attach(struct chat_core *chat, int attached);

/* The peer's grant of credit; 0 for none yet. */
void core_credit(struct chat_core *chat, uint32_t messages, uint32_t bytes);

enum chat_verdict {
	CHAT_ACCEPTED,  /* kept; core_next_seal() says what now */
	CHAT_ACKED,     /* told before: acknowledge it again */
	CHAT_KNOWN,     /* kept already, its ack will come */
	CHAT_GAP,       /* not accepted + 1 */
	CHAT_NOT_YET,   /* not ready */
	CHAT_TOO_FAR,   /* too much parked: not accepted */
	CHAT_NO_MEMORY, /* not accepted */
	CHAT_DELIVER,   /* write it, then say core_put() */
	CHAT_HELD,      /* or known already: nothing to do */
	CHAT_DROPPED    /* a gap, or no room: it must come again */
};

/*
 * The app sent a message. ACCEPTED, ACKED, KNOWN, GAP, NOT_YET, TOO_FAR or
 * NO_MEMORY.
 */
enum chat_verdict core_accept(struct chat_core *chat, uint64_t sequence,
    const void *payload, size_t length, const void *correlation,
    size_t correlation_length, const struct chat_kept *about);

/* The peer's node acknowledged sequence and all before it. */
void core_acknowledged(struct chat_core *chat, uint64_t sequence);

/*
 * A message of the peer was opened. DELIVER only when writable says that the
 * app's stream takes it now; else HELD or DROPPED. A DELIVER that could not
 * be written is put back with core_hold().
 */
enum chat_verdict core_opened(struct chat_core *chat, uint64_t sequence,
    const void *payload, size_t length, int writable);
enum chat_verdict core_hold(struct chat_core *chat, uint64_t sequence,
    const void *payload, size_t length);

/* The next message of the peer, delivered + 1, is on the app's stream; and,
 * later, all up to sequence have left this process. Or both at once. */
void core_put(struct chat_core *chat);
void core_written(struct chat_core *chat, uint64_t sequence);
void core_delivered(struct chat_core *chat);

/* --- actions ------------------------------------------------------------- */

/* The next message to give to keyd, counted as sent; NULL: none now. Its
 * charge is the caller's to give back (and to set to 0). */
struct chat_kept *core_next_seal(struct chat_core *chat, uint64_t *sequence);

/*
 * The next acknowledgement for the app: 1 and its sequence, and the message,
 * or NULL when the copy is gone. Then core_told() once it is written.
 */
int core_next_ack(
    struct chat_core *chat, uint64_t *sequence, struct chat_kept **kept);
void core_told(struct chat_core *chat);

/* 1 when another acknowledgement comes after the next one. */
int core_more_acks(const struct chat_core *chat);

/* The next held message for the app, or NULL; core_put() when it is
 * written. */
struct chat_kept *core_next_delivery(
    struct chat_core *chat, uint64_t *sequence);

/* 1 when the peer's node is to be told (RELAY_ACK), keyd is (PROGRESS);
 * counted as done. One a batch, however many messages it had. */
int core_take_relay(struct chat_core *chat, uint64_t *sequence);
int core_take_progress(struct chat_core *chat);

/*
 * 1 when all that keyd is to be told is what the peer acknowledged. It may
 * wait a little: should this process die meanwhile, the peer says it again
 * as the two compare.
 */
int core_progress_waits(const struct chat_core *chat);

/* Accepted but not acknowledged; accepted but not yet sent; the memory of the
 * copies held. */
uint64_t core_unacknowledged(const struct chat_core *chat);
uint64_t core_parked(const struct chat_core *chat);
size_t core_memory(const struct chat_core *chat);

#endif
