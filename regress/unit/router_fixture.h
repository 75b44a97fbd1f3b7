/*
 * Tests only. The router without its neighbours, and what its unit tests
 * expect of it. Include once.
 */
#ifndef REGRESS_UNIT_ROUTER_FIXTURE_H
#define REGRESS_UNIT_ROUTER_FIXTURE_H

#include <check.h>

#define PLAYED_CHECK(condition) ck_assert(condition)

#include "regress/unit/played_doors.h"
#include "regress/unit/played_streams.h"
#include "regress/unit/router_apps.h"
#include "regress/unit/router_house.h"
#include "regress/unit/suite.h"

/* The next frame must be of this kind. */
static inline Frame *
app_expect(struct app_player *app, Approuter__V1__AppFrame__BodyCase kind)
{
	Frame *frame = app_hear(app->stream);

	ck_assert_msg(frame != NULL, "nothing instead of %d", (int)kind);
	ck_assert_msg(frame->body_case == kind, "%d instead of %d (%s)",
	    (int)frame->body_case, (int)kind,
	    frame->body_case == APPROUTER__V1__APP_FRAME__BODY_ERROR
		? frame->error->code
		: "");
	return (frame);
}

static inline void
app_expect_error(struct app_player *app, const char *code)
{
	Frame *frame = app_expect(app, APPROUTER__V1__APP_FRAME__BODY_ERROR);

	ck_assert_str_eq(frame->error->code, code);
	frame_free(frame);
}

static inline void
app_expect_nothing(struct app_player *app)
{
	ck_assert_ptr_null(app_hear(app->stream));
}

#define EXPECT(app, kind) app_expect(app, APPROUTER__V1__APP_FRAME__BODY_##kind)

static inline void
app_expect_deleted(struct app_player *app, const char *status)
{
	Frame *frame = EXPECT(app, DELETE_CHAT_ACK);

	ck_assert_str_eq(frame->delete_chat_ack->status, status);
	frame_free(frame);
}

static inline void
app_connect(struct app_player *app, int accept_auto)
{
	app->stream = stream_open();
	play();
	app_connect_stream(app, app->stream, accept_auto, NULL);
	frame_free(EXPECT(app, CONNECT_ACK));
	play();
}

static inline void
app_leave(struct app_player *app)
{
	stream_close(app->stream);
	app->stream = NULL;
	play();
}

/* Start without letting the neighbours work. */
static inline void
app_start_only(struct app_player *app, struct app_player *peer,
    const char *chat_id, int resume)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	char correlation[] = "start";

	frame.correlation_id = correlation;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &start;
	start.chat_id = (char *)(uintptr_t)chat_id;
	start.target_app_id = peer->id;
	start.resume = resume;
	app_say(app->stream, &frame);
}

static inline void
app_start_chat(struct app_player *app, struct app_player *peer,
    const char *chat_id, int resume)
{
	app_start_only(app, peer, chat_id, resume);
	play();
}

/* Send without letting the neighbours work. */
static inline void
app_send_only(struct app_player *app, const char *chat_id, uint64_t sequence)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__ChatMessage message = APPROUTER__V1__CHAT_MESSAGE__INIT;
	char correlation[32];

	(void)snprintf(correlation, sizeof(correlation), "m%llu",
	    (unsigned long long)sequence);
	frame.correlation_id = correlation;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE;
	frame.chat_message = &message;
	message.chat_id = (char *)(uintptr_t)chat_id;
	message.sequence = sequence;
	message.payload.data = (uint8_t *)&sequence;
	message.payload.len = sizeof(sequence);
	app_say(app->stream, &frame);
}

static inline void
app_send(struct app_player *app, const char *chat_id, uint64_t sequence)
{
	app_send_only(app, chat_id, sequence);
	play();
}

static inline void
app_expect_status(struct app_player *app, const char *status)
{
	Frame *frame = EXPECT(app, CHAT_STATUS);

	ck_assert_str_eq(frame->chat_status->status, status);
	frame_free(frame);
}

static inline void
app_expect_message(struct app_player *app, uint64_t sequence)
{
	Frame *frame = EXPECT(app, CHAT_MESSAGE);

	ck_assert_uint_eq(frame->chat_message->sequence, sequence);
	ck_assert_uint_eq(frame->chat_message->payload.len, 8);
	ck_assert_int_eq(
	    memcmp(frame->chat_message->payload.data, &sequence, 8), 0);
	frame_free(frame);
}

static inline void
app_expect_ack(
    struct app_player *app, uint64_t sequence, const char *correlation)
{
	Frame *frame = EXPECT(app, CHAT_MESSAGE_ACK);

	ck_assert_uint_eq(frame->chat_message_ack->sequence, sequence);
	if (correlation != NULL)
		ck_assert_str_eq(frame->correlation_id, correlation);
	frame_free(frame);
}

/* Both connected, the chat "c" ready. */
static inline void
chat_begin(void)
{
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	app_start_chat(&alice, &bob, "c", 0);
	frame_free(EXPECT(&bob, START_CHAT));
	app_start_chat(&bob, &alice, "c", 0);
	frame_free(EXPECT(&bob, START_CHAT_ACK));
	frame_free(EXPECT(&alice, START_CHAT));
	frame_free(EXPECT(&alice, START_CHAT_ACK));
}

/* Run the suite name with the cases that add gives it. What main() returns. */
static inline int
router_run(const char *name, void (*add)(TCase *))
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 60);
	add(tcase);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}

#endif
