/* libhermes. Messages that the peer has not acknowledged; see lib_queue.h. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_queue.h"

#define LARGE      4096
#define BYTES_MIN  1024
#define BYTES_KEEP (256 * 1024) /* more is given back when nothing is kept */

void
kept_init(struct kept_queue *queue)
{
	memset(queue, 0, sizeof(*queue));
	queue->first = 1;
}

void
kept_free(struct kept_queue *queue)
{
	kept_restart(queue, 1);
	free(queue->bytes);
	free(queue->ring);
	kept_init(queue);
}

static struct kept *
kept_at(const struct kept_queue *queue, size_t i)
{
	return (&queue->ring[(queue->start + i) & (queue->size - 1)]);
}

/* What it takes of the bytes. */
static size_t
kept_share(const struct kept *kept)
{
	return (kept->apart != NULL ? 0 : kept->length);
}

static int
kept_grow(struct kept_queue *queue)
{
	struct kept *ring;
	size_t i, size;

	size = queue->size == 0 ? 16 : queue->size * 2;
	if ((ring = calloc(size, sizeof(*ring))) == NULL)
		return (-1);
	for (i = 0; i < queue->count; i++)
		ring[i] = *kept_at(queue, i);
	free(queue->ring);
	queue->ring = ring;
	queue->size = size;
	queue->start = 0;
	return (0);
}

/* More room for payloads; those that are there come first in it. */
static int
kept_widen(struct kept_queue *queue, size_t length)
{
	struct kept *kept;
	uint8_t *bytes;
	size_t i, share, used = 0, capacity;

	for (i = 0; i < queue->count; i++)
		used += kept_share(kept_at(queue, i));
	capacity = queue->capacity == 0 ? BYTES_MIN : queue->capacity;
	while (capacity <= used + length)
		capacity *= 2;
	if (capacity == queue->capacity)
		capacity *= 2; /* it was there, in two pieces */
	if ((bytes = malloc(capacity)) == NULL)
		return (-1);
	for (i = 0, used = 0; i < queue->count; i++) {
		kept = kept_at(queue, i);
		if ((share = kept_share(kept)) > 0)
			memcpy(bytes + used, queue->bytes + kept->at, share);
		kept->at = used;
		used += share;
	}
	free(queue->bytes);
	queue->bytes = bytes;
	queue->capacity = capacity;
	return (0);
}

/*
 * Where the next payload goes: behind the last one or, when there is no room
 * up to the end, in front of the first. One byte stays free, so that the last
 * one never ends where the first begins. 0 or -1: nowhere.
 */
static int
kept_place(const struct kept_queue *queue, size_t length, size_t *at)
{
	const struct kept *first, *last;
	size_t end;

	*at = 0;
	if (queue->count == 0)
		return (length < queue->capacity ? 0 : -1);
	first = kept_at(queue, 0);
	last = kept_at(queue, queue->count - 1);
	end = last->at + kept_share(last);
	if (end < first->at) {
		*at = end;
		return (length < first->at - end ? 0 : -1);
	}
	if (length <= queue->capacity - end) {
		*at = end;
		return (0);
	}
	return (length < first->at ? 0 : -1);
}

int
kept_add(struct kept_queue *queue, const void *payload, size_t length)
{
	struct kept *kept;
	uint8_t *apart = NULL;
	size_t share = length > LARGE ? 0 : length, at;

	if (queue->count == queue->size && kept_grow(queue) == -1)
		return (-1);
	if (kept_place(queue, share, &at) == -1 &&
	    (kept_widen(queue, share) == -1 ||
		kept_place(queue, share, &at) == -1))
		return (-1);
	if (length > LARGE && (apart = malloc(length)) == NULL)
		return (-1);
	if (length > 0)
		memcpy(
		    apart != NULL ? apart : queue->bytes + at, payload, length);
	kept = kept_at(queue, queue->count++);
	kept->apart = apart;
	kept->at = at;
	kept->length = length;
	kept->sent_at = 0;
	return (0);
}

struct kept *
kept_get(const struct kept_queue *queue, uint64_t sequence)
{
	if (sequence < queue->first || sequence - queue->first >= queue->count)
		return (NULL);
	return (kept_at(queue, (size_t)(sequence - queue->first)));
}

uint8_t *
kept_payload(const struct kept_queue *queue, const struct kept *kept)
{
	return (kept->apart != NULL ? kept->apart : queue->bytes + kept->at);
}

void
kept_shift(struct kept_queue *queue)
{
	free(kept_at(queue, 0)->apart);
	queue->start = (queue->start + 1) & (queue->size - 1);
	queue->count--;
	queue->first++;
	if (queue->count == 0 && queue->capacity > BYTES_KEEP) {
		free(queue->bytes);
		queue->bytes = NULL;
		queue->capacity = 0;
	}
}

void
kept_restart(struct kept_queue *queue, uint64_t first)
{
	while (queue->count > 0)
		kept_shift(queue);
	queue->first = first;
}
