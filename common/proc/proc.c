/*
 * Any child of hermesd, under its own user and without privileges: the frame
 * around router, keyd, mesh and control; see proc.h. The parent is trusted,
 * the other neighbours are not: each message was checked at its door.
 */

#include <sys/types.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
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

#define PROC_DRAIN CLOCK_SECOND /* to hand over the last messages */

/* What a child knows of one neighbour. The door comes first: callbacks get
 * its address and find the neighbour by it. */
struct neighbour {
	struct proc_door door;
	int up;
	int down_due; /* door_down comes this turn */
};

static struct {
	enum process self;
	const struct proc_hooks *hooks;
	struct event_base *base;
	struct event *down;              /* runs due door_downs */
	ipc_handler own[IPC_TYPE_COUNT]; /* neighbours' */
	ipc_handler parents[IPC_TYPE_COUNT];
	struct neighbour neighbours[5];
	struct config config;
	int configured;
	int gone;           /* GO was given */
	uint64_t traffic;   /* at the doors that messages go through */
	int64_t poll_until; /* monotonic ns; see proc_turn() */
	int done;
	int foreground;
	int verbose;
} proc = { .foreground = 1 };

static const enum process processes[5] = { PROCESS_PARENT, PROCESS_ROUTER,
	PROCESS_KEYD, PROCESS_MESH, PROCESS_CONTROL };

static struct neighbour *
proc_neighbour(enum process peer)
{
	size_t i;

	for (i = 0; i < 5; i++)
		if (processes[i] == peer)
			return (&proc.neighbours[i]);
	return (NULL);
}

struct event_base *
proc_base(void)
{
	return (proc.base);
}

const struct config *
proc_config(void)
{
	return (&proc.config);
}

struct ipc *
proc_ipc(enum process peer)
{
	struct neighbour *neighbour = proc_neighbour(peer);

	return (
	    neighbour != NULL && neighbour->up ? neighbour->door.ipc : NULL);
}

void
proc_set_log(int foreground, int verbose)
{
	proc.foreground = foreground;
	proc.verbose = verbose;
}

enum log_target
proc_log_target(const struct config *config, int foreground)
{
	switch (config->log_to) {
	case CONFIG_LOG_STDERR:
		return (LOG_TO_STDERR);
	case CONFIG_LOG_SYSLOG:
		return (LOG_TO_SYSLOG);
	case CONFIG_LOG_JOURNAL:
		return (LOG_TO_JOURNAL);
	default:
		return (foreground ? LOG_TO_STDERR : LOG_TO_SYSLOG);
	}
}

void
proc_apply_log(const struct config *config, int foreground)
{
	log_set_level((enum log_level)config->log_level);
	log_set_format((enum log_format)config->log_format);
	log_set_limit(config->log_limit);
	log_set_target(proc_log_target(config, foreground), -1);
}

/* The end, whatever else is going on. */
static void __attribute__((noreturn)) proc_exit(int status)
{
	if (proc.hooks->wipe != NULL)
		proc.hooks->wipe();
	_exit(status);
}

/* A neighbour is gone; its door is still there but of no use. */
static void
proc_lost(struct neighbour *neighbour)
{
	enum process peer = neighbour->door.peer;

	neighbour->up = 0;
	neighbour->down_due = 0;
	if (peer == PROCESS_PARENT ||
	    (peer == PROCESS_KEYD && proc.self != PROCESS_CONTROL)) {
		log_info("neighbour_gone", "peer=%s", process_name(peer));
		proc_exit(1);
	}
	if (proc.hooks->door_down != NULL)
		proc.hooks->door_down(peer);
}

static void
proc_tell_broken(enum process peer)
{
	struct ipc_door door = { .peer = (uint64_t)peer };
	struct ipc *parent = proc_ipc(PROCESS_PARENT);

	if (parent == NULL || peer == PROCESS_PARENT)
		return;
	ipc_send(parent, IPC_BROKEN, &door, NULL, 0);
	ipc_flush(parent);
}

void
proc_broken(enum process peer, const char *why)
{
	struct neighbour *neighbour = proc_neighbour(peer);

	if (neighbour == NULL || !neighbour->up)
		return;
	log_error("neighbour_broken", "peer=%s reason=\"%s\"",
	    process_name(peer), why);
	proc_tell_broken(peer);
	if (peer == PROCESS_PARENT)
		proc_exit(1);
	neighbour->up = 0;
	neighbour->down_due = 1;
	ipc_pause(neighbour->door.ipc, 1);
	event_active(proc.down, EV_TIMEOUT, 0);
}

static void
proc_on_down(evutil_socket_t fd, short what, void *arg)
{
	struct ipc *ipc;
	size_t i;

	(void)fd;
	(void)what;
	(void)arg;
	for (i = 0; i < 5; i++) {
		if (!proc.neighbours[i].down_due)
			continue;
		proc_lost(&proc.neighbours[i]);
		ipc = proc.neighbours[i].door.ipc;
		proc.neighbours[i].door.ipc = NULL;
		ipc_free(ipc);
	}
}

/* --- callbacks of a door ------------------------------------------------- */

static void
proc_on_batch(void *arg)
{
	struct neighbour *neighbour = arg;

	if (neighbour->up && proc.hooks->batch != NULL)
		proc.hooks->batch(neighbour->door.peer);
}

static void
proc_on_uncongested(void *arg)
{
	struct neighbour *neighbour = arg;

	if (neighbour->up && proc.hooks->uncongested != NULL)
		proc.hooks->uncongested(neighbour->door.peer);
}

static void
proc_on_closed(void *arg, const char *reason)
{
	struct neighbour *neighbour = arg;

	if (reason != ipc_reason_closed && neighbour->up)
		proc_tell_broken(neighbour->door.peer);
	proc_lost(neighbour);
	neighbour->door.ipc = NULL;
}

static void
proc_open(enum process peer, int fd)
{
	struct neighbour *neighbour = proc_neighbour(peer);
	struct ipc_callbacks callbacks;

	callbacks.handlers = peer == PROCESS_PARENT ? proc.parents : proc.own;
	callbacks.batch = proc_on_batch;
	callbacks.uncongested = proc_on_uncongested;
	callbacks.closed = proc_on_closed;
	neighbour->door.peer = peer;
	neighbour->door.ipc =
	    ipc_new(proc.base, fd, proc.self, peer, &callbacks, neighbour);
	if (neighbour->door.ipc == NULL)
		fatal("door", "peer=%s error=\"%s\"", process_name(peer),
		    strerror(errno));
	neighbour->up = 1;
}

/* --- turns of the event loop --------------------------------------------- */

/* Bytes at the doors that messages go through. */
static uint64_t
proc_traffic(void)
{
	uint64_t traffic = 0;
	size_t i;

	for (i = 0; i < 5; i++)
		if (proc.neighbours[i].up &&
		    (processes[i] &
			(PROCESS_ROUTER | PROCESS_KEYD | PROCESS_MESH)) != 0)
			traffic += ipc_traffic(proc.neighbours[i].door.ipc);
	return (traffic);
}

/*
 * Wait and handle what comes; with "busy poll" do not sleep for so long after
 * each message, so that a core is awake when the next one comes. All others
 * who want the core go first.
 */
static int
proc_turn(void)
{
	int64_t now = clock_monotonic();
	uint64_t traffic;
	int polls;

	if (proc.config.busy_poll == 0 || proc.self == PROCESS_CONTROL)
		return (event_base_dispatch(proc.base));
	if ((traffic = proc_traffic()) != proc.traffic) {
		proc.traffic = traffic;
		proc.poll_until = now + proc.config.busy_poll;
	}
	polls = now < proc.poll_until;
	if (polls)
		(void)sched_yield();
	return (
	    event_base_loop(proc.base, polls ? EVLOOP_NONBLOCK : EVLOOP_ONCE));
}

/* --- what the parent says ------------------------------------------------ */

static void
proc_on_door(void *arg, const struct ipc_message *message)
{
	const struct ipc_door *door = message->payload;
	enum process peer = (enum process)door->peer;
	struct neighbour *neighbour = proc_neighbour(peer);
	struct ipc *old;

	(void)arg;
	if (neighbour == NULL || peer == proc.self || peer == PROCESS_PARENT ||
	    !proc.configured)
		fatal("door", "error=\"the parent broke the order\"");
	if ((old = neighbour->door.ipc) != NULL) {
		/* A new one is here before the end of the old one. */
		neighbour->door.ipc = NULL;
		proc_lost(neighbour);
		ipc_free(old);
	}
	proc_open(peer, message->fd);
	if (proc.hooks->door_up != NULL)
		proc.hooks->door_up(peer, neighbour->door.ipc);
}

static void
proc_on_config(void *arg, const struct ipc_message *message)
{
	int reload = proc.configured;

	(void)arg;
	memcpy(&proc.config, message->payload, sizeof(proc.config));
	if (!reload) {
		if (proc.hooks->prepare != NULL)
			proc.hooks->prepare();
		sandbox_enter(proc.self, &proc.config, proc.foreground);
	}
	sandbox_paths(&proc.config);
	proc.configured = 1;
	/* Turns may be other ones now. */
	(void)event_base_loopbreak(proc.base);
	proc_apply_log(&proc.config, proc.foreground);
	if (proc.hooks->configured != NULL)
		proc.hooks->configured(&proc.config, reload);
}

static void
proc_on_log_socket(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;

	(void)arg;
	if (!proc.configured || request->value > LOG_TO_JOURNAL)
		fatal("log", "error=\"the parent broke the order\"");
	log_set_target((enum log_target)request->value, message->fd);
}

static void
proc_on_listener(void *arg, const struct ipc_message *message)
{
	const struct ipc_listener *listener = message->payload;

	(void)arg;
	if (!proc.configured || listener->kind >= LISTEN_KINDS ||
	    listener->index >= CONFIG_LISTENERS)
		fatal("listener", "error=\"the parent broke the order\"");
	if (proc.hooks->listener != NULL)
		proc.hooks->listener((enum listener_kind)listener->kind,
		    listener->index, message->fd);
	else
		(void)close(message->fd);
}

static void
proc_on_listeners_close(void *arg, const struct ipc_message *message)
{
	(void)arg;
	(void)message;
	if (proc.hooks->listeners_close != NULL)
		proc.hooks->listeners_close();
}

static void
proc_on_tls_file(void *arg, const struct ipc_message *message)
{
	(void)arg;
	if (proc.hooks->tls_file != NULL)
		proc.hooks->tls_file(message->fd);
	else
		(void)close(message->fd);
}

static void
proc_on_go(void *arg, const struct ipc_message *message)
{
	struct proc_door *door = arg;
	struct ipc_empty empty = { 0 };

	(void)message;
	if (!proc.configured || proc.gone)
		fatal("go", "error=\"the parent broke the order\"");
	proc.gone = 1;
	if (proc.hooks->go != NULL)
		proc.hooks->go();
	ipc_send(door->ipc, IPC_READY, &empty, NULL, 0);
}

/* A process that hangs does not come by here: its silence is the answer. */
static void
proc_on_ping(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *ping = message->payload;
	struct ipc_request pong = { .id = ping->id, .value = CONDITION_SERVES };
	struct proc_door *door = arg;

	if (proc.hooks->condition != NULL)
		pong.value = (uint64_t)proc.hooks->condition();
	ipc_send(door->ipc, IPC_PONG, &pong, NULL, 0);
}

static void
proc_on_shutdown(void *arg, const struct ipc_message *message)
{
	const struct ipc_shutdown *order = message->payload;

	(void)arg;
	if (proc.hooks->shutdown != NULL)
		proc.hooks->shutdown(order->grace);
	else
		proc_done();
}

void
proc_done(void)
{
	struct ipc_empty empty = { 0 };
	struct ipc *parent = proc_ipc(PROCESS_PARENT);

	if (proc.done)
		return;
	proc.done = 1;
	if (parent != NULL)
		ipc_send(parent, IPC_SHUT, &empty, NULL, 0);
	(void)event_base_loopbreak(proc.base);
}

/* --- from start to end --------------------------------------------------- */

static void
proc_prepare(void)
{
	static const ipc_handler frame[IPC_TYPE_COUNT] = { [IPC_DOOR] =
							       proc_on_door,
		[IPC_CONFIG] = proc_on_config,
		[IPC_LOG_SOCKET] = proc_on_log_socket,
		[IPC_LISTENER] = proc_on_listener,
		[IPC_LISTENERS_CLOSE] = proc_on_listeners_close,
		[IPC_TLS_FILE] = proc_on_tls_file,
		[IPC_GO] = proc_on_go,
		[IPC_PING] = proc_on_ping,
		[IPC_SHUTDOWN] = proc_on_shutdown };
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE,
		SIGUSR1, SIGUSR2 };
	size_t i;

	if (privileges_harden() == -1)
		fatal("privileges", "error=\"%s\"", strerror(errno));
	if (privileges_held())
		fatal("privileges", "error=\"a child must have none\"");
	/* The parent decides when a child ends. */
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	for (i = 0; i < IPC_TYPE_COUNT; i++) {
		if (proc.hooks->handlers != NULL)
			proc.own[i] = proc.hooks->handlers[i];
		proc.parents[i] = frame[i] != NULL ? frame[i] : proc.own[i];
	}
}

/* Hand over what is queued at all doors, for a moment. */
static void
proc_drain(void)
{
	int64_t end = clock_monotonic() + PROC_DRAIN;
	size_t i, queued;

	do {
		queued = 0;
		for (i = 0; i < 5; i++) {
			if (!proc.neighbours[i].up)
				continue;
			ipc_flush(proc.neighbours[i].door.ipc);
			queued += ipc_queued(proc.neighbours[i].door.ipc);
		}
		if (queued > 0)
			(void)poll(NULL, 0, 1);
	} while (queued > 0 && clock_monotonic() < end);
}

int
proc_run(enum process self, const struct proc_hooks *hooks)
{
	size_t i;

	proc.self = self;
	proc.hooks = hooks;
	log_init(process_name(self),
	    proc.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, proc.foreground);
	log_set_fatal_hook(hooks->wipe);
	proc_prepare();
	if ((proc.base = event_base_new()) == NULL ||
	    (proc.down = event_new(proc.base, -1, 0, proc_on_down, NULL)) ==
		NULL)
		fatal("event_base", "error=memory");
	proc_open(PROCESS_PARENT, PROC_PARENT_FD);
	while (!proc.done)
		if (proc_turn() == -1)
			fatal("event_base", "error=\"%s\"", strerror(errno));
	proc_drain();
	if (hooks->wipe != NULL)
		hooks->wipe();
	log_set_fatal_hook(NULL);
	for (i = 0; i < 5; i++)
		ipc_free(proc.neighbours[i].door.ipc);
	event_free(proc.down);
	event_base_free(proc.base);
	proc.base = NULL;
	return (0);
}
