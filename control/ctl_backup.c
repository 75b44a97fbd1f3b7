/*
 * hermesctl(8): what takes the store's passphrase and another one: backup,
 * restore, passphrase. The file is opened here, with the rights of who calls;
 * keyd writes or reads it, sealed.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/ctl.h"

#define STORE_OPTION "--store-passphrase"

/* Send the request with the store's passphrase, of which store_file is one,
 * another, for which prompt asks, and a file or -1. */
static int
backup_request(struct ctl *ctl, json_t *request, const char *store_file,
    const char *prompt, int repeat, int file)
{
	int store, other = -1, status;

	store = ctl_passphrase_from(
	    store_file, "Passphrase of the store: ", &status);
	if (store != -1 &&
	    (other = ctl_passphrase(prompt, repeat, &status)) != -1) {
		ctl->more[0] = other;
		ctl->more[1] = file;
		status = ctl_do(ctl, json_incref(request), store, NULL);
		ctl->more[0] = ctl->more[1] = -1;
	}
	if (store != -1)
		close(store);
	if (other != -1)
		close(other);
	json_decref(request);
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
	const char *store = NULL;
	const struct ctl_option options[] = {
		{ "--force", NULL, &force },
		{ STORE_OPTION, &store, NULL },
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
	    store, "New passphrase of the backup: ", 1, file);
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
	const char *store = NULL;
	const struct ctl_option options[] = {
		{ "--force", NULL, &force },
		{ STORE_OPTION, &store, NULL },
		{ NULL, NULL, NULL },
	};

	if (ctl_options(ctl, options, argc, argv, 1, 1) == -1)
		return (CTL_USAGE);
	if ((file = open(argv[0], O_RDONLY | O_CLOEXEC)) == -1) {
		ctl_warn("%s: %s", argv[0], strerror(errno));
		return (CTL_FAILED);
	}
	status = backup_request(ctl,
	    json_pack("{s:s s:b}", "command", "restore", "force", force), store,
	    "Passphrase of the backup: ", 0, file);
	close(file);
	return (status);
}

int
ctl_passphrase_change(struct ctl *ctl, int argc, char *argv[])
{
	const char *store = NULL;
	const struct ctl_option options[] = {
		{ STORE_OPTION, &store, NULL },
		{ NULL, NULL, NULL },
	};

	if (ctl_options(ctl, options, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	return (backup_request(ctl, json_pack("{s:s}", "command", "passphrase"),
	    store, "New passphrase of the store: ", 1, -1));
}
