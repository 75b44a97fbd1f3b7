/*
 * mesh, unprivileged; trusts what the caller verified: that a node signed a
 * sync and an app its attestation. Where apps are; see directory.h.
 */

#include <stdlib.h>
#include <string.h>

#include "mesh/directory.h"

void
directory_init(struct directory *directory, uint32_t max_apps,
    uint32_t max_per_node, uint32_t max_nodes, directory_changed changed,
    void *arg)
{
	memset(directory, 0, sizeof(*directory));
	table_init(&directory->apps, KEY_SIZE);
	table_init(&directory->nodes, KEY_SIZE);
	TAILQ_INIT(&directory->node_list);
	TAILQ_INIT(&directory->app_list);
	directory->max_apps = max_apps;
	directory->max_per_node = max_per_node;
	directory->max_nodes = max_nodes;
	directory->changed = changed;
	directory->arg = arg;
}

void
directory_set_limits(struct directory *directory, uint32_t max_apps,
    uint32_t max_per_node, uint32_t max_nodes)
{
	directory->max_apps = max_apps;
	directory->max_per_node = max_per_node;
	directory->max_nodes = max_nodes;
}

void
directory_free(struct directory *directory)
{
	struct directory_node *node;
	struct directory_app *app;

	while ((app = TAILQ_FIRST(&directory->app_list)) != NULL) {
		TAILQ_REMOVE(&directory->app_list, app, of_all);
		free(app);
	}
	while ((node = TAILQ_FIRST(&directory->node_list)) != NULL) {
		TAILQ_REMOVE(&directory->node_list, node, entry);
		free(node);
	}
	table_free(&directory->apps);
	table_free(&directory->nodes);
}

void
directory_own(struct directory *directory, const uint8_t key[KEY_SIZE])
{
	struct directory_node *node = table_get(&directory->nodes, key);

	if (node != NULL)
		node->own = 1;
}

const struct directory_node *
directory_node(const struct directory *directory, const uint8_t key[KEY_SIZE])
{
	return (table_get(&directory->nodes, key));
}

uint64_t
directory_digest(const struct directory_node *node)
{
	return (node->lost ? 0 : node->sequence);
}

static struct directory_node *
node_add(struct directory *directory, const uint8_t key[KEY_SIZE])
{
	struct directory_node *node;

	if (directory->nodes.count >= directory->max_nodes ||
	    (node = calloc(1, sizeof(*node))) == NULL)
		return (NULL);
	memcpy(node->key, key, KEY_SIZE);
	TAILQ_INIT(&node->apps);
	if (table_put(&directory->nodes, node->key, node) == -1) {
		free(node);
		return (NULL);
	}
	TAILQ_INSERT_TAIL(&directory->node_list, node, entry);
	return (node);
}

/* Take an app out, without a word. */
static void
app_unlink(struct directory *directory, struct directory_app *app)
{
	(void)table_remove(&directory->apps, app->attestation.app_key);
	TAILQ_REMOVE(&app->node->apps, app, of_node);
	TAILQ_REMOVE(&directory->app_list, app, of_all);
	app->node->count--;
}

static void
app_remove(struct directory *directory, struct directory_app *app)
{
	app_unlink(directory, app);
	directory->changed(
	    directory->arg, app->attestation.app_key, app->node->key, NULL);
	free(app);
}

static int
app_expired(const struct directory_app *app, int64_t wall)
{
	return (app->attestation.expires_at <= wall - ATTESTATION_SKEW);
}

/*
 * Is a claim of node for an app better than the one that is known? A node
 * replaces its own claim, and between nodes the newer attestation wins; by
 * the second, the larger node key, so that all nodes agree.
 */
static int
claim_wins(const struct directory_app *known, const struct directory_node *node,
    const struct attestation *attestation)
{
	if (known->node == node)
		return (1);
	if (attestation->issued_at != known->attestation.issued_at)
		return (attestation->issued_at > known->attestation.issued_at);
	return (memcmp(node->key, known->node->key, KEY_SIZE) > 0);
}

static void
app_fill(struct directory_app *app, const struct directory_claim *claim)
{
	app->attestation = *claim->attestation;
	app->sequence = claim->sequence;
	app->connected_at = claim->connected_at;
	memset(app->session_id, 0, sizeof(app->session_id));
	memcpy(app->session_id, claim->session_id,
	    strnlen(claim->session_id, sizeof(app->session_id) - 1));
}

/*
 * All the room is taken: whoever has most gives the app that came last, so
 * that a node which claims without end keeps out nobody but itself. 0, or -1:
 * node is not one that has little.
 */
static int
make_room(struct directory *directory, const struct directory_node *node)
{
	struct directory_node *other, *most = NULL;

	TAILQ_FOREACH(other, &directory->node_list, entry)
	if (!other->own && (most == NULL || other->count > most->count))
		most = other;
	if (most == NULL || most == node || most->count == 0 ||
	    (!node->own && most->count <= node->count + 1))
		return (-1);
	app_remove(directory, TAILQ_LAST(&most->apps, directory_apps));
	directory->refused++;
	return (0);
}

/* An app nobody had. */
static void
claim_new(struct directory *directory, struct directory_node *node,
    const struct directory_claim *claim)
{
	struct directory_app *app;

	if (node->count >= directory->max_per_node ||
	    (directory->apps.count >= directory->max_apps &&
		make_room(directory, node) == -1) ||
	    (app = calloc(1, sizeof(*app))) == NULL) {
		directory->refused++;
		return;
	}
	app_fill(app, claim);
	if (table_put(&directory->apps, app->attestation.app_key, app) == -1) {
		free(app);
		directory->refused++;
		return;
	}
	app->node = node;
	TAILQ_INSERT_TAIL(&node->apps, app, of_node);
	TAILQ_INSERT_TAIL(&directory->app_list, app, of_all);
	node->count++;
	directory->changed(
	    directory->arg, app->attestation.app_key, NULL, node->key);
}

/* An app that is known, of this node or another; it may move. */
static void
claim_known(struct directory *directory, struct directory_app *app,
    struct directory_node *node, const struct directory_claim *claim)
{
	struct directory_node *was = app->node;

	if (!claim_wins(app, node, claim->attestation))
		return;
	if (was != node && node->count >= directory->max_per_node) {
		directory->refused++;
		return;
	}
	if (was == node && app->connected_at == claim->connected_at &&
	    memcmp(app->attestation.signature, claim->attestation->signature,
		SIGNATURE_SIZE) == 0 &&
	    strncmp(app->session_id, claim->session_id,
		sizeof(app->session_id)) == 0) {
		app->sequence = claim->sequence;
		return;
	}
	app_fill(app, claim); /* app_key stays the same: it is the key */
	TAILQ_REMOVE(&was->apps, app, of_node);
	was->count--;
	app->node = node;
	TAILQ_INSERT_TAIL(&node->apps, app, of_node);
	node->count++;
	directory->changed(
	    directory->arg, app->attestation.app_key, was->key, node->key);
}

static void
claim_take(struct directory *directory, struct directory_node *node,
    const struct directory_claim *claim, int64_t wall)
{
	struct directory_app *app;

	app = table_get(&directory->apps, claim->attestation->app_key);
	if (app != NULL && app_expired(app, wall)) {
		app_remove(directory, app);
		app = NULL;
	}
	if (claim->departed) {
		if (app != NULL && app->node == node)
			app_remove(directory, app);
		return;
	}
	if (claim->attestation->expires_at <= wall - ATTESTATION_SKEW) {
		directory->refused++;
		return;
	}
	if (app == NULL)
		claim_new(directory, node, claim);
	else
		claim_known(directory, app, node, claim);
}

enum directory_verdict
directory_wants(const struct directory *directory, const uint8_t key[KEY_SIZE],
    uint64_t sequence, int full)
{
	const struct directory_node *node = directory_node(directory, key);
	uint64_t known;

	known = node == NULL ? 0 : node->sequence;
	if (node != NULL && node->lost) {
		if (sequence < known)
			return (DIRECTORY_STALE);
		return (full ? DIRECTORY_APPLIED : DIRECTORY_GAP);
	}
	if (sequence <= known)
		return (DIRECTORY_STALE);
	if (!full && sequence != known + 1)
		return (DIRECTORY_GAP);
	if (node == NULL && directory->nodes.count >= directory->max_nodes)
		return (DIRECTORY_FULL);
	return (DIRECTORY_APPLIED);
}

/* A full sync: what the node has and it does not name, is gone. Done first,
 * so that it makes room. */
static void
node_retain(struct directory *directory, struct directory_node *node,
    const struct directory_claim *claims, size_t count)
{
	struct directory_app *app, *next;
	size_t i;

	for (i = 0; i < count; i++) {
		app =
		    table_get(&directory->apps, claims[i].attestation->app_key);
		if (app != NULL && app->node == node && !claims[i].departed)
			app->mark = 1;
	}
	for (app = TAILQ_FIRST(&node->apps); app != NULL; app = next) {
		next = TAILQ_NEXT(app, of_node);
		if (!app->mark)
			app_remove(directory, app);
		else
			app->mark = 0;
	}
}

enum directory_verdict
directory_sync(struct directory *directory, const uint8_t key[KEY_SIZE],
    uint64_t sequence, int full, const struct directory_claim *claims,
    size_t count, int64_t wall)
{
	struct directory_node *node;
	enum directory_verdict verdict;
	size_t i;

	verdict = directory_wants(directory, key, sequence, full);
	node = table_get(&directory->nodes, key);
	if (verdict == DIRECTORY_GAP)
		directory_missed(directory, key, sequence);
	if (verdict == DIRECTORY_STALE && full && node != NULL &&
	    sequence == node->sequence)
		node->missed = 0;
	if (verdict != DIRECTORY_APPLIED)
		return (verdict);
	if (node == NULL && (node = node_add(directory, key)) == NULL)
		return (DIRECTORY_FULL);
	if (full)
		node_retain(directory, node, claims, count);
	for (i = 0; i < count; i++)
		claim_take(directory, node, &claims[i], wall);
	node->sequence = sequence;
	node->lost = 0;
	if (full) /* the node's own word of what it has */
		node->missed = 0;
	return (DIRECTORY_APPLIED);
}

const struct directory_app *
directory_find(const struct directory *directory, const uint8_t app[KEY_SIZE],
    int64_t wall)
{
	const struct directory_app *found;

	found = table_get(&directory->apps, app);
	if (found == NULL || app_expired(found, wall))
		return (NULL);
	return (found);
}

void
directory_drop_node(
    struct directory *directory, const uint8_t key[KEY_SIZE], int forget)
{
	struct directory_node *node = table_get(&directory->nodes, key);
	struct directory_app *app, *next;

	if (node == NULL)
		return;
	for (app = TAILQ_FIRST(&node->apps); app != NULL; app = next) {
		next = TAILQ_NEXT(app, of_node);
		app_remove(directory, app);
	}
	node->lost = 1;
	if (!forget)
		return;
	(void)table_remove(&directory->nodes, node->key);
	TAILQ_REMOVE(&directory->node_list, node, entry);
	free(node);
}

size_t
directory_expire(struct directory *directory, int64_t wall, size_t budget)
{
	struct directory_app *app;
	size_t removed = 0;

	if (budget > directory->apps.count)
		budget = directory->apps.count;
	for (; budget > 0; budget--) {
		app = TAILQ_FIRST(&directory->app_list);
		if (app_expired(app, wall)) {
			app_remove(directory, app);
			removed++;
			continue;
		}
		TAILQ_REMOVE(&directory->app_list, app, of_all);
		TAILQ_INSERT_TAIL(&directory->app_list, app, of_all);
	}
	return (removed);
}

int
directory_clock(struct directory *directory, int64_t wall)
{
	struct directory_node *node;
	int back = wall < directory->wall - ATTESTATION_SKEW;

	directory->wall = wall;
	if (!back)
		return (0);
	TAILQ_FOREACH(node, &directory->node_list, entry)
	{
		node->lost = 1;
		node->missed = node->sequence;
	}
	return (1);
}

void
directory_missed(
    struct directory *directory, const uint8_t key[KEY_SIZE], uint64_t sequence)
{
	struct directory_node *node = table_get(&directory->nodes, key);

	if (node == NULL && (node = node_add(directory, key)) == NULL)
		return;
	if (node->lost || sequence > node->sequence)
		node->missed = sequence;
}

void
directory_current(
    struct directory *directory, const uint8_t key[KEY_SIZE], uint64_t sequence)
{
	struct directory_node *node = table_get(&directory->nodes, key);

	if (node != NULL && !node->lost && node->sequence == sequence)
		node->missed = 0;
}

const struct directory_node *
directory_behind(
    const struct directory *directory, const struct directory_node *after)
{
	const struct directory_node *node;

	node = after == NULL ? TAILQ_FIRST(&directory->node_list)
			     : TAILQ_NEXT(after, entry);
	while (node != NULL &&
	       (node->missed == 0 ||
		   (!node->lost && node->missed <= node->sequence)))
		node = TAILQ_NEXT(node, entry);
	return (node);
}

int
directory_compare(const struct directory *directory,
    const uint8_t key[KEY_SIZE], uint64_t sequence)
{
	const struct directory_node *node = directory_node(directory, key);
	uint64_t known = node == NULL ? 0 : node->sequence;

	if (node != NULL && node->lost && sequence >= known)
		return (1);
	return (sequence < known ? -1 : sequence > known);
}
