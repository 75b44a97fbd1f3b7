/*
 * keyd only. Verified offers of peers for chats that the local app has not
 * started yet. In memory only, bounded, forgotten after a while: the peer
 * offers again when its tieline comes up.
 */

#include <stdlib.h>
#include <string.h>

#include "keyd/chat.h"

struct waiting *
waiting_find(const struct chats *chats, const struct chat_key *key)
{
	return (table_get(&chats->waiting, key));
}

/* One more for the app. 0, or -1: limit reached, or no memory. */
static int
waiting_count(struct chats *chats, const uint8_t local_app[KEY_SIZE])
{
	struct waiting_app *app = table_get(&chats->waiting_apps, local_app);

	if (app == NULL) {
		if ((app = calloc(1, sizeof(*app))) == NULL)
			return (-1);
		memcpy(app->app, local_app, KEY_SIZE);
		if (table_put(&chats->waiting_apps, app->app, app) == -1) {
			free(app);
			return (-1);
		}
	}
	if (app->count >= WAITING_APP_MAX)
		return (-1);
	app->count++;
	return (0);
}

static void
waiting_uncount(struct chats *chats, const uint8_t local_app[KEY_SIZE])
{
	struct waiting_app *app = table_get(&chats->waiting_apps, local_app);

	if (--app->count > 0)
		return;
	(void)table_remove(&chats->waiting_apps, app->app);
	free(app);
}

static void
waiting_free(struct chats *chats, struct waiting *waiting)
{
	waiting_uncount(chats, waiting->local_app);
	chats->waiting_tails -= waiting->tail_length;
	free(waiting->tail);
	free(waiting);
}

void
waiting_remove(struct chats *chats, struct waiting *waiting)
{
	(void)table_remove(&chats->waiting, &waiting->key);
	waiting_free(chats, waiting);
}

void
waiting_free_all(struct chats *chats)
{
	struct waiting *waiting;
	size_t cursor = 0;

	while ((waiting = table_next(&chats->waiting, &cursor)) != NULL)
		waiting_free(chats, waiting);
}

void
waiting_expire(struct chats *chats)
{
	struct waiting *waiting;
	size_t cursor = 0;

	while ((waiting = table_next(&chats->waiting, &cursor)) != NULL)
		if (waiting->until < chats->now)
			waiting_remove(chats, waiting);
}

static void
waiting_tell(struct chats *chats, const struct waiting *waiting)
{
	struct ipc_chat_offer offer = { .key = waiting->key };

	memcpy(offer.chat_id, waiting->chat_id, sizeof(offer.chat_id));
	memcpy(offer.local_app, waiting->local_app, KEY_SIZE);
	memcpy(offer.peer_app, waiting->peer_app, KEY_SIZE);
	memcpy(offer.peer_node, waiting->node, KEY_SIZE);
	offer.version = waiting->offer.version;
	offer.flags = waiting->flags;
	chats->io.send(chats->io.arg, PROCESS_ROUTER, IPC_CHAT_OFFER, &offer,
	    waiting->tail, waiting->tail_length);
}

void
waiting_report(struct chats *chats)
{
	struct waiting *waiting;
	size_t cursor = 0;

	while ((waiting = table_next(&chats->waiting, &cursor)) != NULL)
		waiting_tell(chats, waiting);
}

/* An empty one for the chat; NULL: limit reached, or no memory. */
static struct waiting *
waiting_new(struct chats *chats, const struct chat_key *key,
    const uint8_t local_app[KEY_SIZE])
{
	struct waiting *waiting;

	if (chats->waiting.count >= WAITING_MAX ||
	    (waiting = calloc(1, sizeof(*waiting))) == NULL)
		return (NULL);
	waiting->key = *key;
	memcpy(waiting->local_app, local_app, KEY_SIZE);
	if (waiting_count(chats, local_app) == -1) {
		free(waiting);
		return (NULL);
	}
	if (table_put(&chats->waiting, &waiting->key, waiting) == -1) {
		waiting_free(chats, waiting);
		return (NULL);
	}
	return (waiting);
}

static void
waiting_keep_tail(struct chats *chats, struct waiting *waiting,
    const uint8_t *tail, size_t length)
{
	chats->waiting_tails -= waiting->tail_length;
	free(waiting->tail);
	waiting->tail = NULL;
	waiting->tail_length = 0;
	if (length == 0 || chats->waiting_tails + length > WAITING_TAILS ||
	    (waiting->tail = malloc(length)) == NULL)
		return;
	memcpy(waiting->tail, tail, length);
	waiting->tail_length = length;
	chats->waiting_tails += length;
}

int
waiting_add(struct chats *chats, const struct ipc_setup *setup,
    const uint8_t local_app[KEY_SIZE], const uint8_t peer_app[KEY_SIZE],
    const uint8_t *tail, size_t tail_length)
{
	static const uint8_t none[KEY_SIZE];
	struct waiting *waiting = waiting_find(chats, &setup->key);

	if (waiting == NULL) {
		waiting = waiting_new(chats, &setup->key, local_app);
		if (waiting == NULL)
			return (-1);
	} else if (memcmp(waiting->node, setup->node, KEY_SIZE) != 0 &&
		   setup->peer.issued_at < waiting->issued)
		return (0); /* the app has moved on from that node */
	memcpy(waiting->chat_id, setup->chat_id, sizeof(waiting->chat_id));
	memcpy(waiting->peer_app, peer_app, KEY_SIZE);
	memcpy(waiting->node, setup->node, KEY_SIZE);
	waiting->issued = setup->peer.issued_at;
	waiting->offer = setup->offer;
	waiting->delivered = setup->delivered;
	waiting->acked = setup->acked;
	waiting->flags = memcmp(setup->offer.app_key_hash, none, KEY_SIZE) == 0
			     ? 0
			     : CHAT_HAS_KEY;
	waiting->until = chats->now + WAITING_LIFETIME;
	/* Sent again without the StartChat: the one we have stays good. */
	if (tail_length > 0)
		waiting_keep_tail(chats, waiting, tail, tail_length);
	waiting_tell(chats, waiting);
	return (0);
}
