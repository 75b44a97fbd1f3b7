/*
 * The whole control process in a test: real doors, sockets and HTTP, with
 * router, keyd, mesh and parent played by the test on the doors' other ends.
 */
#ifndef REGRESS_UNIT_CONTROL_FIXTURE_H
#define REGRESS_UNIT_CONTROL_FIXTURE_H

#include <sys/socket.h>
#include <sys/un.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <event2/event.h>
#include <jansson.h>
#include <sodium.h>

#include "common/proc/proc.h"
#include "common/util/buffer.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "control/ask.h"
#include "control/control.h"
#include "control/http.h"
#include "control/socket.h"

#define BOUND (120 * CLOCK_SECOND) /* a test waits no longer */

/* A neighbour: control's end of its door, and the test's end. */
struct fake {
	enum process process;
	struct proc_door door; /* control's */
	struct ipc *end;       /* the test's, NULL: dead */
	int silent;            /* hears and says nothing */
	unsigned int asked[IPC_TYPE_COUNT];
	/* payload received last */
	uint8_t last[8192] __attribute__((aligned(8)));
	char secret[64]; /* read from a descriptor */
};

static struct fixture {
	struct event_base *base;   /* of control */
	struct event_base *others; /* of its neighbours */
	struct fake fakes[PROCESS_MESH + 1];
	char dir[32];
	struct sockaddr_un unix_address;
	struct sockaddr_in http_address;
	/* What the fakes answer with. */
	struct ipc_row_node nodes[4];
	size_t node_count;
	struct ipc_row_ratchet ratchets[4];
	size_t ratchet_count;
	struct ipc_row_app app;
	struct ipc_row_chat chat;
	struct ipc_row_session session;
	struct ipc_row_tieline tieline;
	struct ipc_ticket ticket;
	struct metric_value values[METRIC_COUNT]; /* keyd's metrics */
	const char *refusal;                      /* RESULT's, NULL: ok */
} fixture;

static struct ipc *
fixture_door(enum process process)
{
	return (fixture.fakes[process].door.ipc);
}

/* Let all work off what has come. */
static inline void
fixture_turn(void)
{
	(void)event_base_loop(fixture.base, EVLOOP_NONBLOCK);
	(void)event_base_loop(fixture.others, EVLOOP_NONBLOCK);
}

/* --- the neighbours ------------------------------------------------------ */

static void
fake_rows(struct fake *fake, enum ipc_type type, void *rows, size_t count,
    uint64_t id)
{
	size_t i, size = ipc_payload_size(type);

	for (i = 0; i < count; i++) {
		memcpy((uint8_t *)rows + i * size, &id, sizeof(id));
		ipc_send(fake->end, type, (uint8_t *)rows + i * size, NULL, 0);
	}
}

static void
fake_show(void *arg, const struct ipc_message *message)
{
	struct fake *fake = arg;
	const struct ipc_show *show = message->payload;
	struct ipc_request end = { show->id, 0 };

	fake->asked[message->type]++;
	if (fake->silent)
		return;
	switch (show->what) {
	case SHOW_NODES:
		fake_rows(fake, IPC_ROW_NODE, fixture.nodes, fixture.node_count,
		    show->id);
		break;
	case SHOW_RATCHETS:
		fake_rows(fake, IPC_ROW_RATCHET, fixture.ratchets,
		    fixture.ratchet_count, show->id);
		break;
	case SHOW_APPS:
		fake_rows(fake, IPC_ROW_APP, &fixture.app, 1, show->id);
		break;
	case SHOW_CHATS:
		fake_rows(fake, IPC_ROW_CHAT, &fixture.chat, 1, show->id);
		break;
	case SHOW_SESSIONS:
		fake_rows(fake, IPC_ROW_SESSION, &fixture.session, 1, show->id);
		break;
	case SHOW_TIELINES:
		fake_rows(fake, IPC_ROW_TIELINE, &fixture.tieline, 1, show->id);
		break;
	}
	ipc_send(fake->end, IPC_SHOW_END, &end, NULL, 0);
}

static inline void
fake_send_metrics(struct fake *fake, uint64_t id)
{
	struct ipc_request answer = { id, 0 };
	struct metric_value saved[METRIC_COUNT];
	struct buffer packed;

	/* control's own are of this process too: keep them apart. */
	buffer_init(&packed);
	memcpy(saved, metrics, sizeof(saved));
	memset(metrics, 0, sizeof(saved));
	if (fake->process == PROCESS_KEYD)
		memcpy(metrics, fixture.values, sizeof(saved));
	ck_assert_int_eq(metrics_pack(&packed), 0);
	memcpy(metrics, saved, sizeof(saved));
	ipc_send(fake->end, IPC_METRICS, &answer, buffer_bytes(&packed),
	    buffer_length(&packed));
	buffer_free(&packed);
}

static void
fake_metrics(void *arg, const struct ipc_message *message)
{
	struct fake *fake = arg;
	const struct ipc_request *request = message->payload;

	fake->asked[message->type]++;
	if (!fake->silent)
		fake_send_metrics(fake, request->id);
}

/* Anything that ends with RESULT; a passphrase is read. */
static void
fake_request(void *arg, const struct ipc_message *message)
{
	struct fake *fake = arg;
	struct ipc_result result;
	size_t size = ipc_payload_size(message->type);
	const char *text = fixture.refusal;
	ssize_t n;

	fake->asked[message->type]++;
	ck_assert_uint_le(size, sizeof(fake->last));
	memcpy(fake->last, message->payload, size);
	if (message->fd != -1) {
		n = read(message->fd, fake->secret, sizeof(fake->secret) - 1);
		ck_assert_int_ge(n, 0);
		fake->secret[n] = '\0';
		close(message->fd);
	}
	if (fake->silent)
		return;
	memset(&result, 0, sizeof(result));
	memcpy(&result.id, message->payload, sizeof(result.id));
	result.ok = text == NULL;
	result.count = 1;
	ipc_send(fake->end, IPC_RESULT, &result, text,
	    text == NULL ? 0 : strlen(text));
}

/* Heard, and not answered. */
static void
fake_hear(void *arg, const struct ipc_message *message)
{
	struct fake *fake = arg;

	fake->asked[message->type]++;
	memcpy(fake->last, message->payload, sizeof(struct ipc_request));
}

static void
fake_ticket(void *arg, const struct ipc_message *message)
{
	struct fake *fake = arg;

	if (fixture.refusal != NULL) {
		fake_request(arg, message);
		return;
	}
	fake->asked[message->type]++;
	memcpy(fake->last, message->payload, sizeof(struct ipc_ticket_make));
	memcpy(&fixture.ticket.id, message->payload, sizeof(uint64_t));
	ipc_send(fake->end, IPC_TICKET, &fixture.ticket, NULL, 0);
}

static const ipc_handler fake_handlers[IPC_TYPE_COUNT] = {
	[IPC_SHOW] = fake_show,
	[IPC_METRICS_GET] = fake_metrics,
	[IPC_MESH_CREATE] = fake_request,
	[IPC_TICKET_MAKE] = fake_ticket,
	[IPC_JOIN_ALLOW] = fake_request,
	[IPC_JOIN] = fake_request,
	[IPC_REVOKE] = fake_request,
	[IPC_REKEY] = fake_request,
	[IPC_ERASE] = fake_request,
	[IPC_PASSPHRASE] = fake_request,
	[IPC_STOP] = fake_request,
	[IPC_NEW_CHATS] = fake_hear,
	[IPC_EVENTS_WANTED] = fake_hear,
	[IPC_RELOAD] = fake_request,
};

static void
fake_gone(void *arg, const char *reason)
{
	struct fake *fake = arg;

	(void)reason;
	fake->end = NULL;
}

/* As proc.c does for control. */
static void
door_gone(void *arg, const char *reason)
{
	struct proc_door *door = arg;

	(void)reason;
	door->ipc = NULL;
	ask_lost(door->peer);
}

static void
fake_start(enum process process)
{
	static const struct ipc_callbacks theirs = { .handlers = fake_handlers,
		.closed = fake_gone };
	static const struct ipc_callbacks ours = { .handlers = control_handlers,
		.closed = door_gone };
	struct fake *fake;
	int fds[2];

	fake = &fixture.fakes[process];
	fake->process = process;
	fake->door.peer = process;
	ck_assert_int_eq(ipc_pair(fds), 0);
	fake->door.ipc = ipc_new(
	    fixture.base, fds[0], PROCESS_CONTROL, process, &ours, &fake->door);
	fake->end = ipc_new(
	    fixture.others, fds[1], process, PROCESS_CONTROL, &theirs, fake);
	ck_assert_ptr_nonnull(fake->door.ipc);
	ck_assert_ptr_nonnull(fake->end);
}

static inline void
fake_kill(enum process process)
{
	ipc_free(fixture.fakes[process].end);
	fixture.fakes[process].end = NULL;
	/* control notices in its event loop. */
	while (fixture.fakes[process].door.ipc != NULL)
		fixture_turn();
}

/* --- set-up -------------------------------------------------------------- */

static void
fixture_listen_unix(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(fixture.dir, "/tmp/hermes-ctl-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fixture.dir));
	(void)chmod(fixture.dir, 0755);
	fixture.unix_address.sun_family = AF_UNIX;
	snprintf(fixture.unix_address.sun_path,
	    sizeof(fixture.unix_address.sun_path), "%s/s", fixture.dir);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&fixture.unix_address,
			     sizeof(fixture.unix_address)),
	    0);
	(void)chmod(fixture.unix_address.sun_path, 0666);
	ck_assert_int_eq(socket_listen(fd), 0);
}

static void
fixture_listen_http(void)
{
	socklen_t length = sizeof(fixture.http_address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(&fixture.http_address, 0, sizeof(fixture.http_address));
	fixture.http_address.sin_family = AF_INET;
	fixture.http_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(
	    bind(fd, (struct sockaddr *)&fixture.http_address, length), 0);
	ck_assert_int_eq(
	    getsockname(fd, (struct sockaddr *)&fixture.http_address, &length),
	    0);
	ck_assert_int_eq(http_listen(fd), 0);
}

static void
fixture_row_ratchet(
    size_t i, const char *chat_id, uint8_t local, uint8_t peer, uint8_t side)
{
	struct ipc_row_ratchet *row = &fixture.ratchets[i];

	memset(row, 0, sizeof(*row));
	snprintf(row->chat_id, sizeof(row->chat_id), "%s", chat_id);
	memset(row->key.handle, (int)strlen(chat_id), KEY_SIZE);
	row->key.side = side;
	memset(row->local_app, local, KEY_SIZE);
	memset(row->peer_app, peer, KEY_SIZE);
	memset(row->peer_node, 0xbb, KEY_SIZE);
	row->version = 3;
	row->send_count = 10;
	row->receive_count = 11;
	row->rekeys = 2;
	row->derived = 1;
	row->last_ratchet_at = INT64_C(1700000000) * CLOCK_SECOND;
	fixture.ratchet_count = i + 1;
}

static void
fixture_row_node(
    size_t i, const char *node_id, uint8_t key, enum node_state state, int self)
{
	struct ipc_row_node *row = &fixture.nodes[i];

	memset(row, 0, sizeof(*row));
	snprintf(row->node_id, sizeof(row->node_id), "%s", node_id);
	memset(row->node_key, key, KEY_SIZE);
	snprintf(row->endpoint, sizeof(row->endpoint), "127.0.0.1:1");
	row->state = state;
	row->self = (uint32_t)self;
	row->rtt = 2 * CLOCK_MS;
	fixture.node_count = i + 1;
}

static void
fixture_setup(void)
{
	ck_assert_int_ne(sodium_init(), -1);
	(void)signal(SIGPIPE, SIG_IGN); /* as proc.c does */
	log_init("control", LOG_LEVEL_ERROR, 1);
	memset(&fixture, 0, sizeof(fixture));
	fixture.base = event_base_new();
	fixture.others = event_base_new();
	control_init(fixture.base, fixture_door);
	strcpy(control.config.node_id, "alpha");
	control.identity.unlocked = 1;
	fake_start(PROCESS_PARENT);
	fake_start(PROCESS_ROUTER);
	fake_start(PROCESS_KEYD);
	fake_start(PROCESS_MESH);
	fixture_row_node(0, "alpha", 0xaa, NODE_ALIVE, 1);
	fixture_row_node(1, "beta", 0xbb, NODE_ALIVE, 0);
	fixture_row_ratchet(0, "a-chat-with-a-long-name", 0x11, 0x22, 0);
	memset(fixture.app.app, 0x33, KEY_SIZE);
	strcpy(fixture.app.node_id, "beta");
	fixture_listen_unix();
	fixture_listen_http();
}

static void
fixture_teardown(void)
{
	socket_close_all();
	http_close_all();
	(void)unlink(fixture.unix_address.sun_path);
	(void)rmdir(fixture.dir);
}

/* --- clients ------------------------------------------------------------- */

static inline int
fixture_connect(int http)
{
	int fd = socket(http ? AF_INET : AF_UNIX, SOCK_STREAM, 0);

	ck_assert_int_eq(
	    http ? connect(fd, (struct sockaddr *)&fixture.http_address,
		       sizeof(fixture.http_address))
		 : connect(fd, (struct sockaddr *)&fixture.unix_address,
		       sizeof(fixture.unix_address)),
	    0);
	return (fd);
}

/* Turn the loop and send it all, or as much as is taken until control closes.
 */
static inline void
fixture_send(int fd, const void *bytes, size_t length)
{
	int64_t until = clock_monotonic() + BOUND;
	ssize_t n;

	while (length > 0) {
		n = send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == -1 && errno != EAGAIN)
			break;
		if (n == -1) {
			ck_assert_msg(clock_monotonic() < until, "not taken");
			fixture_turn();
			continue;
		}
		bytes = (const uint8_t *)bytes + n;
		length -= (size_t)n;
	}
}

/* Turn the loop and read, until end of file or the end of a line with text;
 * bounded. Returns the bytes, to be freed; *eof says why it ended. */
static inline char *
fixture_read(int fd, const char *text, int *eof)
{
	int64_t until = clock_monotonic() + BOUND;
	struct buffer got;
	const char *found;
	uint8_t *to;
	ssize_t n;

	buffer_init(&got);
	*eof = 0;
	for (;;) {
		ck_assert_msg(clock_monotonic() < until, "no answer");
		fixture_turn();
		ck_assert_ptr_nonnull(to = buffer_reserve(&got, 65537));
		n = recv(fd, to, 65536, MSG_DONTWAIT);
		if (n == 0 || (n == -1 && errno == ECONNRESET)) {
			*eof = 1;
			break;
		}
		if (n == -1)
			continue;
		to[n] = '\0';
		buffer_commit(&got, (size_t)n);
		if (text == NULL)
			continue;
		found = strstr((char *)buffer_bytes(&got), text);
		if (found != NULL && strchr(found, '\n') != NULL)
			break;
	}
	*buffer_reserve(&got, 1) = '\0';
	return ((char *)got.data);
}

/* Send one line; the last object of the answer. *rows, unless NULL, gets
 * the array of rows and matches. */
static inline json_t *
ask_control(const char *line, json_t **rows)
{
	int fd = fixture_connect(0), eof;
	char *text, *next, *at;
	json_t *object, *last = NULL, *found = json_array();

	ck_assert_int_eq(
	    send(fd, line, strlen(line), 0), (ssize_t)strlen(line));
	text = fixture_read(fd, "\"ok\":", &eof);
	close(fd);
	ck_assert(!eof);
	for (at = text; (next = strchr(at, '\n')) != NULL; at = next + 1) {
		object = json_loadb(at, (size_t)(next - at), 0, NULL);
		ck_assert_ptr_nonnull(object);
		json_decref(last);
		last = object;
		if (json_object_get(object, "row") != NULL)
			json_array_append(
			    found, json_object_get(object, "row"));
		json_array_extend(found, json_object_get(object, "matches"));
	}
	free(text);
	if (rows != NULL)
		*rows = found;
	else
		json_decref(found);
	ck_assert_ptr_nonnull(json_object_get(last, "ok"));
	return (last);
}

static inline int
is_ok(const json_t *last)
{
	return (json_is_true(json_object_get(last, "ok")));
}

static inline const char *
member(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return (text == NULL ? "" : text);
}

/* Send an HTTP request as it is; the whole answer, to be freed. */
static inline char *
ask_http(const char *request)
{
	int fd = fixture_connect(1), eof;
	char *text;

	(void)send(fd, request, strlen(request), MSG_NOSIGNAL);
	text = fixture_read(fd, NULL, &eof);
	close(fd);
	return (text);
}

/* GET a path; the body as JSON, the status in *status. */
static inline json_t *
get_json(const char *path, int *status)
{
	char request[256], *text, *body;
	json_t *value;

	snprintf(request, sizeof(request),
	    "GET %s HTTP/1.1\r\n"
	    "Host: 127.0.0.1\r\n\r\n",
	    path);
	text = ask_http(request);
	ck_assert_int_eq(sscanf(text, "HTTP/1.1 %d ", status), 1);
	ck_assert_ptr_nonnull(
	    strstr(text, "Content-Type: application/json\r\n"));
	ck_assert_ptr_nonnull(body = strstr(text, "\r\n\r\n"));
	value = json_loads(body + 4, JSON_DECODE_ANY, NULL);
	ck_assert_msg(value != NULL, "not JSON: %s", body);
	free(text);
	return (value);
}

#endif
