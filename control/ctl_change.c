/* hermesctl(8): the commands that change something, but rekey and init. */

#include <ctype.h>
#include <errno.h>
#include <readpassphrase.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "control/ctl.h"

#define CTL_PASSPHRASE 1024 /* bytes at most, with NUL */

/* Send a request, print the member key of the answer (NULL: none, its
 * message if it has one). */
static int
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

int
ctl_mesh_create(struct ctl *ctl, int argc, char *argv[])
{
	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	return (ctl_do(
	    ctl, json_pack("{s:s}", "command", "mesh create"), -1, "mesh_id"));
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

/* The passphrase from the terminal, or the first line of standard input.
 * Its length, or -1 after a complaint. */
static ssize_t
ctl_read_passphrase(char *out, size_t size)
{
	size_t length = 0;
	ssize_t n;

	if (isatty(STDIN_FILENO)) {
		if (readpassphrase(
			"Passphrase: ", out, size, RPP_REQUIRE_TTY) == NULL)
			out[0] = '\0';
		length = strlen(out);
	} else {
		/* read(2), not stdio: no copy is left in a buffer. */
		while (
		    length < size - 1 && (n = read(STDIN_FILENO, out + length,
					      size - 1 - length)) > 0)
			length += (size_t)n;
		out[length] = '\0';
		length = strcspn(out, "\n");
	}
	if (length == 0) {
		ctl_warn("no passphrase");
		return (-1);
	}
	return ((ssize_t)length);
}

int
ctl_unlock(struct ctl *ctl, int argc, char *argv[])
{
	char *passphrase;
	ssize_t length;
	int ends[2] = { -1, -1 }, status = CTL_USAGE;

	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	if (sodium_init() == -1 ||
	    (passphrase = sodium_malloc(CTL_PASSPHRASE)) == NULL) {
		ctl_warn("no locked memory for the passphrase");
		return (CTL_FAILED);
	}
	length = ctl_read_passphrase(passphrase, CTL_PASSPHRASE);
	/* A pipe holds it until keyd reads; nobody between sees it. */
	if (length > 0 && (pipe(ends) == -1 || write(ends[1], passphrase,
						   (size_t)length) != length)) {
		ctl_warn("pipe: %s", strerror(errno));
		status = CTL_FAILED;
		length = -1;
	}
	sodium_free(passphrase); /* wiped */
	if (ends[1] != -1)
		close(ends[1]);
	if (length > 0)
		status = ctl_do(ctl, json_pack("{s:s}", "command", "unlock"),
		    ends[0], NULL);
	if (ends[0] != -1)
		close(ends[0]);
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
