/* Any process. A growable run of bytes; see buffer.h. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/buffer.h"

#define BUFFER_MIN 256

void
buffer_init(struct buffer *buffer)
{
	memset(buffer, 0, sizeof(*buffer));
}

void
buffer_free(struct buffer *buffer)
{
	free(buffer->data);
	buffer_init(buffer);
}

uint8_t *
buffer_reserve(struct buffer *buffer, size_t length)
{
	size_t have = buffer_length(buffer);
	size_t size;
	uint8_t *data;

	if (buffer->size - buffer->end >= length && buffer->data != NULL)
		return (buffer->data + buffer->end);
	if (length > SIZE_MAX / 4 || have > SIZE_MAX / 4) {
		errno = ENOMEM;
		return (NULL);
	}
	/* Move down instead of growing when at least half is free. */
	if (buffer->data != NULL && have + length <= buffer->size &&
	    buffer->start >= buffer->size / 2) {
		memmove(buffer->data, buffer->data + buffer->start, have);
		buffer->start = 0;
		buffer->end = have;
		return (buffer->data + buffer->end);
	}
	size = buffer->size < BUFFER_MIN ? BUFFER_MIN : buffer->size;
	while (size < have + length)
		size *= 2;
	data = malloc(size);
	if (data == NULL)
		return (NULL);
	if (buffer->data != NULL)
		memcpy(data, buffer->data + buffer->start, have);
	free(buffer->data);
	buffer->data = data;
	buffer->start = 0;
	buffer->end = have;
	buffer->size = size;
	return (buffer->data + buffer->end);
}

void
buffer_commit(struct buffer *buffer, size_t length)
{
	buffer->end += length;
}

int
buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
	uint8_t *to = buffer_reserve(buffer, length);

	if (to == NULL)
		return (-1);
	if (length > 0)
		memcpy(to, bytes, length);
	buffer->end += length;
	return (0);
}

void
buffer_consume(struct buffer *buffer, size_t length)
{
	if (length >= buffer_length(buffer)) {
		buffer->start = 0;
		buffer->end = 0;
	} else
		buffer->start += length;
}
