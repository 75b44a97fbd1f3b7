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

#define SECOND		INT64_C(1000000000)
#define MS		INT64_C(1000000)
#define SIM_WALL	(INT64_C(1800000000) * SECOND)	/* at time 0 */
#define SIM_GROUPS	4
#define SIM_FIGURES	32

struct sim;
struct sim_node;

struct sim_random {
	uint64_t	state[4];
};

/* One of the apps that a node has; also as it travels. */
struct sim_claim {
	uint32_t	app;
	uint32_t	departed;
	int64_t		issued;
	int64_t		expires;
};

/* A node's AppSync. */
struct sim_sync {
	uint32_t		node;
	uint32_t		full;
	uint64_t		sequence;
	uint32_t		count;
	uint32_t		zero;
	struct sim_claim	claims[];
};

enum sim_kind {
	SIM_SWIM,
	SIM_SYNC,	/* a full sync, asked for */
	SIM_ASK		/* what have you after that sequence? */
};

struct sim_blob {
	struct sim_blob	*next;
	size_t		 length;
	uint8_t		 bytes[];
};

struct sim_digest {
	uint32_t	node;
	uint32_t	zero;
	uint64_t	sequence;
};

struct sim_message {
	enum sim_kind		 kind;
	uint32_t		 from;
	uint32_t		 to;
	struct swim_message	 swim;
	struct swim_update	*updates;	/* owned, statements held */
	size_t			 update_count;
	struct sim_blob		*blobs;		/* sim_sync each */
	struct sim_digest	*digests;
	size_t			 digest_count;
};

enum sim_event_type {
	SIM_EVENT_MESSAGE,
	SIM_EVENT_TICK,
	SIM_EVENT_SIGNED,	/* a descriptor of number is signed */
	SIM_EVENT_BOOT,		/* contact the bootstrap node again */
	SIM_EVENT_APPS	/* what the directory needs */
};

struct sim_event {
	int64_t			 at;
	uint64_t		 order;
	enum sim_event_type	 type;
	uint32_t		 node;
	uint32_t		 life;		/* of the node; stale if not */
	uint64_t		 number;
	struct sim_message	*message;
};

struct sim_network {
	int64_t	base_min;	/* ns, one way, drawn for each link */
	int64_t	base_max;
	int64_t	jitter;		/* ns, mean of an exponential */
	double	drop;
	double	duplicate;
	double	reorder;	/* part that is held back */
	int64_t	hold;		/* ns, how long at most */
};

struct sim_counts {
	uint64_t	sent;
	uint64_t	delivered;
	uint64_t	dropped;
	uint64_t	duplicated;
	uint64_t	cut;		/* by partitions */
	uint64_t	crossed;	/* delivered between groups */
	uint64_t	to_down;
	uint64_t	bytes;		/* as they would be on the wire */
	uint64_t	types[SWIM_GOSSIP + 1];
	uint64_t	forged;		/* statements refused */
	uint64_t	delay;		/* ns, sum of delivered */
	uint64_t	overtaken;	/* delivered after a later one */
};

struct sim_node {
	uint32_t		 index;
	uint32_t		 life;
	int			 up;
	int			 liar;
	uint32_t		 group;
	uint32_t		 bootstrap;
	uint8_t			 key[KEY_SIZE];
	uint64_t		 incarnation;
	int64_t			 tick_at;
	int64_t			 paused_until;
	struct sim_random	 random;
	struct swim		*swim;
	struct swim_statement	*own;
	struct directory	 directory;
	struct rumours		 rumours;
	struct sim_claim	*apps;
	uint32_t		 app_count;
	uint32_t		 app_size;
	uint32_t		*lost;		/* local apps that moved away */
	uint32_t		 lost_count;
	uint32_t		 lost_size;
	uint64_t		 sync_sequence;
	uint64_t		 last_sent_at;
	struct sim		*sim;
};

/* A node's view of another changed. */
typedef void (*sim_hook)(struct sim *, struct sim_node *, uint32_t about,
	    int was, int now);

struct sim {
	uint64_t		 seed;
	int64_t			 now;
	struct sim_random	 random;
	struct sim_network	 network;
	struct swim_config	 config;
	struct sim_node		*nodes;
	uint32_t		 count;
	int			 apps;		/* directories are used */
	uint8_t			 cut[SIM_GROUPS][SIM_GROUPS];
	struct sim_event	*events;
	size_t			 event_count;
	size_t			 event_size;
	uint64_t		 order;
	uint64_t		 handled;
	uint64_t		 trace;		/* hash of all that happened */
	struct sim_counts	 counts;
	sim_hook		 hook;
	void			*hook_arg;
	/* false failures: of a node that is up, seen by one that is */
	uint64_t		 false_suspect;
	uint64_t		 false_fail;
	/* the run's outcome */
	int			 failed;
	char			 why[256];
	size_t			 figure_count;
	struct {
		const char	*name;
		double		 value;
	}			 figures[SIM_FIGURES];
};

/* world.c */
void	sim_random_seed(struct sim_random *random, uint64_t seed);
uint64_t sim_random(struct sim_random *random);
double	sim_random_unit(struct sim_random *random);	/* [0, 1) */
uint64_t sim_mix(uint64_t a, uint64_t b);
void	sim_init(struct sim *sim, uint64_t seed, uint32_t nodes);
void	sim_free(struct sim *sim);
void	sim_event(struct sim *sim, int64_t at, enum sim_event_type type,
	    struct sim_node *node, uint64_t number,
	    struct sim_message *message);
/* Takes the message. */
void	sim_send(struct sim *sim, struct sim_message *message);
void	sim_message_free(struct sim_message *message);
void	sim_run(struct sim *sim, int64_t until);
/* Run in small steps until done() or until; 1 when it was done. */
int	sim_run_to(struct sim *sim, int (*done)(struct sim *), int64_t until);
void	sim_figure(struct sim *sim, const char *name, double value);
void	sim_fail(struct sim *sim, const char *format, ...)
	    __attribute__((format(printf, 2, 3)));
#define SIM_CHECK(sim, condition, ...) do {				\
	if (!(condition))						\
		sim_fail((sim), __VA_ARGS__);				\
} while (0)

/* node.c */
uint32_t sim_index(const uint8_t key[KEY_SIZE]);
struct swim_statement *sim_statement(struct sim_node *node,
	    uint64_t incarnation, enum swim_update_type type);
void	sim_node_start(struct sim_node *node, uint32_t bootstrap);
void	sim_node_stop(struct sim_node *node);	/* it crashes */
void	sim_node_leave(struct sim_node *node);
void	sim_node_event(struct sim_node *node, struct sim_event *event);
void	sim_node_drain(struct sim_node *node);
/* Everybody knows everybody, and has told it. */
void	sim_preload(struct sim *sim);
int	sim_view(const struct sim_node *node, uint32_t about);

/* apps.c */
void	sim_apps_start(struct sim_node *node);
void	sim_apps_stop(struct sim_node *node);
void	sim_apps_tick(struct sim_node *node);
void	sim_app_connect(struct sim_node *node, uint32_t app);
void	sim_app_disconnect(struct sim_node *node, uint32_t app);
void	sim_apps_receive(struct sim_node *node, struct sim_message *message);
void	sim_apps_attach(struct sim_node *node, struct sim_message *message);
void	sim_apps_member(struct sim_node *node, uint32_t about, int now);
/* The node that app is on, as node sees it; UINT32_MAX none. */
uint32_t sim_app_where(const struct sim_node *node, uint32_t app);
void	sim_apps_lost(struct sim_node *node);

/* scenario*.c */
struct sim_scenario {
	const char	*name;
	uint32_t	 nodes;		/* unless told otherwise */
	uint32_t	 seeds;		/* in a check */
	void		 (*run)(struct sim *);
};
extern const struct sim_scenario sim_scenarios[];
extern const size_t sim_scenario_count;
int	sim_all_alive(struct sim *sim);	/* as it truly is, at every node */
void	sim_start_all(struct sim *sim);	/* preloaded */
void	scenario_cut_is_cut(struct sim *);
void	scenario_network_rates(struct sim *);
void	scenario_replay(struct sim *);
void	scenario_churn(struct sim *);
void	scenario_liars(struct sim *);
void	scenario_directory(struct sim *);
void	scenario_figures(struct sim *);

#endif
