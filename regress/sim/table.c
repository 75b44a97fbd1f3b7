/*
 * Test. `sim table`: what meshes of 10 to 5,000 nodes do, beside what the
 * papers on SWIM and Lifeguard lead to expect.
 */

#include <err.h>
#include <string.h>

#include "regress/sim/sim.h"

static const uint32_t sizes[] = { 10, 100, 1000, 5000 };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static const struct {
	const char *what;
	const char *figure; /* NULL: predicted only */
	const char *predicted;
} rows[] = {
	{ "crash to first suspicion, s", "first_suspect_seconds",
	    "predicted_first_suspect_seconds" },
	{ "crash to first failure, s", "first_fail_seconds", NULL },
	{ "  suspicion, shortest, s", NULL, "predicted_suspicion_min_seconds" },
	{ "  suspicion, longest, s", NULL, "predicted_suspicion_max_seconds" },
	{ "first to last that knows, s", "fail_first_to_last_seconds",
	    "predicted_spread_seconds" },
	{ "crash to known to all, s", "known_to_all_seconds", NULL },
	{ "  worst of the runs, s", "known_to_all_worst_seconds",
	    "bound_seconds" },
	{ "messages a node and second, quiet", "quiet_messages_node_second",
	    "predicted_messages_node_second" },
	{ "  at 5 % loss", "loss_messages_node_second", NULL },
	{ "bytes a node and second, quiet", "quiet_bytes_node_second", NULL },
	{ "  at 5 % loss", "loss_bytes_node_second", NULL },
	{ "false failures at 5 % loss", "false_fail", NULL },
	{ "false suspicions at 5 % loss", "false_suspect", NULL },
};

static double
figure_of(const struct sim *sim, const char *name)
{
	size_t i;

	for (i = 0; i < sim->figure_count; i++)
		if (strcmp(sim->figures[i].name, name) == 0)
			return (sim->figures[i].value);
	errx(1, "no figure %s", name);
}

static void
row_print(const struct sim sims[SIZES], size_t row)
{
	const char *names[2] = { rows[row].figure, rows[row].predicted };
	size_t i, k;

	(void)printf("%-35s", rows[row].what);
	for (i = 0; i < SIZES; i++)
		for (k = 0; k < 2; k++)
			if (names[k] == NULL)
				(void)printf(" %8s", "-");
			else
				(void)printf(" %8.*f",
				    strstr(names[k], "bytes") != NULL ? 0 : 2,
				    figure_of(&sims[i], names[k]));
	(void)printf("\n");
}

int
sim_table(void (*write)(const struct sim *, const struct sim_scenario *))
{
	static struct sim sims[SIZES];
	struct sim_scenario scenario = { .name = "figures" };
	size_t i;
	int failed = 0;

	for (i = 0; i < SIZES; i++) {
		sim_init(&sims[i], 1, sizes[i]);
		scenario_figures(&sims[i]);
		write(&sims[i], &scenario);
		if (sims[i].failed)
			(void)printf("%u nodes: %s\n", sizes[i], sims[i].why);
		failed |= sims[i].failed != 0;
		sim_free(&sims[i]);
	}
	(void)printf("%-35s", "SEED=1; measured, predicted");
	for (i = 0; i < SIZES; i++)
		(void)printf(" %11u nodes", sizes[i]);
	(void)printf("\n");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		row_print(sims, i);
	return (failed);
}
