/*
 * hermesd's router process: serves apps. Runs as its own user without
 * privileges, chrooted or sandboxed by proc; touches nothing but the app
 * listeners' connections and its doors. Apps' bytes are hostile; keyd is
 * trusted with what it says of chats, mesh only for where apps are. Holds no
 * key. This file dispatches; what is done is done elsewhere.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "common/proc/event.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "router/chats.h"
#include "router/find.h"
#include "router/nodes.h"
#include "router/router.h"
#include "router/service.h"
#include "router/session.h"
#include "router/shutdown.h"
#include "router/show.h"

struct router router;

static struct event tick;

int
router_serving(void)
{
	return (
	    router.identity.unlocked && router.recorded && !router.draining);
}

void
router_count_error(enum hermes_code code)
{
	static const enum metric series[CODE_COUNT] = {
#define HERMES_CODE(name, ends, text)                                          \
	[CODE_##name] = METRIC_ROUTER_ERRORS_##name,
#define HERMES_STATUS(name, word)
#include "common/ipc/codes.def"
#undef HERMES_CODE
#undef HERMES_STATUS
	};

	metric_add(series[code], 1);
}

void
correlation_set(struct correlation *correlation, struct span span)
{
	correlation->length = (uint8_t)span.length;
	if (span.length > 0)
		memcpy(correlation->bytes, span.bytes, span.length);
}

/* --- from keyd ----------------------------------------------------------- */

static void
on_identity(void *arg, const struct ipc_message *message)
{
	(void)arg;
	memcpy(&router.identity, message->payload, sizeof(router.identity));
	service_set_health();
}

static void
on_tls_certificate(void *arg, const struct ipc_message *message)
{
	const struct ipc_tls_certificate *certificate;

	(void)arg;
	certificate = message->payload;
	if (certificate->role == TLS_APP)
		service_certificate(message->tail, message->tail_length);
}

static void
on_challenge_signed(void *arg, const struct ipc_message *message)
{
	(void)arg;
	session_challenge_signed(message->payload);
}

static void
on_chat_record(void *arg, const struct ipc_message *message)
{
	(void)arg;
	ready_record(message->payload);
}

static void
on_chat_records_end(void *arg, const struct ipc_message *message)
{
	(void)arg;
	(void)message;
	router.recorded = 1;
	service_set_health();
	log_info("chats_known", "count=%zu", side_count());
}

static void
on_chat_offer(void *arg, const struct ipc_message *message)
{
	(void)arg;
	ready_offer(message->payload, message->tail, message->tail_length);
}

static void
on_chat_ready(void *arg, const struct ipc_message *message)
{
	(void)arg;
	ready_came(message->payload);
}

static void
on_chat_wanted(void *arg, const struct ipc_message *message)
{
	(void)arg;
	ready_wanted(message->payload);
}

static void
on_chat_error(void *arg, const struct ipc_message *message)
{
	(void)arg;
	ready_error(message->payload, 1);
}

static void
on_chat_ended(void *arg, const struct ipc_message *message)
{
	(void)arg;
	end_ended(message->payload);
}

static void
on_opened(void *arg, const struct ipc_message *message)
{
	(void)arg;
	flow_opened(message->payload, message->tail, message->tail_length);
}

/* --- from mesh ----------------------------------------------------------- */

static void
on_found(void *arg, const struct ipc_message *message)
{
	(void)arg;
	find_answered(message->payload);
}

static void
on_presence(void *arg, const struct ipc_message *message)
{
	(void)arg;
	peer_presence(message->payload);
}

static void
on_app_moved(void *arg, const struct ipc_message *message)
{
	(void)arg;
	connect_moved(message->payload);
}

static void
on_node_state(void *arg, const struct ipc_message *message)
{
	(void)arg;
	nodes_update(message->payload);
}

static void
on_tieline_up(void *arg, const struct ipc_message *message)
{
	(void)arg;
	peer_tieline(message->payload, 1);
}

static void
on_tieline_down(void *arg, const struct ipc_message *message)
{
	(void)arg;
	peer_tieline(message->payload, 0);
}

static void
on_relay_ack(void *arg, const struct ipc_message *message)
{
	(void)arg;
	flow_relay_ack(message->payload);
}

static void
on_credit(void *arg, const struct ipc_message *message)
{
	(void)arg;
	flow_credit(message->payload);
}

static void
on_route_error(void *arg, const struct ipc_message *message)
{
	(void)arg;
	ready_error(message->payload, 0);
}

/* --- from control -------------------------------------------------------- */

static void
on_show(void *arg, const struct ipc_message *message)
{
	(void)arg;
	show_rows(message->payload);
}

static void
on_metrics_get(void *arg, const struct ipc_message *message)
{
	(void)arg;
	show_metrics(message->payload);
}

static void
on_new_chats(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;

	(void)arg;
	router.no_new_chats = request->value != 0;
	metric_set(METRIC_NEW_CHATS_REFUSED, (uint64_t)router.no_new_chats);
}

static const ipc_handler handlers[IPC_TYPE_COUNT] = { [IPC_IDENTITY] =
							  on_identity,
	[IPC_TLS_CERTIFICATE] = on_tls_certificate,
	[IPC_CHALLENGE_SIGNED] = on_challenge_signed,
	[IPC_CHAT_RECORD] = on_chat_record,
	[IPC_CHAT_RECORDS_END] = on_chat_records_end,
	[IPC_CHAT_OFFER] = on_chat_offer,
	[IPC_CHAT_READY] = on_chat_ready,
	[IPC_CHAT_WANTED] = on_chat_wanted,
	[IPC_CHAT_ERROR] = on_chat_error,
	[IPC_CHAT_ENDED] = on_chat_ended,
	[IPC_OPENED] = on_opened,
	[IPC_FOUND] = on_found,
	[IPC_PRESENCE] = on_presence,
	[IPC_APP_MOVED] = on_app_moved,
	[IPC_NODE_STATE] = on_node_state,
	[IPC_TIELINE_UP] = on_tieline_up,
	[IPC_TIELINE_DOWN] = on_tieline_down,
	[IPC_RELAY_ACK] = on_relay_ack,
	[IPC_CREDIT] = on_credit,
	[IPC_ROUTE_ERROR] = on_route_error,
	[IPC_SHOW] = on_show,
	[IPC_METRICS_GET] = on_metrics_get,
	[IPC_NEW_CHATS] = on_new_chats,
	[IPC_EVENTS_WANTED] = proc_events_wanted };

/* --- hooks --------------------------------------------------------------- */

static void
router_batch(enum process peer)
{
	(void)peer;
	flow_flush();
}

static void
router_uncongested(enum process peer)
{
	if (peer == PROCESS_KEYD)
		service_pause(0);
}

static void
router_configured(const struct config *config, int reload)
{
	if (config->app_compat_v1)
		log_warn("app_compat_v1", "reload=%d", reload);
	service_configured();
}

static void
router_listener(enum listener_kind kind, uint32_t index, int fd)
{
	(void)index;
	if (kind == LISTEN_APP)
		service_listen(fd);
	else
		(void)close(fd);
}

/* A new mesh knows nothing: who is here, whom we watch. */
static void
router_door_up(enum process peer, struct ipc *ipc)
{
	struct session *session = NULL;

	(void)ipc;
	if (peer != PROCESS_MESH)
		return;
	while ((session = session_next(session)) != NULL)
		if (session->state == SESSION_OPEN)
			session_announce(session);
	peers_mesh_up();
}

static void
router_door_down(enum process peer)
{
	if (peer != PROCESS_MESH)
		return;
	find_mesh_down();
	peers_mesh_down();
}

static void
router_tick(evutil_socket_t fd, short what, void *arg)
{
	int64_t now = clock_monotonic();

	(void)fd;
	(void)what;
	(void)arg;
	session_tick(now);
	start_tick(now);
	service_tick();
	flow_flush();
}

static void
router_go(void)
{
	struct timeval second = { 1, 0 };

	flow_init();
	if (event_assign(
		&tick, proc_base(), -1, EV_PERSIST, router_tick, NULL) == -1 ||
	    event_add(&tick, &second) == -1)
		fatal("timer_failed", "process=router");
	service_configured();
}

static const struct proc_hooks hooks = { .handlers = handlers,
	.batch = router_batch,
	.uncongested = router_uncongested,
	.configured = router_configured,
	.listener = router_listener,
	.listeners_close = service_listeners_close,
	.tls_file = service_certificate_file,
	.door_up = router_door_up,
	.door_down = router_door_down,
	.go = router_go,
	.shutdown = shutdown_begin };

int
router_main(void)
{
	session_init();
	nodes_init();
	find_init();
	sides_init();
	peers_init();
	service_init();
	return (proc_run(PROCESS_ROUTER, &hooks));
}
