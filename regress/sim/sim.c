/*
 * Test. The simulator's program:
 *
 *	sim check		all scenarios, with the seeds they are due
 *	sim list
 *	sim table		figures for meshes of 10 to 5,000 nodes
 *	sim [SEEDS=n|a-b|a,b,c] [NODES=n] [SCENARIO=name]
 *
 * SEEDS=n is 1 to n. SEEDS, NODES and SCENARIO may also come from the
 * environment. Every run prints its seed and writes one JSON file into
 * SIM_OUT (default $BUILD/regress/sim/out), the same for the same seed.
 */

#include <sys/stat.h>

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "regress/sim/sim.h"

#define SEEDS_MAX 1000000

struct seeds {
	uint64_t *list;
	size_t count;
};

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
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{ "sent", sim->counts.sent },
		{ "delivered", sim->counts.delivered },
		{ "dropped", sim->counts.dropped },
		{ "duplicated", sim->counts.duplicated },
		{ "cut", sim->counts.cut },
		{ "to_down", sim->counts.to_down },
		{ "bytes", sim->counts.bytes },
		{ "forged", sim->counts.forged },
		{ "false_suspect", sim->false_suspect },
		{ "false_fail", sim->false_fail },
	};
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
	    "  \"events\": {\n    \"handled\": %llu",
	    scenario->name, (unsigned long long)sim->seed, sim->count,
	    sim->failed ? "false" : "true", sim->why,
	    (unsigned long long)sim->trace, (double)sim->now / SECOND,
	    (unsigned long long)sim->handled);
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		(void)fprintf(file, ",\n    \"%s\": %llu", counts[i].name,
		    (unsigned long long)counts[i].value);
	(void)fprintf(file, "\n  },\n  \"figures\": {");
	for (i = 0; i < sim->figure_count; i++)
		(void)fprintf(file, "%s\n    \"%s\": %.6g", i > 0 ? "," : "",
		    sim->figures[i].name, sim->figures[i].value);
	(void)fprintf(file, "\n  }\n}\n");
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
	if (!ok)
		(void)printf("    again: make sim SEEDS=%llu-%llu NODES=%u "
			     "SCENARIO=%s\n",
		    (unsigned long long)seed, (unsigned long long)seed,
		    sim.count, scenario->name);
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
number(const char *text, const char *name, long long most)
{
	const char *why;
	long long value = strtonum(text, 0, most, &why);

	if (why != NULL)
		errx(2, "%s=%s is %s", name, text, why);
	return ((uint64_t)value);
}

static void
seeds_add(struct seeds *seeds, uint64_t first, uint64_t last)
{
	if (first > last || last - first >= SEEDS_MAX - seeds->count)
		errx(2, "SEEDS: too many, or none");
	seeds->list = reallocarray(seeds->list,
	    seeds->count + (size_t)(last - first) + 1, sizeof(*seeds->list));
	if (seeds->list == NULL)
		err(1, "reallocarray");
	for (; first <= last; first++)
		seeds->list[seeds->count++] = first;
}

/* How many, or a list of seeds and ranges of them. */
static void
seeds_parse(struct seeds *seeds, const char *text)
{
	char *copy = strdup(text), *rest = copy, *part, *dash;
	uint64_t first, last;

	if (copy == NULL)
		err(1, "strdup");
	if (strpbrk(copy, ",-") == NULL)
		seeds_add(seeds, 1, number(copy, "SEEDS", SEEDS_MAX));
	else
		while ((part = strsep(&rest, ",")) != NULL) {
			if ((dash = strchr(part, '-')) != NULL)
				*dash++ = '\0';
			first = last = number(part, "SEEDS", INT64_MAX - 1);
			if (dash != NULL)
				last = number(dash, "SEEDS", INT64_MAX - 1);
			seeds_add(seeds, first, last);
		}
	free(copy);
}

static void
run_seeds(const struct sim_scenario *scenario, const struct seeds *seeds,
    uint32_t nodes, uint32_t *passed, uint32_t *failed)
{
	size_t i;

	for (i = 0; i < seeds->count; i++)
		if (scenario_run(scenario, seeds->list[i], nodes))
			(*passed)++;
		else
			(*failed)++;
}

/* What make check runs: each scenario with as many seeds as it is due. */
static void
run_check(uint32_t *passed, uint32_t *failed)
{
	struct seeds seeds;
	size_t i;

	for (i = 0; i < sim_scenario_count; i++) {
		if (sim_scenarios[i].seeds == 0)
			continue;
		memset(&seeds, 0, sizeof(seeds));
		seeds_add(&seeds, 1, sim_scenarios[i].seeds);
		run_seeds(&sim_scenarios[i], &seeds, 0, passed, failed);
		free(seeds.list);
	}
}

static void
run_asked(int argc, char *argv[], uint32_t *passed, uint32_t *failed)
{
	const char *name = option(argc, argv, "SCENARIO");
	const char *asked = option(argc, argv, "SEEDS");
	const char *nodes = option(argc, argv, "NODES");
	struct seeds seeds = { NULL, 0 };
	uint32_t count = 0;
	size_t i;

	seeds_parse(&seeds, asked == NULL ? "1" : asked);
	if (nodes != NULL)
		count = (uint32_t)number(nodes, "NODES", 100000);
	if (name != NULL)
		run_seeds(scenario_find(name), &seeds, count, passed, failed);
	for (i = 0; name == NULL && i < sim_scenario_count; i++)
		if (sim_scenarios[i].seeds > 0)
			run_seeds(
			    &sim_scenarios[i], &seeds, count, passed, failed);
	free(seeds.list);
}

int
main(int argc, char *argv[])
{
	const char *what = argc == 2 ? argv[1] : "";
	uint32_t passed = 0, failed = 0;
	size_t i;

	if (strcmp(what, "list") == 0) {
		for (i = 0; i < sim_scenario_count; i++)
			(void)printf("%s\n", sim_scenarios[i].name);
		return (0);
	}
	if (strcmp(what, "table") == 0)
		return (sim_table(artifact_write));
	if (strcmp(what, "check") == 0)
		run_check(&passed, &failed);
	else
		run_asked(argc, argv, &passed, &failed);
	(void)printf("%u passed, %u failed\n", passed, failed);
	return (failed > 0 || passed == 0);
}
