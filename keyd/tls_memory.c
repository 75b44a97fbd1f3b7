/*
 * keyd only. The memory that libcrypto works in; see tls.h. It copies private
 * keys to places that it frees without wiping them (the text of a PEM, its
 * DER, parameters), so all that it frees is wiped here.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/compat/secure_crypto.h"
#include "keyd/tls.h"

#define LOCKED_HEAP 65536

/* What stands before each piece of memory. */
union piece {
	size_t size;
	max_align_t align;
};

static void *
piece_new(size_t size, const char *file, int line)
{
	union piece *piece;

	(void)file;
	(void)line;
	if (size == 0 || size > SIZE_MAX - sizeof(*piece) ||
	    (piece = malloc(sizeof(*piece) + size)) == NULL)
		return (NULL);
	piece->size = size;
	return (piece + 1);
}

static void
piece_free(void *memory, const char *file, int line)
{
	union piece *piece = memory;

	(void)file;
	(void)line;
	if (piece == NULL)
		return;
	piece--;
	sodium_memzero(piece, sizeof(*piece) + piece->size);
	free(piece);
}

static void *
piece_resize(void *memory, size_t size, const char *file, int line)
{
	union piece *piece = memory;
	void *moved;

	if (piece == NULL)
		return (piece_new(size, file, line));
	if (size == 0) {
		piece_free(memory, file, line);
		return (NULL);
	}
	if ((moved = piece_new(size, file, line)) == NULL)
		return (NULL);
	memcpy(moved, memory, piece[-1].size < size ? piece[-1].size : size);
	piece_free(memory, file, line);
	return (moved);
}

int
tls_lock_memory(void)
{
	if (!secure_crypto_allocator(piece_new, piece_resize, piece_free) ||
	    !secure_crypto_heap(LOCKED_HEAP))
		return (-1);
	return (0);
}
