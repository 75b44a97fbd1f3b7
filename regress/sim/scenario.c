/*
 * Test. What membership must stand: joins, failures, restarts, partitions,
 * slow nodes, leaving. Each scenario says what it did and checks the outcome
 * at every node.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "regress/sim/sim.h"

/* How all nodes but the dead see a node that is down, or must. */
static int
dead_state(int state)
{
	return (state == NODE_FAILED || state == NODE_LEFT ||
		state == NODE_REVOKED || state == 0);
}

/* Every live node sees exactly the truth. */
int
sim_all_alive(struct sim *sim)
{
	struct swim_counts counts;
	uint32_t i, j, up = 0;

	for (i = 0; i < sim->count; i++)
		up += sim->nodes[i].up && !sim->nodes[i].liar;
	for (i = 0; i < sim->count; i++) {
		if (!sim->nodes[i].up || sim->nodes[i].liar)
			continue;
		swim_count(sim->nodes[i].swim, &counts);
		if (counts.states[NODE_ALIVE] + 1 < up)
			return (0);
	}
	for (i = 0; i < sim->count; i++) {
		if (!sim->nodes[i].up || sim->nodes[i].liar)
			continue;
		for (j = 0; j < sim->count; j++) {
			if (i == j || sim->nodes[j].liar)
				continue;
			if (sim->nodes[j].up !=
			    (sim_view(&sim->nodes[i], j) == NODE_ALIVE))
				return (0);
			if (!sim->nodes[j].up &&
			    !dead_state(sim_view(&sim->nodes[i], j)))
				return (0);
		}
	}
	return (1);
}

void
sim_start_all(struct sim *sim)
{
	double drop = sim->network.drop;
	uint32_t i;

	sim->network.drop = 0;
	for (i = 0; i < sim->count; i++)
		sim_node_start(&sim->nodes[i], 0);
	sim_preload(sim);
	sim_run(sim, sim->now + 5 * SECOND);
	SIM_CHECK(sim, sim_all_alive(sim), "not even the start is right");
	sim->network.drop = drop;
	memset(&sim->counts, 0, sizeof(sim->counts));
	sim->counts.carried = sim_flying(sim);
}

static double
seconds(int64_t ns)
{
	return ((double)ns / SECOND);
}

/* 1,000 nodes join through one, within a few seconds. */
static void
scenario_join_storm(struct sim *sim)
{
	uint32_t i;
	int64_t joined;

	sim_node_start(&sim->nodes[0], 0);
	for (i = 1; i < sim->count; i++) {
		sim_run(sim, sim->now + 5 * SECOND / sim->count);
		sim_node_start(&sim->nodes[i], 0);
	}
	joined = sim->now;
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, joined + 60 * SECOND),
	    "not all know all after 60 s");
	sim_figure(sim, "converged_seconds", seconds(sim->now - joined));
	sim_figure(sim, "false_fail", (double)sim->false_fail);
	SIM_CHECK(sim, sim->false_fail == 0, "%llu false failures",
	    (unsigned long long)sim->false_fail);
}

/* L34: each knows only the hub at first, and then the hub dies. */
static void
scenario_L34_hub(struct sim *sim)
{
	uint32_t i;

	for (i = 0; i < sim->count; i++)
		sim_node_start(&sim->nodes[i], 0);
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 60 * SECOND),
	    "the hub did not bring them together");
	sim_node_stop(&sim->nodes[0]);
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 90 * SECOND),
	    "the hub's failure is not known to all");
	sim_run(sim, sim->now + 120 * SECOND);
	SIM_CHECK(sim, sim_all_alive(sim), "they lost each other");
	SIM_CHECK(sim, sim->false_fail == 0, "%llu false failures",
	    (unsigned long long)sim->false_fail);
}

static int
victim_failed(struct sim *sim)
{
	const uint32_t *victim = sim->hook_arg;
	uint32_t i;

	for (i = 0; i < sim->count; i++)
		if (sim->nodes[i].up &&
		    sim_view(&sim->nodes[i], *victim) != NODE_FAILED)
			return (0);
	return (1);
}

/* One of 1,000 fails, at 5 % loss: known to all within sim_bound(). */
static void
scenario_failure_at_loss(struct sim *sim)
{
	uint32_t victim;
	int64_t at;

	sim->network.drop = 0.05;
	sim_start_all(sim);
	sim_run(sim, sim->now + 20 * SECOND);
	victim = (uint32_t)(sim_random(&sim->random) % sim->count);
	sim_node_stop(&sim->nodes[victim]);
	at = sim->now;
	sim->hook_arg = &victim;
	SIM_CHECK(sim, sim_run_to(sim, victim_failed, at + sim_bound(sim)),
	    "not known to all after %.0f s", seconds(sim_bound(sim)));
	sim_figure(sim, "bound_seconds", seconds(sim_bound(sim)));
	sim_figure(sim, "known_to_all_seconds", seconds(sim->now - at));
	sim_run(sim, sim->now + 30 * SECOND);
	sim_figure(sim, "false_fail", (double)sim->false_fail);
	sim_figure(sim, "false_suspect", (double)sim->false_suspect);
	SIM_CHECK(sim, sim->false_fail == 0, "%llu false failures",
	    (unsigned long long)sim->false_fail);
}

/* L32: half of 200 nodes are restarted at once. */
static void
scenario_L32_mass_restart(struct sim *sim)
{
	uint32_t i;
	int64_t at;

	sim_start_all(sim);
	for (i = 0; i < sim->count; i += 2)
		sim_node_stop(&sim->nodes[i]);
	/* Down long enough to be failed in every odd seed. */
	sim_run(sim, sim->now + (sim->seed % 2 ? 90 : 1) * SECOND);
	at = sim->now;
	for (i = 0; i < sim->count; i += 2)
		sim_node_start(&sim->nodes[i], i + 1);
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, at + 60 * SECOND),
	    "not all alive 60 s after the restart");
	sim_figure(sim, "all_alive_seconds", seconds(sim->now - at));
	sim_run(sim, sim->now + 60 * SECOND);
	SIM_CHECK(sim, sim_all_alive(sim), "not all alive for long");
}

/* Two halves, long enough that each believes the other failed; then one. */
static void
scenario_partition_heals(struct sim *sim)
{
	uint32_t i;
	int64_t at;

	sim_start_all(sim);
	for (i = 0; i < sim->count; i++)
		sim->nodes[i].group = i % 2;
	sim->cut[0][1] = sim->cut[1][0] = 1;
	sim_run(sim, sim->now + 180 * SECOND);
	for (i = 0; i < sim->count; i++)
		SIM_CHECK(sim,
		    sim_view(&sim->nodes[i], (i + 1) % sim->count) ==
			    NODE_FAILED &&
			sim_view(&sim->nodes[i], (i + 2) % sim->count) ==
			    NODE_ALIVE,
		    "node %u does not see the partition", i);
	sim->cut[0][1] = sim->cut[1][0] = 0;
	at = sim->now;
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, at + 90 * SECOND),
	    "not one mesh 90 s after the cut healed");
	sim_figure(sim, "healed_seconds", seconds(sim->now - at));
}

/*
 * Cuts that go one way or between two nodes only. Two that cannot speak to
 * each other but to all others must not be failed; one that nobody can
 * reach is, and comes back.
 */
static void
scenario_asymmetric(struct sim *sim)
{
	sim_start_all(sim);
	sim->nodes[1].group = 1;
	sim->nodes[2].group = 2;
	sim->cut[1][2] = sim->cut[2][1] = 1;
	sim_run(sim, sim->now + 300 * SECOND);
	SIM_CHECK(sim, sim->false_fail == 0,
	    "a cut between two failed %llu times",
	    (unsigned long long)sim->false_fail);
	SIM_CHECK(sim, sim_all_alive(sim), "a cut between two shows");
	sim->cut[1][2] = sim->cut[2][1] = 0;
	/* Node 1 hears nobody, but is heard. */
	sim->cut[0][1] = sim->cut[2][1] = 1;
	sim_run(sim, sim->now + 180 * SECOND);
	SIM_CHECK(sim, sim_view(&sim->nodes[5], 1) == NODE_FAILED,
	    "a deaf node is %d", sim_view(&sim->nodes[5], 1));
	SIM_CHECK(sim, sim_view(&sim->nodes[5], 6) == NODE_ALIVE,
	    "a deaf node took another with it");
	sim->cut[0][1] = sim->cut[2][1] = 0;
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 120 * SECOND),
	    "the deaf node did not come back");
	/* Node 1 hears all, but nobody hears it. */
	sim->cut[1][0] = sim->cut[1][2] = 1;
	sim_run(sim, sim->now + 180 * SECOND);
	SIM_CHECK(sim, sim_view(&sim->nodes[5], 1) == NODE_FAILED,
	    "a mute node is %d", sim_view(&sim->nodes[5], 1));
	sim->cut[1][0] = sim->cut[1][2] = 0;
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 120 * SECOND),
	    "the mute node did not come back");
}

static void
slow_hook(
    struct sim *sim, struct sim_node *node, uint32_t about, int was, int now)
{
	uint64_t *healthy = sim->hook_arg;

	(void)was;
	/* The first tenth hangs now and then. */
	if (now == NODE_FAILED && about >= sim->count / 10 &&
	    node->index >= sim->count / 10)
		(*healthy)++;
}

/* Lifeguard's case: some nodes hang for seconds, again and again; those that
 * do not hang are not failed. */
static void
scenario_slow_nodes(struct sim *sim)
{
	uint64_t healthy = 0;
	struct sim_node *node;
	uint32_t i, round;

	sim->hook = slow_hook;
	sim->hook_arg = &healthy;
	sim->network.drop = 0.01;
	sim_start_all(sim);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < sim->count / 10; i++) {
			node = &sim->nodes[i];
			node->paused_until =
			    sim->now + (int64_t)(sim_random_unit(&sim->random) *
						 12 * SECOND);
		}
		sim_run(sim, sim->now + 15 * SECOND);
	}
	sim_figure(sim, "healthy_failed", (double)healthy);
	sim_figure(sim, "slow_failed", (double)(sim->false_fail - healthy));
	SIM_CHECK(sim, healthy == 0, "%llu failures of healthy nodes",
	    (unsigned long long)healthy);
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 120 * SECOND),
	    "not all alive when nobody hangs any more");
}

static void
leave_hook(
    struct sim *sim, struct sim_node *node, uint32_t about, int was, int now)
{
	uint64_t *failed = sim->hook_arg;

	(void)node;
	(void)about;
	(void)was;
	*failed += now == NODE_FAILED;
}

static int
left_told(struct sim *sim)
{
	return (swim_left(sim->nodes[3].swim));
}

/* A node leaves in order: nobody calls it failed; it comes back with a
 * higher incarnation, and its old words do not undo that. */
static void
scenario_leave(struct sim *sim)
{
	struct sim_node *node = &sim->nodes[3];
	struct swim_update old = { .type = SWIM_LEAVE };
	uint64_t failed = 0;
	uint32_t i;
	int64_t at;

	sim->hook = leave_hook;
	sim->hook_arg = &failed;
	sim->network.drop = 0.02;
	sim_start_all(sim);
	old.incarnation = node->incarnation;
	old.statement = sim_statement(node, node->incarnation, SWIM_LEAVE);
	memcpy(old.key, node->key, KEY_SIZE);
	at = sim->now;
	sim_node_leave(node);
	SIM_CHECK(sim, sim_run_to(sim, left_told, at + 20 * SECOND),
	    "LEAVE is never told enough");
	sim_figure(sim, "leave_told_seconds", seconds(sim->now - at));
	sim_node_stop(node);
	sim_run(sim, sim->now + 40 * SECOND);
	for (i = 0; i < sim->count; i++)
		SIM_CHECK(sim,
		    i == 3 || sim_view(&sim->nodes[i], 3) == NODE_LEFT,
		    "node %u has %d instead of left", i,
		    sim_view(&sim->nodes[i], 3));
	SIM_CHECK(sim, failed == 0, "it was called failed");
	sim_node_start(node, 0);
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 60 * SECOND),
	    "it did not come back");
	for (i = 0; i < sim->count; i++)
		SIM_CHECK(sim,
		    swim_update(sim->nodes[i].swim, &old, sim->now) == 0,
		    "an old LEAVE counts");
	swim_statement_free(old.statement);
	sim_run(sim, sim->now + 30 * SECOND);
	SIM_CHECK(sim, sim_all_alive(sim), "it did not stay");
}

/* It always fails: how a failure is told and run again (run.sh). */
static void
scenario_fails(struct sim *sim)
{
	sim_start_all(sim);
	sim_run(sim, sim->now + 10 * SECOND);
	SIM_CHECK(sim, 0, "as it should, after %llu events",
	    (unsigned long long)sim->handled);
}

/* A revoked node goes on talking, and is never alive again. */
static void
scenario_revoked(struct sim *sim)
{
	uint32_t i;

	sim_start_all(sim);
	for (i = 0; i < sim->count; i++)
		if (i != 3) {
			swim_revoke(
			    sim->nodes[i].swim, sim->nodes[3].key, sim->now);
			sim_node_drain(&sim->nodes[i]);
		}
	sim_run(sim, sim->now + 60 * SECOND);
	sim_node_start(&sim->nodes[3], 0);
	sim_run(sim, sim->now + 60 * SECOND);
	for (i = 0; i < sim->count; i++)
		SIM_CHECK(sim,
		    i == 3 || sim_view(&sim->nodes[i], 3) == NODE_REVOKED,
		    "node %u has %d instead of revoked", i,
		    sim_view(&sim->nodes[i], 3));
}

const struct sim_scenario sim_scenarios[] = {
	{ "L49_cut_is_cut", 20, 1, scenario_cut_is_cut },
	{ "L49_network_rates", 50, 2, scenario_network_rates },
	{ "L49_links", 12, 2, scenario_links },
	{ "L49_slow_node", 20, 1, scenario_slow_node },
	{ "replay", 40, 1, scenario_replay },
	{ "join_storm", 1000, 1, scenario_join_storm },
	{ "failure_at_loss", 1000, 1, scenario_failure_at_loss },
	{ "load", 1000, 1, scenario_load },
	{ "L32_mass_restart", 200, 2, scenario_L32_mass_restart },
	{ "L34_hub", 60, 1, scenario_L34_hub },
	{ "partition_heals", 100, 2, scenario_partition_heals },
	{ "asymmetric", 50, 1, scenario_asymmetric },
	{ "slow_nodes", 100, 2, scenario_slow_nodes },
	{ "leave", 100, 1, scenario_leave },
	{ "revoked", 30, 1, scenario_revoked },
	{ "churn", 60, 20, scenario_churn },
	{ "L18_L31_liars", 60, 2, scenario_liars },
	{ "L19_thieves", 30, 2, scenario_thieves },
	{ "directory", 80, 2, scenario_directory },
	{ "L18_clocks", 30, 2, scenario_clocks },
	{ "L49_chat_cut", 10, 1, scenario_chat_cut },
	{ "chats", 20, 5, scenario_chats },
	{ "figures", 100, 1, scenario_figures },
	{ "fails", 20, 0, scenario_fails },
};

const size_t sim_scenario_count =
    sizeof(sim_scenarios) / sizeof(sim_scenarios[0]);
