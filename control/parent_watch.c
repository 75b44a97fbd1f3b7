/*
 * Parent of hermesd. Do the children answer, how is the node, and what the
 * service manager hears of it. A child that hangs is not killed here, as
 * nothing is known of what it does: the service manager is fed no more and
 * starts the whole node again.
 */

#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "control/parent.h"

#define WATCH_EVERY (2 * CLOCK_SECOND) /* at most, between two questions */
#define WATCH_PARTS 4                  /* questions in a watchdog's time */
#define WATCH_TEXT  (PARENT_ERROR_SIZE + 256)

/* What the service manager heard last. */
static char told[WATCH_TEXT];

/* --- to the service manager ---------------------------------------------- */

/* One datagram to NOTIFY_SOCKET, as sd_notify(3) says. */
static void
notify_send(const char *text)
{
	struct sockaddr_un address;
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@'))
		return;
	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	length = strlcpy(address.sun_path, path, sizeof(address.sun_path));
	if (length >= sizeof(address.sun_path))
		return;
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) == -1)
		return;
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL,
		(struct sockaddr *)&address,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) ==
	    -1)
		log_warn("notify", "error=\"%s\"", strerror(errno));
	(void)close(fd);
}

/* What is wrong with a child, or NULL. */
static const char *
child_trouble(const struct child *child)
{
	if (child->pid == 0)
		return ("died and is started again");
	if (child->silent)
		return ("does not answer");
	if (!child->ready)
		return ("starts");
	return (NULL);
}

/* How the node is, one line for an operator. */
static void
watch_status(const struct parent *parent, char *out, size_t size)
{
	static const char *const conditions[CONDITION_COUNT] = { "serves",
		"is locked: hermesctl unlock",
		"serves, but its store cannot be written" };
	const char *node = parent->config.node_id, *trouble;
	const struct child *child;
	size_t i, length = 0;

	if (parent->stopping || !parent->all_ready) {
		(void)snprintf(out, size, "%s %s", node,
		    parent->stopping ? "stops" : "starts");
		return;
	}
	for (i = 0; i < PARENT_CHILDREN; i++) {
		child = &parent->children[i];
		if ((trouble = child_trouble(child)) == NULL)
			continue;
		length +=
		    (size_t)snprintf(out + length, size - length, "%s%s %s %s",
			length == 0 ? node : "", length == 0 ? ":" : ",",
			process_name(child->process), trouble);
	}
	if (length > 0)
		return; /* WATCH_TEXT has room for all of them */
	(void)snprintf(out, size, "%s %s%s%s", node,
	    conditions[parent->children[CHILD_KEYD].condition],
	    parent->refused[0] != '\0' ? "; configuration refused: " : "",
	    parent->refused);
}

void
parent_notify(struct parent *parent, const char *state)
{
	char status[WATCH_TEXT], text[WATCH_TEXT + 128];
	char *c;

	watch_status(parent, status, sizeof(status));
	for (c = status; *c != '\0'; c++)
		if ((unsigned char)*c < ' ')
			*c = ' '; /* a line is one assignment */
	if (state[0] == '\0' && strcmp(status, told) == 0)
		return;
	(void)strlcpy(told, status, sizeof(told));
	(void)snprintf(text, sizeof(text), "%s%sSTATUS=%s", state,
	    state[0] != '\0' ? "\n" : "", status);
	notify_send(text);
}

/* --- asking -------------------------------------------------------------- */

static void
child_ask(struct child *child)
{
	struct ipc_request ping = { .id = ++child->pinged };

	ipc_send(child->ipc, IPC_PING, &ping, NULL, 0);
}

/* 1 when child answered what it was asked last. */
static int
child_answers(struct child *child)
{
	if (child->ipc == NULL || !child->ready)
		return (0);
	if (child->answered == child->pinged)
		return (1);
	if (!child->silent)
		log_error("process_silent", "process=%s pid=%d",
		    process_name(child->process), (int)child->pid);
	child->silent = 1;
	return (0);
}

/* Who has not answered is not asked again: one question is enough, and its
 * door does not fill. */
static void
watch_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct parent *parent = arg;
	struct child *child;
	int all = 1;
	size_t i;

	(void)fd;
	(void)what;
	if (parent->stopping)
		return;
	for (i = 0; i < PARENT_CHILDREN; i++) {
		child = &parent->children[i];
		if (child_answers(child))
			child_ask(child);
		else
			all = 0;
	}
	if (all && parent->watchdog)
		notify_send("WATCHDOG=1");
	parent_notify(parent, "");
}

void
parent_on_pong(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *pong = message->payload;
	struct child *child = arg;

	if (pong->id != child->pinged || pong->value >= CONDITION_COUNT) {
		log_error("process_broken",
		    "process=%s reason=\"an answer "
		    "to no question\"",
		    process_name(child->process));
		parent_kill(child);
		return;
	}
	child->answered = pong->id;
	if (child->condition != (enum ipc_condition)pong->value) {
		child->condition = (enum ipc_condition)pong->value;
		parent_state(parent_get(), child);
	}
	if (child->silent)
		log_info("process_answers", "process=%s pid=%d",
		    process_name(child->process), (int)child->pid);
	child->silent = 0;
	parent_notify(parent_get(), "");
	if (child->process == PROCESS_KEYD)
		parent_started(parent_get(), child->condition);
}

void
parent_watch_reset(struct parent *parent, struct child *child)
{
	child->pinged = child->answered = 0;
	child->silent = 0;
	child->condition = CONDITION_SERVES;
	if (parent->all_ready && !parent->stopping)
		parent_notify(parent, "");
}

/* WATCHDOG_USEC of sd_watchdog_enabled(3), in ns; 0: none, or not for us. */
static int64_t
watch_wanted(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid, *error;
	int64_t number;

	pid = getenv("WATCHDOG_PID");
	if (usec == NULL ||
	    (pid != NULL && strtonum(pid, 1, INT32_MAX, &error) != getpid()))
		return (0);
	number = strtonum(usec, 1, INT64_MAX / 1000, &error);
	return (error == NULL ? number * 1000 : 0);
}

void
parent_watch_init(struct parent *parent)
{
	int64_t wanted = watch_wanted();

	parent->watchdog = wanted > 0;
	parent->watch_every = WATCH_EVERY;
	if (parent->watchdog && wanted / WATCH_PARTS < WATCH_EVERY)
		parent->watch_every = wanted / WATCH_PARTS;
	parent->watch =
	    event_new(parent->base, -1, EV_PERSIST, watch_on_timer, parent);
	if (parent->watch == NULL)
		fatal("watch", "error=memory");
	parent_notify(parent, "");
}

void
parent_watch_start(struct parent *parent)
{
	struct timeval every;
	size_t i;

	every.tv_sec = parent->watch_every / CLOCK_SECOND;
	every.tv_usec = parent->watch_every % CLOCK_SECOND / 1000;
	if (event_add(parent->watch, &every) == -1)
		fatal("watch", "error=event_add");
	for (i = 0; i < PARENT_CHILDREN; i++)
		if (parent->children[i].ipc != NULL)
			child_ask(&parent->children[i]);
	parent_notify(parent, "READY=1");
}
