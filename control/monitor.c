/*
 * control: events for the clients that watch; see monitor.h. What a process
 * says is cut at its arrays and made UTF-8, as rows are.
 */

#include <string.h>

#include "common/ipc/codes.h"
#include "control/control.h"
#include "control/monitor.h"
#include "control/readiness.h"
#include "control/report.h"

#define MONITOR_QUEUE (256 * 1024) /* bytes a client may be behind */

static TAILQ_HEAD(, command) watchers = TAILQ_HEAD_INITIALIZER(watchers);

/* Who tells events is told whether anybody wants them. */
static void
monitor_want(enum process peer, int wanted)
{
	struct ipc_request request = { .value = (uint64_t)wanted };
	struct ipc *ipc = control.door(peer);

	if (ipc != NULL)
		ipc_send(ipc, IPC_EVENTS_WANTED, &request, NULL, 0);
}

static void
monitor_want_all(int wanted)
{
	monitor_want(PROCESS_ROUTER, wanted);
	monitor_want(PROCESS_KEYD, wanted);
	monitor_want(PROCESS_MESH, wanted);
}

void
monitor_door_up(enum process peer)
{
	if (!TAILQ_EMPTY(&watchers))
		monitor_want(peer, 1);
}

static void
monitor_tell(json_t *row)
{
	struct command *command;

	TAILQ_FOREACH(command, &watchers, entry)
	{
		if (client_queued(command->client) > MONITOR_QUEUE) {
			command->lost++;
			continue;
		}
		if (command->lost > 0)
			client_line(command->client,
			    json_pack("{s:{s:o s:s s:I}}", "row", "time",
				report_time(clock_wall()), "event", "lost",
				"count", (json_int_t)command->lost));
		command->lost = 0;
		client_line(command->client, json_pack("{s:O}", "row", row));
	}
	json_decref(row);
}

void
command_monitor(struct command *command)
{
	if (TAILQ_EMPTY(&watchers))
		monitor_want_all(1);
	TAILQ_INSERT_TAIL(&watchers, command, entry);
	command->watches = 1;
	client_stream(command->client);
	client_line(command->client,
	    json_pack("{s:{s:o s:s s:o}}", "row", "time",
		report_time(clock_wall()), "event", "watching", "node_id",
		report_text(control.config.node_id, NODE_ID_SIZE, 1)));
}

void
monitor_forget(struct command *command)
{
	if (!command->watches)
		return;
	command->watches = 0;
	TAILQ_REMOVE(&watchers, command, entry);
	if (TAILQ_EMPTY(&watchers))
		monitor_want_all(0);
}

/* --- events -------------------------------------------------------------- */

static const char *const words[EVENT_KINDS] = {
	[EVENT_JOIN] = "join",
	[EVENT_ALIVE] = "alive",
	[EVENT_SUSPECT] = "suspect",
	[EVENT_FAIL] = "fail",
	[EVENT_LEAVE] = "leave",
	[EVENT_REVOKE] = "revoke",
	[EVENT_CHAT_READY] = "chat_ready",
	[EVENT_CHAT_RESUMED] = "chat_resumed",
	[EVENT_CHAT_ENDED] = "chat_ended",
	[EVENT_REKEY] = "rekey",
	[EVENT_ERASURE] = "erasure",
	[EVENT_RENEWED] = "renewed",
};

static const char *const causes[CAUSE_COUNT_OF] = {
	[CAUSE_NONE] = "none",
	[CAUSE_APP] = "app",
	[CAUSE_OPERATOR] = "operator",
	[CAUSE_AGE] = "age",
	[CAUSE_COUNT] = "count",
	[CAUSE_RESUME] = "resume",
	[CAUSE_RECOVERY] = "recovery",
};

static json_t *
monitor_chat(const struct ipc_event *event)
{
	json_t *row;
	const char *detail = NULL;

	row = json_pack("{s:o s:s s:o s:o s:o s:o}", "time",
	    report_time(event->at), "event", words[event->kind], "chat_id",
	    report_text(event->chat_id, sizeof(event->chat_id), 1), "handle",
	    report_id(event->key, KEY_SIZE, 0), "local_app_id",
	    report_id(event->local_app, KEY_SIZE, 0), "remote_app_id",
	    report_id(event->peer_app, KEY_SIZE, 0));
	if (event->kind == EVENT_CHAT_ENDED) {
		if (event->detail > STATUS_NONE && event->detail < STATUS_COUNT)
			detail = status_word((enum hermes_status)event->detail);
		(void)json_object_set_new(
		    row, "status", json_string(detail == NULL ? "?" : detail));
		return (row);
	}
	(void)json_object_set_new(
	    row, "key_version", json_integer((json_int_t)event->version));
	if (event->kind == EVENT_REKEY && event->detail < CAUSE_COUNT_OF)
		(void)json_object_set_new(
		    row, "cause", json_string(causes[event->detail]));
	return (row);
}

static json_t *
monitor_node(const struct ipc_event *event)
{
	return (json_pack("{s:o s:s s:o s:o}", "time", report_time(event->at),
	    "event", words[event->kind], "node_id",
	    report_text(event->node_id, sizeof(event->node_id), 1), "node_key",
	    report_id(event->key, KEY_SIZE, 0)));
}

void
monitor_event(void *arg, const struct ipc_message *message)
{
	const struct ipc_event *event = message->payload;

	(void)arg;
	if (TAILQ_EMPTY(&watchers) || event->kind >= EVENT_KINDS ||
	    words[event->kind] == NULL)
		return;
	if (event->lost > 0)
		monitor_tell(
		    json_pack("{s:o s:s s:I}", "time", report_time(event->at),
			"event", "lost", "count", (json_int_t)event->lost));
	if (event->kind >= EVENT_CHAT_READY && event->kind <= EVENT_REKEY)
		monitor_tell(monitor_chat(event));
	else
		monitor_tell(monitor_node(event));
}

void
monitor_readiness(unsigned int reasons)
{
	if (TAILQ_EMPTY(&watchers))
		return;
	monitor_tell(
	    json_pack("{s:o s:s s:o s:b}", "time", report_time(clock_wall()),
		"event", reasons == 0 ? "ready" : "not_ready", "reasons",
		readiness_texts(reasons), "new_chats_refused",
		(reasons & NOT_READY_NEW_CHATS) != 0));
}

void
monitor_process(
    const struct ipc_process_state *was, const struct ipc_process_state *now)
{
	if (TAILQ_EMPTY(&watchers) || was->pid == now->pid)
		return;
	monitor_tell(json_pack("{s:o s:s s:s s:I s:I}", "time",
	    report_time(clock_wall()), "event",
	    now->pid == 0 ? "process_down" : "process_up", "process",
	    process_name((enum process)now->process), "pid",
	    (json_int_t)(now->pid == 0 ? was->pid : now->pid), "restarts",
	    (json_int_t)now->restarts));
}
