/*
 * Parent of hermesd. Where the log goes: the parent opens the sockets of
 * syslogd and the journal, its children, who can reach neither, get copies.
 * They are opened anew at every reload.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/proc/proc.h"
#include "common/util/log.h"
#include "control/parent.h"

int
parent_log_check(const struct parent *parent, const struct config_file *file,
    struct parent_error *error)
{
	char where[CONFIG_PATH_SIZE + 16], line[CONFIG_PATH_SIZE + 256];
	const char *wrong = NULL;
	int fd;

	switch (file->config.log_to) {
	case CONFIG_LOG_STDERR:
		if (!parent->foreground)
			wrong = "log to stderr: only in the foreground, with "
				"-d";
		break;
	case CONFIG_LOG_JOURNAL:
		if ((fd = log_open(LOG_TO_JOURNAL)) == -1)
			wrong = "log to journal: no systemd-journald(8) "
				"listens; log to syslog";
		else
			(void)close(fd);
		break;
	default:
		break;
	}
	if (wrong == NULL)
		return (0);
	(void)snprintf(line, sizeof(line), "%s: %s",
	    config_place_text(where, &file->log_to), wrong);
	parent_report(error, line);
	return (-1);
}

void
parent_log(struct parent *parent)
{
	enum log_target target =
	    proc_log_target(&parent->config, parent->foreground);

	if (parent->log_socket != -1)
		(void)close(parent->log_socket);
	parent->log_socket = log_open(target);
	proc_apply_log(&parent->config, parent->foreground);
	if (parent->log_socket != -1)
		log_set_target(
		    target, fcntl(parent->log_socket, F_DUPFD_CLOEXEC, 0));
}

void
parent_send_log(struct parent *parent, struct child *child)
{
	struct ipc_request request = { 0, 0 };
	int fd;

	if (child->ipc == NULL || parent->log_socket == -1)
		return;
	request.value =
	    (uint64_t)proc_log_target(&parent->config, parent->foreground);
	if ((fd = fcntl(parent->log_socket, F_DUPFD_CLOEXEC, 0)) == -1)
		log_error("dup", "error=\"%s\"", strerror(errno));
	else
		ipc_send_fd(child->ipc, IPC_LOG_SOCKET, &request, fd);
}
