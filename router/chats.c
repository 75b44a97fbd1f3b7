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
		flow_unblock(side);
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

/* Sides of one id hang on the first, whose hash is the table's key. */
static int
side_index(struct side *side)
{
	struct app *app = side->app;
	struct side *first;

	side->id_hash = id_hash(side->chat_id, strlen(side->chat_id));
	first = table_get(&app->by_id, &side->id_hash);
	if (first != NULL) {
		side->same_id = first->same_id;
		first->same_id = side;
		return (0);
	}
	return (table_put(&app->by_id, &side->id_hash, side));
}

static void
side_unindex(struct side *side)
{
	struct app *app = side->app;
	struct side *first = table_get(&app->by_id, &side->id_hash);
	struct side **at;

	if (first == side) {
		(void)table_remove(&app->by_id, &side->id_hash);
		/* The place just left is free: this does not fail. */
		if (side->same_id != NULL)
			(void)table_put(&app->by_id, &side->same_id->id_hash,
			    side->same_id);
		return;
	}
	for (at = &first->same_id; *at != side; at = &(*at)->same_id)
		;
	*at = side->same_id;
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
	app->bytes -= side->bytes;
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
	side->mark_sequence = side->mark_offset = 0;
	side->known = side->ending = side->left = 0;
	side->told_away = side->tries = 0;
	side->accepted = side->anew = side->reset_untold = 0;
	start_schedule(side, 0);
}

int
side_take(struct side *side)
{
	struct app *app = side->app;

	if (side->taken)
		return (0);
	if (app->taken >= proc_config()->limits.chats_per_app)
		return (-1);
	side->taken = 1;
	app->taken++;
	app->offers--;
	return (0);
}

int
side_established(const struct side *side)
{
	return (side->core.version > 0);
}

enum hermes_code
side_lookup(
    struct app *app, struct span chat_id, struct span peer, struct side **found)
{
	struct side *side, *best = NULL;
	uint64_t hash = id_hash(chat_id.bytes, chat_id.length);
	int rivals = 0;

	*found = NULL;
	for (side = table_get(&app->by_id, &hash); side != NULL;
	     side = side->same_id) {
		if (strlen(side->chat_id) != chat_id.length ||
		    memcmp(side->chat_id, chat_id.bytes, chat_id.length) != 0)
			continue;
		if (peer.length > 0) {
			if (peer.length == APP_ID_LENGTH &&
			    memcmp(peer.bytes, side->peer->hex,
				APP_ID_LENGTH) == 0)
				best = side;
			continue;
		}
		/*
		 * What strangers offer under the same id makes nothing
		 * ambiguous: chats that the app took up come first.
		 */
		if (best == NULL || (side->taken && !best->taken)) {
			best = side;
			rivals = 0;
		} else if (side->taken == best->taken)
			rivals++;
	}
	if (best == NULL)
		return (CODE_CHAT_NOT_FOUND);
	if (rivals > 0)
		return (CODE_AMBIGUOUS_CHAT);
	*found = best;
	return (CODE_NONE);
}

void
side_account(struct side *side)
{
	size_t bytes = core_bytes(&side->core);

	side->app->bytes += bytes - side->bytes;
	side->bytes = bytes;
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
