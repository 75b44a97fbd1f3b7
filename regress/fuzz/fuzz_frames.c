/*
 * Tests only. AppFrames as the router reads them: nothing beyond the bytes,
 * and the same as protobuf-c reads where both have one meaning. And v1
 * private keys are gone.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "proto/approuter.pb-c.h"
#include "regress/fuzz/fuzz.h"
#include "common/frame/frames.h"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return (0);
}

static int
inside(struct span span, const uint8_t *bytes, size_t length)
{
	return (span.length == 0 ||
		(span.bytes >= bytes && span.length <= length &&
		    (size_t)(span.bytes - bytes) <= length - span.length));
}

/* A NUL ends their text, but not ours. */
static int
same(struct span span, const char *text)
{
	if (span.length > 0 && memchr(span.bytes, '\0', span.length) != NULL)
		return (1);
	return (
	    span.length == strlen(text) &&
	    (span.length == 0 || memcmp(span.bytes, text, span.length) == 0));
}

static void
try_message(const struct frame *frame, const uint8_t *bytes, size_t length,
    const Approuter__V1__AppFrame *theirs)
{
	struct frame_chat_message message;
	struct frame again;
	uint8_t *out;
	size_t size;

	if (frame_read_chat_ack(&message, frame->body) == 0 &&
	    frame->field == FRAME_CHAT_MESSAGE_ACK && theirs != NULL) {
		const Approuter__V1__ChatMessageAck *a =
		    theirs->chat_message_ack;

		FUZZ_CHECK(a != NULL && a->sequence == message.sequence);
		FUZZ_CHECK(same(message.chat_id, a->chat_id));
	}
	if (frame_read_chat_message(&message, frame->body) == -1)
		return;
	FUZZ_CHECK(inside(message.payload, bytes, length) &&
		   inside(message.chat_id, bytes, length));
	if (frame->field == FRAME_CHAT_MESSAGE && theirs != NULL) {
		const Approuter__V1__ChatMessage *m = theirs->chat_message;

		FUZZ_CHECK(m != NULL && m->sequence == message.sequence);
		FUZZ_CHECK(same(message.chat_id, m->chat_id));
		FUZZ_CHECK(m->payload.len == message.payload.length);
	}
	/* And back. */
	size =
	    frame_chat_message_size(frame->field, &message, frame->correlation);
	FUZZ_CHECK((out = malloc(size + 1)) != NULL);
	frame_write_chat_message(
	    out, frame->field, &message, frame->correlation);
	FUZZ_CHECK(frame_parse(&again, out, size) == 0);
	FUZZ_CHECK(again.field == frame->field);
	FUZZ_CHECK(frame_read_chat_message(&message, again.body) == 0);
	free(out);
}

/* Field 7 of every StartChat body is zeros now. */
static void
try_start(const struct frame *frame)
{
	static struct frame_body body;
	struct frame_start_chat start;
	Approuter__V1__StartChat *theirs;
	struct span none = { NULL, 0 };
	uint8_t *out;
	size_t size;

	if (frame_read_start_chat(&start, frame->body) == -1)
		return;
	FUZZ_CHECK(start.pair_count <= FRAME_PAIRS);
	frame_begin(&body, FRAME_START_CHAT);
	frame_put_start_chat(&body, &start, "someone");
	if (body.failed)
		return;
	theirs =
	    approuter__v1__start_chat__unpack(NULL, body.length, body.bytes);
	FUZZ_CHECK(theirs != NULL);
	FUZZ_CHECK(strcmp(theirs->source_app_id, "someone") == 0);
	FUZZ_CHECK(same(start.chat_id, theirs->chat_id));
	FUZZ_CHECK(theirs->key_version == start.version);
	approuter__v1__start_chat__free_unpacked(theirs, NULL);
	size = frame_wrapped_size(&body, none);
	FUZZ_CHECK((out = malloc(size)) != NULL);
	frame_wrap(out, &body, none);
	free(out);
}

static void
try_others(const struct frame *frame)
{
	static struct frame_body body;
	struct frame_connect connect;
	struct frame_delete_chat delete_chat;
	struct frame_find_app find;
	uint8_t hash[KEY_SIZE];
	int64_t timestamp;

	switch (frame->field) {
	case FRAME_CONNECT:
		if (frame_read_connect(&connect, frame->body) == -1)
			break;
		(void)frame_has_pair(
		    connect.pairs, connect.pair_count, "accept", "auto");
		frame_begin(&body, FRAME_CONNECT);
		frame_put_metadata(&body, connect.pairs, connect.pair_count);
		metadata_hash(hash, connect.pairs, connect.pair_count);
		break;
	case FRAME_DELETE_CHAT:
		(void)frame_read_delete_chat(&delete_chat, frame->body);
		break;
	case FRAME_FIND_APP:
		(void)frame_read_find_app(&find, frame->body);
		break;
	case FRAME_HEARTBEAT:
		(void)frame_read_heartbeat(&timestamp, frame->body);
		break;
	default:
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Approuter__V1__AppFrame *theirs;
	struct frame frame;
	uint8_t *bytes = malloc(size + 1), *packed;
	int canonical = 0;

	FUZZ_CHECK(bytes != NULL);
	if (size > 0)
		memcpy(bytes, data, size);
	theirs = approuter__v1__app_frame__unpack(NULL, size, bytes);
	if (theirs != NULL &&
	    approuter__v1__app_frame__get_packed_size(theirs) == size) {
		FUZZ_CHECK((packed = malloc(size + 1)) != NULL);
		(void)approuter__v1__app_frame__pack(theirs, packed);
		canonical = memcmp(packed, bytes, size) == 0;
		free(packed);
	}
	if (frame_parse(&frame, bytes, size) == 0) {
		FUZZ_CHECK(inside(frame.body, bytes, size));
		FUZZ_CHECK(inside(frame.correlation, bytes, size));
		if (canonical)
			FUZZ_CHECK((int)theirs->body_case == (int)frame.field ||
				   theirs->body_case == 0);
		switch (frame.field) {
		case FRAME_CHAT_MESSAGE:
		case FRAME_CHAT_MESSAGE_ACK:
			try_message(
			    &frame, bytes, size, canonical ? theirs : NULL);
			break;
		case FRAME_START_CHAT:
			try_start(&frame);
			break;
		default:
			try_others(&frame);
			break;
		}
	}
	if (theirs != NULL)
		approuter__v1__app_frame__free_unpacked(theirs, NULL);
	free(bytes);
	return (0);
}
