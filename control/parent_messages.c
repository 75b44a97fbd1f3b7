/*
 * Parent of hermesd. What its children say to it, and reloading. A child may
 * be hostile: it can make the parent kill, stop, read the operator's file
 * again, and no more.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/proc/proc.h"
#include "common/util/buffer.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "control/parent.h"

static void
parent_on_ready(void *arg, const struct ipc_message *message)
{
	struct parent *parent = parent_get();
	struct child *child = arg;
	size_t i, ready = 0;

	(void)message;
	child->ready = 1;
	if (parent->all_ready)
		parent_notify(parent, "");
	for (i = 0; i < PARENT_CHILDREN; i++)
		ready += parent->children[i].ready != 0;
	if (ready < PARENT_CHILDREN || parent->all_ready)
		return;
	parent->all_ready = 1;
	log_info("ready", "node=%s version=%s", parent->config.node_id,
	    HERMES_VERSION);
	parent_watch_start(parent);
}

static void
parent_on_broken(void *arg, const struct ipc_message *message)
{
	const struct ipc_door *door = message->payload;
	struct parent *parent = parent_get();
	struct child *accuser = arg, *child;
	size_t i;

	for (i = 0; i < PARENT_CHILDREN; i++) {
		child = &parent->children[i];
		if ((uint64_t)child->process != door->peer || child == accuser)
			continue;
		log_error("process_broken", "process=%s accuser=%s",
		    process_name(child->process),
		    process_name(accuser->process));
		parent_kill(child);
	}
}

static void
parent_on_shut(void *arg, const struct ipc_message *message)
{
	struct child *child = arg;

	(void)message;
	child->shut = 1;
}

static void
parent_result(struct child *control, uint64_t id, int ok, const char *line)
{
	struct ipc_result result = { .id = id, .ok = (uint64_t)ok };

	ipc_send(control->ipc, IPC_RESULT, &result, line, strlen(line));
}

static void
parent_on_stop(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;

	parent_result(arg, request->id, 1, "stopping");
	parent_stop(parent_get(), 0);
}

static void
parent_on_reload(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	char line[PARENT_ERROR_SIZE];
	int ok;

	ok = parent_reload(parent_get(), line, sizeof(line)) == 0;
	parent_result(arg, request->id, ok, line);
}

/* hermesctl log verbose, value 1, or brief. */
static void
parent_on_log_verbose(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	struct parent *parent = parent_get();
	size_t i;

	parent->verbose = request->value != 0;
	parent_effective(parent, &parent->config);
	parent_log(parent);
	for (i = 0; i < PARENT_CHILDREN; i++)
		parent_send_config(parent, &parent->children[i]);
	parent_result(arg, request->id, 1,
	    parent->verbose ? "everything is logged"
			    : "logged as log level says");
}

static void
parent_on_metrics_get(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	struct child *control = arg;
	struct ipc_request answer = { .id = request->id };
	struct buffer packed;

	buffer_init(&packed);
	if (metrics_pack(&packed) == -1)
		fatal("metrics", "error=memory");
	answer.value = buffer_length(&packed);
	ipc_send(control->ipc, IPC_METRICS, &answer, buffer_bytes(&packed),
	    buffer_length(&packed));
	buffer_free(&packed);
}

const ipc_handler parent_handlers[IPC_TYPE_COUNT] = { [IPC_READY] =
							  parent_on_ready,
	[IPC_BROKEN] = parent_on_broken,
	[IPC_SHUT] = parent_on_shut,
	[IPC_PONG] = parent_on_pong,
	[IPC_STOP] = parent_on_stop,
	[IPC_RELOAD] = parent_on_reload,
	[IPC_LOG_VERBOSE] = parent_on_log_verbose,
	[IPC_METRICS_GET] = parent_on_metrics_get };

/* --- reload -------------------------------------------------------------- */

/* What cannot change while the node runs. */
static void
parent_reload_check(const struct parent *parent, const struct config_file *next,
    struct parent_error *error)
{
	if (strcmp(parent->file.config.node_id, next->config.node_id) != 0)
		parent_report(error, "node: a new name needs a restart");
	if (strcmp(parent->file.config.keystore.path,
		next->config.keystore.path) != 0)
		parent_report(
		    error, "keystore path: a new path needs a restart");
	if (parent->file.config.sandbox_log != next->config.sandbox_log)
		parent_report(error, "sandbox: a change needs a restart");
	(void)parent_log_check(parent, next, error);
}

/* Tell the child what changed of its listeners, if anything did. */
static void
parent_reload_listeners(struct parent *parent, struct child *child,
    int old[LISTEN_KINDS][CONFIG_LISTENERS])
{
	struct ipc_empty empty = { 0 };
	size_t first, count;

	if (child->ipc == NULL)
		return;
	switch (child->process) {
	case PROCESS_ROUTER:
		first = LISTEN_APP;
		count = 1;
		break;
	case PROCESS_MESH:
		first = LISTEN_MESH;
		count = 1;
		break;
	case PROCESS_CONTROL:
		first = LISTEN_ADMIN;
		count = 2;
		break;
	default:
		return;
	}
	if (memcmp(old[first], parent->listeners[first],
		count * sizeof(old[first])) == 0)
		return;
	ipc_send(child->ipc, IPC_LISTENERS_CLOSE, &empty, NULL, 0);
	parent_send_listeners(parent, child);
}

static void
parent_reload_swap(struct parent *parent, const struct config_file *next,
    int fds[LISTEN_KINDS][CONFIG_LISTENERS])
{
	int old[LISTEN_KINDS][CONFIG_LISTENERS];
	struct child *child;
	size_t i;

	memcpy(old, parent->listeners, sizeof(old));
	parent_listen_swap(parent, next, fds);
	parent->file = *next;
	parent_effective(parent, &parent->config);
	parent_log(parent);
	for (i = 0; i < PARENT_CHILDREN; i++) {
		child = &parent->children[i];
		parent_send_config(parent, child);
		parent_reload_listeners(parent, child, old);
		parent_send_certificate(parent, child);
		parent_send_names(child);
	}
}

static int
parent_reload_file(struct parent *parent, char *line, size_t size)
{
	struct parent_error error = { "" };
	static struct config_file next;
	int fds[LISTEN_KINDS][CONFIG_LISTENERS];
	int certificate = -1, key = -1;

	if (config_load(parent->path, parent->options, &next, parent_report,
		&error) == 0) {
		parent_reload_check(parent, &next, &error);
		/* The credential of the start stays what it was. */
		if (next.config.keystore.passphrase[0] == '\0')
			(void)strlcpy(next.config.keystore.passphrase,
			    parent->file.config.keystore.passphrase,
			    sizeof(next.config.keystore.passphrase));
	}
	if (error.first[0] != '\0' ||
	    parent_certificate(&next, &error, &certificate, &key) == -1)
		goto refused;
	if (parent_listen(parent, &next, &error, fds) == -1) {
		if (certificate != -1)
			(void)close(certificate);
		if (key != -1)
			(void)close(key);
		goto refused;
	}
	if (parent->certificate != -1)
		(void)close(parent->certificate);
	parent->certificate = certificate;
	parent->certificate_key = key;
	parent_reload_swap(parent, &next, fds);
	log_info("reloaded", "file=%s", parent->path);
	(void)strlcpy(line, "reloaded", size);
	return (0);
refused:
	log_error("reload_refused",
	    "file=%s reason=\"the old configuration goes on\"", parent->path);
	(void)strlcpy(line, error.first, size);
	return (-1);
}

int
parent_reload(struct parent *parent, char *line, size_t size)
{
	char reloading[64];
	int result;

	if (parent->stopping) {
		(void)strlcpy(line, "the node is stopping", size);
		return (-1);
	}
	(void)snprintf(reloading, sizeof(reloading),
	    "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)(clock_monotonic() / 1000));
	parent_notify(parent, reloading);
	result = parent_reload_file(parent, line, size);
	parent->refused[0] = '\0';
	if (result == -1)
		(void)strlcpy(parent->refused, line, sizeof(parent->refused));
	/* Whoever starts meanwhile says READY when it is. */
	parent_notify(parent, parent->all_ready ? "READY=1" : "");
	return (result);
}
