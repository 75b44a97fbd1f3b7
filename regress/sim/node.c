/*
 * Test. A simulated node: the glue that mesh/ has around the cores, with a
 * stand-in for signatures: a mark that only the simulator can compute.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/swim_internal.h"
#include "regress/sim/house.h"

#define SIGN_DELAY    MS
#define BOOT_INTERVAL (3 * SECOND)
#define SEEK          3 /* in that time */

uint32_t
sim_index(const uint8_t key[KEY_SIZE])
{
	return (key[0] | (uint32_t)key[1] << 8 | (uint32_t)key[2] << 16 |
		(uint32_t)key[3] << 24);
}

static uint64_t
statement_mark(const struct sim *sim, uint32_t index, uint64_t incarnation,
    enum swim_update_type type)
{
	return (sim_mix(
	    sim_mix(sim->seed, index), incarnation * 8 + (uint64_t)type));
}

struct swim_statement *
sim_statement(
    struct sim_node *node, uint64_t incarnation, enum swim_update_type type)
{
	struct swim_statement *statement;
	uint64_t mark;
	char name[NODE_ID_SIZE];

	mark = statement_mark(node->sim, node->index, incarnation, type);
	(void)snprintf(name, sizeof(name), "node-%u", node->index);
	statement = swim_statement_make(
	    node->key, name, incarnation, &mark, sizeof(mark));
	if (statement == NULL)
		err(1, "swim_statement_make");
	return (statement);
}

static int
statement_verify(const struct sim *sim, const struct swim_statement *statement,
    enum swim_update_type type)
{
	uint64_t mark;
	uint32_t index = sim_index(statement->key);

	if (index >= sim->count || statement->length != sizeof(mark) ||
	    memcmp(sim->nodes[index].key, statement->key, KEY_SIZE) != 0)
		return (0);
	memcpy(&mark, statement->bytes, sizeof(mark));
	return (
	    mark == statement_mark(sim, index, statement->incarnation, type));
}

static uint64_t
node_random(void *arg)
{
	return (sim_random(arg));
}

void
sim_node_start(struct sim_node *node, uint32_t bootstrap)
{
	struct sim *sim = node->sim;

	sim_node_stop(node);
	if (node->saved == NULL &&
	    (node->saved = calloc(sim->count, 1)) == NULL)
		err(1, "calloc");
	node->up = 1;
	node->incarnation++;
	node->bootstrap = bootstrap;
	node->paused_until = node->busy_until = 0;
	node->tick_at = INT64_MAX;
	node->own = sim_statement(node, node->incarnation, SWIM_ALIVE);
	node->swim = swim_new(
	    &sim->config, node->own, node_random, &node->random, sim->now);
	if (node->swim == NULL)
		err(1, "swim_new");
	sim_apps_start(node);
	sim_house_start(node);
	sim_event(sim, sim->now, SIM_EVENT_BOOT, node, 0, NULL);
	sim_node_drain(node);
}

void
sim_node_stop(struct sim_node *node)
{
	if (!node->up)
		return;
	sim_house_stop(node);
	sim_apps_stop(node);
	swim_free(node->swim);
	swim_statement_free(node->own);
	node->swim = NULL;
	node->own = NULL;
	node->up = 0;
	node->life++;
}

void
sim_node_leave(struct sim_node *node)
{
	struct swim_update update = { .type = SWIM_LEAVE };

	update.statement = sim_statement(node, node->incarnation, SWIM_LEAVE);
	update.incarnation = node->incarnation;
	memcpy(update.key, node->key, KEY_SIZE);
	if (swim_update(node->swim, &update, node->sim->now) != 1)
		sim_fail(node->sim, "node %u could not leave", node->index);
	swim_statement_free(update.statement);
	sim_node_drain(node);
}

/* --- out ----------------------------------------------------------------- */

static void
node_send(struct sim_node *node, const struct swim_action *action)
{
	struct sim_message *message = calloc(1, sizeof(*message));
	size_t i;

	if (message == NULL)
		err(1, "calloc");
	message->kind = SIM_SWIM;
	message->from = node->index;
	message->to = sim_index(action->node);
	message->swim = action->message;
	message->update_count = action->update_count;
	message->updates =
	    calloc(action->update_count + 1, sizeof(*message->updates));
	if (message->updates == NULL)
		err(1, "calloc");
	for (i = 0; i < action->update_count; i++) {
		message->updates[i] = action->updates[i];
		if (message->updates[i].statement != NULL)
			(void)swim_statement_hold(
			    message->updates[i].statement);
	}
	if (node->sim->apps)
		sim_apps_attach(node, message);
	sim_send(node->sim, message);
}

static void
node_changed(struct sim_node *node, const struct swim_action *action)
{
	struct sim *sim = node->sim;
	uint32_t about = sim_index(action->member->alive->key);

	if (sim->nodes[about].up && !node->liar && action->now != action->was) {
		sim->false_suspect += action->now == NODE_SUSPECT;
		sim->false_fail += action->now == NODE_FAILED;
	}
	sim->trace = sim_mix(
	    sim->trace, (uint64_t)node->index << 40 | (uint64_t)about << 16 |
			    (uint64_t)action->was << 8 | (uint64_t)action->now);
	if (sim->apps)
		sim_apps_member(node, about, action->now);
	if (node->house != NULL && action->now != NODE_ALIVE &&
	    action->now != NODE_SUSPECT)
		sim_stream_break(node, about);
	if (sim->hook != NULL)
		sim->hook(sim, node, about, action->was, action->now);
}

void
sim_node_drain(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct swim_action action;
	int64_t deadline;

	while (swim_next(node->swim, &action)) {
		switch (action.type) {
		case SWIM_DO_SEND:
			node_send(node, &action);
			break;
		case SWIM_DO_CHANGED:
			node_changed(node, &action);
			break;
		case SWIM_DO_REFUTE:
			sim_event(sim, sim->now + SIGN_DELAY, SIM_EVENT_SIGNED,
			    node, action.incarnation, NULL);
			break;
		}
	}
	sim_apps_lost(node);
	sim_house_drain(node);
	deadline = swim_deadline(node->swim);
	if (deadline < node->tick_at) {
		node->tick_at = deadline;
		sim_event(sim, deadline, SIM_EVENT_TICK, node, 0, NULL);
	}
}

/* --- in ------------------------------------------------------------------ */

/* As mesh/ does: is it news, then is it signed. */
static void
node_update(struct sim_node *node, struct swim_update *update)
{
	enum swim_update_type as = update->type;
	int hearsay;

	hearsay = as == SWIM_SUSPECT || as == SWIM_FAIL;
	if (hearsay)
		as = SWIM_ALIVE;
	if (update->statement != NULL &&
	    swim_wants(node->swim, as, update->key, update->incarnation) &&
	    !statement_verify(node->sim, update->statement, as)) {
		node->sim->counts.forged++;
		if (!hearsay)
			return;
		swim_statement_free(update->statement);
		update->statement = NULL;
	}
	(void)swim_update(node->swim, update, node->sim->now);
}

static void
node_receive(struct sim_node *node, struct sim_message *message)
{
	struct sim *sim = node->sim;
	const uint8_t *from = sim->nodes[message->from].key;
	size_t i;

	for (i = 0; i < message->update_count; i++)
		node_update(node, &message->updates[i]);
	if (message->kind == SIM_SWIM)
		swim_receive(node->swim, from, &message->swim, sim->now);
	if (sim->apps)
		sim_apps_receive(node, message);
}

static void
node_signed(struct sim_node *node, uint64_t incarnation)
{
	struct swim_statement *own;

	if (incarnation <= node->incarnation)
		return;
	own = sim_statement(node, incarnation, SWIM_ALIVE);
	if (swim_own(node->swim, own, node->sim->now) == -1)
		sim_fail(node->sim, "node %u refused its own descriptor",
		    node->index);
	node->incarnation = incarnation;
	swim_statement_free(node->own);
	node->own = own;
}

/*
 * As mesh/members.c does: whoever is alone calls those it was told of or had
 * saved; who is not calls those that its list has not got, by and by.
 */
static void
node_seek(struct sim_node *node)
{
	struct sim *sim = node->sim;
	int i;

	if (swim_live(node->swim) == 1)
		swim_contact(
		    node->swim, sim->nodes[node->bootstrap].key, sim->now);
	for (i = 0; i < SEEK; i++) {
		node->seek = (node->seek + 1) % sim->count;
		if (node->saved[node->seek] &&
		    swim_find(node->swim, sim->nodes[node->seek].key) == NULL)
			swim_contact(
			    node->swim, sim->nodes[node->seek].key, sim->now);
	}
}

void
sim_node_event(struct sim_node *node, struct sim_event *event)
{
	struct sim *sim = node->sim;

	switch (event->type) {
	case SIM_EVENT_MESSAGE:
		if (event->message->kind == SIM_STREAM)
			sim_stream_receive(node, event->message);
		else
			node_receive(node, event->message);
		break;
	case SIM_EVENT_TICK:
		if (event->at < node->tick_at)
			return;
		node->tick_at = INT64_MAX;
		swim_tick(node->swim, sim->now);
		break;
	case SIM_EVENT_SIGNED:
		node_signed(node, event->number);
		break;
	case SIM_EVENT_BOOT:
		node_seek(node);
		sim_event(sim, sim->now + BOOT_INTERVAL, SIM_EVENT_BOOT, node,
		    0, NULL);
		break;
	case SIM_EVENT_CHATS:
		sim_house_tick(node);
		break;
	case SIM_EVENT_APPS:
		sim_apps_tick(node);
		sim_event(
		    sim, sim->now + 2 * SECOND, SIM_EVENT_APPS, node, 0, NULL);
		break;
	}
	sim_node_drain(node);
}

int
sim_view(const struct sim_node *node, uint32_t about)
{
	const struct swim_member *member;

	member = swim_find(node->swim, node->sim->nodes[about].key);
	return (member == NULL ? 0 : member->state);
}

/* It has exchanged states long enough to do so rarely. */
static void
node_settle(struct sim_node *node)
{
	struct swim *swim = node->swim;
	int64_t interval = swim_sync_interval(swim);

	swim->answered = 1;
	swim->sync_wait = INT64_MAX / 4;
	swim->next_sync =
	    node->sim->now + 1 +
	    (int64_t)(sim_random(&node->random) % (uint64_t)interval);
}

/* Everybody knows everybody, as after a long quiet time. */
void
sim_preload(struct sim *sim)
{
	struct swim_update update = { .type = SWIM_ALIVE };
	struct swim_action action;
	struct swim_member *member;
	struct sim_node *node;
	uint32_t i, j;
	size_t cursor;

	for (i = 0; i < sim->count; i++) {
		node = &sim->nodes[i];
		for (j = 0; j < sim->count; j++) {
			if (i == j || !node->up || !sim->nodes[j].up)
				continue;
			memcpy(update.key, sim->nodes[j].key, KEY_SIZE);
			update.statement = sim->nodes[j].own;
			update.incarnation = update.statement->incarnation;
			if (swim_update(node->swim, &update, sim->now) == -1)
				err(1, "swim_update");
			node->saved[j] = 1;
		}
		cursor = 0;
		while (node->up &&
		       (member = swim_walk(node->swim, &cursor)) != NULL)
			swim_queue_drop(node->swim, member);
		if (node->up)
			swim_queue_drop(node->swim, node->swim->self);
		while (node->up && swim_next(node->swim, &action))
			;
		if (node->up)
			node_settle(node);
		if (node->up)
			sim_node_drain(node);
	}
}
