/*
 * Parent of hermesd: started as root (or as an ordinary user, and then
 * without changing users). It reads the configuration, binds every socket,
 * opens every file, starts the children and watches over them. It reads no
 * input from the network; from its children only fixed messages.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/proc/privileges.h"
#include "common/proc/sandbox.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "control/parent.h"

static struct parent parent_state_of_all = { .passphrase = -1,
	.log_socket = -1,
	.starter = -1,
	.certificate = -1,
	.certificate_key = -1,
	.children = {
	    [CHILD_KEYD] = { .process = PROCESS_KEYD, .user = "_hermes_keyd" },
	    [CHILD_MESH] = { .process = PROCESS_MESH, .user = "_hermes_mesh" },
	    [CHILD_ROUTER] = { .process = PROCESS_ROUTER,
		.user = "_hermes_router" },
	    [CHILD_CONTROL] = {
		.process = PROCESS_CONTROL, .user = "_hermes_control" } } };

struct parent *
parent_get(void)
{
	return (&parent_state_of_all);
}

void
parent_report(void *arg, const char *message)
{
	struct parent_error *error = arg;

	log_error("config", "error=\"%s\"", message);
	if (error->first[0] == '\0')
		(void)strlcpy(error->first, message, sizeof(error->first));
}

static void
parent_on_signal(evutil_socket_t number, short what, void *arg)
{
	struct parent *parent = arg;
	char line[PARENT_ERROR_SIZE];

	(void)what;
	switch (number) {
	case SIGTERM:
	case SIGINT:
		parent_stop(parent, 0);
		break;
	case SIGHUP:
		(void)parent_reload(parent, line, sizeof(line));
		break;
	case SIGCHLD:
		parent_reap(parent);
		break;
	}
}

static void
parent_signals(struct parent *parent)
{
	static const int numbers[4] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	size_t i;

	(void)signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < 4; i++) {
		parent->signals[i] = evsignal_new(
		    parent->base, numbers[i], parent_on_signal, parent);
		if (parent->signals[i] == NULL ||
		    event_add(parent->signals[i], NULL) == -1)
			fatal("signals", "error=memory");
	}
}

/* Everything that can be wrong at a start, found before a child runs. */
static int
parent_set_up(struct parent *parent)
{
	struct parent_error error = { "" };
	int fds[LISTEN_KINDS][CONFIG_LISTENERS];
	size_t i;

	for (i = 0; i < LISTEN_KINDS * CONFIG_LISTENERS; i++)
		(&parent->listeners[0][0])[i] = -1;
	if (config_load(parent->path, parent->options, &parent->file,
		parent_report, &error) == -1)
		return (-1);
	if (!parent->verbose)
		log_set_level((enum log_level)parent->file.config.log_level);
	if (parent->file.config.sandbox_log && !parent->foreground) {
		parent_report(&error,
		    "sandbox log: only with -d; say enforce, or start hermesd "
		    "with -d");
		return (-1);
	}
	if (parent_log_check(parent, &parent->file, &error) == -1 ||
	    parent_users(parent) == -1 ||
	    parent_keystore(parent, &error) == -1 ||
	    parent_passphrase(parent, &error, &parent->passphrase) == -1 ||
	    parent_certificate(&parent->file, &error, &parent->certificate,
		&parent->certificate_key) == -1 ||
	    parent_listen(parent, &parent->file, &error, fds) == -1)
		return (-1);
	parent_listen_swap(parent, &parent->file, fds);
	parent_effective(parent, &parent->config);
	return (0);
}

/* Who started the node waits until its parent says how it is, or has ended. */
static void __attribute__((noreturn)) parent_await(int fd)
{
	ssize_t n;
	char condition;

	while ((n = read(fd, &condition, 1)) == -1 && errno == EINTR)
		;
	if (n != 1)
		(void)fprintf(stderr,
		    "hermesd: the node did not start; its log says why, as "
		    "does hermesd -d\n");
	else if (condition == CONDITION_LOCKED)
		(void)fprintf(
		    stderr, "hermesd: the node is locked: hermesctl unlock\n");
	_exit(n == 1 ? 0 : 1);
}

/* Go to the background; this returns in the process that is there. */
static void
parent_background(struct parent *parent)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		fatal("daemon", "error=\"%s\"", strerror(errno));
	if (pid > 0) {
		(void)close(fds[1]);
		parent_await(fds[0]);
	}
	(void)close(fds[0]);
	parent->starter = fds[1];
	if (daemon(0, 0) == -1)
		fatal("daemon", "error=\"%s\"", strerror(errno));
}

void
parent_started(struct parent *parent, enum ipc_condition condition)
{
	char byte = (char)condition;

	if (parent->starter == -1)
		return;
	/* Whoever it was may have gone. */
	(void)!write(parent->starter, &byte, 1);
	(void)close(parent->starter);
	parent->starter = -1;
}

int
parent_run(const char *path, const struct config_options *options,
    const char *program, int foreground, int verbose)
{
	struct parent *parent = parent_get();
	static char full[PATH_MAX];

	/* The daemon moves to /, and reads the file again from there. */
	parent->path = realpath(path, full) != NULL ? full : path;
	parent->options = options;
	parent->program = program;
	parent->verbose = verbose;
	parent->root = geteuid() == 0;
	/* Until set-up is done, errors go to who started us. */
	parent->foreground = foreground;
	log_init("parent", verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, 1);
	if (privileges_harden() == -1)
		fatal("privileges", "error=\"%s\"", strerror(errno));
	privileges_limits();
	if (parent_set_up(parent) == -1)
		return (1);
	if (!foreground) {
		parent_background(parent);
		log_init("parent", log_get_level(), 0);
	}
	parent_log(parent);
	if ((parent->base = event_base_new()) == NULL)
		fatal("event_base", "error=memory");
	metric_set(METRIC_BUILD_INFO, 1);
	parent_signals(parent);
	parent_watch_init(parent);
	if (parent->config.sandbox_log)
		log_warn("sandbox_log",
		    "reason=\"system calls are logged by the kernel and not "
		    "refused\"");
	sandbox_prepare(program);
	sandbox_parent(&parent->config);
	parent_start(parent);
	(void)event_base_dispatch(parent->base);
	log_error("event_base", "error=\"the loop ended\"");
	parent_end(parent, 1);
}
