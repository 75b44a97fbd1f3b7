/*
 * mesh, unprivileged; trusts nobody's hearsay beyond a suspicion. Membership:
 * the life of the core, its timers, and what updates do; see swim.h.
 */

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/swim_internal.h"

#define SECOND          INT64_C(1000000000)
#define MS              INT64_C(1000000)
#define SYNC_FLAT       32 /* members; beyond, push-pull is rarer */
#define GOSSIP_MAX      16
#define CONNECTED_MIN   16 /* connections enough to gossip along */
#define RECONNECT_DRAWS 8

void
swim_config_default(struct swim_config *config)
{
	memset(config, 0, sizeof(*config));
	config->probe_interval = 1 * SECOND;
	config->probe_timeout = 500 * MS;
	config->gossip_interval = 200 * MS;
	config->sync_interval = 30 * SECOND;
	config->reconnect_interval = 10 * SECOND;
	config->forget_after = 24 * 3600 * SECOND;
	config->refute_interval = 200 * MS;
	config->suspicion_unit = 1 * SECOND;
	config->suspicion_factor = 4;
	config->suspicion_stretch = 6;
	config->confirmations = 3;
	config->indirect = 3;
	config->gossip_fanout = 3;
	config->retransmit = 4;
	config->health_max = 8;
	config->members = 10000;
	config->queue = 4096;
}

static int
config_valid(const struct swim_config *config)
{
	return (config->probe_timeout > 0 &&
		config->probe_timeout < config->probe_interval &&
		config->gossip_interval > 0 && config->sync_interval > 0 &&
		config->reconnect_interval > 0 && config->forget_after > 0 &&
		config->refute_interval > 0 && config->suspicion_unit > 0 &&
		config->suspicion_factor > 0 && config->suspicion_stretch > 0 &&
		config->confirmations <= SWIM_CONFIRMATIONS_MAX &&
		config->indirect <= SWIM_INDIRECT_MAX &&
		config->gossip_fanout >= 1 &&
		config->gossip_fanout <= GOSSIP_MAX &&
		config->retransmit >= 1 && config->members >= 1 &&
		config->queue >= 1);
}

/* A moment within the interval after now, so that nodes do not march. */
static int64_t
jitter(struct swim *swim, int64_t now, int64_t interval)
{
	return (now + interval / 2 +
		(int64_t)(swim->random(swim->arg) % (uint64_t)interval));
}

struct swim *
swim_new(const struct swim_config *config, struct swim_statement *own,
    uint64_t (*random)(void *), void *arg, int64_t now)
{
	struct swim *swim;

	if (!config_valid(config)) {
		errno = EINVAL;
		return (NULL);
	}
	swim = calloc(1, sizeof(*swim));
	if (swim == NULL)
		return (NULL);
	swim->config = *config;
	swim->random = random;
	swim->arg = arg;
	table_init(&swim->members, KEY_SIZE);
	swim->self = calloc(1, sizeof(*swim->self));
	if (swim->self == NULL ||
	    table_put(&swim->members, own->key, swim->self) == -1) {
		free(swim->self);
		free(swim);
		errno = ENOMEM;
		return (NULL);
	}
	swim->self->alive = swim_statement_hold(own);
	swim->self->state = NODE_ALIVE;
	swim->self->since = now;
	/* Acks to an earlier life of this node match no probe of this one. */
	swim->sequence = random(arg) >> 24;
	swim->next_probe =
	    now + (int64_t)(random(arg) % (uint64_t)config->probe_interval);
	swim->next_gossip = now;
	swim->sync_wait = 2 * config->probe_interval;
	swim->next_sync = jitter(swim, now, swim->sync_wait);
	swim->next_reconnect = jitter(swim, now, config->reconnect_interval);
	swim->next_contact = now;
	swim->next_refute = now;
	swim_queue_put(swim, swim->self, 0);
	return (swim);
}

void
swim_set_members(struct swim *swim, uint32_t members)
{
	swim->config.members = members;
}

void
swim_free(struct swim *swim)
{
	struct swim_member *member;
	uint32_t i;

	if (swim == NULL)
		return;
	while ((member = swim->changed_head) != NULL) {
		swim->changed_head = member->changed_next;
		if ((member->flags & MEMBER_FORGOTTEN) != 0)
			swim_member_free(member);
	}
	swim_member_free(swim->gone);
	for (i = 0; i < swim->live_count; i++)
		swim_member_free(swim->live[i]);
	for (i = 0; i < swim->dead_count; i++)
		swim_member_free(swim->dead[i]);
	swim_member_free(swim->self);
	table_free(&swim->members);
	free(swim->live);
	free(swim->dead);
	free(swim->connected);
	free(swim->suspicions);
	free(swim->pending);
	free(swim);
}

static int
gossip_due(const struct swim *swim)
{
	return (swim->live_count > 0 &&
		(swim->want_gossip || !swim_queue_empty(swim)));
}

int64_t
swim_deadline(const struct swim *swim)
{
	int64_t next = swim->next_probe;

	if (swim->probe.active && !swim->probe.indirect &&
	    swim->probe.timeout_at < next)
		next = swim->probe.timeout_at;
	if (gossip_due(swim) && swim->next_gossip < next)
		next = swim->next_gossip;
	if (swim->next_sync < next)
		next = swim->next_sync;
	if (swim->next_reconnect < next)
		next = swim->next_reconnect;
	if (swim->suspicion_count > 0 && swim->suspicions[0]->wake < next)
		next = swim->suspicions[0]->wake;
	if (swim->relay_waiting > 0 &&
	    swim->relays[swim->relay_oldest].nack_at < next)
		next = swim->relays[swim->relay_oldest].nack_at;
	if (swim->refute_due && swim->next_refute < next)
		next = swim->next_refute;
	return (next);
}

static void
gossip_tick(struct swim *swim, int64_t now)
{
	struct swim_member *member;
	uint8_t sent[GOSSIP_MAX][KEY_SIZE];
	uint32_t i;

	swim->next_gossip = now + swim->config.gossip_interval;
	for (i = 0; i < swim->config.gossip_fanout; i++) {
		if (swim->connected_count >= CONNECTED_MIN &&
		    swim_below(swim, 4) != 0) {
			member = swim->connected[swim_below(
			    swim, swim->connected_count)];
			if (!swim_is_live(member))
				member = swim_pick(swim, sent, i);
		} else
			member = swim_pick(swim, sent, i);
		if (member == NULL)
			break;
		memcpy(sent[i], member->alive->key, KEY_SIZE);
		swim_send(swim, member->alive->key, SWIM_GOSSIP, 0, NULL);
	}
}

/*
 * In a large mesh each node exchanges states less often, so that what it
 * sends, n statements a time, grows by log n and no more. A new node does so
 * often at first: of the many things that happen when many join, some pass it
 * by.
 */
int64_t
swim_sync_interval(const struct swim *swim)
{
	double scale = 1, size = (double)swim->live_count / SYNC_FLAT;

	if (size > 1)
		scale = fmax(1 + ceil(log2(size)), size / (1 + log2(size)));
	return ((int64_t)((double)swim->config.sync_interval * scale));
}

static void
sync_tick(struct swim *swim, int64_t now)
{
	struct swim_member *member = swim_pick(swim, NULL, 0);
	int64_t interval = swim_sync_interval(swim);

	if (swim->answered && swim->sync_wait < interval)
		swim->sync_wait *= 2;
	swim->next_sync = jitter(
	    swim, now, swim->sync_wait < interval ? swim->sync_wait : interval);
	if (member != NULL && swim->self->state == NODE_ALIVE)
		swim_send_sync(swim, member->alive->key, 0);
}

/* A failed node may be back, or we were cut off: ask one. */
static void
reconnect_tick(struct swim *swim, int64_t now)
{
	struct swim_member *member;
	int draw;

	swim->next_reconnect =
	    jitter(swim, now, swim->config.reconnect_interval);
	if (swim->self->state != NODE_ALIVE)
		return;
	for (draw = 0; draw < RECONNECT_DRAWS && swim->dead_count > 0; draw++) {
		member = swim->dead[swim_below(swim, swim->dead_count)];
		if (member->state != NODE_FAILED)
			continue;
		swim_send_sync(swim, member->alive->key, 0);
		return;
	}
}

static void
refute_tick(struct swim *swim, int64_t now)
{
	struct swim_pending *pending;

	if (!swim->refute_due || now < swim->next_refute)
		return;
	pending = swim_pend(swim, SWIM_DO_REFUTE);
	if (pending == NULL)
		return;
	pending->incarnation = swim->accused + 1;
	swim->refute_due = 0;
	swim->refuting = 1;
	swim->next_refute = now + swim->config.refute_interval;
	swim->counts.refuted++;
	/* Whoever accuses us all day does not make us slow: our own probes
	 * make that good. */
	if (!swim->refuted)
		swim_health(swim, 1);
	swim->refuted = 1;
}

void
swim_tick(struct swim *swim, int64_t now)
{
	if (swim->probe.active && !swim->probe.indirect &&
	    swim->probe.timeout_at <= now)
		swim_probe_timeout(swim, now);
	if (swim->next_probe <= now) {
		swim_probe_tick(swim, now);
		swim_forget_tick(swim, now);
	}
	swim_relays_tick(swim, now);
	swim_suspicions_tick(swim, now);
	refute_tick(swim, now);
	if (gossip_due(swim) && swim->next_gossip <= now)
		gossip_tick(swim, now);
	if (swim->next_sync <= now)
		sync_tick(swim, now);
	if (swim->next_reconnect <= now)
		reconnect_tick(swim, now);
}

/* --- updates ------------------------------------------------------------- */

/* Somebody says this node is gone, or knows a later life of it. */
static void
accused_self(struct swim *swim, uint64_t incarnation, int64_t now)
{
	if (swim->self->state != NODE_ALIVE ||
	    incarnation < swim->self->alive->incarnation ||
	    incarnation >= SWIM_INCARNATION_MAX)
		return;
	if (incarnation > swim->accused)
		swim->accused = incarnation;
	/* A signature that never came is asked for again. */
	if (swim->refuting &&
	    now < swim->next_refute + 5 * swim->config.refute_interval)
		return;
	swim->refuting = 0;
	swim->refute_due = 1;
	refute_tick(swim, now);
}

static int
incarnation_in_step(const struct swim_member *member, uint64_t incarnation)
{
	uint64_t known = swim_incarnation(member);

	return (incarnation > known && incarnation - known <= SWIM_STEP_MAX);
}

int
swim_wants(const struct swim *swim, enum swim_update_type type,
    const uint8_t key[KEY_SIZE], uint64_t incarnation)
{
	const struct swim_member *member = swim_find(swim, key);

	if (incarnation == 0 || incarnation > SWIM_INCARNATION_MAX)
		return (0);
	if (member == NULL)
		return (type == SWIM_ALIVE);
	if (member == swim->self)
		return (member->state == NODE_ALIVE &&
			((type != SWIM_ALIVE &&
			     incarnation == member->alive->incarnation) ||
			    ((type == SWIM_ALIVE || type == SWIM_LEAVE) &&
				incarnation_in_step(member, incarnation))));
	switch (type) {
	case SWIM_ALIVE:
		return (member->state != NODE_REVOKED &&
			incarnation_in_step(member, incarnation));
	case SWIM_SUSPECT:
	case SWIM_FAIL:
		return (swim_is_live(member) &&
			incarnation == swim_incarnation(member));
	case SWIM_LEAVE:
		return (incarnation_in_step(member, incarnation)
			    ? member->state != NODE_REVOKED
			    : incarnation == swim_incarnation(member) &&
				  (swim_is_live(member) ||
				      member->state == NODE_FAILED));
	}
	return (0);
}

static int
update_alive(struct swim *swim, struct swim_statement *statement, int synced,
    int64_t now)
{
	struct swim_member *member = swim_find(swim, statement->key);

	if (member == swim->self) {
		accused_self(swim, statement->incarnation, now);
		return (1);
	}
	if (member == NULL) {
		member = swim_member_add(swim, statement, now);
		if (member == NULL)
			return (-1);
	} else {
		/* The key in the table lies in the statement. */
		if (table_put(&swim->members, statement->key, member) == -1)
			return (-1);
		swim_statement_free(member->alive);
		member->alive = swim_statement_hold(statement);
		swim_statement_free(member->leave);
		member->leave = NULL;
		(void)swim_member_state(swim, member, NODE_ALIVE, now);
	}
	swim_changed(swim, member);
	swim_queue_put(swim, member, synced);
	return (1);
}

static int
update_leave(struct swim *swim, struct swim_statement *statement, int synced,
    int64_t now)
{
	struct swim_member *member = swim_find(swim, statement->key);

	if (member == swim->self) {
		if (statement->incarnation > member->alive->incarnation) {
			accused_self(swim, statement->incarnation, now);
			return (1);
		}
		member->state = NODE_LEFT;
		member->since = now;
		swim->refuting = swim->refute_due = 0;
	} else {
		(void)swim_member_state(swim, member, NODE_LEFT, now);
		swim_changed(swim, member);
	}
	swim_statement_free(member->leave);
	member->leave = swim_statement_hold(statement);
	swim_queue_put(swim, member, synced);
	return (1);
}

static int
update_accuse(struct swim *swim, const struct swim_update *update, int64_t now)
{
	struct swim_member *member = swim_find(swim, update->key);
	int shortest = update->type == SWIM_FAIL;

	if (member == swim->self) {
		accused_self(swim, update->incarnation, now);
		return (1);
	}
	if (member->state == NODE_ALIVE)
		return (
		    swim_suspect(swim, member, update->accuser, shortest, now));
	return (swim_confirm(swim, member, update->accuser, shortest, now));
}

/* An accusation that the accused has answered already, or that is of one
 * who left: the sender is to hear of it, when it is known (swim_receive()). */
static void
update_outdated(struct swim *swim, const struct swim_update *update)
{
	struct swim_member *member = swim_find(swim, update->key);

	if (member == NULL ||
	    (update->type != SWIM_SUSPECT && update->type != SWIM_FAIL))
		return;
	if ((member->state == NODE_LEFT &&
		member->leave->incarnation >= update->incarnation) ||
	    (member->state == NODE_ALIVE &&
		member->alive->incarnation > update->incarnation)) {
		swim->correct_set = 1;
		memcpy(swim->correct, update->key, KEY_SIZE);
	}
}

/* ALIVE and LEAVE have a statement, SUSPECT and FAIL may; it says the same. */
static int
update_valid(const struct swim_update *update)
{
	const struct swim_statement *statement = update->statement;

	if (update->type < SWIM_ALIVE || update->type > SWIM_LEAVE)
		return (0);
	if (statement == NULL)
		return (
		    update->type == SWIM_SUSPECT || update->type == SWIM_FAIL);
	return (memcmp(statement->key, update->key, KEY_SIZE) == 0 &&
		statement->length <= SWIM_STATEMENT_MAX &&
		statement->incarnation == update->incarnation);
}

int
swim_update(struct swim *swim, const struct swim_update *update, int64_t now)
{
	struct swim_statement *statement = update->statement;
	int accuses = update->type == SWIM_SUSPECT || update->type == SWIM_FAIL;

	if (!update_valid(update)) {
		errno = EINVAL;
		return (-1);
	}
	if (accuses && statement != NULL &&
	    swim_find(swim, update->key) != NULL &&
	    swim_wants(swim, SWIM_ALIVE, update->key, update->incarnation) &&
	    update_alive(swim, statement, update->synced, now) == -1)
		return (-1);
	if (!swim_wants(swim, update->type, update->key, update->incarnation)) {
		swim->counts.dropped +=
		    update->incarnation > SWIM_INCARNATION_MAX;
		update_outdated(swim, update);
		return (0);
	}
	if (accuses || statement == NULL)
		return (update_accuse(swim, update, now));
	if (update->type == SWIM_LEAVE)
		return (update_leave(swim, statement, update->synced, now));
	return (update_alive(swim, statement, update->synced, now));
}

int
swim_own(struct swim *swim, struct swim_statement *own, int64_t now)
{
	struct swim_member *self = swim->self;

	if (own->incarnation <= self->alive->incarnation ||
	    memcmp(own->key, self->alive->key, KEY_SIZE) != 0 ||
	    table_put(&swim->members, own->key, self) == -1) {
		errno = EINVAL;
		return (-1);
	}
	swim_statement_free(self->alive);
	self->alive = swim_statement_hold(own);
	swim->refuting = 0;
	if (swim->accused >= own->incarnation) {
		swim->refute_due = 1;
		refute_tick(swim, now);
	}
	if (self->state != NODE_ALIVE)
		return (0);
	swim_queue_put(swim, self, 0);
	if (!swim->refute_to_set)
		return (0);
	swim->refute_to_set = 0;
	swim_send_news(swim, swim->refute_to, self->alive->key, now);
	return (0);
}

void
swim_revoke(struct swim *swim, const uint8_t key[KEY_SIZE], int64_t now)
{
	struct swim_member *member = swim_find(swim, key);

	if (member == NULL || member == swim->self)
		return;
	if (swim_member_state(swim, member, NODE_REVOKED, now)) {
		swim_queue_drop(swim, member);
		swim_changed(swim, member);
	}
}

void
swim_contact(struct swim *swim, const uint8_t key[KEY_SIZE], int64_t now)
{
	(void)now;
	if (memcmp(key, swim->self->alive->key, KEY_SIZE) != 0)
		swim_send_sync(swim, key, 0);
}

void
swim_want_gossip(struct swim *swim, int wanted, int64_t now)
{
	swim->want_gossip = wanted != 0;
	if (swim->next_gossip < now)
		swim->next_gossip = now;
}

void
swim_count(const struct swim *swim, struct swim_counts *counts)
{
	*counts = swim->counts;
}

int
swim_left(const struct swim *swim)
{
	return (swim->self->state == NODE_LEFT &&
		(swim->live_count == 0 ||
		    (swim->self->flags & MEMBER_QUEUED) == 0));
}
