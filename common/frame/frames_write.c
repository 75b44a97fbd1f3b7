/*
 * router, libhermes: writing AppFrame. Bodies are put together in a fixed room; the two
 * frames of the hot path go straight to where gRPC wants them.
 */

#include <string.h>

#include "common/frame/frames.h"

#define TAG_VARINT(field) ((uint64_t)(field) << 3)
#define TAG_BYTES(field)  ((uint64_t)(field) << 3 | 2)
#define PEER_FIELD        20

static size_t
varint_size(uint64_t value)
{
	size_t n = 1;

	while (value >= 0x80) {
		value >>= 7;
		n++;
	}
	return (n);
}

static uint8_t *
put_varint(uint8_t *to, uint64_t value)
{
	while (value >= 0x80) {
		*to++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*to++ = (uint8_t)value;
	return (to);
}

static uint8_t *
put_span(uint8_t *to, uint32_t field, struct span span)
{
	if (span.length == 0)
		return (to);
	to = put_varint(to, TAG_BYTES(field));
	to = put_varint(to, span.length);
	memcpy(to, span.bytes, span.length);
	return (to + span.length);
}

static size_t
span_size(uint32_t field, struct span span)
{
	if (span.length == 0)
		return (0);
	return (varint_size(TAG_BYTES(field)) + varint_size(span.length) +
		span.length);
}

static size_t
number_size(uint32_t field, uint64_t number)
{
	if (number == 0)
		return (0);
	return (varint_size(TAG_VARINT(field)) + varint_size(number));
}

void
frame_begin(struct frame_body *body, enum frame_field field)
{
	body->field = field;
	body->length = 0;
	body->failed = 0;
}

/* Room for length more bytes, counted as used; NULL without. */
static uint8_t *
body_take(struct frame_body *body, size_t length)
{
	uint8_t *to = body->bytes + body->length;

	if (body->failed || length > sizeof(body->bytes) - body->length) {
		body->failed = 1;
		return (NULL);
	}
	body->length += length;
	return (to);
}

void
frame_put_bytes(
    struct frame_body *body, uint32_t field, const void *bytes, size_t length)
{
	struct span span = span_of(bytes, length);
	uint8_t *to;

	if ((to = body_take(body, span_size(field, span))) != NULL)
		(void)put_span(to, field, span);
}

void
frame_put_text(struct frame_body *body, uint32_t field, const char *text)
{
	frame_put_bytes(body, field, text, strlen(text));
}

void
frame_put_number(struct frame_body *body, uint32_t field, uint64_t number)
{
	uint8_t *to;

	if (number == 0 ||
	    (to = body_take(body, number_size(field, number))) == NULL)
		return;
	to = put_varint(to, TAG_VARINT(field));
	(void)put_varint(to, number);
}

/* A submessage of up to three spans, fields 1 to 3; present if empty. */
static void
body_put_group(struct frame_body *body, uint32_t field,
    const struct span *spans, uint32_t count)
{
	size_t length = 0;
	uint32_t i;
	uint8_t *to;

	for (i = 0; i < count; i++)
		length += span_size(i + 1, spans[i]);
	to = body_take(
	    body, varint_size(TAG_BYTES(field)) + varint_size(length) + length);
	if (to == NULL)
		return;
	to = put_varint(to, TAG_BYTES(field));
	to = put_varint(to, length);
	for (i = 0; i < count; i++)
		to = put_span(to, i + 1, spans[i]);
}

void
frame_put_node(struct frame_body *body, uint32_t field, const char *node_id,
    const char *endpoint, const uint8_t node_key[KEY_SIZE])
{
	struct span spans[3] = { span_of(node_id, strlen(node_id)),
		span_of(endpoint, strlen(endpoint)),
		span_of(node_key, KEY_SIZE) };

	body_put_group(body, field, spans, 3);
}

void
frame_put_metadata(
    struct frame_body *body, const struct metadata_pair *pairs, size_t count)
{
	struct span spans[2];
	size_t i;

	for (i = 0; i < count; i++) {
		spans[0] = span_of(pairs[i].key, pairs[i].key_length);
		spans[1] = span_of(pairs[i].value, pairs[i].value_length);
		body_put_group(body, 4, spans, 2);
	}
}

static void
body_put_span(struct frame_body *body, uint32_t field, struct span span)
{
	frame_put_bytes(body, field, span.bytes, span.length);
}

void
frame_put_start_chat(struct frame_body *body,
    const struct frame_start_chat *start, const char *source)
{
	body_put_span(body, 1, start->chat_id);
	body_put_span(body, 2, start->key);
	body_put_span(body, 3, start->signature);
	frame_put_metadata(body, start->pairs, start->pair_count);
	body_put_span(body, 5, start->target);
	body_put_span(body, 6, start->hint);
	frame_put_number(body, 8, start->version);
	body_put_span(body, 9, start->salt);
	body_put_span(body, 10, start->info);
	frame_put_number(body, 11, start->rekey != 0);
	frame_put_text(body, 12, source);
	frame_put_number(body, 13, start->resume != 0);
}

size_t
frame_wrapped_size(const struct frame_body *body, struct span correlation)
{
	return (span_size(1, correlation) +
		varint_size(TAG_BYTES(body->field)) +
		varint_size(body->length) + body->length);
}

void
frame_wrap(uint8_t *to, const struct frame_body *body, struct span correlation)
{
	to = put_span(to, 1, correlation);
	to = put_varint(to, TAG_BYTES(body->field));
	to = put_varint(to, body->length);
	memcpy(to, body->bytes, body->length);
}

/* ChatMessageAck has its sequence where ChatMessage has its payload. */
static uint32_t
sequence_field(enum frame_field field)
{
	return (field == FRAME_CHAT_MESSAGE ? 3 : 2);
}

static size_t
message_body_size(
    enum frame_field field, const struct frame_chat_message *message)
{
	return (span_size(1, message->chat_id) +
		span_size(2, message->payload) +
		number_size(sequence_field(field), message->sequence) +
		span_size(PEER_FIELD, message->peer));
}

size_t
frame_chat_message_size(enum frame_field field,
    const struct frame_chat_message *message, struct span correlation)
{
	size_t length = message_body_size(field, message);

	return (span_size(1, correlation) + varint_size(TAG_BYTES(field)) +
		varint_size(length) + length);
}

void
frame_write_chat_message(uint8_t *to, enum frame_field field,
    const struct frame_chat_message *message, struct span correlation)
{
	to = put_span(to, 1, correlation);
	to = put_varint(to, TAG_BYTES(field));
	to = put_varint(to, message_body_size(field, message));
	to = put_span(to, 1, message->chat_id);
	to = put_span(to, 2, message->payload);
	if (message->sequence != 0) {
		to = put_varint(to, TAG_VARINT(sequence_field(field)));
		to = put_varint(to, message->sequence);
	}
	(void)put_span(to, PEER_FIELD, message->peer);
}
