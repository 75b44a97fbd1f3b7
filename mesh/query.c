/*
 * mesh, unprivileged; node bytes are hostile. The router's questions where
 * an app is: answered from the directory, else the mesh is asked first. See
 * query.h.
 */
#include <stdlib.h>
#include <string.h>

#include "common/util/clock.h"
#include "common/util/table.h"
#include "mesh/gossip.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/query.h"

#define ASKED_MAX   16 /* nodes asked about one app */
#define ASK_FOR     CLOCK_SECOND
#define QUERIES_MAX 4096
#define WATCHES_MAX 262144

struct watch {
	uint8_t app[KEY_SIZE];
};

/* A FIND or a WATCH that waits for the mesh's answer. */
struct query {
	TAILQ_ENTRY(query) entry;
	uint64_t id;
	int find; /* 0: WATCH */
	uint8_t app[KEY_SIZE];
	int64_t until; /* monotonic ns */
	struct peer *asked[ASKED_MAX];
	unsigned left; /* of them to answer */
};

static struct {
	struct table watches;
	TAILQ_HEAD(, query) queries;
	unsigned query_count;
} questions = { .queries = TAILQ_HEAD_INITIALIZER(questions.queries) };

static struct table *
watches(void)
{
	if (questions.watches.key_size == 0)
		table_init(&questions.watches, KEY_SIZE);
	return (&questions.watches);
}

/* --- telling the router -------------------------------------------------- */

static void
tell_presence(const uint8_t app[KEY_SIZE])
{
	struct ipc *router = proc_ipc(PROCESS_ROUTER);
	struct ipc_presence message = { 0 };
	struct peer *peer;

	if (router == NULL)
		return;
	memcpy(message.app, app, KEY_SIZE);
	message.status = presence_find(app, &message.attestation, &peer);
	if (message.status == PRESENCE_LOCAL) {
		message.reachable = 1;
		memcpy(message.node_id, mesh.identity.node_id, NODE_ID_SIZE);
	} else if (message.status == PRESENCE_FOUND) {
		message.reachable =
		    peer->state == NODE_ALIVE || peer->state == NODE_SUSPECT;
		memcpy(message.node_id, peer->node_id, NODE_ID_SIZE);
	}
	ipc_send(router, IPC_PRESENCE, &message, NULL, 0);
}

static void
tell_found(uint64_t id, const uint8_t app[KEY_SIZE])
{
	struct ipc *router = proc_ipc(PROCESS_ROUTER);
	struct ipc_found message = { 0 };
	struct peer *peer;

	if (router == NULL)
		return;
	message.id = id;
	memcpy(message.app, app, KEY_SIZE);
	message.status = presence_find(app, NULL, &peer);
	if (message.status == PRESENCE_LOCAL)
		memcpy(message.node_id, mesh.identity.node_id, NODE_ID_SIZE);
	else if (message.status == PRESENCE_FOUND)
		memcpy(message.node_id, peer->node_id, NODE_ID_SIZE);
	ipc_send(router, IPC_FOUND, &message, NULL, 0);
}

static void
query_end(struct query *query, int tell)
{
	TAILQ_REMOVE(&questions.queries, query, entry);
	questions.query_count--;
	if (tell && query->find)
		tell_found(query->id, query->app);
	else if (tell && table_get(watches(), query->app) != NULL)
		tell_presence(query->app);
	free(query);
}

/* Those who wait for app have their answer. */
static void
queries_found(const uint8_t app[KEY_SIZE])
{
	struct query *query, *next;

	for (query = TAILQ_FIRST(&questions.queries); query != NULL;
	     query = next) {
		next = TAILQ_NEXT(query, entry);
		/* Watchers were told. */
		if (memcmp(query->app, app, KEY_SIZE) == 0)
			query_end(query, query->find);
	}
}

void
query_changed(const uint8_t app[KEY_SIZE], int found)
{
	if (table_get(watches(), app) != NULL)
		tell_presence(app);
	if (found)
		queries_found(app);
}

/* --- the router's questions ---------------------------------------------- */

void
query_answered(struct peer *peer)
{
	struct query *query, *next;
	unsigned i;
	int answered;

	if (peer->owes_sync)
		return;
	for (query = TAILQ_FIRST(&questions.queries); query != NULL;
	     query = next) {
		next = TAILQ_NEXT(query, entry);
		answered = 0;
		for (i = 0; i < ASKED_MAX; i++)
			if (query->asked[i] == peer) {
				query->asked[i] = NULL;
				query->left--;
				answered = 1;
			}
		if (answered && query->left == 0)
			query_end(query, 1);
	}
}

static void
query_ask(struct query *query)
{
	struct peer *peer;
	size_t cursor = 0;
	unsigned i;

	while (query->left < ASKED_MAX && (peer = peer_next(&cursor)) != NULL)
		if (peer->state == NODE_ALIVE)
			query->asked[query->left++] = peer;
	for (i = 0; i < ASKED_MAX; i++)
		if (query->asked[i] != NULL)
			gossip_ask(query->asked[i]);
}

/*
 * Just started, we may not have met anybody yet; then wait for whom we meet
 * rather than say that nobody knows.
 */
static int
somebody_may_know(void)
{
	const struct peer *peer;
	size_t cursor = 0;

	if (!mesh.identity.unlocked)
		return (1);
	if (!mesh.identity.in_mesh)
		return (0);
	if (members_swim() == NULL || swim_live(members_swim()) > 1)
		return (1);
	while ((peer = peer_next(&cursor)) != NULL)
		if (!peer->ended)
			return (1);
	return (0);
}

/* The directory does not know: ask the mesh before saying so. */
static void
query_start(const uint8_t app[KEY_SIZE], int find, uint64_t id)
{
	struct query *query;

	if (!somebody_may_know() || questions.query_count >= QUERIES_MAX ||
	    (query = calloc(1, sizeof(*query))) == NULL) {
		if (find)
			tell_found(id, app);
		else
			tell_presence(app);
		return;
	}
	query->id = id;
	query->find = find;
	memcpy(query->app, app, KEY_SIZE);
	query->until = clock_monotonic() + ASK_FOR;
	TAILQ_INSERT_TAIL(&questions.queries, query, entry);
	questions.query_count++;
	query_ask(query);
}

void
query_on_find(void *arg, const struct ipc_message *message)
{
	const struct ipc_find *find = message->payload;

	(void)arg;
	if (presence_find(find->app, NULL, NULL) != PRESENCE_UNKNOWN)
		tell_found(find->id, find->app);
	else
		query_start(find->app, 1, find->id);
}

void
query_on_watch(void *arg, const struct ipc_message *message)
{
	const struct ipc_app *app = message->payload;
	struct watch *watch;

	(void)arg;
	if (table_get(watches(), app->app) == NULL) {
		if (questions.watches.count >= WATCHES_MAX ||
		    (watch = calloc(1, sizeof(*watch))) == NULL)
			return;
		memcpy(watch->app, app->app, KEY_SIZE);
		if (table_put(watches(), watch->app, watch) == -1) {
			free(watch);
			return;
		}
	}
	if (presence_find(app->app, NULL, NULL) != PRESENCE_UNKNOWN)
		tell_presence(app->app);
	else
		query_start(app->app, 0, 0);
}

void
query_on_unwatch(void *arg, const struct ipc_message *message)
{
	const struct ipc_app *app = message->payload;

	(void)arg;
	free(table_remove(watches(), app->app));
}

void
query_forget_all(void)
{
	struct query *query;
	struct watch *watch;
	size_t cursor = 0;

	while ((query = TAILQ_FIRST(&questions.queries)) != NULL)
		query_end(query, 0);
	while ((watch = table_next(watches(), &cursor)) != NULL) {
		(void)table_remove(watches(), watch->app);
		free(watch);
	}
}

void
query_tick(int64_t now)
{
	struct query *query;

	while ((query = TAILQ_FIRST(&questions.queries)) != NULL &&
	       query->until <= now)
		query_end(query, 1);
}
