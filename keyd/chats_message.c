/*
 * keyd only. The road of a message: SEAL from the router becomes SEALED to
 * the mesh, OPEN from the mesh becomes OPENED to the router. No allocation
 * and one table look-up a message.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/metrics.h"
#include "keyd/chat.h"

/* Many messages under one key: begin a rekey. */
static void
message_count(struct chats *chats, struct chat *chat)
{
	uint64_t limit = chats->config->rekey.after_messages;

	if (limit == 0 ||
	    (chat->ratchet.send_counter < limit &&
		chat->ratchet.receive_counter < limit) ||
	    chat_offered(chat) != 0 || chat_is_last(chat) ||
	    chat_wake(chats, chat) == -1)
		return;
	chat_offer(chats, chat, chat->version + 1, 0, CAUSE_COUNT, NULL);
	chat_send_pending(chats, chat);
}

void
chats_seal(struct chats *chats, const struct ipc_seal *seal,
    const uint8_t *tail, size_t tail_length)
{
	struct chat *chat = chat_find(chats, &seal->key);
	struct ipc_sealed sealed = { .key = seal->key };
	uint8_t *out;

	if (chat == NULL || chat->ratchet.version == 0) {
		metric_add(METRIC_RATCHET_FAILURES_UNKNOWN_CHAT, 1);
		/* Where there is a chat, it waits for the next epoch. */
		if (chat == NULL && seal->key.side <= CHAT_HI)
			chat_send_error(
			    chats, &seal->key, CODE_RATCHET_FAILED, 0, 0);
		return;
	}
	/* What it becomes must fit its door as well. The next one, or one
	 * that is sent again. */
	if (tail_length > IPC_TAIL_PAYLOAD - RATCHET_TAG ||
	    seal->sequence == 0 || seal->sequence > chat->accepted + 1) {
		metric_add(METRIC_RATCHET_FAILURES_JUMP, 1);
		return;
	}
	sealed.sequence = seal->sequence;
	sealed.counter = chat->ratchet.send_counter;
	sealed.version = chat->ratchet.version;
	out = chats->io.send_tail(chats->io.arg, PROCESS_MESH, IPC_SEALED,
	    &sealed, tail_length + RATCHET_TAG);
	if (seal->sequence > chat->accepted)
		chat->accepted = seal->sequence;
	chat->last_active = chats->now;
	chat_touch(chats, chat, DIRTY_HOT);
	if (out == NULL)
		return; /* no mesh: it is sent again on resume */
	(void)ratchet_seal(
	    &chat->ratchet, seal->sequence, tail, tail_length, out);
	chat->sent++;
	metric_add(METRIC_RATCHET_ADVANCES_SEND, 1);
	message_count(chats, chat);
}

/* Room for an opened payload. */
static uint8_t *
open_scratch(struct chats *chats, size_t length)
{
	uint8_t *bigger;
	size_t size = chats->scratch_size > 0 ? chats->scratch_size : 4096;

	if (length <= chats->scratch_size)
		return (chats->scratch);
	while (size < length)
		size *= 2;
	if ((bigger = malloc(size)) == NULL)
		return (NULL);
	if (chats->scratch != NULL)
		sodium_memzero(chats->scratch, chats->scratch_size);
	free(chats->scratch);
	chats->scratch = bigger;
	chats->scratch_size = size;
	return (bigger);
}

static void
open_failed(struct chats *chats, struct chat *chat, enum ratchet_result result)
{
	switch (result) {
	case RATCHET_OK:
		break;
	case RATCHET_REPLAY:
		metric_add(METRIC_RATCHET_FAILURES_REPLAY, 1);
		break;
	case RATCHET_OLD:
		metric_add(METRIC_RATCHET_FAILURES_VERSION, 1);
		break;
	case RATCHET_UNKNOWN:
		metric_add(METRIC_RATCHET_FAILURES_VERSION, 1);
		(void)chat_recover(chats, chat, 0);
		break;
	case RATCHET_FAR:
		metric_add(METRIC_RATCHET_FAILURES_JUMP, 1);
		(void)chat_recover(chats, chat, 0);
		break;
	case RATCHET_AEAD:
		metric_add(METRIC_RATCHET_FAILURES_AEAD, 1);
		(void)chat_recover(chats, chat, 0);
		break;
	}
}

void
chats_open(struct chats *chats, const struct ipc_sealed *sealed,
    const uint8_t *tail, size_t tail_length)
{
	struct chat *chat = chat_find(chats, &sealed->key);
	struct ipc_opened opened = { .key = sealed->key,
		.sequence = sealed->sequence };
	enum ratchet_result result;
	uint8_t *plain, *out;
	size_t length;

	if (chat == NULL) {
		metric_add(METRIC_RATCHET_FAILURES_UNKNOWN_CHAT, 1);
		return;
	}
	if (tail_length < RATCHET_TAG) {
		open_failed(chats, chat, RATCHET_AEAD);
		return;
	}
	length = tail_length - RATCHET_TAG;
	/* It is known that they diverged. Until there are new keys, what comes
	 * next is tried, but no far jump: all else is sent again after it. */
	if (chat_is_recovering(chat) &&
	    ratchet_skips(&chat->ratchet, sealed->version, sealed->counter) >
		0) {
		open_failed(chats, chat, RATCHET_FAR);
		return;
	}
	if ((plain = open_scratch(chats, length + 1)) == NULL)
		return; /* as if lost on the way */
	result = ratchet_open(&chat->ratchet, sealed->version, sealed->counter,
	    sealed->sequence, tail, tail_length, plain);
	if (result != RATCHET_OK) {
		open_failed(chats, chat, result);
		return;
	}
	out = chats->io.send_tail(
	    chats->io.arg, PROCESS_ROUTER, IPC_OPENED, &opened, length);
	if (out != NULL)
		memcpy(out, plain, length);
	sodium_memzero(plain, length);
	chat->received++;
	chat->last_active = chats->now;
	/* Nothing a restart needs: no key or counter of an epoch outlives this
	 * process, and how far the app got, the router says next. */
	chat_touch(chats, chat, DIRTY_COUNTS);
	if (sealed->version == chat->version)
		chat_confirm(chats, chat);
	metric_add(METRIC_RATCHET_ADVANCES_RECEIVE, 1);
	message_count(chats, chat);
}
