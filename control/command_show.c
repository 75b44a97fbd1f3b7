/* control: the commands that look: show, status, metrics. */

#include <string.h>

#include "control/command.h"
#include "control/config.h"
#include "control/control.h"
#include "control/readiness.h"
#include "control/report.h"

static void
command_show_rows(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;
	json_t *rows, *row;
	size_t i;
	/* Without mesh, ratchets are shown, but their nodes not named. */
	unsigned int needed =
	    answer->missing &
	    (command->what == SHOW_RATCHETS ? PROCESS_KEYD : ~0U);

	command_answered(command);
	if (needed != 0) {
		command_fail_missing(command, answer);
		return;
	}
	rows = report_rows(answer, command->what, command->full);
	if (rows == NULL) {
		command_fail(command, ERROR_FAILED, "out of memory");
		return;
	}
	for (i = 0; (row = json_array_get(rows, i)) != NULL; i++)
		client_line(command->client, json_pack("{s:O}", "row", row));
	json_decref(rows);
	command_ok(command, json_pack("{s:I}", "count", (json_int_t)i), answer);
}

static void
command_show_summary(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;
	json_t *summary = report_summary(answer);

	command_answered(command);
	if (summary == NULL)
		command_fail(command, ERROR_FAILED, "out of memory");
	else
		command_ok(
		    command, json_pack("{s:o}", "summary", summary), answer);
}

static void
command_show_certificate(struct command *command)
{
	if (control.config.own_certificate)
		command_fail(command, ERROR_FAILED,
		    "apps see the operator's own certificate, %s",
		    control.config.certificate);
	else if (control.certificate == NULL)
		command_fail(command, ERROR_FAILED,
		    "no certificate yet: the node is locked (hermesctl "
		    "unlock) or starts");
	else
		command_ok(command,
		    json_pack("{s:s}", "certificate", control.certificate),
		    NULL);
}

static void
command_show_config(struct command *command)
{
	struct buffer text;

	buffer_init(&text);
	if (config_print(&control.config, &text) == -1)
		command_fail(command, ERROR_FAILED, "out of memory");
	else
		command_ok(command,
		    json_pack("{s:s%s:o}", "text", (char *)buffer_bytes(&text),
			buffer_length(&text), "config",
			config_print_json(&control.config)),
		    NULL);
	buffer_free(&text);
}

void
command_show(struct command *command)
{
	const char *what = command_string(command, "what");

	if (what == NULL || strcmp(what, "summary") == 0) {
		if (command_ask(command, ASK_SHORT, command_show_summary) ==
		    NULL)
			return;
		readiness_ask(command->ask);
		ask_start(command->ask);
		return;
	}
	if (strcmp(what, "config") == 0) {
		command_show_config(command);
		return;
	}
	if (strcmp(what, "certificate") == 0) {
		command_show_certificate(command);
		return;
	}
	command->what = report_find(what);
	if (command->what == 0) {
		command_fail(
		    command, ERROR_USAGE, "nothing of that name to show");
		return;
	}
	/* That nobody can look is not that there is none. */
	if ((command->what == SHOW_RATCHETS || command->what == SHOW_TICKETS) &&
	    !control.identity.unlocked) {
		command_fail(command, ERROR_FAILED, COMMAND_LOCKED);
		return;
	}
	if (command_ask(command, ASK_SHORT, command_show_rows) == NULL)
		return;
	ask_show(command->ask, command->what);
	if (command->what == SHOW_RATCHETS)
		ask_show(command->ask, SHOW_NODES);
	ask_start(command->ask);
}

static void
command_status_done(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;
	json_t *reasons = readiness_texts(readiness_find(answer));

	command_answered(command);
	if (reasons == NULL || answer->metrics == NULL) {
		json_decref(reasons);
		command_fail(command, ERROR_FAILED, "out of memory");
		return;
	}
	command_ok(command,
	    json_pack("{s:b s:o s:o}", "ready", json_array_size(reasons) == 0,
		"reasons", reasons, "processes", report_processes(answer)),
	    answer);
}

void
command_status(struct command *command)
{
	if (command_ask(command, ASK_SHORT, command_status_done) == NULL)
		return;
	readiness_ask(command->ask);
	ask_start(command->ask);
}

static void
command_metrics_done(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;
	struct buffer text;

	command_answered(command);
	buffer_init(&text);
	if (report_metrics(answer, &text) == -1)
		command_fail(command, ERROR_FAILED, "out of memory");
	else
		command_ok(command,
		    json_pack("{s:s%}", "metrics", (char *)buffer_bytes(&text),
			buffer_length(&text)),
		    answer);
	buffer_free(&text);
}

void
command_metrics(struct command *command)
{
	if (command_ask(command, ASK_SHORT, command_metrics_done) == NULL)
		return;
	ask_metrics(command->ask);
	ask_start(command->ask);
}
