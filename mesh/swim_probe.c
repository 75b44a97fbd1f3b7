/*
 * mesh, unprivileged. Probes: each period one member is pinged, in a random
 * order that visits everybody; if no ack comes, some others are asked to
 * ping it, and answer with a nack if they get none either. How well our own
 * probes fare is the local health (Lifeguard), which stretches our times
 * when it is we who are slow. See swim.h.
 */

#include <string.h>

#include "common/util/rate.h"
#include "mesh/swim_internal.h"

void
swim_health(struct swim *swim, int delta)
{
	int health = (int)swim->counts.health + delta;

	if (health < 0)
		health = 0;
	if (health > (int)swim->config.health_max)
		health = (int)swim->config.health_max;
	swim->counts.health = (uint32_t)health;
}

/* The next one of a round: a random one of those not yet probed in it. */
static struct swim_member *
probe_choose(struct swim *swim)
{
	struct swim_member *member;
	uint32_t other;

	if (swim->live_count == 0)
		return (NULL);
	if (swim->cursor >= swim->live_count)
		swim->cursor = 0;
	other =
	    swim->cursor + swim_below(swim, swim->live_count - swim->cursor);
	member = swim->live[other];
	swim->live[other] = swim->live[swim->cursor];
	swim->live[other]->slot = other;
	swim->live[swim->cursor] = member;
	member->slot = swim->cursor++;
	return (member);
}

/* The period is over and no ack came. */
static void
probe_failed(struct swim *swim, int64_t now)
{
	struct swim_probe *probe = &swim->probe;
	struct swim_member *member = swim_find(swim, probe->target);
	uint32_t i, missed = 0;

	swim->counts.probes_failed++;
	for (i = 0; i < probe->relays; i++)
		missed += (probe->nacked >> i & 1) == 0;
	swim_health(swim, probe->relays > 0 ? (int)missed : 1);
	if (member == NULL || swim_incarnation(member) != probe->incarnation)
		return;
	if (member->state == NODE_ALIVE)
		(void)swim_suspect(
		    swim, member, swim->self->alive->key, 0, now);
	else if (member->state == NODE_SUSPECT)
		(void)swim_confirm(
		    swim, member, swim->self->alive->key, 0, now);
}

/* End one period and begin the next. */
void
swim_probe_tick(struct swim *swim, int64_t now)
{
	struct swim_probe *probe = &swim->probe;
	struct swim_member *member;
	int64_t stretch;

	if (probe->active)
		probe_failed(swim, now);
	memset(probe, 0, sizeof(*probe));
	swim->refuted = 0;
	stretch = (int64_t)swim->counts.health + 1;
	swim->next_probe = now + swim->config.probe_interval * stretch;
	if (swim->self->state != NODE_ALIVE ||
	    (member = probe_choose(swim)) == NULL)
		return;
	probe->active = 1;
	memcpy(probe->target, member->alive->key, KEY_SIZE);
	probe->incarnation = swim_incarnation(member);
	probe->sequence = ++swim->sequence << 8 | SWIM_OWN_PROBE;
	probe->sent_at = now;
	probe->timeout_at = now + swim->config.probe_timeout * stretch;
	swim->counts.probes++;
	swim_send(
	    swim, probe->target, SWIM_PING, probe->sequence, probe->target);
}

/* No ack yet: ask others. */
void
swim_probe_timeout(struct swim *swim, int64_t now)
{
	struct swim_probe *probe = &swim->probe;
	struct swim_member *member;
	uint8_t not [SWIM_INDIRECT_MAX + 1][KEY_SIZE];
	uint32_t i;

	(void)now;
	probe->indirect = 1;
	memcpy(not [0], probe -> target, KEY_SIZE);
	for (i = 0; i < swim->config.indirect; i++) {
		member = swim_pick(swim, not, i + 1);
		if (member == NULL)
			break;
		memcpy(not [i + 1], member -> alive -> key, KEY_SIZE);
		memcpy(probe->relay[i], member->alive->key, KEY_SIZE);
		swim_send(swim, member->alive->key, SWIM_PING_REQ,
		    probe->sequence, probe->target);
	}
	probe->relays = i;
}

/* How many of the probes that wait are for from? */
static uint32_t
relays_of(const struct swim *swim, const uint8_t from[KEY_SIZE])
{
	const struct swim_relay *relay;
	uint32_t i, count = 0;

	for (i = 0; i < swim->relay_waiting; i++) {
		relay = &swim->relays[(swim->relay_oldest + i) % SWIM_RELAYS];
		count += memcmp(relay->from, from, KEY_SIZE) == 0;
	}
	return (count);
}

static void
receive_ping_req(struct swim *swim, const uint8_t from[KEY_SIZE],
    const struct swim_message *message, int64_t now)
{
	struct swim_relay *relay;
	uint32_t slot;

	if (memcmp(message->target, swim->self->alive->key, KEY_SIZE) == 0) {
		swim_answer(
		    swim, from, SWIM_ACK, message->sequence, NULL, from, now);
		return;
	}
	if (swim_find(swim, message->target) == NULL ||
	    swim->relay_waiting == SWIM_RELAYS ||
	    relays_of(swim, from) >= SWIM_RELAYS_ONE) {
		swim_send(
		    swim, from, SWIM_NACK, message->sequence, message->target);
		return;
	}
	slot = (swim->relay_oldest + swim->relay_waiting++) % SWIM_RELAYS;
	relay = &swim->relays[slot];
	relay->sequence = ++swim->sequence << 8 | slot;
	relay->asked = message->sequence;
	relay->nack_at = now + swim->config.probe_timeout * 4 / 5;
	memcpy(relay->from, from, KEY_SIZE);
	memcpy(relay->target, message->target, KEY_SIZE);
	swim_answer(swim, relay->target, SWIM_PING, relay->sequence,
	    relay->target, from, now);
}

/* Tell who asked that no ack came in time. One that comes yet is still
 * passed on, until the slot is used again. */
void
swim_relays_tick(struct swim *swim, int64_t now)
{
	struct swim_relay *relay;

	while (swim->relay_waiting > 0) {
		relay = &swim->relays[swim->relay_oldest];
		if (relay->nack_at > now)
			break;
		if (relay->sequence != 0)
			swim_send(swim, relay->from, SWIM_NACK, relay->asked,
			    relay->target);
		swim->relay_oldest = (swim->relay_oldest + 1) % SWIM_RELAYS;
		swim->relay_waiting--;
	}
}

static int
probe_relay_find(const struct swim_probe *probe, const uint8_t from[KEY_SIZE])
{
	uint32_t i;

	for (i = 0; i < probe->relays; i++)
		if (memcmp(probe->relay[i], from, KEY_SIZE) == 0)
			return ((int)i);
	return (-1);
}

static void
probe_acked(struct swim *swim, const uint8_t from[KEY_SIZE], int64_t now)
{
	struct swim_probe *probe = &swim->probe;
	struct swim_member *member;
	int64_t rtt = now - probe->sent_at;

	if (memcmp(from, probe->target, KEY_SIZE) == 0) {
		member = swim_find(swim, from);
		if (member != NULL)
			member->rtt = member->rtt == 0
					  ? rtt
					  : (7 * member->rtt + rtt) / 8;
	} else if (probe_relay_find(probe, from) == -1)
		return;
	probe->active = 0;
	swim_health(swim, -1);
}

static void
receive_ack(struct swim *swim, const uint8_t from[KEY_SIZE],
    const struct swim_message *message, int64_t now)
{
	struct swim_relay *relay;
	uint32_t slot = message->sequence & 0xff;

	if (slot == SWIM_OWN_PROBE) {
		if (swim->probe.active &&
		    message->sequence == swim->probe.sequence)
			probe_acked(swim, from, now);
		return;
	}
	if (slot >= SWIM_RELAYS)
		return;
	relay = &swim->relays[slot];
	if (relay->sequence != message->sequence ||
	    memcmp(relay->target, from, KEY_SIZE) != 0)
		return;
	relay->sequence = 0;
	swim_answer(swim, relay->from, SWIM_ACK, relay->asked, relay->target,
	    relay->from, now);
}

static void
receive_nack(struct swim *swim, const uint8_t from[KEY_SIZE],
    const struct swim_message *message)
{
	struct swim_probe *probe = &swim->probe;
	int relay;

	if (!probe->active || message->sequence != probe->sequence ||
	    (relay = probe_relay_find(probe, from)) == -1)
		return;
	probe->nacked |= 1U << relay;
}

/* A push-pull costs us the whole list: answer a bounded number a second, and
 * so few to one member, or to all who say nothing of themselves, that there are
 * some left for the others. */
static void
receive_push_pull(struct swim *swim, struct swim_member *member,
    const uint8_t from[KEY_SIZE], const struct swim_message *message,
    int64_t now)
{
	int64_t *due;

	if (message->reply) {
		swim->answered = 1;
		return;
	}
	due = member != NULL ? &member->answers_due : &swim->strangers_due;
	if (rate_take(due, now, SWIM_ANSWERS_ONE, SWIM_ANSWERS_IN, 0) > 0 ||
	    rate_take(&swim->answers_due, now, SWIM_ANSWERS, SWIM_ANSWERS_IN,
		0) > 0) {
		swim->counts.dropped++;
		return;
	}
	swim_send_sync(swim, from, 1);
}

/*
 * Who speaks and is unknown, or believed gone, has news: ask for it, at most
 * once a period whoever it is.
 */
static void
receive_stranger(struct swim *swim, const struct swim_member *member,
    const uint8_t from[KEY_SIZE], const struct swim_message *message,
    int64_t now)
{
	if (member != NULL &&
	    (swim_is_live(member) || member->state == NODE_REVOKED))
		return;
	if (message->type == SWIM_PUSH_PULL || swim->next_contact > now)
		return;
	swim->next_contact = now + swim->config.probe_interval;
	swim_send_sync(swim, from, 0);
}

void
swim_receive(struct swim *swim, const uint8_t from[KEY_SIZE],
    const struct swim_message *message, int64_t now)
{
	struct swim_member *member = swim_find(swim, from);

	if (member == swim->self)
		return;
	if (member != NULL)
		member->last_seen = now;
	receive_stranger(swim, member, from, message, now);
	if (swim->refuting || swim->refute_due) {
		swim->refute_to_set = 1;
		memcpy(swim->refute_to, from, KEY_SIZE);
	}
	if (swim->correct_set &&
	    (member == NULL || member->state != NODE_REVOKED))
		swim_send_news(swim, from, swim->correct, now);
	swim->correct_set = 0;
	switch (message->type) {
	case SWIM_PING:
		if (memcmp(message->target, swim->self->alive->key, KEY_SIZE) ==
		    0)
			swim_answer(swim, from, SWIM_ACK, message->sequence,
			    NULL, from, now);
		break;
	case SWIM_PING_REQ:
		receive_ping_req(swim, from, message, now);
		break;
	case SWIM_ACK:
		receive_ack(swim, from, message, now);
		break;
	case SWIM_NACK:
		receive_nack(swim, from, message);
		break;
	case SWIM_PUSH_PULL:
		receive_push_pull(swim, member, from, message, now);
		break;
	case SWIM_GOSSIP:
		break;
	}
}
