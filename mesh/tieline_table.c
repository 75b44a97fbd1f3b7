/*
 * mesh, unprivileged. The table of tielines and the acknowledgements that
 * wait for the end of the turn. See tieline_table.h.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/util/log.h"
#include "common/util/table.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/tieline.h"
#include "mesh/tieline_table.h"
#include "mesh/wire_frame.h"

#define TIELINES_MAX (1U << 20)

/* An attestation that tielines of the same app share. */
struct seen {
	struct attestation what;
	unsigned int refs;
};

static struct table tielines; /* by handle */
static struct table seens;    /* by all of the attestation */
static TAILQ_HEAD(, tieline) dirty = TAILQ_HEAD_INITIALIZER(dirty);

struct tieline *
tieline_find(const uint8_t handle[KEY_SIZE])
{
	if (tielines.key_size == 0)
		return (NULL);
	return (table_get(&tielines, handle));
}

struct tieline *
tieline_next(size_t *cursor)
{
	if (tielines.key_size == 0)
		return (NULL);
	return (table_next(&tielines, cursor));
}

size_t
tieline_count(void)
{
	return (tielines.count);
}

struct tieline_side *
tieline_side_of(struct tieline *tieline, const struct peer *peer)
{
	int i;

	for (i = CHAT_LO; i <= CHAT_HI; i++)
		if (tieline->side[i].used && tieline->side[i].peer == peer)
			return (&tieline->side[i]);
	return (NULL);
}

uint8_t
tieline_which(const struct tieline *tieline, const struct tieline_side *side)
{
	return (side == &tieline->side[CHAT_LO] ? CHAT_LO : CHAT_HI);
}

static void
seen_release(const struct attestation *what)
{
	struct seen *seen;

	if (what == NULL)
		return;
	seen = table_get(&seens, what);
	if (--seen->refs > 0)
		return;
	(void)table_remove(&seens, &seen->what);
	free(seen);
}

/* NULL when memory is short. */
static const struct attestation *
seen_take(const struct attestation *what)
{
	struct seen *seen;

	if (seens.key_size == 0)
		table_init(&seens, sizeof(seen->what));
	if ((seen = table_get(&seens, what)) == NULL) {
		if ((seen = calloc(1, sizeof(*seen))) == NULL)
			return (NULL);
		seen->what = *what;
		if (table_put(&seens, &seen->what, seen) == -1) {
			free(seen);
			return (NULL);
		}
	}
	seen->refs++;
	return (&seen->what);
}

static struct tieline *
tieline_new(const uint8_t handle[KEY_SIZE], const char *chat_id)
{
	size_t length = strlen(chat_id) + 1;
	struct tieline *tieline;

	if (tielines.key_size == 0)
		table_init(&tielines, KEY_SIZE);
	if (tielines.count >= TIELINES_MAX ||
	    (tieline = calloc(1, sizeof(*tieline) + length)) == NULL)
		return (NULL);
	memcpy(tieline->handle, handle, KEY_SIZE);
	memcpy(tieline->chat_id, chat_id, length);
	if (table_put(&tielines, tieline->handle, tieline) == -1) {
		free(tieline);
		return (NULL);
	}
	return (tieline);
}

static void
side_clear(struct tieline_side *side)
{
	if (side->used && side->peer != NULL)
		route_unneed(side->peer);
	seen_release(side->seen);
	memset(side, 0, sizeof(*side));
}

struct tieline_side *
tieline_take(const struct chat_key *key, const char *chat_id, struct peer *peer)
{
	struct tieline *tieline = tieline_find(key->handle);
	struct tieline_side *side, *other;

	if (tieline == NULL &&
	    (tieline = tieline_new(key->handle, chat_id)) == NULL)
		return (NULL);
	side = &tieline->side[key->side];
	other = &tieline->side[key->side ^ 1];
	/* Its app is at that node, so it left what this side stands for: a
	 * frame from there is for one of the two. */
	if (peer != NULL && other->peer == peer)
		side_clear(other);
	if (side->used && side->peer == peer)
		return (side);
	side_clear(side);
	side->used = 1;
	side->peer = peer;
	if (peer != NULL)
		route_need(peer);
	return (side);
}

void
tieline_saw(struct tieline_side *side, const struct attestation *attestation)
{
	const struct attestation *seen = seen_take(attestation);

	if (seen == NULL)
		return;
	seen_release(side->seen);
	side->seen = seen;
}

int
tieline_drop(struct tieline *tieline, uint8_t which)
{
	side_clear(&tieline->side[which]);
	if (tieline->side[CHAT_LO].used || tieline->side[CHAT_HI].used)
		return (0);
	if (tieline->dirty)
		TAILQ_REMOVE(&dirty, tieline, entry);
	(void)table_remove(&tielines, tieline->handle);
	free(tieline);
	return (1);
}

void
tieline_over(
    const struct chat_key *key, const struct peer *peer, int unconfirmed)
{
	struct tieline *tieline = tieline_find(key->handle);
	const struct tieline_side *side;

	if (tieline == NULL)
		return;
	side = &tieline->side[key->side];
	if (side->used && side->peer == peer &&
	    !(unconfirmed && side->confirmed))
		(void)tieline_drop(tieline, key->side);
}

void
tieline_forget_peer(const struct peer *peer)
{
	struct tieline *tieline;
	size_t cursor = 0;
	int lo, hi;

	while ((tieline = tieline_next(&cursor)) != NULL) {
		lo = tieline->side[CHAT_LO].used &&
		     tieline->side[CHAT_LO].peer == peer;
		hi = tieline->side[CHAT_HI].used &&
		     tieline->side[CHAT_HI].peer == peer;
		if (lo && tieline_drop(tieline, CHAT_LO))
			continue;
		if (hi)
			(void)tieline_drop(tieline, CHAT_HI);
	}
}

static void
on_turn_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	tieline_flush();
}

void
tieline_mark(struct tieline *tieline)
{
	static struct event *turn_over;

	if (tieline->dirty)
		return;
	if (turn_over == NULL && (turn_over = event_new(proc_base(), -1, 0,
				      on_turn_over, NULL)) == NULL)
		fatal("event", "error=memory");
	/* Runs when what is now ready has been handled. */
	if (TAILQ_EMPTY(&dirty))
		event_active(turn_over, EV_TIMEOUT, 1);
	tieline->dirty = 1;
	TAILQ_INSERT_TAIL(&dirty, tieline, entry);
}

static void
ack_router(struct tieline *tieline, uint8_t which, uint64_t sequence)
{
	struct ipc *router = proc_ipc(PROCESS_ROUTER);
	struct ipc_relay_ack ack = { 0 };

	if (router == NULL)
		return;
	memcpy(ack.key.handle, tieline->handle, KEY_SIZE);
	ack.key.side = which;
	ack.sequence = sequence;
	ipc_send(router, IPC_RELAY_ACK, &ack, NULL, 0);
}

static void
ack_peer(struct tieline *tieline, struct tieline_side *side)
{
	struct frame frame = { .body = FRAME_RELAY_ACK };

	frame.handle = tieline->handle;
	frame.chat_id.bytes = (const uint8_t *)tieline->chat_id;
	frame.chat_id.length = strlen(tieline->chat_id);
	frame.sequence = side->ack_out;
	(void)route_send(side->peer, &frame, 0);
}

void
tieline_flush(void)
{
	struct tieline *tieline;
	unsigned which;

	while ((tieline = TAILQ_FIRST(&dirty)) != NULL) {
		TAILQ_REMOVE(&dirty, tieline, entry);
		tieline->dirty = 0;
		for (which = CHAT_LO; which <= CHAT_HI; which++) {
			struct tieline_side *side = &tieline->side[which];

			if (side->used && side->ack_in > 0)
				ack_router(
				    tieline, (uint8_t)which, side->ack_in);
			if (side->used && side->ack_out > 0) {
				if (side->peer == NULL)
					ack_router(
					    tieline, which ^ 1, side->ack_out);
				else
					ack_peer(tieline, side);
			}
			side->ack_in = 0;
			side->ack_out = 0;
		}
	}
}
