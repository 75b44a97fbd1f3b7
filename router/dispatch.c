/*
 * router: what each frame of a connected app means. One function a frame;
 * the frames are hostile, the app behind them is known.
 */

#include "common/util/clock.h"
#include "common/util/metrics.h"
#include "router/chats.h"
#include "router/dispatch.h"
#include "router/find.h"

static void
dispatch_heartbeat(struct session *session, const struct frame *frame)
{
	struct frame_body *body = &session_body;
	int64_t timestamp;

	if (frame_read_heartbeat(&timestamp, frame->body) == -1) {
		session_bad_frame(session, frame->correlation, NULL,
		    "Heartbeat cannot be decoded");
		return;
	}
	frame_begin(body, FRAME_HEARTBEAT);
	frame_put_number(body, 1, (uint64_t)timestamp);
	session_send(session, body, frame->correlation);
}

static void
dispatch_start_chat(
    struct session *session, const struct frame *frame, int64_t now)
{
	static struct frame_start_chat start;

	if (frame_read_start_chat(&start, frame->body) == -1)
		session_bad_frame(session, frame->correlation, NULL,
		    "StartChat cannot be decoded");
	else
		start_from_app(session, &start, frame->correlation, now);
}

static void
dispatch_chat_message(
    struct session *session, const struct frame *frame, int64_t now)
{
	struct frame_chat_message message;

	if (frame_read_chat_message(&message, frame->body) == -1)
		session_bad_frame(session, frame->correlation, NULL,
		    "ChatMessage cannot be decoded");
	else
		flow_from_app(session, &message, frame->correlation, now);
}

static void
dispatch_delete_chat(
    struct session *session, const struct frame *frame, int64_t now)
{
	struct frame_delete_chat delete_chat;

	if (frame_read_delete_chat(&delete_chat, frame->body) == -1)
		session_bad_frame(session, frame->correlation, NULL,
		    "DeleteChat cannot be decoded");
	else
		end_from_app(session, &delete_chat, frame->correlation, now);
}

static void
dispatch_find_app(
    struct session *session, const struct frame *frame, int64_t now)
{
	struct frame_find_app find;

	if (frame_read_find_app(&find, frame->body) == -1)
		session_bad_frame(session, frame->correlation, NULL,
		    "FindApp cannot be decoded");
	else
		find_from_app(session, &find, frame->correlation, now);
}

void
dispatch_frame(struct session *session, const struct frame *frame, int64_t now)
{
	switch (frame->field) {
	case FRAME_CHAT_MESSAGE:
		dispatch_chat_message(session, frame, now);
		return;
	case FRAME_START_CHAT:
		dispatch_start_chat(session, frame, now);
		return;
	case FRAME_DELETE_CHAT:
		dispatch_delete_chat(session, frame, now);
		return;
	case FRAME_HEARTBEAT:
		dispatch_heartbeat(session, frame);
		return;
	case FRAME_FIND_APP:
		dispatch_find_app(session, frame, now);
		return;
	case FRAME_START_CHAT_ACK:
	case FRAME_CHAT_MESSAGE_ACK:
		/* Some v1 apps acknowledge what they get: nobody asked. */
		return;
	case FRAME_UNKNOWN:
		session_error_name(
		    session, frame->correlation, CODE_UNSUPPORTED, NULL, 0);
		return;
	default:
		session_bad_frame(session, frame->correlation, NULL,
		    frame->field == FRAME_NONE ? "an AppFrame without a body"
		    : frame->field == FRAME_CONNECT
			? "a second Connect on one stream"
			: "a frame that only nodes send");
		return;
	}
}
