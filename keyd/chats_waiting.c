/*
 * keyd only. Verified offers of peers for chats that the local app has not
 * started yet. In memory only, bounded, forgotten after a while: the peer
 * offers again when its tieline comes up. Who fills the room there is, loses
 * it to those who have less: no node or app keeps others from an app.
 */

#include <stdlib.h>
#include <string.h>

#include "keyd/chat.h"

struct waiting *
waiting_find(const struct chats *chats, const struct chat_key *key)
{
	return (table_get(&chats->waiting, key));
}

/* --- shares ------------------------------------------------------------- */

static size_t
share_count(const struct table *table, const uint8_t key[KEY_SIZE])
{
	const struct waiting_share *share = table_get(table, key);

	return (share == NULL ? 0 : share->count);
}

/* One more for key. 0, or -1: no memory. */
static int
share_add(struct table *table, const uint8_t key[KEY_SIZE])
{
	struct waiting_share *share = table_get(table, key);

	if (share == NULL) {
		if ((share = calloc(1, sizeof(*share))) == NULL)
			return (-1);
		memcpy(share->key, key, KEY_SIZE);
		if (table_put(table, share->key, share) == -1) {
			free(share);
			return (-1);
		}
	}
	share->count++;
	return (0);
}

static void
share_take(struct table *table, const uint8_t key[KEY_SIZE])
{
	struct waiting_share *share = table_get(table, key);

	if (--share->count > 0)
		return;
	(void)table_remove(table, share->key);
	free(share);
}

static void
waiting_free(struct chats *chats, struct waiting *waiting)
{
	share_take(&chats->waiting_apps, waiting->local_app);
	share_take(&chats->waiting_nodes, waiting->node);
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
waiting_end(
    struct chats *chats, struct waiting *waiting, enum hermes_status status)
{
	struct ipc_teardown teardown = { .key = waiting->key };

	memcpy(teardown.node, waiting->node, KEY_SIZE);
	memcpy(teardown.chat_id, waiting->chat_id, sizeof(teardown.chat_id));
	memcpy(teardown.instance, waiting->offer.instance, INSTANCE_SIZE);
	teardown.status = (uint32_t)status;
	teardown.version = waiting->offer.version;
	waiting_remove(chats, waiting);
	chats->io.send(
	    chats->io.arg, PROCESS_MESH, IPC_TEARDOWN_OUT, &teardown, NULL, 0);
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
		if (waiting->until < chats->now) {
			chat_untie(chats, &waiting->key, waiting->node);
			waiting_remove(chats, waiting);
		}
}

void
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

/* --- room for one more -------------------------------------------------- */

/* Would the place of one of many be better used by somebody who has few? */
static int
has_too_many(size_t many, size_t few)
{
	return (many > few + 1);
}

/* The oldest offer of the node that has most of all, for one more of node;
 * NULL: it has as many. */
static struct waiting *
crowd_of_all(const struct chats *chats, const uint8_t node[KEY_SIZE])
{
	const struct waiting_share *share, *most = NULL;
	struct waiting *waiting, *oldest = NULL;
	size_t cursor = 0;

	while ((share = table_next(&chats->waiting_nodes, &cursor)) != NULL)
		if (most == NULL || share->count > most->count)
			most = share;
	if (most == NULL || !has_too_many(most->count,
				share_count(&chats->waiting_nodes, node)))
		return (NULL);
	cursor = 0;
	while ((waiting = table_next(&chats->waiting, &cursor)) != NULL)
		if (memcmp(waiting->node, most->key, KEY_SIZE) == 0 &&
		    (oldest == NULL || waiting->until < oldest->until))
			oldest = waiting;
	return (oldest);
}

/* Who offered it: the node (0) or the app (1). */
static const uint8_t *
waiting_from(const struct waiting *waiting, int app)
{
	return (app ? waiting->peer_app : waiting->node);
}

/* The oldest of count offers of the node (app) that has most of them, for one
 * more of key; NULL: it has as many. */
static struct waiting *
crowd_of(struct waiting *const *list, size_t count, int app,
    const uint8_t key[KEY_SIZE])
{
	struct waiting *oldest = NULL;
	size_t i, j, n, most = 0, own = 0;

	for (i = 0; i < count; i++) {
		own += memcmp(waiting_from(list[i], app), key, KEY_SIZE) == 0;
		for (j = n = 0; j < count; j++)
			n += memcmp(waiting_from(list[i], app),
				 waiting_from(list[j], app), KEY_SIZE) == 0;
		if (oldest != NULL &&
		    (n < most ||
			(n == most && oldest->until <= list[i]->until)))
			continue;
		most = n;
		oldest = list[i];
	}
	return (has_too_many(most, own) ? oldest : NULL);
}

/* The same of those that wait for the local app; apps of one node share what
 * it has. */
static struct waiting *
crowd_of_app(const struct chats *chats, const uint8_t local_app[KEY_SIZE],
    const uint8_t node[KEY_SIZE], const uint8_t peer_app[KEY_SIZE])
{
	struct waiting *list[WAITING_APP_MAX], *waiting;
	size_t count = 0, cursor = 0;

	while (count < WAITING_APP_MAX &&
	       (waiting = table_next(&chats->waiting, &cursor)) != NULL)
		if (memcmp(waiting->local_app, local_app, KEY_SIZE) == 0)
			list[count++] = waiting;
	waiting = crowd_of(list, count, 0, node);
	return (waiting != NULL ? waiting : crowd_of(list, count, 1, peer_app));
}

/* It goes for another, and the peer hears so, and the router: that has no
 * bound of its own on what is offered to all apps. */
static void
waiting_displace(struct chats *chats, struct waiting *waiting)
{
	struct ipc_setup_refused refused = { .key = waiting->key,
		.code = CODE_LIMIT_REACHED };
	struct ipc_chat_end end = { .key = waiting->key,
		.status = STATUS_DELETED_BY_PEER };

	memcpy(refused.node, waiting->node, KEY_SIZE);
	waiting_remove(chats, waiting);
	chats->io.send(
	    chats->io.arg, PROCESS_ROUTER, IPC_CHAT_ENDED, &end, NULL, 0);
	chats->io.send(
	    chats->io.arg, PROCESS_MESH, IPC_SETUP_REFUSED, &refused, NULL, 0);
}

/* Have room for one more. 0, or -1: limit reached. */
static int
waiting_make_room(struct chats *chats, const uint8_t local_app[KEY_SIZE],
    const uint8_t peer_app[KEY_SIZE], const uint8_t node[KEY_SIZE])
{
	struct waiting *crowd;

	if (share_count(&chats->waiting_apps, local_app) >= WAITING_APP_MAX)
		crowd = crowd_of_app(chats, local_app, node, peer_app);
	else if (chats->waiting.count >= WAITING_MAX)
		crowd = crowd_of_all(chats, node);
	else
		return (0);
	if (crowd == NULL)
		return (-1);
	waiting_displace(chats, crowd);
	return (0);
}

/* An empty one for the chat; NULL: limit reached, or no memory. */
static struct waiting *
waiting_new(struct chats *chats, const struct ipc_setup *setup,
    const uint8_t local_app[KEY_SIZE], const uint8_t peer_app[KEY_SIZE])
{
	struct waiting *waiting;

	if (waiting_make_room(chats, local_app, peer_app, setup->node) == -1 ||
	    (waiting = calloc(1, sizeof(*waiting))) == NULL)
		return (NULL);
	waiting->key = setup->key;
	memcpy(waiting->local_app, local_app, KEY_SIZE);
	memcpy(waiting->node, setup->node, KEY_SIZE);
	if (share_add(&chats->waiting_apps, local_app) == -1) {
		free(waiting);
		return (NULL);
	}
	if (share_add(&chats->waiting_nodes, waiting->node) == -1) {
		share_take(&chats->waiting_apps, local_app);
		free(waiting);
		return (NULL);
	}
	if (table_put(&chats->waiting, &waiting->key, waiting) == -1) {
		waiting_free(chats, waiting);
		return (NULL);
	}
	return (waiting);
}

/* The app offers it from another node now. 0, or -1: no memory. */
static int
waiting_move(
    struct chats *chats, struct waiting *waiting, const uint8_t node[KEY_SIZE])
{
	if (memcmp(waiting->node, node, KEY_SIZE) == 0)
		return (0);
	if (share_add(&chats->waiting_nodes, node) == -1)
		return (-1);
	share_take(&chats->waiting_nodes, waiting->node);
	memcpy(waiting->node, node, KEY_SIZE);
	return (0);
}

static void
waiting_keep_tail(struct waiting *waiting, const uint8_t *tail, size_t length)
{
	free(waiting->tail);
	waiting->tail_length = 0;
	if ((waiting->tail = malloc(length)) == NULL)
		return;
	memcpy(waiting->tail, tail, length);
	waiting->tail_length = length;
}

int
waiting_add(struct chats *chats, const struct ipc_setup *setup,
    const uint8_t local_app[KEY_SIZE], const uint8_t peer_app[KEY_SIZE],
    const uint8_t *tail, size_t tail_length)
{
	static const uint8_t none[KEY_SIZE];
	struct waiting *waiting = waiting_find(chats, &setup->key);

	if (waiting == NULL) {
		waiting = waiting_new(chats, setup, local_app, peer_app);
		if (waiting == NULL)
			return (-1);
	} else if (memcmp(waiting->node, setup->node, KEY_SIZE) != 0 &&
		   setup->peer.issued_at < waiting->issued)
		return (0); /* the app has moved on from that node */
	if (waiting_move(chats, waiting, setup->node) == -1)
		return (-1);
	memcpy(waiting->chat_id, setup->chat_id, sizeof(waiting->chat_id));
	memcpy(waiting->peer_app, peer_app, KEY_SIZE);
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
		waiting_keep_tail(waiting, tail, tail_length);
	waiting_tell(chats, waiting);
	return (0);
}
