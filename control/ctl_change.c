/* hermesctl(8): the commands that change something, but rekey and init. */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/ctl.h"

int
ctl_do(struct ctl *ctl, json_t *request, int fd, const char *key)
{
	json_t *last;
	const char *text;
	char clean[512];
	int status;

	status = ctl_request(ctl, request, fd, NULL, NULL, &last);
	if (status == CTL_OK && ctl->json)
		ctl_print_json(last);
	else if (status == CTL_OK) {
		text = json_string_value(
		    json_object_get(last, key != NULL ? key : "message"));
		if (key != NULL && text != NULL)
			(void)printf("%s\n", text);
		else if (text != NULL) {
			ctl_cell(clean, sizeof(clean),
			    json_object_get(last, "message"), CTL_TEXT);
			(void)printf("%s\n", clean);
		}
	}
	json_decref(last);
	return (status);
}

/* A mesh of one is of no use: with it comes the ticket for the second node,
 * and what to type there. */
static int
mesh_invite(struct ctl *ctl)
{
	json_t *last;
	int status;

	status = ctl_request(ctl,
	    json_pack(
		"{s:s s:i s:i}", "command", "ticket", "ttl", 3600, "uses", 1),
	    -1, NULL, NULL, &last);
	if (status == CTL_OK)
		(void)printf("\nWithin an hour another node joins it with\n\n"
			     "    hermesctl mesh join %s\n\n"
			     "and for more there is `hermesctl ticket`.\n",
		    json_string_value(json_object_get(last, "ticket")));
	json_decref(last);
	return (status);
}

int
ctl_mesh_create(struct ctl *ctl, int argc, char *argv[])
{
	int status;

	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	status = ctl_do(
	    ctl, json_pack("{s:s}", "command", "mesh create"), -1, "mesh_id");
	if (status == CTL_OK && !ctl->json)
		status = mesh_invite(ctl);
	return (status);
}

int
ctl_mesh_revoke(struct ctl *ctl, int argc, char *argv[])
{
	if (ctl_options(ctl, NULL, argc, argv, 1, 1) == -1)
		return (CTL_USAGE);
	return (ctl_do(ctl,
	    json_pack("{s:s s:s}", "command", "mesh revoke", "node", argv[0]),
	    -1, NULL));
}

int
ctl_ticket(struct ctl *ctl, int argc, char *argv[])
{
	const char *ttl = "1h", *uses = "1", *error;
	const struct ctl_option options[] = {
		{ "--ttl", &ttl, NULL },
		{ "--uses", &uses, NULL },
		{ NULL, NULL, NULL },
	};
	int64_t seconds;
	long long count;

	if (ctl_options(ctl, options, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	if ((seconds = ctl_duration(ttl)) == -1) {
		ctl_warn("--ttl %s: not a time such as 30m, 1h or 7d", ttl);
		return (CTL_USAGE);
	}
	count = strtonum(uses, 1, 1000000, &error);
	if (error != NULL) {
		ctl_warn("--uses %s: %s", uses, error);
		return (CTL_USAGE);
	}
	return (ctl_do(ctl,
	    json_pack("{s:s s:I s:I}", "command", "ticket", "ttl",
		(json_int_t)seconds, "uses", (json_int_t)count),
	    -1, "ticket"));
}

int
ctl_ticket_revoke(struct ctl *ctl, int argc, char *argv[])
{
	if (ctl_options(ctl, NULL, argc, argv, 1, 1) == -1)
		return (CTL_USAGE);
	return (ctl_do(ctl,
	    json_pack(
		"{s:s s:s}", "command", "ticket revoke", "ticket_id", argv[0]),
	    -1, NULL));
}

int
ctl_join(struct ctl *ctl, int argc, char *argv[])
{
	char line[8192];
	char *ticket;

	if (ctl_options(ctl, NULL, argc, argv, 1, 1) == -1)
		return (CTL_USAGE);
	ticket = argv[0];
	if (strcmp(ticket, "-") == 0) {
		if (fgets(line, sizeof(line), stdin) == NULL) {
			ctl_warn("no ticket on standard input");
			return (CTL_USAGE);
		}
		line[strcspn(line, "\r\n")] = '\0';
		ticket = line;
	}
	return (ctl_do(ctl,
	    json_pack("{s:s s:s}", "command", "join", "ticket", ticket), -1,
	    NULL));
}

int
ctl_rekey_tls(struct ctl *ctl)
{
	return (
	    ctl_do(ctl, json_pack("{s:s}", "command", "rekey tls"), -1, NULL));
}

int
ctl_erase(struct ctl *ctl, int argc, char *argv[])
{
	int now = 0;
	const struct ctl_option options[] = {
		{ "--now", NULL, &now },
		{ NULL, NULL, NULL },
	};

	if (ctl_options(ctl, options, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	if (!now) {
		ctl_warn("erase wants --now: it replaces the store's key, and "
			 "what was deleted is gone for good");
		return (CTL_USAGE);
	}
	return (ctl_do(ctl, json_pack("{s:s}", "command", "erase"), -1, NULL));
}

int
ctl_unlock(struct ctl *ctl, int argc, char *argv[])
{
	int fd, status;

	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	if ((fd = ctl_passphrase("Passphrase: ", 0, &status)) == -1)
		return (status);
	status = ctl_do(ctl, json_pack("{s:s}", "command", "unlock"), fd, NULL);
	close(fd);
	return (status);
}

int
ctl_stop(struct ctl *ctl, int argc, char *argv[])
{
	int status;

	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	status = ctl_do(ctl, json_pack("{s:s}", "command", "stop"), -1, NULL);
	if (status == CTL_OK)
		status = ctl_wait_closed(ctl);
	return (status);
}

int
ctl_reload(struct ctl *ctl, int argc, char *argv[])
{
	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	return (ctl_do(ctl, json_pack("{s:s}", "command", "reload"), -1, NULL));
}

static int
ctl_log(struct ctl *ctl, int argc, char *argv[], int verbose)
{
	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	return (ctl_do(ctl,
	    json_pack("{s:s s:b}", "command", "log", "verbose", verbose), -1,
	    NULL));
}

int
ctl_log_brief(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_log(ctl, argc, argv, 0));
}

int
ctl_log_verbose(struct ctl *ctl, int argc, char *argv[])
{
	return (ctl_log(ctl, argc, argv, 1));
}
