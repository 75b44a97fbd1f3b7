/*
 * Any process. A hash table from keys of one fixed width to pointers; every
 * operation O(1) on average whatever an enemy chooses as keys (SipHash-2-4
 * under a random key, https://131002.net/siphash/).
 */
#ifndef COMMON_UTIL_TABLE_H
#define COMMON_UTIL_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_slot;

struct table {
	struct table_slot *slots; /* owned */
	size_t size;              /* slots, a power of two */
	size_t count;             /* entries */
	size_t used;              /* entries and graves */
	size_t key_size;          /* bytes */
	size_t recent;            /* slot found last */
	uint8_t seed[16];
};

void table_init(struct table *table, size_t key_size);
void table_free(struct table *table); /* not the values */

/* The value stored under key, or NULL. */
void *table_get(const struct table *table, const void *key);

/*
 * Store value, not NULL, under key, which must stay valid and unchanged as
 * long as it is in the table (usually it lies inside the value). Replaces.
 * 0, or -1 with errno ENOMEM and nothing changed.
 */
int table_put(struct table *table, const void *key, void *value);

/* Take key out; its value, or NULL if it was not there. */
void *table_remove(struct table *table, const void *key);

/*
 * Walk all values: start with *cursor = 0, NULL at the end. The value just
 * returned may be removed during the walk; nothing may be added.
 */
void *table_next(const struct table *table, size_t *cursor);

#endif
