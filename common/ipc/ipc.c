/*
 * Any process of hermesd. The life of a door: events, calls, closing. What
 * comes in is checked in ipc_input.c, what goes out queued in ipc_output.c.
 * A neighbour may be hostile: whatever it sends, the worst is a closed door.
 */

#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc/ipc.h"
#include "common/ipc/ipc_door.h"
#include "common/util/clock.h"
#include "common/util/log.h"

const char ipc_reason_closed[] = "closed";

static void
ipc_destroy(struct ipc *ipc)
{
	if (ipc->readable != NULL)
		event_free(ipc->readable);
	if (ipc->writable != NULL)
		event_free(ipc->writable);
	if (ipc->deferred != NULL)
		event_free(ipc->deferred);
	(void)close(ipc->fd);
	ipc_fds_close(&ipc->fds_in);
	ipc_fds_close(&ipc->fds_out);
	buffer_free(&ipc->in);
	buffer_free(&ipc->out);
	free(ipc->held);
	free(ipc);
}

/* Between these two the door is not freed under our feet. */
static void
ipc_enter(struct ipc *ipc)
{
	ipc->dispatching++;
}

/* 1 when the door is still there, else 0. */
static int
ipc_leave(struct ipc *ipc)
{
	if (--ipc->dispatching > 0 || !ipc->freed)
		return (1);
	ipc_destroy(ipc);
	return (0);
}

static void
ipc_close(struct ipc *ipc)
{
	if (ipc->gone != ipc_reason_closed)
		log_error("door_broken", "self=%s peer=%s reason=\"%s\"",
		    process_name(ipc->self), process_name(ipc->peer),
		    ipc->gone);
	ipc_enter(ipc);
	if (!ipc->freed && ipc->callbacks.closed != NULL)
		ipc->callbacks.closed(ipc->arg, ipc->gone);
	ipc->freed = 1;
	(void)ipc_leave(ipc);
}

/* Hand over what is there, then close the door if it is gone. */
static void
ipc_run(struct ipc *ipc)
{
	ipc_enter(ipc);
	if (!ipc->paused && ipc->checked > 0 &&
	    (ipc->gone == NULL || ipc->gone == ipc_reason_closed)) {
		ipc_input_dispatch(ipc);
		if (!ipc->freed && ipc->callbacks.batch != NULL)
			ipc->callbacks.batch(ipc->arg);
	}
	if (!ipc_leave(ipc))
		return;
	/* Paused in the middle: the rest is still to be handled. */
	if (ipc->gone == ipc_reason_closed && ipc->checked > 0 && ipc->paused &&
	    !ipc->out_dead)
		return;
	if (ipc->gone != NULL)
		ipc_close(ipc);
}

static void
ipc_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc *ipc = arg;

	(void)fd;
	(void)what;
	if (ipc->paused || ipc->gone != NULL)
		return;
	if (ipc_input_read(ipc) != 0)
		ipc_run(ipc);
}

static void
ipc_on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ipc_output_write(arg);
}

/* The end of a turn of the event loop. */
static void
ipc_on_deferred(evutil_socket_t fd, short what, void *arg)
{
	struct ipc *ipc = arg;

	(void)fd;
	(void)what;
	if (!ipc->corked)
		ipc->released = buffer_length(&ipc->out);
	ipc_output_write(ipc);
	ipc_enter(ipc);
	if (ipc->relieved && !ipc->congested) {
		ipc->relieved = 0;
		if (ipc->callbacks.uncongested != NULL)
			ipc->callbacks.uncongested(ipc->arg);
	}
	if (!ipc_leave(ipc))
		return;
	/* A paused door does not see the end of its input. */
	if (ipc->paused && ipc->out_dead && ipc->gone == NULL)
		ipc->gone = ipc_reason_closed;
	if (ipc->gone != NULL || (!ipc->paused && ipc->checked > 0))
		ipc_run(ipc);
}

struct ipc *
ipc_new(struct event_base *base, int fd, enum process self, enum process peer,
    const struct ipc_callbacks *callbacks, void *arg)
{
	struct ipc *ipc;
	int flags;

	if ((flags = fcntl(fd, F_GETFL)) == -1 ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
		return (NULL);
	if ((ipc = calloc(1, sizeof(*ipc))) == NULL)
		return (NULL);
	ipc->fd = fd;
	ipc->self = self;
	ipc->peer = peer;
	ipc->callbacks = *callbacks;
	ipc->arg = arg;
	TAILQ_INIT(&ipc->fds_in);
	TAILQ_INIT(&ipc->fds_out);
	ipc->readable =
	    event_new(base, fd, EV_READ | EV_PERSIST, ipc_on_readable, ipc);
	ipc->writable = event_new(base, fd, EV_WRITE, ipc_on_writable, ipc);
	ipc->deferred = event_new(base, -1, 0, ipc_on_deferred, ipc);
	if (ipc->readable == NULL || ipc->writable == NULL ||
	    ipc->deferred == NULL || event_add(ipc->readable, NULL) == -1) {
		ipc->fd = -1; /* stays the caller's */
		ipc_destroy(ipc);
		errno = ENOMEM;
		return (NULL);
	}
	return (ipc);
}

void
ipc_free(struct ipc *ipc)
{
	if (ipc == NULL)
		return;
	if (ipc->dispatching == 0) {
		ipc_destroy(ipc);
		return;
	}
	ipc->freed = 1;
	ipc->out_dead = 1;
	(void)event_del(ipc->readable);
	(void)event_del(ipc->writable);
	(void)event_del(ipc->deferred);
	(void)shutdown(ipc->fd, SHUT_RDWR); /* the peer need not wait */
}

void
ipc_cork(struct ipc *ipc, int cork)
{
	ipc->corked = cork;
	if (!cork && buffer_length(&ipc->out) > 0)
		event_active(ipc->deferred, EV_TIMEOUT, 0);
}

void
ipc_flush(struct ipc *ipc)
{
	if (ipc->freed)
		return;
	ipc->released = buffer_length(&ipc->out);
	ipc_output_write(ipc);
}

void
ipc_pause(struct ipc *ipc, int pause)
{
	if (ipc->paused == pause || ipc->freed)
		return;
	ipc->paused = pause;
	if (pause) {
		(void)event_del(ipc->readable);
		if (ipc->out_dead)
			event_active(ipc->deferred, EV_TIMEOUT, 0);
		return;
	}
	if (event_add(ipc->readable, NULL) == -1)
		fatal("ipc", "error=event_add");
	if (ipc->checked > 0 || ipc->gone != NULL)
		event_active(ipc->deferred, EV_TIMEOUT, 0);
}

/* Wait for the reply until deadline (monotonic ns). 0, or -1 with errno. */
static int
ipc_call_wait(
    struct ipc *ipc, enum ipc_type reply, void *reply_payload, int64_t deadline)
{
	struct pollfd pfd = { .fd = ipc->fd };
	size_t scan = 0;
	int64_t left;

	for (;;) {
		if (ipc_input_find(ipc, &scan, reply, reply_payload))
			return (0);
		if (ipc->gone != NULL) {
			errno = EPIPE;
			return (-1);
		}
		left = deadline - clock_monotonic();
		if (left <= 0) {
			ipc->late[reply]++;
			errno = ETIMEDOUT;
			return (-1);
		}
		pfd.events = POLLIN;
		if (ipc->released > 0)
			pfd.events |= POLLOUT;
		if (poll(&pfd, 1, (int)((left + CLOCK_MS - 1) / CLOCK_MS)) <= 0)
			continue;
		if (pfd.revents & POLLOUT)
			ipc_output_write(ipc);
		if (pfd.revents & (POLLIN | POLLHUP | POLLERR))
			(void)ipc_input_read(ipc);
	}
}

int
ipc_call(struct ipc *ipc, enum ipc_type type, const void *payload,
    enum ipc_type reply, void *reply_payload, int timeout_ms)
{
	int result, saved;

	if (ipc->freed || ipc->gone != NULL) {
		errno = EPIPE;
		return (-1);
	}
	if ((unsigned int)reply >= IPC_TYPE_COUNT ||
	    ipc_rows[reply].descriptor || ipc_rows[reply].tail != 0)
		fatal("ipc_misuse", "type=%s", ipc_type_name(reply));
	ipc_input_hold(ipc);
	ipc_send(ipc, type, payload, NULL, 0);
	ipc_flush(ipc);
	result = ipc_call_wait(ipc, reply, reply_payload,
	    clock_monotonic() + timeout_ms * CLOCK_MS);
	saved = errno;
	if (ipc->checked > 0 || ipc->gone != NULL)
		event_active(ipc->deferred, EV_TIMEOUT, 0);
	errno = saved;
	return (result);
}

size_t
ipc_queued(const struct ipc *ipc)
{
	return (ipc->out_dead ? 0 : buffer_length(&ipc->out));
}

uint64_t
ipc_traffic(const struct ipc *ipc)
{
	return (ipc->written + ipc->taken);
}

int
ipc_congested(const struct ipc *ipc)
{
	return (ipc->congested);
}

int
ipc_pair(int fds[2])
{
	int size = 512 * 1024, i;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		fds) == -1)
		return (-1);
	/* More than the default fits a batch better; less works as well. */
	for (i = 0; i < 2; i++)
		(void)setsockopt(
		    fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return (0);
}
