/*
 * mesh, unprivileged; node bytes are hostile. Trunks to peers: dialled with
 * back-off and jitter, kept in a small cache, and so many accepted of each.
 * See peer.h.
 */
#include <event2/event.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/backoff.h"
#include "mesh/gossip.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"

#define BACKOFF_FIRST (100 * CLOCK_MS)
#define BACKOFF_MAX   (5 * CLOCK_SECOND)
#define ACCEPTED_MAX  8  /* connections that a peer opened */
#define CHECK_EVERY   20 /* ticks, of who is a member still */

struct trunk *
peer_dialled_trunk(struct peer *peer)
{
	struct trunk *trunk;

	for (trunk = TAILQ_FIRST(&peer->trunks); trunk != NULL;
	     trunk = TAILQ_NEXT(trunk, entry))
		if (trunk->owner != NULL && !trunk->draining &&
		    !trunk->given_up)
			return (trunk);
	return (NULL);
}

/*
 * The trunks that this node dialled. The least recently used one that carries
 * no chats is *oldest, or NULL; *idle counts those.
 */
static size_t
cache_count(struct trunk **oldest, size_t *idle)
{
	struct trunk *trunk;
	struct peer *peer;
	size_t cursor = 0, count = 0;

	*oldest = NULL;
	*idle = 0;
	while ((peer = peer_next(&cursor)) != NULL)
		for (trunk = TAILQ_FIRST(&peer->trunks); trunk != NULL;
		     trunk = TAILQ_NEXT(trunk, entry)) {
			if (trunk->owner == NULL || trunk->given_up)
				continue;
			count++;
			if (peer->route.own != NULL &&
			    peer->route.own->trunk == trunk)
				continue;
			(*idle)++;
			if (*oldest == NULL || trunk->used < (*oldest)->used)
				*oldest = trunk;
		}
	return (count);
}

static void
cache_trim(void)
{
	struct trunk *oldest;
	size_t idle;

	/* Closing takes a turn of the loop; one given up is not counted. */
	while (cache_count(&oldest, &idle) > 0 &&
	       idle > proc_config()->mesh_connections)
		trunk_close(oldest);
}

void
peer_metrics(void)
{
	struct trunk *oldest;
	size_t idle;

	metric_set(METRIC_MESH_CONNECTIONS, cache_count(&oldest, &idle));
}

static void
peer_backoff(struct peer *peer)
{
	int64_t wait;
	struct timeval when;

	peer->backoff =
	    backoff_after(peer->backoff, BACKOFF_FIRST, BACKOFF_MAX);
	wait = backoff_jitter(peer->backoff, backoff_random());
	peer->not_before = clock_monotonic() + wait;
	when.tv_sec = (time_t)(wait / CLOCK_SECOND);
	when.tv_usec = (suseconds_t)(wait % CLOCK_SECOND / 1000);
	(void)evtimer_add(peer->redial, &when);
}

static void
on_trunk_up(struct trunk *trunk)
{
	struct peer *peer = trunk->arg;

	/* Refused, it is the peer's still, until on_trunk_down(): nobody forgets
	 * the peer before. */
	if (trunk_admit(trunk) == -1 || trunk->peer != peer) {
		trunk_close(trunk);
		return;
	}
	peer->dialling = NULL;
	peer->backoff = 0;
	cache_trim();
	gossip_trunk_up(peer, trunk);
	route_trunk_up(peer);
}

static void
on_trunk_down(struct trunk *trunk, const char *why)
{
	struct peer *peer = trunk->arg;

	if (peer->dialling != trunk)
		return; /* was up: peer_trunk_gone() follows */
	peer->dialling = NULL;
	log_debug("trunk_failed", "node=%s why=\"%s\"", peer->node_id, why);
	peer->want &= ~(unsigned)(WANT_GOSSIP | WANT_RENEW);
	buffer_free(&peer->outbox);
	peer_backoff(peer);
}

static const struct trunk_owner peer_owner = { .up = on_trunk_up,
	.down = on_trunk_down };

static void
peer_dial(struct peer *peer)
{
	if (peer->dialling != NULL || peer->endpoint[0] == '\0' ||
	    peer->state == NODE_REVOKED || mesh.stopping == 2 ||
	    mesh.client_tls == NULL || !mesh_is_member() ||
	    peer_dialled_trunk(peer) != NULL)
		return;
	if (clock_monotonic() < peer->not_before)
		return;
	peer->dialling =
	    trunk_dial(peer->endpoint, peer->node_key, &peer_owner, peer);
	if (peer->dialling == NULL)
		peer_backoff(peer);
}

static void
on_redial(evutil_socket_t fd, short what, void *arg)
{
	struct peer *peer = arg;

	(void)fd;
	(void)what;
	if (peer->want != 0)
		peer_dial(peer);
}

struct event *
peer_redial_new(struct peer *peer)
{
	return (evtimer_new(proc_base(), on_redial, peer));
}

void
peer_want(struct peer *peer, unsigned want)
{
	peer->want |= want;
	peer_dial(peer);
}

void
peer_unwant(struct peer *peer, unsigned want)
{
	peer->want &= ~want;
}

void
peer_hopeful(struct peer *peer)
{
	peer->backoff = 0;
	peer->not_before = 0;
	if (peer->want != 0)
		peer_dial(peer);
}

/* A member needs one, and one more while the other is found to be dead: those
 * it has opened and left go. */
static void
peer_trim_accepted(struct peer *peer)
{
	struct trunk *trunk, *oldest = NULL;
	unsigned count = 0;

	for (trunk = TAILQ_FIRST(&peer->trunks); trunk != NULL;
	     trunk = TAILQ_NEXT(trunk, entry)) {
		if (trunk->owner != NULL || trunk->given_up)
			continue;
		if (oldest == NULL)
			oldest = trunk;
		count++;
	}
	if (count <= ACCEPTED_MAX)
		return;
	metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
	trunk_close(oldest);
}

void
peer_trunk_came(struct peer *peer, struct trunk *trunk)
{
	TAILQ_INSERT_TAIL(&peer->trunks, trunk, entry);
	trunk_read(trunk);
	peer_trim_accepted(peer);
}

void
peer_trunk_gone(struct peer *peer, struct trunk *trunk)
{
	TAILQ_REMOVE(&peer->trunks, trunk, entry);
	if (peer->want != 0 && !mesh.stopping)
		peer_backoff(peer);
}

void
peer_start_all(void)
{
	struct peer *peer;
	size_t cursor = 0;

	while ((peer = peer_next(&cursor)) != NULL)
		peer_hopeful(peer);
}

/* Cut the trunks of a peer whose membership has run out. */
static void
peer_check(struct peer *peer)
{
	struct trunk *trunk;

	for (trunk = TAILQ_FIRST(&peer->trunks); trunk != NULL;
	     trunk = TAILQ_NEXT(trunk, entry))
		if (trunk_admit(trunk) == -1)
			trunk_close(trunk);
}

void
peer_tick(int64_t now)
{
	static unsigned count;
	int check = ++count % CHECK_EVERY == 0;
	struct peer *peer;
	size_t cursor = 0;

	while ((peer = peer_next(&cursor)) != NULL) {
		route_tick(peer, now);
		gossip_tick(peer);
		budget_tick(peer, now);
		if (check && !peer_forget_gone(peer))
			peer_check(peer);
	}
}

/* Closing takes a turn of the loop: all of them stay in the list till then. */
static void
each_trunk(struct peer *peer, void (*act)(struct trunk *))
{
	struct trunk *trunk;

	for (trunk = TAILQ_FIRST(&peer->trunks); trunk != NULL;
	     trunk = TAILQ_NEXT(trunk, entry))
		act(trunk);
}

void
peer_cut(struct peer *peer)
{
	if (peer->dialling != NULL)
		trunk_close(peer->dialling);
	each_trunk(peer, trunk_close);
}

void
peer_expel(struct peer *peer)
{
	each_trunk(peer, trunk_expel);
}

void
peer_read(struct peer *peer)
{
	each_trunk(peer, trunk_read);
}
