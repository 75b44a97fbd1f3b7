/*
 * router, libhermes: reading AppFrame. By hand instead of protobuf-c's unpack, so that
 * no message costs an allocation or a copy; regress/unit/test_frames.c holds
 * it against protobuf-c. The bytes are hostile.
 */

#include <string.h>

#include <sodium.h>

#include "common/frame/frames.h"

enum wire_type {
	WIRE_END = -2,
	WIRE_BROKEN = -1,
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_FIXED32 = 5
};

struct reader {
	const uint8_t *at;
	const uint8_t *end;
	uint32_t field;
	uint64_t number;  /* of a varint */
	struct span span; /* of bytes */
};

static int
read_varint(struct reader *reader, uint64_t *value)
{
	unsigned int shift;
	uint8_t byte;

	*value = 0;
	for (shift = 0; shift < 70; shift += 7) {
		if (reader->at == reader->end)
			return (-1);
		byte = *reader->at++;
		if (shift < 64)
			*value |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return (0);
	}
	return (-1);
}

/* The next field; which kind of value it has. */
static enum wire_type
read_field(struct reader *reader)
{
	uint64_t tag, length;
	enum wire_type type;

	if (reader->at == reader->end)
		return (WIRE_END);
	if (read_varint(reader, &tag) == -1 || tag > UINT32_MAX || tag < 8)
		return (WIRE_BROKEN);
	reader->field = (uint32_t)(tag >> 3);
	type = (enum wire_type)(tag & 7);
	length = (uint64_t)(reader->end - reader->at);
	switch (type) {
	case WIRE_VARINT:
		return (read_varint(reader, &reader->number) == -1
			    ? WIRE_BROKEN
			    : WIRE_VARINT);
	case WIRE_FIXED64:
	case WIRE_FIXED32:
		if (length < (type == WIRE_FIXED64 ? 8U : 4U))
			return (WIRE_BROKEN);
		reader->at += type == WIRE_FIXED64 ? 8 : 4;
		return (type);
	case WIRE_BYTES:
		if (read_varint(reader, &length) == -1 ||
		    length > (uint64_t)(reader->end - reader->at))
			return (WIRE_BROKEN);
		reader->span = span_of(reader->at, (size_t)length);
		reader->at += length;
		return (WIRE_BYTES);
	default:
		return (WIRE_BROKEN); /* groups are no part of proto3 */
	}
}

static void
reader_start(struct reader *reader, struct span span)
{
	reader->at = span.bytes;
	reader->end = span.bytes + span.length;
	reader->span = SPAN_NONE;
}

/* How many bytes the well-formed UTF-8 character at p has; 0 for none. */
static size_t
utf8_length(const uint8_t *p, size_t left)
{
	size_t n, i;

	if (p[0] < 0x80)
		return (1);
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return (0);
	if (left < n)
		return (0);
	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return (0);
	/* Too long, surrogates, above U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return (0);
	return (n);
}

/* How many bytes at the start are ASCII, by eights. */
static size_t
ascii_length(struct span span)
{
	uint64_t eight;
	size_t i;

	for (i = 0; i + sizeof(eight) <= span.length; i += sizeof(eight)) {
		memcpy(&eight, span.bytes + i, sizeof(eight));
		if ((eight & UINT64_C(0x8080808080808080)) != 0)
			break;
	}
	return (i);
}

/* Take a text; -1 when it is not UTF-8. */
static int
take_text(struct span *text, struct span span)
{
	size_t i, n;

	for (i = ascii_length(span); i < span.length; i += n)
		if ((n = utf8_length(span.bytes + i, span.length - i)) == 0)
			return (-1);
	*text = span;
	return (0);
}

/* One entry of a map<string,string>; a key may come once. */
static int
take_pair(
    struct metadata_pair *pairs, size_t *count, size_t *total, struct span span)
{
	struct reader reader;
	struct span key = SPAN_NONE, value = SPAN_NONE;
	enum wire_type type;
	size_t i;

	reader_start(&reader, span);
	while ((type = read_field(&reader)) != WIRE_END) {
		if (type == WIRE_BROKEN)
			return (-1);
		if (type != WIRE_BYTES)
			continue;
		if ((reader.field == 1 && take_text(&key, reader.span) == -1) ||
		    (reader.field == 2 && take_text(&value, reader.span) == -1))
			return (-1);
	}
	if (*count == FRAME_PAIRS) {
		*total = FRAME_TOO_MUCH;
		return (0);
	}
	for (i = 0; i < *count; i++)
		if (pairs[i].key_length == key.length &&
		    (key.length == 0 ||
			memcmp(pairs[i].key, key.bytes, key.length) == 0))
			return (-1);
	pairs[i].key = key.length > 0 ? (const char *)key.bytes : "";
	pairs[i].key_length = key.length;
	pairs[i].value = value.length > 0 ? (const char *)value.bytes : "";
	pairs[i].value_length = value.length;
	*total += key.length + value.length;
	(*count)++;
	return (0);
}

int
frame_parse(struct frame *frame, const uint8_t *bytes, size_t length)
{
	struct reader reader;
	enum wire_type type;

	memset(frame, 0, sizeof(*frame));
	reader_start(&reader, span_of(bytes, length));
	while ((type = read_field(&reader)) != WIRE_END) {
		if (type == WIRE_BROKEN)
			return (-1);
		if (type == WIRE_BYTES && reader.field == 1) {
			if (reader.span.length > FRAME_CORRELATION_MAX ||
			    take_text(&frame->correlation, reader.span) == -1)
				return (-1);
		} else if (type == WIRE_BYTES && reader.field < FRAME_UNKNOWN) {
			/* Of a oneof the last one counts. */
			frame->field = (enum frame_field)reader.field;
			frame->body = reader.span;
		} else if (frame->field == FRAME_NONE)
			frame->field = FRAME_UNKNOWN;
	}
	return (0);
}

int
frame_read_connect(struct frame_connect *connect, struct span body)
{
	struct reader reader;
	enum wire_type type;

	memset(connect, 0, offsetof(struct frame_connect, pairs));
	reader_start(&reader, body);
	while ((type = read_field(&reader)) != WIRE_END) {
		if (type == WIRE_BROKEN)
			return (-1);
		if (type == WIRE_VARINT && reader.field == 6)
			connect->issued_at = (int64_t)reader.number;
		if (type == WIRE_VARINT && reader.field == 7)
			connect->expires_at = (int64_t)reader.number;
		if (type == WIRE_VARINT && reader.field == 8)
			connect->arrived = reader.number != 0;
		if (type != WIRE_BYTES)
			continue;
		switch (reader.field) {
		case 1:
			connect->app_key = reader.span;
			break;
		case 2:
			connect->signature = reader.span;
			break;
		case 3:
			if (take_text(&connect->node_id, reader.span) == -1)
				return (-1);
			break;
		case 4:
			if (take_pair(connect->pairs, &connect->pair_count,
				&connect->metadata_bytes, reader.span) == -1)
				return (-1);
			break;
		case 5:
			connect->nonce = reader.span;
			break;
		}
	}
	return (0);
}

static int
start_chat_take(
    struct frame_start_chat *start, uint32_t field, struct span span)
{
	switch (field) {
	case 1:
		return (take_text(&start->chat_id, span));
	case 2:
		start->key = span;
		return (0);
	case 3:
		start->signature = span;
		return (0);
	case 4:
		return (take_pair(start->pairs, &start->pair_count,
		    &start->metadata_bytes, span));
	case 5:
		return (take_text(&start->target, span));
	case 6:
		return (take_text(&start->hint, span));
	case 7:
		/* The bytes are ours (received, unread) but for the const. */
		sodium_memzero((void *)(uintptr_t)span.bytes, span.length);
		return (0);
	case 9:
		start->salt = span;
		return (0);
	case 10:
		start->info = span;
		return (0);
	case 12:
		return (take_text(&start->source, span));
	case 16:
		start->instance = span;
		return (0);
	default:
		return (0);
	}
}

int
frame_read_start_chat(struct frame_start_chat *start, struct span body)
{
	struct reader reader;
	enum wire_type type;
	int bad = 0;

	memset(start, 0, offsetof(struct frame_start_chat, pairs));
	reader_start(&reader, body);
	/* After a bad field go on all the same: field 7 may follow. */
	while ((type = read_field(&reader)) != WIRE_END) {
		if (type == WIRE_BROKEN)
			return (-1);
		if (type == WIRE_BYTES &&
		    start_chat_take(start, reader.field, reader.span) == -1)
			bad = 1;
		if (type != WIRE_VARINT)
			continue;
		if (reader.field == 8)
			start->version = (uint32_t)reader.number;
		else if (reader.field == 11)
			start->rekey = reader.number != 0;
		else if (reader.field == 13)
			start->resume = reader.number != 0;
		else if (reader.field == 14)
			start->next_send = reader.number;
		else if (reader.field == 15)
			start->next_receive = reader.number;
	}
	return (bad ? -1 : 0);
}

/* What the two have in common, and what only one of them has where. */
static int
read_message(struct frame_chat_message *message, struct span body,
    uint32_t sequence, uint32_t payload)
{
	struct reader reader;
	enum wire_type type;

	memset(message, 0, sizeof(*message));
	reader_start(&reader, body);
	while ((type = read_field(&reader)) != WIRE_END) {
		if (type == WIRE_BROKEN)
			return (-1);
		if (type == WIRE_VARINT && reader.field == sequence)
			message->sequence = reader.number;
		if (type != WIRE_BYTES)
			continue;
		if (reader.field == payload)
			message->payload = reader.span;
		else if ((reader.field == 1 &&
			     take_text(&message->chat_id, reader.span) == -1) ||
			 (reader.field == 20 &&
			     take_text(&message->peer, reader.span) == -1))
			return (-1);
	}
	return (0);
}

int
frame_read_chat_message(struct frame_chat_message *message, struct span body)
{
	return (read_message(message, body, 3, 2));
}

int
frame_read_chat_ack(struct frame_chat_message *ack, struct span body)
{
	return (read_message(ack, body, 2, 0));
}

/* Where a text of a message goes. */
struct text_field {
	uint32_t field;
	struct span *text;
};

/* A message that is texts only. 0 or -1. */
static int
read_texts(struct span body, const struct text_field *texts, size_t count)
{
	struct reader reader;
	enum wire_type type;
	size_t i;

	reader_start(&reader, body);
	while ((type = read_field(&reader)) != WIRE_END) {
		if (type == WIRE_BROKEN)
			return (-1);
		for (i = 0; type == WIRE_BYTES && i < count; i++)
			if (reader.field == texts[i].field &&
			    take_text(texts[i].text, reader.span) == -1)
				return (-1);
	}
	return (0);
}

int
frame_read_delete_chat(struct frame_delete_chat *delete_chat, struct span body)
{
	const struct text_field texts[] = { { 1, &delete_chat->chat_id },
		{ 2, &delete_chat->reason }, { 20, &delete_chat->peer } };

	memset(delete_chat, 0, sizeof(*delete_chat));
	return (read_texts(body, texts, sizeof(texts) / sizeof(texts[0])));
}

int
frame_read_find_app(struct frame_find_app *find, struct span body)
{
	const struct text_field texts[] = { { 1, &find->target },
		{ 2, &find->hint } };

	memset(find, 0, sizeof(*find));
	return (read_texts(body, texts, sizeof(texts) / sizeof(texts[0])));
}

int
frame_read_heartbeat(int64_t *timestamp, struct span body)
{
	struct reader reader;
	enum wire_type type;

	*timestamp = 0;
	reader_start(&reader, body);
	while ((type = read_field(&reader)) != WIRE_END) {
		if (type == WIRE_BROKEN)
			return (-1);
		if (type == WIRE_VARINT && reader.field == 1)
			*timestamp = (int64_t)reader.number;
	}
	return (0);
}

int
frame_has_pair(const struct metadata_pair *pairs, size_t count, const char *key,
    const char *value)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (pairs[i].key_length == strlen(key) &&
		    pairs[i].value_length == strlen(value) &&
		    memcmp(pairs[i].key, key, pairs[i].key_length) == 0 &&
		    memcmp(pairs[i].value, value, pairs[i].value_length) == 0)
			return (1);
	return (0);
}
