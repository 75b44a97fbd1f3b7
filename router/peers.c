/*
 * router: the apps at the other end of chats: where mesh says they are, and
 * which chats a node's coming or going concerns. mesh is checked for form;
 * whether an attestation is true is keyd's to say.
 */

#include <stdlib.h>
#include <string.h>

#include "common/proc/proc.h"
#include "common/util/hex.h"
#include "router/chats.h"

static struct {
	struct table peers;
	struct table links;
} book;

void
peers_init(void)
{
	table_init(&book.peers, KEY_SIZE);
	table_init(&book.links, KEY_SIZE);
}

struct peer *
peer_get(const uint8_t key[KEY_SIZE])
{
	return (table_get(&book.peers, key));
}

struct link *
link_get(const uint8_t node_key[KEY_SIZE])
{
	return (table_get(&book.links, node_key));
}

struct peer *
peer_make(const uint8_t key[KEY_SIZE])
{
	struct peer *peer = table_get(&book.peers, key);

	if (peer != NULL)
		return (peer);
	if ((peer = calloc(1, sizeof(*peer))) == NULL)
		return (NULL);
	memcpy(peer->key, key, KEY_SIZE);
	hex_encode(peer->hex, key, KEY_SIZE);
	TAILQ_INIT(&peer->sides);
	if (table_put(&book.peers, peer->key, peer) == -1) {
		free(peer);
		return (NULL);
	}
	return (peer);
}

static void
peer_send(const struct peer *peer, enum ipc_type type)
{
	struct ipc *mesh = proc_ipc(PROCESS_MESH);
	struct ipc_app app;

	if (mesh == NULL)
		return; /* peers_mesh_up() catches up */
	memcpy(app.app, peer->key, KEY_SIZE);
	ipc_send(mesh, type, &app, NULL, 0);
}

static void
peer_leave_node(struct peer *peer)
{
	struct link *link = peer->link;

	if (link == NULL)
		return;
	resume_leave_link(peer);
	peer->link = NULL;
	TAILQ_REMOVE(&link->peers, peer, link_entry);
	if (TAILQ_EMPTY(&link->peers)) {
		(void)table_remove(&book.links, link->node_key);
		free(link);
	}
}

void
peer_release(struct peer *peer)
{
	if (peer->busy > 0 || !TAILQ_EMPTY(&peer->sides))
		return;
	if (peer->watched)
		peer_send(peer, IPC_UNWATCH);
	peer_leave_node(peer);
	(void)table_remove(&book.peers, peer->key);
	free(peer);
}

void
peer_watch(struct peer *peer)
{
	if (peer->watched)
		return;
	peer->watched = 1;
	peer_send(peer, IPC_WATCH);
}

void
peer_set_node(struct peer *peer, const uint8_t node_key[KEY_SIZE])
{
	struct link *link;

	if (peer->link != NULL &&
	    memcmp(peer->link->node_key, node_key, KEY_SIZE) == 0)
		return;
	peer_leave_node(peer);
	if ((link = table_get(&book.links, node_key)) == NULL) {
		/* Without memory the next presence or record tries again. */
		if ((link = calloc(1, sizeof(*link))) == NULL)
			return;
		memcpy(link->node_key, node_key, KEY_SIZE);
		TAILQ_INIT(&link->peers);
		TAILQ_INIT(&link->line);
		if (table_put(&book.links, link->node_key, link) == -1) {
			free(link);
			return;
		}
	}
	peer->link = link;
	TAILQ_INSERT_TAIL(&link->peers, peer, link_entry);
}

static int
presence_valid(const struct ipc_presence *presence)
{
	return ((presence->status == PRESENCE_LOCAL ||
		    presence->status == PRESENCE_FOUND) &&
		node_id_valid(presence->node_id,
		    strnlen(presence->node_id, NODE_ID_SIZE)) &&
		memcmp(presence->attestation.app_key, presence->app,
		    KEY_SIZE) == 0);
}

void
peer_presence(const struct ipc_presence *presence)
{
	struct peer *peer = table_get(&book.peers, presence->app);
	struct side *side, *next;
	int was, moved = 0;

	if (peer == NULL || !peer->watched)
		return; /* UNWATCH is on its way */
	was = peer->present;
	peer->answered = 1;
	peer->presence = *presence;
	if (!presence_valid(presence)) {
		peer->presence.status = PRESENCE_UNKNOWN;
		peer->present = 0;
	} else {
		peer->present = presence->reachable != 0;
		moved = peer->link != NULL &&
			memcmp(peer->link->node_key,
			    presence->attestation.node_key, KEY_SIZE) != 0;
		peer_set_node(peer, presence->attestation.node_key);
	}
	peer->busy++;
	for (side = TAILQ_FIRST(&peer->sides); side != NULL; side = next) {
		next = TAILQ_NEXT(side, peer_entry);
		start_presence(side, was, moved);
	}
	peer->busy--;
	peer_release(peer);
}

/* The stream with the peer's node came, broke, or its node is gone. */
static void
peer_tieline_changed(struct peer *peer, int up, uint64_t ended)
{
	struct side *side, *next;

	peer->busy++;
	for (side = TAILQ_FIRST(&peer->sides); side != NULL; side = next) {
		next = TAILQ_NEXT(side, peer_entry);
		if (up)
			start_tieline_up(side);
		else {
			core_suspend(&side->core);
			if (ended != 0)
				end_ask(side, ended == 2
						  ? STATUS_REVOKED
						  : STATUS_ROUTE_UNAVAILABLE);
		}
	}
	peer->busy--;
	peer_release(peer);
}

void
peer_tieline(const struct ipc_tieline *tieline, int up)
{
	struct link *link = table_get(&book.links, tieline->node_key);
	struct peer *peer, *next;

	if (link == NULL)
		return;
	/*
	 * Only peer_release() of the last peer frees the link, and then
	 * there is no next one.
	 */
	for (peer = TAILQ_FIRST(&link->peers); peer != NULL; peer = next) {
		next = TAILQ_NEXT(peer, link_entry);
		peer_tieline_changed(peer, up, tieline->ended);
	}
}

void
peers_mesh_up(void)
{
	struct peer *peer;
	size_t cursor = 0;

	while ((peer = table_next(&book.peers, &cursor)) != NULL)
		if (peer->watched)
			peer_send(peer, IPC_WATCH);
}

/* Nothing is known of anybody until mesh is back. Apps are told nothing:
 * that takes a second, and their peers are where they were. */
void
peers_mesh_down(void)
{
	struct peer *peer;
	struct side *side;
	size_t cursor = 0;

	while ((peer = table_next(&book.peers, &cursor)) != NULL) {
		peer->answered = peer->present = 0;
		TAILQ_FOREACH(side, &peer->sides, peer_entry)
		core_suspend(&side->core);
	}
}
