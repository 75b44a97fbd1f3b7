/*
 * keyd only. What is left of chats that ended: the versions they had, so that
 * nothing of them is taken for a later one's. See chat.h.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/log.h"
#include "keyd/chat.h"

#define ROOM_SAMPLES 1024 /* looked at, to make room */
#define ROOM_PART    64   /* one of so many goes early */

static void
tombstone_id(const struct chat_key *key, uint8_t id[KEY_SIZE])
{
	static const char domain[] = "hermes-tombstone-v1";

	(void)crypto_generichash(id, KEY_SIZE, (const uint8_t *)key,
	    sizeof(*key), (const uint8_t *)domain, sizeof(domain) - 1);
}

struct tombstone *
tombstone_find(const struct chats *chats, const struct chat_key *key)
{
	uint8_t id[KEY_SIZE];

	tombstone_id(key, id);
	return (table_get(&chats->tombstones, id));
}

/* NULL also when its time is over. */
static const struct tombstone *
tombstone_valid(const struct chats *chats, const struct chat_key *key)
{
	const struct tombstone *tombstone = tombstone_find(chats, key);

	return (tombstone != NULL && tombstone->until >= chats->now ? tombstone
								    : NULL);
}

uint32_t
tombstone_floor(const struct chats *chats, const struct chat_key *key)
{
	const struct tombstone *tombstone = tombstone_valid(chats, key);

	return (tombstone == NULL ? 0 : tombstone->floor);
}

uint32_t
tombstone_ended(const struct chats *chats, const struct chat_key *key)
{
	const struct tombstone *tombstone = tombstone_valid(chats, key);

	return (tombstone == NULL ? 0 : tombstone->ended);
}

int
tombstone_is(const struct chats *chats, const struct chat_key *key,
    const uint8_t instance[INSTANCE_SIZE])
{
	const struct tombstone *tombstone = tombstone_valid(chats, key);

	return (tombstone != NULL &&
		instance_is_same(tombstone->instance, instance));
}

int
tombstone_has_instance(const struct chats *chats, const struct chat_key *key)
{
	const struct tombstone *tombstone = tombstone_valid(chats, key);

	return (tombstone != NULL && instance_is_known(tombstone->instance));
}

void
tombstone_raise(struct chats *chats, const struct chat_key *key, uint32_t floor,
    enum hermes_status status, const uint8_t instance[INSTANCE_SIZE])
{
	int64_t lifetime = chats->config->rekey.key_lifetime;
	struct tombstone *tombstone;
	uint8_t id[KEY_SIZE];

	tombstone_id(key, id);
	tombstone = table_get(&chats->tombstones, id);
	if (tombstone == NULL) {
		if ((tombstone = calloc(1, sizeof(*tombstone))) == NULL)
			fatal("memory", "what=tombstone");
		memcpy(tombstone->id, id, KEY_SIZE);
		if (table_put(&chats->tombstones, tombstone->id, tombstone) ==
		    -1)
			fatal("memory", "what=tombstone");
	}
	if (tombstone->until < chats->now) {
		tombstone->floor = tombstone->ended = 0;
		tombstone->status = STATUS_NONE;
		memset(tombstone->instance, 0, INSTANCE_SIZE);
	}
	if (floor > tombstone->floor)
		tombstone->floor = floor;
	if (status != STATUS_NONE) {
		tombstone->status = status;
		if (floor > tombstone->ended)
			tombstone->ended = floor;
		if (instance_is_known(instance))
			memcpy(tombstone->instance, instance, INSTANCE_SIZE);
	}
	tombstone->until = lifetime == 0 || chats->now > INT64_MAX - lifetime
			       ? INT64_MAX
			       : chats->now + lifetime;
}

/* --- room for more ------------------------------------------------------- */

static int
compare_times(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return ((x > y) - (x < y));
}

/* A time before which about one of ROOM_PART ends. */
static int64_t
room_until(const struct table *tombstones)
{
	int64_t times[ROOM_SAMPLES];
	const struct tombstone *tombstone;
	size_t i, at, count = 0;

	/* Where one is in the table is chance. */
	for (i = 0; i < ROOM_SAMPLES; i++) {
		at = tombstones->size / ROOM_SAMPLES * i;
		if ((tombstone = table_next(tombstones, &at)) != NULL)
			times[count++] = tombstone->until;
	}
	if (count == 0)
		return (0);
	qsort(times, count, sizeof(times[0]), compare_times);
	return (times[count / ROOM_PART]);
}

int
tombstone_room(struct chats *chats)
{
	struct tombstone *tombstone;
	size_t cursor = 0, gone = 0;
	int64_t until;

	if (chats->tombstones.count < TOMBSTONES_MAX || chats->purge_at == 0)
		return (0);
	until = room_until(&chats->tombstones);
	while ((tombstone = table_next(&chats->tombstones, &cursor)) != NULL)
		if (tombstone->until < until) {
			tombstone->until = 0;
			gone++;
		}
	if (gone == 0)
		return (-1);
	log_warn("tombstones_forgotten", "count=%zu", gone);
	chats->purge_at = 0; /* with the next commit */
	return (0);
}
