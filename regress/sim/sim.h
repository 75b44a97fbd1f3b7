/*
 * Test. A deterministic simulator: many nodes, each with the membership and
 * directory cores of hermesd, on virtual time and a network that loses,
 * doubles, delays and cuts. Everything follows from one seed.
 */
#ifndef REGRESS_SIM_SIM_H
#define REGRESS_SIM_SIM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mesh/directory.h"
#include "mesh/rumour.h"
#include "mesh/swim.h"
#include "regress/sim/wire.h"

#define SECOND      INT64_C(1000000000)
#define MS          INT64_C(1000000)
#define SIM_WALL    (INT64_C(1800000000) * SECOND) /* at time 0 */
#define SIM_GROUPS  4
#define SIM_FIGURES 32

struct sim;
struct sim_house;
struct sim_node;
struct sim_talk;

struct sim_node {
	uint32_t index;
	uint32_t life;
	int up;
	int liar;
	uint32_t group;
	uint32_t bootstrap;
	uint8_t *saved; /* of each node: it was known once; on disk */
	uint32_t seek;
	uint8_t key[KEY_SIZE];
	uint64_t incarnation;
	int64_t tick_at;
	int64_t paused_until; /* it hangs */
	int64_t slow;         /* ns for each event */
	int64_t busy_until;
	int64_t clock; /* ns its time of day is off */
	uint64_t handled;
	struct sim_random random;
	struct swim *swim;
	struct swim_statement *own;
	struct directory directory;
	struct rumours rumours;
	struct sim_claim *apps;
	uint32_t app_count;
	uint32_t app_size;
	uint32_t *lost; /* local apps that moved away */
	uint32_t lost_count;
	uint32_t lost_size;
	uint64_t sync_sequence;
	struct sim_house *house; /* house.h; NULL when nobody chats */
	struct sim *sim;
};

/* A node's view of another changed. */
typedef void (*sim_hook)(
    struct sim *, struct sim_node *, uint32_t about, int was, int now);

/* Takes what arrives instead of the nodes; late is the time it took. */
typedef void (*sim_sink)(
    struct sim *, const struct sim_message *, int64_t late);

struct sim {
	uint64_t seed;
	int64_t now;
	struct sim_random random;
	struct sim_network network;
	struct swim_config config;
	struct sim_node *nodes;
	uint32_t count;
	int apps;               /* directories are used */
	struct sim_talk *talks; /* house.h; made before nodes start */
	uint32_t talk_count;
	uint8_t cut[SIM_GROUPS][SIM_GROUPS];
	struct sim_event *events;
	size_t event_count;
	size_t event_size;
	uint64_t order;
	uint64_t handled;
	uint64_t trace; /* hash of all that happened */
	struct sim_counts counts;
	sim_hook hook;
	void *hook_arg;
	sim_sink sink;
	void *sink_arg;
	/* false failures: of a node that is up, seen by one that is */
	uint64_t false_suspect;
	uint64_t false_fail;
	/* the run's outcome */
	int failed;
	char why[256];
	size_t figure_count;
	struct {
		const char *name;
		double value;
	} figures[SIM_FIGURES];
};

/* world.c */
void sim_random_seed(struct sim_random *random, uint64_t seed);
uint64_t sim_random(struct sim_random *random);
double sim_random_unit(struct sim_random *random); /* [0, 1) */
uint64_t sim_mix(uint64_t a, uint64_t b);
void sim_init(struct sim *sim, uint64_t seed, uint32_t nodes);
void sim_free(struct sim *sim);
void sim_event(struct sim *sim, int64_t at, enum sim_event_type type,
    struct sim_node *node, uint64_t number, struct sim_message *message);
void sim_link(
    const struct sim *sim, uint32_t from, uint32_t to, struct sim_link *link);
/* Takes the message. */
void sim_send(struct sim *sim, struct sim_message *message);
void sim_message_free(struct sim_message *message);
uint64_t sim_flying(const struct sim *sim); /* messages on the way */
void sim_run(struct sim *sim, int64_t until);
/* Run in small steps until done() or until; 1 when it was done. */
int sim_run_to(struct sim *sim, int (*done)(struct sim *), int64_t until);
void sim_figure(struct sim *sim, const char *name, double value);
void sim_fail(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define SIM_CHECK(sim, condition, ...)                                         \
	do {                                                                   \
		if (!(condition))                                              \
			sim_fail((sim), __VA_ARGS__);                          \
	} while (0)

/* node.c */
uint32_t sim_index(const uint8_t key[KEY_SIZE]);
struct swim_statement *sim_statement(
    struct sim_node *node, uint64_t incarnation, enum swim_update_type type);
void sim_node_start(struct sim_node *node, uint32_t bootstrap);
void sim_node_stop(struct sim_node *node); /* it crashes */
void sim_node_leave(struct sim_node *node);
void sim_node_event(struct sim_node *node, struct sim_event *event);
void sim_node_drain(struct sim_node *node);
/* Everybody knows everybody, and has told it. */
void sim_preload(struct sim *sim);
int sim_view(const struct sim_node *node, uint32_t about);

/* apps.c */
int64_t sim_wall(const struct sim_node *node); /* its time of day */
void sim_apps_start(struct sim_node *node);
void sim_apps_stop(struct sim_node *node);
void sim_apps_tick(struct sim_node *node);
void sim_app_connect(struct sim_node *node, uint32_t app);
void sim_app_disconnect(struct sim_node *node, uint32_t app);
void sim_apps_receive(struct sim_node *node, struct sim_message *message);
void sim_apps_attach(struct sim_node *node, struct sim_message *message);
void sim_apps_member(struct sim_node *node, uint32_t about, int now);
/* The node that app is on, as node sees it; UINT32_MAX none. */
uint32_t sim_app_where(const struct sim_node *node, uint32_t app);
void sim_apps_lost(struct sim_node *node);

uint64_t sim_claim_mark(
    const struct sim *sim, const struct sim_claim *claim, uint32_t node);
uint64_t sim_sync_mark(const struct sim *sim, const struct sim_sync *sync);
void sim_message_blob(
    struct sim_message *message, const void *bytes, size_t length);

/* scenario*.c */
struct sim_scenario {
	const char *name;
	uint32_t nodes; /* unless told otherwise */
	uint32_t seeds; /* in a check */
	void (*run)(struct sim *);
};
extern const struct sim_scenario sim_scenarios[];
extern const size_t sim_scenario_count;

/* table.c: print the figures of meshes of all sizes; the exit code. */
int sim_table(void (*write)(const struct sim *, const struct sim_scenario *));
int sim_apps_agree(struct sim *sim); /* hook_arg: where each app is */
int sim_all_alive(struct sim *sim);  /* as it truly is, at every node */
void sim_start_all(struct sim *sim); /* preloaded */
void scenario_cut_is_cut(struct sim *);
void scenario_network_rates(struct sim *);
void scenario_replay(struct sim *);
void scenario_churn(struct sim *);
void scenario_liars(struct sim *);
void scenario_thieves(struct sim *);
void scenario_directory(struct sim *);
void scenario_figures(struct sim *);
void scenario_load(struct sim *);
void scenario_links(struct sim *);
void scenario_slow_node(struct sim *);
void scenario_clocks(struct sim *);
void scenario_chats(struct sim *);
void scenario_chat_cut(struct sim *);
/* A failure is known to all within this; see scenario_figures.c. */
int64_t sim_bound(const struct sim *sim);

#endif
