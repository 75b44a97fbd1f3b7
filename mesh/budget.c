/*
 * mesh, unprivileged; node bytes are hostile. What a member may have of this
 * node's time; see budget.h.
 */
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "common/util/rate.h"
#include "mesh/budget.h"
#include "mesh/peer.h"

/*
 * A quarter of a core, and 4 s of a core at once. 10,000 chats that resume take
 * 8 s, and 3.5 s of keyd as it is reckoned here; 10,000 that begin 11 s, and 6
 * s. A sync of 8,000 new apps is 0.5 s of mesh.
 */
#define PERIOD    (16 * CLOCK_SECOND)
#define TIME      (UINT32_C(4) * 1000 * 1000)
#define BAD_EVERY CLOCK_SECOND

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
	early = rate_take_many(
	    &peer->budget.due[of], now, us, TIME, PERIOD, INT64_MAX);
	if (early == 0)
		return;
	if (peer->budget.until == 0) {
		metric_add(counters[of], 1);
		peer->budget.held++;
		log_debug("member_held", "node=%s of=%s ms=%lld", peer->node_id,
		    of == BUDGET_KEYD ? "keyd" : "mesh",
		    (long long)(early / CLOCK_MS));
	}
	if (peer->budget.until < now + early)
		peer->budget.until = now + early;
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
	return (peer->budget.until != 0);
}

void
budget_tick(struct peer *peer, int64_t now)
{
	if (peer->budget.until == 0 || now < peer->budget.until)
		return;
	peer->budget.until = 0;
	peer_read(peer);
}
