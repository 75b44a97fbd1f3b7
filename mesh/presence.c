/*
 * mesh, unprivileged; node bytes are hostile. Presence: other nodes' apps
 * checked and kept, this node's handed to publish.c. See presence.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "common/util/rate.h"
#include "mesh/directory.h"
#include "mesh/gossip.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/publish.h"
#include "mesh/query.h"
#include "mesh/tieline.h"
#include "mesh/wire.h"

#define HELD_MAX      65536
#define EXPIRE_BUDGET 256 /* apps looked at a tick */
#define ASK_BEHIND    (3 * CLOCK_SECOND)
#define REPEAT_ASK    CLOCK_SECOND /* of a node about itself */
/* So many nodes about themselves: who says that we are behind need not be
 * right, and may say it of all. */
#define ASKS_ALL      64
#define ASKS_ALL_IN   (4 * CLOCK_SECOND)

/* An APP_UP that came before keyd said who this node is. */
struct held {
	TAILQ_ENTRY(held) entry;
	struct ipc_app_up up;
	size_t tail_length;
	uint8_t tail[];
};

static struct {
	struct directory directory;
	int ready;
	TAILQ_HEAD(, held) held;
	unsigned held_count;
	/* Apps that another node took over; published after the call. */
	uint8_t (*lost)[KEY_SIZE];
	size_t lost_count;
	size_t lost_size;
} presence = { .held = TAILQ_HEAD_INITIALIZER(presence.held) };

static void on_changed(
    void *, const uint8_t *, const uint8_t *, const uint8_t *);

struct directory *
presence_directory(void)
{
	const struct config_limits *limits = &proc_config()->limits;

	if (!presence.ready) {
		directory_init(&presence.directory, limits->apps, limits->apps,
		    limits->members + 1, on_changed, NULL);
		presence.ready = 1;
	}
	/* A reload may have changed them. */
	directory_set_limits(&presence.directory, limits->apps, limits->apps,
	    limits->members + 1);
	return (&presence.directory);
}

enum presence_status
presence_find(const uint8_t app[KEY_SIZE], struct attestation *attestation,
    struct peer **peer)
{
	const struct directory_app *found;
	struct peer *at = NULL;

	if (peer != NULL)
		*peer = NULL;
	found = directory_find(presence_directory(), app, clock_wall());
	if (found == NULL)
		return (PRESENCE_UNKNOWN);
	if (!mesh_is_self(found->node->key) &&
	    (at = peer_find(found->node->key)) == NULL)
		return (PRESENCE_UNKNOWN);
	if (attestation != NULL)
		*attestation = found->attestation;
	if (peer != NULL)
		*peer = at;
	return (at == NULL ? PRESENCE_LOCAL : PRESENCE_FOUND);
}

static void
note_lost(const uint8_t app[KEY_SIZE])
{
	uint8_t(*grown)[KEY_SIZE];

	if (presence.lost_count == presence.lost_size) {
		grown = reallocarray(
		    presence.lost, presence.lost_size + 16, KEY_SIZE);
		if (grown == NULL)
			return;
		presence.lost = grown;
		presence.lost_size += 16;
	}
	memcpy(presence.lost[presence.lost_count++], app, KEY_SIZE);
}

static void
on_changed(
    void *arg, const uint8_t *app, const uint8_t *was, const uint8_t *now)
{
	(void)arg;
	query_changed(app, now != NULL);
	/* Where it was before, its set-ups do not wait. */
	if (now != NULL && (was == NULL || memcmp(was, now, KEY_SIZE) != 0))
		tieline_presence(app);
	if (was != NULL && now != NULL && mesh_is_self(was) &&
	    !mesh_is_self(now))
		note_lost(app);
}

/* The session that the app left behind, if it is still open, is to end. */
static void
tell_moved(const uint8_t app[KEY_SIZE])
{
	struct ipc *router = proc_ipc(PROCESS_ROUTER);
	struct ipc_app_moved moved = { .issued_at = 0 };
	struct attestation now;

	if (router == NULL || presence_find(app, &now, NULL) != PRESENCE_FOUND)
		return;
	memcpy(moved.app, app, KEY_SIZE);
	moved.issued_at = now.issued_at;
	ipc_send(router, IPC_APP_MOVED, &moved, NULL, 0);
}

static void
publish_lost(void)
{
	const uint8_t *app;

	while (presence.lost_count > 0) {
		app = presence.lost[--presence.lost_count];
		publish_down(presence_directory(), app);
		tell_moved(app);
	}
}

/* --- from other nodes ---------------------------------------------------- */

static void
peer_ask_about_itself(struct peer *peer)
{
	static int64_t due;
	int64_t now = clock_monotonic();

	if ((now - peer->asked < REPEAT_ASK && peer->asked != 0) ||
	    rate_take(&due, now, ASKS_ALL, ASKS_ALL_IN, 0) > 0)
		return; /* ask_behind() comes back to it */
	peer->asked = now;
	gossip_ask(peer);
}

/* One that was checked when it came before need not be checked again. */
static int
attestation_known(const struct attestation *attestation, int64_t wall)
{
	const struct directory_app *app =
	    directory_find(presence_directory(), attestation->app_key, wall);

	return (
	    attestation->kind == ATTESTATION_V2 && app != NULL &&
	    memcmp(&app->attestation, attestation, sizeof(*attestation)) == 0);
}

/* Is what node says of its app true? 0 or -1; what is forged is added to
 * *bad. */
static int
claim_check(const struct Nodemesh__V1__AppRegistration *app, struct peer *node,
    struct attestation *attestation, uint32_t *bad)
{
	int v1 = proc_config()->app_compat_v1 != 0;
	int64_t wall = clock_wall();

	if (strlen(app->session_id) < SESSION_ID_SIZE &&
	    wire_registration_read(app, node->node_key, attestation) == 0) {
		if (attestation_known(attestation, wall))
			return (attestation_valid(attestation, wall));
		budget_spend(node, BUDGET_MESH, BUDGET_VERIFY);
		if (wire_registration_verify(app, attestation, v1, wall) == 0)
			return (0);
		/* Clocks may differ, and not every node takes v1. */
		if (errno == EACCES && attestation->kind == ATTESTATION_V2)
			(*bad)++;
	}
	metric_add(METRIC_MESH_REFUSED_SIGNATURE, 1);
	return (-1);
}

/* The claims that hold; those that do not are counted and left out. When too
 * many are forged, none holds. */
static size_t
claims_read(const struct Nodemesh__V1__AppSync *sync, struct peer *node,
    struct directory_claim *claims, struct attestation *attestations)
{
	uint32_t bad = 0;
	size_t i, count = 0;

	for (i = 0; i < sync->n_apps && bad < BUDGET_BAD_MOST; i++) {
		const struct Nodemesh__V1__AppRegistration *app = sync->apps[i];
		struct directory_claim *claim = &claims[count];
		struct attestation *attestation = &attestations[count];

		if (app->departed) {
			memset(attestation, 0, sizeof(*attestation));
			if (wire_app_key(app->app_id, attestation->app_key) ==
			    -1)
				continue;
		} else if (claim_check(app, node, attestation, &bad) == -1)
			continue;
		claim->attestation = attestation;
		claim->session_id = app->session_id;
		claim->sequence = app->sequence;
		claim->connected_at = app->connected_at_nanos;
		claim->departed = app->departed != 0;
		count++;
	}
	budget_blame(node, bad);
	return (bad < BUDGET_BAD_MOST ? count : 0);
}

/* Do all its apps name node? It did not sign those names: whoever changed one
 * on the way would have the app left out, for good. */
static int
sync_names(const struct Nodemesh__V1__AppSync *sync, const struct peer *node)
{
	size_t i;

	for (i = 0; i < sync->n_apps; i++)
		if (!sync->apps[i]->departed &&
		    strcmp(sync->apps[i]->node_id, node->node_id) != 0)
			return (0);
	return (1);
}

/* Did node sign it? 0, or -1 and from, who passes it on, should have known. */
static int
sync_verify(const struct Nodemesh__V1__AppSync *sync, const struct peer *node,
    struct peer *from)
{
	uint8_t digest[KEY_SIZE];

	budget_spend(from, BUDGET_MESH, BUDGET_VERIFY);
	if (sync->signature.len == SIGNATURE_SIZE) {
		wire_presence_digest(sync, digest);
		if (statement_verify(STATEMENT_PRESENCE, node->node_id,
			node->node_key, sync->sequence, digest,
			sync->signature.data, node->node_key) == 0)
			return (0);
	}
	metric_add(METRIC_MESH_REFUSED_SIGNATURE, 1);
	budget_blame(from, 1);
	return (-1);
}

/* What node signed goes into the directory, and on to others. */
static void
sync_apply(const struct Nodemesh__V1__AppSync *sync, struct peer *node,
    const uint8_t *raw, size_t length)
{
	struct attestation *attestations;
	struct directory_claim *claims;
	size_t count;

	claims = calloc(sync->n_apps + 1, sizeof(*claims));
	attestations = calloc(sync->n_apps + 1, sizeof(*attestations));
	if (claims != NULL && attestations != NULL) {
		count = claims_read(sync, node, claims, attestations);
		if (directory_sync(presence_directory(), node->node_key,
			sync->sequence, sync->full, claims, count,
			clock_wall()) == DIRECTORY_APPLIED)
			gossip_tell_all(
			    node->node_key, raw, length, sync->full, 0);
	}
	free(claims);
	free(attestations);
}

int
presence_sync(struct peer *from, const struct Nodemesh__V1__AppSync *sync,
    const uint8_t *raw, size_t length)
{
	struct directory *directory = presence_directory();
	enum directory_verdict verdict;
	uint8_t key[KEY_SIZE];
	struct peer *peer;

	metric_add(METRIC_MESH_APPSYNC, 1);
	/* Of one we do not know, or an echo of our own, or one that is dead. */
	if (members_key(sync->node_id, key) == -1 ||
	    (peer = peer_find(key)) == NULL || peer->ended)
		return (0);
	verdict = directory_wants(directory, key, sync->sequence, sync->full);
	if (verdict == DIRECTORY_GAP) {
		directory_missed(directory, key, sync->sequence);
		peer_ask_about_itself(peer);
	}
	if (verdict != DIRECTORY_APPLIED) {
		if (peer == from)
			query_answered(from);
		return (0);
	}
	if (sync->n_apps > PRESENCE_APPS_MAX) {
		metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
		return (0);
	}
	if (!sync_names(sync, peer)) {
		metric_add(METRIC_MESH_REFUSED_FORM, 1);
		return (0);
	}
	/* It is asked for what it wants said when there is time for it. */
	if (peer != from && budget_holds(peer)) {
		directory_missed(directory, key, sync->sequence);
		return (0);
	}
	if (sync_verify(sync, peer, from) == -1)
		return (-1);
	sync_apply(sync, peer, raw, length);
	publish_lost();
	if (peer == from) {
		peer->owes_sync = 0;
		query_answered(from);
	}
	return (0);
}

size_t
presence_digests(struct Nodemesh__V1__AppDigest *out, size_t max)
{
	const struct directory_node *node;
	const char *name;
	size_t count = 0;

	for (node = TAILQ_FIRST(&presence_directory()->node_list); node != NULL;
	     node = TAILQ_NEXT(node, entry)) {
		if (count == max)
			break;
		if ((name = members_name(node->key)) == NULL)
			continue;
		nodemesh__v1__app_digest__init(&out[count]);
		/* protobuf-c has no const; it is only read. */
		out[count].node_id = (char *)(uintptr_t)name;
		out[count].sequence = directory_digest(node);
		count++;
	}
	return (count);
}

/* It knows less of us than there is. */
static void
tell_whole(struct peer *from)
{
	if (gossip_may_answer(from))
		publish_full(presence_directory(), from);
}

static void
judge(struct peer *from, const uint8_t node[KEY_SIZE], uint64_t sequence)
{
	struct directory *directory = presence_directory();
	int order = directory_compare(directory, node, sequence);
	struct peer *peer;

	if (mesh_is_self(node)) {
		if (order < 0)
			tell_whole(from);
		else if (order > 0)
			publish_claimed(directory, sequence);
	} else if (memcmp(node, from->node_key, KEY_SIZE) == 0 && order == 0)
		directory_current(directory, node, sequence);
	else if (order > 0 && (peer = peer_find(node)) != NULL) {
		directory_missed(directory, node, sequence);
		/* It sends its own when it sees our digest of it. */
		if (peer == from)
			from->owes_sync = 1;
		else if (!peer->ended)
			peer_ask_about_itself(peer);
	}
}

void
presence_judge(struct peer *from, const struct Nodemesh__V1__PushPull *body)
{
	uint8_t key[KEY_SIZE];
	int knows_us = 0;
	size_t i;

	for (i = 0; i < body->n_apps; i++) {
		if (members_key(body->apps[i]->node_id, key) == -1)
			continue;
		if (mesh_is_self(key))
			knows_us = 1;
		judge(from, key, body->apps[i]->sequence);
	}
	if (!knows_us)
		tell_whole(from);
}

void
presence_node_changed(struct peer *peer)
{
	const struct directory_node *node;
	const struct directory_app *app;

	node = directory_node(presence_directory(), peer->node_key);
	if (node == NULL)
		return;
	for (app = TAILQ_FIRST(&node->apps); app != NULL;
	     app = TAILQ_NEXT(app, of_node))
		query_changed(app->attestation.app_key, 0);
}

void
presence_node_ended(struct peer *peer, int forget)
{
	directory_drop_node(presence_directory(), peer->node_key, forget);
	gossip_forget(peer->node_key);
	publish_forget(peer);
}

void
presence_announce(void)
{
	publish_full(presence_directory(), NULL);
}

/* --- the router's apps --------------------------------------------------- */

static void
held_free(void)
{
	struct held *held;

	while ((held = TAILQ_FIRST(&presence.held)) != NULL) {
		TAILQ_REMOVE(&presence.held, held, entry);
		free(held);
	}
	presence.held_count = 0;
}

static void
hold(const struct ipc_app_up *up, const uint8_t *tail, size_t tail_length)
{
	struct held *held;

	if (presence.held_count >= HELD_MAX ||
	    (held = malloc(sizeof(*held) + tail_length)) == NULL)
		return;
	held->up = *up;
	held->tail_length = tail_length;
	if (tail_length > 0)
		memcpy(held->tail, tail, tail_length);
	TAILQ_INSERT_TAIL(&presence.held, held, entry);
	presence.held_count++;
}

static void
app_came(const struct ipc_app_up *up, const uint8_t *tail, size_t tail_length)
{
	const uint8_t *app = up->attestation.app_key;

	if (!mesh_is_self(up->attestation.node_key))
		return;
	publish_up(presence_directory(), up, tail, tail_length);
	/* An old signature, shown late: it is elsewhere already. */
	if (presence_find(app, NULL, NULL) == PRESENCE_FOUND) {
		note_lost(app);
		publish_lost();
	}
}

void
presence_identity(void)
{
	struct held *held;

	for (held = TAILQ_FIRST(&presence.held); held != NULL;
	     held = TAILQ_NEXT(held, entry))
		app_came(&held->up, held->tail, held->tail_length);
	held_free();
}

void
presence_on_app_up(void *arg, const struct ipc_message *message)
{
	struct ipc_app_up up;

	(void)arg;
	memcpy(&up, message->payload, sizeof(up));
	up.session_id[sizeof(up.session_id) - 1] = '\0';
	if (mesh.identity.unlocked)
		app_came(&up, message->tail, message->tail_length);
	else
		hold(&up, message->tail, message->tail_length);
}

static void
unhold(const uint8_t app[KEY_SIZE])
{
	struct held *held, *next;

	for (held = TAILQ_FIRST(&presence.held); held != NULL; held = next) {
		next = TAILQ_NEXT(held, entry);
		if (memcmp(held->up.attestation.app_key, app, KEY_SIZE) != 0)
			continue;
		TAILQ_REMOVE(&presence.held, held, entry);
		presence.held_count--;
		free(held);
	}
}

void
presence_on_app_down(void *arg, const struct ipc_message *message)
{
	const struct ipc_app *app = message->payload;

	(void)arg;
	unhold(app->app);
	if (mesh.identity.unlocked)
		publish_down(presence_directory(), app->app);
}

void
presence_router_gone(void)
{
	query_forget_all();
	held_free();
	publish_none(presence_directory());
}

/* Questions and answers get lost: ask again. */
static void
ask_behind(void)
{
	const struct directory_node *node = NULL;
	struct peer *peer;

	while ((node = directory_behind(presence_directory(), node)) != NULL)
		if ((peer = peer_find(node->key)) != NULL && !peer->ended)
			peer_ask_about_itself(peer);
}

void
presence_tick(int64_t now)
{
	static int64_t asked;

	if (now - asked >= ASK_BEHIND) {
		asked = now;
		ask_behind();
	}

	query_tick(now);
	if (directory_clock(presence_directory(), clock_wall())) {
		log_warn("clock_went_back", "apps=%zu",
		    presence.directory.apps.count);
		publish_again();
	}
	(void)directory_expire(
	    presence_directory(), clock_wall(), EXPIRE_BUDGET);
	publish_tick(presence_directory());
	metric_set(METRIC_MESH_APPS, presence.directory.apps.count);
}
