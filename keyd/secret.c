/*
 * keyd only. Pools of slots for secrets; see secret.h. A free slot holds
 * nothing but the link to the next free one.
 */

#include <sys/mman.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/log.h"
#include "keyd/secret.h"

#define CHUNK_SIZE   65536
#define STACK_WIPED  (24 * 1024)  /* below the turn of the event loop */
#define STACK_LOCKED (128 * 1024) /* below the start */

struct slot {
	struct slot *next;
};

struct chunk {
	struct chunk *next;
	uint8_t *pages; /* sodium_malloc(), CHUNK_SIZE */
};

static const size_t slot_sizes[] = { 64, 160, 512, SECRET_MAX };
#define SLOT_SIZES (sizeof(slot_sizes) / sizeof(slot_sizes[0]))

static struct {
	struct slot *vacant[SLOT_SIZES];
	struct chunk *chunks;
	size_t locked;
	int warned;
} pools;

static size_t
pool_of(size_t size)
{
	size_t pool;

	for (pool = 0; pool < SLOT_SIZES; pool++)
		if (size > 0 && size <= slot_sizes[pool])
			return (pool);
	fatal("secret_size", "size=%zu", size);
}

static void
pages_lock(void *pages, size_t length)
{
	if (mlock(pages, length) == 0 || pools.warned)
		return;
	log_warn("memory_not_locked", "error=\"%s\" hint=%s", strerror(errno),
	    "RLIMIT_MEMLOCK");
	pools.warned = 1;
}

static int
pool_grow(size_t pool)
{
	struct chunk *chunk = calloc(1, sizeof(*chunk));
	size_t at;

	if (chunk == NULL)
		return (-1);
	if ((chunk->pages = sodium_malloc(CHUNK_SIZE)) == NULL) {
		free(chunk);
		errno = ENOMEM;
		return (-1);
	}
	/* sodium_malloc() locks too, but does not say when it could not. */
	pages_lock(chunk->pages, CHUNK_SIZE);
	chunk->next = pools.chunks;
	pools.chunks = chunk;
	pools.locked += CHUNK_SIZE;
	for (at = 0; at + slot_sizes[pool] <= CHUNK_SIZE;
	     at += slot_sizes[pool]) {
		struct slot *slot = (struct slot *)(void *)(chunk->pages + at);

		slot->next = pools.vacant[pool];
		pools.vacant[pool] = slot;
	}
	return (0);
}

void *
secret_new(size_t size)
{
	size_t pool = pool_of(size);
	struct slot *slot;

	if (pools.vacant[pool] == NULL && pool_grow(pool) == -1)
		return (NULL);
	slot = pools.vacant[pool];
	pools.vacant[pool] = slot->next;
	memset(slot, 0, slot_sizes[pool]);
	return (slot);
}

void
secret_free(void *secret, size_t size)
{
	size_t pool = pool_of(size);
	struct slot *slot = secret;

	if (slot == NULL)
		return;
	sodium_memzero(slot, slot_sizes[pool]);
	slot->next = pools.vacant[pool];
	pools.vacant[pool] = slot;
}

void
secret_wipe_all(void)
{
	struct chunk *chunk;
	size_t pool;

	for (chunk = pools.chunks; chunk != NULL; chunk = chunk->next)
		sodium_memzero(chunk->pages, CHUNK_SIZE);
	for (pool = 0; pool < SLOT_SIZES; pool++)
		pools.vacant[pool] = NULL;
}

void
secret_lock_stack(void)
{
	uint8_t here = 0;

	/* Makes the pages be there, too. */
	sodium_stackzero(STACK_LOCKED);
	pages_lock((void *)((uintptr_t)&here - STACK_LOCKED), STACK_LOCKED);
}

void
secret_wipe_stack(void)
{
	sodium_stackzero(STACK_WIPED);
}

size_t
secret_locked(void)
{
	return (pools.locked);
}
