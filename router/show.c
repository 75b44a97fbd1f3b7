/* router: sessions, chats and metrics for control, which asks. */

#include <string.h>

#include "common/proc/proc.h"
#include "common/proc/sources.h"
#include "common/util/buffer.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "router/chats.h"
#include "router/service.h"
#include "router/show.h"

static uint64_t
show_sessions(struct ipc *control, uint64_t id)
{
	struct ipc_row_session row;
	struct session *session = NULL;
	uint64_t n = 0;

	while ((session = session_next(session)) != NULL) {
		if (session->state != SESSION_OPEN)
			continue;
		memset(&row, 0, sizeof(row));
		row.id = id;
		memcpy(row.app, session->app->key, KEY_SIZE);
		(void)strlcpy(row.session_id, session->session_id,
		    sizeof(row.session_id));
		(void)strlcpy(
		    row.address, session->address, sizeof(row.address));
		row.connected_at = session->connected_at;
		row.messages_in = session->messages_in;
		row.messages_out = session->messages_out;
		row.chats = session->app->taken;
		row.kept = session->app->kept;
		row.v1 = (uint32_t)session->v1;
		ipc_send(control, IPC_ROW_SESSION, &row, NULL, 0);
		n++;
	}
	return (n);
}

/* An app that is away suspends its chats, whatever keyd could seal. */
static enum chat_state
show_state(const struct side *side)
{
	enum chat_state state = side->core.state;

	if (side->app->session == NULL &&
	    (state == CHAT_STATE_READY || state == CHAT_STATE_REKEYING))
		return (CHAT_STATE_SUSPENDED);
	return (state);
}

static uint64_t
show_chats(struct ipc *control, uint64_t id)
{
	struct ipc_row_chat row;
	struct side *side;
	size_t cursor = 0;
	uint64_t n = 0;

	while ((side = side_next(&cursor)) != NULL) {
		memset(&row, 0, sizeof(row));
		row.id = id;
		row.key = side->key;
		(void)strlcpy(row.chat_id, side->chat_id, sizeof(row.chat_id));
		memcpy(row.instance, side->instance, INSTANCE_SIZE);
		memcpy(row.local_app, side->app->key, KEY_SIZE);
		memcpy(row.peer_app, side->peer->key, KEY_SIZE);
		if (side->peer->presence.status != PRESENCE_UNKNOWN)
			memcpy(row.peer_node_id, side->peer->presence.node_id,
			    NODE_ID_SIZE);
		row.state = show_state(side);
		row.version = side->core.version;
		row.accepted = side->core.accepted;
		row.acked = side->core.acked;
		row.delivered = side->core.delivered;
		row.parked = core_parked(&side->core);
		ipc_send(control, IPC_ROW_CHAT, &row, NULL, 0);
		n++;
	}
	return (n);
}

void
show_rows(const struct ipc_show *show)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);
	struct ipc_request end;

	if (control == NULL)
		return;
	end.id = show->id;
	end.value = 0;
	if (show->what == SHOW_SESSIONS)
		end.value = show_sessions(control, show->id);
	else if (show->what == SHOW_CHATS)
		end.value = show_chats(control, show->id);
	else if (show->what == SHOW_PENALTIES)
		end.value = sources_show(show->id);
	ipc_send(control, IPC_SHOW_END, &end, NULL, 0);
}

/* The chats of each state, and what waits in them. */
static void
show_chat_metrics(void)
{
	static const enum metric states[] = {
		[CHAT_STATE_NONE] = METRIC_CHATS_STATE_NONE,
		[CHAT_STATE_OFFERED] = METRIC_CHATS_STATE_OFFERED,
		[CHAT_STATE_READY] = METRIC_CHATS_STATE_READY,
		[CHAT_STATE_REKEYING] = METRIC_CHATS_STATE_REKEYING,
		[CHAT_STATE_SUSPENDED] = METRIC_CHATS_STATE_SUSPENDED,
		[CHAT_STATE_GONE] = METRIC_CHATS_STATE_GONE,
	};
	const struct side *side;
	static int64_t counted_at;
	uint64_t parked = 0;
	size_t cursor = 0, i;

	metric_set(METRIC_CHATS_ACTIVE, side_count());
	if (!metrics_recount(&counted_at, side_count()))
		return;
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		metric_set(states[i], 0);
	while ((side = side_next(&cursor)) != NULL) {
		metric_add(states[show_state(side)], 1);
		parked += core_parked(&side->core);
	}
	metric_set(METRIC_CHATS_PARKED, parked);
}

static uint64_t
queued(enum process peer)
{
	struct ipc *ipc = proc_ipc(peer);

	return (ipc == NULL ? 0 : ipc_queued(ipc));
}

void
show_metrics(const struct ipc_request *request)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);
	struct ipc_request answer = *request;
	struct rpc_counters counters;
	struct buffer buffer;

	if (control == NULL)
		return;
	service_counters(&counters);
	metric_set(METRIC_SESSIONS_ACTIVE, session_count());
	metric_set(METRIC_KEPT_BYTES, apps_kept());
	show_chat_metrics();
	metric_set(METRIC_QUEUE_DEPTH_ROUTER_KEYD, queued(PROCESS_KEYD));
	metric_set(METRIC_QUEUE_DEPTH_ROUTER_MESH, queued(PROCESS_MESH));
	metric_set(METRIC_CONNECTION_ERRORS_APP_HANDSHAKE,
	    counters.handshake_failures);
	metric_set(
	    METRIC_CONNECTION_ERRORS_APP_PROTOCOL, counters.protocol_errors);
	metric_set(METRIC_CONNECTION_ERRORS_APP_ABUSE, counters.abuse);
	metric_set(METRIC_CONNECTION_ERRORS_APP_REFUSED, counters.refused);
	sources_metrics(&counters);
	buffer_init(&buffer);
	if (metrics_pack(&buffer) == -1)
		log_warn("metrics_failed", "process=router");
	answer.value = buffer_length(&buffer);
	ipc_send(control, IPC_METRICS, &answer, buffer_bytes(&buffer),
	    buffer_length(&buffer));
	buffer_free(&buffer);
}
