/*
 * common/frame against protobuf-c: what one writes the
 * other reads, broken bytes are refused, private keys are wiped.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "common/frame/frames.h"
#include "proto/approuter.pb-c.h"
#include "regress/unit/suite.h"

static struct frame_body body;
static uint8_t wire[FRAME_BODY_SIZE + 512];

static struct span
text(const char *s)
{
	return (span_of(s, strlen(s)));
}

static int
span_is(struct span span, const char *s)
{
	return (span.length == strlen(s) &&
		(span.length == 0 || memcmp(span.bytes, s, span.length) == 0));
}

static size_t
pack(Approuter__V1__AppFrame *frame)
{
	ck_assert(
	    approuter__v1__app_frame__get_packed_size(frame) < sizeof(wire));
	return (approuter__v1__app_frame__pack(frame, wire));
}

static Approuter__V1__AppFrame *
wrapped(const char *correlation)
{
	size_t length = frame_wrapped_size(&body, text(correlation));
	Approuter__V1__AppFrame *frame;

	ck_assert(!body.failed);
	frame_wrap(wire, &body, text(correlation));
	frame = approuter__v1__app_frame__unpack(NULL, length, wire);
	ck_assert_ptr_nonnull(frame);
	ck_assert_str_eq(frame->correlation_id, correlation);
	return (frame);
}

START_TEST(test_read_chat_message)
{
	Approuter__V1__AppFrame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__ChatMessage message = APPROUTER__V1__CHAT_MESSAGE__INIT;
	struct frame got;
	struct frame_chat_message m;
	uint64_t sequences[] = { 0, 1, 127, 128, 300, UINT64_MAX };
	char id[] = "c-1", chat[] = "chat";
	char peer[] = "aa";
	size_t i, length;

	frame.correlation_id = id;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE;
	frame.chat_message = &message;
	message.chat_id = chat;
	message.peer_app_id = peer;
	message.payload.data = (uint8_t *)chat;
	for (i = 0; i < 6; i++) {
		message.sequence = sequences[i];
		message.payload.len = i % 5;
		length = pack(&frame);
		ck_assert_int_eq(frame_parse(&got, wire, length), 0);
		ck_assert_int_eq(got.field, FRAME_CHAT_MESSAGE);
		ck_assert(span_is(got.correlation, "c-1"));
		ck_assert_int_eq(frame_read_chat_message(&m, got.body), 0);
		ck_assert(span_is(m.chat_id, "chat"));
		ck_assert(span_is(m.peer, "aa"));
		ck_assert_uint_eq(m.payload.length, i % 5);
		ck_assert_uint_eq(m.sequence, sequences[i]);
	}
}
END_TEST

START_TEST(test_read_connect)
{
	Approuter__V1__AppFrame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__Connect connect = APPROUTER__V1__CONNECT__INIT;
	Approuter__V1__Connect__MetadataEntry entries[2] = {
		APPROUTER__V1__CONNECT__METADATA_ENTRY__INIT,
		APPROUTER__V1__CONNECT__METADATA_ENTRY__INIT
	};
	Approuter__V1__Connect__MetadataEntry *list[2] = { &entries[0],
		&entries[1] };
	struct frame got;
	static struct frame_connect c;
	char k1[] = "accept", v1[] = "auto", k2[] = "n\xc3\xa4me";
	char node[] = "node-a", empty[] = "";
	uint8_t key[32] = { 1, 2, 3 };

	entries[0].key = k1;
	entries[0].value = v1;
	entries[1].key = k2;
	entries[1].value = empty;
	connect.metadata = list;
	connect.n_metadata = 2;
	connect.node_id = node;
	connect.app_public_key.data = key;
	connect.app_public_key.len = 32;
	connect.issued_at = -5;
	connect.expires_at = INT64_MAX;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CONNECT;
	frame.connect = &connect;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(got.field, FRAME_CONNECT);
	ck_assert_int_eq(frame_read_connect(&c, got.body), 0);
	ck_assert(span_is(c.node_id, "node-a"));
	ck_assert_uint_eq(c.app_key.length, 32);
	ck_assert_int_eq(memcmp(c.app_key.bytes, key, 32), 0);
	ck_assert_uint_eq(c.signature.length, 0);
	ck_assert_int_eq(c.issued_at, -5);
	ck_assert_int_eq(c.expires_at, INT64_MAX);
	ck_assert_uint_eq(c.pair_count, 2);
	ck_assert_uint_eq(c.metadata_bytes, 15);
	ck_assert(frame_has_pair(c.pairs, 2, "accept", "auto"));
	ck_assert(!frame_has_pair(c.pairs, 2, "accept", "autos"));

	/* The same key twice is no map. */
	entries[1].key = k1;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(frame_read_connect(&c, got.body), -1);
	/* Nor is a broken text a string. */
	k2[2] = 'x';
	entries[1].key = k2;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(frame_read_connect(&c, got.body), -1);
}
END_TEST

START_TEST(test_start_chat)
{
	static struct frame_start_chat start, again;
	Approuter__V1__AppFrame *frame;
	struct frame got;
	uint8_t secret[34];
	uint8_t key[32];
	size_t length;

	memset(key, 7, sizeof(key));
	memset(&start, 0, sizeof(start));
	start.chat_id = text("integration-chat");
	start.key = span_of(key, 32);
	start.target = text("bb");
	start.hint = text("node-b");
	start.version = 3;
	start.rekey = 1;
	start.resume = 1;
	start.salt = text("salt");
	start.pairs[0].key = "k";
	start.pairs[0].key_length = 1;
	start.pairs[0].value = "v";
	start.pairs[0].value_length = 1;
	start.pair_count = 1;
	frame_begin(&body, FRAME_START_CHAT);
	frame_put_start_chat(&body, &start, "aa");
	frame = wrapped("x");
	ck_assert_int_eq(
	    frame->body_case, APPROUTER__V1__APP_FRAME__BODY_START_CHAT);
	ck_assert_str_eq(frame->start_chat->chat_id, "integration-chat");
	ck_assert_str_eq(frame->start_chat->source_app_id, "aa");
	ck_assert_str_eq(frame->start_chat->target_app_id, "bb");
	ck_assert_uint_eq(
	    frame->start_chat->local_ephemeral_public_key.len, 32);
	ck_assert_mem_eq(frame->start_chat->hkdf_salt.data, "salt", 4);
	ck_assert_str_eq(frame->start_chat->metadata[0]->key, "k");
	ck_assert_str_eq(frame->start_chat->target_node_hint, "node-b");
	ck_assert_uint_eq(frame->start_chat->key_version, 3);
	ck_assert(frame->start_chat->rekey && frame->start_chat->resume);
	ck_assert_uint_eq(frame->start_chat->n_metadata, 1);
	ck_assert_str_eq(frame->start_chat->metadata[0]->value, "v");
	approuter__v1__app_frame__free_unpacked(frame, NULL);

	/* A private key in field 7: zeros afterwards, and nothing else is. */
	length = frame_wrapped_size(&body, SPAN_NONE);
	frame_wrap(wire, &body, SPAN_NONE);
	ck_assert_int_eq(frame_parse(&got, wire, length), 0);
	memmove(wire, got.body.bytes, got.body.length);
	memset(secret, 0x55, sizeof(secret));
	secret[0] = 7 << 3 | 2;
	secret[1] = 32;
	memcpy(wire + got.body.length, secret, sizeof(secret));
	length = got.body.length + sizeof(secret);
	ck_assert_int_eq(
	    frame_read_start_chat(&again, span_of(wire, length)), 0);
	memset(secret + 2, 0, 32);
	ck_assert_int_eq(memcmp(wire + length - 34, secret, 34), 0);
	ck_assert(span_is(again.chat_id, "integration-chat"));
	ck_assert_int_eq(memcmp(again.key.bytes, key, 32), 0);
	ck_assert_uint_eq(again.pair_count, 1);
	ck_assert_uint_eq(again.version, 3);
}
END_TEST

START_TEST(test_write_hot)
{
	struct frame_chat_message m;
	Approuter__V1__AppFrame *frame;
	uint64_t sequences[] = { 0, 1, 127, 128, 1 << 20, UINT64_MAX };
	static uint8_t payload[20000];
	size_t i, n, length;
	struct frame got;
	struct span id = text("corr");

	for (i = 0; i < 6; i++) {
		for (n = 0; n < sizeof(payload); n = n * 3 + 1) {
			memset(&m, 0, sizeof(m));
			m.chat_id = text("chat");
			m.payload = span_of(payload, n);
			m.peer = text("ff");
			m.sequence = sequences[i];
			length =
			    frame_chat_message_size(FRAME_CHAT_MESSAGE, &m, id);
			frame_write_chat_message(
			    wire, FRAME_CHAT_MESSAGE, &m, id);
			frame = approuter__v1__app_frame__unpack(
			    NULL, length, wire);
			ck_assert_ptr_nonnull(frame);
			ck_assert_uint_eq(
			    frame->chat_message->sequence, sequences[i]);
			ck_assert_uint_eq(frame->chat_message->payload.len, n);
			ck_assert_str_eq(
			    frame->chat_message->peer_app_id, "ff");
			ck_assert_uint_eq(length,
			    approuter__v1__app_frame__get_packed_size(frame));
			approuter__v1__app_frame__free_unpacked(frame, NULL);
		}
		m.payload = SPAN_NONE;
		length = frame_chat_message_size(
		    FRAME_CHAT_MESSAGE_ACK, &m, SPAN_NONE);
		frame_write_chat_message(
		    wire, FRAME_CHAT_MESSAGE_ACK, &m, SPAN_NONE);
		frame = approuter__v1__app_frame__unpack(NULL, length, wire);
		ck_assert_ptr_nonnull(frame);
		ck_assert_uint_eq(
		    frame->chat_message_ack->sequence, sequences[i]);
		approuter__v1__app_frame__free_unpacked(frame, NULL);
		ck_assert_int_eq(frame_parse(&got, wire, length), 0);
		ck_assert_int_eq(got.field, FRAME_CHAT_MESSAGE_ACK);
		ck_assert_int_eq(frame_read_chat_ack(&m, got.body), 0);
		ck_assert(span_is(m.chat_id, "chat"));
		ck_assert(span_is(m.peer, "ff"));
		ck_assert_uint_eq(m.payload.length, 0);
		ck_assert_uint_eq(m.sequence, sequences[i]);
	}
}
END_TEST

START_TEST(test_write_bodies)
{
	Approuter__V1__AppFrame *frame;
	static uint8_t key[32] = { 9 };
	static uint8_t big[FRAME_BODY_SIZE];

	frame_begin(&body, FRAME_CONNECT_ACK);
	frame_put_text(&body, 1, "session");
	frame_put_node(&body, 4, "n1", "host:1", key);
	frame_put_node(&body, 4, "n2", "", key);
	frame_put_number(&body, 5, 1048576);
	frame = wrapped("q");
	ck_assert_uint_eq(frame->connect_ack->n_nodes, 2);
	ck_assert_str_eq(frame->connect_ack->nodes[0]->endpoint, "host:1");
	ck_assert_str_eq(frame->connect_ack->nodes[1]->node_id, "n2");
	ck_assert_uint_eq(frame->connect_ack->max_message_size, 1048576);
	approuter__v1__app_frame__free_unpacked(frame, NULL);

	frame_begin(&body, FRAME_ERROR);
	frame_put_text(&body, 1, "RATE_LIMITED");
	frame_put_number(&body, 5, (uint64_t)INT64_C(5000000000));
	frame = wrapped("");
	ck_assert_str_eq(frame->error->code, "RATE_LIMITED");
	ck_assert_int_eq(frame->error->retry_after_nanos, 5000000000);
	approuter__v1__app_frame__free_unpacked(frame, NULL);

	frame_begin(&body, FRAME_ERROR);
	frame_put_bytes(&body, 1, big, sizeof(big));
	ck_assert(body.failed);
}
END_TEST

START_TEST(test_unknown)
{
	struct frame frame;
	const uint8_t field_99[] = { 0x9a, 0x06, 0x01, 0x00 };
	const uint8_t group[] = { 0x0b, 0x0c };
	const uint8_t zero[] = { 0x00, 0x01 };
	const uint8_t cut[] = { 0x32, 0x05, 0x0a };
	const uint8_t endless[] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
		0x80, 0x80, 0x80, 0x80, 0x01 };
	uint8_t long_id[200] = { 0x0a, 0xc5, 0x01 };

	ck_assert_int_eq(frame_parse(&frame, NULL, 0), 0);
	ck_assert_int_eq(frame.field, FRAME_NONE);
	ck_assert_int_eq(frame_parse(&frame, field_99, 4), 0);
	ck_assert_int_eq(frame.field, FRAME_UNKNOWN);
	ck_assert_int_eq(frame_parse(&frame, group, 2), -1);
	ck_assert_int_eq(frame_parse(&frame, zero, 2), -1);
	ck_assert_int_eq(frame_parse(&frame, cut, 3), -1);
	ck_assert_int_eq(frame_parse(&frame, endless, 12), -1);
	memset(long_id + 3, 'a', sizeof(long_id) - 3);
	ck_assert_int_eq(frame_parse(&frame, long_id, sizeof(long_id)), -1);
}
END_TEST

/* What protobuf-c packed, each field with a value of its own. */
START_TEST(test_read_every_field)
{
	Approuter__V1__AppFrame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__Connect connect = APPROUTER__V1__CONNECT__INIT;
	Approuter__V1__StartChat chat = APPROUTER__V1__START_CHAT__INIT;
	struct frame got;
	static struct frame_connect c;
	static struct frame_start_chat s;
	char words[8][8] = { "one", "two", "three", "four", "five", "six",
		"seven", "eight" };

	/* What is not said is nothing, whatever was there. */
	memset(&c, 0x5a, sizeof(c));
	memset(&s, 0x5a, sizeof(s));
#define BYTES(i)                                                               \
	((ProtobufCBinaryData){ strlen(words[i]), (uint8_t *)words[i] })
	connect.signature = BYTES(0);
	connect.nonce = BYTES(1);
	connect.arrived = 1;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CONNECT;
	frame.connect = &connect;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(frame_read_connect(&c, got.body), 0);
	ck_assert(span_is(c.signature, "one") && span_is(c.nonce, "two"));
	words[7][0] = '\xff';
	connect.node_id = words[7];
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(frame_read_connect(&c, got.body), -1);
	words[7][0] = 'e';
	connect.node_id = words[0];
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(frame_read_connect(&c, got.body), 0);
	ck_assert_int_eq(c.arrived, 1);
	ck_assert_int_eq(c.issued_at, 0);
	ck_assert_int_eq(c.expires_at, 0);
	chat.chat_id = words[0];
	chat.local_ephemeral_public_key = BYTES(1);
	chat.signature = BYTES(2);
	chat.target_app_id = words[3];
	chat.target_node_hint = words[4];
	chat.hkdf_salt = BYTES(5);
	chat.hkdf_info = BYTES(6);
	chat.source_app_id = words[7];
	chat.instance = BYTES(0);
	chat.key_version = UINT32_MAX;
	chat.next_send_sequence = 14;
	chat.next_receive_sequence = UINT64_MAX;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &chat;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(frame_read_start_chat(&s, got.body), 0);
	ck_assert(span_is(s.chat_id, "one") && span_is(s.key, "two") &&
		  span_is(s.signature, "three") && span_is(s.target, "four") &&
		  span_is(s.hint, "five") && span_is(s.salt, "six") &&
		  span_is(s.info, "seven") && span_is(s.source, "eight") &&
		  span_is(s.instance, "one"));
	ck_assert_uint_eq(s.version, UINT32_MAX);
	ck_assert_uint_eq(s.next_send, 14);
	ck_assert_uint_eq(s.next_receive, UINT64_MAX);
	ck_assert(!s.rekey && !s.resume);
	chat.rekey = 1;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(frame_read_start_chat(&s, got.body), 0);
	ck_assert(s.rekey && !s.resume);
	chat.rekey = 0;
	chat.resume = 1;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(frame_read_start_chat(&s, got.body), 0);
	ck_assert(!s.rekey && s.resume);
#undef BYTES
}
END_TEST

START_TEST(test_read_small)
{
	Approuter__V1__AppFrame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__DeleteChat delete_chat =
	    APPROUTER__V1__DELETE_CHAT__INIT;
	Approuter__V1__FindApp find = APPROUTER__V1__FIND_APP__INIT;
	Approuter__V1__Heartbeat beat = APPROUTER__V1__HEARTBEAT__INIT;
	char words[3][8] = { "one", "two", "three" };
	struct frame_delete_chat d;
	struct frame_find_app f;
	struct frame got;
	int64_t timestamp;

	delete_chat.chat_id = words[0];
	delete_chat.reason = words[1];
	delete_chat.peer_app_id = words[2];
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_DELETE_CHAT;
	frame.delete_chat = &delete_chat;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(got.field, FRAME_DELETE_CHAT);
	ck_assert_int_eq(frame_read_delete_chat(&d, got.body), 0);
	ck_assert(span_is(d.chat_id, "one") && span_is(d.reason, "two") &&
		  span_is(d.peer, "three"));
	words[2][0] = '\xff';
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(frame_read_delete_chat(&d, got.body), -1);
	find.target_app_id = words[0];
	find.target_node_hint = words[1];
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_FIND_APP;
	frame.find_app = &find;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(got.field, FRAME_FIND_APP);
	ck_assert_int_eq(frame_read_find_app(&f, got.body), 0);
	ck_assert(span_is(f.target, "one") && span_is(f.hint, "two"));
	beat.timestamp_nanos = -7;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_HEARTBEAT;
	frame.heartbeat = &beat;
	ck_assert_int_eq(frame_parse(&got, wire, pack(&frame)), 0);
	ck_assert_int_eq(got.field, FRAME_HEARTBEAT);
	ck_assert_int_eq(frame_read_heartbeat(&timestamp, got.body), 0);
	ck_assert_int_eq(timestamp, -7);
}
END_TEST

/* The ends of what is UTF-8, alone and among ASCII, eight at a time. */
START_TEST(test_utf8)
{
	static const struct {
		const char *text;
		int good;
	} texts[] = {
		{ "\x7f", 1 },
		{ "\x80", 0 },
		{ "\xbf", 0 },
		{ "\xc1\xbf", 0 },
		{ "\xc2\x80", 1 },
		{ "\xc2\x7f", 0 },
		{ "\xc2\xc0", 0 },
		{ "\xc2", 0 },
		{ "\xdf\xbf", 1 },
		{ "\xe0\x9f\xbf", 0 },
		{ "\xe0\xa0\x80", 1 },
		{ "\xe1\x80", 0 },
		{ "\xe1\x80\x7f", 0 },
		{ "\xe1\x80\x80", 1 },
		{ "\xed\x9f\xbf", 1 },
		{ "\xed\xa0\x80", 0 },
		{ "\xef\xbf\xbf", 1 },
		{ "\xf0\x8f\xbf\xbf", 0 },
		{ "\xf0\x90\x80\x80", 1 },
		{ "\xf1\x80\x80", 0 },
		{ "\xf1\x80\x80\xc0", 0 },
		{ "\xf4\x8f\xbf\xbf", 1 },
		{ "\xf4\x90\x80\x80", 0 },
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xff", 0 },
	};
	uint8_t bytes[32] = { 0x0a };
	struct frame frame;
	size_t i, k, n;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (k = 0; k < 4; k++) {
			size_t before = k & 1 ? 8 : 0, after = k & 2 ? 9 : 0;

			n = strlen(texts[i].text);
			bytes[1] = (uint8_t)(before + n + after);
			memset(bytes + 2, 'a', sizeof(bytes) - 2);
			memcpy(bytes + 2 + before, texts[i].text, n);
			ck_assert_msg(
			    (frame_parse(&frame, bytes, 2 + (size_t)bytes[1]) ==
				0) == texts[i].good,
			    "text %zu after %zu", i, before);
		}
}
END_TEST

/* Numbers and fields at their bounds. */
START_TEST(test_bounds)
{
	/* A heartbeat (field 11), then field 19 in eight and four bytes. */
	const uint8_t fixed64[] = { 0x5a, 0, 0x99, 1, 1, 2, 3, 4, 5, 6, 7, 8 };
	const uint8_t fixed32[] = { 0x9d, 1, 1, 2, 3, 4, 0x5a, 0 };
	/* A varint of ten bytes, and of eleven. */
	const uint8_t ten[] = { 8, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
		0x80, 0x80, 0 };
	const uint8_t eleven[] = { 8, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
		0x80, 0x80, 0x80, 0 };
	/* Field 2^29 and no field; the field before it in full. */
	const uint8_t high[] = { 0x82, 0x80, 0x80, 0x80, 0x10, 0 };
	const uint8_t highest[] = { 0xfa, 0xff, 0xff, 0xff, 0x0f, 0 };
	const uint8_t none[] = { 0x02, 0 };
	/* A body as a number; two bodies. */
	const uint8_t number[] = { 0x58, 1 };
	const uint8_t two[] = { 0x5a, 0, 0x62, 0 };
	/* A number, then bytes where other numbers are looked for. */
	const uint8_t other[] = { 0x40, 1, 0x32, 0, 0x3a, 0, 0x0a, 0 };
	uint8_t id[3 + FRAME_CORRELATION_MAX + 1] = { 0x0a, 0x80, 0x01 };
	static struct frame_connect connect;
	struct frame frame;
	int64_t timestamp;
	size_t i;

	ck_assert_int_eq(frame_parse(&frame, fixed64, sizeof(fixed64)), 0);
	ck_assert_int_eq(frame.field, FRAME_HEARTBEAT);
	for (i = 3; i < sizeof(fixed64); i++)
		ck_assert_int_eq(frame_parse(&frame, fixed64, i), -1);
	ck_assert_int_eq(frame_parse(&frame, fixed32, sizeof(fixed32)), 0);
	ck_assert_int_eq(frame.field, FRAME_HEARTBEAT);
	for (i = 1; i < 6; i++)
		ck_assert_int_eq(frame_parse(&frame, fixed32, i), -1);
	ck_assert_int_eq(
	    frame_read_heartbeat(&timestamp, span_of(ten, sizeof(ten))), 0);
	ck_assert_int_eq(timestamp, 1);
	ck_assert_int_eq(
	    frame_read_heartbeat(&timestamp, span_of(eleven, sizeof(eleven))),
	    -1);
	ck_assert_int_eq(
	    frame_read_connect(&connect, span_of(other, sizeof(other))), 0);
	ck_assert_int_eq(connect.arrived, 1);
	ck_assert_int_eq(connect.issued_at, 0);
	ck_assert_int_eq(connect.expires_at, 0);
	ck_assert_int_eq(
	    frame_read_heartbeat(&timestamp, span_of(other, sizeof(other))), 0);
	ck_assert_int_eq(timestamp, 0);
	ck_assert_int_eq(frame_parse(&frame, high, sizeof(high)), -1);
	ck_assert_int_eq(frame_parse(&frame, highest, sizeof(highest)), 0);
	ck_assert_int_eq(frame.field, FRAME_UNKNOWN);
	ck_assert_int_eq(frame_parse(&frame, none, sizeof(none)), -1);
	ck_assert_int_eq(frame_parse(&frame, number, sizeof(number)), 0);
	ck_assert_int_eq(frame.field, FRAME_UNKNOWN);
	ck_assert_int_eq(frame_parse(&frame, two, sizeof(two)), 0);
	ck_assert_int_eq(frame.field, FRAME_FIND_APP);
	memset(id + 3, 'a', sizeof(id) - 3);
	ck_assert_int_eq(frame_parse(&frame, id, sizeof(id) - 1), 0);
	ck_assert_uint_eq(frame.correlation.length, FRAME_CORRELATION_MAX);
	id[1]++;
	ck_assert_int_eq(frame_parse(&frame, id, sizeof(id)), -1);
}
END_TEST

/* A map has FRAME_PAIRS entries at most, or its size says so; each key is there
 * once, also "". */
START_TEST(test_pairs)
{
	static struct frame_connect connect;
	struct metadata_pair pairs[FRAME_PAIRS + 2];
	char keys[FRAME_PAIRS + 2][8];
	size_t i;

	for (i = 0; i < FRAME_PAIRS + 2; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
		pairs[i].key = keys[i];
		pairs[i].key_length = i == 0 ? 0 : strlen(keys[i]);
		pairs[i].value = "v";
		pairs[i].value_length = i % 2;
	}
	for (i = FRAME_PAIRS; i <= FRAME_PAIRS + 2; i++) {
		frame_begin(&body, FRAME_CONNECT);
		frame_put_metadata(&body, pairs, i);
		ck_assert_int_eq(frame_read_connect(&connect,
				     span_of(body.bytes, body.length)),
		    0);
		ck_assert_uint_eq(connect.pair_count, FRAME_PAIRS);
		ck_assert_int_eq(
		    connect.metadata_bytes == FRAME_TOO_MUCH, i > FRAME_PAIRS);
	}
	ck_assert(frame_has_pair(connect.pairs, FRAME_PAIRS, "", ""));
	ck_assert(frame_has_pair(connect.pairs, FRAME_PAIRS, "k63", "v"));
	ck_assert(!frame_has_pair(connect.pairs, FRAME_PAIRS, "k62", "v"));
	ck_assert(!frame_has_pair(connect.pairs, FRAME_PAIRS, "k63", "w"));
	ck_assert(!frame_has_pair(connect.pairs, FRAME_PAIRS, "k64", ""));
	pairs[1].key_length = 0;
	frame_begin(&body, FRAME_CONNECT);
	frame_put_metadata(&body, pairs, 2);
	ck_assert_int_eq(
	    frame_read_connect(&connect, span_of(body.bytes, body.length)), -1);
}
END_TEST

/* A body as large as there is room for, and one byte more. */
START_TEST(test_room)
{
	static uint8_t big[FRAME_BODY_SIZE];

	frame_begin(&body, FRAME_ERROR);
	frame_put_bytes(&body, 1, big, sizeof(big) - 4);
	ck_assert(!body.failed);
	ck_assert_uint_eq(body.length, sizeof(big));
	frame_put_number(&body, 2, 0);
	ck_assert(!body.failed);
	frame_put_number(&body, 2, 1);
	ck_assert(body.failed);
	/* What comes after the room was too small is lost, too. */
	frame_begin(&body, FRAME_ERROR);
	frame_put_bytes(&body, 1, big, sizeof(big));
	frame_put_number(&body, 2, 1);
	ck_assert(body.failed);
	ck_assert_uint_eq(body.length, 0);
}
END_TEST

static void
read_all(const uint8_t *bytes, size_t length)
{
	static struct frame_connect connect;
	static struct frame_start_chat start;
	struct frame_chat_message message;
	struct frame_delete_chat delete_chat;
	struct frame_find_app find;
	struct frame frame;
	int64_t timestamp;

	if (frame_parse(&frame, bytes, length) == -1)
		return;
	(void)frame_read_connect(&connect, frame.body);
	(void)frame_read_chat_message(&message, frame.body);
	(void)frame_read_chat_ack(&message, frame.body);
	(void)frame_read_delete_chat(&delete_chat, frame.body);
	(void)frame_read_find_app(&find, frame.body);
	(void)frame_read_heartbeat(&timestamp, frame.body);
	(void)frame_read_start_chat(&start, frame.body);
}

/* Flip, cut and shuffle valid frames; an exact malloc for the sanitizer. */
START_TEST(test_hostile)
{
	static struct frame_start_chat start;
	unsigned int seed = 4711, i, k;
	uint8_t *copy;
	size_t length, cut;

	memset(&start, 0, sizeof(start));
	start.chat_id = text("chat");
	start.target = text("target");
	start.pairs[0].key = "k";
	start.pairs[0].key_length = 1;
	start.pairs[0].value = "v";
	start.pairs[0].value_length = 1;
	start.pair_count = 1;
	frame_begin(&body, FRAME_START_CHAT);
	frame_put_start_chat(&body, &start, "source");
	frame_put_bytes(&body, 7, "secret", 6);
	length = frame_wrapped_size(&body, text("id"));
	frame_wrap(wire, &body, text("id"));
	for (i = 0; i < 20000; i++) {
		cut = (size_t)rand_r(&seed) % (length + 1);
		copy = malloc(cut + 1);
		ck_assert_ptr_nonnull(copy);
		memcpy(copy, wire, cut);
		for (k = 0; cut > 0 && k < i % 8; k++)
			copy[(size_t)rand_r(&seed) % cut] =
			    (uint8_t)rand_r(&seed);
		read_all(copy, cut);
		free(copy);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("frames");
	TCase *tcase = tcase_create("frames");

	tcase_add_test(tcase, test_read_chat_message);
	tcase_add_test(tcase, test_read_connect);
	tcase_add_test(tcase, test_start_chat);
	tcase_add_test(tcase, test_write_hot);
	tcase_add_test(tcase, test_write_bodies);
	tcase_add_test(tcase, test_unknown);
	tcase_add_test(tcase, test_read_every_field);
	tcase_add_test(tcase, test_read_small);
	tcase_add_test(tcase, test_utf8);
	tcase_add_test(tcase, test_bounds);
	tcase_add_test(tcase, test_pairs);
	tcase_add_test(tcase, test_room);
	tcase_add_test(tcase, test_hostile);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
