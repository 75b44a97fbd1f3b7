/* libhermes. Messages that the peer has not acknowledged, by sequence. */
#ifndef CLIENT_LIB_QUEUE_H
#define CLIENT_LIB_QUEUE_H

#include <stddef.h>
#include <stdint.h>

struct kept {
	uint8_t *payload; /* owned */
	size_t length;
	int64_t sent_at; /* monotonic; 0: never written */
};

/* Messages first .. first + count - 1, by sequence. */
struct kept_queue {
	struct kept *ring;
	size_t size; /* a power of two, or 0 */
	size_t start;
	size_t count;
	uint64_t first; /* sequence of the oldest */
};

void kept_init(struct kept_queue *queue);
void kept_free(struct kept_queue *queue);

/* Copy a message in as first + count. 0, or -1 with errno ENOMEM. */
int kept_add(struct kept_queue *queue, const void *payload, size_t length);

/* The message of that sequence, or NULL. */
struct kept *kept_get(const struct kept_queue *queue, uint64_t sequence);

/* Drop the oldest message. The queue must not be empty. */
void kept_shift(struct kept_queue *queue);

/* Drop all; the next one added becomes first. */
void kept_restart(struct kept_queue *queue, uint64_t first);

#endif
