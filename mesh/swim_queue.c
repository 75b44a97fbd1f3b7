/*
 * mesh, unprivileged. What goes out: updates, told the least told first and
 * a bounded number of times; changes; actions. An update is not kept but
 * written from the member's state when it is sent, so there is one a member
 * and it is never old. See swim.h.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/rate.h"
#include "mesh/swim_internal.h"

#define SYNCED_TELLS 2 /* times that old news are told */

uint32_t
swim_retransmits(const struct swim *swim)
{
	double times =
	    ceil(swim->config.retransmit * log10((double)swim->live_count + 2));

	if (times < 1)
		return (1);
	return (
	    times > SWIM_TRANSMITS_MAX ? SWIM_TRANSMITS_MAX : (uint32_t)times);
}

static void
queue_link(struct swim *swim, struct swim_member *member, uint8_t transmits)
{
	member->transmits = transmits;
	member->queue_next = NULL;
	member->queue_previous = swim->queue_tail[transmits];
	if (member->queue_previous != NULL)
		member->queue_previous->queue_next = member;
	else
		swim->queue_head[transmits] = member;
	swim->queue_tail[transmits] = member;
	member->flags |= MEMBER_QUEUED;
	swim->counts.queued++;
}

void
swim_queue_drop(struct swim *swim, struct swim_member *member)
{
	if ((member->flags & MEMBER_QUEUED) == 0)
		return;
	if (member->queue_previous != NULL)
		member->queue_previous->queue_next = member->queue_next;
	else
		swim->queue_head[member->transmits] = member->queue_next;
	if (member->queue_next != NULL)
		member->queue_next->queue_previous = member->queue_previous;
	else
		swim->queue_tail[member->transmits] = member->queue_previous;
	member->flags &= (uint8_t)~MEMBER_QUEUED;
	swim->counts.queued--;
}

/* Push out what was told most. */
static void
queue_shorten(struct swim *swim)
{
	int i;

	for (i = SWIM_TRANSMITS_MAX - 1; i >= 0; i--) {
		if (swim->queue_head[i] == NULL)
			continue;
		swim_queue_drop(swim, swim->queue_head[i]);
		swim->counts.dropped++;
		return;
	}
}

void
swim_queue_put(struct swim *swim, struct swim_member *member, int synced)
{
	uint32_t limit = swim_retransmits(swim), start = 0;

	if (synced && limit > SYNCED_TELLS)
		start = limit - SYNCED_TELLS;
	swim_queue_drop(swim, member);
	if (swim->counts.queued >= swim->config.queue)
		queue_shorten(swim);
	queue_link(swim, member, (uint8_t)start);
}

int
swim_queue_empty(const struct swim *swim)
{
	return (swim->counts.queued == 0);
}

/* What is to be said of a member; 0 when nothing. */
static int
update_write(const struct swim *swim, const struct swim_member *member,
    int sync, struct swim_update *update)
{
	const struct swim_suspicion *suspicion = member->suspicion;

	memset(update, 0, sizeof(*update));
	memcpy(update->key, member->alive->key, KEY_SIZE);
	update->incarnation = member->alive->incarnation;
	switch (member->state) {
	case NODE_ALIVE:
		update->type = SWIM_ALIVE;
		update->statement = member->alive;
		return (1);
	case NODE_SUSPECT:
		update->type = SWIM_SUSPECT;
		memcpy(update->accuser,
		    suspicion->accusers[suspicion->confirmed], KEY_SIZE);
		break;
	case NODE_FAILED:
		update->type = SWIM_FAIL;
		memcpy(update->accuser, swim->self->alive->key, KEY_SIZE);
		break;
	case NODE_LEFT:
		update->type = SWIM_LEAVE;
		update->incarnation = member->leave->incarnation;
		update->statement = member->leave;
		return (1);
	default:
		return (0); /* revocations travel by themselves */
	}
	if (sync)
		update->statement = member->alive;
	return (1);
}

static size_t
update_bytes(const struct swim_update *update)
{
	return (update->statement == NULL ? 0 : update->statement->length);
}

/*
 * Updates for one message: first (or NULL), then, unless bare, from the queue.
 * Each taken from the queue counts as told once more.
 */
static size_t
updates_take(struct swim *swim, const struct swim_member *first, int bare)
{
	struct swim_member *taken[SWIM_UPDATES] = { NULL }, *member;
	uint32_t limit = swim_retransmits(swim), i;
	size_t count = 0, bytes = 0, from_queue = 0, k;

	if (first != NULL && update_write(swim, first, 0, &swim->updates[0]))
		bytes += update_bytes(&swim->updates[count++]);
	if (bare)
		return (count);
	for (i = 0; i < SWIM_TRANSMITS_MAX && count < SWIM_UPDATES; i++) {
		for (member = swim->queue_head[i];
		     member != NULL && count < SWIM_UPDATES;
		     member = member->queue_next) {
			if (member == first || !update_write(swim, member, 0,
						   &swim->updates[count]))
				continue;
			bytes += update_bytes(&swim->updates[count]);
			if (bytes > SWIM_UPDATE_BYTES)
				goto full;
			taken[from_queue++] = member;
			count++;
		}
	}
full:
	for (k = 0; k < from_queue; k++) {
		member = taken[k];
		swim_queue_drop(swim, member);
		if (member->transmits + 1U < limit)
			queue_link(
			    swim, member, (uint8_t)(member->transmits + 1));
	}
	return (count);
}

/* The next part of a push-pull: self, live, dead, from cursor on. */
static size_t
sync_take(struct swim *swim, struct swim_pending *pending)
{
	const struct swim_member *member;
	uint32_t all, i;
	size_t count = 0, bytes = 0;

	all = 1 + swim->live_count + swim->dead_count;
	for (i = pending->cursor;
	     i < all && count < SWIM_SYNC && bytes < SWIM_SYNC_BYTES; i++) {
		if (i == 0)
			member = swim->self;
		else if (i <= swim->live_count)
			member = swim->live[i - 1];
		else
			member = swim->dead[i - 1 - swim->live_count];
		if (!update_write(swim, member, 1, &swim->updates[count]))
			continue;
		swim->updates[count].synced = 1;
		bytes += update_bytes(&swim->updates[count++]);
	}
	pending->cursor = i < all ? i : 0;
	return (count);
}

void
swim_changed(struct swim *swim, struct swim_member *member)
{
	if ((member->flags & MEMBER_CHANGED) != 0 || member == swim->self)
		return;
	member->flags |= MEMBER_CHANGED;
	member->changed_next = NULL;
	if (swim->changed_tail != NULL)
		swim->changed_tail->changed_next = member;
	else
		swim->changed_head = member;
	swim->changed_tail = member;
}

/* A new action, zeroed, at the end; NULL when memory is short: messages may
 * be lost anyway. */
struct swim_pending *
swim_pend(struct swim *swim, enum swim_action_type type)
{
	struct swim_pending *pending;

	if (swim->pending_first > 0 &&
	    swim->pending_first == swim->pending_count)
		swim->pending_first = swim->pending_count = 0;
	pending = swim_grow(swim->pending, swim->pending_count,
	    &swim->pending_size, sizeof(*pending));
	if (pending == NULL) {
		swim->counts.dropped++;
		return (NULL);
	}
	swim->pending = pending;
	pending = &pending[swim->pending_count++];
	memset(pending, 0, sizeof(*pending));
	pending->type = type;
	return (pending);
}

static struct swim_pending *
message_pend(struct swim *swim, const uint8_t node[KEY_SIZE],
    enum swim_message_type type, uint64_t sequence, const uint8_t *target)
{
	struct swim_pending *pending = swim_pend(swim, SWIM_DO_SEND);

	if (pending == NULL)
		return (NULL);
	memcpy(pending->node, node, KEY_SIZE);
	pending->message.type = type;
	pending->message.sequence = sequence;
	memcpy(pending->message.target,
	    target == NULL ? swim->self->alive->key : target, KEY_SIZE);
	return (pending);
}

void
swim_send(struct swim *swim, const uint8_t node[KEY_SIZE],
    enum swim_message_type type, uint64_t sequence, const uint8_t *target)
{
	(void)message_pend(swim, node, type, sequence, target);
}

/* May what goes out for it take news along? Once in a while. */
static int
may_be_told(const struct swim *swim, const uint8_t asker[KEY_SIZE], int64_t now)
{
	struct swim_member *member = swim_find(swim, asker);

	return (member != NULL && rate_take(&member->told_due, now, 1,
				      swim->config.gossip_interval, 0) == 0);
}

void
swim_answer(struct swim *swim, const uint8_t node[KEY_SIZE],
    enum swim_message_type type, uint64_t sequence, const uint8_t *target,
    const uint8_t asker[KEY_SIZE], int64_t now)
{
	struct swim_pending *pending =
	    message_pend(swim, node, type, sequence, target);

	if (pending != NULL)
		pending->message.reply = !may_be_told(swim, asker, now);
}

void
swim_send_sync(struct swim *swim, const uint8_t node[KEY_SIZE], int reply)
{
	struct swim_pending *pending = swim_pend(swim, SWIM_DO_SEND);

	if (pending == NULL)
		return;
	memcpy(pending->node, node, KEY_SIZE);
	pending->message.type = SWIM_PUSH_PULL;
	pending->message.reply = reply;
}

void
swim_send_news(struct swim *swim, const uint8_t node[KEY_SIZE],
    const uint8_t about[KEY_SIZE], int64_t now)
{
	struct swim_pending *pending =
	    message_pend(swim, node, SWIM_GOSSIP, 0, NULL);

	if (pending == NULL)
		return;
	pending->message.reply = !may_be_told(swim, node, now);
	pending->has_first = 1;
	memcpy(pending->first, about, KEY_SIZE);
}

/*
 * The buddy system: whoever is suspected or believed gone hears it from the
 * first message, to refute it soon.
 */
static const struct swim_member *
send_first(const struct swim *swim, const struct swim_pending *pending)
{
	const struct swim_member *member;

	if (pending->has_first)
		return (swim_find(swim, pending->first));
	member = swim_find(swim, pending->node);
	if (member == NULL || member->state == NODE_ALIVE)
		return (NULL);
	return (member);
}

/* Fill in a message; 1, or 0 when there is nothing to be sent. *again: the
 * action is not done yet. */
static int
send_write(struct swim *swim, struct swim_pending *pending,
    struct swim_action *action, int *again)
{
	*again = 0;
	memcpy(action->node, pending->node, KEY_SIZE);
	action->message = pending->message;
	action->updates = swim->updates;
	switch (pending->message.type) {
	case SWIM_NACK:
		return (1);
	case SWIM_PUSH_PULL:
		action->update_count = sync_take(swim, pending);
		if (pending->cursor != 0) {
			*again = 1;
			action->message.reply = 1; /* only the last */
			action->message.more = 1;
		}
		return (1);
	default:
		action->update_count = updates_take(
		    swim, send_first(swim, pending), pending->message.reply);
		return (pending->message.type != SWIM_GOSSIP ||
			action->update_count > 0 ||
			(swim->want_gossip && !action->message.reply));
	}
}

static int
changed_next(struct swim *swim, struct swim_action *action)
{
	struct swim_member *member = swim->changed_head;

	if (member == NULL)
		return (0);
	swim->changed_head = member->changed_next;
	if (swim->changed_head == NULL)
		swim->changed_tail = NULL;
	member->flags &= (uint8_t)~MEMBER_CHANGED;
	action->type = SWIM_DO_CHANGED;
	action->member = member;
	action->was = member->reported;
	action->now = member->state;
	member->reported = member->state;
	if ((member->flags & MEMBER_FORGOTTEN) != 0) {
		action->now = 0;
		swim->gone = member;
	}
	return (1);
}

int
swim_next(struct swim *swim, struct swim_action *action)
{
	struct swim_pending *pending;
	int again, good;

	swim_member_free(swim->gone);
	swim->gone = NULL;
	memset(action, 0, sizeof(*action));
	if (changed_next(swim, action))
		return (1);
	while (swim->pending_first < swim->pending_count) {
		pending = &swim->pending[swim->pending_first];
		action->type = pending->type;
		again = 0;
		good = 1;
		if (pending->type == SWIM_DO_REFUTE)
			action->incarnation = pending->incarnation;
		else
			good = send_write(swim, pending, action, &again);
		if (!again)
			swim->pending_first++;
		if (good)
			return (1);
	}
	return (0);
}
