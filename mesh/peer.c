/*
 * mesh, unprivileged; node bytes are hostile. Peers: who is known, and what
 * is believed of them. See peer.h; trunks to them are in peer_trunk.c.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include "common/ipc/codes.h"
#include "common/proc/event.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "common/util/table.h"
#include "mesh/gossip.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/query.h"

static struct table peers;   /* by node_key */
static struct table names;   /* by node_id */
static struct table revoked; /* struct ipc_revocation, by key */

static void
tables_init(void)
{
	if (peers.key_size != 0)
		return;
	table_init(&peers, KEY_SIZE);
	table_init(&names, NODE_ID_SIZE);
	table_init(&revoked, KEY_SIZE);
}

struct peer *
peer_find(const uint8_t node_key[KEY_SIZE])
{
	tables_init();
	return (table_get(&peers, node_key));
}

struct peer *
peer_by_name(const char *node_id)
{
	char key[NODE_ID_SIZE] = { 0 };

	tables_init();
	if (strlcpy(key, node_id, sizeof(key)) >= sizeof(key))
		return (NULL);
	return (table_get(&names, key));
}

struct peer *
peer_next(size_t *cursor)
{
	tables_init();
	return (table_next(&peers, cursor));
}

/* --- what is known ------------------------------------------------------- */

static void
peer_save(const struct peer *peer)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);
	struct ipc_peer message = { 0 };

	if (keyd == NULL || peer->endpoint[0] == '\0')
		return;
	memcpy(message.endpoint, peer->endpoint, sizeof(message.endpoint));
	message.certificate = peer->certificate;
	ipc_send(keyd, IPC_PEER_SAVE, &message, NULL, 0);
}

static void
keyd_forget(const struct ipc_peer *known)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);

	if (keyd != NULL)
		ipc_send(keyd, IPC_PEER_FORGET, known, NULL, 0);
}

static void
peer_forget(const struct peer *peer)
{
	struct ipc_peer message = { 0 };

	memcpy(message.endpoint, peer->endpoint, sizeof(message.endpoint));
	message.certificate = peer->certificate;
	keyd_forget(&message);
}

static void
peer_hint(const struct peer *peer)
{
	struct ipc *router = proc_ipc(PROCESS_ROUTER);
	struct ipc_node_state message = { 0 };

	if (router == NULL)
		return;
	memcpy(message.node_id, peer->node_id, sizeof(message.node_id));
	memcpy(message.app_endpoint, peer->app_endpoint,
	    sizeof(message.app_endpoint));
	memcpy(message.node_key, peer->node_key, KEY_SIZE);
	message.alive =
	    peer->state == NODE_ALIVE || peer->state == NODE_SUSPECT;
	ipc_send(router, IPC_NODE_STATE, &message, NULL, 0);
}

void
peer_tell_router(void)
{
	struct peer *peer;
	size_t cursor = 0;

	while ((peer = peer_next(&cursor)) != NULL)
		peer_hint(peer);
}

static void
on_grace(evutil_socket_t fd, short what, void *arg)
{
	struct peer *peer = arg;

	(void)fd;
	(void)what;
	peer->ended = 1;
	peer->ended_at = clock_monotonic();
	route_ended(peer);
	presence_node_ended(peer, 0);
}

static void
peer_start_grace(struct peer *peer)
{
	int64_t ns = proc_config()->route_grace;
	struct timeval wait;

	if (evtimer_pending(peer->grace, NULL))
		return;
	wait.tv_sec = (time_t)(ns / CLOCK_SECOND);
	wait.tv_usec = (suseconds_t)(ns % CLOCK_SECOND / 1000);
	(void)evtimer_add(peer->grace, &wait); /* only memory can fail */
}

static void
peer_free(struct peer *peer)
{
	if (peer->redial != NULL)
		event_free(peer->redial);
	if (peer->grace != NULL)
		event_free(peer->grace);
	buffer_free(&peer->outbox);
	route_free(&peer->route);
	free(peer);
}

/* --- who is gone --------------------------------------------------------- */

/* Its grace is over, the core knows nothing of it and nothing leads to it. */
static int
peer_is_gone(const struct peer *peer)
{
	return (peer->ended && TAILQ_EMPTY(&peer->trunks) &&
		peer->dialling == NULL && peer->route.tielines == 0 &&
		peer->parked == 0 &&
		(peer->state == NODE_REVOKED || members_swim() == NULL ||
		    swim_find(members_swim(), peer->node_key) == NULL));
}

/* keyd does, too: what it keeps would be in the way of those who come. */
static void
peer_drop(struct peer *peer)
{
	char id[HEX_SHORT_SIZE];

	log_info("node_forgotten", "node=%s key=%s", peer->node_id,
	    hex_short(id, peer->node_key, KEY_SIZE));
	peer_forget(peer);
	presence_node_ended(peer, 1);
	peer->owes_sync = 0;
	query_answered(peer);
	if (table_get(&names, peer->node_id) == peer)
		(void)table_remove(&names, peer->node_id);
	(void)table_remove(&peers, peer->node_key);
	peer_free(peer);
}

/*
 * One that is gone makes room for a member that is there: one that is revoked
 * or left, if there is any, and of those the one gone longest. 0 or -1.
 */
static int
peer_make_room(void)
{
	struct peer *peer, *first = NULL;
	size_t cursor = 0;

	while ((peer = peer_next(&cursor)) != NULL)
		if (peer_is_gone(peer) &&
		    (first == NULL || peer->left > first->left ||
			(peer->left == first->left &&
			    peer->ended_at < first->ended_at)))
			first = peer;
	if (first == NULL)
		return (-1);
	peer_drop(first);
	return (0);
}

/* Its membership has run out. Where ours has as well it may be the clock, and
 * nobody is forgotten for it. */
static int
no_member(const struct certificate *certificate)
{
	int64_t now = clock_wall();

	return (certificate->not_after < now &&
		mesh.identity.certificate.not_after >= now);
}

int
peer_forget_gone(struct peer *peer)
{
	if (!peer_is_gone(peer))
		return (0);
	/* Who is alone goes on calling all that may come back. */
	if (peer->state != NODE_REVOKED && !no_member(&peer->certificate) &&
	    (!peer->left || members_swim() == NULL ||
		swim_live(members_swim()) <= 1))
		return (0);
	peer_drop(peer);
	return (1);
}

static struct peer *
peer_new(const struct certificate *certificate)
{
	struct peer *peer;

	if ((peers.count >= proc_config()->limits.members &&
		peer_make_room() == -1) ||
	    (peer = calloc(1, sizeof(*peer))) == NULL)
		return (NULL);
	memcpy(peer->node_key, certificate->node_key, KEY_SIZE);
	memcpy(peer->node_id, certificate->node_id, NODE_ID_SIZE);
	peer->certificate = *certificate;
	peer->state = NODE_FAILED;
	TAILQ_INIT(&peer->trunks);
	buffer_init(&peer->outbox);
	route_init(&peer->route);
	peer->redial = peer_redial_new(peer);
	peer->grace = evtimer_new(proc_base(), on_grace, peer);
	if (peer->redial == NULL || peer->grace == NULL ||
	    table_put(&peers, peer->node_key, peer) == -1) {
		peer_free(peer);
		return (NULL);
	}
	/* Never heard of since this start: as if it had just failed. */
	peer_start_grace(peer);
	return (peer);
}

/* A name belongs to the highest serial the authority gave it. */
static int
peer_take_name(struct peer *peer)
{
	struct peer *holder = table_get(&names, peer->node_id);

	if (holder == peer)
		return (0);
	if (holder != NULL && holder->state != NODE_REVOKED &&
	    holder->certificate.serial > peer->certificate.serial)
		return (0);
	if (holder != NULL)
		(void)table_remove(&names, peer->node_id);
	return (table_put(&names, peer->node_id, peer));
}

struct peer *
peer_certified(const struct certificate *certificate)
{
	struct peer *peer;
	int fresh = 0;

	tables_init();
	peer = table_get(&peers, certificate->node_key);
	if (peer == NULL) {
		if ((peer = peer_new(certificate)) == NULL)
			return (NULL);
		fresh = 1;
	} else if (certificate->serial > peer->certificate.serial &&
		   strcmp(certificate->node_id, peer->node_id) == 0) {
		peer->certificate = *certificate;
		peer_save(peer);
	}
	if (fresh && peer_take_name(peer) == -1) {
		(void)table_remove(&peers, peer->node_key);
		peer_free(peer);
		return (NULL);
	}
	return (peer);
}

void
peer_described(struct peer *peer, const struct descriptor *read)
{
	int moved;

	moved = strcmp(peer->endpoint, read->endpoint) != 0 ||
		read->certificate.serial > peer->certificate.serial;
	memcpy(peer->endpoint, read->endpoint, sizeof(peer->endpoint));
	memcpy(
	    peer->app_endpoint, read->app_endpoint, sizeof(peer->app_endpoint));
	if (read->certificate.serial > peer->certificate.serial)
		peer->certificate = read->certificate;
	peer->authority = read->authority;
	if (moved)
		peer_save(peer);
	peer_hint(peer);
}

struct peer *
peer_authority(size_t *cursor)
{
	struct peer *peer;
	int round;

	for (round = 0; round < 2; round++, *cursor = 0)
		while ((peer = peer_next(cursor)) != NULL)
			if (peer->authority && (peer->state == NODE_ALIVE ||
						   peer->state == NODE_SUSPECT))
				return (peer);
	return (NULL);
}

/* For operators who watch. A node not heard of since the start has not
 * failed. */
static void
peer_event(struct peer *peer, enum node_state was, enum node_state now)
{
	static const enum event_kind kinds[] = { [NODE_ALIVE] = EVENT_ALIVE,
		[NODE_SUSPECT] = EVENT_SUSPECT,
		[NODE_FAILED] = EVENT_FAIL,
		[NODE_LEFT] = EVENT_LEAVE,
		[NODE_REVOKED] = EVENT_REVOKE };
	struct ipc_event event = { .kind = kinds[now] };

	if (now == NODE_ALIVE && !peer->known) {
		event.kind = EVENT_JOIN;
		peer->known = 1;
	} else if (now == NODE_FAILED && was == NODE_LEFT)
		return; /* forgotten in the end */
	memcpy(event.node_id, peer->node_id, sizeof(event.node_id));
	memcpy(event.key, peer->node_key, KEY_SIZE);
	proc_event(&event);
}

void
peer_set_state(struct peer *peer, enum node_state state)
{
	char id[HEX_SHORT_SIZE];

	if (peer->state == state || peer->state == NODE_REVOKED)
		return;
	log_info("node_state", "node=%s key=%s state=%s", peer->node_id,
	    hex_short(id, peer->node_key, KEY_SIZE), node_state_word(state));
	peer_event(peer, peer->state, state);
	peer->state = state;
	if (state == NODE_ALIVE || state == NODE_SUSPECT) {
		(void)evtimer_del(peer->grace);
		peer->ended = peer->left = 0;
		if (state == NODE_ALIVE) {
			peer_unwant(peer, WANT_SEED);
			peer_hopeful(peer);
		}
	} else if (state == NODE_REVOKED) {
		(void)evtimer_del(peer->grace);
		peer->ended = peer->left = 1;
		peer->ended_at = clock_monotonic();
	} else {
		/* The core forgets it a day later, as if it had failed. */
		peer->left |= state == NODE_LEFT;
		peer_start_grace(peer);
	}
	peer_hint(peer);
	presence_node_changed(peer);
}

/* The operator's word for where a node is, or NULL. */
static const char *
line_endpoint(const uint8_t node_key[KEY_SIZE])
{
	const struct config *config = proc_config();
	uint32_t i;

	for (i = 0; i < config->peer_count; i++)
		if (memcmp(config->peers[i].node_key, node_key, KEY_SIZE) == 0)
			return (config->peers[i].endpoint);
	return (NULL);
}

/* What the node itself says when it is alive comes later, and counts. */
static void
peer_take_line(struct peer *peer)
{
	const char *endpoint = line_endpoint(peer->node_key);

	if (endpoint != NULL && peer->state == NODE_FAILED)
		(void)strlcpy(peer->endpoint, endpoint, sizeof(peer->endpoint));
}

void
peer_configured(void)
{
	struct peer *peer;
	size_t cursor = 0;

	while ((peer = peer_next(&cursor)) != NULL) {
		peer_take_line(peer);
		if (peer->state == NODE_FAILED)
			peer_hopeful(peer);
	}
}

void
peer_on_peer(void *arg, const struct ipc_message *message)
{
	const struct ipc_peer *known = message->payload;
	struct peer *peer;

	(void)arg;
	if (mesh_is_self(known->certificate.node_key) ||
	    peer_is_revoked(known->certificate.node_key))
		return;
	if (no_member(&known->certificate)) {
		keyd_forget(known);
		return;
	}
	if ((peer = peer_certified(&known->certificate)) == NULL)
		return;
	if (peer->endpoint[0] == '\0')
		(void)strlcpy(
		    peer->endpoint, known->endpoint, sizeof(peer->endpoint));
	peer_take_line(peer);
	peer->known = 1;
	if (peer->state != NODE_ALIVE)
		peer_want(peer, WANT_SEED);
}

/* --- revocation ---------------------------------------------------------- */

const struct ipc_revocation *
peer_revocation(const uint8_t node_key[KEY_SIZE])
{
	tables_init();
	return (table_get(&revoked, node_key));
}

int
peer_is_revoked(const uint8_t node_key[KEY_SIZE])
{
	return (peer_revocation(node_key) != NULL);
}

const struct ipc_revocation *
peer_revocation_next(size_t *cursor)
{
	tables_init();
	return (table_next(&revoked, cursor));
}

int
peer_revoke(const struct ipc_revocation *revocation)
{
	struct ipc_revocation *copy;
	struct peer *peer;

	if (peer_is_revoked(revocation->node_key))
		return (0);
	if ((copy = malloc(sizeof(*copy))) == NULL)
		return (-1);
	*copy = *revocation;
	if (table_put(&revoked, copy->node_key, copy) == -1) {
		free(copy);
		return (-1);
	}
	log_warn("node_revoked", "node=%s", copy->node_id);
	if ((peer = peer_find(copy->node_key)) == NULL)
		return (1);
	peer_forget(peer);
	peer_set_state(peer, NODE_REVOKED);
	peer->want = 0;
	peer_cut(peer);
	route_ended(peer);
	presence_node_ended(peer, 1);
	return (1);
}
