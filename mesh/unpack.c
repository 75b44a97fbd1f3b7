/* mesh, unprivileged; node bytes are hostile. See unpack.h. */
#include <stdlib.h>

#include "mesh/unpack.h"

#define ROOM       (64U * 1024)
#define ROOM_TIMES 12 /* of the length */

/* What is freed meanwhile (there is hardly any) stays counted. */
static void *
unpack_alloc(void *arg, size_t size)
{
	size_t *left = arg;

	if (size > *left)
		return (NULL);
	*left -= size;
	return (malloc(size));
}

static void
unpack_free(void *arg, void *bytes)
{
	(void)arg;
	free(bytes);
}

void *
unpack_bounded(
    const ProtobufCMessageDescriptor *kind, const uint8_t *bytes, size_t length)
{
	size_t left = ROOM + ROOM_TIMES * length;
	ProtobufCAllocator allocator = { .alloc = unpack_alloc,
		.free = unpack_free,
		.allocator_data = &left };

	return (protobuf_c_message_unpack(kind, &allocator, length, bytes));
}
