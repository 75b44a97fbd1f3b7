/*
 * control: the process that operators talk to. It runs under its own user
 * without privileges, holds no secret and no state of the node, and listens
 * on hermesctl's unix socket and on the admin HTTP port, both opened by the
 * parent. Local users are known by their uid; HTTP clients may only look.
 * Its neighbours are believed what they say of themselves, never its form.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "common/proc/proc.h"
#include "common/util/log.h"
#include "control/ask.h"
#include "control/control.h"
#include "control/http.h"
#include "control/monitor.h"
#include "control/socket.h"
#include "control/vitals.h"

struct control control;

void
control_init(struct event_base *base, struct ipc *(*door)(enum process))
{
	free(control.certificate);
	memset(&control, 0, sizeof(control));
	control.base = base;
	control.door = door;
	control.started_at = clock_wall();
}

/* --- messages ------------------------------------------------------------ */

static void
control_answer(void *arg, const struct ipc_message *message)
{
	struct proc_door *door = arg;

	ask_message(door->peer, message);
}

static void
control_identity(void *arg, const struct ipc_message *message)
{
	(void)arg;
	memcpy(&control.identity, message->payload, sizeof(control.identity));
}

static void
control_certificate(void *arg, const struct ipc_message *message)
{
	const struct ipc_tls_certificate *certificate = message->payload;
	char *text;

	(void)arg;
	if (certificate->role != TLS_APP)
		return;
	text = strndup((const char *)message->tail, message->tail_length);
	if (text == NULL)
		return;
	free(control.certificate);
	control.certificate = text;
}

static void
control_process_state(void *arg, const struct ipc_message *message)
{
	const struct ipc_process_state *state = message->payload;

	(void)arg;
	if (state->process > PROCESS_CONTROL)
		return;
	monitor_process(&control.states[state->process], state);
	control.states[state->process] = *state;
}

const ipc_handler control_handlers[IPC_TYPE_COUNT] = {
	[IPC_IDENTITY] = control_identity,
	[IPC_TLS_CERTIFICATE] = control_certificate,
	[IPC_PROCESS_STATE] = control_process_state,
	[IPC_ROW_SESSION] = control_answer,
	[IPC_ROW_CHAT] = control_answer,
	[IPC_ROW_RATCHET] = control_answer,
	[IPC_ROW_NODE] = control_answer,
	[IPC_ROW_APP] = control_answer,
	[IPC_ROW_TIELINE] = control_answer,
	[IPC_ROW_TICKET] = control_answer,
	[IPC_ROW_PENALTY] = control_answer,
	[IPC_SHOW_END] = control_answer,
	[IPC_METRICS] = control_answer,
	[IPC_TICKET] = control_answer,
	[IPC_RESULT] = control_answer,
	[IPC_EVENT] = monitor_event,
};

/* --- hooks --------------------------------------------------------------- */

/* jansson would look for a seed at its first object. */
static void
control_prepare(void)
{
	json_object_seed(0);
}

static void
control_configured(const struct config *config, int reload)
{
	if (!reload)
		control_init(proc_base(), proc_ipc);
	control.config = *config;
}

static void
control_listener(enum listener_kind kind, uint32_t index, int fd)
{
	int error = -1;

	if (kind == LISTEN_CONTROL)
		error = socket_listen(fd);
	else if (kind == LISTEN_ADMIN)
		error = http_listen(fd);
	else
		close(fd);
	if (error == -1)
		log_error("listener_unusable", "kind=%s index=%u",
		    kind == LISTEN_CONTROL ? "control"
		    : kind == LISTEN_ADMIN ? "admin"
					   : "another's",
		    index);
}

static void
control_listeners_close(void)
{
	socket_listeners_close();
	http_listeners_close();
}

static void
control_door_up(enum process peer, struct ipc *ipc)
{
	(void)ipc;
	monitor_door_up(peer);
	vitals_door_up(peer);
}

static void
control_door_down(enum process peer)
{
	ask_lost(peer);
}

static void
control_go(void)
{
	if (vitals_start() == -1)
		fatal("memory", "what=timer");
}

/* Told last but for keyd: nothing is left to report on. */
static void
control_shutdown(int64_t grace)
{
	(void)grace;
	control.draining = 1;
	vitals_stop();
	socket_close_all();
	http_close_all();
	proc_done();
}

int
control_main(void)
{
	static const struct proc_hooks hooks = {
		.handlers = control_handlers,
		.prepare = control_prepare,
		.configured = control_configured,
		.listener = control_listener,
		.listeners_close = control_listeners_close,
		.door_up = control_door_up,
		.door_down = control_door_down,
		.go = control_go,
		.shutdown = control_shutdown,
	};

	return (proc_run(PROCESS_CONTROL, &hooks));
}
