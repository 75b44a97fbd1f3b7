/*
 * Any process. Open addressing with linear probing; see table.h. A removed
 * entry leaves a grave that the next rehash clears.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/table.h"

#define TABLE_MIN 16

struct table_slot {
	const void *key; /* NULL: never used */
	void *value;     /* NULL with a key: a grave */
};

static const char grave;

void
table_init(struct table *table, size_t key_size)
{
	memset(table, 0, sizeof(*table));
	table->key_size = key_size;
	randombytes_buf(table->seed, sizeof(table->seed));
}

void
table_free(struct table *table)
{
	free(table->slots);
	table->slots = NULL;
	table->size = table->count = table->used = 0;
}

static size_t
table_hash(const struct table *table, const void *key)
{
	uint8_t out[crypto_shorthash_BYTES];
	uint64_t hash;

	(void)crypto_shorthash(out, key, table->key_size, table->seed);
	memcpy(&hash, out, sizeof(hash));
	return ((size_t)hash & (table->size - 1));
}

static int
table_holds(
    const struct table *table, const struct table_slot *slot, const void *key)
{
	return (slot->value != NULL &&
		memcmp(slot->key, key, table->key_size) == 0);
}

/*
 * The slot that holds key, or NULL. Often it is the one found before: what
 * comes in bursts is looked up in bursts.
 */
static struct table_slot *
table_find(const struct table *table, const void *key)
{
	/* A hint, whatever it says: no part of what const promises. */
	size_t *recent = &((struct table *)(uintptr_t)table)->recent;
	struct table_slot *slot;
	size_t i;

	if (table->size == 0)
		return (NULL);
	if (*recent < table->size &&
	    table_holds(table, &table->slots[*recent], key))
		return (&table->slots[*recent]);
	for (i = table_hash(table, key);; i = (i + 1) & (table->size - 1)) {
		slot = &table->slots[i];
		if (slot->key == NULL)
			return (NULL);
		if (table_holds(table, slot, key)) {
			*recent = i;
			return (slot);
		}
	}
}

/* Put into a table that has room and does not hold key. */
static void
table_place(struct table *table, const void *key, void *value)
{
	size_t i = table_hash(table, key);

	while (table->slots[i].key != NULL)
		i = (i + 1) & (table->size - 1);
	table->slots[i].key = key;
	table->slots[i].value = value;
	table->count++;
	table->used++;
}

static int
table_grow(struct table *table)
{
	struct table bigger = *table;
	size_t i;

	bigger.size = TABLE_MIN;
	while (bigger.size < table->count * 2)
		bigger.size *= 2;
	bigger.count = bigger.used = 0;
	bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
	if (bigger.slots == NULL)
		return (-1);
	for (i = 0; i < table->size; i++)
		if (table->slots[i].value != NULL)
			table_place(&bigger, table->slots[i].key,
			    table->slots[i].value);
	free(table->slots);
	*table = bigger;
	return (0);
}

void *
table_get(const struct table *table, const void *key)
{
	struct table_slot *slot = table_find(table, key);

	return (slot == NULL ? NULL : slot->value);
}

int
table_put(struct table *table, const void *key, void *value)
{
	struct table_slot *slot = table_find(table, key);

	if (slot != NULL) {
		slot->key = key;
		slot->value = value;
		return (0);
	}
	if ((table->used + 1) * 4 > table->size * 3 &&
	    table_grow(table) == -1) {
		errno = ENOMEM;
		return (-1);
	}
	table_place(table, key, value);
	return (0);
}

void *
table_remove(struct table *table, const void *key)
{
	struct table_slot *slot = table_find(table, key);
	void *value;

	if (slot == NULL)
		return (NULL);
	value = slot->value;
	slot->key = &grave;
	slot->value = NULL;
	table->count--;
	return (value);
}

void *
table_next(const struct table *table, size_t *cursor)
{
	while (*cursor < table->size) {
		struct table_slot *slot = &table->slots[(*cursor)++];

		if (slot->value != NULL)
			return (slot->value);
	}
	return (NULL);
}
