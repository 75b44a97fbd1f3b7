/*
 * libhermes. Messages that the peer has not acknowledged, by sequence. They
 * come and go in order, so their bytes lie one behind the other in one piece
 * of memory that is used again and again; but for large ones.
 */
#ifndef CLIENT_LIB_QUEUE_H
#define CLIENT_LIB_QUEUE_H

#include <stddef.h>
#include <stdint.h>

struct kept {
	uint8_t *apart; /* a large payload, owned; or NULL, and */
	size_t at;      /* it is among the others: kept_payload() */
	size_t length;
	int64_t sent_at; /* monotonic; 0: never written */
};

/* Messages first .. first + count - 1, by sequence. */
struct kept_queue {
	struct kept *ring;
	size_t size; /* a power of two, or 0 */
	size_t start;
	size_t count;
	uint64_t first;  /* sequence of the oldest */
	uint8_t *bytes;  /* the payloads */
	size_t capacity; /* of bytes */
};

void kept_init(struct kept_queue *queue);
void kept_free(struct kept_queue *queue);

/* Copy a message in as first + count. 0, or -1 with errno ENOMEM. */
int kept_add(struct kept_queue *queue, const void *payload, size_t length);

/* The message of that sequence, or NULL; until something is added. */
struct kept *kept_get(const struct kept_queue *queue, uint64_t sequence);

/* The bytes of a message of the queue; until something is added. */
uint8_t *kept_payload(const struct kept_queue *queue, const struct kept *kept);

/* Drop the oldest message. The queue must not be empty. */
void kept_shift(struct kept_queue *queue);

/* Drop all; the next one added becomes first. */
void kept_restart(struct kept_queue *queue, uint64_t first);

#endif
