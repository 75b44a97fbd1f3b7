/*
 * Any process. Writing and reading the canonical bytes that signatures cover:
 * big-endian integers and LP(x) = BE32(length) || x. A cursor that ran over
 * its end stays failed; look once, at the end.
 */
#ifndef COMMON_SIGN_ENCODE_H
#define COMMON_SIGN_ENCODE_H

#include <stddef.h>
#include <stdint.h>

struct encoder {
	uint8_t *bytes;
	size_t size;
	size_t length;
	int failed;
};

struct decoder {
	const uint8_t *bytes;
	size_t length; /* bytes left */
	int failed;
};

void encode_bytes(struct encoder *encoder, const void *bytes, size_t length);
void encode_text(struct encoder *encoder, const char *text); /* no NUL */
void encode_lp(struct encoder *encoder, const void *bytes, size_t length);
void encode_u8(struct encoder *encoder, uint8_t value);
void encode_u32(struct encoder *encoder, uint32_t value);
void encode_u64(struct encoder *encoder, uint64_t value);

void decode_bytes(struct decoder *decoder, void *bytes, size_t length);
uint8_t decode_u8(struct decoder *decoder);
uint32_t decode_u32(struct decoder *decoder);
uint64_t decode_u64(struct decoder *decoder);
/* LP text into out (size bytes, NUL added); fails on a NUL inside. */
void decode_lp_text(struct decoder *decoder, char *out, size_t size);
/* Node id in NODE_ID_SIZE bytes padded with NUL; fails on any other text. */
void decode_node_id(struct decoder *decoder, char *out);
/* 0 when nothing failed and nothing is left over, else -1. */
int decode_done(const struct decoder *decoder);

#endif
