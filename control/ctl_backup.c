/*
 * hermesctl(8): backup and restore. The file is opened here, with the rights
 * of who calls; keyd writes or reads it, sealed.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/ctl.h"

/* Send the request with passphrase and file. */
static int
backup_request(
    struct ctl *ctl, json_t *request, const char *prompt, int repeat, int file)
{
	int fd, status;

	if ((fd = ctl_passphrase(prompt, repeat, &status)) == -1) {
		json_decref(request);
		return (status);
	}
	ctl->file = file;
	status = ctl_do(ctl, request, fd, NULL);
	ctl->file = -1;
	close(fd);
	return (status);
}

/* Give the finished temporary file its name. 0 or -1. */
static int
backup_name(const char *temporary, const char *path, int force)
{
	if (force)
		return (rename(temporary, path));
	if (link(temporary, path) == -1)
		return (-1);
	return (unlink(temporary));
}

int
ctl_backup(struct ctl *ctl, int argc, char *argv[])
{
	int force = 0, file, status;
	const struct ctl_option options[] = {
		{ "--force", NULL, &force },
		{ NULL, NULL, NULL },
	};
	char temporary[PATH_MAX];
	int length;

	if (ctl_options(ctl, options, argc, argv, 1, 1) == -1)
		return (CTL_USAGE);
	if (!force && access(argv[0], F_OK) == 0) {
		ctl_warn("%s: exists; --force replaces it", argv[0]);
		return (CTL_FAILED);
	}
	length = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", argv[0]);
	if (length < 0 || (size_t)length >= sizeof(temporary)) {
		ctl_warn("%s: %s", argv[0], strerror(ENAMETOOLONG));
		return (CTL_USAGE);
	}
	/* Mode 0600. Half a backup never has the name of a whole one. */
	if ((file = mkstemp(temporary)) == -1) {
		ctl_warn("%s: %s", argv[0], strerror(errno));
		return (CTL_FAILED);
	}
	status = backup_request(ctl, json_pack("{s:s}", "command", "backup"),
	    "New passphrase of the backup: ", 1, file);
	close(file);
	if (status == CTL_OK && backup_name(temporary, argv[0], force) == -1) {
		ctl_warn("%s: %s", argv[0], strerror(errno));
		status = CTL_FAILED;
	}
	if (status != CTL_OK)
		(void)unlink(temporary);
	return (status);
}

int
ctl_restore(struct ctl *ctl, int argc, char *argv[])
{
	int force = 0, file, status;
	const struct ctl_option options[] = {
		{ "--force", NULL, &force },
		{ NULL, NULL, NULL },
	};

	if (ctl_options(ctl, options, argc, argv, 1, 1) == -1)
		return (CTL_USAGE);
	if ((file = open(argv[0], O_RDONLY | O_CLOEXEC)) == -1) {
		ctl_warn("%s: %s", argv[0], strerror(errno));
		return (CTL_FAILED);
	}
	status = backup_request(ctl,
	    json_pack("{s:s s:b}", "command", "restore", "force", force),
	    "Passphrase of the backup: ", 0, file);
	close(file);
	return (status);
}
