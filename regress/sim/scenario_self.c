/*
 * Test. The simulator's test of itself (L49): what it says it does to
 * messages and nodes, it does; and churn.
 */

#include <err.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "regress/sim/sim.h"

/* A cut lets nothing through, and its end lets all through again. */
void
scenario_cut_is_cut(struct sim *sim)
{
	uint64_t crossed, cut;
	uint32_t i;

	for (i = 0; i < sim->count; i++)
		sim->nodes[i].group = i % 2;
	sim_start_all(sim);
	sim_run(sim, sim->now + 10 * SECOND);
	SIM_CHECK(sim, sim->counts.crossed > 50, "nothing went across");
	SIM_CHECK(sim, sim->counts.cut == 0, "something was cut too early");
	sim->cut[0][1] = sim->cut[1][0] = 1;
	crossed = sim->counts.crossed;
	sim_run(sim, sim->now + 10 * SECOND);
	SIM_CHECK(sim, sim->counts.crossed == crossed,
	    "%llu messages went through the cut",
	    (unsigned long long)(sim->counts.crossed - crossed));
	SIM_CHECK(sim, sim->counts.cut > 50, "nobody tried");
	/* One way only. */
	sim->cut[0][1] = 0;
	sim_run(sim, sim->now + SECOND);
	SIM_CHECK(sim, sim->counts.crossed > crossed, "one way is no way");
	sim->cut[1][0] = 0;
	cut = sim->counts.cut;
	sim_run(sim, sim->now + 10 * SECOND);
	SIM_CHECK(sim, sim->counts.cut == cut, "cut after its end");
	/* A node that is down hears nothing. */
	crossed = sim->counts.to_down;
	sim_node_stop(&sim->nodes[1]);
	sim_run(sim, sim->now + 30 * SECOND);
	SIM_CHECK(sim, sim->counts.to_down > crossed, "nobody called it");
	SIM_CHECK(sim, sim_view(&sim->nodes[0], 1) != NODE_ALIVE,
	    "a node that is down is alive");
}

static void
check_rate(
    struct sim *sim, const char *what, uint64_t hits, uint64_t of, double rate)
{
	double sigma = sqrt(rate * (1 - rate) * (double)of);
	double off = (double)hits - rate * (double)of;

	SIM_CHECK(sim, of > 5000 && fabs(off) < 4 * sigma + 1,
	    "%s: %llu of %llu, expected %.4f", what, (unsigned long long)hits,
	    (unsigned long long)of, rate);
}

/* The network does what it is told: loss, doubles, delay, order. */
void
scenario_network_rates(struct sim *sim)
{
	uint64_t passed;
	double mean;

	sim->network.drop = 0.1;
	sim->network.duplicate = 0.05;
	sim->network.reorder = 0.1;
	sim_start_all(sim);
	sim_run(sim, sim->now + 120 * SECOND);
	check_rate(sim, "loss", sim->counts.dropped, sim->counts.sent, 0.1);
	passed = sim->counts.sent - sim->counts.dropped;
	check_rate(sim, "doubles", sim->counts.duplicated, passed, 0.05);
	mean = (double)sim->counts.delay /
	       (double)(passed + sim->counts.duplicated) / MS;
	/* 30.25 of the links, 2 of jitter, a tenth held for 100. */
	SIM_CHECK(sim, mean > 35 && mean < 50, "mean delay %.1f ms", mean);
	SIM_CHECK(sim,
	    sim->counts.delivered + sim->counts.to_down + sim_flying(sim) ==
		passed + sim->counts.duplicated + sim->counts.carried,
	    "messages out of nothing, or into it");
}

/* --- one link at a time -------------------------------------------------- */

#define PROBES 8000

struct seen {
	uint64_t last; /* the highest number that came */
	uint64_t came;
	uint64_t overtaken;
	int64_t least;
	double sum;
};

static void
link_sink(struct sim *sim, const struct sim_message *message, int64_t late)
{
	struct seen *seen = sim->sink_arg;

	if (message->swim.sequence < seen->last)
		seen->overtaken++;
	else
		seen->last = message->swim.sequence;
	if (seen->came++ == 0 || late < seen->least)
		seen->least = late;
	seen->sum += (double)late;
}

/* Messages over one link, a hundred a second; what came of them. */
static struct seen
link_probe(struct sim *sim, uint32_t from, uint32_t to, struct sim_link *link)
{
	struct seen seen = { 0 };
	struct sim_message *message;
	uint32_t i;

	sim_link(sim, from, to, link);
	memset(&sim->counts, 0, sizeof(sim->counts));
	sim->sink = link_sink;
	sim->sink_arg = &seen;
	for (i = 0; i < PROBES; i++) {
		if ((message = calloc(1, sizeof(*message))) == NULL)
			err(1, "calloc");
		message->from = from;
		message->to = to;
		message->swim.sequence = i + 1;
		sim_send(sim, message);
		sim_run(sim, sim->now + 10 * MS);
	}
	sim_run(sim, sim->now + 60 * SECOND);
	sim->sink = NULL;
	return (seen);
}

static void
links_check(struct sim *sim, uint32_t from, uint32_t to)
{
	struct sim_link link;
	struct seen seen = link_probe(sim, from, to, &link);
	double mean = seen.sum / (double)seen.came, expected;

	check_rate(sim, "loss", sim->counts.dropped, PROBES, link.drop);
	check_rate(sim, "doubles", sim->counts.duplicated,
	    PROBES - sim->counts.dropped, link.duplicate);
	SIM_CHECK(sim,
	    seen.came == PROBES - sim->counts.dropped + sim->counts.duplicated,
	    "%llu came", (unsigned long long)seen.came);
	SIM_CHECK(sim, seen.least >= link.base, "faster than its base");
	expected = (double)link.base + (double)link.jitter +
		   link.reorder * (double)sim->network.hold / 2;
	SIM_CHECK(sim, fabs(mean - expected) < 0.15 * expected,
	    "%u to %u takes %.1f ms, expected %.1f", from, to, mean / MS,
	    expected / MS);
	/* Of those held for up to 200 ms, most see a later one pass. */
	SIM_CHECK(sim,
	    (double)seen.overtaken > 0.5 * link.reorder * (double)seen.came,
	    "%llu of %llu overtaken", (unsigned long long)seen.overtaken,
	    (unsigned long long)seen.came);
}

/*
 * Each link has its own loss, doubles, delay and disorder, each way; and a
 * link without any of these keeps all, once, in order, in one time.
 */
void
scenario_links(struct sim *sim)
{
	struct sim_link a, b;
	struct seen seen;
	uint32_t i;

	sim->network.drop = 0.1;
	sim->network.duplicate = 0.05;
	sim->network.reorder = 0.1;
	for (i = 0; i + 1 < sim->count; i += 2) {
		links_check(sim, i, i + 1);
		links_check(sim, i + 1, i);
		sim_link(sim, i, i + 1, &a);
		sim_link(sim, i + 1, i, &b);
		SIM_CHECK(sim, a.base == b.base, "not as far back");
		SIM_CHECK(sim,
		    fabs(a.drop - b.drop) > 1e-9 && a.jitter != b.jitter,
		    "both ways are alike");
	}
	sim->network.drop = sim->network.duplicate = 0;
	sim->network.reorder = 0;
	sim->network.jitter = 0;
	seen = link_probe(sim, 0, 1, &a);
	SIM_CHECK(sim,
	    seen.came == PROBES && seen.overtaken == 0 &&
		seen.least == a.base &&
		fabs(seen.sum / PROBES - (double)a.base) < 1,
	    "a perfect link is none");
}

/* --- slow nodes ---------------------------------------------------------- */

/* A node that hangs does nothing until it goes on, and then all of it; one
 * that is slow does so many things a second and no more. */
void
scenario_slow_node(struct sim *sim)
{
	struct sim_node *node = &sim->nodes[4];
	uint64_t before;

	sim_start_all(sim);
	before = node->handled;
	node->paused_until = sim->now + 3 * SECOND;
	sim_run(sim, sim->now + 3 * SECOND - 1);
	SIM_CHECK(sim, node->handled == before, "it hangs and works");
	sim_run(sim, sim->now + 10 * MS);
	SIM_CHECK(sim, node->handled > before + 5, "nothing waited for it");
	sim_run(sim, sim->now + 20 * SECOND);
	node->slow = 300 * MS;
	before = node->handled;
	sim_run(sim, sim->now + 30 * SECOND);
	SIM_CHECK(sim,
	    node->handled - before <= 101 && node->handled - before > 50,
	    "%llu events in 30 s at 300 ms each",
	    (unsigned long long)(node->handled - before));
	node->slow = 0;
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 60 * SECOND),
	    "it does not recover");
}

/* --- replay -------------------------------------------------------------- */

static uint64_t
replay_trace(const struct sim_scenario *scenario, uint64_t seed, uint32_t nodes)
{
	struct sim sim;
	uint64_t trace;

	sim_init(&sim, seed, nodes);
	scenario->run(&sim);
	trace = sim.trace ^ sim.counts.bytes ^ (uint64_t)sim.now;
	sim_free(&sim);
	return (trace);
}

/* One seed, one history, of every kind of scenario; another seed, another. */
void
scenario_replay(struct sim *sim)
{
	const struct sim_scenario *scenario;
	uint64_t one;
	size_t i;

	for (i = 0; i < sim_scenario_count; i++) {
		scenario = &sim_scenarios[i];
		if (scenario->run == scenario_replay)
			continue;
		one = replay_trace(scenario, sim->seed, sim->count);
		sim->trace = sim_mix(sim->trace, one);
		SIM_CHECK(sim,
		    one == replay_trace(scenario, sim->seed, sim->count),
		    "%s: the same seed ran differently", scenario->name);
		SIM_CHECK(sim,
		    one != replay_trace(scenario, sim->seed + 1, sim->count),
		    "%s: another seed ran the same", scenario->name);
	}
}

/* Crashes, restarts, leaves, cuts, on a bad network; then quiet. */
void
scenario_churn(struct sim *sim)
{
	struct sim_node *node;
	uint32_t round, boot;

	sim->network.drop = 0.05;
	sim->network.duplicate = 0.02;
	sim->network.reorder = 0.05;
	sim_start_all(sim);
	for (round = 0; round < 100; round++) {
		node = &sim->nodes[1 +
				   sim_random(&sim->random) % (sim->count - 1)];
		boot = (uint32_t)(sim_random(&sim->random) % sim->count);
		node->group = (uint32_t)(sim_random(&sim->random) % 2);
		sim->cut[0][1] = round % 10 == 3;
		sim->cut[1][0] = round % 10 == 4;
		switch (sim_random(&sim->random) % 4) {
		case 0:
			sim_node_stop(node);
			break;
		case 1:
			if (node->up && !swim_left(node->swim))
				sim_node_leave(node);
			break;
		default:
			sim_node_start(node, boot);
			break;
		}
		sim_run(sim, sim->now + 2 * SECOND);
	}
	memset(sim->cut, 0, sizeof(sim->cut));
	for (round = 0; round < sim->count; round++)
		if (sim->nodes[round].up &&
		    swim_self(sim->nodes[round].swim)->state == NODE_LEFT)
			sim_node_stop(&sim->nodes[round]);
	for (round = 1; round < sim->count; round++)
		sim->nodes[round].bootstrap = 0;
	sim_figure(sim, "false_fail", (double)sim->false_fail);
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 180 * SECOND),
	    "the truth does not come out");
}
