/*
 * Test. The apps of simulated nodes: what mesh/ does with the directory and
 * with rumours, for AppSyncs that are plain structs.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "regress/sim/sim.h"

#define APP_LIFE (INT64_C(24) * 3600 * SECOND)

int64_t
sim_wall(const struct sim_node *node)
{
	return (SIM_WALL + node->sim->now + node->clock);
}

static void
app_key(uint8_t key[KEY_SIZE], uint32_t app)
{
	int i;

	memset(key, 0xaa, KEY_SIZE);
	for (i = 0; i < 4; i++)
		key[i] = (uint8_t)(app >> (8 * i));
}

static uint32_t
app_index(const uint8_t key[KEY_SIZE])
{
	return (sim_index(key));
}

/* A local app is on another node now: publish its departure, later. */
static void
directory_hook(void *arg, const uint8_t app[KEY_SIZE], const uint8_t *was,
    const uint8_t *now)
{
	struct sim_node *node = arg;

	if (was == NULL || now == NULL ||
	    memcmp(was, node->key, KEY_SIZE) != 0 ||
	    memcmp(now, node->key, KEY_SIZE) == 0)
		return;
	if (node->lost_count == node->lost_size) {
		node->lost_size = node->lost_size * 2 + 8;
		node->lost = reallocarray(
		    node->lost, node->lost_size, sizeof(*node->lost));
		if (node->lost == NULL)
			err(1, "reallocarray");
	}
	node->lost[node->lost_count++] = app_index(app);
}

void
sim_apps_start(struct sim_node *node)
{
	directory_init(
	    &node->directory, 1000000, 10000, 10000, directory_hook, node);
	rumours_init(&node->rumours, 1024, 4 << 20);
	node->sync_sequence = node->incarnation << 32;
	if (node->sim->apps)
		sim_event(node->sim, node->sim->now + SECOND, SIM_EVENT_APPS,
		    node, 0, NULL);
}

void
sim_apps_stop(struct sim_node *node)
{
	directory_free(&node->directory);
	rumours_free(&node->rumours);
	free(node->apps);
	free(node->lost);
	node->apps = NULL;
	node->lost = NULL;
	node->app_count = node->app_size = 0;
	node->lost_count = node->lost_size = 0;
}

/* Marks that only the simulator can compute stand for signatures. */
uint64_t
sim_claim_mark(
    const struct sim *sim, const struct sim_claim *claim, uint32_t node)
{
	return (sim_mix(sim_mix(sim_mix(sim->seed ^ 0x617070, claim->app),
			    (uint64_t)claim->issued ^ node),
	    (uint64_t)claim->expires));
}

uint64_t
sim_sync_mark(const struct sim *sim, const struct sim_sync *sync)
{
	uint64_t mark = sim_mix(sim->seed ^ 0x73796e63, sync->node);
	uint32_t i;

	mark = sim_mix(mark ^ sync->sequence, (uint64_t)sync->full);
	for (i = 0; i < sync->count; i++)
		mark = sim_mix(mark ^ sync->claims[i].mark,
		    (uint64_t)sync->claims[i].app << 1 |
			sync->claims[i].departed);
	return (mark);
}

/* As mesh/ does: the node signed it all, each app that it is there. */
static int
sync_verify(const struct sim *sim, const struct sim_sync *sync)
{
	uint32_t i;

	if (sync->node >= sim->count || sync->mark != sim_sync_mark(sim, sync))
		return (0);
	for (i = 0; i < sync->count; i++)
		if (sync->claims[i].mark !=
		    sim_claim_mark(sim, &sync->claims[i], sync->node))
			return (0);
	return (1);
}

static struct sim_sync *
sync_make(const struct sim_node *node, int full, const struct sim_claim *claims,
    uint32_t count, size_t *length)
{
	struct sim_sync *sync;

	*length = sizeof(*sync) + count * sizeof(*claims);
	sync = calloc(1, *length);
	if (sync == NULL)
		err(1, "calloc");
	sync->node = node->index;
	sync->full = full != 0;
	sync->sequence = node->sync_sequence;
	sync->count = count;
	if (count > 0)
		memcpy(sync->claims, claims, count * sizeof(*claims));
	sync->mark = sim_sync_mark(node->sim, sync);
	return (sync);
}

static enum directory_verdict
sync_apply(struct sim_node *node, const struct sim_sync *sync)
{
	struct directory_claim *claims;
	struct attestation *attestations;
	enum directory_verdict verdict;
	uint32_t i;

	claims = calloc(sync->count + 1, sizeof(*claims));
	attestations = calloc(sync->count + 1, sizeof(*attestations));
	if (claims == NULL || attestations == NULL)
		err(1, "calloc");
	for (i = 0; i < sync->count; i++) {
		attestations[i].kind = ATTESTATION_V2;
		app_key(attestations[i].app_key, sync->claims[i].app);
		attestations[i].issued_at = sync->claims[i].issued;
		attestations[i].expires_at = sync->claims[i].expires;
		claims[i].attestation = &attestations[i];
		claims[i].session_id = "0123456789abcdef0123456789abcdef";
		claims[i].departed = sync->claims[i].departed != 0;
	}
	verdict = directory_sync(&node->directory,
	    node->sim->nodes[sync->node].key, sync->sequence, sync->full != 0,
	    claims, sync->count, sim_wall(node));
	free(claims);
	free(attestations);
	return (verdict);
}

/* Tell everybody of one of our apps, or (NULL) of all. The first word of a
 * life is full. */
static void
apps_publish(struct sim_node *node, const struct sim_claim *claim)
{
	struct sim_sync *sync;
	size_t length;

	if ((node->sync_sequence & UINT32_MAX) == 0)
		claim = NULL;
	node->sync_sequence++;
	if (claim == NULL)
		sync = sync_make(node, 1, node->apps, node->app_count, &length);
	else
		sync = sync_make(node, 0, claim, 1, &length);
	if (sync_apply(node, sync) != DIRECTORY_APPLIED)
		sim_fail(
		    node->sim, "node %u refused its own sync", node->index);
	if (rumours_add(
		&node->rumours, node->key, sync, length, sync->full != 0) == -1)
		err(1, "rumours_add");
	free(sync);
	swim_want_gossip(node->swim, 1, node->sim->now);
}

void
sim_app_connect(struct sim_node *node, uint32_t app)
{
	struct sim_claim *claim;

	if (node->app_count == node->app_size) {
		node->app_size = node->app_size * 2 + 8;
		node->apps = reallocarray(
		    node->apps, node->app_size, sizeof(*node->apps));
		if (node->apps == NULL)
			err(1, "reallocarray");
	}
	claim = &node->apps[node->app_count++];
	claim->app = app;
	claim->departed = 0;
	claim->issued = sim_wall(node);
	claim->expires = claim->issued + APP_LIFE;
	claim->mark = sim_claim_mark(node->sim, claim, node->index);
	apps_publish(node, claim);
	sim_node_drain(node);
}

void
sim_app_disconnect(struct sim_node *node, uint32_t app)
{
	struct sim_claim claim;
	uint32_t i;

	for (i = 0; i < node->app_count; i++)
		if (node->apps[i].app == app)
			break;
	if (i == node->app_count)
		return;
	claim = node->apps[i];
	node->apps[i] = node->apps[--node->app_count];
	claim.departed = 1;
	apps_publish(node, &claim);
	sim_node_drain(node);
}

void
sim_apps_lost(struct sim_node *node)
{
	while (node->lost_count > 0)
		sim_app_disconnect(node, node->lost[--node->lost_count]);
}

static struct sim_message *
apps_message(struct sim_node *node, enum sim_kind kind, uint32_t to)
{
	struct sim_message *message = calloc(1, sizeof(*message));

	if (message == NULL)
		err(1, "calloc");
	message->kind = kind;
	message->from = node->index;
	message->to = to;
	return (message);
}

void
sim_message_blob(struct sim_message *message, const void *bytes, size_t length)
{
	struct sim_blob *blob = malloc(sizeof(*blob) + length);

	if (blob == NULL)
		err(1, "malloc");
	blob->length = length;
	memcpy(blob->bytes, bytes, length);
	blob->next = message->blobs;
	message->blobs = blob;
}

static void
apps_ask(struct sim_node *node, uint32_t whom)
{
	if (whom != node->index)
		sim_send(node->sim, apps_message(node, SIM_ASK, whom));
}

static int
member_live(const struct sim_node *node, uint32_t index)
{
	int state = sim_view(node, index);

	return (state == NODE_ALIVE || state == NODE_SUSPECT);
}

/* Questions and answers get lost. */
void
sim_apps_tick(struct sim_node *node)
{
	const struct directory_node *behind = NULL;
	uint32_t index;

	if (directory_clock(&node->directory, sim_wall(node)))
		apps_publish(node, NULL);
	(void)directory_expire(&node->directory, sim_wall(node), 256);
	while ((behind = directory_behind(&node->directory, behind)) != NULL) {
		index = sim_index(behind->key);
		if (member_live(node, index))
			apps_ask(node, index);
	}
}

static void
apps_send_full(struct sim_node *node, uint32_t to)
{
	struct sim_message *message = apps_message(node, SIM_SYNC, to);
	struct sim_sync *sync;
	size_t length;

	sync = sync_make(node, 1, node->apps, node->app_count, &length);
	sim_message_blob(message, sync, length);
	free(sync);
	sim_send(node->sim, message);
}

static void
emit(void *arg, const struct rumour *rumour)
{
	sim_message_blob(arg, rumour->bytes, rumour->length);
}

/* What rides on a message of the membership. */
void
sim_apps_attach(struct sim_node *node, struct sim_message *message)
{
	const struct directory_node *known;
	size_t n = 0;

	if (message->swim.type == SWIM_GOSSIP) {
		(void)rumours_tell(&node->rumours, 16, 16384,
		    swim_retransmits(node->swim), emit, message);
		if (node->rumours.count == 0)
			swim_want_gossip(node->swim, 0, node->sim->now);
	}
	if (message->swim.type != SWIM_PUSH_PULL)
		return;
	message->digests =
	    calloc(node->directory.nodes.count + 1, sizeof(*message->digests));
	if (message->digests == NULL)
		err(1, "calloc");
	TAILQ_FOREACH(known, &node->directory.node_list, entry)
	{
		message->digests[n].node = sim_index(known->key);
		message->digests[n++].sequence = directory_digest(known);
	}
	message->digest_count = n;
}

static void
receive_sync(struct sim_node *node, const struct sim_blob *blob)
{
	const struct sim_sync *sync = (const void *)blob->bytes;

	if (!sync_verify(node->sim, sync)) {
		node->sim->counts.forged++;
		return;
	}
	if (sync->node == node->index || !member_live(node, sync->node))
		return;
	switch (sync_apply(node, sync)) {
	case DIRECTORY_APPLIED:
		(void)rumours_add(&node->rumours,
		    node->sim->nodes[sync->node].key, sync, blob->length,
		    sync->full != 0);
		swim_want_gossip(node->swim, 1, node->sim->now);
		break;
	case DIRECTORY_GAP:
		apps_ask(node, sync->node);
		break;
	case DIRECTORY_STALE:
	case DIRECTORY_FULL:
		break;
	}
}

/* Digests of nodes that are not known yet come again. */
static void
receive_digests(struct sim_node *node, const struct sim_message *message)
{
	const struct sim_digest *digest;
	size_t i;
	int self_seen = 0, order;

	for (i = 0; i < message->digest_count; i++) {
		digest = &message->digests[i];
		order = directory_compare(&node->directory,
		    node->sim->nodes[digest->node].key, digest->sequence);
		if (digest->node == node->index)
			self_seen = order >= 0;
		else if (order > 0 && member_live(node, digest->node)) {
			directory_missed(&node->directory,
			    node->sim->nodes[digest->node].key,
			    digest->sequence);
			apps_ask(node, digest->node);
		}
	}
	if (!self_seen && node->app_count > 0)
		apps_send_full(node, message->from);
}

void
sim_apps_receive(struct sim_node *node, struct sim_message *message)
{
	const struct sim_blob *blob;

	for (blob = message->blobs; blob != NULL; blob = blob->next)
		receive_sync(node, blob);
	if (message->kind == SIM_ASK)
		apps_send_full(node, message->from);
	else if (message->kind == SIM_SWIM &&
		 message->swim.type == SWIM_PUSH_PULL)
		receive_digests(node, message);
}

void
sim_apps_member(struct sim_node *node, uint32_t about, int now)
{
	if (now != NODE_ALIVE && now != NODE_SUSPECT)
		directory_drop_node(
		    &node->directory, node->sim->nodes[about].key, now == 0);
	else if (now == NODE_ALIVE)
		apps_ask(node, about);
}

uint32_t
sim_app_where(const struct sim_node *node, uint32_t app)
{
	const struct directory_app *found;
	uint8_t key[KEY_SIZE];

	app_key(key, app);
	found = directory_find(&node->directory, key, sim_wall(node));
	return (found == NULL ? UINT32_MAX : sim_index(found->node->key));
}
