/*
 * libhermes. Chats that are over for the app. Where neither of two nodes has
 * heard that a chat ended, one may take it up for the app again, when that
 * begins another of the name: the peer, who was away, still goes on with it.
 * The app has had its messages, and its end.
 */
#include <stdlib.h>
#include <string.h>

#include "client/lib_internal.h"

struct over {
	struct chat_key key;
	uint8_t instance[INSTANCE_SIZE];
};

void
over_note(struct hermes_chat *chat)
{
	struct hermes *hermes = chat->hermes;
	struct over *over;

	if (!instance_is_known(chat->instance) ||
	    (hermes->over == NULL && (hermes->over = calloc(LIB_OVER,
					  sizeof(*hermes->over))) == NULL))
		return;
	over = &hermes->over[hermes->over_next++ % LIB_OVER];
	over->key = chat->key;
	memcpy(over->instance, chat->instance, INSTANCE_SIZE);
}

int
over_is(const struct hermes_chat *chat, const uint8_t instance[INSTANCE_SIZE])
{
	const struct over *over = chat->hermes->over;
	size_t i;

	for (i = 0; over != NULL && i < LIB_OVER; i++)
		if (instance_is_same(over[i].instance, instance) &&
		    memcmp(&over[i].key, &chat->key, sizeof(chat->key)) == 0)
			return (1);
	return (0);
}

void
over_end(struct hermes_chat *chat)
{
	if (chat->over != OVER_NOT)
		return; /* it was asked for */
	kept_free(&chat->early);
	chat->early_bytes = 0;
	/* When it cannot be said, the link breaks, and all is asked anew. */
	(void)hermes_chat_delete(chat, NULL);
	chat->over = OVER_BEGINS;
}

void
over_ended(struct hermes_chat *chat)
{
	if (chat->over == OVER_ENDS) {
		chat_gone(chat, status_word(STATUS_DELETED));
		return;
	}
	chat->phase = PHASE_IDLE;
	if (chat->fresh) { /* it was not, though asked for as one */
		chat_start_after(chat, 0);
		return;
	}
	chat->fresh = 1;
	chat_start(chat);
}

void
over_refused(
    struct hermes_chat *chat, enum hermes_code code, int64_t retry_after)
{
	if (code == CODE_CHAT_NOT_FOUND) {
		over_ended(chat);
		return;
	}
	chat->phase = PHASE_IDLE; /* asked for, it is there again, or gone */
	chat_start_after(chat, retry_after);
}
