/* router: copies of messages; see kept.h. Everything is O(1) a message. */

#include <stdlib.h>
#include <string.h>

#include "router/kept.h"

#define RING_MIN  8
#define RING_KEEP 16 /* a larger one is given back when empty */

size_t
kept_memory_of(size_t length, size_t correlation_length)
{
	return (sizeof(struct chat_kept) + sizeof(struct chat_kept *) + length +
		correlation_length);
}

static size_t
kept_memory(const struct chat_kept *kept)
{
	return (kept_memory_of(kept->length, kept->correlation_room));
}

void
ring_init(struct chat_ring *ring, uint64_t first)
{
	memset(ring, 0, sizeof(*ring));
	ring->first = ring->next = first;
}

struct chat_kept *
ring_get(const struct chat_ring *ring, uint64_t sequence)
{
	if (sequence < ring->first || sequence >= ring->next)
		return (NULL);
	return (ring->slots[sequence & (ring->size - 1)]);
}

static int
ring_grow(struct chat_ring *ring)
{
	struct chat_kept **slots;
	uint32_t size;
	uint64_t i;

	size = ring->size == 0 ? RING_MIN : ring->size * 2;
	if (size < ring->size)
		return (-1);
	/* Of pointers, indeed. NOLINTNEXTLINE(bugprone-sizeof-expression) */
	if ((slots = calloc(size, sizeof(*slots))) == NULL)
		return (-1);
	for (i = ring->first; i < ring->next; i++)
		slots[i & (size - 1)] = ring->slots[i & (ring->size - 1)];
	free(ring->slots);
	ring->slots = slots;
	ring->size = size;
	return (0);
}

int
ring_push(struct chat_ring *ring, struct chat_kept *kept)
{
	if (ring->next - ring->first == ring->size && ring_grow(ring) == -1)
		return (-1);
	ring->slots[ring->next++ & (ring->size - 1)] = kept;
	ring->bytes += kept->length;
	ring->memory += kept_memory(kept);
	return (0);
}

/* Drop the oldest. */
void
ring_shift(struct chat_ring *ring)
{
	struct chat_kept **slot;

	slot = &ring->slots[ring->first++ & (ring->size - 1)];
	ring->bytes -= (*slot)->length;
	ring->memory -= kept_memory(*slot);
	free(*slot);
	*slot = NULL;
	if (ring->first == ring->next && ring->size > RING_KEEP) {
		free(ring->slots);
		ring->slots = NULL;
		ring->size = 0;
	}
}

/* Another copy of a message takes the old one's place. */
void
ring_replace(struct chat_ring *ring, uint64_t sequence, struct chat_kept *kept)
{
	struct chat_kept **slot = &ring->slots[sequence & (ring->size - 1)];

	ring->bytes += kept->length;
	ring->bytes -= (*slot)->length;
	ring->memory += kept_memory(kept);
	ring->memory -= kept_memory(*slot);
	free(*slot);
	*slot = kept;
}

/* Empty it; the next one pushed is first. */
void
ring_clear(struct chat_ring *ring, uint64_t first)
{
	while (ring->first < ring->next)
		ring_shift(ring);
	free(ring->slots);
	ring_init(ring, first);
}

struct chat_kept *
kept_new(const void *payload, size_t length, const void *correlation,
    size_t correlation_length)
{
	struct chat_kept *kept;

	if (length > UINT32_MAX / 2 || correlation_length > UINT16_MAX)
		return (NULL);
	kept = malloc(sizeof(*kept) + length + correlation_length);
	if (kept == NULL)
		return (NULL);
	kept->session = 0;
	kept->at = 0;
	kept->length = (uint32_t)length;
	kept->correlation_length = (uint32_t)correlation_length;
	kept->correlation_room = (uint32_t)correlation_length;
	if (length > 0)
		memcpy(kept->bytes, payload, length);
	if (correlation_length > 0)
		memcpy(kept->bytes + length, correlation, correlation_length);
	return (kept);
}
