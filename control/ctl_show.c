/* hermesctl(8): show and status. */

#include <stdlib.h>
#include <string.h>

#include "control/ctl.h"

/* Widths are such that a table fits 80 columns. */
static const struct ctl_column columns_nodes[] = {
	{ "NODE", "node_id", CTL_TEXT, 16 },
	{ "STATE", "state", CTL_TEXT, 7 },
	{ "KEY", "node_key", CTL_TEXT, 12 },
	{ "APPS", "apps", CTL_NUMBER, 0 },
	{ "RTT", "rtt_seconds", CTL_SECONDS, 0 },
	{ "SEEN", "last_seen_seconds", CTL_SECONDS, 0 },
	{ "ENDPOINT", "endpoint", CTL_TEXT, 21 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static const struct ctl_column columns_apps[] = {
	{ "APP", "app_id", CTL_TEXT, 12 },
	{ "NODE", "node_id", CTL_TEXT, 24 },
	{ "LOCAL", "local", CTL_YES_NO, 0 },
	{ "CONNECTED (UTC)", "connected_at", CTL_TIME, 0 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static const struct ctl_column columns_sessions[] = {
	{ "APP", "app_id", CTL_TEXT, 12 },
	{ "CONNECTED (UTC)", "connected_at", CTL_TIME, 0 },
	{ "CHATS", "chats", CTL_NUMBER, 0 },
	{ "IN", "messages_in", CTL_NUMBER, 0 },
	{ "OUT", "messages_out", CTL_NUMBER, 0 },
	{ "ADDRESS", "address", CTL_TEXT, 21 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static const struct ctl_column columns_chats[] = {
	{ "CHAT", "chat_id", CTL_TEXT, 12 },
	{ "LOCAL APP", "local_app_id", CTL_TEXT, 12 },
	{ "PEER APP", "remote_app_id", CTL_TEXT, 12 },
	{ "NODE", "remote_node_id", CTL_TEXT, 8 },
	{ "STATE", "state", CTL_TEXT, 9 },
	{ "KEY", "key_version", CTL_NUMBER, 0 },
	{ "SENT", "accepted", CTL_NUMBER, 0 },
	{ "RCVD", "delivered", CTL_NUMBER, 0 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static const struct ctl_column columns_ratchets[] = {
	{ "CHAT", "chat_id", CTL_TEXT, 12 },
	{ "LOCAL APP", "local_app_id", CTL_TEXT, 12 },
	{ "PEER APP", "remote_app_id", CTL_TEXT, 12 },
	{ "NODE", "remote_node_id", CTL_TEXT, 8 },
	{ "KEY", "key_version", CTL_NUMBER, 0 },
	{ "SENT", "send_count", CTL_NUMBER, 0 },
	{ "RCVD", "recv_count", CTL_NUMBER, 0 },
	{ "REKEYS", "rekeys", CTL_NUMBER, 0 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static const struct ctl_column columns_tielines[] = {
	{ "HANDLE", "handle", CTL_TEXT, 12 },
	{ "NODE", "node_id", CTL_TEXT, 24 },
	{ "UP", "up", CTL_YES_NO, 0 },
	{ "SENT", "sent", CTL_NUMBER, 0 },
	{ "RCVD", "received", CTL_NUMBER, 0 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static const struct ctl_column columns_tickets[] = {
	{ "TICKET", "ticket_id", CTL_ID, 12 },
	{ "MADE (UTC)", "created_at", CTL_TIME, 0 },
	{ "EXPIRES (UTC)", "expires_at", CTL_TIME, 0 },
	{ "USES", "uses", CTL_NUMBER, 0 },
	{ "LEFT", "uses_left", CTL_NUMBER, 0 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static const struct ctl_column columns_penalties[] = {
	{ "SOURCE", "source", CTL_TEXT, 0 },
	{ "LISTENER", "listener", CTL_TEXT, 0 },
	{ "OUT", "kept_out", CTL_YES_NO, 0 },
	{ "SECONDS", "seconds", CTL_NUMBER, 0 },
	{ "OFFENCES", "offences", CTL_NUMBER, 0 },
	{ "REFUSED", "refused", CTL_NUMBER, 0 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static const struct ctl_column columns_processes[] = {
	{ "PROCESS", "process", CTL_TEXT, 0 },
	{ "UP", "up", CTL_YES_NO, 0 },
	{ "PID", "pid", CTL_NUMBER, 0 },
	{ "RESTARTS", "restarts", CTL_NUMBER, 0 },
	{ "SINCE (UTC)", "since", CTL_TIME, 0 },
	{ NULL, NULL, CTL_TEXT, 0 },
};

static void
ctl_collect(void *arg, json_t *row)
{
	(void)json_array_append(arg, row);
}

/* Name what did not answer, on standard error. */
static void
ctl_note_missing(const json_t *last)
{
	json_t *missing = json_object_get(last, "missing");
	const char *name;
	size_t i;

	for (i = 0; i < json_array_size(missing); i++)
		if ((name = json_string_value(json_array_get(missing, i))) !=
		    NULL)
			ctl_warn("no answer from %s", name);
	if (json_is_true(json_object_get(last, "cut")))
		ctl_warn("there is more than could be listed");
}

static int
ctl_show_rows(struct ctl *ctl, int argc, char *argv[], const char *what,
    const struct ctl_column *columns)
{
	json_t *rows, *last;
	int status;

	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	rows = json_array();
	status = ctl_request(ctl,
	    json_pack("{s:s s:s}", "command", "show", "what", what), -1,
	    ctl_collect, rows, &last);
	if (status == CTL_OK && ctl->json) {
		(void)json_object_set(last, what, rows);
		ctl_print_json(last);
	} else if (status == CTL_OK) {
		ctl_table(stdout, columns, rows, ctl->full);
		ctl_note_missing(last);
	}
	json_decref(rows);
	json_decref(last);
	return (status);
}

static int
ctl_show_nodes(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_rows(ctl, argc, argv, "nodes", columns_nodes));
}

static int
ctl_show_apps(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_rows(ctl, argc, argv, "apps", columns_apps));
}

static int
ctl_show_sessions(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_rows(ctl, argc, argv, "sessions", columns_sessions));
}

static int
ctl_show_chats(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_rows(ctl, argc, argv, "chats", columns_chats));
}

static int
ctl_show_ratchets(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_rows(ctl, argc, argv, "ratchets", columns_ratchets));
}

static int
ctl_show_tielines(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_rows(ctl, argc, argv, "tielines", columns_tielines));
}

static int
ctl_show_penalties(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_rows(ctl, argc, argv, "penalties", columns_penalties));
}

int
ctl_show_tickets(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_rows(ctl, argc, argv, "tickets", columns_tickets));
}

/* Ask for one object; JSON is printed here, else *last is the caller's. */
static int
ctl_show_one(
    struct ctl *ctl, int argc, char *argv[], json_t *request, json_t **last)
{
	int status;

	*last = NULL;
	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1) {
		json_decref(request);
		return (CTL_USAGE);
	}
	status = ctl_request(ctl, request, -1, NULL, NULL, last);
	if (status == CTL_OK && ctl->json)
		ctl_print_json(*last);
	return (status);
}

static int
ctl_show_summary(struct ctl *ctl, int argc, char *argv[])
{
	static const struct {
		const char *key;
		const char *label;
		enum ctl_kind kind;
	} lines[] = {
		{ "node_id", "node", CTL_TEXT },
		{ "node_key", "node key", CTL_TEXT },
		{ "mesh_id", "mesh", CTL_TEXT },
		{ "certificate_not_after", "member until", CTL_TIME },
		{ "ready", "ready", CTL_YES_NO },
		{ "reasons", "reasons", CTL_TEXT },
		{ "new_chats_refused", "chats refused", CTL_YES_NO },
		{ "authority", "authority", CTL_YES_NO },
		{ "unlocked", "unlocked", CTL_YES_NO },
		{ "draining", "draining", CTL_YES_NO },
		{ "nodes_alive", "nodes alive", CTL_NUMBER },
		{ "nodes_suspect", "nodes suspect", CTL_NUMBER },
		{ "nodes_failed", "nodes failed", CTL_NUMBER },
		{ "apps", "apps in mesh", CTL_NUMBER },
		{ "sessions", "apps here", CTL_NUMBER },
		{ "chats", "chats", CTL_NUMBER },
		{ "messages", "messages", CTL_NUMBER },
		{ "up_since", "up since", CTL_TIME },
		{ "version", "version", CTL_TEXT },
	};
	json_t *last, *summary;
	char text[256];
	size_t i;
	int status;

	status = ctl_show_one(ctl, argc, argv,
	    json_pack("{s:s s:s}", "command", "show", "what", "summary"),
	    &last);
	summary = json_object_get(last, "summary");
	for (i = 0; status == CTL_OK && !ctl->json &&
		    i < sizeof(lines) / sizeof(lines[0]);
	     i++) {
		ctl_cell(text, sizeof(text),
		    json_object_get(summary, lines[i].key), lines[i].kind);
		(void)printf("%-14s %s\n", lines[i].label, text);
	}
	if (status == CTL_OK && !ctl->json)
		ctl_note_missing(last);
	json_decref(last);
	return (status);
}

/* Text that the daemon made for programs: printed as it is. */
static int
ctl_show_text(
    struct ctl *ctl, int argc, char *argv[], json_t *request, const char *key)
{
	json_t *last;
	const char *text;
	int status;

	status = ctl_show_one(ctl, argc, argv, request, &last);
	text = json_string_value(json_object_get(last, key));
	if (status == CTL_OK && !ctl->json && text != NULL)
		(void)fputs(text, stdout);
	json_decref(last);
	return (status);
}

static int
ctl_show_certificate(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_text(ctl, argc, argv,
	    json_pack("{s:s s:s}", "command", "show", "what", "certificate"),
	    "certificate"));
}

static int
ctl_show_config(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_text(ctl, argc, argv,
	    json_pack("{s:s s:s}", "command", "show", "what", "config"),
	    "text"));
}

static int
ctl_show_metrics(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_text(ctl, argc, argv,
	    json_pack("{s:s}", "command", "metrics"), "metrics"));
}

const struct ctl_word ctl_show_words[] = {
	{ "apps", "", ctl_show_apps, NULL },
	{ "certificate", "", ctl_show_certificate, NULL },
	{ "chats", "", ctl_show_chats, NULL },
	{ "config", "", ctl_show_config, NULL },
	{ "metrics", "", ctl_show_metrics, NULL },
	{ "nodes", "", ctl_show_nodes, NULL },
	{ "penalties", "", ctl_show_penalties, NULL },
	{ "ratchets", "", ctl_show_ratchets, NULL },
	{ "sessions", "", ctl_show_sessions, NULL },
	{ "summary", "", ctl_show_summary, NULL },
	{ "tickets", "", ctl_show_tickets, NULL },
	{ "tielines", "", ctl_show_tielines, NULL },
	{ NULL, NULL, NULL, NULL },
};

/* "show" alone, or with options only. */
int
ctl_show(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_show_summary(ctl, argc, argv));
}

static void
ctl_status_reasons(const json_t *reasons)
{
	char text[128];
	size_t i;

	for (i = 0; i < json_array_size(reasons); i++) {
		ctl_cell(
		    text, sizeof(text), json_array_get(reasons, i), CTL_TEXT);
		(void)printf("  %s\n", text);
	}
}

int
ctl_status(struct ctl *ctl, int argc, char *argv[])
{
	json_t *last;
	int status, ready;

	status = ctl_show_one(
	    ctl, argc, argv, json_pack("{s:s}", "command", "status"), &last);
	if (status == CTL_OK) {
		ready = json_is_true(json_object_get(last, "ready"));
		if (!ctl->json) {
			(void)printf("%s\n", ready ? "ready" : "not ready");
			ctl_status_reasons(json_object_get(last, "reasons"));
			ctl_table(stdout, columns_processes,
			    json_object_get(last, "processes"), ctl->full);
		}
		status = ready ? CTL_OK : CTL_FAILED;
	}
	json_decref(last);
	return (status);
}
