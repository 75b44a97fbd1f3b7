/*
 * libhermes. Chats as the app sees them: start, send, rekey, delete, and
 * writing to the node what it may have. lib_receive.c is the other direction.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_internal.h"
#include "common/frame/frames.h"
#include "common/sign/statement.h"
#include "common/util/hex.h"

#define RETRY_MIN (100 * CLOCK_MS)
#define RETRY_MAX (2 * CLOCK_SECOND)

static void chat_retry(evutil_socket_t, short, void *);

/* --- making, finding, freeing -------------------------------------------- */

/* NULL with errno EINVAL (ids) or ENOMEM. */
struct hermes_chat *
chat_new(struct hermes *hermes, const char *chat_id, const char *peer)
{
	struct hermes_chat *chat;
	size_t length = strlen(chat_id);
	int saved;

	if (!chat_id_valid(chat_id, length)) {
		errno = EINVAL;
		return (NULL);
	}
	if ((chat = calloc(1, sizeof(*chat))) == NULL)
		return (NULL);
	kept_init(&chat->kept);
	kept_init(&chat->early);
	chat->hermes = hermes;
	memcpy(chat->id, chat_id, length + 1);
	if (hex_decode(chat->peer_key, KEY_SIZE, peer) == -1 ||
	    chat_key_make(&chat->key, chat_id, hermes->public_key,
		chat->peer_key) == -1) {
		free(chat);
		errno = EINVAL;
		return (NULL);
	}
	memcpy(chat->peer, peer, HERMES_APP_ID_SIZE);
	chat->retry = evtimer_new(hermes->base, chat_retry, chat);
	if (chat->retry == NULL ||
	    table_put(&hermes->chats, &chat->key, chat) == -1) {
		if (chat->retry != NULL)
			event_free(chat->retry);
		free(chat);
		errno = ENOMEM;
		return (NULL);
	}
	chat->retry_delay = RETRY_MIN;
	chat->next = hermes->first;
	chat->back = &hermes->first;
	if (chat->next != NULL)
		chat->next->back = &chat->next;
	hermes->first = chat;
	if (hermes->options.end_to_end && secure_new(chat) == -1) {
		saved = errno;
		chat_free(chat);
		errno = saved;
		return (NULL);
	}
	return (chat);
}

void
chat_free(struct hermes_chat *chat)
{
	struct hermes *hermes = chat->hermes;

	(void)table_remove(&hermes->chats, &chat->key);
	if (hermes->recent == chat)
		hermes->recent = NULL;
	if (hermes->turn == chat)
		hermes->turn = chat->next;
	*chat->back = chat->next;
	if (chat->next != NULL)
		chat->next->back = chat->back;
	secure_free(chat, chat->phase == PHASE_GONE);
	event_free(chat->retry);
	kept_free(&chat->kept);
	kept_free(&chat->early);
	free(chat);
}

/* The chat a frame is about; a node may leave out the peer of a chat_id that
 * is the only one of its name. */
struct hermes_chat *
chat_find(struct hermes *hermes, const char *chat_id, const char *peer)
{
	struct hermes_chat *chat, *found = NULL;
	struct chat_key key;
	uint8_t peer_key[KEY_SIZE];

	chat = hermes->recent;
	if (chat != NULL && strcmp(chat->id, chat_id) == 0 &&
	    strcmp(chat->peer, peer) == 0)
		return (chat);
	if (peer[0] != '\0') {
		if (hex_decode(peer_key, KEY_SIZE, peer) == -1 ||
		    chat_key_make(
			&key, chat_id, hermes->public_key, peer_key) == -1)
			return (NULL);
		found = table_get(&hermes->chats, &key);
	} else {
		for (chat = hermes->first; chat != NULL; chat = chat->next) {
			if (strcmp(chat->id, chat_id) != 0)
				continue;
			if (found != NULL)
				return (NULL);
			found = chat;
		}
	}
	if (found != NULL)
		hermes->recent = found;
	return (found);
}

void
chat_gone(struct hermes_chat *chat, const char *status)
{
	struct hermes *hermes = chat->hermes;

	chat->phase = PHASE_GONE;
	over_note(chat);
	chat_give_early(chat);
	if (hermes->callbacks.gone != NULL)
		hermes->callbacks.gone(chat, status, hermes->arg);
	chat_free(chat);
}

/* --- starting ------------------------------------------------------------ */

/* The app's signature over its X25519 key. 0 or -1. */
static int
chat_sign_key(const struct hermes_chat *chat,
    const Approuter__V1__StartChat *start, uint8_t signature[SIGNATURE_SIZE])
{
	struct start_chat_fields fields;
	uint8_t bytes[512];
	size_t length;

	memset(&fields, 0, sizeof(fields));
	fields.chat_id = chat->id;
	fields.source_app_id = chat->hermes->app_id;
	fields.target_app_id = chat->peer;
	fields.public_key = start->local_ephemeral_public_key.data;
	fields.salt = start->hkdf_salt.data;
	fields.salt_length = start->hkdf_salt.len;
	fields.version = start->key_version;
	fields.rekey = start->rekey;
	if ((length = start_chat_signed_bytes(&fields, bytes, sizeof(bytes))) ==
	    0)
		return (-1);
	return (crypto_sign_detached(
	    signature, NULL, bytes, length, chat->hermes->secret));
}

/* The X25519 key to name in start, or NULL; fills in the salt. */
static const uint8_t *
chat_key_of(struct hermes_chat *chat, Approuter__V1__StartChat *start)
{
	if (chat->secure == NULL)
		return (chat->has_public_key ? chat->public_key : NULL);
	start->hkdf_salt.data =
	    (uint8_t *)(uintptr_t)secure_salt(chat, &start->hkdf_salt.len);
	return (secure_key(chat));
}

int
chat_send_start(
    struct hermes_chat *chat, uint32_t version, int rekey, int resume)
{
	Approuter__V1__AppFrame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	uint8_t signature[SIGNATURE_SIZE];
	const uint8_t *key;
	char correlation[32];

	chat->start_serial = ++chat->hermes->serial;
	(void)snprintf(correlation, sizeof(correlation), "s%llu",
	    (unsigned long long)chat->start_serial);
	frame.correlation_id = correlation;
	start.chat_id = chat->id;
	start.target_app_id = chat->peer;
	start.source_app_id = chat->hermes->app_id;
	start.key_version = version;
	start.rekey = rekey;
	start.resume = resume;
	if (chat->ever_ready) {
		start.next_send_sequence = chat->kept.first;
		start.next_receive_sequence = chat->next_receive;
		if (instance_is_known(chat->instance)) {
			start.instance.data = chat->instance;
			start.instance.len = INSTANCE_SIZE;
		}
	}
	if ((key = chat_key_of(chat, &start)) != NULL) {
		start.local_ephemeral_public_key.data =
		    (uint8_t *)(uintptr_t)key;
		start.local_ephemeral_public_key.len = KEY_SIZE;
		if (chat_sign_key(chat, &start, signature) == -1) {
			errno = EINVAL;
			return (-1);
		}
		start.signature.data = signature;
		start.signature.len = SIGNATURE_SIZE;
	}
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &start;
	return (frame_send(chat->hermes, &frame));
}

/* Ask the node for the chat, as one that exists unless it said otherwise. */
void
chat_start(struct hermes_chat *chat)
{
	if (chat->hermes->state != LINK_UP)
		return;
	(void)evtimer_del(chat->retry); /* not pending is fine */
	chat->over = OVER_NOT;
	if (chat->start_deadline == 0)
		chat->start_deadline =
		    clock_monotonic() + chat->hermes->options.start_timeout;
	/* A send that fails breaks the link, which starts all chats again. */
	if (chat_send_start(
		chat, chat->fresh ? 0 : chat->version, 0, !chat->fresh) == 0)
		chat->phase = PHASE_STARTING;
}

void
chat_retry_after(struct hermes_chat *chat, int64_t delay)
{
	struct timeval tv = link_timeval(delay);

	(void)evtimer_add(chat->retry, &tv); /* memory was set aside */
}

void
chat_start_after(struct hermes_chat *chat, int64_t delay)
{
	int64_t own = link_jitter(chat->retry_delay);

	chat->retry_delay *= 2;
	if (chat->retry_delay > RETRY_MAX)
		chat->retry_delay = RETRY_MAX;
	chat_retry_after(chat, delay > own ? delay : own);
}

static void
chat_retry(evutil_socket_t fd, short what, void *arg)
{
	struct hermes_chat *chat = arg;

	(void)fd;
	(void)what;
	if (chat->phase == PHASE_IDLE)
		chat_start(chat);
	else if (chat->phase == PHASE_READY) {
		chat->hold = 0;
		chat_pump(chat);
	}
}

static void
chat_set_key(struct hermes_chat *chat, const uint8_t *public_key)
{
	chat->has_public_key = public_key != NULL;
	if (public_key != NULL)
		memcpy(chat->public_key, public_key, KEY_SIZE);
}

struct hermes_chat *
hermes_chat_start(struct hermes *hermes, const char *chat_id, const char *peer,
    const uint8_t *public_key)
{
	struct hermes_chat *chat;

	if (strlen(peer) != APP_ID_LENGTH ||
	    (hermes->options.end_to_end && public_key != NULL)) {
		errno = EINVAL;
		return (NULL);
	}
	if ((chat = chat_find(hermes, chat_id, peer)) == NULL &&
	    (chat = chat_new(hermes, chat_id, peer)) == NULL)
		return (NULL);
	chat->asked = 1;
	if (chat->phase == PHASE_OFFERED || chat->phase == PHASE_IDLE) {
		chat_set_key(chat, public_key);
		chat->phase = PHASE_IDLE;
		chat->start_deadline = 0;
		chat_start(chat);
	}
	return (chat);
}

int
hermes_chat_accept(struct hermes_chat *chat, const uint8_t *public_key)
{
	return (hermes_chat_start(
		    chat->hermes, chat->id, chat->peer, public_key) == NULL
		    ? -1
		    : 0);
}

void
chat_all_up(struct hermes *hermes)
{
	struct hermes_chat *chat;

	for (chat = hermes->first; chat != NULL; chat = chat->next) {
		if (chat->phase != PHASE_IDLE)
			continue;
		chat->start_deadline = 0;
		chat_start(chat);
	}
}

void
chat_all_down(struct hermes *hermes)
{
	struct hermes_chat *chat;

	hermes->turn = NULL;
	for (chat = hermes->first; chat != NULL; chat = chat->next) {
		(void)evtimer_del(chat->retry); /* not pending is fine */
		chat_rewind(chat, chat->kept.first - 1);
		chat->rewound = 0;
		chat->hold = 0;
		if (chat->phase != PHASE_OFFERED)
			chat->phase = PHASE_IDLE;
	}
}

/* --- sending ------------------------------------------------------------- */

/* From now on nothing after sequence written counts as written. */
void
chat_rewind(struct hermes_chat *chat, uint64_t written)
{
	struct kept *kept;

	while (chat->written > written) {
		if ((kept = kept_get(&chat->kept, chat->written)) != NULL)
			chat->flight_bytes -= kept->length;
		chat->written--;
	}
	if (chat->written < written)
		chat->written = written;
}

static int
chat_write(struct hermes_chat *chat, uint64_t sequence, struct kept *kept)
{
	struct rpc_stream *stream = chat->hermes->link->stream;
	struct frame_chat_message message = { .chat_id = span_of(
						  chat->id, strlen(chat->id)),
		.peer = span_of(chat->peer, strlen(chat->peer)),
		.payload =
		    span_of(kept_payload(&chat->kept, kept), kept->length),
		.sequence = sequence };
	size_t length;
	uint8_t *to;

	if (chat->secure != NULL &&
	    (message.payload.bytes = secure_seal(chat, sequence,
		 message.payload.bytes, &message.payload.length)) == NULL)
		return (-1);
	length =
	    frame_chat_message_size(FRAME_CHAT_MESSAGE, &message, SPAN_NONE);
	if ((to = rpc_stream_reserve(stream, length)) == NULL)
		return (-1);
	frame_write_chat_message(to, FRAME_CHAT_MESSAGE, &message, SPAN_NONE);
	rpc_stream_commit(stream, length);
	return (0);
}

/* Write what the window, and the connection, allow. 1: that has no room. */
static int
chat_fill(struct hermes_chat *chat)
{
	struct hermes *hermes = chat->hermes;
	struct kept *kept;
	int64_t now = 0;

	if (chat->phase != PHASE_READY || chat->hold ||
	    hermes->state != LINK_UP || hermes->link->stream == NULL ||
	    (chat->secure != NULL && !secure_can_send(chat)))
		return (0);
	while ((kept = kept_get(&chat->kept, chat->written + 1)) != NULL) {
		if (chat->written + 1 - chat->kept.first >= hermes->window)
			break;
		if (chat->flight_bytes > 0 &&
		    chat->flight_bytes + kept->length > LIB_FLIGHT_BYTES)
			break;
		if (rpc_stream_congested(hermes->link->stream))
			return (1);
		if (chat_write(chat, chat->written + 1, kept) == -1)
			break;
		chat->written++;
		if (chat->written <= chat->resent_below)
			chat->progress.resent++;
		else
			chat->resent_below = chat->written;
		chat->flight_bytes += kept->length;
		if (now == 0)
			now = clock_monotonic();
		if (kept->sent_at == 0)
			kept->sent_at = now;
	}
	return (0);
}

/* Behind those that wait for the connection. */
void
chat_pump(struct hermes_chat *chat)
{
	if (chat->hermes->turn == NULL && chat_fill(chat))
		chat->hermes->turn = chat;
}

/* The connection has room: each in its turn, until it has none. */
void
chat_all_pump(struct hermes *hermes)
{
	struct hermes_chat *chat, *begun;
	uint64_t before;
	int full;

	chat = begun = hermes->turn != NULL ? hermes->turn : hermes->first;
	if (chat == NULL)
		return;
	hermes->turn = NULL;
	do {
		before = chat->written;
		full = chat_fill(chat);
		if (!full || chat->written > before)
			chat = chat->next != NULL ? chat->next : hermes->first;
	} while (!full && chat != begun);
	if (full)
		hermes->turn = chat;
}

int
hermes_send(struct hermes_chat *chat, const void *payload, size_t length,
    uint64_t *sequence)
{
	struct hermes *hermes = chat->hermes;

	if (chat->phase == PHASE_GONE) {
		errno = EPIPE;
		return (-1);
	}
	if (!chat->ever_ready || chat->kept.count >= 2 * hermes->window) {
		chat->blocked = 1;
		errno = EAGAIN;
		return (-1);
	}
	if (hermes->max_message != 0 && length > hermes_max_message(hermes)) {
		errno = EMSGSIZE;
		return (-1);
	}
	if (kept_add(&chat->kept, payload, length) == -1)
		return (-1);
	if (sequence != NULL)
		*sequence = chat->kept.first + chat->kept.count - 1;
	chat_pump(chat);
	return (0);
}

/* --- keys and the end ---------------------------------------------------- */

int
hermes_chat_rekey(struct hermes_chat *chat, const uint8_t *public_key)
{
	if (chat->hermes->state != LINK_UP || chat->phase != PHASE_READY) {
		errno = ENOTCONN;
		return (-1);
	}
	if (chat->secure != NULL)
		return (secure_renew(chat));
	chat_set_key(chat, public_key);
	return (chat_send_start(chat, 0, 1, 0));
}

int
hermes_chat_delete(struct hermes_chat *chat, const char *reason)
{
	Approuter__V1__AppFrame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__DeleteChat delete = APPROUTER__V1__DELETE_CHAT__INIT;
	char correlation[32];

	if (chat->hermes->state != LINK_UP) {
		errno = ENOTCONN;
		return (-1);
	}
	if (chat->over != OVER_NOT) {
		chat->over = OVER_ENDS;
		if (chat->phase != PHASE_IDLE) /* it was asked for already */
			return (0);
		(void)evtimer_del(chat->retry); /* not pending is fine */
	}
	(void)snprintf(correlation, sizeof(correlation), "d%llu",
	    (unsigned long long)++chat->hermes->serial);
	frame.correlation_id = correlation;
	delete.chat_id = chat->id;
	delete.peer_app_id = chat->peer;
	if (reason != NULL)
		delete.reason = (char *)(uintptr_t)reason;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_DELETE_CHAT;
	frame.delete_chat = &delete;
	return (frame_send(chat->hermes, &frame));
}

/* --- asking -------------------------------------------------------------- */

const char *
hermes_chat_id(const struct hermes_chat *chat)
{
	return (chat->id);
}

const char *
hermes_chat_peer(const struct hermes_chat *chat)
{
	return (chat->peer);
}

uint32_t
hermes_chat_version(const struct hermes_chat *chat)
{
	return (chat->version);
}

int
hermes_chat_is_ready(const struct hermes_chat *chat)
{
	return (chat->phase == PHASE_READY);
}

struct hermes *
hermes_chat_app(const struct hermes_chat *chat)
{
	return (chat->hermes);
}

void
hermes_chat_set_arg(struct hermes_chat *chat, void *arg)
{
	chat->arg = arg;
}

void *
hermes_chat_arg(const struct hermes_chat *chat)
{
	return (chat->arg);
}

void
hermes_chat_progress(
    const struct hermes_chat *chat, struct hermes_progress *progress)
{
	*progress = chat->progress;
	progress->next_send = chat->kept.first + chat->kept.count;
	progress->acked = chat->kept.first - 1;
	progress->kept = chat->kept.count;
	progress->next_receive = chat->next_receive;
}
