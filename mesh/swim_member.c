/*
 * mesh, unprivileged. Who is known: members, their states and the arrays they
 * are drawn from; see swim.h.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/swim_internal.h"

#define EVICT_DRAWS 8
#define PICK_DRAWS  8

struct swim_statement *
swim_statement_make(const uint8_t key[KEY_SIZE], const char *node_id,
    uint64_t incarnation, const void *bytes, size_t length)
{
	struct swim_statement *statement;
	size_t name = strnlen(node_id, NODE_ID_SIZE);

	if (length > SWIM_STATEMENT_MAX || !node_id_valid(node_id, name) ||
	    incarnation == 0 || incarnation > SWIM_INCARNATION_MAX) {
		errno = EINVAL;
		return (NULL);
	}
	statement = calloc(1, sizeof(*statement) + length);
	if (statement == NULL)
		return (NULL);
	statement->references = 1;
	statement->length = (uint32_t)length;
	memcpy(statement->key, key, KEY_SIZE);
	memcpy(statement->node_id, node_id, name);
	statement->incarnation = incarnation;
	if (length > 0)
		memcpy(statement->bytes, bytes, length);
	return (statement);
}

struct swim_statement *
swim_statement_hold(struct swim_statement *statement)
{
	statement->references++;
	return (statement);
}

void
swim_statement_free(struct swim_statement *statement)
{
	if (statement != NULL && --statement->references == 0)
		free(statement);
}

uint64_t
swim_incarnation(const struct swim_member *member)
{
	if (member->leave != NULL &&
	    member->leave->incarnation > member->alive->incarnation)
		return (member->leave->incarnation);
	return (member->alive->incarnation);
}

int
swim_is_live(const struct swim_member *member)
{
	return (member->state == NODE_ALIVE || member->state == NODE_SUSPECT);
}

uint32_t
swim_below(struct swim *swim, uint32_t bound)
{
	return ((uint32_t)(swim->random(swim->arg) % bound));
}

/* Room for one more of count; the array, or NULL and the old one is kept. */
void *
swim_grow(void *array, uint32_t count, uint32_t *size, size_t width)
{
	uint32_t bigger = *size == 0 ? 16 : *size * 2;
	void *grown;

	if (count < *size)
		return (array);
	grown = reallocarray(array, bigger, width);
	if (grown != NULL)
		*size = bigger;
	return (grown);
}

/* Both arrays get room for one more, so that moves between them never fail. */
static int
arrays_reserve(struct swim *swim)
{
	uint32_t all = swim->live_count + swim->dead_count;
	void *array;

	array = swim_grow(
	    swim->live, all, &swim->live_size, sizeof(struct swim_member *));
	if (array == NULL)
		return (-1);
	swim->live = array;
	array = swim_grow(
	    swim->dead, all, &swim->dead_size, sizeof(struct swim_member *));
	if (array == NULL)
		return (-1);
	swim->dead = array;
	array = swim_grow(swim->connected, all, &swim->connected_size,
	    sizeof(struct swim_member *));
	if (array == NULL)
		return (-1);
	swim->connected = array;
	array = swim_grow(swim->suspicions, all, &swim->suspicion_size,
	    sizeof(struct swim_suspicion *));
	if (array == NULL)
		return (-1);
	swim->suspicions = array;
	return (0);
}

static void
live_put(struct swim *swim, struct swim_member *member)
{
	member->slot = swim->live_count;
	swim->live[swim->live_count++] = member;
}

/* Close the gap, keeping those already probed in front of the cursor. */
static void
live_remove(struct swim *swim, struct swim_member *member)
{
	uint32_t gap = member->slot;

	if (gap < swim->cursor) {
		swim->cursor--;
		swim->live[gap] = swim->live[swim->cursor];
		swim->live[gap]->slot = gap;
		gap = swim->cursor;
	}
	if (gap == --swim->live_count)
		return;
	swim->live[gap] = swim->live[swim->live_count];
	swim->live[gap]->slot = gap;
}

static void
dead_put(struct swim *swim, struct swim_member *member)
{
	member->slot = swim->dead_count;
	swim->dead[swim->dead_count++] = member;
}

static void
dead_remove(struct swim *swim, struct swim_member *member)
{
	if (member->slot == --swim->dead_count)
		return;
	swim->dead[member->slot] = swim->dead[swim->dead_count];
	swim->dead[member->slot]->slot = member->slot;
}

/* Make room in a full list: of some that are gone, forget the longest. */
static int
member_evict(struct swim *swim)
{
	struct swim_member *oldest = NULL, *member;
	int i;

	for (i = 0; i < EVICT_DRAWS && swim->dead_count > 0; i++) {
		member = swim->dead[swim_below(swim, swim->dead_count)];
		if (oldest == NULL || member->since < oldest->since)
			oldest = member;
	}
	if (oldest == NULL)
		return (-1);
	swim_member_forget(swim, oldest);
	return (0);
}

struct swim_member *
swim_member_add(
    struct swim *swim, struct swim_statement *statement, int64_t now)
{
	struct swim_member *member;

	if (swim->live_count + swim->dead_count >= swim->config.members &&
	    member_evict(swim) == -1) {
		errno = ENOSPC;
		return (NULL);
	}
	if (arrays_reserve(swim) == -1 ||
	    (member = calloc(1, sizeof(*member))) == NULL)
		return (NULL);
	if (table_put(&swim->members, statement->key, member) == -1) {
		free(member);
		return (NULL);
	}
	member->alive = swim_statement_hold(statement);
	member->state = NODE_ALIVE;
	member->since = now;
	swim->counts.states[NODE_ALIVE]++;
	live_put(swim, member);
	return (member);
}

/* Move a member to another state: 1, or 0 when it is in it. */
int
swim_member_state(struct swim *swim, struct swim_member *member,
    enum node_state state, int64_t now)
{
	int was_live = swim_is_live(member);

	if (member->state == state)
		return (0);
	if (member->state == NODE_SUSPECT)
		swim_absolve(swim, member);
	swim->counts.states[member->state]--;
	swim->counts.states[state]++;
	member->state = (uint8_t)state;
	member->since = now;
	if (was_live && !swim_is_live(member)) {
		live_remove(swim, member);
		dead_put(swim, member);
	} else if (!was_live && swim_is_live(member)) {
		dead_remove(swim, member);
		live_put(swim, member);
	}
	return (1);
}

/* Only of a member that is dead. Freed when it was reported. */
void
swim_member_forget(struct swim *swim, struct swim_member *member)
{
	swim_connected(swim, member->alive->key, 0);
	swim_queue_drop(swim, member);
	swim->counts.states[member->state]--;
	dead_remove(swim, member);
	(void)table_remove(&swim->members, member->alive->key);
	member->flags |= MEMBER_FORGOTTEN;
	swim_changed(swim, member);
}

void
swim_member_free(struct swim_member *member)
{
	if (member == NULL)
		return;
	free(member->suspicion);
	swim_statement_free(member->alive);
	swim_statement_free(member->leave);
	free(member);
}

/* One of those that are gone a call, so that all are looked at in turn. */
void
swim_forget_tick(struct swim *swim, int64_t now)
{
	struct swim_member *member;

	if (swim->dead_count == 0)
		return;
	if (++swim->dead_cursor >= swim->dead_count)
		swim->dead_cursor = 0;
	member = swim->dead[swim->dead_cursor];
	if (now - member->since >= swim->config.forget_after)
		swim_member_forget(swim, member);
}

struct swim_member *
swim_pick(struct swim *swim, uint8_t (*not )[KEY_SIZE], size_t count)
{
	struct swim_member *member;
	size_t i;
	int draw;

	for (draw = 0; draw < PICK_DRAWS && swim->live_count > 0; draw++) {
		member = swim->live[swim_below(swim, swim->live_count)];
		for (i = 0; i < count; i++)
			if (memcmp(member->alive->key, not [i], KEY_SIZE) == 0)
				break;
		if (i == count)
			return (member);
	}
	return (NULL);
}

void
swim_connected(struct swim *swim, const uint8_t key[KEY_SIZE], int connected)
{
	struct swim_member *member = swim_find(swim, key), *last;
	uint32_t place;

	if (member == NULL || member == swim->self ||
	    (member->connection != 0) == (connected != 0))
		return;
	if (connected) {
		swim->connected[swim->connected_count++] = member;
		member->connection = swim->connected_count;
		return;
	}
	place = member->connection - 1;
	last = swim->connected[--swim->connected_count];
	swim->connected[place] = last;
	last->connection = place + 1;
	member->connection = 0;
}

struct swim_member *
swim_find(const struct swim *swim, const uint8_t key[KEY_SIZE])
{
	return (table_get(&swim->members, key));
}

const struct swim_member *
swim_self(const struct swim *swim)
{
	return (swim->self);
}

struct swim_member *
swim_walk(const struct swim *swim, size_t *cursor)
{
	size_t i = (*cursor)++;

	if (i < swim->live_count)
		return (swim->live[i]);
	i -= swim->live_count;
	return (i < swim->dead_count ? swim->dead[i] : NULL);
}

struct swim_member *
swim_random(struct swim *swim)
{
	return (swim_pick(swim, NULL, 0));
}

uint32_t
swim_live(const struct swim *swim)
{
	return (swim->live_count + (swim->self->state == NODE_ALIVE));
}
