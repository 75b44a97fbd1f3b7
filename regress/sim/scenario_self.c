/*
 * Test. The simulator's test of itself (L49), and the harder scenarios:
 * churn, liars, apps, and the figures of the table.
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
	SIM_CHECK(sim, sim->counts.overtaken > sim->counts.delivered / 50,
	    "only %llu were overtaken",
	    (unsigned long long)sim->counts.overtaken);
	mean = (double)sim->counts.delay /
	       (double)(passed + sim->counts.duplicated) / MS;
	/* 30.25 of the links, 2 of jitter, a tenth held for 100. */
	SIM_CHECK(sim, mean > 35 && mean < 50, "mean delay %.1f ms", mean);
	SIM_CHECK(sim,
	    sim->counts.delivered + sim->counts.to_down + sim_flying(sim) ==
		passed + sim->counts.duplicated + sim->counts.carried,
	    "messages out of nothing, or into it");
}

/* A short busy run in a world of its own; its trace. */
static uint64_t
replay_trace(uint64_t seed, uint32_t nodes)
{
	struct sim sim;
	uint32_t i;
	uint64_t trace;

	sim_init(&sim, seed, nodes);
	sim.apps = 1;
	sim.network.drop = 0.05;
	sim.network.duplicate = 0.02;
	sim.network.reorder = 0.05;
	for (i = 0; i < nodes; i++)
		sim_node_start(&sim.nodes[i], 0);
	sim_run(&sim, 20 * SECOND);
	for (i = 0; i < nodes; i++)
		sim_app_connect(&sim.nodes[i], i);
	sim_node_stop(&sim.nodes[nodes / 2]);
	sim_run(&sim, 60 * SECOND);
	trace = sim.trace ^ sim.counts.bytes;
	sim_free(&sim);
	return (trace);
}

/* One seed, one history. */
void
scenario_replay(struct sim *sim)
{
	uint64_t one = replay_trace(sim->seed, sim->count);

	sim->trace = one;
	SIM_CHECK(sim, one == replay_trace(sim->seed, sim->count),
	    "the same seed ran differently");
	SIM_CHECK(sim, one != replay_trace(sim->seed + 1, sim->count),
	    "another seed ran the same");
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

/* --- liars --------------------------------------------------------------- */

#define LIARS 3

static struct sim_message *
lie_message(struct sim *sim, struct sim_node *liar, uint32_t to, size_t lies)
{
	struct sim_message *message = calloc(1, sizeof(*message));

	if (message == NULL || (message->updates = calloc(
				    lies, sizeof(*message->updates))) == NULL)
		err(1, "calloc");
	message->kind = SIM_SWIM;
	message->from = liar->index;
	message->to = to;
	message->swim.type =
	    sim_random(&sim->random) % 8 == 0 ? SWIM_PUSH_PULL : SWIM_GOSSIP;
	message->swim.reply = 1;
	message->update_count = lies;
	return (message);
}

/* One lie: an accusation, a forged life, an absurd number, a replay. */
static void
lie_make(struct sim *sim, struct swim_update *lie, uint32_t dead)
{
	static const uint64_t absurd[] = { 0, 1, UINT64_C(1) << 40,
		SWIM_INCARNATION_MAX, UINT64_MAX };
	uint64_t draw = sim_random(&sim->random), mark = draw;
	struct sim_node *about, *accuser;

	about = &sim->nodes[LIARS + draw % (sim->count - LIARS)];
	accuser = &sim->nodes[sim_random(&sim->random) % sim->count];
	lie->type = draw >> 32 & 1 ? SWIM_SUSPECT : SWIM_FAIL;
	lie->incarnation = about->incarnation;
	memcpy(lie->key, about->key, KEY_SIZE);
	memcpy(lie->accuser, accuser->key, KEY_SIZE);
	switch (draw >> 40 & 7) {
	case 0: /* a number out of range */
		lie->incarnation = absurd[(draw >> 48) % 5];
		break;
	case 1: /* another's life or leave, forged */
		lie->type = draw >> 33 & 1 ? SWIM_ALIVE : SWIM_LEAVE;
		lie->incarnation += draw >> 34 & 3;
		lie->statement = swim_statement_make(about->key, "forged",
		    lie->incarnation, &mark, sizeof(mark));
		break;
	case 2: /* the dead one's last true word, again */
		lie->type = SWIM_ALIVE;
		memcpy(lie->key, sim->nodes[dead].key, KEY_SIZE);
		lie->incarnation = sim->nodes[dead].incarnation;
		lie->statement = sim_statement(
		    &sim->nodes[dead], lie->incarnation, SWIM_ALIVE);
		break;
	case 3: /* nobody at all */
		lie->key[9] ^= 0x55;
		break;
	default:
		break;
	}
}

/*
 * L18, L31, L35: three members lie to everybody, all the time. Nobody who
 * is up is failed for it, nobody is immortal, nothing unknown appears.
 */
void
scenario_liars(struct sim *sim)
{
	struct sim_message *message;
	uint32_t round, i, k, dead = sim->count - 1;

	for (i = 0; i < LIARS; i++)
		sim->nodes[i].liar = 1;
	sim_start_all(sim);
	for (round = 0; round < 600; round++) {
		if (round == 200)
			sim_node_stop(&sim->nodes[dead]);
		for (i = 0; i < LIARS; i++) {
			message = lie_message(sim, &sim->nodes[i],
			    LIARS + (uint32_t)(sim_random(&sim->random) %
					       (sim->count - LIARS)),
			    16);
			for (k = 0; k < 16; k++)
				lie_make(sim, &message->updates[k], dead);
			sim_send(sim, message);
		}
		sim_run(sim, sim->now + 200 * MS);
	}
	sim_figure(sim, "forged_refused", (double)sim->counts.forged);
	sim_figure(sim, "false_suspect", (double)sim->false_suspect);
	sim_figure(sim, "false_fail", (double)sim->false_fail);
	SIM_CHECK(sim, sim->counts.forged > 0, "no lie arrived");
	SIM_CHECK(sim, sim->false_suspect > 0, "no lie was heard");
	SIM_CHECK(sim, sim->false_fail == 0, "%llu were lied to failure",
	    (unsigned long long)sim->false_fail);
	for (i = LIARS; i < dead; i++) {
		size_t cursor = 0, known = 0;

		while (swim_walk(sim->nodes[i].swim, &cursor) != NULL)
			known++;
		SIM_CHECK(sim, known <= sim->count - 1,
		    "node %u knows %zu others", i, known);
		SIM_CHECK(sim, sim_view(&sim->nodes[i], dead) == NODE_FAILED,
		    "lies keep a dead node in state %d",
		    sim_view(&sim->nodes[i], dead));
	}
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 60 * SECOND),
	    "suspicion outlives the lies");
}

/* --- apps ---------------------------------------------------------------- */

/* Every node sees every app where it truly is. */
static int
apps_agree(struct sim *sim)
{
	uint32_t *where = sim->hook_arg, i, app;

	for (i = 0; i < sim->count; i++) {
		if (!sim->nodes[i].up)
			continue;
		for (app = 0; app < sim->count * 4; app++)
			if (sim_app_where(&sim->nodes[i], app) != where[app])
				return (0);
	}
	return (1);
}

static void
app_move(struct sim *sim, uint32_t *where, uint32_t app)
{
	uint32_t to = (uint32_t)(sim_random(&sim->random) % sim->count);

	if (!sim->nodes[to].up || where[app] == to)
		return;
	sim_app_connect(&sim->nodes[to], app);
	where[app] = to;
}

/*
 * L36: apps connect, move and go, nodes crash and are cut off; in the end
 * all directories say the same, and it is true.
 */
void
scenario_directory(struct sim *sim)
{
	uint32_t *where, app, i, apps = sim->count * 4, down;

	sim->apps = 1;
	sim->network.drop = 0.05;
	sim->network.duplicate = 0.02;
	sim->network.reorder = 0.1;
	where = calloc(apps, sizeof(*where));
	if (where == NULL)
		err(1, "calloc");
	sim->hook_arg = where;
	sim_start_all(sim);
	for (app = 0; app < apps; app++) {
		where[app] = UINT32_MAX;
		app_move(sim, where, app);
		sim_run(sim, sim->now + 20 * MS);
	}
	SIM_CHECK(sim, sim_run_to(sim, apps_agree, sim->now + 180 * SECOND),
	    "directories differ after the apps came");
	for (i = 0; i < 200; i++) {
		app = (uint32_t)(sim_random(&sim->random) % apps);
		if (i % 4 == 0 && where[app] != UINT32_MAX) {
			sim_app_disconnect(&sim->nodes[where[app]], app);
			where[app] = UINT32_MAX;
		} else
			app_move(sim, where, app);
		sim_run(sim, sim->now + 100 * MS);
	}
	/* Streams that apps left behind break in the end. */
	for (app = 0; app < apps; app++)
		for (i = 0; i < sim->count; i++)
			if (i != where[app])
				sim_app_disconnect(&sim->nodes[i], app);
	SIM_CHECK(sim, sim_run_to(sim, apps_agree, sim->now + 180 * SECOND),
	    "directories differ after the moves");
	sim_figure(sim, "bytes_per_node_second",
	    (double)sim->counts.bytes / sim->count /
		((double)sim->now / SECOND));
	down = 7;
	sim_node_stop(&sim->nodes[down]);
	for (app = 0; app < apps; app++)
		if (where[app] == down)
			where[app] = UINT32_MAX;
	SIM_CHECK(sim, sim_run_to(sim, apps_agree, sim->now + 120 * SECOND),
	    "apps of a failed node stay");
	/* A part is cut off, is failed, and comes back without a restart. */
	for (i = 20; i < 30; i++)
		sim->nodes[i].group = 1;
	sim->cut[0][1] = sim->cut[1][0] = 1;
	sim_run(sim, sim->now + 120 * SECOND);
	memset(sim->cut, 0, sizeof(sim->cut));
	SIM_CHECK(sim, sim_run_to(sim, apps_agree, sim->now + 240 * SECOND),
	    "directories differ after a cut healed");
	free(where);
	sim->hook_arg = NULL;
}

/* --- figures ------------------------------------------------------------- */

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

/* One line of the table: quiet, quiet with loss, then crashes at that loss,
 * one by one. */
void
scenario_figures(struct sim *sim)
{
	struct figures figures;
	double suspect = 0, fail = 0, spread = 0, all = 0, worst = 0;
	double n = sim->count;
	int i, runs = sim->count >= 5000 ? 3 : 10;

	sim->hook = figures_hook;
	sim->hook_arg = &figures;
	memset(&figures, 0, sizeof(figures));
	figures.victim = UINT32_MAX;
	sim_start_all(sim);
	sim_run(sim, sim->now + 30 * SECOND);
	figures_quiet(
	    sim, 0, "quiet_messages_node_second", "quiet_bytes_node_second");
	figures_quiet(
	    sim, 0.05, "loss_messages_node_second", "loss_bytes_node_second");
	for (i = 0; i < runs; i++) {
		memset(&figures, 0, sizeof(figures));
		sim_run(sim, sim->now + (int64_t)(sim_random(&sim->random) %
						  (uint64_t)SECOND));
		figures.victim =
		    (uint32_t)(1 + sim_random(&sim->random) % (sim->count - 1));
		figures.at = sim->now;
		sim_node_stop(&sim->nodes[figures.victim]);
		SIM_CHECK(sim,
		    sim_run_to(sim, figures_done, sim->now + 200 * SECOND),
		    "not known to all");
		suspect += (double)figures.first_suspect / SECOND / runs;
		fail += (double)figures.first_fail / SECOND / runs;
		spread += (double)(figures.last_fail - figures.first_fail) /
			  SECOND / runs;
		all += (double)figures.last_fail / SECOND / runs;
		if ((double)figures.last_fail / SECOND > worst)
			worst = (double)figures.last_fail / SECOND;
		sim_node_start(&sim->nodes[figures.victim], 0);
		(void)sim_run_to(sim, sim_all_alive, sim->now + 60 * SECOND);
	}
	sim_figure(sim, "first_suspect_seconds", suspect);
	sim_figure(sim, "first_fail_seconds", fail);
	sim_figure(sim, "fail_first_to_last_seconds", spread);
	sim_figure(sim, "known_to_all_seconds", all);
	sim_figure(sim, "known_to_all_worst_seconds", worst);
	sim_figure(sim, "false_suspect", (double)sim->false_suspect);
	sim_figure(sim, "false_fail", (double)sim->false_fail);
	sim_figure(sim, "virtual_seconds", (double)sim->now / SECOND);
	sim_figure(
	    sim, "predicted_first_detection_seconds", exp(1) / (exp(1) - 1));
	sim_figure(
	    sim, "predicted_suspicion_min_seconds", 4 * log10(n < 10 ? 10 : n));
	sim_figure(sim, "predicted_suspicion_max_seconds",
	    24 * log10(n < 10 ? 10 : n));
}
