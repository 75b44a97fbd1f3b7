/*
 * Parent of hermesd. The end of the node: in order, each child given its
 * time, or all at once.
 */

#include <sys/wait.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "control/parent.h"

/* Router first: no new work, apps told. Then the mesh is left, then keyd
 * closes its store; control answers operators to the end. */
static const size_t order[PARENT_CHILDREN] = { CHILD_ROUTER, CHILD_MESH,
	CHILD_KEYD, CHILD_CONTROL };

void
parent_end(struct parent *parent, int status)
{
	size_t i;

	parent_notify(parent, "STOPPING=1");
	for (i = 0; i < PARENT_CHILDREN; i++)
		parent_kill(&parent->children[i]);
	for (i = 0; i < PARENT_CHILDREN; i++)
		if (parent->children[i].pid > 0)
			while (
			    waitpid(parent->children[i].pid, NULL, 0) == -1 &&
			    errno == EINTR)
				;
	parent_unlisten(parent);
	log_info("stopped", "status=%d", status);
	exit(status);
}

static void parent_stop_next(struct parent *);

static void
parent_on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	struct parent *parent = arg;
	struct child *child;

	(void)fd;
	(void)what;
	child = &parent->children[order[parent->stop_at]];
	log_warn("shutdown_late", "process=%s", process_name(child->process));
	if (child->process == PROCESS_KEYD)
		parent->status = 1;
	child->late = 1;
	parent_kill(child); /* its death goes on from here */
}

/* Stop the next child in the order, or end when there is none. */
static void
parent_stop_next(struct parent *parent)
{
	struct ipc_shutdown shutdown;
	struct timeval wait;
	struct child *child;
	int64_t grace = parent->config.drain_grace;

	while (parent->stop_at < PARENT_CHILDREN &&
	       parent->children[order[parent->stop_at]].pid == 0)
		parent->stop_at++;
	if (parent->stop_at == PARENT_CHILDREN)
		parent_end(parent, parent->status);
	child = &parent->children[order[parent->stop_at]];
	if (child->ipc == NULL) {
		parent_kill(child);
		return;
	}
	/* Less than is waited for, so that a late child still answers. */
	shutdown.grace = grace - grace / 10;
	ipc_send(child->ipc, IPC_SHUTDOWN, &shutdown, NULL, 0);
	wait.tv_sec = grace / CLOCK_SECOND;
	wait.tv_usec = grace % CLOCK_SECOND / 1000;
	if (event_add(parent->stop_timer, &wait) == -1)
		parent_end(parent, 1);
}

void
parent_stop(struct parent *parent, int status)
{
	size_t i;

	if (parent->stopping)
		return;
	parent->stopping = 1;
	parent->status = status;
	metric_set(METRIC_DRAINING, 1);
	parent_notify(parent, "STOPPING=1");
	log_info("stopping", "status=%d", status);
	for (i = 0; i < PARENT_CHILDREN; i++)
		(void)event_del(parent->children[i].timer);
	parent->stop_timer =
	    event_new(parent->base, -1, 0, parent_on_stop_timer, parent);
	if (parent->stop_timer == NULL)
		parent_end(parent, 1);
	parent_stop_next(parent);
}

void
parent_stopped(struct parent *parent, struct child *child, int clean)
{
	int due = child == &parent->children[order[parent->stop_at]];

	if (child->process == PROCESS_KEYD && (!due || !clean)) {
		/* Nothing of the rest can go on without it. */
		log_error("node_ends", "reason=\"keyd died while stopping\"");
		parent_end(parent, 1);
	}
	if (!clean && !child->late) {
		/* The others still stop in order; who reads the status knows. */
		log_error("shutdown_unclean", "process=%s",
		    process_name(child->process));
		if (parent->status == 0)
			parent->status = PARENT_UNCLEAN;
	}
	if (!due)
		return; /* parent_stop_next() passes over it */
	(void)event_del(parent->stop_timer);
	parent_stop_next(parent);
}
