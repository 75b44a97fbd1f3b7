/* Test. What a mesh costs and how soon it knows, by its size. */

#include <err.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "regress/sim/sim.h"

struct figures {
	uint32_t victim;
	int64_t at;
	int64_t first_suspect;
	int64_t first_fail;
	int64_t last_fail;
	uint32_t know;
};

static void
figures_hook(
    struct sim *sim, struct sim_node *node, uint32_t about, int was, int now)
{
	struct figures *figures = sim->hook_arg;

	(void)node;
	(void)was;
	if (about != figures->victim || sim->nodes[about].up)
		return;
	if (now == NODE_SUSPECT && figures->first_suspect == 0)
		figures->first_suspect = sim->now - figures->at;
	if (now == NODE_FAILED) {
		if (figures->first_fail == 0)
			figures->first_fail = sim->now - figures->at;
		figures->last_fail = sim->now - figures->at;
		figures->know++;
	}
}

static int
figures_done(struct sim *sim)
{
	struct figures *figures = sim->hook_arg;

	return (figures->know + 1 >= sim->count);
}

/* Half a minute in which nothing happens but what the loss makes happen. */
static void
figures_quiet(
    struct sim *sim, double drop, const char *messages, const char *bytes)
{
	uint64_t sent = sim->counts.sent, before = sim->counts.bytes;
	double share = sim->count * 30.0;

	sim->network.drop = drop;
	sim_run(sim, sim->now + 30 * SECOND);
	sim_figure(sim, messages, (double)(sim->counts.sent - sent) / share);
	sim_figure(sim, bytes, (double)(sim->counts.bytes - before) / share);
}

static double
seconds(int64_t ns)
{
	return ((double)ns / SECOND);
}

static double
predict_suspicion(uint32_t n)
{
	return (4 * log10(n < 10 ? 10 : n)); /* Lifeguard: alpha log10 n */
}

/*
 * Rounds until a rumour that each node tells fanout others has come to all n:
 * log to the base fanout + 1 of n to reach most, ln n / fanout for the rest
 * (Pittel 1987). A round is the gossip interval.
 */
static double
predict_spread(const struct swim_config *config, uint32_t n)
{
	double fanout = config->gossip_fanout;

	return ((log(n) / log(fanout + 1) + log(n) / fanout) *
		seconds(config->gossip_interval));
}

/*
 * Within this much all know of a failure; chances of 10^-9 apart. Each period
 * a failed node is probed by somebody with 1 - 1/e: 21 periods. Then the
 * probe, the longest suspicion, and the telling of suspicion and failure, for
 * which a hundred rounds are given.
 */
int64_t
sim_bound(const struct sim *sim)
{
	const struct swim_config *config = &sim->config;
	double periods = 21 + 1, bound;

	bound = periods * seconds(config->probe_interval) +
		predict_suspicion(sim->count) * config->suspicion_stretch +
		100 * seconds(config->gossip_interval);
	return ((int64_t)(bound * SECOND));
}

struct means {
	double suspect;
	double fail;
	double spread;
	double all;
	double worst;
};

/* Crash a random node; 0, or -1 when not all hear of it in time. */
static int
figures_crash(struct sim *sim, struct figures *figures)
{
	memset(figures, 0, sizeof(*figures));
	sim_run(sim,
	    sim->now + (int64_t)(sim_random(&sim->random) % (uint64_t)SECOND));
	figures->victim =
	    (uint32_t)(1 + sim_random(&sim->random) % (sim->count - 1));
	figures->at = sim->now;
	sim_node_stop(&sim->nodes[figures->victim]);
	if (!sim_run_to(sim, figures_done, sim->now + sim_bound(sim))) {
		sim_fail(sim, "not known to all");
		return (-1);
	}
	return (0);
}

static void
figures_crashes(struct sim *sim, struct figures *figures, int runs)
{
	struct means mean = { 0 };
	double n = runs;
	int i;

	for (i = 0; i < runs && figures_crash(sim, figures) == 0; i++) {
		mean.suspect += seconds(figures->first_suspect) / n;
		mean.fail += seconds(figures->first_fail) / n;
		mean.spread +=
		    seconds(figures->last_fail - figures->first_fail) / n;
		mean.all += seconds(figures->last_fail) / n;
		mean.worst = fmax(mean.worst, seconds(figures->last_fail));
		sim_node_start(&sim->nodes[figures->victim], 0);
		(void)sim_run_to(sim, sim_all_alive, sim->now + 60 * SECOND);
	}
	sim_figure(sim, "first_suspect_seconds", mean.suspect);
	sim_figure(sim, "first_fail_seconds", mean.fail);
	sim_figure(sim, "fail_first_to_last_seconds", mean.spread);
	sim_figure(sim, "known_to_all_seconds", mean.all);
	sim_figure(sim, "known_to_all_worst_seconds", mean.worst);
}

/* One line of the table: quiet, quiet with loss, then crashes at that loss,
 * one by one. */
void
scenario_figures(struct sim *sim)
{
	struct figures figures = { .victim = UINT32_MAX };
	double detection = exp(1) / (exp(1) - 1); /* SWIM, section 3 */

	sim->hook = figures_hook;
	sim->hook_arg = &figures;
	sim_start_all(sim);
	sim_run(sim, sim->now + 30 * SECOND);
	figures_quiet(
	    sim, 0, "quiet_messages_node_second", "quiet_bytes_node_second");
	figures_quiet(
	    sim, 0.05, "loss_messages_node_second", "loss_bytes_node_second");
	figures_crashes(sim, &figures, sim->count >= 5000 ? 3 : 10);
	sim_figure(sim, "false_suspect", (double)sim->false_suspect);
	sim_figure(sim, "false_fail", (double)sim->false_fail);
	sim_figure(sim, "predicted_first_suspect_seconds", detection);
	sim_figure(sim, "predicted_suspicion_min_seconds",
	    predict_suspicion(sim->count));
	sim_figure(sim, "predicted_suspicion_max_seconds",
	    predict_suspicion(sim->count) * sim->config.suspicion_stretch);
	sim_figure(sim, "predicted_spread_seconds",
	    predict_spread(&sim->config, sim->count));
	sim_figure(sim, "predicted_messages_node_second", 2); /* ping, ack */
	sim_figure(sim, "bound_seconds", seconds(sim_bound(sim)));
	SIM_CHECK(sim, sim->false_fail == 0, "%llu false failures",
	    (unsigned long long)sim->false_fail);
}

/* --- load by size -------------------------------------------------------- */

static uint64_t
load_of(uint64_t seed, uint32_t nodes, double *messages, double *bytes)
{
	struct sim sim;
	double share = nodes * 150.0;

	sim_init(&sim, seed, nodes);
	sim_start_all(&sim);
	/* The many exchanges of a start are over by then. */
	sim_run(&sim, sim.now + 250 * SECOND);
	memset(&sim.counts, 0, sizeof(sim.counts));
	sim_run(&sim, sim.now + 150 * SECOND);
	*messages = (double)sim.counts.sent / share;
	*bytes = (double)sim.counts.bytes / share;
	sim_free(&sim);
	return (sim.trace);
}

/* What a node sends in a quiet mesh grows with log n at most, from 32 nodes
 * on: messages (no growth at all) and bytes. */
void
scenario_load(struct sim *sim)
{
	double messages, bytes, small_messages, small_bytes, growth;
	uint64_t trace;

	trace = load_of(sim->seed, 32, &small_messages, &small_bytes);
	sim->trace =
	    sim_mix(trace, load_of(sim->seed, sim->count, &messages, &bytes));
	growth = sim->count > 32 ? log2(sim->count) - log2(32) + 1 : 1;
	sim_figure(sim, "messages_node_second_32", small_messages);
	sim_figure(sim, "messages_node_second", messages);
	sim_figure(sim, "bytes_node_second_32", small_bytes);
	sim_figure(sim, "bytes_node_second", bytes);
	SIM_CHECK(sim, messages < 1.1 * small_messages,
	    "%.2f messages a second, %.2f with 32 nodes", messages,
	    small_messages);
	SIM_CHECK(sim, bytes < 1.1 * growth * small_bytes,
	    "%.0f bytes a second, %.0f with 32 nodes", bytes, small_bytes);
}
