/*
 * libhermes. What the node says about chats. Each message reaches the app
 * once and in order, whatever the node sends twice; each error word either
 * is dealt with here or goes to the app.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_internal.h"
#include "common/ipc/codes.h"
#include "common/sign/statement.h"
#include "common/util/hex.h"

#define NOT_READY_DELAY (200 * CLOCK_MS)

static void
receive_writable(struct hermes_chat *chat)
{
	struct hermes *hermes = chat->hermes;

	if (!chat->blocked || chat->kept.count > hermes->window)
		return;
	chat->blocked = 0;
	if (hermes->callbacks.writable != NULL)
		hermes->callbacks.writable(chat, hermes->arg);
}

static void
receive_status(struct hermes_chat *chat, const char *status)
{
	struct hermes *hermes = chat->hermes;

	if (hermes->callbacks.status != NULL)
		hermes->callbacks.status(chat, status, hermes->arg);
}

/*
 * Is version one that the chat has now? Until StartChat is answered the node
 * may speak of another chat of the name, begun when this one had ended while
 * we were away; the version we had is what tells the node which one we mean.
 */
static int
receive_takes(struct hermes_chat *chat, uint32_t version)
{
	if (chat->phase != PHASE_READY || version <= chat->version)
		return (0);
	chat->version = version;
	return (1);
}

/* A new version is told once, whichever frame brings it first. */
static void
receive_version(struct hermes_chat *chat, uint32_t version)
{
	if (receive_takes(chat, version))
		receive_status(chat, "rekeyed");
}

/* --- offers -------------------------------------------------------------- */

/* The peer's X25519 key, if it is there and the peer signed it. */
static const uint8_t *
start_peer_key(
    const struct hermes_chat *chat, const Approuter__V1__StartChat *frame)
{
	struct start_chat_fields fields;
	uint8_t bytes[4096];
	size_t length;

	if (frame->local_ephemeral_public_key.len != KEY_SIZE ||
	    frame->signature.len != SIGNATURE_SIZE)
		return (NULL);
	memset(&fields, 0, sizeof(fields));
	fields.chat_id = chat->id;
	fields.source_app_id = chat->peer;
	fields.target_app_id = chat->hermes->app_id;
	fields.public_key = frame->local_ephemeral_public_key.data;
	fields.salt = frame->hkdf_salt.data;
	fields.salt_length = frame->hkdf_salt.len;
	fields.info = frame->hkdf_info.data;
	fields.info_length = frame->hkdf_info.len;
	fields.version = frame->key_version;
	fields.rekey = frame->rekey;
	if ((length = start_chat_signed_bytes(&fields, bytes, sizeof(bytes))) ==
	    0)
		return (NULL);
	if (crypto_sign_verify_detached(
		frame->signature.data, bytes, length, chat->peer_key) != 0)
		return (NULL);
	return (frame->local_ephemeral_public_key.data);
}

/* Strangers' offers that the app does not take up: it has the last ones. */
static void
offers_bound(struct hermes *hermes)
{
	struct hermes_chat *chat, *oldest = NULL;
	size_t count = 0;

	for (chat = hermes->first; chat != NULL; chat = chat->next)
		if (chat->phase == PHASE_OFFERED) {
			oldest = chat;
			count++;
		}
	if (count > LIB_OFFERS)
		chat_gone(oldest, status_word(STATUS_EXPIRED));
}

void
chat_on_start(struct hermes *hermes, const Approuter__V1__StartChat *frame)
{
	struct hermes_chat *chat;
	const uint8_t *peer_key;

	chat = chat_find(hermes, frame->chat_id, frame->source_app_id);
	if (chat == NULL) {
		chat = chat_new(hermes, frame->chat_id, frame->source_app_id);
		if (chat == NULL)
			return; /* no valid ids: not a chat to be had */
		offers_bound(hermes);
	}
	if (hermes->options.accept_auto && chat->phase == PHASE_OFFERED)
		chat->phase = PHASE_IDLE;
	peer_key = start_peer_key(chat, frame);
	if (chat->secure != NULL)
		secure_on_key(chat, peer_key, frame->hkdf_salt.data,
		    frame->hkdf_salt.len);
	if (hermes->callbacks.offered != NULL &&
	    (chat->phase != PHASE_READY || peer_key != NULL))
		hermes->callbacks.offered(hermes, chat, peer_key, hermes->arg);
	if (chat->phase == PHASE_IDLE)
		chat_start(chat);
}

/* --- ready --------------------------------------------------------------- */

/* Go on where the node says: it has all before next_send of ours. */
static void
ack_resume(struct hermes_chat *chat, uint64_t next_send, uint64_t next_receive)
{
	struct hermes_error error = { "OUT_OF_SEQUENCE",
		"the node forgot messages that it had acknowledged", 0, 0 };
	struct kept_queue *kept = &chat->kept;
	struct hermes *hermes = chat->hermes;

	if (next_send > kept->first + kept->count)
		kept_restart(kept, next_send);
	else if (next_send < kept->first) {
		error.expected_sequence = next_send;
		kept->first = next_send;
		chat->next_receive = next_receive;
		if (hermes->callbacks.error != NULL)
			hermes->callbacks.error(
			    hermes, chat, &error, hermes->arg);
	}
	chat->flight_bytes = 0;
	chat->written = kept->first - 1;
	/*
	 * The last one the node has is sent once more: if it was acknowledged
	 * while we were away, that is said again, for all before it too.
	 */
	while (chat->written + 2 < next_send) {
		chat->written++;
		chat->flight_bytes += kept_get(kept, chat->written)->length;
	}
	if (next_receive > chat->next_receive) {
		chat->progress.gaps += next_receive - chat->next_receive;
		chat->next_receive = next_receive;
	}
}

void
chat_on_start_ack(
    struct hermes *hermes, const Approuter__V1__StartChatAck *frame)
{
	struct hermes_chat *chat;
	uint64_t next_send = frame->next_send_sequence;
	uint64_t next_receive = frame->next_receive_sequence;

	chat = chat_find(hermes, frame->chat_id, frame->peer_app_id);
	if (chat == NULL)
		return;
	if (chat->phase == PHASE_READY) {
		receive_version(chat, frame->key_version);
		return;
	}
	if (frame->instance.len == INSTANCE_SIZE &&
	    over_is(chat, frame->instance.data)) {
		over_end(chat);
		return;
	}
	next_send = next_send == 0 ? 1 : next_send;
	next_receive = next_receive == 0 ? 1 : next_receive;
	/* It counts those that came before it. */
	if (chat->early.count > 0)
		next_receive = chat->early.first;
	chat->version = frame->key_version;
	if (frame->instance.len == INSTANCE_SIZE)
		memcpy(chat->instance, frame->instance.data, INSTANCE_SIZE);
	if (!chat->ever_ready) {
		kept_restart(&chat->kept, next_send);
		chat->written = next_send - 1;
		if (chat->next_receive == 0)
			chat->next_receive = next_receive;
	} else
		ack_resume(chat, next_send, next_receive);
	chat->ever_ready = 1;
	chat->fresh = 0;
	chat->phase = PHASE_READY;
	chat->start_deadline = 0;
	follow_settled(hermes);
	chat->retry_delay = 100 * CLOCK_MS;
	chat->rewound = 0;
	chat->hold = 0;
	(void)evtimer_del(chat->retry); /* not pending is fine */
	if ((chat->secure == NULL || secure_on_ready(chat, frame->resumed)) &&
	    hermes->callbacks.ready != NULL)
		hermes->callbacks.ready(chat, frame->resumed, hermes->arg);
	chat_give_early(chat);
	chat_pump(chat);
	receive_writable(chat);
}

/* --- messages and acknowledgements --------------------------------------- */

static void
message_give(struct hermes_chat *chat, uint64_t sequence, const void *payload,
    size_t length)
{
	struct hermes *hermes = chat->hermes;

	if (hermes->callbacks.message != NULL)
		hermes->callbacks.message(
		    chat, sequence, payload, length, hermes->arg);
}

/*
 * The node takes a chat for us (accept=auto), and the peer's messages overtake
 * the answer to our StartChat. They wait for it: the app could not answer them,
 * and where we had a chat of the name, they may be of another one. 1 when it is
 * kept; more than a window is not.
 */
static int
message_is_early(struct hermes_chat *chat, uint64_t sequence,
    const void *payload, size_t length)
{
	struct kept_queue *early = &chat->early;

	if (chat->phase == PHASE_READY || chat->secure != NULL)
		return (0);
	if (early->count > 0 && sequence - early->first < early->count) {
		chat->progress.duplicates++;
		return (1);
	}
	if (early->count == 0)
		kept_restart(early, sequence);
	if (early->count >= chat->hermes->window ||
	    chat->early_bytes + length > LIB_FLIGHT_BYTES ||
	    sequence != early->first + early->count ||
	    kept_add(early, payload, length) == -1)
		return (0);
	chat->early_bytes += length;
	return (1);
}

/* Once, in order, and opened. */
static void
message_take(struct hermes_chat *chat, uint64_t sequence, const void *payload,
    size_t length)
{
	if (chat->next_receive == 0)
		chat->next_receive = sequence;
	if (sequence < chat->next_receive) {
		chat->progress.duplicates++;
		return;
	}
	chat->progress.gaps += sequence - chat->next_receive;
	chat->next_receive = sequence + 1;
	if (chat->secure != NULL &&
	    (payload = secure_open(chat, sequence, payload, &length)) == NULL)
		return;
	message_give(chat, sequence, payload, length);
}

void
chat_give_early(struct hermes_chat *chat)
{
	struct kept_queue *early = &chat->early;
	struct kept *kept;

	while (early->count > 0) {
		kept = kept_get(early, early->first);
		message_take(chat, early->first, kept_payload(early, kept),
		    kept->length);
		kept_shift(early);
	}
	chat->early_bytes = 0;
}

/* A chat that the node has taken for us; NULL: it is none to be had. */
static struct hermes_chat *
chat_taken(struct hermes *hermes, const char *chat_id, const char *peer)
{
	struct hermes_chat *chat = chat_find(hermes, chat_id, peer);

	if (chat == NULL && (chat = chat_new(hermes, chat_id, peer)) != NULL) {
		chat->phase = PHASE_IDLE;
		chat_start(chat);
	}
	return (chat);
}

void
chat_on_message(struct hermes *hermes, const char *chat_id, const char *peer,
    uint64_t sequence, const void *payload, size_t length)
{
	struct hermes_chat *chat;

	/* It may be of a chat from before this program was started. */
	if ((chat = chat_taken(hermes, chat_id, peer)) == NULL)
		return;
	if (chat->over != OVER_NOT ||
	    message_is_early(chat, sequence, payload, length))
		return;
	chat_give_early(chat);
	message_take(chat, sequence, payload, length);
}

/* One acknowledgement covers all before it: delivery is in order. */
void
chat_on_ack(struct hermes *hermes, const char *chat_id, const char *peer,
    uint64_t through)
{
	struct hermes_chat *chat;
	struct kept *kept;
	uint64_t sequence;
	int64_t now, rtt;

	chat = chat_find(hermes, chat_id, peer);
	if (chat == NULL)
		return;
	if (through > chat->written)
		return;
	now = clock_monotonic();
	while (chat->kept.count > 0 && chat->kept.first <= through) {
		sequence = chat->kept.first;
		kept = kept_get(&chat->kept, sequence);
		rtt = kept->sent_at == 0 ? 0 : now - kept->sent_at;
		chat->flight_bytes -= kept->length;
		kept_shift(&chat->kept);
		if (hermes->callbacks.acked != NULL)
			hermes->callbacks.acked(
			    chat, sequence, rtt, hermes->arg);
	}
	if (chat->rewound != 0 && through >= chat->rewound)
		chat->rewound = 0;
	chat_pump(chat);
	receive_writable(chat);
}

/* --- the end, and news --------------------------------------------------- */

/*
 * Has another chat of the name ended, which the node had when it did not know
 * yet which is ours? Our StartChat says so, and is still to be answered. But
 * where something came in it, the app has that chat now.
 */
static int
delete_is_of_another(const struct hermes_chat *chat, const char *correlation,
    const Approuter__V1__DeleteChatAck *frame)
{
	return (correlation[0] == '\0' && chat->early.count == 0 &&
		frame->instance.len == INSTANCE_SIZE &&
		instance_differs(frame->instance.data, chat->instance));
}

void
chat_on_delete_ack(struct hermes *hermes, const char *correlation,
    const Approuter__V1__DeleteChatAck *frame)
{
	struct hermes_chat *chat;

	chat = chat_find(hermes, frame->chat_id, frame->peer_app_id);
	if (chat == NULL)
		return;
	if (chat->over != OVER_NOT)
		over_ended(chat);
	else if (!delete_is_of_another(chat, correlation, frame))
		chat_gone(chat, frame->status);
}

void
chat_on_status(struct hermes *hermes, const Approuter__V1__ChatStatus *frame)
{
	struct hermes_chat *chat;

	chat = chat_find(hermes, frame->chat_id, frame->peer_app_id);
	if (chat == NULL)
		return;
	if (strcmp(frame->status, "rekeyed") == 0) {
		receive_version(chat, frame->key_version);
		return;
	}
	(void)receive_takes(chat, frame->key_version);
	if (strcmp(frame->status, "peer_back") == 0) {
		chat->hold = 0;
		chat_pump(chat);
	}
	receive_status(chat, frame->status);
}

/* --- errors -------------------------------------------------------------- */

static void
error_report(struct hermes *hermes, struct hermes_chat *chat,
    const Approuter__V1__Error *frame)
{
	struct hermes_error error;

	if (hermes->callbacks.error == NULL)
		return;
	error.code = frame->code;
	error.message = frame->message;
	error.expected_sequence = frame->expected_sequence;
	error.retry_after = frame->retry_after_nanos;
	hermes->callbacks.error(hermes, chat, &error, hermes->arg);
}

/* It ended while we were away. What came before we were told so is of the chat
 * that has its name now. */
static void
chat_over(struct hermes_chat *chat)
{
	struct hermes *hermes = chat->hermes;
	struct kept_queue early = chat->early;
	size_t bytes = chat->early_bytes;
	char id[CHAT_ID_SIZE], peer[HERMES_APP_ID_SIZE];

	memcpy(id, chat->id, sizeof(id));
	memcpy(peer, chat->peer, sizeof(peer));
	kept_init(&chat->early);
	chat->early_bytes = 0;
	chat_gone(chat, "not_found");
	if (early.count == 0 || (chat = chat_taken(hermes, id, peer)) == NULL) {
		kept_free(&early);
		return;
	}
	kept_free(&chat->early); /* it has just been made */
	chat->early = early;
	chat->early_bytes = bytes;
}

/* The node refused a StartChat: ask again for what may change, else tell. */
static void
error_of_start(struct hermes_chat *chat, enum hermes_code code,
    const Approuter__V1__Error *frame)
{
	struct hermes *hermes = chat->hermes;

	if (chat->phase != PHASE_STARTING) {
		error_report(hermes, chat, frame); /* a rekey */
		return;
	}
	chat->phase = PHASE_IDLE;
	switch (code) {
	case CODE_CHAT_NOT_FOUND:
	case CODE_REPLAYED_KEY:
		if (chat->ever_ready) {
			chat_over(chat);
			return;
		}
		if (!chat->fresh) {
			chat->fresh = 1;
			chat_start(chat);
			return;
		}
		break;
	case CODE_KEY_MISMATCH:
		if (chat->secure != NULL && !chat->secure->keyless) {
			secure_on_mismatch(chat);
			chat_start(chat);
			return;
		}
		break;
	case CODE_RATE_LIMITED:
	case CODE_REKEY_THROTTLED:
		chat->start_deadline = 0; /* it was not asked for */
		chat_start_after(chat, frame->retry_after_nanos);
		return;
	case CODE_CHAT_NOT_READY:
	case CODE_UNKNOWN_APP:
	case CODE_ROUTE_UNAVAILABLE:
	case CODE_TARGET_NOT_FOUND:
		if (clock_monotonic() < chat->start_deadline) {
			chat_start_after(chat, frame->retry_after_nanos);
			return;
		}
		break;
	default:
		break;
	}
	chat->start_deadline = 0;
	if (!chat->asked && !chat->ever_ready)
		chat->phase = PHASE_OFFERED; /* accept_auto comes to nothing */
	error_report(hermes, chat, frame);
}

/* The node did not take a message. */
static void
error_of_message(struct hermes_chat *chat, enum hermes_code code,
    const Approuter__V1__Error *frame)
{
	struct hermes *hermes = chat->hermes;
	uint64_t expected = frame->expected_sequence;

	switch (code) {
	case CODE_OUT_OF_SEQUENCE:
		/* All that was in flight is answered so; go back once. */
		if (expected < chat->kept.first || expected > chat->written)
			break;
		if (chat->rewound == expected)
			return;
		chat->rewound = expected;
		chat_rewind(chat, expected - 1);
		chat_pump(chat);
		return;
	case CODE_CHAT_NOT_READY:
	case CODE_BACKPRESSURE:
	case CODE_RATE_LIMITED:
		chat_rewind(chat,
		    expected > chat->kept.first && expected <= chat->written
			? expected - 1
			: chat->kept.first - 1);
		chat->rewound = 0;
		chat->hold = 1;
		chat_retry_after(chat, frame->retry_after_nanos > 0
					   ? frame->retry_after_nanos
					   : NOT_READY_DELAY);
		return;
	case CODE_CHAT_NOT_FOUND:
		if (chat->phase == PHASE_READY) {
			chat_gone(chat, "not_found");
			return;
		}
		break;
	default:
		break;
	}
	error_report(hermes, chat, frame);
}

/* The chat that an error is about; a StartChat is known by its number. */
static struct hermes_chat *
error_chat(struct hermes *hermes, const char *correlation,
    const Approuter__V1__Error *frame)
{
	struct hermes_chat *chat;
	unsigned long long serial;

	if (frame->chat_id[0] == '\0')
		return (NULL);
	if (frame->peer_app_id[0] != '\0' || correlation[0] != 's')
		return (chat_find(hermes, frame->chat_id, frame->peer_app_id));
	serial = strtoull(correlation + 1, NULL, 10);
	for (chat = hermes->first; chat != NULL; chat = chat->next)
		if (chat->start_serial == serial)
			return (chat);
	return (NULL);
}

/*
 * The node drops frames that come too fast, and need not say which: all that
 * is not acknowledged waits and goes again.
 */
static void
error_too_fast(struct hermes *hermes, const Approuter__V1__Error *frame)
{
	struct hermes_chat *chat;

	for (chat = hermes->first; chat != NULL; chat = chat->next) {
		if (chat->phase == PHASE_STARTING)
			error_of_start(chat, CODE_RATE_LIMITED, frame);
		else if (chat->phase == PHASE_READY && chat->kept.count > 0)
			error_of_message(chat, CODE_RATE_LIMITED, frame);
	}
}

void
chat_on_error(struct hermes *hermes, const char *correlation,
    const Approuter__V1__Error *frame)
{
	struct hermes_chat *chat;
	enum hermes_code code;

	code = code_find(frame->code, strlen(frame->code));
	chat = error_chat(hermes, correlation, frame);
	if (chat == NULL) {
		if (code == CODE_RATE_LIMITED && correlation[0] != 'f')
			error_too_fast(hermes, frame);
		else
			error_report(hermes, NULL, frame);
		return;
	}
	if (correlation[0] == 'd' &&
	    (chat->over == OVER_BEGINS ||
		(chat->over == OVER_ENDS && code == CODE_CHAT_NOT_FOUND)))
		over_refused(chat, code, frame->retry_after_nanos);
	else if (code_ends_chat(code) ||
		 (correlation[0] != 's' && correlation[0] != '\0'))
		/* Of an end, DeleteChatAck follows. */
		error_report(hermes, chat, frame);
	else if (correlation[0] == 's')
		error_of_start(chat, code, frame);
	else
		error_of_message(chat, code, frame);
}
