/*
 * router: copies of messages that a chat keeps, in rings by their sequence. A
 * core: no I/O, no clock.
 */
#ifndef ROUTER_KEPT_H
#define ROUTER_KEPT_H

#include <stddef.h>
#include <stdint.h>

/* A kept message. The correlation_id lies behind the payload. */
struct chat_kept {
	uint64_t session; /* of whom it came; the caller's */
	int64_t at;       /* when; the caller's */
	uint32_t length;  /* of the payload */
	uint32_t correlation_length;
	uint32_t correlation_room;
	uint8_t bytes[];
};

/* Kept messages first .. next - 1, in slots[sequence % size]. */
struct chat_ring {
	struct chat_kept **slots; /* owned, with what they hold */
	uint32_t size;            /* a power of two, or 0 */
	uint64_t first;
	uint64_t next;
	size_t bytes;  /* payload of all */
	size_t memory; /* that they take */
};

/* A copy, on the heap; NULL: no memory, or too long. And what it takes of
 * memory, in a ring. */
struct chat_kept *kept_new(const void *payload, size_t length,
    const void *correlation, size_t correlation_length);
size_t kept_memory_of(size_t length, size_t correlation_length);

/* Empty, with nothing of its own; the next one pushed is first. */
void ring_init(struct chat_ring *ring, uint64_t first);

/* The copy of that sequence, or NULL. */
struct chat_kept *ring_get(const struct chat_ring *ring, uint64_t sequence);

/* Take over a copy as the next one. 0, or -1: no memory. */
int ring_push(struct chat_ring *ring, struct chat_kept *kept);

/* Drop the oldest; there is one. */
void ring_shift(struct chat_ring *ring);

/* Another copy of a message, taken over, for the one that there is. */
void ring_replace(
    struct chat_ring *ring, uint64_t sequence, struct chat_kept *kept);

/* Empty it; the next one pushed is first. */
void ring_clear(struct chat_ring *ring, uint64_t first);

#endif
