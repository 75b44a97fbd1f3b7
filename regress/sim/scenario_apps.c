/* Test. What directories must stand; see sim.h. */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "regress/sim/sim.h"

/* Every node sees every app where it truly is. */
int
sim_apps_agree(struct sim *sim)
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

/* All nodes start, and so many apps come. Where each is; the caller's. */
static uint32_t *
apps_come(struct sim *sim, uint32_t apps)
{
	uint32_t *where = calloc(apps, sizeof(*where)), app;

	if (where == NULL)
		err(1, "calloc");
	sim->hook_arg = where;
	sim_start_all(sim);
	for (app = 0; app < apps; app++) {
		where[app] = UINT32_MAX;
		app_move(sim, where, app);
		sim_run(sim, sim->now + 20 * MS);
	}
	return (where);
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
	where = apps_come(sim, apps);
	SIM_CHECK(sim, sim_run_to(sim, sim_apps_agree, sim->now + 180 * SECOND),
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
	SIM_CHECK(sim, sim_run_to(sim, sim_apps_agree, sim->now + 180 * SECOND),
	    "directories differ after the moves");
	sim_figure(sim, "bytes_per_node_second",
	    (double)sim->counts.bytes / sim->count /
		((double)sim->now / SECOND));
	down = 7;
	sim_node_stop(&sim->nodes[down]);
	for (app = 0; app < apps; app++)
		if (where[app] == down)
			where[app] = UINT32_MAX;
	SIM_CHECK(sim, sim_run_to(sim, sim_apps_agree, sim->now + 120 * SECOND),
	    "apps of a failed node stay");
	/* A part is cut off, is failed, and comes back without a restart. */
	for (i = 20; i < 30; i++)
		sim->nodes[i].group = 1;
	sim->cut[0][1] = sim->cut[1][0] = 1;
	sim_run(sim, sim->now + 120 * SECOND);
	memset(sim->cut, 0, sizeof(sim->cut));
	SIM_CHECK(sim, sim_run_to(sim, sim_apps_agree, sim->now + 240 * SECOND),
	    "directories differ after a cut healed");
	free(where);
	sim->hook_arg = NULL;
}

/* --- clocks -------------------------------------------------------------- */

static void
clock_step(struct sim *sim, uint32_t node, int64_t by)
{
	sim->nodes[node].clock += by;
	sim_run(sim, sim->now + 30 * SECOND);
}

/*
 * L18: clocks of nodes step, by a minute and by days, ahead and back.
 * Membership takes no notice. Where an app is, a node that lives days ahead
 * cannot know; when its clock is right again, it does.
 */
void
scenario_clocks(struct sim *sim)
{
	static const int64_t steps[] = { 50, -50, -3600, 3600, 2 * 86400,
		-2 * 86400, -2 * 86400, 2 * 86400 };
	uint32_t *where, i, apps = sim->count * 4;

	sim->apps = 1;
	sim->network.drop = 0.02;
	where = apps_come(sim, apps);
	SIM_CHECK(sim, sim_run_to(sim, sim_apps_agree, sim->now + 120 * SECOND),
	    "directories differ before any clock stepped");
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		clock_step(sim, i / 2 + 3, steps[i] * SECOND);
	SIM_CHECK(sim, sim->false_fail == 0 && sim_all_alive(sim),
	    "a clock's step failed %llu", (unsigned long long)sim->false_fail);
	SIM_CHECK(sim, sim_run_to(sim, sim_apps_agree, sim->now + 120 * SECOND),
	    "directories differ after clocks stepped");
	free(where);
	sim->hook_arg = NULL;
}
