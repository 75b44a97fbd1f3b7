/*
 * mesh, unprivileged; node bytes are hostile. RouteFrames by hand, see
 * wire_frame.h. https://protobuf.dev/programming-guides/encoding/
 */
#include <errno.h>
#include <string.h>

#include "mesh/wire_frame.h"

enum wire_type { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_LEN = 2, WIRE_I32 = 5 };

#define FIELD_MAX 536870911U /* largest field number */

struct reader {
	const uint8_t *at;
	const uint8_t *end;
};

/* A field as read: value for a varint, text for a length-delimited one. */
struct field {
	uint32_t number;
	enum wire_type type;
	uint64_t value;
	struct frame_text text;
};

static int
read_varint(struct reader *reader, uint64_t *value)
{
	uint64_t result = 0;
	unsigned int shift;

	for (shift = 0; shift < 70; shift += 7) {
		uint8_t byte;

		if (reader->at == reader->end)
			return (-1);
		byte = *reader->at++;
		if (shift < 64)
			result |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0) {
			*value = result;
			return (0);
		}
	}
	return (-1);
}

static int
read_skip(struct reader *reader, size_t length)
{
	if ((size_t)(reader->end - reader->at) < length)
		return (-1);
	reader->at += length;
	return (0);
}

/* 1: a field was read; 0: the end; -1: broken. */
static int
read_field(struct reader *reader, struct field *field)
{
	uint64_t tag;

	if (reader->at == reader->end)
		return (0);
	if (read_varint(reader, &tag) == -1 || tag >> 3 == 0 ||
	    tag >> 3 > FIELD_MAX)
		return (-1);
	field->number = (uint32_t)(tag >> 3);
	field->type = (enum wire_type)(tag & 7);
	field->value = 0;
	field->text.bytes = NULL;
	field->text.length = 0;
	switch (field->type) {
	case WIRE_VARINT:
		return (read_varint(reader, &field->value) == -1 ? -1 : 1);
	case WIRE_I64:
		return (read_skip(reader, 8) == -1 ? -1 : 1);
	case WIRE_I32:
		return (read_skip(reader, 4) == -1 ? -1 : 1);
	case WIRE_LEN:
		if (read_varint(reader, &field->value) == -1 ||
		    field->value > (uint64_t)(reader->end - reader->at))
			return (-1);
		field->text.bytes = reader->at;
		field->text.length = (size_t)field->value;
		reader->at += field->text.length;
		return (1);
	}
	return (-1);
}

/* Where a body keeps what; 0: it has no such field. */
struct layout {
	uint8_t chat_id, word, handle, payload, instance; /* WIRE_LEN */
	uint8_t sequence, version, counter, messages, bytes, retry;
};

static const struct layout layouts[] = { [FRAME_RELAY] = { .chat_id = 1,
					     .payload = 2,
					     .sequence = 3,
					     .handle = 4,
					     .version = 5,
					     .counter = 6 },
	[FRAME_TEARDOWN] = { .chat_id = 1,
	    .word = 2,
	    .handle = 3,
	    .version = 4,
	    .instance = 5 },
	[FRAME_ERROR] = { .word = 1, .chat_id = 3, .handle = 4, .retry = 5 },
	[FRAME_RELAY_ACK] = { .chat_id = 1, .sequence = 2, .handle = 3 },
	[FRAME_CREDIT] = { .handle = 1, .messages = 2, .bytes = 3 } };

static int
body_take_text(
    struct frame *frame, const struct layout *layout, const struct field *field)
{
	if (field->number == layout->payload)
		frame->payload = field->text;
	else if (field->number == layout->handle) {
		if (field->text.length != KEY_SIZE)
			return (-1);
		frame->handle = field->text.bytes;
	} else if (field->number == layout->instance) {
		if (field->text.length != INSTANCE_SIZE)
			return (-1);
		frame->instance = field->text.bytes;
	} else if (field->number == layout->chat_id)
		frame->chat_id = field->text;
	else if (field->number == layout->word)
		frame->word = field->text;
	return (0);
}

static void
body_take_number(
    struct frame *frame, const struct layout *layout, const struct field *field)
{
	if (field->number == layout->sequence)
		frame->sequence = field->value;
	else if (field->number == layout->counter)
		frame->counter = field->value;
	else if (field->number == layout->version)
		frame->version = (uint32_t)field->value;
	else if (field->number == layout->messages)
		frame->messages = (uint32_t)field->value;
	else if (field->number == layout->bytes)
		frame->bytes = field->value;
	else if (field->number == layout->retry)
		frame->retry_after = (int64_t)field->value;
}

static int
body_read(struct frame *frame, const struct layout *layout,
    const struct frame_text *body)
{
	struct reader reader = { body->bytes, body->bytes + body->length };
	struct field field;
	int more;

	while ((more = read_field(&reader, &field)) == 1) {
		if (field.type == WIRE_LEN) {
			if (body_take_text(frame, layout, &field) == -1)
				return (-1);
		} else if (field.type == WIRE_VARINT)
			body_take_number(frame, layout, &field);
	}
	return (more);
}

int
frame_read(struct frame *frame, const uint8_t *bytes, size_t length)
{
	struct reader reader = { bytes, bytes + length };
	struct frame_text body = { NULL, 0 };
	struct field field;
	int more;

	memset(frame, 0, sizeof(*frame));
	while ((more = read_field(&reader, &field)) == 1) {
		if (field.type != WIRE_LEN)
			continue;
		if (field.number == 1)
			frame->correlation = field.text;
		else if (field.number <= FRAME_CREDIT) {
			frame->body = (enum frame_body)field.number;
			body = field.text;
		}
	}
	if (more == -1)
		goto invalid;
	if (frame->body == FRAME_SETUP)
		frame->setup = body;
	else if (frame->body != FRAME_NONE &&
		 body_read(frame, &layouts[frame->body], &body) == -1)
		goto invalid;
	return (0);
invalid:
	errno = EINVAL;
	return (-1);
}

static size_t
varint_size(uint64_t value)
{
	size_t size = 1;

	while (value >= 0x80) {
		value >>= 7;
		size++;
	}
	return (size);
}

static uint8_t *
put_varint(uint8_t *out, uint64_t value)
{
	while (value >= 0x80) {
		*out++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*out++ = (uint8_t)value;
	return (out);
}

/* Fields of proto3: what is empty or zero is not written. All field numbers
 * of bodies are below 16, so that a tag is one byte. */
static size_t
text_size(uint8_t number, size_t length)
{
	if (number == 0 || length == 0)
		return (0);
	return (1 + varint_size(length) + length);
}

static size_t
number_size(uint8_t number, uint64_t value)
{
	if (number == 0 || value == 0)
		return (0);
	return (1 + varint_size(value));
}

static uint8_t *
put_text(uint8_t *out, uint8_t number, const void *bytes, size_t length)
{
	if (number == 0 || length == 0)
		return (out);
	*out++ = (uint8_t)(number << 3 | WIRE_LEN);
	out = put_varint(out, length);
	memcpy(out, bytes, length);
	return (out + length);
}

static uint8_t *
put_number(uint8_t *out, uint8_t number, uint64_t value)
{
	if (number == 0 || value == 0)
		return (out);
	*out++ = (uint8_t)(number << 3 | WIRE_VARINT);
	return (put_varint(out, value));
}

static size_t
body_size(const struct frame *frame, const struct layout *layout)
{
	return (
	    text_size(layout->chat_id, frame->chat_id.length) +
	    text_size(layout->word, frame->word.length) +
	    text_size(layout->handle, frame->handle != NULL ? KEY_SIZE : 0) +
	    text_size(layout->payload, frame->payload.length) +
	    text_size(
		layout->instance, frame->instance != NULL ? INSTANCE_SIZE : 0) +
	    number_size(layout->sequence, frame->sequence) +
	    number_size(layout->version, frame->version) +
	    number_size(layout->counter, frame->counter) +
	    number_size(layout->messages, frame->messages) +
	    number_size(layout->bytes, frame->bytes) +
	    number_size(layout->retry, (uint64_t)frame->retry_after));
}

size_t
frame_bound(const struct frame *frame)
{
	size_t body;

	if (frame->body == FRAME_SETUP)
		body = frame->setup.length;
	else
		body = body_size(frame, &layouts[frame->body]);
	return (text_size(1, frame->correlation.length) + 1 +
		varint_size(body) + body);
}

size_t
frame_write(const struct frame *frame, uint8_t *out)
{
	const struct layout *layout;
	uint8_t *at;

	at = put_text(
	    out, 1, frame->correlation.bytes, frame->correlation.length);
	*at++ = (uint8_t)(frame->body << 3 | WIRE_LEN);
	if (frame->body == FRAME_SETUP) {
		at = put_varint(at, frame->setup.length);
		memcpy(at, frame->setup.bytes, frame->setup.length);
		return ((size_t)(at + frame->setup.length - out));
	}
	layout = &layouts[frame->body];
	at = put_varint(at, body_size(frame, layout));
	at = put_text(
	    at, layout->chat_id, frame->chat_id.bytes, frame->chat_id.length);
	at = put_text(at, layout->word, frame->word.bytes, frame->word.length);
	at = put_text(at, layout->handle, frame->handle,
	    frame->handle != NULL ? KEY_SIZE : 0);
	at = put_text(
	    at, layout->payload, frame->payload.bytes, frame->payload.length);
	at = put_text(at, layout->instance, frame->instance,
	    frame->instance != NULL ? INSTANCE_SIZE : 0);
	at = put_number(at, layout->sequence, frame->sequence);
	at = put_number(at, layout->version, frame->version);
	at = put_number(at, layout->counter, frame->counter);
	at = put_number(at, layout->messages, frame->messages);
	at = put_number(at, layout->bytes, frame->bytes);
	at = put_number(at, layout->retry, (uint64_t)frame->retry_after);
	return ((size_t)(at - out));
}
