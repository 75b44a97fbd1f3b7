/* Test. The simulator's randomness, time and network; see sim.h. */

#include <err.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "regress/fuzz/fuzz.h"
#include "regress/sim/house.h"

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
	fuzz_seed(seed); /* of tables and keys */
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
	for (i = 0; i < sim->count; i++) {
		free(sim->nodes[i].saved);
		if (sim->nodes[i].house != NULL) {
			free(sim->nodes[i].house->heard);
			free(sim->nodes[i].house);
		}
	}
	sim_talks_free(sim);
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
	if (message->kind == SIM_STREAM)
		return (message->blobs->length);
	for (blob = message->blobs; blob != NULL; blob = blob->next)
		bytes += 150 + 450 * ((blob->length - sizeof(struct sim_sync)) /
					 sizeof(struct sim_claim));
	return (bytes);
}

/* [0, 1), of a link and what for; the same each time. */
static double
link_draw(const struct sim *sim, uint32_t from, uint32_t to, uint64_t what)
{
	uint64_t link = (uint64_t)from << 32 | to;

	return ((double)(sim_mix(sim_mix(sim->seed ^ 0x6c696e6b, link), what) >>
			 11) /
		9007199254740992.0);
}

/* What the link from one node to another is like: all of it follows from
 * the seed. The base is the same both ways, the rest is each way's own. */
void
sim_link(
    const struct sim *sim, uint32_t from, uint32_t to, struct sim_link *link)
{
	const struct sim_network *network = &sim->network;
	uint32_t low = from < to ? from : to, high = from < to ? to : from;

	link->base = network->base_min +
		     (int64_t)(link_draw(sim, low, high, 0) *
			       (double)(network->base_max - network->base_min));
	/* From a quarter to four times the mean, evenly by its logarithm. */
	link->jitter = (int64_t)((double)network->jitter *
				 pow(4, 2 * link_draw(sim, from, to, 1) - 1) *
				 log(4) * 2 / (4 - 0.25));
	link->shape =
	    (enum sim_shape)(link_draw(sim, from, to, 2) * SIM_SHAPES);
	link->drop = network->drop * 2 * link_draw(sim, from, to, 3);
	link->duplicate = network->duplicate * 2 * link_draw(sim, from, to, 4);
	link->reorder = network->reorder * 2 * link_draw(sim, from, to, 5);
}

/* A draw with mean 1. */
static double
link_jitter(struct sim *sim, enum sim_shape shape)
{
	double u = 1 - sim_random_unit(&sim->random); /* (0, 1] */
	double v = sim_random_unit(&sim->random);

	switch (shape) {
	case SIM_LOGNORMAL:
		return (exp(sqrt(-2 * log(u)) * cos(2 * M_PI * v) - 0.5));
	case SIM_PARETO:
		return (2 * (pow(u, -1.0 / 3) - 1));
	default:
		return (-log(u));
	}
}

static int64_t
link_delay(struct sim *sim, const struct sim_link *link)
{
	int64_t delay = link->base;

	delay +=
	    (int64_t)(link_jitter(sim, link->shape) * (double)link->jitter);
	if (sim_random_unit(&sim->random) < link->reorder)
		delay += (int64_t)(sim_random_unit(&sim->random) *
				   (double)sim->network.hold);
	return (delay);
}

static void
message_post(
    struct sim *sim, const struct sim_link *link, struct sim_message *message)
{
	int64_t delay = link_delay(sim, link);

	sim->counts.delay += (uint64_t)delay;
	sim_event(sim, sim->now + delay, SIM_EVENT_MESSAGE,
	    &sim->nodes[message->to], (uint64_t)sim->now, message);
}

void
sim_send(struct sim *sim, struct sim_message *message)
{
	struct sim_node *from = &sim->nodes[message->from];
	struct sim_node *to = &sim->nodes[message->to];
	struct sim_link link;

	sim->counts.sent++;
	sim->counts.bytes += message_bytes(message);
	if (message->kind == SIM_SWIM)
		sim->counts.types[message->swim.type]++;
	if (sim->cut[from->group][to->group]) {
		sim->counts.cut++;
		sim_message_free(message);
		return;
	}
	sim_link(sim, message->from, message->to, &link);
	if (sim_random_unit(&sim->random) < link.drop) {
		sim->counts.dropped++;
		sim_message_free(message);
		return;
	}
	if (sim_random_unit(&sim->random) < link.duplicate) {
		sim->counts.duplicated++;
		message_post(sim, &link, message_copy(message));
	}
	message_post(sim, &link, message);
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
	if (sim->sink != NULL) {
		sim->sink(
		    sim, event->message, sim->now - (int64_t)event->number);
		return (0);
	}
	if (!to->up) {
		sim->counts.to_down++;
		return (0);
	}
	sim->counts.delivered++;
	sim->counts.crossed += from->group != to->group;
	return (1);
}

static void
trace_add(struct sim *sim, uint64_t what)
{
	sim->trace = sim_mix(sim->trace, what);
}

static void
trace_bytes(struct sim *sim, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; length > 0; length--)
		hash = (hash ^ *at++) * UINT64_C(0x100000001b3);
	trace_add(sim, hash);
}

static void
trace_message(struct sim *sim, const struct sim_message *message)
{
	const struct swim_update *update;
	const struct sim_blob *blob;
	size_t i;

	trace_add(sim, (uint64_t)message->from << 32 | message->kind);
	trace_add(sim,
	    (uint64_t)message->swim.type << 1 | (message->swim.reply != 0));
	trace_add(sim, message->swim.sequence);
	trace_bytes(sim, message->swim.target, KEY_SIZE);
	for (i = 0; i < message->update_count; i++) {
		update = &message->updates[i];
		trace_add(sim, (uint64_t)update->type);
		trace_add(sim, update->incarnation);
		trace_bytes(sim, update->key, KEY_SIZE);
		trace_bytes(sim, update->accuser, KEY_SIZE);
		if (update->statement != NULL)
			trace_bytes(sim, update->statement->bytes,
			    update->statement->length);
	}
	for (blob = message->blobs; blob != NULL; blob = blob->next)
		trace_bytes(sim, blob->bytes, blob->length);
	for (i = 0; i < message->digest_count; i++)
		trace_add(sim, message->digests[i].sequence ^
				   (uint64_t)message->digests[i].node << 40);
}

/* Of every event, all that is in it. */
static void
trace_event(struct sim *sim, const struct sim_event *event)
{
	trace_add(sim, (uint64_t)event->at);
	trace_add(sim, (uint64_t)event->type << 32 | event->node);
	trace_add(sim, event->number);
	if (event->message != NULL)
		trace_message(sim, event->message);
}

/* A node that hangs, or that takes its time with each event: all that comes
 * meanwhile waits. 1 when it must wait. */
static int
event_waits(struct sim *sim, struct sim_node *node, struct sim_event *event)
{
	int64_t until = node->paused_until;

	if (node->busy_until > until)
		until = node->busy_until;
	if (!node->up || until <= sim->now)
		return (0);
	sim_event(sim, until, event->type, node, event->number, event->message);
	return (1);
}

static void
event_handle(struct sim *sim, struct sim_event *event)
{
	struct sim_node *node = &sim->nodes[event->node];

	if (event->type != SIM_EVENT_MESSAGE && event->life != node->life)
		return;
	if (event_waits(sim, node, event))
		return;
	trace_event(sim, event);
	sim->handled++;
	node->handled++;
	node->busy_until = sim->now + node->slow;
	if (event->type == SIM_EVENT_MESSAGE) {
		if (message_arrives(sim, node, event))
			sim_node_event(node, event);
		sim_message_free(event->message);
	} else if (node->up)
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
