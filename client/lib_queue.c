/* libhermes. Messages that the peer has not acknowledged; see lib_queue.h. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_queue.h"

void
kept_init(struct kept_queue *queue)
{
	memset(queue, 0, sizeof(*queue));
	queue->first = 1;
}

void
kept_free(struct kept_queue *queue)
{
	while (queue->count > 0)
		kept_shift(queue);
	free(queue->ring);
	kept_init(queue);
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
		ring[i] = queue->ring[(queue->start + i) & (queue->size - 1)];
	free(queue->ring);
	queue->ring = ring;
	queue->size = size;
	queue->start = 0;
	return (0);
}

int
kept_add(struct kept_queue *queue, const void *payload, size_t length)
{
	struct kept *kept;

	if (queue->count == queue->size && kept_grow(queue) == -1)
		return (-1);
	kept = &queue->ring[(queue->start + queue->count) & (queue->size - 1)];
	if ((kept->payload = malloc(length + 1)) == NULL)
		return (-1);
	if (length > 0)
		memcpy(kept->payload, payload, length);
	kept->length = length;
	kept->sent_at = 0;
	queue->count++;
	return (0);
}

struct kept *
kept_get(const struct kept_queue *queue, uint64_t sequence)
{
	if (sequence < queue->first || sequence - queue->first >= queue->count)
		return (NULL);
	return (&queue->ring[(queue->start + (sequence - queue->first)) &
			     (queue->size - 1)]);
}

void
kept_shift(struct kept_queue *queue)
{
	free(queue->ring[queue->start].payload);
	queue->ring[queue->start].payload = NULL;
	queue->start = (queue->start + 1) & (queue->size - 1);
	queue->count--;
	queue->first++;
}

void
kept_restart(struct kept_queue *queue, uint64_t first)
{
	while (queue->count > 0)
		kept_shift(queue);
	queue->first = first;
}
