/*
 * router: the tables of local apps and of their sides of chats. A chat is
 * found by its key (keyd's and mesh's messages) or, among an app's own chats
 * only, by its chat_id (the app's frames): no app reaches another's chat.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/proc/proc.h"
#include "common/util/hex.h"
#include "router/chats.h"

static struct {
	struct table apps;
	struct table sides;
	uint8_t seed[crypto_shorthash_KEYBYTES];
	size_t kept; /* memory of messages, of all apps */
} book;

void
sides_init(void)
{
	table_init(&book.apps, KEY_SIZE);
	table_init(&book.sides, sizeof(struct chat_key));
	randombytes_buf(book.seed, sizeof(book.seed));
}

/* --- apps ---------------------------------------------------------------- */

int
app_id_read(uint8_t key[KEY_SIZE], struct span text)
{
	char hex[APP_ID_LENGTH + 1];

	if (text.length != APP_ID_LENGTH)
		return (-1);
	memcpy(hex, text.bytes, APP_ID_LENGTH);
	hex[APP_ID_LENGTH] = '\0';
	return (hex_decode(key, KEY_SIZE, hex));
}

struct app *
app_find(const uint8_t key[KEY_SIZE])
{
	return (table_get(&book.apps, key));
}

struct app *
app_make(const uint8_t key[KEY_SIZE])
{
	struct app *app = app_find(key);

	if (app != NULL)
		return (app);
	if ((app = calloc(1, sizeof(*app))) == NULL)
		return (NULL);
	memcpy(app->key, key, KEY_SIZE);
	TAILQ_INIT(&app->sides);
	TAILQ_INIT(&app->blocked);
	TAILQ_INIT(&app->unwritten);
	table_init(&app->by_id, sizeof(uint64_t));
	if (table_put(&book.apps, app->key, app) == -1) {
		free(app);
		return (NULL);
	}
	return (app);
}

void
app_release(struct app *app)
{
	if (app->session != NULL || app->busy > 0 || app->replaced ||
	    !TAILQ_EMPTY(&app->sides))
		return;
	(void)table_remove(&book.apps, app->key);
	table_free(&app->by_id);
	free(app);
}

void
app_connected(struct app *app, struct session *session)
{
	struct side *side, *next;

	app->session = session;
	app->replaced = 0;
	app->busy++;
	for (side = TAILQ_FIRST(&app->sides); side != NULL; side = next) {
		next = TAILQ_NEXT(side, app_entry);
		ready_tell_offer(side);
		if (!session->accept_auto || side->ending)
			continue;
		if (side_established(side)) {
			core_attach(&side->core, 1);
			peer_watch(side->peer);
			start_resume(side);
			flow_mark(side);
		} else if (side->offer_version > 0)
			start_auto(side);
	}
	app->busy--;
}

void
app_disconnected(struct app *app, struct session *session)
{
	struct side *side, *next;
	struct ipc_app down;
	struct ipc *mesh = proc_ipc(PROCESS_MESH);

	if (app->session != session)
		return;
	app->session = NULL;
	app->busy++;
	for (side = TAILQ_FIRST(&app->sides); side != NULL; side = next) {
		next = TAILQ_NEXT(side, app_entry);
		core_attach(&side->core, 0);
		flow_leave(side);
		side->mark_sequence = 0;
		side_account(side);
		side->told_away = 0;
		if (side_established(side))
			side->resume_at = 0;
		start_forget(side);
		if (!side->known)
			side_drop(side);
	}
	app->busy--;
	if (!app->replaced && mesh != NULL) {
		memcpy(down.app, app->key, KEY_SIZE);
		ipc_send(mesh, IPC_APP_DOWN, &down, NULL, 0);
	}
	app_release(app);
}

int
app_waits(const struct app *app)
{
	const struct side *side;

	TAILQ_FOREACH(side, &app->sides, app_entry)
	if ((side->ask != NULL && side->ask->session == app->session->number) ||
	    side->deletion != NULL ||
	    (core_unacknowledged(&side->core) > 0 && side->peer->present))
		return (1);
	return (app->session->finds > 0);
}

/* --- sides --------------------------------------------------------------- */

struct side *
side_find(const struct chat_key *key)
{
	return (table_get(&book.sides, key));
}

struct side *
side_next(size_t *cursor)
{
	return (table_next(&book.sides, cursor));
}

size_t
side_count(void)
{
	return (book.sides.count);
}

static uint64_t
id_hash(const void *chat_id, size_t length)
{
	uint64_t hash;

	(void)crypto_shorthash((uint8_t *)&hash, chat_id, length, book.seed);
	return (hash);
}

/*
 * Sides of one id of an app are a ring, whose first is in the table: those that
 * the app took up, the last first, then the others. Two are enough to see what
 * an id means, however many there are.
 */
static void
ring_insert(struct side *first, struct side *side)
{
	side->same_next = first;
	side->same_prev = first->same_prev;
	first->same_prev->same_next = side;
	first->same_prev = side;
}

static void
ring_remove(struct side *side)
{
	side->same_next->same_prev = side->same_prev;
	side->same_prev->same_next = side->same_next;
}

/* In the place of the first: its key is there, so this does not fail. */
static void
ring_first(struct side *side)
{
	(void)table_put(&side->app->by_id, &side->id_hash, side);
}

static int
side_index(struct side *side)
{
	struct side *first;

	side->id_hash = id_hash(side->chat_id, strlen(side->chat_id));
	first = table_get(&side->app->by_id, &side->id_hash);
	if (first != NULL) {
		ring_insert(first, side);
		return (0);
	}
	side->same_next = side->same_prev = side;
	return (table_put(&side->app->by_id, &side->id_hash, side));
}

static void
side_unindex(struct side *side)
{
	struct table *by_id = &side->app->by_id;

	if (side->same_next == side)
		(void)table_remove(by_id, &side->id_hash);
	else if (table_get(by_id, &side->id_hash) == side)
		ring_first(side->same_next);
	ring_remove(side);
}

static void
side_begin(struct side *side)
{
	const struct config_limits *limits = &proc_config()->limits;

	core_init(&side->core, limits->chat_window_messages,
	    limits->chat_window_bytes);
}

struct side *
side_make(const uint8_t local[KEY_SIZE], const uint8_t peer[KEY_SIZE],
    const char *chat_id)
{
	size_t length = strlen(chat_id) + 1;
	struct side *side;

	if ((side = calloc(1, sizeof(*side) + length)) == NULL)
		return (NULL);
	if (chat_key_make(&side->key, chat_id, local, peer) == -1)
		goto fail;
	memcpy(side->chat_id, chat_id, length);
	side_begin(side);
	if ((side->app = app_make(local)) == NULL ||
	    (side->peer = peer_make(peer)) == NULL)
		goto fail;
	if (table_put(&book.sides, &side->key, side) == -1)
		goto fail;
	if (side_index(side) == -1) {
		(void)table_remove(&book.sides, &side->key);
		goto fail;
	}
	TAILQ_INSERT_TAIL(&side->app->sides, side, app_entry);
	TAILQ_INSERT_TAIL(&side->peer->sides, side, peer_entry);
	side->app->offers++;
	return (side);
fail:
	if (side->peer != NULL)
		peer_release(side->peer);
	if (side->app != NULL)
		app_release(side->app);
	free(side);
	return (NULL);
}

void
side_drop(struct side *side)
{
	struct app *app = side->app;
	struct peer *peer = side->peer;

	(void)table_remove(&book.sides, &side->key);
	side_unindex(side);
	TAILQ_REMOVE(&app->sides, side, app_entry);
	TAILQ_REMOVE(&peer->sides, side, peer_entry);
	flow_forget(side);
	resume_over(side);
	start_forget(side);
	start_schedule(side, 0);
	if (side->taken)
		app->taken--;
	else
		app->offers--;
	app->kept -= side->kept;
	book.kept -= side->kept;
	core_free(&side->core);
	free(side->deletion);
	free(side->offer);
	free(side);
	peer_release(peer);
	app_release(app);
}

void
side_renew(struct side *side)
{
	flow_forget(side);
	core_free(&side->core);
	side_begin(side);
	side_account(side);
	free(side->offer);
	side->offer = NULL;
	side->offer_version = 0;
	side->offer_session = 0;
	memset(side->instance, 0, INSTANCE_SIZE);
	side->mark_sequence = side->mark_offset = 0;
	side->known = side->ending = side->left = 0;
	side->told_away = side->tries = 0;
	side->accepted = side->anew = side->reset_untold = 0;
	start_schedule(side, 0);
}

void
side_taken(struct side *side)
{
	struct side *first = table_get(&side->app->by_id, &side->id_hash);

	if (side->taken)
		return;
	side->taken = 1;
	side->app->taken++;
	side->app->offers--;
	if (first == side)
		return;
	ring_remove(side);
	ring_insert(first, side);
	ring_first(side);
}

int
side_take(struct side *side)
{
	if (!side->taken &&
	    side->app->taken >= proc_config()->limits.chats_per_app)
		return (-1);
	side_taken(side);
	return (0);
}

int
side_established(const struct side *side)
{
	return (side->core.version > 0);
}

static int
has_id(const struct side *side, struct span chat_id)
{
	return (strlen(side->chat_id) == chat_id.length &&
		memcmp(side->chat_id, chat_id.bytes, chat_id.length) == 0);
}

static int
has_peer(const struct side *side, struct span peer)
{
	return (peer.length == APP_ID_LENGTH &&
		memcmp(peer.bytes, side->peer->hex, APP_ID_LENGTH) == 0);
}

/* One of many: the whole key finds it. */
static struct side *
side_of_peer(const struct app *app, const char *chat_id, struct span peer)
{
	struct chat_key key;
	uint8_t other[KEY_SIZE];
	struct side *side;

	if (app_id_read(other, peer) == -1 ||
	    chat_key_make(&key, chat_id, app->key, other) == -1)
		return (NULL);
	side = side_find(&key);
	return (side != NULL && has_peer(side, peer) ? side : NULL);
}

enum hermes_code
side_lookup(
    struct app *app, struct span chat_id, struct span peer, struct side **found)
{
	uint64_t hash = id_hash(chat_id.bytes, chat_id.length);
	struct side *first = table_get(&app->by_id, &hash);
	struct side *side = first, *best = NULL;

	*found = NULL;
	if (first == NULL)
		return (CODE_CHAT_NOT_FOUND);
	do {
		/* Others are here once in 2^64 ids. */
		if (!has_id(side, chat_id))
			continue;
		/*
		 * What strangers offer under the same id makes nothing
		 * ambiguous: chats that the app took up come first.
		 */
		if (best != NULL && side->taken == best->taken)
			return (CODE_AMBIGUOUS_CHAT);
		if (best != NULL)
			break;
		best = side;
		if (peer.length > 0) {
			if (!has_peer(side, peer))
				best = side_of_peer(app, side->chat_id, peer);
			break;
		}
	} while ((side = side->same_next) != first);
	*found = best;
	return (best != NULL ? CODE_NONE : CODE_CHAT_NOT_FOUND);
}

void
side_account(struct side *side)
{
	size_t kept = core_memory(&side->core);

	side->app->kept += kept - side->kept;
	book.kept += kept - side->kept;
	side->kept = kept;
}

size_t
apps_kept(void)
{
	return (book.kept);
}

int
app_may_keep(const struct app *app, size_t bytes)
{
	uint64_t most = proc_config()->limits.kept_messages;

	return (book.kept < most && app->kept + bytes <= most - book.kept);
}

void
side_tell(struct side *side, const char *status, struct span correlation)
{
	struct frame_body *body = &session_body;

	if (side->app->session == NULL)
		return;
	frame_begin(body, FRAME_CHAT_STATUS);
	frame_put_text(body, 1, side->chat_id);
	frame_put_text(body, 2, status);
	frame_put_number(body, 3, side->core.version);
	frame_put_text(body, 20, side->peer->hex);
	session_send(side->app->session, body, correlation);
}
