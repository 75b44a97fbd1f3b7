/*
 * router: the end of chats. Only a participant ends one, and only one of its
 * own is found; keyd erases and tells the peer; both sides hear the same word.
 */

#include <stdlib.h>
#include <string.h>

#include "common/proc/event.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "router/chats.h"

static void
end_tell(struct session *session, const struct side *side,
    enum hermes_status status, struct span correlation)
{
	struct frame_body *body = &session_body;

	frame_begin(body, FRAME_DELETE_CHAT_ACK);
	frame_put_text(body, 1, side->chat_id);
	frame_put_text(body, 2, status_word(status));
	if (instance_is_known(side->instance))
		frame_put_bytes(body, 3, side->instance, INSTANCE_SIZE);
	frame_put_text(body, 20, side->peer->hex);
	session_send(session, body, correlation);
}

void
chat_event(struct ipc_event *event, const struct side *side)
{
	memcpy(event->key, side->key.handle, KEY_SIZE);
	(void)strlcpy(event->chat_id, side->chat_id, sizeof(event->chat_id));
	memcpy(event->local_app, side->app->key, KEY_SIZE);
	memcpy(event->peer_app, side->peer->key, KEY_SIZE);
	proc_event(event);
}

void
end_ask(struct side *side, enum hermes_status status)
{
	struct ipc_chat_end end = { .status = status };
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);

	if (side->ending || !side->known || keyd == NULL)
		return;
	side->ending = 1;
	core_gone(&side->core);
	end.key = side->key;
	ipc_send(keyd, IPC_CHAT_END, &end, NULL, 0);
}

void
end_left(struct app *app)
{
	struct side *side, *next;
	struct ipc_chat_end end = { .status = STATUS_NONE };
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);

	for (side = TAILQ_FIRST(&app->sides); side != NULL; side = next) {
		next = TAILQ_NEXT(side, app_entry);
		if (side->ending || !side->known || keyd == NULL)
			continue;
		side->ending = side->left = 1;
		core_gone(&side->core);
		end.key = side->key;
		ipc_send(keyd, IPC_CHAT_END, &end, NULL, 0);
	}
}

void
end_from_app(struct session *session,
    const struct frame_delete_chat *delete_chat, struct span correlation,
    int64_t now)
{
	const struct chat_name name = { delete_chat->chat_id,
		delete_chat->peer };
	struct side *side;
	struct deletion *deletion;
	enum hermes_code code;

	code = side_lookup(
	    session->app, delete_chat->chat_id, delete_chat->peer, &side);
	if (code == CODE_NONE && (side->deletion != NULL || side->left))
		code = CODE_CHAT_NOT_FOUND;
	if (code != CODE_NONE) {
		session_error_name(session, correlation, code, &name, 0);
		return;
	}
	if (!side->known) {
		end_tell(session, side, STATUS_DELETED, correlation);
		side_drop(side);
		return;
	}
	if ((deletion = calloc(1, sizeof(*deletion))) == NULL)
		return;
	deletion->session = session->number;
	deletion->asked_at = now;
	correlation_set(&deletion->correlation, correlation);
	side->deletion = deletion;
	end_ask(side, STATUS_DELETED);
}

void
end_failed(struct side *side)
{
	struct session *session = side->app->session;
	struct ipc_event event = { .kind = EVENT_CHAT_ENDED,
		.detail = STATUS_RATCHET_DESYNC };
	char handle[HEX_SHORT_SIZE];

	if (session != NULL && side->taken) {
		session_error(
		    session, SPAN_NONE, CODE_RATCHET_FAILED, side, 0, 0);
		end_tell(session, side, STATUS_RATCHET_DESYNC, SPAN_NONE);
	}
	chat_event(&event, side);
	log_warn("ratchet_failed", "handle=%s peer=%.12s",
	    hex_short(handle, side->key.handle, KEY_SIZE), side->peer->hex);
	core_gone(&side->core);
	side_drop(side);
}

/* Does the app go on with another chat than was here? Its own did not end with
 * that, and is still to come. */
static int
end_is_of_another(const struct side *side)
{
	const struct session *session = side->app->session;
	const struct ask *ask = side->ask;

	return (!side->ending && session != NULL && ask != NULL &&
		ask->session == session->number &&
		(ask->flags & CHAT_CONTINUE) != 0 &&
		instance_differs(ask->instance, side->instance));
}

void
end_ended(const struct ipc_chat_end *end)
{
	struct side *side = side_find(&end->key);
	enum hermes_status status = STATUS_DELETED;
	struct ipc_event event = { .kind = EVENT_CHAT_ENDED };
	struct span correlation = SPAN_NONE;
	struct session *session;
	char handle[HEX_SHORT_SIZE];

	/* What was left is gone when keyd says just that: another end was on
	 * its way before. And then its successor may be here already. */
	if (side == NULL)
		return;
	if (end->status == STATUS_NONE) {
		/* What the app deleted meanwhile does not begin. */
		if (side->left ||
		    (!side->ending &&
			instance_is_same(end->instance, side->instance)))
			start_again(side);
		return;
	}
	if (side->left)
		return;
	if (end_is_of_another(side)) {
		start_again(side);
		return;
	}
	session = side->app->session;
	if (end->status > STATUS_NONE && end->status < STATUS_COUNT)
		status = (enum hermes_status)end->status;
	if (session != NULL && side->deletion != NULL &&
	    side->deletion->session == session->number) {
		correlation = correlation_span(&side->deletion->correlation);
		metric_observe(METRIC_ROUTER_LATENCY_DELETE_CHAT,
		    clock_monotonic() - side->deletion->asked_at);
	} else if (session != NULL && side->ask != NULL &&
		   side->ask->session == session->number)
		correlation = correlation_span(&side->ask->correlation);
	if (session != NULL && side->taken && status == STATUS_RATCHET_DESYNC)
		session_error(
		    session, correlation, CODE_RATCHET_DESYNC, side, 0, 0);
	if (session != NULL && side->taken && status == STATUS_REKEY_REQUIRED)
		session_error(
		    session, correlation, CODE_REKEY_REQUIRED, side, 0, 0);
	/* An offer that the app never heard of ends unheard. */
	if (session != NULL &&
	    (side->taken || side->offer_session == session->number))
		end_tell(session, side, status, correlation);
	event.detail = (uint32_t)status;
	chat_event(&event, side);
	log_info("chat_ended", "handle=%s status=%s peer=%.12s",
	    hex_short(handle, side->key.handle, KEY_SIZE), status_word(status),
	    side->peer->hex);
	side_drop(side);
}
