/* hermesctl(8): the conversation with the daemon over its unix socket. */

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util/buffer.h"
#include "common/util/clock.h"
#include "control/ctl.h"

static struct {
	char *text; /* where complaints go, or NULL: standard error */
	size_t size;
} kept;

void
ctl_warn_keep(char *text, size_t size)
{
	kept.text = text;
	kept.size = size;
}

void
ctl_warn(const char *format, ...)
{
	char line[2048];
	va_list ap;

	va_start(ap, format);
	if (vsnprintf(line, sizeof(line), format, ap) < 0)
		line[0] = '\0';
	va_end(ap);
	ctl_clean(line);
	if (kept.text != NULL) {
		(void)strlcpy(kept.text, line, kept.size);
		return;
	}
	(void)fprintf(stderr, "hermesctl: %s\n", line);
}

void
ctl_disconnect(struct ctl *ctl)
{
	if (ctl->fd != -1)
		close(ctl->fd);
	ctl->fd = -1;
}

/* CTL_OK, CTL_USAGE when it has said why, or -1 with errno. */
static int
ctl_open(struct ctl *ctl)
{
	const struct timeval wait = { ctl->timeout, 0 };
	struct sockaddr_un address;

	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	if (strlcpy(address.sun_path, ctl->socket, sizeof(address.sun_path)) >=
	    sizeof(address.sun_path)) {
		ctl_warn("%s: too long for a socket: at most %zu characters",
		    ctl->socket, sizeof(address.sun_path) - 1);
		return (CTL_USAGE);
	}
	ctl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* A daemon that hangs lets in as many as its queue holds. */
	if (ctl->fd == -1 ||
	    setsockopt(ctl->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) ==
		-1 ||
	    connect(ctl->fd, (struct sockaddr *)&address, sizeof(address)) ==
		-1)
		return (-1);
	return (CTL_OK);
}

static int
ctl_timed_out(const struct ctl *ctl)
{
	ctl_warn("no answer in %d seconds: the daemon is busy, or a process of "
		 "it hangs, which its log then names; -t waits longer",
	    ctl->timeout);
	return (CTL_TIMED_OUT);
}

static int
ctl_closed(const struct ctl *ctl)
{
	ctl_warn("%s: the daemon closed the connection: it stops, or is "
		 "started again; its log says why",
	    ctl->socket);
	return (CTL_UNREACHABLE);
}

static int
ctl_connect(struct ctl *ctl)
{
	const char *hint = "is hermesd running? Start it, or name the socket "
			   "of its configuration with -s";
	int status;

	if (ctl->fd != -1)
		return (CTL_OK);
	if ((status = ctl_open(ctl)) != -1)
		return (status);
	status = CTL_UNREACHABLE;
	if (errno == EACCES || errno == EPERM) {
		status = CTL_DENIED;
		hint = "root, the user hermesd runs as and the group "
		       "_hermes_control may use it";
	}
	if (errno == EAGAIN)
		status = ctl_timed_out(ctl);
	else
		ctl_warn("%s: %s: %s", ctl->socket, strerror(errno), hint);
	ctl_disconnect(ctl);
	return (status);
}

/* Wait for the socket to be ready for events before until. */
static int
ctl_poll(struct ctl *ctl, short events, int64_t until)
{
	struct pollfd poll_fd = { ctl->fd, events, 0 };
	int64_t left = until - clock_monotonic();
	int n;

	if (ctl->timeout == 0)
		n = poll(&poll_fd, 1, -1);
	else
		n = left <= 0 ? 0
			      : poll(&poll_fd, 1, (int)(left / CLOCK_MS) + 1);
	if (n == -1 && errno == EINTR)
		return (CTL_OK);
	if (n == 0)
		return (ctl_timed_out(ctl));
	return (n == -1 ? CTL_UNREACHABLE : CTL_OK);
}

/* Write text; the descriptors go with the first byte. */
static int
ctl_send(
    struct ctl *ctl, const char *text, size_t length, int fd, int64_t until)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr message;
	ssize_t n;
	int fds[3], status;
	size_t size;

	while (length > 0) {
		memset(&message, 0, sizeof(message));
		iov.iov_base = (char *)(uintptr_t)text;
		iov.iov_len = length;
		message.msg_iov = &iov;
		message.msg_iovlen = 1;
		if (fd != -1) {
			memset(&control, 0, sizeof(control));
			fds[0] = fd;
			fds[1] = ctl->more[0];
			fds[2] = ctl->more[1];
			size = (size_t)(fds[1] == -1   ? 1
					: fds[2] == -1 ? 2
						       : 3) *
			       sizeof(int);
			control.header.cmsg_len = CMSG_LEN(size);
			control.header.cmsg_level = SOL_SOCKET;
			control.header.cmsg_type = SCM_RIGHTS;
			memcpy(CMSG_DATA(&control.header), fds, size);
			message.msg_control = &control;
			message.msg_controllen = CMSG_SPACE(size);
		}
		if ((status = ctl_poll(ctl, POLLOUT, until)) != CTL_OK)
			return (status);
		n = sendmsg(ctl->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n == -1)
			return (ctl_closed(ctl));
		fd = -1;
		text += n;
		length -= (size_t)n;
	}
	return (CTL_OK);
}

/* The next line as an object; NULL and *status on failure. */
static json_t *
ctl_receive(struct ctl *ctl, struct buffer *in, size_t *seen, int64_t until,
    int *status)
{
	json_t *value;
	uint8_t *to, *end;
	ssize_t n;

	while (buffer_length(in) == *seen ||
	       (end = memchr(buffer_bytes(in) + *seen, '\n',
		    buffer_length(in) - *seen)) == NULL) {
		*seen = buffer_length(in);
		*status = ctl_poll(ctl, POLLIN, until);
		if (*status != CTL_OK)
			return (NULL);
		if ((to = buffer_reserve(in, 65536)) == NULL)
			n = -1;
		else
			n = recv(ctl->fd, to, 65536, MSG_DONTWAIT);
		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0) {
			*status = ctl_closed(ctl);
			return (NULL);
		}
		buffer_commit(in, (size_t)n);
	}
	n = end - buffer_bytes(in);
	value = json_loadb((const char *)buffer_bytes(in), (size_t)n, 0, NULL);
	buffer_consume(in, (size_t)n + 1);
	*seen = 0;
	if (value == NULL) {
		ctl_warn("%s: what answers there is no hermesd; -s names the "
			 "socket of its configuration",
		    ctl->socket);
		*status = CTL_UNREACHABLE;
	}
	return (value);
}

/* The daemon said no: show it, choose the exit code. */
static int
ctl_complain(const struct ctl *ctl, const json_t *last)
{
	static const struct {
		const char *error;
		int status;
	} codes[] = {
		{ "usage", CTL_USAGE },
		{ "denied", CTL_DENIED },
		{ "timeout", CTL_TIMED_OUT },
	};
	const char *error, *message, *name;
	json_t *missing, *process;
	size_t i;

	error = json_string_value(json_object_get(last, "error"));
	message = json_string_value(json_object_get(last, "message"));
	missing = json_object_get(last, "missing");
	if (ctl->json && kept.text == NULL)
		ctl_print_json(last);
	ctl_warn("%s", message != NULL ? message : "failed");
	for (i = 0; (process = json_array_get(missing, i)) != NULL; i++)
		if ((name = json_string_value(process)) != NULL)
			ctl_warn("no answer from %s", name);
	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (error != NULL && strcmp(error, codes[i].error) == 0)
			return (codes[i].status);
	return (CTL_FAILED);
}

/* Read lines up to the one with "ok". */
static int
ctl_answer(
    struct ctl *ctl, ctl_row row, void *arg, json_t **last, int64_t until)
{
	struct buffer in;
	size_t seen = 0, i;
	int status = CTL_OK;
	json_t *line, *one, *matches, *named = NULL;

	buffer_init(&in);
	while ((line = ctl_receive(ctl, &in, &seen, until, &status)) != NULL) {
		if (json_object_get(line, "ok") != NULL)
			break;
		matches = json_object_get(line, "matches");
		one = json_object_get(line, "row");
		if (row != NULL && one != NULL)
			row(arg, one);
		for (i = 0; (one = json_array_get(matches, i)) != NULL; i++)
			if (row != NULL)
				row(arg, one);
		if (matches != NULL && named == NULL)
			named = json_incref(matches);
		json_decref(line);
	}
	buffer_free(&in);
	*last = line;
	if (line != NULL && named != NULL)
		(void)json_object_set(line, "matches", named);
	json_decref(named);
	if (line != NULL && !json_is_true(json_object_get(line, "ok")))
		status = ctl_complain(ctl, line);
	return (status);
}

int
ctl_request(struct ctl *ctl, json_t *request, int fd, ctl_row row, void *arg,
    json_t **last)
{
	int64_t until = clock_monotonic() + ctl->timeout * CLOCK_SECOND;
	char *text;
	int status;

	*last = NULL;
	if (ctl->full)
		(void)json_object_set_new(request, "full", json_true());
	text = json_dumps(request, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(request);
	if (text == NULL)
		return (CTL_FAILED);
	status = ctl_connect(ctl);
	if (status == CTL_OK)
		status = ctl_send(ctl, text, strlen(text), fd, until);
	if (status == CTL_OK)
		status = ctl_send(ctl, "\n", 1, -1, until);
	if (status == CTL_OK)
		status = ctl_answer(ctl, row, arg, last, until);
	free(text);
	return (status);
}

int
ctl_wait_closed(struct ctl *ctl)
{
	int64_t until = clock_monotonic() + ctl->timeout * CLOCK_SECOND;
	char byte;
	int status;
	ssize_t n;

	for (;;) {
		if ((status = ctl_poll(ctl, POLLIN, until)) != CTL_OK)
			return (status);
		n = recv(ctl->fd, &byte, 1, MSG_DONTWAIT);
		if (n != 0 && (n != -1 || errno == EAGAIN || errno == EINTR))
			continue;
		/* Control has ended. Whom nobody lets in at the socket, there
		 * the parent lets go of, with all else that it holds. */
		ctl_disconnect(ctl);
		if (ctl_open(ctl) != CTL_OK) {
			status = errno == EAGAIN ? ctl_timed_out(ctl) : CTL_OK;
			ctl_disconnect(ctl);
			return (status);
		}
	}
}
