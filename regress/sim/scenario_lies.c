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
	case 4: /* an old descriptor of one that was restarted */
		lie->type = SWIM_ALIVE;
		lie->incarnation = 1;
		lie->statement = sim_statement(about, 1, SWIM_ALIVE);
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
	for (i = LIARS; i < sim->count; i += 5)
		sim_node_start(&sim->nodes[i], 0); /* old words exist */
	SIM_CHECK(sim, sim_run_to(sim, sim_all_alive, sim->now + 60 * SECOND),
	    "not alive after restarts");
	sim->false_fail = sim->false_suspect = 0;
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

/* --- presence ------------------------------------------------------------ */

#define APPS_EACH 4

/* One AppSync that lies, to somebody. */
static void
theft_send(struct sim *sim, uint32_t liar, struct sim_sync *sync, size_t length)
{
	struct sim_message *message = calloc(1, sizeof(*message));
	uint32_t victims = sim->count - LIARS;

	if (message == NULL)
		err(1, "calloc");
	message->kind = SIM_SYNC;
	message->from = liar;
	message->to = LIARS + (uint32_t)(sim_random(&sim->random) % victims);
	sim_message_blob(message, sync, length);
	sim_send(sim, message);
}

/*
 * The thief may sign for itself, and knows all that was ever said: it claims
 * an app with the attestation it gave to its node, or with one made up, or
 * speaks for the node itself, or says again what that node once said.
 */
static void
theft(struct sim *sim, struct sim_node *liar, uint32_t what,
    const struct sim_sync *old, size_t old_length)
{
	uint32_t nodes = sim->count - LIARS;
	struct sim_node *robbed =
	    &sim->nodes[LIARS + sim_random(&sim->random) % nodes];
	union {
		struct sim_sync sync;
		uint8_t
		    room[sizeof(struct sim_sync) + sizeof(struct sim_claim)];
	} lie = { .sync = { .node = liar->index, .count = 1 } };
	struct sim_claim *claim = lie.sync.claims;

	if (what == 3) {
		union {
			struct sim_sync sync;
			uint8_t room[512];
		} again;

		memcpy(&again, old, old_length);
		theft_send(sim, liar->index, &again.sync, old_length);
		return;
	}
	*claim = robbed->apps[sim_random(&sim->random) % robbed->app_count];
	lie.sync.sequence = liar->sync_sequence + 1;
	if (what == 1) { /* newer, but the app never signed that */
		claim->issued += 10 * SECOND;
		claim->expires += 10 * SECOND;
		claim->mark = sim_random(&sim->random);
	} else if (what == 2) { /* gone, says a forged node */
		lie.sync.node = robbed->index;
		lie.sync.sequence = robbed->sync_sequence + 1;
		claim->departed = 1;
	}
	lie.sync.mark = what == 2 ? sim_random(&sim->random)
				  : sim_sync_mark(sim, &lie.sync);
	theft_send(sim, liar->index, &lie.sync, sizeof(lie));
}

/* L19: members steal apps, all the time. No directory changes. */
void
scenario_thieves(struct sim *sim)
{
	union {
		struct sim_sync sync;
		uint8_t room[512];
	} old = { .sync = { .node = LIARS, .full = 1 } };
	uint32_t *where, i, round, apps = sim->count * APPS_EACH;
	uint64_t forged;

	sim->apps = 1;
	for (i = 0; i < LIARS; i++)
		sim->nodes[i].liar = 1;
	if ((where = calloc(apps, sizeof(*where))) == NULL)
		err(1, "calloc");
	sim->hook_arg = where;
	sim_start_all(sim);
	/* What LIARS truly said when it had no app yet. */
	old.sync.sequence = sim->nodes[LIARS].sync_sequence;
	old.sync.mark = sim_sync_mark(sim, &old.sync);
	for (i = 0; i < apps; i++) {
		where[i] = LIARS + i % (sim->count - LIARS);
		sim_app_connect(&sim->nodes[where[i]], i);
	}
	SIM_CHECK(sim, sim_run_to(sim, sim_apps_agree, sim->now + 120 * SECOND),
	    "directories differ before the thefts");
	forged = sim->counts.forged;
	for (round = 0; round < 400; round++) {
		theft(sim, &sim->nodes[round % LIARS], round % 4, &old.sync,
		    sizeof(old.sync));
		sim_run(sim, sim->now + 100 * MS);
		SIM_CHECK(sim, round % 10 != 0 || sim_apps_agree(sim),
		    "an app was stolen by lie %u", round % 4);
	}
	sim_figure(sim, "lies_refused", (double)(sim->counts.forged - forged));
	SIM_CHECK(sim, sim->counts.forged - forged > 250, "few lies arrived");
	SIM_CHECK(sim, sim_apps_agree(sim), "an app was stolen");
	free(where);
	sim->hook_arg = NULL;
}
