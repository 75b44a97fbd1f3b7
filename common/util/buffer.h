/*
 * Any process. A growable run of bytes, written at the end and read from the
 * start. Not for secrets: growing leaves copies behind.
 */
#ifndef COMMON_UTIL_BUFFER_H
#define COMMON_UTIL_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
	uint8_t *data; /* owned */
	size_t start;  /* first byte not yet read */
	size_t end;    /* one past the last byte written */
	size_t size;   /* bytes allocated */
};

void buffer_init(struct buffer *buffer);
void buffer_free(struct buffer *buffer);

/*
 * Make room for length more bytes and return where they go; the caller then
 * counts what it wrote with buffer_commit(). NULL and errno ENOMEM on
 * failure or overflow.
 */
uint8_t *buffer_reserve(struct buffer *buffer, size_t length);
void buffer_commit(struct buffer *buffer, size_t length);

/* Append length bytes. 0, or -1 with errno. */
int buffer_append(struct buffer *buffer, const void *bytes, size_t length);

/* Drop length bytes from the start (at most what is there). */
void buffer_consume(struct buffer *buffer, size_t length);

static inline size_t
buffer_length(const struct buffer *buffer)
{
	return (buffer->end - buffer->start);
}

static inline uint8_t *
buffer_bytes(const struct buffer *buffer)
{
	/* Even adding 0 to NULL is undefined. */
	return (buffer->data == NULL ? NULL : buffer->data + buffer->start);
}

#endif
