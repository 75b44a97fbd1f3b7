/* control: reading a request and ending a command; see command.h. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util/log.h"
#include "control/command.h"
#include "control/control.h"
#include "control/monitor.h"
#include "control/report.h"

static const struct command_row {
	const char *name;
	int changes; /* only for root and the owner */
	command_run run;
} commands[] = {
	{ "show", 0, command_show },
	{ "status", 0, command_status },
	{ "metrics", 0, command_metrics },
	{ "monitor", 0, command_monitor },
	{ "mesh create", 1, command_mesh_create },
	{ "mesh revoke", 1, command_mesh_revoke },
	{ "ticket", 1, command_ticket },
	{ "ticket revoke", 1, command_ticket_revoke },
	{ "join", 1, command_join },
	{ "rekey", 1, command_rekey },
	{ "rekey tls", 1, command_rekey_tls },
	{ "erase", 1, command_erase },
	{ "backup", 1, command_backup },
	{ "restore", 1, command_restore },
	{ "passphrase", 1, command_passphrase },
	{ "unlock", 1, command_unlock },
	{ "stop", 1, command_stop },
	{ "reload", 1, command_reload },
	{ "log", 1, command_log },
};

static void
command_free(struct command *command)
{
	size_t i;

	if (command->ask != NULL)
		ask_cancel(command->ask);
	monitor_forget(command);
	for (i = 0; i < COMMAND_FDS; i++)
		if (command->fds[i] != -1)
			close(command->fds[i]);
	json_decref(command->request);
	free(command);
}

void
command_cancel(struct command *command)
{
	command_free(command);
}

/* Write the last line, free the command, let the client go on. NULL for want
 * of memory: the client is closed. */
static void
command_end(struct command *command, json_t *last)
{
	struct client *client = command->client;

	client_line(client, last);
	command_free(command);
	client_done(client);
}

void
command_ok(
    struct command *command, json_t *result, const struct ask_answer *answer)
{
	json_t *last = json_pack("{s:b}", "ok", 1);
	int failed;

	failed = json_object_update(last, result) == -1;
	json_decref(result);
	if (answer != NULL && answer->missing != 0)
		failed |= json_object_set_new(last, "missing",
			      report_process_names(answer->missing)) == -1;
	if (command->cut || (answer != NULL && answer->cut))
		failed |= json_object_set_new(last, "cut", json_true()) == -1;
	if (failed) {
		json_decref(last);
		last = NULL;
	}
	command_end(command, last);
}

static json_t *
command_error(const char *error, const char *text)
{
	json_t *message = json_string(text);

	/* What is not UTF-8 is no JSON string. */
	return (json_pack("{s:b s:s s:o}", "ok", 0, "error", error, "message",
	    message == NULL ? json_string("?") : message));
}

void
command_fail(
    struct command *command, const char *error, const char *format, ...)
{
	char text[1280];
	va_list ap;

	va_start(ap, format);
	if (vsnprintf(text, sizeof(text), format, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	command_end(command, command_error(error, text));
}

void
command_fail_missing(struct command *command, const struct ask_answer *answer)
{
	int late = answer->late != 0;
	json_t *last = command_error(late ? ERROR_TIMEOUT : ERROR_UNAVAILABLE,
	    late ? "a process did not answer in time" : "a process is down");

	(void)json_object_set_new(
	    last, "missing", report_process_names(answer->missing));
	command_end(command, last);
}

int
command_refused(struct command *command, const struct ask_answer *answer)
{
	if (answer->missing != 0)
		command_fail_missing(command, answer);
	else if (answer->refusals > 0)
		command_fail(command, ERROR_FAILED, "%s",
		    answer->text[0] != '\0' ? answer->text : "refused");
	else
		return (0);
	return (1);
}

void
command_result(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;

	command_answered(command);
	if (!command_refused(command, answer))
		command_ok(command,
		    answer->text[0] == '\0'
			? json_object()
			: json_pack("{s:s}", "message", answer->text),
		    answer);
}

struct ask *
command_ask(struct command *command, int64_t timeout, ask_done done)
{
	struct ask *question = ask_new(timeout, done, command);

	command->ask = question;
	if (question == NULL)
		command_fail(command, ERROR_FAILED, "out of memory");
	return (question);
}

void
command_answered(struct command *command)
{
	command->ask = NULL;
}

const char *
command_string(const struct command *command, const char *key)
{
	return (json_string_value(json_object_get(command->request, key)));
}

json_int_t
command_integer(
    const struct command *command, const char *key, json_int_t otherwise)
{
	json_t *value = json_object_get(command->request, key);

	if (value == NULL)
		return (otherwise);
	return (json_is_integer(value) ? json_integer_value(value) : -1);
}

int
command_boolean(const struct command *command, const char *key)
{
	return (json_is_true(json_object_get(command->request, key)));
}

/* The row of commands[] that the request names, or NULL. */
static const struct command_row *
command_find(const json_t *request)
{
	const char *name;
	size_t i;

	name = json_string_value(json_object_get(request, "command"));
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (name != NULL && strcmp(name, commands[i].name) == 0)
			return (&commands[i]);
	return (NULL);
}

/* A request that does not become a command. */
static void
command_refuse(struct client *client, json_t *request,
    const int fds[COMMAND_FDS], const char *error, const char *text)
{
	size_t i;

	for (i = 0; i < COMMAND_FDS; i++)
		if (fds[i] != -1)
			close(fds[i]);
	json_decref(request);
	client_line(client, command_error(error, text));
}

void
command_start(struct client *client, const char *line, size_t length,
    const int fds[COMMAND_FDS], int may_change)
{
	const struct command_row *row;
	struct command *command;
	json_t *request;

	request = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	if ((row = command_find(request)) == NULL) {
		command_refuse(client, request, fds, ERROR_USAGE,
		    json_is_object(request) ? "unknown command"
					    : "not a JSON object");
		return;
	}
	if (row->changes && !may_change) {
		command_refuse(client, request, fds, ERROR_DENIED,
		    "only root and the daemon's user may do this");
		return;
	}
	if ((command = calloc(1, sizeof(*command))) == NULL) {
		command_refuse(
		    client, request, fds, ERROR_FAILED, "out of memory");
		return;
	}
	if (row->changes)
		log_info("hermesctl", "command=\"%s\"", row->name);
	command->client = client;
	command->request = request;
	memcpy(command->fds, fds, sizeof(command->fds));
	command->full = command_boolean(command, "full");
	client_begin(client, command);
	row->run(command);
}
