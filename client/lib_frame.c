/*
 * libhermes. AppFrame on the wire. What the node sends is unpacked into one
 * arena that is used again for every frame.
 */
#include <errno.h>
#include <stdlib.h>

#include "client/lib_internal.h"

#define ARENA_MIN 65536

int
frame_send(struct hermes *hermes, Approuter__V1__AppFrame *frame)
{
	struct rpc_stream *stream;
	uint8_t *out;
	size_t length;

	if (hermes->link == NULL || hermes->link->stream == NULL) {
		errno = ENOTCONN;
		return (-1);
	}
	stream = hermes->link->stream;
	length = approuter__v1__app_frame__get_packed_size(frame);
	if ((out = rpc_stream_reserve(stream, length)) == NULL)
		return (-1);
	approuter__v1__app_frame__pack(frame, out);
	rpc_stream_commit(stream, length);
	return (0);
}

static void *
arena_alloc(void *data, size_t size)
{
	struct hermes *hermes = data;
	void *at;

	size = (size + 15) & ~(size_t)15;
	if (size > hermes->arena_size - hermes->arena_used)
		return (malloc(size));
	at = hermes->arena + hermes->arena_used;
	hermes->arena_used += size;
	return (at);
}

static void
arena_free(void *data, void *pointer)
{
	struct hermes *hermes = data;
	uint8_t *at = pointer;

	if (at < hermes->arena || at >= hermes->arena + hermes->arena_size)
		free(pointer);
}

Approuter__V1__AppFrame *
frame_unpack(struct hermes *hermes, const uint8_t *bytes, size_t length)
{
	ProtobufCAllocator allocator;

	if (hermes->arena == NULL) {
		if ((hermes->arena = malloc(ARENA_MIN)) != NULL)
			hermes->arena_size = ARENA_MIN;
	}
	hermes->arena_used = 0;
	allocator.alloc = arena_alloc;
	allocator.free = arena_free;
	allocator.allocator_data = hermes;
	return (approuter__v1__app_frame__unpack(&allocator, length, bytes));
}

void
frame_done(struct hermes *hermes, Approuter__V1__AppFrame *frame)
{
	ProtobufCAllocator allocator;

	allocator.alloc = arena_alloc;
	allocator.free = arena_free;
	allocator.allocator_data = hermes;
	approuter__v1__app_frame__free_unpacked(frame, &allocator);
}
