/*
 * Test. The simulator's program:
 *
 *	sim check		all scenarios, with fixed seeds
 *	sim list
 *	sim [SEED=n] [NODES=n] [SCENARIO=name]
 *
 * SEED, NODES and SCENARIO may also come from the environment. Every run
 * prints its seed and writes one JSON file into SIM_OUT (default
 * $BUILD/regress/sim/out).
 */

#include <sys/stat.h>

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "regress/sim/sim.h"

#define DEFAULT_SEED 1

static void
make_folder(const char *path)
{
	char *copy = strdup(path), *slash;

	if (copy == NULL)
		err(1, "strdup");
	for (slash = strchr(copy + 1, '/'); slash != NULL;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0755) == -1 && errno != EEXIST)
			err(1, "%s", copy);
		*slash = '/';
	}
	if (mkdir(copy, 0755) == -1 && errno != EEXIST)
		err(1, "%s", copy);
	free(copy);
}

static void
artifact_write(const struct sim *sim, const struct sim_scenario *scenario)
{
	const char *build = getenv("BUILD"), *out = getenv("SIM_OUT");
	char folder[512], path[1024];
	FILE *file;
	size_t i;

	(void)snprintf(folder, sizeof(folder), "%s%s",
	    out != NULL     ? out
	    : build != NULL ? build
			    : "build",
	    out != NULL ? "" : "/regress/sim/out");
	make_folder(folder);
	(void)snprintf(path, sizeof(path), "%s/%s-%u-%llu.json", folder,
	    scenario->name, sim->count, (unsigned long long)sim->seed);
	file = fopen(path, "w");
	if (file == NULL)
		err(1, "%s", path);
	(void)fprintf(file,
	    "{\n  \"scenario\": \"%s\",\n  \"seed\": %llu,\n"
	    "  \"nodes\": %u,\n  \"ok\": %s,\n  \"why\": \"%s\",\n"
	    "  \"trace\": \"%016llx\",\n  \"virtual_seconds\": %.3f,\n"
	    "  \"events\": %llu,\n  \"sent\": %llu,\n  \"delivered\": %llu,\n"
	    "  \"dropped\": %llu,\n  \"duplicated\": %llu,\n"
	    "  \"cut\": %llu,\n  \"bytes\": %llu",
	    scenario->name, (unsigned long long)sim->seed, sim->count,
	    sim->failed ? "false" : "true", sim->why,
	    (unsigned long long)sim->trace, (double)sim->now / SECOND,
	    (unsigned long long)sim->handled,
	    (unsigned long long)sim->counts.sent,
	    (unsigned long long)sim->counts.delivered,
	    (unsigned long long)sim->counts.dropped,
	    (unsigned long long)sim->counts.duplicated,
	    (unsigned long long)sim->counts.cut,
	    (unsigned long long)sim->counts.bytes);
	for (i = 0; i < sim->figure_count; i++)
		(void)fprintf(file, ",\n  \"%s\": %.6g", sim->figures[i].name,
		    sim->figures[i].value);
	(void)fprintf(file, "\n}\n");
	if (fclose(file) != 0)
		err(1, "%s", path);
}

/* 1 when it went well. */
static int
scenario_run(const struct sim_scenario *scenario, uint64_t seed, uint32_t nodes)
{
	struct sim sim;
	size_t i;
	clock_t start = clock();
	int ok;

	sim_init(&sim, seed, nodes == 0 ? scenario->nodes : nodes);
	scenario->run(&sim);
	ok = !sim.failed;
	(void)printf("%s %s SEED=%llu NODES=%u trace=%016llx cpu=%.1fs%s%s\n",
	    ok ? "ok" : "not ok", scenario->name, (unsigned long long)seed,
	    sim.count, (unsigned long long)sim.trace,
	    (double)(clock() - start) / CLOCKS_PER_SEC, ok ? "" : ": ",
	    sim.why);
	for (i = 0; i < sim.figure_count; i++)
		(void)printf("    %s = %.6g\n", sim.figures[i].name,
		    sim.figures[i].value);
	(void)fflush(stdout);
	artifact_write(&sim, scenario);
	sim_free(&sim);
	return (ok);
}

static const struct sim_scenario *
scenario_find(const char *name)
{
	size_t i;

	for (i = 0; i < sim_scenario_count; i++)
		if (strcmp(sim_scenarios[i].name, name) == 0)
			return (&sim_scenarios[i]);
	errx(2, "no scenario %s", name);
}

/* The option NAME=value among the arguments, or from the environment. */
static const char *
option(int argc, char *argv[], const char *name)
{
	size_t length = strlen(name);
	int i;

	for (i = 1; i < argc; i++)
		if (strncmp(argv[i], name, length) == 0 &&
		    argv[i][length] == '=')
			return (argv[i] + length + 1);
	return (getenv(name));
}

static uint64_t
option_number(int argc, char *argv[], const char *name, long long most,
    uint64_t otherwise)
{
	const char *text = option(argc, argv, name), *why;
	long long value;

	if (text == NULL)
		return (otherwise);
	value = strtonum(text, 0, most, &why);
	if (why != NULL)
		errx(2, "%s=%s is %s", name, text, why);
	return ((uint64_t)value);
}

int
main(int argc, char *argv[])
{
	const struct sim_scenario *scenario;
	const char *name;
	uint64_t seed, k;
	uint32_t nodes, passed = 0, failed = 0;
	size_t i;

	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		for (i = 0; i < sim_scenario_count; i++)
			(void)printf("%s\n", sim_scenarios[i].name);
		return (0);
	}
	seed = option_number(argc, argv, "SEED", INT64_MAX, DEFAULT_SEED);
	nodes = (uint32_t)option_number(argc, argv, "NODES", 100000, 0);
	name = option(argc, argv, "SCENARIO");
	if (name != NULL) {
		scenario = scenario_find(name);
		passed += (uint32_t)scenario_run(scenario, seed, nodes);
		failed = !passed;
	}
	for (i = 0; name == NULL && i < sim_scenario_count; i++)
		for (k = 0; k < sim_scenarios[i].seeds; k++)
			if (scenario_run(&sim_scenarios[i], seed + k, nodes))
				passed++;
			else
				failed++;
	(void)printf("%u passed, %u failed\n", passed, failed);
	return (failed > 0);
}
