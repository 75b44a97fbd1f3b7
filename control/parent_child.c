/*
 * Parent of hermesd, root. Children: forked and executed anew under their own
 * users, connected with each other, told what they need, and started again
 * when they die; without keyd there is no node.
 */

#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/proc/privileges.h"
#include "common/proc/proc.h"
#include "common/proc/sandbox.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "control/parent.h"

#define BACKOFF_MOST 30 /* s */
#define LONG_LIFE    PARENT_DEATH_WINDOW

extern char **environ;

int
parent_users(struct parent *parent)
{
	struct passwd *pw;
	struct child *child;
	size_t i;

	for (i = 0; i < PARENT_CHILDREN; i++) {
		child = &parent->children[i];
		child->uid = geteuid();
		child->gid = getegid();
		if (!parent->root)
			continue;
		if ((pw = getpwnam(child->user)) == NULL) {
			log_error("user_missing",
			    "user=%s error=\"started as "
			    "root, hermesd runs each process under a user of "
			    "its own: make them with systemd-sysusers or "
			    "etc/deps.sh\"",
			    child->user);
			return (-1);
		}
		if (pw->pw_uid == 0) {
			log_error("user_is_root",
			    "user=%s error=\"give it a uid of its own, not 0\"",
			    child->user);
			return (-1);
		}
		child->uid = pw->pw_uid;
		child->gid = pw->pw_gid;
	}
	if (!parent->root)
		log_warn("privileges_unchanged",
		    "uid=%u reason=\"not started "
		    "as root, so all processes run as this user\"",
		    (unsigned int)geteuid());
	return (0);
}

/* --- in the child, between fork and exec --------------------------------- */

/* Keep of the environment what libc and sanitizers look at, not more. */
static char **
child_environment(void)
{
	static const char *const kept[] = { "TZ=", "ASAN_OPTIONS=",
		"UBSAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS=",
		"GCOV_PREFIX=", "LLVM_PROFILE_FILE=" };
	static char *out[8];
	size_t i, j, n = 0, length;

	for (i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		length = strlen(kept[i]);
		for (j = 0; environ[j] != NULL; j++)
			if (strncmp(environ[j], kept[i], length) == 0) {
				out[n++] = environ[j];
				break;
			}
	}
	out[n] = NULL;
	return (out);
}

/* 0, 1, 2 and the door at 3 are what the child keeps. */
static int
child_descriptors(const struct parent *parent, int door)
{
	int null;

	if ((null = open("/dev/null", O_RDWR)) == -1)
		return (-1);
	if (dup2(null, STDIN_FILENO) == -1 || dup2(null, STDOUT_FILENO) == -1 ||
	    (!parent->foreground && dup2(null, STDERR_FILENO) == -1))
		return (-1);
	if (door == PROC_PARENT_FD) {
		if (fcntl(door, F_SETFD, 0) == -1)
			return (-1);
	} else if (dup2(door, PROC_PARENT_FD) == -1)
		return (-1);
	return (0);
}

static void __attribute__((noreturn)) child_become(const struct parent *parent,
    const struct child *child, int door, const sigset_t *mask)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE };
	const char *what = "folder";
	char *argv[6];
	size_t i, n = 0;

	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	if (sandbox_place() == -1 ||
	    (parent->root &&
		privileges_drop(child->uid, child->gid, &what) == -1)) {
		log_error("privileges", "process=%s step=\"%s\" error=\"%s\"",
		    process_name(child->process), what, strerror(errno));
		_exit(1);
	}
	argv[n++] = (char *)(uintptr_t) "hermesd";
	argv[n++] = (char *)(uintptr_t) "-P";
	argv[n++] = (char *)(uintptr_t)process_name(child->process);
	if (parent->foreground)
		argv[n++] = (char *)(uintptr_t) "-d";
	if (parent->verbose)
		argv[n++] = (char *)(uintptr_t) "-v";
	argv[n] = NULL;
	if (child_descriptors(parent, door) == 0)
		sandbox_exec(parent->program, argv, child_environment());
	log_error("exec", "process=%s error=\"%s\"",
	    process_name(child->process), strerror(errno));
	_exit(1);
}

/* --- in the parent ------------------------------------------------------- */

static void
child_on_closed(void *arg, const char *reason)
{
	struct child *child = arg;

	child->ipc = NULL;
	/* A process without a door to the parent is of no use. */
	if (reason != ipc_reason_closed || !child->shut)
		parent_kill(child);
}

/* SIGKILL as the child's own user, for a root that may not kill others. */
static int
child_kill_as_itself(const struct child *child)
{
	int result, saved;

	if (seteuid(child->uid) == -1)
		return (-1);
	result = kill(child->pid, SIGKILL);
	saved = errno;
	if (seteuid(0) == -1)
		fatal("seteuid", "error=\"%s\"", strerror(errno));
	errno = saved;
	return (result);
}

void
parent_kill(struct child *child)
{
	if (child->pid <= 0 || kill(child->pid, SIGKILL) == 0)
		return;
	if (errno == EPERM && parent_get()->root &&
	    child_kill_as_itself(child) == 0)
		return;
	log_error("kill", "process=%s error=\"%s\"",
	    process_name(child->process), strerror(errno));
}

/* The process metrics of a child have fixed names. */
static void
child_metrics(const struct child *child)
{
	uint64_t up = child->pid > 0;

	switch (child->process) {
	case PROCESS_ROUTER:
		metric_set(METRIC_PROCESS_UP_ROUTER, up);
		metric_set(METRIC_PROCESS_RESTARTS_ROUTER, child->restarts);
		break;
	case PROCESS_KEYD:
		metric_set(METRIC_PROCESS_UP_KEYD, up);
		break;
	case PROCESS_MESH:
		metric_set(METRIC_PROCESS_UP_MESH, up);
		metric_set(METRIC_PROCESS_RESTARTS_MESH, child->restarts);
		break;
	case PROCESS_CONTROL:
		metric_set(METRIC_PROCESS_UP_CONTROL, up);
		metric_set(METRIC_PROCESS_RESTARTS_CONTROL, child->restarts);
		break;
	case PROCESS_PARENT:
		break;
	}
}

void
parent_state(struct parent *parent, const struct child *child)
{
	struct ipc *ipc;
	struct ipc_process_state state;

	child_metrics(child);
	if ((ipc = parent->children[CHILD_CONTROL].ipc) == NULL)
		return;
	memset(&state, 0, sizeof(state));
	state.process = (uint16_t)child->process;
	state.condition = (uint16_t)child->condition;
	state.pid = (uint32_t)child->pid;
	state.restarts = child->restarts;
	state.since = child->since;
	ipc_send(ipc, IPC_PROCESS_STATE, &state, NULL, 0);
}

static void
child_start(struct parent *parent, struct child *child)
{
	const struct ipc_callbacks callbacks = { .handlers = parent_handlers,
		.closed = child_on_closed };
	sigset_t all, mask;
	int fds[2];

	if (ipc_pair(fds) == -1)
		fatal("start", "error=\"%s\"", strerror(errno));
	/* No signal may find the parent's handlers in the child. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &mask);
	child->pid = fork();
	if (child->pid == 0)
		child_become(parent, child, fds[1], &mask);
	(void)sigprocmask(SIG_SETMASK, &mask, NULL);
	if (child->pid == -1) {
		child->pid = 0;
		log_error("fork", "process=%s error=\"%s\"",
		    process_name(child->process), strerror(errno));
		parent_end(parent, 1);
	}
	(void)close(fds[1]);
	child->ipc = ipc_new(parent->base, fds[0], PROCESS_PARENT,
	    child->process, &callbacks, child);
	if (child->ipc == NULL) {
		log_error("start", "process=%s error=\"%s\"",
		    process_name(child->process), strerror(errno));
		parent_end(parent, 1);
	}
	child->ready = child->shut = child->late = 0;
	parent_watch_reset(parent, child);
	child->since = clock_wall();
	child->started = clock_monotonic();
	log_debug("process_started", "process=%s pid=%d",
	    process_name(child->process), (int)child->pid);
}

/* A door between two children that run. */
static void
parent_connect(struct parent *parent, struct child *a, struct child *b)
{
	struct ipc_door door;
	int fds[2];

	if (a->ipc == NULL || b->ipc == NULL)
		return;
	if (ipc_pair(fds) == -1) {
		log_error("door", "error=\"%s\"", strerror(errno));
		parent_end(parent, 1);
	}
	door.peer = (uint64_t)b->process;
	ipc_send_fd(a->ipc, IPC_DOOR, &door, fds[0]);
	door.peer = (uint64_t)a->process;
	ipc_send_fd(b->ipc, IPC_DOOR, &door, fds[1]);
}

void
parent_send_config(struct parent *parent, struct child *child)
{
	if (child->ipc == NULL)
		return;
	ipc_send(child->ipc, IPC_CONFIG, &parent->config, NULL, 0);
	parent_send_log(parent, child);
}

static enum process
parent_listener_owner(size_t kind)
{
	return (kind == LISTEN_APP    ? PROCESS_ROUTER
		: kind == LISTEN_MESH ? PROCESS_MESH
				      : PROCESS_CONTROL);
}

static int
parent_dup(struct parent *parent, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy == -1) {
		log_error("dup", "error=\"%s\"", strerror(errno));
		parent_end(parent, 1);
	}
	return (copy);
}

void
parent_send_listeners(struct parent *parent, struct child *child)
{
	struct ipc_listener listener;
	size_t kind, i;

	if (child->ipc == NULL)
		return;
	for (kind = 0; kind < LISTEN_KINDS; kind++) {
		if (parent_listener_owner(kind) != child->process)
			continue;
		for (i = 0; i < CONFIG_LISTENERS; i++) {
			if (parent->listeners[kind][i] == -1)
				continue;
			listener.kind = (uint32_t)kind;
			listener.index = (uint32_t)i;
			ipc_send_fd(child->ipc, IPC_LISTENER, &listener,
			    parent_dup(parent, parent->listeners[kind][i]));
		}
	}
}

void
parent_send_certificate(struct parent *parent, struct child *child)
{
	struct ipc_empty empty = { 0 };

	if (child->ipc == NULL)
		return;
	if (child->process == PROCESS_ROUTER && parent->certificate != -1) {
		/* All copies share one offset. */
		(void)lseek(parent->certificate, 0, SEEK_SET);
		ipc_send_fd(child->ipc, IPC_TLS_FILE, &empty,
		    parent_dup(parent, parent->certificate));
	}
	if (child->process == PROCESS_KEYD && parent->certificate_key != -1) {
		ipc_send_fd(
		    child->ipc, IPC_TLS_FILE, &empty, parent->certificate_key);
		parent->certificate_key = -1;
	}
}

/* A file that is not there changes nothing: addresses can be dialled. */
void
parent_send_names(struct child *child)
{
	static const char *const paths[] = {
		[NAMES_RESOLVER] = "/etc/resolv.conf",
		[NAMES_HOSTS] = "/etc/hosts",
	};
	struct ipc_request request = { 0, 0 };
	int fd;

	if (child->ipc == NULL || child->process != PROCESS_MESH)
		return;
	for (; request.value < sizeof(paths) / sizeof(paths[0]);
	     request.value++) {
		fd = open(
		    paths[request.value], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd != -1)
			ipc_send_fd(child->ipc, IPC_NAMES_FILE, &request, fd);
	}
}

/* The last of what a child gets, then its GO. */
static void
child_go(struct parent *parent, struct child *child)
{
	struct ipc_process_state own;
	struct ipc_request request = { 0, 0 };
	struct ipc_empty empty = { 0 };
	size_t i;

	parent_send_listeners(parent, child);
	parent_send_certificate(parent, child);
	parent_send_names(child);
	if (child->process == PROCESS_KEYD && parent->passphrase != -1) {
		ipc_send_fd(
		    child->ipc, IPC_PASSPHRASE, &request, parent->passphrase);
		parent->passphrase = -1;
	}
	ipc_send(child->ipc, IPC_GO, &empty, NULL, 0);
	if (child->process != PROCESS_CONTROL) {
		parent_state(parent, child);
		return;
	}
	for (i = 0; i < PARENT_CHILDREN; i++)
		parent_state(parent, &parent->children[i]);
	memset(&own, 0, sizeof(own));
	own.process = PROCESS_PARENT;
	own.pid = (uint32_t)getpid();
	own.since = parent->since;
	ipc_send(child->ipc, IPC_PROCESS_STATE, &own, NULL, 0);
}

static void
child_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct parent *parent = parent_get();
	struct child *child = arg;
	size_t i;

	(void)fd;
	(void)what;
	child->restarts++;
	child_start(parent, child);
	parent_send_config(parent, child);
	for (i = 0; i < PARENT_CHILDREN; i++)
		if (&parent->children[i] != child)
			parent_connect(parent, child, &parent->children[i]);
	child_go(parent, child);
}

void
parent_start(struct parent *parent)
{
	struct child *child;
	size_t i, j;

	metric_set(METRIC_PROCESS_UP_PARENT, 1);
	parent->since = clock_wall();
	for (i = 0; i < PARENT_CHILDREN; i++) {
		child = &parent->children[i];
		child->timer =
		    event_new(parent->base, -1, 0, child_on_timer, child);
		if (child->timer == NULL)
			fatal("start", "error=memory");
		child_start(parent, child);
		parent_send_config(parent, child);
	}
	for (i = 0; i < PARENT_CHILDREN; i++)
		for (j = 0; j < i; j++)
			parent_connect(
			    parent, &parent->children[i], &parent->children[j]);
	for (i = 0; i < PARENT_CHILDREN; i++)
		child_go(parent, &parent->children[i]);
}

/* Note a death; 1 when there were too many. */
static int
child_dies_often(struct child *child, int64_t now)
{
	unsigned int at = child->death_count++ % PARENT_DEATHS;
	int64_t oldest;

	child->deaths[at] = now;
	if (child->death_count < PARENT_DEATHS)
		return (0);
	oldest = child->deaths[child->death_count % PARENT_DEATHS];
	return (now - oldest < PARENT_DEATH_WINDOW);
}

/* Start the child again, later each time that it did not live long. */
static void
child_restart(struct child *child, int64_t now)
{
	struct timeval wait = { 1, 0 };

	if (now - child->started > LONG_LIFE)
		child->backoff = 0;
	wait.tv_sec = child->backoff < 5 ? 1L << child->backoff : BACKOFF_MOST;
	child->backoff++;
	log_info("process_restart", "process=%s seconds=%ld",
	    process_name(child->process), (long)wait.tv_sec);
	if (event_add(child->timer, &wait) == -1)
		fatal("restart", "error=event_add");
}

static void
child_died(struct parent *parent, struct child *child, int status)
{
	int64_t now = clock_monotonic();
	int clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	char text[32];

	(void)snprintf(text, sizeof(text),
	    WIFSIGNALED(status) ? "signal=%d" : "status=%d",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (!parent->stopping || !clean)
		log_warn("process_died", "process=%s pid=%d %s%s",
		    process_name(child->process), (int)child->pid, text,
		    WIFSIGNALED(status) ? sandbox_death(WTERMSIG(status)) : "");
	ipc_free(child->ipc);
	child->ipc = NULL;
	child->pid = 0;
	child->ready = 0;
	parent_watch_reset(parent, child);
	child->since = clock_wall();
	parent_state(parent, child);
	if (parent->stopping) {
		parent_stopped(parent, child, clean);
		return;
	}
	if (child->process == PROCESS_KEYD || !parent->all_ready) {
		log_error("node_ends", "reason=\"%s %s\"",
		    process_name(child->process),
		    parent->all_ready ? "died" : "did not start");
		parent_end(parent, 1);
	}
	if (child_dies_often(child, now)) {
		log_error("node_ends",
		    "reason=\"%s died %d times in a "
		    "minute\"",
		    process_name(child->process), PARENT_DEATHS);
		parent_stop(parent, 1);
		return;
	}
	child_restart(child, now);
}

void
parent_reap(struct parent *parent)
{
	pid_t pid;
	size_t i;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (i = 0; i < PARENT_CHILDREN; i++)
			if (parent->children[i].pid == pid) {
				child_died(
				    parent, &parent->children[i], status);
				break;
			}
}
