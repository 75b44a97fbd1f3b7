/* Test. Members that lie to everybody, all the time; see sim.h. */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "regress/sim/sim.h"

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
