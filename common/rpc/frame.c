/*
 * Any process with a network socket. The framing of gRPC messages within
 * DATA: one byte, compressed or not, four of length, the message. See
 * PROTOCOL-HTTP2 of gRPC. Trusts no byte.
 */

#include <string.h>

#include "common/rpc/internal.h"

#define PART_ROOM  (256 * 1024)
#define PART_TRUST 16 /* who brings that part of a message brings the rest */

static enum rpc_frame
frame_check(struct rpc_frame_reader *reader, uint32_t max)
{
	const uint8_t *h = reader->header;

	reader->length = (uint32_t)h[1] << 24 | (uint32_t)h[2] << 16 |
			 (uint32_t)h[3] << 8 | h[4];
	if (h[0] == 1)
		return (RPC_FRAME_COMPRESSED);
	if (h[0] != 0)
		return (RPC_FRAME_BROKEN);
	if (reader->length > max)
		return (RPC_FRAME_TOO_LARGE);
	return (RPC_FRAME_MORE);
}

/* Complete the five bytes. MESSAGE here only means: they are complete. */
static enum rpc_frame
frame_read_header(struct rpc_frame_reader *reader, const uint8_t **bytes,
    size_t *length, uint32_t max)
{
	size_t n = RPC_FRAME_HEADER - reader->have;
	enum rpc_frame rv;

	if (n > *length)
		n = *length;
	memcpy(reader->header + reader->have, *bytes, n);
	reader->have += (uint8_t)n;
	*bytes += n;
	*length -= n;
	if (reader->have < RPC_FRAME_HEADER)
		return (RPC_FRAME_MORE);
	rv = frame_check(reader, max);
	return (rv == RPC_FRAME_MORE ? RPC_FRAME_MESSAGE : rv);
}

/* Room for a message of which the first have bytes came: all of it at once, up
 * to PART_ROOM, as far as nobody can make us waste with little. */
static size_t
frame_room(size_t length, size_t have)
{
	size_t room = length > PART_ROOM ? PART_ROOM : length;

	return (have < room / PART_TRUST ? have : room);
}

enum rpc_frame
rpc_frame_read(struct rpc_frame_reader *reader, const uint8_t **bytes,
    size_t *length, uint32_t max, const uint8_t **message,
    size_t *message_length)
{
	struct buffer *part = &reader->part;
	enum rpc_frame rv;
	size_t n;

	/* What the last call returned is done with. */
	if (reader->have == 0 && buffer_length(part) > 0) {
		buffer_consume(part, buffer_length(part));
		if (part->size > reader->keep)
			buffer_free(part);
	}
	if (reader->have < RPC_FRAME_HEADER &&
	    (rv = frame_read_header(reader, bytes, length, max)) !=
		RPC_FRAME_MESSAGE)
		return (rv);
	n = reader->length - buffer_length(part);
	if (buffer_length(part) == 0 && *length >= n) {
		*message = *bytes;
	} else {
		if (n > *length)
			n = *length;
		if (buffer_length(part) == 0 &&
		    buffer_reserve(part, frame_room(reader->length, n)) == NULL)
			return (RPC_FRAME_MEMORY);
		if (buffer_append(part, *bytes, n) == -1)
			return (RPC_FRAME_MEMORY);
		*message = buffer_bytes(part);
	}
	*bytes += n;
	*length -= n;
	if (buffer_length(part) > 0 && buffer_length(part) < reader->length)
		return (RPC_FRAME_MORE);
	if (buffer_length(part) == 0 && n < reader->length)
		return (RPC_FRAME_MORE);
	*message_length = reader->length;
	reader->have = 0;
	return (RPC_FRAME_MESSAGE);
}

int
rpc_frame_partial(const struct rpc_frame_reader *reader)
{
	return (reader->have > 0);
}

void
rpc_frame_write_header(uint8_t header[RPC_FRAME_HEADER], size_t length)
{
	header[0] = 0;
	header[1] = (uint8_t)(length >> 24);
	header[2] = (uint8_t)(length >> 16);
	header[3] = (uint8_t)(length >> 8);
	header[4] = (uint8_t)length;
}
