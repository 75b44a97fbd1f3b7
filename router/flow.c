/*
 * router: the road of messages. From the app to keyd to be sealed, from keyd
 * to the app once opened, acknowledgements both ways. The core (chat.c)
 * decides; here it is done. Nothing in this file depends on how many chats
 * there are, and nothing is logged.
 */

#include <string.h>

#include <event2/event.h>

#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/metrics.h"
#include "router/chats.h"
#include "router/service.h"

/* Memory of messages kept for one app, in all its chats: what it sent beyond
 * this is BACKPRESSURE; what others send it is dropped and will come again. So
 * it is beyond its part of what there is for all, see app_may_keep(). */
#define APP_OUT_BYTES (64 * 1024 * 1024)
#define APP_IN_BYTES  (128 * 1024 * 1024)
#define MISSING_WAIT  CLOCK_SECOND
#define LAG_USEC      20000 /* until keyd hears of acknowledgements */

static struct side_list dirty = TAILQ_HEAD_INITIALIZER(dirty);
static struct side_list lagging = TAILQ_HEAD_INITIALIZER(lagging);
static struct event catch_up;

void
flow_mark(struct side *side)
{
	if (side->dirty)
		return;
	side->dirty = 1;
	TAILQ_INSERT_TAIL(&dirty, side, dirty_entry);
}

static void
flow_block(struct side *side)
{
	if (side->blocked)
		return;
	side->blocked = 1;
	TAILQ_INSERT_TAIL(&side->app->blocked, side, blocked_entry);
}

static void
flow_unblock(struct side *side)
{
	if (!side->blocked)
		return;
	side->blocked = 0;
	TAILQ_REMOVE(&side->app->blocked, side, blocked_entry);
}

void
flow_leave(struct side *side)
{
	flow_unblock(side);
	written_forget(side);
}

void
flow_forget(struct side *side)
{
	if (side->dirty)
		TAILQ_REMOVE(&dirty, side, dirty_entry);
	side->dirty = 0;
	if (side->lagging)
		TAILQ_REMOVE(&lagging, side, lagging_entry);
	side->lagging = 0;
	flow_leave(side);
}

static int
flow_is_local(const struct side *side)
{
	return (side->peer->presence.status == PRESENCE_LOCAL);
}

/* --- to keyd ------------------------------------------------------------- */

static void
flow_seal(struct side *side)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);
	struct chat_kept *kept;
	struct ipc_seal seal;

	if (keyd == NULL)
		return;
	seal.key = side->key;
	while ((kept = core_next_seal(&side->core, &seal.sequence)) != NULL)
		ipc_send(keyd, IPC_SEAL, &seal, kept->bytes, kept->length);
	if (ipc_congested(keyd))
		service_pause(1);
}

/* --- to the app ---------------------------------------------------------- */

/* One frame of the hot path. 0, or -1: the stream takes no more. */
static int
flow_write(struct side *side, enum frame_field field, uint64_t sequence,
    struct span payload, struct span correlation)
{
	struct frame_chat_message message;
	struct rpc_stream *stream = side->app->session->stream;
	size_t length;
	uint8_t *to;

	message.chat_id = span_of(side->chat_id, strlen(side->chat_id));
	message.payload = payload;
	message.peer = span_of(side->peer->hex, APP_ID_LENGTH);
	message.sequence = sequence;
	length = frame_chat_message_size(field, &message, correlation);
	if ((to = rpc_stream_reserve(stream, length)) == NULL) {
		rpc_stream_cancel(stream);
		return (-1);
	}
	frame_write_chat_message(to, field, &message, correlation);
	rpc_stream_commit(stream, length);
	side->app->session->written += length;
	return (0);
}

static int
flow_write_message(
    struct side *side, uint64_t sequence, const void *payload, size_t length)
{
	if (flow_write(side, FRAME_CHAT_MESSAGE, sequence,
		span_of(payload, length), SPAN_NONE) == -1)
		return (-1);
	side->app->session->messages_out++;
	metric_add(flow_is_local(side) ? METRIC_MESSAGES_IN_LOCAL
				       : METRIC_MESSAGES_IN_MESH,
	    1);
	metric_add(METRIC_MESSAGE_BYTES, length);
	return (0);
}

static int
flow_write_ack(struct side *side, uint64_t sequence,
    const struct chat_kept *kept, int64_t now)
{
	struct span correlation = SPAN_NONE;

	if (kept != NULL) {
		correlation = span_of(
		    kept->bytes + kept->length, kept->correlation_length);
		metric_observe(
		    METRIC_ROUTER_LATENCY_CHAT_MESSAGE, now - kept->at);
	}
	/* It stands for all before it; one with an id is an answer. */
	if (correlation.length == 0 && side->app->session->acks_last &&
	    core_more_acks(&side->core))
		return (0);
	return (flow_write(
	    side, FRAME_CHAT_MESSAGE_ACK, sequence, SPAN_NONE, correlation));
}

static void
flow_acknowledge(struct side *side)
{
	struct chat_kept *kept;
	uint64_t sequence;
	int64_t now = 0;

	while (core_next_ack(&side->core, &sequence, &kept)) {
		if (side->blocked || !session_writable(side->app->session)) {
			flow_block(side);
			return;
		}
		if (now == 0)
			now = clock_monotonic();
		if (flow_write_ack(side, sequence, kept, now) == -1)
			return;
		core_told(&side->core);
	}
}

static void
flow_deliver(struct side *side)
{
	struct chat_kept *kept;
	uint64_t sequence;

	while ((kept = core_next_delivery(&side->core, &sequence)) != NULL) {
		if (side->blocked || !session_writable(side->app->session)) {
			flow_block(side);
			return;
		}
		if (flow_write_message(
			side, sequence, kept->bytes, kept->length) == -1)
			return;
		core_put(&side->core);
	}
}

/* --- to mesh, and keyd's record ------------------------------------------ */

static void
progress_send(const struct side *side, uint64_t reset_told)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);
	struct ipc_chat_progress progress = { .key = side->key,
		.delivered = side->core.written,
		.acked = side->core.acked,
		.reset_told = reset_told };

	if (keyd != NULL)
		ipc_send(keyd, IPC_CHAT_PROGRESS, &progress, NULL, 0);
}

void
flow_reset_told(const struct side *side)
{
	progress_send(side, 1);
}

static void
flow_tell_keyd(struct side *side)
{
	if (proc_ipc(PROCESS_KEYD) != NULL && core_take_progress(&side->core))
		progress_send(side, 0);
}

/* What may wait is told for many messages at once. */
static void
flow_tell_keyd_later(struct side *side)
{
	static const struct timeval delay = { 0, LAG_USEC };

	if (side->lagging)
		return;
	side->lagging = 1;
	TAILQ_INSERT_TAIL(&lagging, side, lagging_entry);
	if (!evtimer_pending(&catch_up, NULL))
		(void)evtimer_add(&catch_up, &delay);
}

static void
flow_catch_up(evutil_socket_t fd, short what, void *arg)
{
	struct side *side;

	(void)fd;
	(void)what;
	(void)arg;
	while ((side = TAILQ_FIRST(&lagging)) != NULL) {
		TAILQ_REMOVE(&lagging, side, lagging_entry);
		side->lagging = 0;
		flow_tell_keyd(side);
	}
}

void
flow_init(void)
{
	written_init();
	(void)evtimer_assign(&catch_up, proc_base(), flow_catch_up, NULL);
}

static void
flow_report(struct side *side)
{
	struct ipc *mesh = proc_ipc(PROCESS_MESH);
	struct ipc_relay_ack ack;

	written_check(side);
	if (mesh != NULL && core_take_relay(&side->core, &ack.sequence)) {
		ack.key = side->key;
		ipc_send(mesh, IPC_RELAY_ACK, &ack, NULL, 0);
	}
	if (core_progress_waits(&side->core))
		flow_tell_keyd_later(side);
	else
		flow_tell_keyd(side);
}

void
flow_pump(struct side *side)
{
	if (side->ending)
		return;
	if (side->app->session != NULL) {
		flow_acknowledge(side);
		flow_deliver(side);
	}
	flow_seal(side);
	flow_report(side);
	if (side->core.missing && side->resume_at == 0)
		start_schedule(side, clock_monotonic() + MISSING_WAIT);
	side_account(side);
}

void
flow_flush(void)
{
	struct side *side;

	while ((side = TAILQ_FIRST(&dirty)) != NULL) {
		TAILQ_REMOVE(&dirty, side, dirty_entry);
		side->dirty = 0;
		flow_pump(side);
	}
}

void
flow_writable(struct app *app)
{
	struct side *side;

	/* Each in its turn; one that is blocked again goes to the end. */
	while ((side = TAILQ_FIRST(&app->blocked)) != NULL) {
		if (app->session == NULL || !session_writable(app->session))
			return;
		flow_unblock(side);
		flow_pump(side);
	}
}

/* Is there room for so many bytes of a message? */
static int
flow_may_keep(
    const struct app *app, size_t bytes, size_t most, enum metric counter)
{
	if (app->kept > most)
		return (0);
	if (app_may_keep(app, bytes))
		return (1);
	metric_add(counter, 1);
	return (0);
}

/* --- from the app -------------------------------------------------------- */

static enum hermes_code
flow_lookup(struct session *session, const struct frame_chat_message *message,
    struct side **side)
{
	enum hermes_code code;

	if (message->payload.length > proc_config()->limits.message_size)
		return (CODE_MESSAGE_TOO_LARGE);
	code = side_lookup(session->app, message->chat_id, message->peer, side);
	/* One that others end is not ready; the word is on its way. */
	if (code == CODE_NONE && (*side)->deletion != NULL)
		return (CODE_CHAT_NOT_FOUND);
	return (code);
}

/* What the core would not take. */
static void
flow_refuse(struct side *side, enum chat_verdict verdict,
    const struct frame_chat_message *message, struct span correlation)
{
	struct session *session = side->app->session;

	switch (verdict) {
	case CHAT_ACKED:
		(void)flow_write(side, FRAME_CHAT_MESSAGE_ACK,
		    message->sequence, SPAN_NONE, correlation);
		break;
	case CHAT_GAP:
		session_error(session, correlation, CODE_OUT_OF_SEQUENCE, side,
		    side->core.accepted + 1, 0);
		break;
	case CHAT_NOT_YET:
		session_error(
		    session, correlation, CODE_CHAT_NOT_READY, side, 0, 0);
		break;
	case CHAT_TOO_FAR:
	case CHAT_NO_MEMORY:
		session_error(session, correlation, CODE_BACKPRESSURE, side,
		    side->core.accepted + 1, CLOCK_SECOND);
		break;
	default:
		break; /* CHAT_KNOWN: its ack will come */
	}
}

/*
 * A message that waits in its chat gives its bytes of the app's window back
 * at once: the window is that of all the app's chats, and those whose peers
 * are away or slow would use it up. What bounds them is BACKPRESSURE.
 */
void
flow_from_app(struct session *session, const struct frame_chat_message *message,
    struct span correlation, int64_t now)
{
	const struct chat_name name = { message->chat_id, message->peer };
	struct chat_kept about = { 0 };
	struct side *side;
	enum hermes_code code;
	enum chat_verdict verdict;

	session->messages_in++;
	code = flow_lookup(session, message, &side);
	if (code != CODE_NONE) {
		session_error_name(session, correlation, code, &name, 0);
		return;
	}
	/* An app that speaks in a chat has taken it up (again). */
	if (!side->core.attached && side->core.synced && side->core.both) {
		core_attach(&side->core, 1);
		flow_mark(side);
	}
	about.at = now;
	/* Only the next one is to be kept; any other is only answered. */
	if (message->sequence == side->core.accepted + 1 &&
	    !flow_may_keep(session->app,
		kept_memory_of(message->payload.length, correlation.length),
		APP_OUT_BYTES, METRIC_KEPT_FULL_OUT))
		verdict = CHAT_TOO_FAR;
	else
		verdict = core_accept(&side->core, message->sequence,
		    message->payload.bytes, message->payload.length,
		    correlation.bytes, correlation.length, &about);
	resume_hurry(side);
	if (verdict != CHAT_ACCEPTED) {
		flow_refuse(side, verdict, message, correlation);
		return;
	}
	metric_add(flow_is_local(side) ? METRIC_MESSAGES_OUT_LOCAL
				       : METRIC_MESSAGES_OUT_MESH,
	    1);
	metric_add(METRIC_MESSAGE_BYTES, message->payload.length);
	flow_seal(side);
	side_account(side);
}

/* --- from keyd and mesh -------------------------------------------------- */

void
flow_opened(
    const struct ipc_opened *opened, const uint8_t *payload, size_t length)
{
	struct side *side = side_find(&opened->key);
	struct session *session;
	enum chat_verdict verdict;
	int writable;

	if (side == NULL || side->ending)
		return;
	flow_mark(side);
	session = side->app->session;
	writable = session != NULL && !side->blocked && side->core.attached &&
		   session_writable(session);
	if (!writable && !flow_may_keep(side->app, kept_memory_of(length, 0),
			     APP_IN_BYTES, METRIC_KEPT_FULL_IN)) {
		side->core.missing = 1;
		return;
	}
	verdict = core_opened(
	    &side->core, opened->sequence, payload, length, writable);
	if (verdict == CHAT_DELIVER) {
		if (flow_write_message(
			side, opened->sequence, payload, length) == 0)
			core_put(&side->core);
		else
			(void)core_hold(
			    &side->core, opened->sequence, payload, length);
	} else
		side_account(side);
}

void
flow_relay_ack(const struct ipc_relay_ack *ack)
{
	struct side *side = side_find(&ack->key);

	if (side == NULL)
		return;
	core_acknowledged(&side->core, ack->sequence);
	flow_mark(side);
}

void
flow_credit(const struct ipc_credit *credit)
{
	struct side *side = side_find(&credit->key);

	if (side == NULL)
		return;
	core_credit(&side->core, credit->messages, credit->bytes);
	flow_mark(side);
}
