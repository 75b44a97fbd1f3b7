/*
 * control/http*.c and readiness.c: the admin HTTP, with the neighbours
 * played by the test. L21: what an operator did not allow is not shown.
 */

#include "control/readiness.h"
#include "control/vitals.h"
#include "regress/unit/control_fixture.h"
#include "regress/unit/suite.h"

/* The whole answer to these bytes, after which the client says no more or
 * waits. To be freed. */
static char *
answer(const void *bytes, size_t length, int no_more)
{
	int fd = fixture_connect(1), eof;
	char *text;

	fixture_send(fd, bytes, length);
	if (no_more)
		ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	text = fixture_read(fd, NULL, &eof);
	close(fd);
	return (text);
}

/* Its status, or 0: closed without an answer. All that it says of itself
 * holds, and there is one answer. */
static int
answer_status(const void *bytes, size_t length, int no_more)
{
	char *text = answer(bytes, length, no_more), *body, *said;
	int status = 0;

	if (*text != '\0') {
		ck_assert_int_eq(sscanf(text, "HTTP/1.%*d %d ", &status), 1);
		ck_assert_ptr_nonnull(body = strstr(text, "\r\n\r\n"));
		ck_assert_ptr_null(strstr(text, "keep-alive"));
		ck_assert_ptr_null(strstr(text, "Transfer-Encoding"));
		ck_assert_ptr_nonnull(
		    said = strstr(text, "\r\nContent-Length: "));
		ck_assert_uint_eq(
		    strlen(body + 4), memcmp(bytes, "HEAD", 4) == 0
					  ? 0
					  : strtoul(said + 18, NULL, 10));
	}
	free(text);
	return (status);
}

START_TEST(test_requests)
{
	static const struct {
		const char *text;
		int status;
	} requests[] = {
		{ "GET /healthz?b=c HTTP/1.1\r\n\r\n", 200 },
		{ "GET /healthz HTTP/1.0\r\n\r\n", 200 },
		{ "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		    200 },
		{ "GET /healthz HTTP/1.1\nHost: localhost\n\n", 200 },
		{ "GET /healthz#x HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 200 },
		{ "HEAD / HTTP/1.1\r\nA: b\r\n\r\n", 200 },
		{ "HEAD /nothing HTTP/1.1\r\n\r\n", 404 },
		/* Not ours: no such page. */
		{ "GET /../healthz HTTP/1.1\r\n\r\n", 404 },
		{ "GET /healthz/../healthz HTTP/1.1\r\n\r\n", 404 },
		{ "GET /%68ealthz HTTP/1.1\r\n\r\n", 404 },
		{ "GET /healthz%00 HTTP/1.1\r\n\r\n", 404 },
		{ "GET /%zz%%%n%s HTTP/1.1\r\n\r\n", 404 },
		{ "GET /\xff\x80\x01 HTTP/1.1\r\n\r\n", 404 },
		/* Not what a server of its own is asked. */
		{ "GET http://localhost/healthz HTTP/1.1\r\n\r\n", 400 },
		{ "GET http://evil.example/healthz HTTP/1.1\r\n\r\n", 400 },
		{ "GET //localhost/healthz HTTP/1.1\r\n\r\n", 400 },
		{ "GET file:/healthz HTTP/1.1\r\n\r\n", 400 },
		{ "GET healthz HTTP/1.1\r\n\r\n", 400 },
		{ "GET * HTTP/1.1\r\n\r\n", 400 },
		{ "GET ?healthz HTTP/1.1\r\n\r\n", 400 },
		/* Methods. */
		{ "POST / HTTP/1.1\r\n\r\n", 405 },
		{ "get / HTTP/1.1\r\n\r\n", 405 },
		{ "BREW /pot HTTP/1.1\r\n\r\n", 405 },
		{ "OPTIONS * HTTP/1.1\r\n\r\n", 405 },
		{ "CONNECT evil.example:25 HTTP/1.1\r\n\r\n", 405 },
		/* Nonsense. */
		{ "\r\n\r\n", 400 },
		{ "GET /\r\n\r\n", 400 },
		{ "GET  HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/2.0\r\n\r\n", 400 },
		{ "GET / HTTP/1.1x\r\n\r\n", 400 },
		{ "GET http://[::1/ HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nnocolon\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n folded\r\n\r\n", 400 },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400 },
		/* Bodies. */
		{ "GET /healthz HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
		    200 },
		{ "GET /healthz HTTP/1.1\r\nContent-Length: 8193\r\n\r\nabc",
		    413 },
		{ "GET /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "3\r\nabc\r\n0\r\n\r\n",
		    405 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "7fffffffffffffff\r\nabc\r\n",
		    413 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "-1\r\nabc\r\n",
		    413 },
		{ "POST / HTTP/1.1\r\nContent-Length: 3\r\n"
		  "Expect: nothing\r\n\r\nabc",
		    417 },
		/* One request a connection. */
		{ "GET /healthz HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"
		  "GET /readyz HTTP/1.1\r\n\r\n",
		    200 },
	};
	/* What is not whole has no answer. */
	static const char *const parts[] = { "", "G", "GET / HTTP/1.1",
		"GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nA: b\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3" };
	size_t i;
	int no_more, status;

	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		for (no_more = 0; no_more < 2; no_more++) {
			status = answer_status(requests[i].text,
			    strlen(requests[i].text), no_more);
			ck_assert_msg(status == requests[i].status, "%s: %d",
			    requests[i].text, status);
		}
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		ck_assert_int_eq(
		    answer_status(parts[i], strlen(parts[i]), 1), 0);
	ck_assert_int_eq(answer_status("GET /\0 HTTP/1.1\r\n\r\n", 20, 0), 400);
}
END_TEST

/* 1 when /healthz is shown to who asks with these headers. */
static int
host_served(const char *headers)
{
	char text[256];
	int status;

	snprintf(
	    text, sizeof(text), "GET /healthz HTTP/1.1\r\n%s\r\n\r\n", headers);
	status = answer_status(text, strlen(text), 0);
	ck_assert(status == 200 || status == 403);
	return (status == 200);
}

/* A web page whose name resolves to 127.0.0.1 reads nothing. */
START_TEST(test_host)
{
	static const char *const local[] = { "localhost", "127.0.0.1",
		"127.0.0.1:8080", "LocalHost:1", "[::1]", "[::1]:80" };
	static const char *const others[] = { "evil.example",
		"localhost.evil.example", "127.0.0.1.evil.example",
		"127.evil.example", "", "10.0.0.1", ":80" };
	char text[128];
	size_t i;

	for (i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
		snprintf(text, sizeof(text), "hOST: \t%s ", local[i]);
		ck_assert(host_served(text));
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(text, sizeof(text), "Host: %s", others[i]);
		ck_assert(!host_served(text));
		/* Nor with a good one before it, or after it. */
		snprintf(text, sizeof(text), "Host: localhost\r\nHost: %s",
		    others[i]);
		ck_assert(!host_served(text));
		snprintf(text, sizeof(text), "Host: %s\r\nHost: localhost",
		    others[i]);
		ck_assert(!host_served(text));
	}
}
END_TEST

START_TEST(test_health)
{
	json_t *value;
	int status;

	value = get_json("/healthz", &status);
	ck_assert_int_eq(status, 200);
	json_decref(value);
	fake_kill(PROCESS_MESH);
	value = get_json("/healthz", &status);
	ck_assert_int_eq(status, 503);
	ck_assert_str_eq(json_string_value(json_array_get(
			     json_object_get(value, "missing"), 0)),
	    "mesh");
	json_decref(value);
}
END_TEST

/* The only reason given, or "" when the node is ready. */
static const char *
reason(void)
{
	static char text[128];
	json_t *value, *reasons;
	int status;

	value = get_json("/readyz", &status);
	reasons = json_object_get(value, "reasons");
	ck_assert_uint_le(json_array_size(reasons), 1);
	ck_assert_int_eq(status, json_array_size(reasons) == 0 ? 200 : 503);
	ck_assert_int_eq(
	    json_is_true(json_object_get(value, "ready")), status == 200);
	snprintf(text, sizeof(text), "%s",
	    json_array_size(reasons) == 0
		? ""
		: json_string_value(json_array_get(reasons, 0)));
	json_decref(value);
	return (text);
}

START_TEST(test_readiness)
{
	ck_assert_str_eq(reason(), "");
	control.identity.unlocked = 0;
	ck_assert_str_eq(reason(), "keyd locked");
	control.identity.unlocked = 1;
	control.draining = 1;
	ck_assert_str_eq(reason(), "draining");
	control.draining = 0;
	fixture.values[METRIC_STORE_FAILED].value = 1;
	ck_assert_str_eq(reason(), "store not writable");
	fixture.values[METRIC_STORE_FAILED].value = 0;
	fixture.values[METRIC_STORE_DISK_USED].value = 95;
	ck_assert_str_eq(reason(), "disk nearly full");
	fixture.values[METRIC_STORE_DISK_USED].value = 94;
	ck_assert_str_eq(reason(), "");
	fixture.nodes[1].state = NODE_FAILED;
	ck_assert_str_eq(reason(), "no mesh member reachable");
	fixture.nodes[1].state = NODE_LEFT; /* no peer is known any more */
	ck_assert_str_eq(reason(), "");
	fixture.node_count = 1;
	ck_assert_str_eq(reason(), "");
	fake_kill(PROCESS_ROUTER);
	ck_assert_str_eq(reason(), "router not answering");
}
END_TEST

/* While it cannot write, keyd says so once and then nothing. */
START_TEST(test_store_not_writable)
{
	json_t *value, *reasons;
	int status;

	fixture.values[METRIC_STORE_FAILED].value = 1;
	fake_send_metrics(&fixture.fakes[PROCESS_KEYD], 0);
	fixture.fakes[PROCESS_KEYD].silent = 1;
	value = get_json("/readyz", &status);
	ck_assert_int_eq(status, 503);
	reasons = json_object_get(value, "reasons");
	ck_assert_uint_eq(json_array_size(reasons), 2);
	ck_assert_str_eq(json_string_value(json_array_get(reasons, 0)),
	    "keyd not answering");
	ck_assert_str_eq(json_string_value(json_array_get(reasons, 1)),
	    "store not writable");
	json_decref(value);
	fixture.fakes[PROCESS_KEYD].silent = 0;
	fixture.values[METRIC_STORE_FAILED].value = 0;
	fake_send_metrics(&fixture.fakes[PROCESS_KEYD], 0);
	ck_assert_str_eq(reason(), "");
}
END_TEST

/* What router and keyd were last told of new chats; -1: nothing. */
static int64_t
told(enum process process)
{
	struct fake *fake = &fixture.fakes[process];
	struct ipc_request request;

	memcpy(&request, fake->last, sizeof(request));
	return (fake->asked[IPC_NEW_CHATS] == 0 ? -1 : (int64_t)request.value);
}

static void
told_both(int64_t value)
{
	int64_t until = clock_monotonic() + BOUND;

	while (told(PROCESS_ROUTER) != value || told(PROCESS_KEYD) != value) {
		ck_assert_msg(clock_monotonic() < until, "not told");
		fixture_turn();
	}
}

/* A metric as /metrics shows it. */
static long
shown(const char *series)
{
	char *text = ask_http("GET /metrics HTTP/1.1\r\n\r\n"), *at;
	char line[128];
	long value;

	snprintf(line, sizeof(line), "\n%s ", series);
	ck_assert_ptr_nonnull(at = strstr(text, line));
	value = strtol(at + strlen(line), NULL, 10);
	free(text);
	return (value);
}

/* Without being asked, control looks; router and keyd are told, also those
 * that come later, and all that shows it says the same. */
START_TEST(test_vitals)
{
	ck_assert_int_eq(vitals_start(), 0);
	told_both(0);
	ck_assert_int_eq(shown("hermes_node_ready"), 1);
	fixture.values[METRIC_STORE_DISK_USED].value = 95;
	told_both(NOT_READY_DISK);
	ck_assert_int_eq(shown("hermes_node_ready"), 0);
	ck_assert_int_eq(
	    shown("hermes_not_ready{reason=\"disk_nearly_full\"}"), 1);
	ck_assert_int_eq(
	    shown("hermes_not_ready{reason=\"store_not_writable\"}"), 0);
	fixture.values[METRIC_STORE_FAILED].value = 1;
	told_both(NOT_READY_DISK | NOT_READY_STORE);
	fixture.fakes[PROCESS_ROUTER].asked[IPC_NEW_CHATS] = 0;
	vitals_door_up(PROCESS_ROUTER);
	told_both(NOT_READY_DISK | NOT_READY_STORE);
	fixture.values[METRIC_STORE_FAILED].value = 0;
	fixture.values[METRIC_STORE_DISK_USED].value = 94;
	told_both(0);
	/* Other reasons refuse no chats. */
	fixture.nodes[1].state = NODE_FAILED;
	while (shown("hermes_node_ready") == 1)
		;
	ck_assert_int_eq(
	    shown("hermes_not_ready{reason=\"no_mesh_member\"}"), 1);
	ck_assert_int_eq(told(PROCESS_KEYD), 0);
	vitals_stop();
}
END_TEST

/* The page, with what was kept. */
START_TEST(test_page)
{
	char *text = ask_http("GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n");
	const char *kept;

	ck_assert_ptr_nonnull(strstr(text, "HTTP/1.1 200 OK\r\n"));
	ck_assert_ptr_nonnull(
	    strstr(text, "Content-Type: text/html; charset=utf-8\r\n"));
	ck_assert_ptr_nonnull(
	    strstr(text, "Content-Security-Policy: default-src 'none'; "
			 "style-src 'sha256-"));
	ck_assert_ptr_nonnull(kept = strstr(text, "id=\"history\">{"));
	ck_assert_ptr_nonnull(strstr(kept, "\"node_id\":\"alpha\""));
	ck_assert_ptr_nonnull(strstr(text, "</html>"));
	free(text);
	text = ask_http("POST / HTTP/1.1\r\n\r\n");
	ck_assert_ptr_nonnull(strstr(text, "HTTP/1.1 405 "));
	free(text);
}
END_TEST

START_TEST(test_metrics)
{
	char *text;

	fixture.values[METRIC_STORE_KEY_ROTATIONS].value = 42;
	control.states[PROCESS_MESH].restarts = 3;
	text = ask_http("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
	ck_assert_ptr_nonnull(strstr(text, "HTTP/1.1 200 OK\r\n"));
	ck_assert_ptr_nonnull(
	    strstr(text, "Content-Type: text/plain; version=0.0.4\r\n"));
	ck_assert_ptr_nonnull(
	    strstr(text, "\nhermes_store_key_rotations_total 42\n"));
	ck_assert_ptr_nonnull(
	    strstr(text, "\nhermes_process_up{process=\"keyd\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(
	    text, "\nhermes_process_restarts_total{process=\"mesh\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nhermes_build_info{version="));
	free(text);
	fake_kill(PROCESS_ROUTER);
	text = ask_http("GET /metrics HTTP/1.1\r\n\r\n");
	ck_assert_ptr_nonnull(
	    strstr(text, "\nhermes_process_up{process=\"router\"} 0\n"));
	free(text);
}
END_TEST

/* The names of all series of /metrics, one a line. */
static void
series_names(struct buffer *out)
{
	char *text = ask_http("GET /metrics HTTP/1.1\r\n\r\n"), *line, *next;

	for (line = strstr(text, "\r\n\r\n") + 4; *line != '\0'; line = next) {
		next = strchr(line, '\n') + 1;
		if (*line != '#')
			while (next[-1] != ' ')
				next--;
		ck_assert_int_eq(
		    buffer_append(out, line, (size_t)(next - line)), 0);
		next = strchr(line, '\n') + 1;
	}
	ck_assert_int_eq(buffer_append(out, "", 1), 0);
	free(text);
}

/* One of 10,000 apps and of 10,000 chats, with a name of its own, happens. */
static void
happen(size_t i)
{
	struct ipc_event event = { .kind = EVENT_CHAT_READY };
	struct ipc_row_chat chat;
	struct ipc_row_app app;
	struct ipc_row_session session;

	snprintf(event.chat_id, sizeof(event.chat_id), "evil\"} %zu", i);
	memcpy(event.local_app, &i, sizeof(i));
	memset(&chat, 0, sizeof(chat));
	memset(&app, 0, sizeof(app));
	memset(&session, 0, sizeof(session));
	memcpy(chat.chat_id, event.chat_id, sizeof(chat.chat_id));
	memcpy(app.app, &i, sizeof(i));
	memcpy(session.app, &i, sizeof(i));
	snprintf(app.node_id, sizeof(app.node_id), "evil%zu", i);
	ipc_send(fixture.fakes[PROCESS_ROUTER].end, IPC_EVENT, &event, NULL, 0);
	ipc_send(
	    fixture.fakes[PROCESS_ROUTER].end, IPC_ROW_CHAT, &chat, NULL, 0);
	ipc_send(fixture.fakes[PROCESS_ROUTER].end, IPC_ROW_SESSION, &session,
	    NULL, 0);
	ipc_send(fixture.fakes[PROCESS_MESH].end, IPC_ROW_APP, &app, NULL, 0);
}

/* L26: the number of series does not depend on what there is. */
START_TEST(test_L26_ten_thousand_apps_and_chats)
{
	struct buffer before, after;
	size_t i, k;

	buffer_init(&before);
	buffer_init(&after);
	series_names(&before);
	ck_assert_ptr_nonnull(
	    strstr((char *)buffer_bytes(&before), "\nhermes_sessions_active "));
	for (i = 0; i < METRIC_COUNT; i++) {
		fixture.values[i].value = 10000 + i;
		for (k = 0; k < METRIC_BUCKETS; k++)
			fixture.values[i].buckets[k] = 10000;
	}
	for (i = 0; i < 10000; i++) {
		happen(i);
		fixture_turn();
	}
	ck_assert_int_eq(
	    shown("hermes_chats_active"), 10000 + METRIC_CHATS_ACTIVE);
	series_names(&after);
	ck_assert_str_eq(
	    (char *)buffer_bytes(&before), (char *)buffer_bytes(&after));
	ck_assert_ptr_null(strstr((char *)buffer_bytes(&after), "evil"));
	buffer_free(&before);
	buffer_free(&after);
}
END_TEST

START_TEST(test_ratchets)
{
	static const char *const keys[] = { "chat_id", "key_version",
		"send_count", "recv_count", "last_ratchet_at", "local_app_id",
		"remote_app_id", "derived", "resumed", "expired",
		"remote_node_id", "previous_epoch_open", "rekeys",
		"next_rekey_by", "confirmed", "offered_version",
		"throttled_until", "hkdf", "aead" };
	json_t *value, *row;
	size_t i;
	int status;

	value = get_json("/crypto/ratchets", &status);
	ck_assert_int_eq(status, 200);
	ck_assert_uint_eq(json_array_size(value), 1);
	row = json_array_get(value, 0);
	ck_assert_uint_eq(json_object_size(row), 19);
	for (i = 0; i < 19; i++)
		ck_assert_ptr_nonnull(json_object_get(row, keys[i]));
	ck_assert_str_eq(member(row, "chat_id"), "a-chat-with-");
	ck_assert_str_eq(member(row, "local_app_id"), "111111111111");
	ck_assert_str_eq(member(row, "remote_app_id"), "222222222222");
	ck_assert_str_eq(member(row, "remote_node_id"), "beta");
	ck_assert_str_eq(
	    member(row, "last_ratchet_at"), "2023-11-14T22:13:20Z");
	ck_assert(json_is_null(json_object_get(row, "next_rekey_by")));
	json_decref(value);

	control.config.admin_full_ids = 1;
	value = get_json("/crypto/ratchets", &status);
	row = json_array_get(value, 0);
	ck_assert_uint_eq(strlen(member(row, "local_app_id")), 64);
	ck_assert_str_eq(member(row, "chat_id"), "a-chat-with-a-long-name");
	json_decref(value);

	/* Without mesh its names are missing, without keyd everything. */
	fake_kill(PROCESS_MESH);
	value = get_json("/crypto/ratchets", &status);
	ck_assert_int_eq(status, 200);
	ck_assert_str_eq(
	    member(json_array_get(value, 0), "remote_node_id"), "");
	json_decref(value);
	fake_kill(PROCESS_KEYD);
	json_decref(get_json("/crypto/ratchets", &status));
	ck_assert_int_eq(status, 503);
}
END_TEST

START_TEST(test_L21_apps_only_when_allowed)
{
	json_t *value;
	int status;

	json_decref(get_json("/mesh/apps", &status));
	ck_assert_int_eq(status, 404);
	control.config.admin_apps = 1;
	value = get_json("/mesh/apps", &status);
	ck_assert_int_eq(status, 200);
	ck_assert_str_eq(
	    member(json_array_get(value, 0), "app_id"), "333333333333");
	json_decref(value);
	value = get_json("/mesh/members", &status);
	ck_assert_int_eq(status, 200);
	ck_assert_uint_eq(json_array_size(value), 2);
	ck_assert_str_eq(member(json_array_get(value, 1), "node_id"), "beta");
	ck_assert_str_eq(member(json_array_get(value, 1), "state"), "alive");
	json_decref(value);
}
END_TEST

/* Rows of a hostile process: text without an end, not UTF-8, no such state. */
START_TEST(test_hostile_rows)
{
	json_t *value, *row;
	int status;

	memset(fixture.nodes[1].node_id, 'x', sizeof(fixture.nodes[1].node_id));
	memset(
	    fixture.nodes[1].endpoint, 0xff, sizeof(fixture.nodes[1].endpoint));
	fixture.nodes[1].state = 0x80000000;
	fixture.nodes[1].not_after = INT64_MIN;
	fixture.nodes[0].not_after = INT64_MAX;
	value = get_json("/mesh/members", &status);
	row = json_array_get(value, 1);
	ck_assert_uint_eq(strlen(member(row, "node_id")), NODE_ID_SIZE);
	ck_assert_str_eq(member(row, "endpoint"), "?");
	ck_assert_str_eq(member(row, "state"), "?");
	json_decref(value);
}
END_TEST

START_TEST(test_read_only)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE",
		"OPTIONS", "PATCH", "TRACE" };
	char request[128], *text;
	size_t i;

	for (i = 0; i < 6; i++) {
		snprintf(request, sizeof(request),
		    "%s /metrics HTTP/1.1\r\n"
		    "Content-Length: 2\r\n\r\n{}",
		    methods[i]);
		text = ask_http(request);
		ck_assert_ptr_nonnull(strstr(text, "HTTP/1.1 405 "));
		ck_assert_ptr_nonnull(strstr(text, "\r\nAllow: GET, HEAD\r\n"));
		ck_assert_ptr_nonnull(strstr(text, "{\"error\":"));
		free(text);
	}
	text = ask_http("HEAD /healthz HTTP/1.1\r\n\r\n");
	ck_assert_ptr_nonnull(strstr(text, "HTTP/1.1 200 "));
	ck_assert_str_eq(strstr(text, "\r\n\r\n"), "\r\n\r\n");
	ck_assert_ptr_nonnull(
	    strstr(text, "\r\nX-Content-Type-Options: nosniff\r\n"));
	ck_assert_ptr_nonnull(strstr(text, "\r\nCache-Control: no-store\r\n"));
	free(text);
}
END_TEST

START_TEST(test_errors)
{
	char *text;
	int status;

	json_decref(get_json("/nothing", &status));
	ck_assert_int_eq(status, 404);
	text = ask_http("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	ck_assert_ptr_nonnull(strstr(text, "HTTP/1.1 403 "));
	ck_assert_ptr_nonnull(strstr(text, "{\"error\":"));
	ck_assert_ptr_nonnull(
	    strstr(text, "\r\nContent-Security-Policy: default-src 'none'; "
			 "frame-ancestors 'none'\r\n"));
	free(text);
}
END_TEST

/* A request that is too long has an answer, whatever it is that is long, and
 * although nobody read the rest of it. */
START_TEST(test_too_large)
{
	static const char *const begins[] = { "", "GET /", "GET / HTTP/1.1\r\n",
		"GET / HTTP/1.1\r\nA: ", "GET / HTTP/1.1\r\nA: b\r\n" };
	static const char *const fills[] = { "a", "/", "A: b\r\n", "?",
		"\t \r\n" };
	static char large[40 * HTTP_REQUEST];
	size_t i, k, at, n;

	for (i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		for (k = 0; k < sizeof(fills) / sizeof(fills[0]); k++) {
			n = strlen(begins[i]);
			memcpy(large, begins[i], n);
			for (at = n; at < sizeof(large); at++)
				large[at] =
				    fills[k][(at - n) % strlen(fills[k])];
			if (k < 2)
				ck_assert_int_eq(
				    answer_status(large, HTTP_REQUEST + 32, 0),
				    400);
			ck_assert_int_eq(
			    answer_status(large, sizeof(large), 0), 400);
		}
}
END_TEST

/* 1 when /healthz is answered in the end. */
static int
healthy(int fd)
{
	int eof, good;
	char *text = fixture_read(fd, NULL, &eof);

	good = strstr(text, "HTTP/1.1 200 ") != NULL;
	free(text);
	return (good);
}

/* Not more than the cap are served at a time, and who comes then waits. A
 * client that leaves in the middle harms nobody. */
START_TEST(test_connections)
{
	static const char ask[] = "GET /healthz HTTP/1.1\r\n\r\n";
	int fds[HTTP_CONNECTIONS], i, late;
	char byte;

	for (i = 0; i < HTTP_CONNECTIONS; i++) {
		fds[i] = fixture_connect(1);
		fixture_turn();
	}
	late = fixture_connect(1);
	(void)send(late, ask, sizeof(ask) - 1, 0);
	for (i = 0; i < 1000; i++)
		fixture_turn();
	ck_assert_int_eq(recv(late, &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	/* Those that are served are answered. */
	(void)send(fds[0], ask, sizeof(ask) - 1, 0);
	ck_assert(healthy(fds[0]));
	ck_assert_int_eq(recv(late, &byte, 1, MSG_DONTWAIT), -1);
	for (i = 0; i < HTTP_CONNECTIONS; i++) {
		(void)send(
		    fds[i], ask, i % 2 ? sizeof(ask) - 1 : 9, MSG_NOSIGNAL);
		close(fds[i]);
	}
	/* There are places again, as soon as control has noticed. */
	ck_assert(healthy(late));
	close(late);
	/* As often as one likes. */
	for (i = 0; i < 3 * HTTP_CONNECTIONS; i++) {
		late = fixture_connect(1);
		(void)send(late, ask, sizeof(ask) - 1, 0);
		if (i % 3 == 0)
			ck_assert(healthy(late));
		close(late);
	}
	late = fixture_connect(1);
	(void)send(late, ask, sizeof(ask) - 1, 0);
	ck_assert(healthy(late));
	close(late);
}
END_TEST

/* Listeners go and come at a reload: who is there is answered. */
START_TEST(test_listeners)
{
	static const char ask[] = "GET /healthz HTTP/1.1\r\n\r\n";
	int early = fixture_connect(1), late;

	fixture_turn();
	(void)send(early, ask, 9, 0);
	fixture_turn();
	http_listeners_close();
	late = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(late, (struct sockaddr *)&fixture.http_address,
			     sizeof(fixture.http_address)),
	    -1);
	close(late);
	(void)send(early, ask + 9, sizeof(ask) - 10, 0);
	ck_assert(healthy(early));
	close(early);
	fixture_listen_http();
	late = fixture_connect(1);
	(void)send(late, ask, sizeof(ask) - 1, 0);
	ck_assert(healthy(late));
	close(late);
	/* One that waits for its answer at the end. */
	fixture.fakes[PROCESS_MESH].silent = 1;
	late = fixture_connect(1);
	(void)send(late, ask, sizeof(ask) - 1, 0);
	while (fixture.fakes[PROCESS_MESH].asked[IPC_METRICS_GET] < 3)
		fixture_turn();
	http_close_all();
	fixture.fakes[PROCESS_MESH].silent = 0;
	ck_assert(!healthy(late));
	close(late);
}
END_TEST

/* A client that reads little at a time gets all, one that says more without
 * end does not keep its answer away. */
START_TEST(test_slow_reader)
{
	static const char ask[] = "GET / HTTP/1.1\r\n\r\n";
	static char more[65536];
	int64_t until = clock_monotonic() + BOUND;
	int fd = fixture_connect(1), small = 1;
	size_t got = 0, length = 0;
	char text[2048], *at;
	ssize_t n;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	(void)send(fd, ask, sizeof(ask) - 1, 0);
	do {
		ck_assert(clock_monotonic() < until);
		fixture_turn();
		(void)send(fd, more, sizeof(more), MSG_DONTWAIT | MSG_NOSIGNAL);
		n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
		if (n <= 0)
			continue;
		text[n] = '\0';
		if (length == 0) {
			ck_assert_ptr_nonnull(
			    at = strstr(text, "\r\nContent-Length: "));
			length = strtoul(at + 18, NULL, 10);
			ck_assert_ptr_nonnull(at = strstr(text, "\r\n\r\n"));
			length += (size_t)(at + 4 - text);
		}
		got += (size_t)n;
	} while (n != 0);
	ck_assert_uint_gt(got, 16384);
	ck_assert_uint_eq(got, length);
	close(fd);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("control_http");
	TCase *tests = tcase_create("control_http");

	tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, test_requests);
	tcase_add_test(tests, test_host);
	tcase_add_test(tests, test_health);
	tcase_add_test(tests, test_readiness);
	tcase_add_test(tests, test_store_not_writable);
	tcase_add_test(tests, test_vitals);
	tcase_add_test(tests, test_page);
	tcase_add_test(tests, test_metrics);
	tcase_add_test(tests, test_L26_ten_thousand_apps_and_chats);
	tcase_add_test(tests, test_ratchets);
	tcase_add_test(tests, test_L21_apps_only_when_allowed);
	tcase_add_test(tests, test_hostile_rows);
	tcase_add_test(tests, test_read_only);
	tcase_add_test(tests, test_errors);
	tcase_add_test(tests, test_too_large);
	tcase_add_test(tests, test_connections);
	tcase_add_test(tests, test_listeners);
	tcase_add_test(tests, test_slow_reader);
	suite_add_tcase(suite, tests);
	return (suite_run(suite));
}
