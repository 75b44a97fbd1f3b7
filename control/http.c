/*
 * control: the admin HTTP server; see http.h. Each connection carries one
 * request; all that it may use up is a little memory for a few seconds.
 */

#include <sys/queue.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>

#include "control/ask.h"
#include "control/control.h"
#include "control/http.h"

#define HTTP_BACKLOG 64

struct http {
	TAILQ_ENTRY(http) entry;
	int fd;
	int loopback;
	int answered;
	int head_only;
	int eof; /* the client says no more */
	const char *policy;
	struct event *readable;
	struct event *writable;
	struct event *deadline;
	struct buffer in;
	struct buffer out;
	struct ask *ask; /* open question, or NULL */
};

static struct {
	TAILQ_HEAD(, http) open;
	unsigned int count;
	struct evconnlistener *listeners[CONFIG_LISTENERS];
} server = { TAILQ_HEAD_INITIALIZER(server.open), 0, { NULL } };

static void
http_free(struct http *http)
{
	if (http->ask != NULL)
		ask_cancel(http->ask);
	TAILQ_REMOVE(&server.open, http, entry);
	server.count--;
	if (http->readable != NULL)
		event_free(http->readable);
	if (http->writable != NULL)
		event_free(http->writable);
	if (http->deadline != NULL)
		event_free(http->deadline);
	close(http->fd);
	buffer_free(&http->in);
	buffer_free(&http->out);
	free(http);
}

/* --- the request --------------------------------------------------------- */

/* 1 when the value of a Host header is a loopback address or localhost. */
static int
http_host_local(const char *value, size_t length)
{
	static const char *const names[] = { "localhost", "127.", "[::1]" };
	size_t i, n;

	while (length > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		length--;
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		n = strlen(names[i]);
		if (length < n || strncasecmp(value, names[i], n) != 0)
			continue;
		if (i == 1) /* 127.a.b.c */
			n += strspn(value + n, "0123456789.");
		if (n >= length || value[n] == ':' || value[n] == ' ' ||
		    value[n] == '\t')
			return (1);
	}
	return (0);
}

/* Check the header lines between at and end. */
static enum http_request
http_headers(const char *at, const char *end, int loopback)
{
	const char *line_end, *colon;

	for (; at < end; at = line_end + 2) {
		line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
		if (line_end == NULL || line_end == at)
			return (HTTP_BAD);
		colon = memchr(at, ':', (size_t)(line_end - at));
		if (colon == NULL || colon == at || *at == ' ' || *at == '\t')
			return (HTTP_BAD);
		if (loopback && colon - at == 4 &&
		    strncasecmp(at, "host", 4) == 0 &&
		    !http_host_local(colon + 1, (size_t)(line_end - colon - 1)))
			return (HTTP_HOST);
	}
	return (HTTP_OK);
}

enum http_request
http_parse(
    struct http_head *head, const char *bytes, size_t length, int loopback)
{
	const char *end = memmem(bytes, length, "\r\n\r\n", 4);
	const char *line_end, *method_end, *path, *path_end;
	size_t n;

	memset(head, 0, sizeof(*head));
	if (end == NULL)
		return (HTTP_INCOMPLETE);
	if (memchr(bytes, '\0', (size_t)(end - bytes)) != NULL)
		return (HTTP_BAD);
	line_end = memmem(bytes, length, "\r\n", 2);
	method_end = memchr(bytes, ' ', (size_t)(line_end - bytes));
	if (method_end == NULL || method_end == bytes)
		return (HTTP_BAD);
	path = method_end + 1;
	path_end = memchr(path, ' ', (size_t)(line_end - path));
	if (path_end == NULL || *path != '/' || line_end - path_end != 9 ||
	    (memcmp(path_end, " HTTP/1.1", 9) != 0 &&
		memcmp(path_end, " HTTP/1.0", 9) != 0))
		return (HTTP_BAD);
	n = strcspn(path, "? ");
	if (n < sizeof(head->path))
		memcpy(head->path, path, n); /* longer: none of ours */
	head->head = method_end - bytes == 4 && memcmp(bytes, "HEAD", 4) == 0;
	if (!head->head &&
	    (method_end - bytes != 3 || memcmp(bytes, "GET", 3) != 0))
		return (HTTP_METHOD);
	return (http_headers(line_end + 2, end + 2, loopback));
}

/* --- the answer ---------------------------------------------------------- */

static const char *
http_reason(int status)
{
	switch (status) {
	case 200:
		return ("OK");
	case 400:
		return ("Bad Request");
	case 403:
		return ("Forbidden");
	case 404:
		return ("Not Found");
	case 405:
		return ("Method Not Allowed");
	case 431:
		return ("Request Header Fields Too Large");
	default:
		return ("Service Unavailable");
	}
}

void
http_policy(struct http *http, const char *policy)
{
	http->policy = policy;
}

void
http_answer(struct http *http, int status, const char *type, const void *body,
    size_t length)
{
	char head[1024];
	int n;

	if (http->answered)
		return;
	http->answered = 1;
	n = snprintf(head, sizeof(head),
	    "HTTP/1.1 %d %s\r\n"
	    "Content-Type: %s\r\n"
	    "Content-Length: %zu\r\n"
	    "%s"
	    "Cache-Control: no-store\r\n"
	    "Content-Security-Policy: %s\r\n"
	    "Cross-Origin-Resource-Policy: same-origin\r\n"
	    "Referrer-Policy: no-referrer\r\n"
	    "X-Content-Type-Options: nosniff\r\n"
	    "X-Frame-Options: DENY\r\n"
	    "Connection: close\r\n\r\n",
	    status, http_reason(status), type, length,
	    status == 405 ? "Allow: GET, HEAD\r\n" : "",
	    http->policy != NULL
		? http->policy
		: "default-src 'none'; frame-ancestors 'none'");
	if (n < 0 || (size_t)n >= sizeof(head) ||
	    buffer_append(&http->out, head, (size_t)n) == -1 ||
	    (!http->head_only && buffer_append(&http->out, body, length) == -1))
		buffer_consume(&http->out, buffer_length(&http->out));
	(void)event_add(http->writable, NULL);
}

static void
http_error(struct http *http, int status, const char *text)
{
	char body[128];
	int n = snprintf(body, sizeof(body), "{\"error\":\"%s\"}\n", text);

	http_answer(
	    http, status, "application/json", body, n > 0 ? (size_t)n : 0);
}

void
http_asked(struct http *http)
{
	http->ask = NULL;
}

/* --- the connection ------------------------------------------------------ */

static void
http_expired(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	http_free(arg);
}

static void
http_write(evutil_socket_t fd, short events, void *arg)
{
	struct http *http = arg;
	ssize_t n;

	(void)events;
	while (buffer_length(&http->out) > 0) {
		n = send(fd, buffer_bytes(&http->out),
		    buffer_length(&http->out), MSG_NOSIGNAL);
		if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
			(void)event_add(http->writable, NULL);
			return;
		}
		if (n == -1) {
			http_free(http);
			return;
		}
		buffer_consume(&http->out, (size_t)n);
	}
	/* The client closes, or the deadline does: an early close could
	 * reset the connection under the answer. */
	if (http->eof)
		http_free(http);
	else
		(void)shutdown(fd, SHUT_WR);
}

static void
http_request(struct http *http)
{
	struct http_head head;
	enum http_request verdict;

	verdict = http_parse(&head, (const char *)buffer_bytes(&http->in),
	    buffer_length(&http->in), http->loopback);
	http->head_only = head.head;
	switch (verdict) {
	case HTTP_OK:
		http->ask = http_page(http, head.path);
		break;
	case HTTP_INCOMPLETE:
		if (buffer_length(&http->in) >= HTTP_REQUEST)
			http_error(http, 431, "request too large");
		break;
	case HTTP_METHOD:
		http_error(http, 405, "only GET and HEAD");
		break;
	case HTTP_HOST:
		http_error(http, 403, "this Host is not served here");
		break;
	case HTTP_BAD:
		http_error(http, 400, "bad request");
		break;
	}
	if (verdict != HTTP_INCOMPLETE || http->answered)
		buffer_consume(&http->in, buffer_length(&http->in));
}

static void
http_read(evutil_socket_t fd, short events, void *arg)
{
	struct http *http = arg;
	uint8_t *to;
	size_t room;
	ssize_t n;

	(void)events;
	room = HTTP_REQUEST - buffer_length(&http->in);
	to = buffer_reserve(&http->in, room);
	if (to == NULL) {
		http_free(http);
		return;
	}
	n = read(fd, to, room);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* Gone; or it only has no more to say and waits for the
		 * answer. */
		if (n == -1 || (!http->answered && http->ask == NULL) ||
		    (http->answered && buffer_length(&http->out) == 0))
			http_free(http);
		else {
			http->eof = 1;
			(void)event_del(http->readable);
		}
		return;
	}
	if (http->answered || http->ask != NULL)
		return; /* a second request or a body: not read */
	buffer_commit(&http->in, (size_t)n);
	http_request(http);
}

/* 1 when the connection came to a loopback address. */
static int
http_is_loopback(int fd)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;

	memset(&address, 0, sizeof(address));
	if (getsockname(fd, (struct sockaddr *)&address, &length) == -1)
		return (1);
	if (address.ss_family == AF_INET)
		return (ntohl(v4->sin_addr.s_addr) >> 24 == 127);
	return (address.ss_family == AF_INET6 &&
		IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr));
}

static void
http_accept(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *address, int length, void *arg)
{
	static const struct timeval limit = { HTTP_SECONDS, 0 };
	struct http *http;

	(void)listener;
	(void)address;
	(void)length;
	(void)arg;
	if (server.count >= HTTP_CONNECTIONS ||
	    evutil_make_socket_nonblocking(fd) == -1 ||
	    (http = calloc(1, sizeof(*http))) == NULL) {
		close(fd);
		return;
	}
	http->fd = fd;
	http->loopback = http_is_loopback(fd);
	buffer_init(&http->in);
	buffer_init(&http->out);
	TAILQ_INSERT_TAIL(&server.open, http, entry);
	server.count++;
	http->readable =
	    event_new(control.base, fd, EV_READ | EV_PERSIST, http_read, http);
	http->writable =
	    event_new(control.base, fd, EV_WRITE, http_write, http);
	http->deadline = evtimer_new(control.base, http_expired, http);
	if (http->readable == NULL || http->writable == NULL ||
	    http->deadline == NULL || event_add(http->readable, NULL) == -1 ||
	    event_add(http->deadline, &limit) == -1)
		http_free(http);
}

int
http_listen(int fd)
{
	size_t i;

	for (i = 0; i < CONFIG_LISTENERS; i++)
		if (server.listeners[i] == NULL)
			break;
	if (i == CONFIG_LISTENERS || evutil_make_socket_nonblocking(fd) == -1) {
		close(fd);
		return (-1);
	}
	server.listeners[i] = evconnlistener_new(control.base, http_accept,
	    NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, HTTP_BACKLOG,
	    fd);
	if (server.listeners[i] == NULL) {
		close(fd);
		return (-1);
	}
	return (0);
}

void
http_listeners_close(void)
{
	size_t i;

	for (i = 0; i < CONFIG_LISTENERS; i++)
		if (server.listeners[i] != NULL) {
			evconnlistener_free(server.listeners[i]);
			server.listeners[i] = NULL;
		}
}

void
http_close_all(void)
{
	struct http *http;

	http_listeners_close();
	while ((http = TAILQ_FIRST(&server.open)) != NULL)
		http_free(http);
}
