/*
 * router: the life of an app's stream: challenge, limits, idleness, end.
 * Everything that comes over it is hostile; connect.c finds out whose it is,
 * dispatch.c takes its frames apart.
 */

#include <sys/queue.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "common/util/table.h"
#include "router/chats.h"
#include "router/dispatch.h"
#include "router/find.h"
#include "router/nodes.h"
#include "common/util/rate.h"
#include "router/session.h"

#define BAD_FRAMES_MAX   16
/* Answers nobody reads: no more questions are read, then the stream is cut. */
#define OUTPUT_HIGH      (4 * 1024 * 1024)
#define OUTPUT_MAX       (32 * 1024 * 1024)
/*
 * With "app compat v1" the node cannot know whether a v1 app is there, which
 * is not to be sent a Challenge, or a v2 app, which waits for one. v1 apps
 * speak at once: so wait this long, and if nothing came send the Challenge.
 */
#define COMPAT_WAIT      (200 * CLOCK_MS)
/* A sender over its rate is slowed by its window; this far over, refused. */
#define FAR_AHEAD        (2 * CLOCK_SECOND)
/* An app that half closed is served so long at most. */
#define HALF_CLOSED_WAIT (30 * CLOCK_SECOND)
#define V1_RENEW         (ATTESTATION_MAX_AGE / 2)
/* Of those open, one in so many is looked at in a tick, but a few at least. */
#define TICK_PARTS       32
#define TICK_LEAST       64

TAILQ_HEAD(session_list, session);

static struct {
	struct session_list list;
	struct session_list new;  /* oldest first */
	struct session_list half; /* closed, and open */
	struct table by_number;
	uint64_t number;
	uint32_t open;
	uint32_t waiting; /* before ConnectAck */
} sessions = { .list = TAILQ_HEAD_INITIALIZER(sessions.list),
	.new = TAILQ_HEAD_INITIALIZER(sessions.new),
	.half = TAILQ_HEAD_INITIALIZER(sessions.half) };

struct frame_body session_body;

static void session_timer(evutil_socket_t fd, short what, void *arg);

void
session_init(void)
{
	table_init(&sessions.by_number, sizeof(uint64_t));
}

static void
session_wait(struct session *session, int64_t delay)
{
	struct timeval tv;

	tv.tv_sec = (time_t)(delay / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(delay % CLOCK_SECOND / 1000);
	(void)evtimer_add(&session->timer, &tv);
}

static void
session_challenge(struct session *session)
{
	struct ipc_challenge challenge;
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);

	if (keyd == NULL)
		return;
	memset(&challenge, 0, sizeof(challenge));
	challenge.id = session->number;
	memcpy(challenge.nonce, session->nonce, KEY_SIZE);
	ipc_send(keyd, IPC_CHALLENGE, &challenge, NULL, 0);
	session->challenged = 1;
}

/* Too many have not said who they are: the oldest goes, of this connection
 * when it has many of them. */
static void
session_displace(const struct rpc_stream *stream)
{
	const struct rpc_connection *from = rpc_stream_connection(stream);
	struct session *session, *oldest = NULL;
	uint32_t count = 0;

	TAILQ_FOREACH(session, &sessions.new, entry_waiting)
	if (rpc_stream_connection(session->stream) == from) {
		count++;
		if (oldest == NULL)
			oldest = session;
	}
	if (oldest == NULL || count < sessions.waiting / 4)
		oldest = TAILQ_FIRST(&sessions.new);
	session_finish(
	    oldest, RPC_RESOURCE_EXHAUSTED, "displaced by a newer one");
}

enum rpc_status
session_opened(struct rpc_stream *stream, void *arg)
{
	const struct config *config = proc_config();
	struct session *session;

	(void)arg;
	if (!router_serving())
		return (RPC_UNAVAILABLE);
	/* keyd signs a Challenge for each, and has better to do. */
	if (!rpc_connection_may_sign(rpc_stream_connection(stream)))
		return (RPC_RESOURCE_EXHAUSTED);
	if ((session = calloc(1, sizeof(*session))) == NULL)
		return (RPC_RESOURCE_EXHAUSTED);
	if (sessions.waiting >= config->limits.unauthenticated)
		session_displace(stream);
	session->stream = stream;
	TAILQ_INIT(&session->find_list);
	session->number = ++sessions.number;
	session->opened_at = session->active_at = clock_monotonic();
	(void)snprintf(session->address, sizeof(session->address), "%s",
	    rpc_connection_name(rpc_stream_connection(stream)));
	randombytes_buf(session->nonce, sizeof(session->nonce));
	(void)evtimer_assign(
	    &session->timer, proc_base(), session_timer, session);
	if (table_put(&sessions.by_number, &session->number, session) == -1) {
		free(session);
		return (RPC_RESOURCE_EXHAUSTED);
	}
	TAILQ_INSERT_TAIL(&sessions.list, session, entry);
	TAILQ_INSERT_TAIL(&sessions.new, session, entry_waiting);
	sessions.waiting++;
	rpc_stream_set_arg(stream, session);
	if (config->app_compat_v1 &&
	    COMPAT_WAIT < config->limits.connect_timeout)
		session_wait(session, COMPAT_WAIT);
	else {
		session_challenge(session);
		session_wait(session, config->limits.connect_timeout);
	}
	return (RPC_OK);
}

void
session_challenge_signed(const struct ipc_challenge_signed *signed_)
{
	static const uint8_t no_mesh[KEY_SIZE];
	struct session *session;
	struct frame_body *body = &session_body;
	char mesh_id[2 * KEY_SIZE + 1] = "";

	session = table_get(&sessions.by_number, &signed_->id);
	if (session == NULL || session->state != SESSION_NEW)
		return;
	if (memcmp(router.identity.mesh_id, no_mesh, KEY_SIZE) != 0)
		(void)sodium_bin2hex(mesh_id, sizeof(mesh_id),
		    router.identity.mesh_id, KEY_SIZE);
	frame_begin(body, FRAME_CHALLENGE);
	frame_put_bytes(body, 1, session->nonce, KEY_SIZE);
	frame_put_text(body, 2, router.identity.node_id);
	frame_put_bytes(body, 3, router.identity.node_key, KEY_SIZE);
	frame_put_text(body, 4, mesh_id);
	frame_put_bytes(body, 5, signed_->signature, SIGNATURE_SIZE);
	session_send(session, body, SPAN_NONE);
}

/* What a session still owes the app's window, now or later. */
static void
session_pay(struct session *session, int64_t now)
{
	const struct config_limits *limits = &proc_config()->limits;
	int64_t early = 0;

	if (rpc_stream_queued(session->stream) > OUTPUT_HIGH &&
	    rpc_stream_congested(session->stream))
		return; /* until session_writable_again() */
	if (limits->messages_per_second > 0)
		early = session->app->frames_due - now - CLOCK_SECOND;
	if (early > 0) {
		if (!evtimer_pending(&session->timer, NULL))
			session_wait(session, early + CLOCK_MS);
		return;
	}
	rpc_stream_consume(session->stream, session->owed);
	session->owed = 0;
}

static void
session_timer(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;
	int64_t limit = proc_config()->limits.connect_timeout;
	int64_t now = clock_monotonic();

	(void)fd;
	(void)what;
	if (session->state == SESSION_OPEN && session->owed > 0)
		session_pay(session, now);
	if (session->state != SESSION_NEW)
		return;
	if (now - session->opened_at < limit - CLOCK_MS) {
		if (!session->challenged)
			session_challenge(session);
		session_wait(session, limit - (now - session->opened_at));
		return;
	}
	metric_add(METRIC_SESSION_LIMITS_CONNECT, 1);
	session_finish(session, RPC_DEADLINE_EXCEEDED, "no Connect in time");
}

/* Far over its rate: not done, whatever it was. The private key that it may
 * bear is wiped all the same. */
static void
session_limited(
    struct session *session, const struct frame *frame, int64_t early)
{
	static struct frame_start_chat start;
	struct frame_chat_message message;
	struct frame_delete_chat delete_chat;
	struct chat_name name = { SPAN_NONE, SPAN_NONE };

	if (frame->field == FRAME_CHAT_MESSAGE &&
	    frame_read_chat_message(&message, frame->body) == 0)
		name = (struct chat_name){ message.chat_id, message.peer };
	else if (frame->field == FRAME_START_CHAT &&
		 frame_read_start_chat(&start, frame->body) == 0)
		name = (struct chat_name){ start.chat_id, start.target };
	else if (frame->field == FRAME_DELETE_CHAT &&
		 frame_read_delete_chat(&delete_chat, frame->body) == 0)
		name =
		    (struct chat_name){ delete_chat.chat_id, delete_chat.peer };
	session_error_name(
	    session, frame->correlation, CODE_RATE_LIMITED, &name, early);
}

void
session_message(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	const struct config_limits *limits = &proc_config()->limits;
	struct session *session = arg;
	struct frame frame;
	int64_t early, now;

	(void)stream;
	if (session->state == SESSION_OVER)
		return;
	now = clock_monotonic();
	session->active_at = now;
	if (session->state == SESSION_NEW) {
		if (frame_parse(&frame, bytes, length) == -1 ||
		    frame.field != FRAME_CONNECT)
			session_finish(session, RPC_INVALID_ARGUMENT,
			    "the first frame is not Connect");
		else
			session_connect(session, frame.body, frame.correlation);
		session_consume(session, length);
		flow_flush();
		return;
	}
	early = rate_take(&session->app->frames_due, now,
	    limits->messages_per_second, CLOCK_SECOND, FAR_AHEAD);
	if (frame_parse(&frame, bytes, length) == -1)
		session_bad_frame(session, SPAN_NONE, NULL,
		    "not an AppFrame, or its correlation_id is too long");
	else if (early > FAR_AHEAD)
		session_limited(session, &frame, early);
	else
		dispatch_frame(session, &frame, now);
	session_consume(session, length);
	flow_flush();
}

void
session_consume(struct session *session, size_t length)
{
	if (session->state != SESSION_OPEN)
		return;
	session->owed += length;
	/* The clock is read only where there is a rate limit. */
	session_pay(
	    session, session->app->frames_due == 0 ? 0 : clock_monotonic());
}

int
session_writable(struct session *session)
{
	return (session->state == SESSION_OPEN &&
		!rpc_stream_congested(session->stream));
}

void
session_writable_again(struct rpc_stream *stream, void *arg)
{
	struct session *session = arg;

	(void)stream;
	if (session->state != SESSION_OPEN)
		return;
	flow_writable(session->app);
	if (session->owed > 0)
		session_pay(session, clock_monotonic());
}

void
session_send(struct session *session, const struct frame_body *body,
    struct span correlation)
{
	size_t length;
	uint8_t *to;

	if (session->state == SESSION_OVER)
		return;
	if (body->failed) {
		log_error("frame_too_large", "field=%d", (int)body->field);
		return;
	}
	length = frame_wrapped_size(body, correlation);
	if (rpc_stream_queued(session->stream) > OUTPUT_MAX ||
	    (to = rpc_stream_reserve(session->stream, length)) == NULL) {
		/* session_closed() follows, but not from in here. */
		rpc_stream_cancel(session->stream);
		return;
	}
	frame_wrap(to, body, correlation);
	rpc_stream_commit(session->stream, length);
}

static void
error_send(struct session *session, struct span correlation,
    enum hermes_code code, const char *text, const struct chat_name *name,
    uint64_t expected, int64_t retry_after)
{
	struct frame_body *body = &session_body;

	frame_begin(body, FRAME_ERROR);
	frame_put_text(body, 1, code_word(code));
	frame_put_text(body, 2, text);
	/* What is too long for an id is not said back. */
	if (name != NULL && name->chat_id.length < CHAT_ID_SIZE)
		frame_put_bytes(
		    body, 3, name->chat_id.bytes, name->chat_id.length);
	frame_put_number(body, 4, expected);
	frame_put_number(body, 5, (uint64_t)retry_after);
	if (name != NULL && name->peer.length == APP_ID_LENGTH)
		frame_put_bytes(body, 20, name->peer.bytes, name->peer.length);
	session_send(session, body, correlation);
	router_count_error(code);
}

void
session_error(struct session *session, struct span correlation,
    enum hermes_code code, const struct side *side, uint64_t expected,
    int64_t retry_after)
{
	const char *text = code_text(code);
	const struct chat_name name = { span_of(side->chat_id,
					    strlen(side->chat_id)),
		span_of(side->peer->hex, APP_ID_LENGTH) };

	if (code == CODE_INVALID_FRAME && expected != 0)
		text = "key_version is above the next one, which is named in "
		       "expected_sequence";
	error_send(
	    session, correlation, code, text, &name, expected, retry_after);
}

void
session_error_name(struct session *session, struct span correlation,
    enum hermes_code code, const struct chat_name *name, int64_t retry_after)
{
	error_send(
	    session, correlation, code, code_text(code), name, 0, retry_after);
}

void
session_bad_frame(struct session *session, struct span correlation,
    const struct chat_name *name, const char *what)
{
	error_send(session, correlation, CODE_INVALID_FRAME, what, name, 0, 0);
	if (++session->bad_frames > BAD_FRAMES_MAX)
		session_finish(
		    session, RPC_INVALID_ARGUMENT, "too many invalid frames");
}

void
session_go_away(struct session *session, const char *reason, int64_t grace)
{
	struct frame_body *body = &session_body;

	frame_begin(body, FRAME_GO_AWAY);
	frame_put_text(body, 1, reason);
	nodes_put(body, 2);
	frame_put_number(body, 3, (uint64_t)grace);
	session_send(session, body, SPAN_NONE);
}

void
session_announce(const struct session *session)
{
	struct ipc_app_up up;
	struct ipc *mesh = proc_ipc(PROCESS_MESH);

	if (mesh == NULL)
		return;
	memset(&up, 0, sizeof(up));
	up.attestation = session->attestation;
	(void)strlcpy(
	    up.session_id, session->session_id, sizeof(up.session_id));
	up.connected_at = session->connected_at;
	ipc_send(
	    mesh, IPC_APP_UP, &up, session->metadata, session->metadata_length);
}

/* Its app, if any, is connected no longer. */
static void
session_leave(struct session *session)
{
	if (session->state == SESSION_NEW) {
		TAILQ_REMOVE(&sessions.new, session, entry_waiting);
		sessions.waiting--;
	} else if (session->state == SESSION_OPEN) {
		sessions.open--;
		if (session->half_closed_at != 0)
			TAILQ_REMOVE(&sessions.half, session, entry_waiting);
		find_forget(session);
		app_disconnected(session->app, session);
	}
	session->app = NULL;
	session->state = SESSION_OVER;
	(void)evtimer_del(&session->timer);
}

void
session_finish(
    struct session *session, enum rpc_status status, const char *text)
{
	if (session->state == SESSION_OVER)
		return;
	session_leave(session);
	rpc_stream_finish(session->stream, status, text);
}

/* It will say no more: it stays for what it still waits for. */
static void
session_end_half_closed(struct session *session, int64_t now)
{
	if (now - session->half_closed_at > HALF_CLOSED_WAIT ||
	    !app_waits(session->app))
		session_finish(session, RPC_OK, NULL);
}

void
session_half_closed(struct rpc_stream *stream, void *arg)
{
	struct session *session = arg;

	(void)stream;
	if (session->state == SESSION_NEW)
		session_finish(session, RPC_INVALID_ARGUMENT, "no Connect");
	if (session->state != SESSION_OPEN)
		return;
	session->half_closed_at = clock_monotonic();
	TAILQ_INSERT_TAIL(&sessions.half, session, entry_waiting);
	session_end_half_closed(session, session->half_closed_at);
}

void
session_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *message, void *arg)
{
	struct session *session = arg;

	(void)stream;
	(void)status;
	(void)message;
	session_leave(session);
	TAILQ_REMOVE(&sessions.list, session, entry);
	(void)table_remove(&sessions.by_number, &session->number);
	free(session->metadata);
	free(session);
}

/* connect.c found the app: the session is one of those that count. */
void
session_count_open(struct session *session)
{
	TAILQ_REMOVE(&sessions.new, session, entry_waiting);
	sessions.waiting--;
	sessions.open++;
	session->state = SESSION_OPEN;
	(void)evtimer_del(&session->timer);
	metric_add(METRIC_SESSIONS_TOTAL, 1);
}

/* A v1 app signs no times: what the router vouched for is renewed. */
static void
session_renew(struct session *session, int64_t wall)
{
	session->attestation.issued_at = wall;
	session->attestation.expires_at = wall + ATTESTATION_MAX_AGE;
	session_announce(session);
}

/* It may have been idle for too long, or its attestation have run out. */
static void
session_age(struct session *session, int64_t now, int64_t wall)
{
	int64_t idle = proc_config()->limits.session_idle;

	if (session->state != SESSION_OPEN)
		return;
	if (session->v1 && wall > session->attestation.issued_at + V1_RENEW)
		session_renew(session, wall);
	/* By the app's clock, which may be behind. */
	if (wall > session->attestation.expires_at + ATTESTATION_SKEW) {
		session_go_away(session, "expired", 0);
		session_finish(session, RPC_UNAUTHENTICATED,
		    "the attestation has expired");
	} else if (idle > 0 && now - session->active_at > idle) {
		metric_add(METRIC_SESSION_LIMITS_IDLE, 1);
		session_go_away(session, "idle", 0);
		session_finish(session, RPC_OK, NULL);
	}
}

void
session_tick(int64_t now)
{
	struct session *session, *next;
	int64_t wall = clock_wall();
	size_t count = sessions.by_number.count, looks;

	for (session = TAILQ_FIRST(&sessions.half); session != NULL;
	     session = next) {
		next = TAILQ_NEXT(session, entry_waiting);
		session_end_half_closed(session, now);
	}
	/* The list turns: who was looked at goes to its end. */
	looks = count / TICK_PARTS + TICK_LEAST;
	if (looks > count)
		looks = count;
	while (looks-- > 0) {
		session = TAILQ_FIRST(&sessions.list);
		TAILQ_REMOVE(&sessions.list, session, entry);
		TAILQ_INSERT_TAIL(&sessions.list, session, entry);
		session_age(session, now, wall);
	}
}

struct session *
session_next(struct session *session)
{
	return (session == NULL ? TAILQ_FIRST(&sessions.list)
				: TAILQ_NEXT(session, entry));
}

uint32_t
session_count(void)
{
	return (sessions.open);
}
