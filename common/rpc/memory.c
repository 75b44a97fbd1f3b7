/*
 * Any process with a network socket. Memory for HTTP/2 sessions. Each keeps
 * room for a whole frame, 16 KiB, of which an idle one touches the first
 * bytes: such room is mapped, so that what is not touched is not there.
 */

#include <sys/mman.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"

#define MAPPED_FROM ((size_t)16 * 1024)

/* Before each piece. */
union piece {
	struct {
		size_t size;
		int mapped;
	} of;
	max_align_t align;
};

static void *
memory_new(size_t size, void *arg)
{
	union piece *piece;
	int mapped = size >= MAPPED_FROM;

	(void)arg;
	if (size > SIZE_MAX / 2)
		return (NULL);
	if (mapped) {
		piece = mmap(NULL, sizeof(*piece) + size,
		    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (piece == MAP_FAILED)
			return (NULL);
	} else if ((piece = malloc(sizeof(*piece) + size)) == NULL)
		return (NULL);
	piece->of.size = size;
	piece->of.mapped = mapped;
	return (piece + 1);
}

static void
memory_free(void *bytes, void *arg)
{
	union piece *piece;

	(void)arg;
	if (bytes == NULL)
		return;
	piece = (union piece *)bytes - 1;
	if (piece->of.mapped)
		/* It was mapped so: it cannot fail. */
		(void)munmap(piece, sizeof(*piece) + piece->of.size);
	else
		free(piece);
}

static void *
memory_new_clear(size_t count, size_t size, void *arg)
{
	void *bytes;

	if (size != 0 && count > SIZE_MAX / size)
		return (NULL);
	if ((bytes = memory_new(count * size, arg)) != NULL)
		memset(bytes, 0, count * size);
	return (bytes);
}

static void *
memory_resize(void *bytes, size_t size, void *arg)
{
	const union piece *old;
	void *more;

	if ((more = memory_new(size, arg)) == NULL || bytes == NULL)
		return (more);
	old = (const union piece *)bytes - 1;
	memcpy(more, bytes, old->of.size < size ? old->of.size : size);
	memory_free(bytes, arg);
	return (more);
}

nghttp2_mem rpc_session_memory = { .malloc = memory_new,
	.free = memory_free,
	.calloc = memory_new_clear,
	.realloc = memory_resize };
