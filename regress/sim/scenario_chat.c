/*
 * Test. Apps chat across the mesh while it suffers: every message is counted
 * at both ends; see house.c.
 */

#include <stdlib.h>
#include <string.h>

#include "regress/sim/house.h"

#define TALKS 24

/* Everything that was to be said is heard and known to be. */
static int
all_said(struct sim *sim)
{
	struct sim_end *ends;
	uint32_t i;

	for (i = 0; i < sim->talk_count; i++) {
		ends = sim->talks[i].ends;
		if (ends[0].acked != ends[0].wanted ||
		    ends[1].acked != ends[1].wanted ||
		    ends[0].heard != ends[1].wanted ||
		    ends[1].heard != ends[0].wanted)
			return (0);
	}
	return (1);
}

/* Some of the apps say something. */
static void
talks_go_on(struct sim *sim)
{
	struct sim_end *end;
	uint32_t i;

	for (i = 0; i < 2 * sim->talk_count; i++) {
		end = &sim->talks[i / 2].ends[i & 1];
		if (sim_random(&sim->random) % 3 > 0)
			end->wanted += 1 + sim_random(&sim->random) % 3;
	}
	for (i = 0; i < sim->count; i++)
		if (sim->nodes[i].up)
			sim_node_drain(&sim->nodes[i]);
}

/* Apps come back to the node that came back. */
static void
node_again(struct sim *sim, uint32_t node)
{
	uint32_t i;

	sim_node_start(&sim->nodes[node], (node + 1) % sim->count);
	for (i = 0; i < 2 * sim->talk_count; i++)
		if (sim->talks[i / 2].ends[i & 1].node == node)
			sim_end_move(sim, &sim->talks[i / 2].ends[i & 1], node);
}

static void
talks_check(struct sim *sim)
{
	uint64_t said = 0, heard = 0, wrong = 0, ended = 0, readies = 0;
	struct sim_end *end;
	uint32_t i;

	for (i = 0; i < 2 * sim->talk_count; i++) {
		end = &sim->talks[i / 2].ends[i & 1];
		said += end->wanted;
		heard += end->heard;
		wrong += end->wrong;
		ended += end->ended;
		readies += end->readies;
	}
	sim_figure(sim, "messages_said", (double)said);
	sim_figure(sim, "messages_heard_once_in_order", (double)heard);
	sim_figure(sim, "epochs_and_resumes", (double)readies);
	SIM_CHECK(sim, said > 1000 && heard == said,
	    "%llu of %llu messages came", (unsigned long long)heard,
	    (unsigned long long)said);
	SIM_CHECK(sim, wrong == 0, "%llu came twice, late or changed",
	    (unsigned long long)wrong);
	SIM_CHECK(
	    sim, ended == 0, "%llu chats ended", (unsigned long long)ended);
}

static void
talks_start(struct sim *sim)
{
	uint32_t i, a, b;

	for (i = 0; i < sim->talk_count; i++) {
		a = (uint32_t)(sim_random(&sim->random) % sim->count);
		b = (a + 1 +
			(uint32_t)(sim_random(&sim->random) %
				   (sim->count - 1))) %
		    sim->count;
		sim_end_move(sim, &sim->talks[i].ends[0], a);
		sim_end_move(sim, &sim->talks[i].ends[1], b);
	}
}

/*
 * Chats between apps of many nodes, on links that lose, double, delay and
 * reorder, through cuts, hanging nodes and crashes: what every app said is
 * heard by its peer, once and in order, and acknowledged.
 */
void
scenario_chats(struct sim *sim)
{
	uint32_t round, node;

	sim->apps = 1;
	sim->network.drop = 0.05;
	sim->network.duplicate = 0.05;
	sim->network.reorder = 0.1;
	sim_talks_make(sim, TALKS);
	sim_start_all(sim);
	talks_start(sim);
	for (round = 0; round < 60 && !sim->failed; round++) {
		talks_go_on(sim);
		node = (uint32_t)(sim_random(&sim->random) % sim->count);
		sim->nodes[node].group = round % 2;
		sim->cut[0][1] = round % 10 == 3 || round % 10 == 4;
		sim->cut[1][0] = round % 10 == 4 || round % 10 == 5;
		switch (sim_random(&sim->random) % 4) {
		case 0:
			if (sim->nodes[node].up)
				sim_node_stop(&sim->nodes[node]);
			else
				node_again(sim, node);
			break;
		case 1:
			sim->nodes[node].paused_until = sim->now + 4 * SECOND;
			break;
		}
		sim_run(sim, sim->now + 2 * SECOND);
	}
	memset(sim->cut, 0, sizeof(sim->cut));
	for (node = 0; node < sim->count; node++)
		if (!sim->nodes[node].up)
			node_again(sim, node);
	SIM_CHECK(sim, sim_run_to(sim, all_said, sim->now + 240 * SECOND),
	    "not all that was said is heard and acknowledged");
	talks_check(sim);
}

/* L49: a chat does not go through a cut, and goes on after it. */
void
scenario_chat_cut(struct sim *sim)
{
	struct sim_end *end;
	uint64_t heard;

	sim->apps = 1;
	sim_talks_make(sim, 1);
	sim_start_all(sim);
	sim_end_move(sim, &sim->talks[0].ends[0], 1);
	sim_end_move(sim, &sim->talks[0].ends[1], 2);
	end = &sim->talks[0].ends[1];
	sim->talks[0].ends[0].wanted = 5;
	SIM_CHECK(sim, sim_run_to(sim, all_said, sim->now + 30 * SECOND),
	    "no chat in peace");
	sim->nodes[1].group = 1;
	sim->cut[0][1] = sim->cut[1][0] = 1;
	sim->talks[0].ends[0].wanted = 10;
	heard = end->heard;
	sim_run(sim, sim->now + 60 * SECOND);
	SIM_CHECK(sim, heard == 5 && end->heard == heard,
	    "a message went through a cut");
	sim->cut[0][1] = sim->cut[1][0] = 0;
	SIM_CHECK(sim, sim_run_to(sim, all_said, sim->now + 120 * SECOND),
	    "the chat does not go on");
	SIM_CHECK(sim, end->wrong == 0 && end->heard == 10, "miscounted");
}
