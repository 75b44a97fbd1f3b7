/*
 * Any process, any privileges; the bytes read may be anybody's. The canonical
 * bytes that signatures cover; see encode.h.
 */

#include <endian.h>
#include <string.h>

#include "common/sign/encode.h"
#include "common/sign/ids.h"

void
encode_bytes(struct encoder *encoder, const void *bytes, size_t length)
{
	if (encoder->failed || length > encoder->size - encoder->length) {
		encoder->failed = 1;
		return;
	}
	if (length > 0)
		memcpy(encoder->bytes + encoder->length, bytes, length);
	encoder->length += length;
}

void
encode_text(struct encoder *encoder, const char *text)
{
	encode_bytes(encoder, text, strlen(text));
}

void
encode_lp(struct encoder *encoder, const void *bytes, size_t length)
{
	if (length > UINT32_MAX) {
		encoder->failed = 1;
		return;
	}
	encode_u32(encoder, (uint32_t)length);
	encode_bytes(encoder, bytes, length);
}

void
encode_u8(struct encoder *encoder, uint8_t value)
{
	encode_bytes(encoder, &value, sizeof(value));
}

void
encode_u32(struct encoder *encoder, uint32_t value)
{
	value = htobe32(value);
	encode_bytes(encoder, &value, sizeof(value));
}

void
encode_u64(struct encoder *encoder, uint64_t value)
{
	value = htobe64(value);
	encode_bytes(encoder, &value, sizeof(value));
}

void
decode_bytes(struct decoder *decoder, void *bytes, size_t length)
{
	if (decoder->failed || length > decoder->length) {
		decoder->failed = 1;
		if (length > 0)
			memset(bytes, 0, length);
		return;
	}
	if (length > 0)
		memcpy(bytes, decoder->bytes, length);
	decoder->bytes += length;
	decoder->length -= length;
}

uint8_t
decode_u8(struct decoder *decoder)
{
	uint8_t value;

	decode_bytes(decoder, &value, sizeof(value));
	return (value);
}

uint32_t
decode_u32(struct decoder *decoder)
{
	uint8_t bytes[4];
	uint32_t value = 0;
	int i;

	decode_bytes(decoder, bytes, sizeof(bytes));
	for (i = 0; i < 4; i++)
		value = value << 8 | bytes[i];
	return (value);
}

uint64_t
decode_u64(struct decoder *decoder)
{
	uint64_t high = decode_u32(decoder);

	return (high << 32 | decode_u32(decoder));
}

void
decode_lp_text(struct decoder *decoder, char *out, size_t size)
{
	uint32_t length = decode_u32(decoder);

	if (size == 0 || length >= size)
		decoder->failed = 1;
	if (!decoder->failed)
		decode_bytes(decoder, out, length);
	if (!decoder->failed && memchr(out, '\0', length) != NULL)
		decoder->failed = 1;
	if (size > 0)
		out[decoder->failed ? 0 : length] = '\0';
}

void
decode_node_id(struct decoder *decoder, char *out)
{
	static const char zeros[NODE_ID_SIZE];
	size_t length;

	decode_bytes(decoder, out, NODE_ID_SIZE);
	length = strnlen(out, NODE_ID_SIZE);
	if (!node_id_valid(out, length) ||
	    memcmp(out + length, zeros, NODE_ID_SIZE - length) != 0) {
		decoder->failed = 1;
		out[0] = '\0';
	}
}

int
decode_done(const struct decoder *decoder)
{
	return (decoder->failed || decoder->length != 0 ? -1 : 0);
}
