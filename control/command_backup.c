/*
 * control: backup and restore. Passphrase and file come as descriptors, in
 * this order, and go on to keyd unread.
 */

#include <string.h>

#include "control/command.h"

static int
backup_check(struct command *command, int write)
{
	if (command_check_fd(command->fd, 0, 1) == 0 &&
	    command_check_fd(command->file, write, 0) == 0)
		return (0);
	command_fail(command, ERROR_USAGE,
	    "it wants a pipe or file with the passphrase, and a file to %s",
	    write ? "write" : "read");
	return (-1);
}

static void
backup_ask(struct command *command, enum ipc_type type, const void *payload)
{
	static const struct ipc_request plain = { 0, 0 };
	int fd = command->fd, file = command->file;

	if (command_ask(command, ASK_LONG, command_result) == NULL)
		return;
	command->fd = command->file = -1;
	ask_send(command->ask, PROCESS_KEYD, IPC_BACKUP_PASSPHRASE, &plain, fd);
	ask_send(command->ask, PROCESS_KEYD, type, payload, file);
	ask_start(command->ask);
}

void
command_backup(struct command *command)
{
	static const struct ipc_request plain = { 0, 0 };

	if (backup_check(command, 1) == 0)
		backup_ask(command, IPC_BACKUP, &plain);
}

void
command_restore(struct command *command)
{
	struct ipc_restore restore;

	if (backup_check(command, 0) == -1)
		return;
	memset(&restore, 0, sizeof(restore));
	restore.force = (uint64_t)command_boolean(command, "force");
	backup_ask(command, IPC_RESTORE, &restore);
}
