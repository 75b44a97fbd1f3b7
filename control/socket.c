/*
 * control: hermesctl's socket; see socket.h. Descriptors that travel with a
 * line (a passphrase's) are handed on unread.
 */

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>

#include "common/util/buffer.h"
#include "common/util/log.h"
#include "control/command.h"
#include "control/control.h"
#include "control/report.h"
#include "control/socket.h"

#define SOCKET_LISTENERS CONFIG_LISTENERS
#define SOCKET_BACKLOG   16

struct client {
	TAILQ_ENTRY(client) entry;
	int fd;
	int passed[COMMAND_FDS]; /* not yet used, or -1 */
	int may_change;
	int eof;     /* it will ask no more */
	int streams; /* its command goes on until it closes */
	int broken;  /* it missed a part: better closed than waiting */
	struct event *readable;
	struct event *writable;
	struct buffer in;
	struct buffer out;
	struct command *command; /* running, or NULL */
	int busy;                /* inside client_next() */
};

static struct {
	TAILQ_HEAD(, client) clients;
	unsigned int count;
	struct evconnlistener *listeners[SOCKET_LISTENERS];
} sockets = { TAILQ_HEAD_INITIALIZER(sockets.clients), 0, { NULL } };

static const struct timeval idle = { SOCKET_IDLE, 0 };

static void
client_close_passed(struct client *client)
{
	size_t i;

	for (i = 0; i < COMMAND_FDS; i++) {
		if (client->passed[i] != -1)
			close(client->passed[i]);
		client->passed[i] = -1;
	}
}

static void
client_free(struct client *client)
{
	if (client->command != NULL)
		command_cancel(client->command);
	TAILQ_REMOVE(&sockets.clients, client, entry);
	sockets.count--;
	if (client->readable != NULL)
		event_free(client->readable);
	if (client->writable != NULL)
		event_free(client->writable);
	client_close_passed(client);
	close(client->fd);
	buffer_free(&client->in);
	buffer_free(&client->out);
	free(client);
}

/* What is missing was memory, and this takes none. */
static void
client_break(struct client *client)
{
	if (client->broken)
		return;
	client->broken = 1;
	log_warn("hermesctl_answer_lost", "reason=memory");
	event_active(client->writable, EV_WRITE, 1);
}

static void
client_wait(
    struct client *client, struct event *event, const struct timeval *bound)
{
	if (event_add(event, bound) == -1)
		client_break(client);
}

void
client_line(struct client *client, json_t *value)
{
	if (report_dump(value, JSON_COMPACT, &client->out) == -1 ||
	    buffer_append(&client->out, "\n", 1) == -1)
		client_break(client);
	else
		client_wait(client, client->writable, &idle);
}

/* Start the next whole line, if none runs. 1 when one was taken. */
static int
client_take(struct client *client)
{
	char *line = (char *)buffer_bytes(&client->in);
	char *end;
	size_t length = buffer_length(&client->in);
	int fds[COMMAND_FDS];
	size_t i;

	if (client->command != NULL || client->broken || length == 0 ||
	    (end = memchr(line, '\n', length)) == NULL)
		return (0);
	length = (size_t)(end - line);
	memcpy(fds, client->passed, sizeof(fds));
	for (i = 0; i < COMMAND_FDS; i++)
		client->passed[i] = -1;
	command_start(client, line, length, fds, client->may_change);
	buffer_consume(&client->in, length + 1);
	return (1);
}

static void
client_next(struct client *client)
{
	client->busy = 1;
	while (client_take(client))
		;
	client->busy = 0;
	if (client->streams)
		client_wait(client, client->readable, NULL);
	else if (client->command != NULL)
		(void)event_del(client->readable);
	else if (!client->eof)
		client_wait(client, client->readable, &idle);
	else
		/* The answers first; client_write() closes then. */
		client_wait(client, client->writable, &idle);
}

void
client_stream(struct client *client)
{
	client->streams = 1;
}

size_t
client_queued(const struct client *client)
{
	return (buffer_length(&client->out));
}

void
client_begin(struct client *client, struct command *command)
{
	client->command = command;
}

void
client_done(struct client *client)
{
	client->command = NULL;
	if (!client->busy)
		client_next(client);
}

static void
client_write(evutil_socket_t fd, short events, void *arg)
{
	struct client *client = arg;
	ssize_t n;

	if ((events & EV_TIMEOUT) || client->broken) {
		client_free(client);
		return;
	}
	while (buffer_length(&client->out) > 0) {
		n = send(fd, buffer_bytes(&client->out),
		    buffer_length(&client->out), MSG_NOSIGNAL);
		if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
			client_wait(client, client->writable, &idle);
			return;
		}
		if (n == -1) {
			client_free(client);
			return;
		}
		buffer_consume(&client->out, (size_t)n);
	}
	if (client->eof && client->command == NULL)
		client_free(client);
}

/* One read; takes at most COMMAND_FDS descriptors along. As recvmsg(2). */
static ssize_t
client_receive(struct client *client, uint8_t *to, size_t size)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(COMMAND_FDS * sizeof(int))];
	} control_data;
	struct iovec iov = { to, size };
	struct msghdr message;
	struct cmsghdr *header;
	ssize_t n;

	memset(&message, 0, sizeof(message));
	message.msg_iov = &iov;
	message.msg_iovlen = 1;
	message.msg_control = &control_data;
	message.msg_controllen = sizeof(control_data);
	n = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC);
	if (n == -1)
		return (-1);
	header = CMSG_FIRSTHDR(&message);
	if (header != NULL && header->cmsg_level == SOL_SOCKET &&
	    header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len >= CMSG_LEN(sizeof(int)) &&
	    header->cmsg_len <= CMSG_LEN(COMMAND_FDS * sizeof(int))) {
		client_close_passed(client);
		memcpy(client->passed, CMSG_DATA(header),
		    header->cmsg_len - CMSG_LEN(0));
	}
	return (n);
}

static void
client_read(evutil_socket_t fd, short events, void *arg)
{
	struct client *client = arg;
	size_t room = SOCKET_LINE - buffer_length(&client->in);
	uint8_t *to = buffer_reserve(&client->in, room);
	ssize_t n;

	(void)fd;
	if ((events & EV_TIMEOUT) || to == NULL || room == 0) {
		client_free(client);
		return;
	}
	n = client_receive(client, to, room);
	if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
		client_wait(client, client->readable, &idle);
		return;
	}
	if (n == -1 || (n == 0 && client->streams)) {
		client_free(client);
		return;
	}
	if (n == 0)
		client->eof = 1;
	buffer_commit(&client->in, (size_t)n);
	client_next(client);
}

static void
socket_accept(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *address, int length, void *arg)
{
	struct client *client = NULL;
	size_t i;
	uid_t uid;
	gid_t gid;

	(void)listener;
	(void)address;
	(void)length;
	(void)arg;
	if (sockets.count >= SOCKET_CLIENTS ||
	    getpeereid(fd, &uid, &gid) == -1 ||
	    evutil_make_socket_nonblocking(fd) == -1 ||
	    (client = calloc(1, sizeof(*client))) == NULL) {
		log_warn("hermesctl_refused", "clients=%u", sockets.count);
		close(fd);
		return;
	}
	client->fd = fd;
	for (i = 0; i < COMMAND_FDS; i++)
		client->passed[i] = -1;
	client->may_change = uid == 0 || uid == geteuid();
	buffer_init(&client->in);
	buffer_init(&client->out);
	TAILQ_INSERT_TAIL(&sockets.clients, client, entry);
	sockets.count++;
	client->readable =
	    event_new(control.base, fd, EV_READ, client_read, client);
	client->writable =
	    event_new(control.base, fd, EV_WRITE, client_write, client);
	if (client->readable == NULL || client->writable == NULL ||
	    event_add(client->readable, &idle) == -1)
		client_free(client);
}

int
socket_listen(int fd)
{
	size_t i;

	for (i = 0; i < SOCKET_LISTENERS; i++)
		if (sockets.listeners[i] == NULL)
			break;
	if (i == SOCKET_LISTENERS || evutil_make_socket_nonblocking(fd) == -1) {
		close(fd);
		return (-1);
	}
	sockets.listeners[i] = evconnlistener_new(control.base, socket_accept,
	    NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, SOCKET_BACKLOG,
	    fd);
	if (sockets.listeners[i] == NULL) {
		close(fd);
		return (-1);
	}
	return (0);
}

void
socket_listeners_close(void)
{
	size_t i;

	for (i = 0; i < SOCKET_LISTENERS; i++)
		if (sockets.listeners[i] != NULL) {
			evconnlistener_free(sockets.listeners[i]);
			sockets.listeners[i] = NULL;
		}
}

void
socket_close_all(void)
{
	struct client *client;

	socket_listeners_close();
	while ((client = TAILQ_FIRST(&sockets.clients)) != NULL)
		client_free(client);
}
