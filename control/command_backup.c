/*
 * control: what takes the store's passphrase besides unlocking: backup,
 * restore, another passphrase. It comes as the first descriptor, the other
 * passphrase as the second, the file as the third, and all go on to keyd
 * unread.
 */

#include <string.h>

#include "control/command.h"

static const struct ipc_request plain = { 0, 0 };

/* file: 0 none, else command_check_fd()'s write + 1. */
static int
backup_check(struct command *command, int file)
{
	if (command_check_fd(command->fds[0], 0, 1) == 0 &&
	    command_check_fd(command->fds[1], 0, 1) == 0 &&
	    (file == 0 ? command->fds[2] == -1
		       : command_check_fd(command->fds[2], file - 1, 0) == 0))
		return (0);
	command_fail(command, ERROR_USAGE,
	    "it wants pipes or files with the store's passphrase and the "
	    "other one%s",
	    file == 0   ? ""
	    : file == 1 ? ", and a file to read"
			: ", and a file to write");
	return (-1);
}

static void
backup_ask(struct command *command, enum ipc_type type, const void *payload)
{
	int fds[COMMAND_FDS];
	size_t i;

	if (command_ask(command, ASK_LONG, command_result) == NULL)
		return;
	memcpy(fds, command->fds, sizeof(fds));
	for (i = 0; i < COMMAND_FDS; i++)
		command->fds[i] = -1;
	ask_send(
	    command->ask, PROCESS_KEYD, IPC_STORE_PASSPHRASE, &plain, fds[0]);
	ask_send(
	    command->ask, PROCESS_KEYD, IPC_OTHER_PASSPHRASE, &plain, fds[1]);
	ask_send(command->ask, PROCESS_KEYD, type, payload, fds[2]);
	ask_start(command->ask);
}

void
command_backup(struct command *command)
{
	if (backup_check(command, 2) == 0)
		backup_ask(command, IPC_BACKUP, &plain);
}

void
command_restore(struct command *command)
{
	struct ipc_restore restore;

	if (backup_check(command, 1) == -1)
		return;
	memset(&restore, 0, sizeof(restore));
	restore.force = (uint64_t)command_boolean(command, "force");
	backup_ask(command, IPC_RESTORE, &restore);
}

void
command_passphrase(struct command *command)
{
	if (backup_check(command, 0) == 0)
		backup_ask(command, IPC_PASSPHRASE_CHANGE, &plain);
}
