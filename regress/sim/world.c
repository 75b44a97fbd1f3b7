/* Test. The simulator's randomness, time and network; see sim.h. */

#include <err.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "regress/sim/sim.h"

#define STEP (100 * MS)

/* splitmix64, https://prng.di.unimi.it/splitmix64.c (public domain). */
uint64_t
sim_mix(uint64_t a, uint64_t b)
{
	uint64_t z = a + (b + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31));
}

void
sim_random_seed(struct sim_random *random, uint64_t seed)
{
	int i;

	for (i = 0; i < 4; i++)
		random->state[i] = sim_mix(seed, (uint64_t)i);
}

static uint64_t
rotate(uint64_t x, int k)
{
	return (x << k | x >> (64 - k));
}

/* xoshiro256**, https://prng.di.unimi.it/ (public domain). */
uint64_t
sim_random(struct sim_random *random)
{
	uint64_t *s = random->state;
	uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return (result);
}

double
sim_random_unit(struct sim_random *random)
{
	return ((double)(sim_random(random) >> 11) / 9007199254740992.0);
}

void
sim_init(struct sim *sim, uint64_t seed, uint32_t nodes)
{
	struct sim_node *node;
	uint32_t i, k;

	memset(sim, 0, sizeof(*sim));
	sim->seed = seed;
	sim_random_seed(&sim->random, seed);
	sim->network.base_min = MS / 2;
	sim->network.base_max = 60 * MS;
	sim->network.jitter = 2 * MS;
	sim->network.hold = 200 * MS;
	swim_config_default(&sim->config);
	sim->count = nodes;
	sim->nodes = calloc(nodes, sizeof(*sim->nodes));
	if (sim->nodes == NULL)
		err(1, "calloc");
	for (i = 0; i < nodes; i++) {
		node = &sim->nodes[i];
		node->sim = sim;
		node->index = i;
		sim_random_seed(&node->random, sim_mix(seed, i + 1000));
		for (k = 0; k < KEY_SIZE; k++)
			node->key[k] = (uint8_t)sim_mix(seed + i, k);
		for (k = 0; k < 4; k++)
			node->key[k] = (uint8_t)(i >> (8 * k));
	}
}

void
sim_message_free(struct sim_message *message)
{
	struct sim_blob *blob;
	size_t i;

	if (message == NULL)
		return;
	for (i = 0; i < message->update_count; i++)
		swim_statement_free(message->updates[i].statement);
	while ((blob = message->blobs) != NULL) {
		message->blobs = blob->next;
		free(blob);
	}
	free(message->updates);
	free(message->digests);
	free(message);
}

void
sim_free(struct sim *sim)
{
	size_t i;

	for (i = 0; i < sim->count; i++)
		sim_node_stop(&sim->nodes[i]);
	for (i = 0; i < sim->event_count; i++)
		sim_message_free(sim->events[i].message);
	free(sim->events);
	free(sim->nodes);
}

/* --- events -------------------------------------------------------------- */

static int
event_before(const struct sim_event *a, const struct sim_event *b)
{
	return (a->at != b->at ? a->at < b->at : a->order < b->order);
}

void
sim_event(struct sim *sim, int64_t at, enum sim_event_type type,
    struct sim_node *node, uint64_t number, struct sim_message *message)
{
	struct sim_event event;
	size_t place;

	if (sim->event_count == sim->event_size) {
		sim->event_size = sim->event_size * 2 + 1024;
		sim->events = reallocarray(
		    sim->events, sim->event_size, sizeof(*sim->events));
		if (sim->events == NULL)
			err(1, "reallocarray");
	}
	event = (struct sim_event){ at < sim->now ? sim->now : at, sim->order++,
		type, node->index, node->life, number, message };
	place = sim->event_count++;
	while (
	    place > 0 && event_before(&event, &sim->events[(place - 1) / 2])) {
		sim->events[place] = sim->events[(place - 1) / 2];
		place = (place - 1) / 2;
	}
	sim->events[place] = event;
}

static struct sim_event
event_take(struct sim *sim)
{
	struct sim_event first = sim->events[0], last;
	size_t place = 0, child;

	last = sim->events[--sim->event_count];
	while ((child = 2 * place + 1) < sim->event_count) {
		if (child + 1 < sim->event_count &&
		    event_before(&sim->events[child + 1], &sim->events[child]))
			child++;
		if (!event_before(&sim->events[child], &last))
			break;
		sim->events[place] = sim->events[child];
		place = child;
	}
	sim->events[place] = last;
	return (first);
}

/* --- the network --------------------------------------------------------- */

static struct sim_message *
message_copy(const struct sim_message *message)
{
	struct sim_message *copy = calloc(1, sizeof(*copy));
	struct sim_blob *blob, **end;
	size_t i;

	if (copy == NULL)
		err(1, "calloc");
	*copy = *message;
	copy->updates =
	    calloc(message->update_count + 1, sizeof(*copy->updates));
	copy->digests =
	    calloc(message->digest_count + 1, sizeof(*copy->digests));
	if (copy->updates == NULL || copy->digests == NULL)
		err(1, "calloc");
	if (message->digest_count > 0)
		memcpy(copy->digests, message->digests,
		    message->digest_count * sizeof(*copy->digests));
	for (i = 0; i < message->update_count; i++) {
		copy->updates[i] = message->updates[i];
		if (copy->updates[i].statement != NULL)
			(void)swim_statement_hold(copy->updates[i].statement);
	}
	end = &copy->blobs;
	for (blob = message->blobs; blob != NULL; blob = blob->next) {
		*end = malloc(sizeof(*blob) + blob->length);
		if (*end == NULL)
			err(1, "malloc");
		memcpy(*end, blob, sizeof(*blob) + blob->length);
		end = &(*end)->next;
	}
	*end = NULL;
	return (copy);
}

/* About what it would be on the wire, TLS records apart. */
static uint64_t
message_bytes(const struct sim_message *message)
{
	const struct sim_blob *blob;
	uint64_t bytes = 40 + 40 * message->digest_count;
	size_t i;

	for (i = 0; i < message->update_count; i++)
		bytes +=
		    100 + (message->updates[i].statement != NULL ? 500 : 0);
	for (blob = message->blobs; blob != NULL; blob = blob->next)
		bytes += 150 + 450 * ((blob->length - sizeof(struct sim_sync)) /
					 sizeof(struct sim_claim));
	return (bytes);
}

static int64_t
link_delay(struct sim *sim, uint32_t from, uint32_t to)
{
	const struct sim_network *network = &sim->network;
	uint64_t width;
	int64_t delay;

	/* Each link has a base of its own, the same both ways. */
	width = (uint64_t)(network->base_max - network->base_min) + 1;
	delay = network->base_min +
		(int64_t)(sim_mix(sim->seed ^ 0x6c696e6b,
			      ((uint64_t)(from < to ? from : to) << 32) |
				  (from < to ? to : from)) %
			  width);
	delay += (int64_t)(-log(1 - sim_random_unit(&sim->random)) *
			   (double)network->jitter);
	if (sim_random_unit(&sim->random) < network->reorder)
		delay += (int64_t)(sim_random_unit(&sim->random) *
				   (double)network->hold);
	return (delay);
}

static void
message_post(struct sim *sim, struct sim_message *message)
{
	int64_t delay = link_delay(sim, message->from, message->to);

	sim->counts.delay += (uint64_t)delay;
	sim_event(sim, sim->now + delay, SIM_EVENT_MESSAGE,
	    &sim->nodes[message->to], (uint64_t)sim->now, message);
}

void
sim_send(struct sim *sim, struct sim_message *message)
{
	struct sim_node *from = &sim->nodes[message->from];
	struct sim_node *to = &sim->nodes[message->to];

	sim->counts.sent++;
	sim->counts.bytes += message_bytes(message);
	if (message->kind == SIM_SWIM)
		sim->counts.types[message->swim.type]++;
	if (sim->cut[from->group][to->group]) {
		sim->counts.cut++;
		sim_message_free(message);
		return;
	}
	if (sim_random_unit(&sim->random) < sim->network.drop) {
		sim->counts.dropped++;
		sim_message_free(message);
		return;
	}
	if (sim_random_unit(&sim->random) < sim->network.duplicate) {
		sim->counts.duplicated++;
		message_post(sim, message_copy(message));
	}
	message_post(sim, message);
}

/* A partition also stops what is on the way. */
static int
message_arrives(
    struct sim *sim, struct sim_node *to, const struct sim_event *event)
{
	struct sim_node *from = &sim->nodes[event->message->from];

	if (sim->cut[from->group][to->group]) {
		sim->counts.cut++;
		return (0);
	}
	if (!to->up) {
		sim->counts.to_down++;
		return (0);
	}
	sim->counts.delivered++;
	sim->counts.crossed += from->group != to->group;
	if (event->number < to->last_sent_at)
		sim->counts.overtaken++;
	to->last_sent_at = event->number;
	return (1);
}

static void
trace_event(struct sim *sim, const struct sim_event *event)
{
	uint64_t what = (uint64_t)event->type << 32 | event->node;

	if (event->message != NULL)
		what ^= event->message->swim.sequence ^
			(uint64_t)event->message->update_count << 48 ^
			(uint64_t)event->message->from << 20;
	sim->trace = sim_mix(sim->trace ^ (uint64_t)event->at, what);
}

static void
event_handle(struct sim *sim, struct sim_event *event)
{
	struct sim_node *node = &sim->nodes[event->node];

	if (node->up && node->paused_until > sim->now) {
		/* The process hangs: all waits until it goes on. */
		sim_event(sim, node->paused_until, event->type, node,
		    event->number, event->message);
		return;
	}
	trace_event(sim, event);
	sim->handled++;
	if (event->type == SIM_EVENT_MESSAGE) {
		if (message_arrives(sim, node, event))
			sim_node_event(node, event);
		sim_message_free(event->message);
	} else if (node->up && event->life == node->life)
		sim_node_event(node, event);
}

uint64_t
sim_flying(const struct sim *sim)
{
	uint64_t flying = 0;
	size_t i;

	for (i = 0; i < sim->event_count; i++)
		flying += sim->events[i].message != NULL;
	return (flying);
}

void
sim_run(struct sim *sim, int64_t until)
{
	struct sim_event event;

	while (sim->event_count > 0 && sim->events[0].at <= until) {
		event = event_take(sim);
		sim->now = event.at;
		event_handle(sim, &event);
	}
	sim->now = until;
}

int
sim_run_to(struct sim *sim, int (*done)(struct sim *), int64_t until)
{
	while (!done(sim)) {
		if (sim->now >= until)
			return (0);
		sim_run(sim, sim->now + STEP < until ? sim->now + STEP : until);
	}
	return (1);
}

void
sim_figure(struct sim *sim, const char *name, double value)
{
	if (sim->figure_count == SIM_FIGURES)
		errx(1, "too many figures");
	sim->figures[sim->figure_count].name = name;
	sim->figures[sim->figure_count++].value = value;
}

/* The first reason is kept. */
void
sim_fail(struct sim *sim, const char *format, ...)
{
	va_list ap;

	if (sim->failed++)
		return;
	va_start(ap, format);
	(void)vsnprintf(sim->why, sizeof(sim->why), format, ap);
	va_end(ap);
}
