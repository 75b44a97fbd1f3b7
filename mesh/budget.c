/*
 * mesh, unprivileged; node bytes are hostile. What a member may have of this
 * node's time; see budget.h.
 */
#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "common/util/rate.h"
#include "mesh/budget.h"
#include "mesh/peer.h"

/*
 * A quarter of a core, and 4 s of a core at once. 10,000 chats that begin are
 * 6 s of keyd as it is reckoned here, 10,000 that resume 3.5 s. A sync of
 * 8,000 new apps is 0.5 s of mesh.
 */
#define PERIOD    (16 * CLOCK_SECOND)
#define TIME      (UINT32_C(4) * 1000 * 1000)
#define BAD_EVERY CLOCK_SECOND

/* keyd is behind when so many bytes wait at its door, for about 0.1 s, until
 * they are half as many. At four times as many nobody is read (ipc.h). */
#define BEHIND    (1024 * 1024)
/* What a member had while nobody else wanted it is held against it so long. */
#define GRUDGE    (PERIOD / 4)

static int
keyd_is_behind(size_t bytes)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);

	return (keyd != NULL && ipc_queued(keyd) > bytes);
}

void
budget_spend(struct peer *peer, enum budget_of of, uint32_t us)
{
	static const enum metric counters[] = {
		[BUDGET_MESH] = METRIC_MESH_HELD_MESH,
		[BUDGET_KEYD] = METRIC_MESH_HELD_KEYD,
	};
	int64_t now = clock_monotonic(), early;

	if (peer == NULL)
		return;
	/* It was spent already: it counts, however early. */
	early = rate_take_many(&peer->budget.due[of], now, us, TIME, PERIOD,
	    of == BUDGET_KEYD ? GRUDGE : INT64_MAX);
	if (early == 0 || (of == BUDGET_KEYD && !keyd_is_behind(BEHIND)))
		return;
	if (peer->budget.until[of] == 0) {
		metric_add(counters[of], 1);
		peer->budget.held++;
		log_debug("member_held", "node=%s of=%s ms=%lld", peer->node_id,
		    of == BUDGET_KEYD ? "keyd" : "mesh",
		    (long long)(early / CLOCK_MS));
	}
	if (peer->budget.until[of] < now + early)
		peer->budget.until[of] = now + early;
	peer_read(peer);
}

void
budget_blame(struct peer *peer, uint32_t count)
{
	if (peer == NULL || count == 0)
		return;
	peer->budget.bad += count;
	if (count > BUDGET_BAD_MOST)
		count = BUDGET_BAD_MOST;
	budget_spend(peer, BUDGET_MESH, count * BUDGET_BAD);
	if (rate_take_many(&peer->budget.bad_due, clock_monotonic(), count,
		BUDGET_BAD_MOST, BUDGET_BAD_MOST * BAD_EVERY, 0) == 0)
		return;
	log_warn("member_cut", "node=%s bad_signatures=%llu", peer->node_id,
	    (unsigned long long)peer->budget.bad);
	metric_add(METRIC_MESH_CUT, 1);
	peer_expel(peer);
}

int
budget_holds(const struct peer *peer)
{
	return (peer->budget.until[BUDGET_MESH] != 0 ||
		peer->budget.until[BUDGET_KEYD] != 0);
}

void
budget_tick(struct peer *peer, int64_t now)
{
	int64_t *until = peer->budget.until;

	if (!budget_holds(peer))
		return;
	if (now >= until[BUDGET_MESH])
		until[BUDGET_MESH] = 0;
	if (now >= until[BUDGET_KEYD] || !keyd_is_behind(BEHIND / 2))
		until[BUDGET_KEYD] = 0;
	if (!budget_holds(peer))
		peer_read(peer);
}
