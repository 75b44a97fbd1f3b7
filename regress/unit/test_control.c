/*
 * control: hermesctl's socket and its commands, and hermesctl's own half of
 * the conversation, with the neighbours played by the test.
 */

#include <sys/stat.h>
#include <sys/wait.h>

#include "common/sign/ticket.h"
#include "control/ctl.h"
#include "regress/unit/control_fixture.h"
#include "regress/unit/suite.h"

/* The payload that a neighbour received last. */
#define LAST(process, type)                                                    \
	((const struct type *)(const void *)fixture.fakes[process].last)

static unsigned int
asked(enum process process, enum ipc_type type)
{
	return (fixture.fakes[process].asked[type]);
}

static void
expect_error(const char *line, const char *error)
{
	json_t *last = ask_control(line, NULL);

	ck_assert(!is_ok(last));
	ck_assert_str_eq(member(last, "error"), error);
	ck_assert_str_ne(member(last, "message"), "");
	json_decref(last);
}

static void
expect_ok(const char *line)
{
	json_t *last = ask_control(line, NULL);

	ck_assert_msg(is_ok(last), "%s", member(last, "message"));
	json_decref(last);
}

START_TEST(test_bad_requests)
{
	expect_error("nonsense\n", "usage");
	expect_error("[]\n", "usage");
	expect_error("{}\n", "usage");
	expect_error("\n", "usage");
	expect_error("{\"command\":7}\n", "usage");
	expect_error("{\"command\":\"dance\"}\n", "usage");
	expect_error("{\"command\":\"show\",\"command\":\"stop\"}\n", "usage");
	expect_error("{\"command\":\"show\",\"what\":\"x\"}\n", "usage");
	expect_error("{\"command\":\"ticket\",\"ttl\":0}\n", "usage");
	expect_error("{\"command\":\"ticket\",\"uses\":\"x\"}\n", "usage");
	expect_error("{\"command\":\"join\"}\n", "usage");
	expect_error(
	    "{\"command\":\"join\",\"ticket\":\"hermes1x\"}\n", "usage");
	expect_error(
	    "{\"command\":\"mesh revoke\",\"node\":\"A!\"}\n", "usage");
	expect_error("{\"command\":\"rekey\"}\n", "usage");
	expect_error(
	    "{\"command\":\"rekey\",\"all\":true,\"chat\":\"x\"}\n", "usage");
	control.identity.unlocked = 0;
	expect_error("{\"command\":\"unlock\"}\n", "usage");
	ck_assert_uint_eq(asked(PROCESS_PARENT, IPC_STOP), 0);
}
END_TEST

START_TEST(test_show_rows)
{
	static const char *const whats[] = { "sessions", "chats", "ratchets",
		"apps", "tielines" };
	char line[96];
	json_t *last, *rows;
	size_t i;

	for (i = 0; i < 5; i++) {
		snprintf(line, sizeof(line),
		    "{\"command\":\"show\",\"what\":\"%s\"}\n", whats[i]);
		last = ask_control(line, &rows);
		ck_assert(is_ok(last));
		ck_assert_uint_eq(json_array_size(rows), 1);
		json_decref(last);
		json_decref(rows);
	}
	last = ask_control("{\"command\":\"show\",\"what\":\"nodes\","
			   "\"full\":true}\n",
	    &rows);
	ck_assert_int_eq(json_integer_value(json_object_get(last, "count")), 2);
	ck_assert_str_eq(member(json_array_get(rows, 1), "node_id"), "beta");
	ck_assert_uint_eq(
	    strlen(member(json_array_get(rows, 1), "node_key")), 64);
	json_decref(last);
	json_decref(rows);
}
END_TEST

START_TEST(test_summary_status_metrics_certificate)
{
	json_t *last, *summary;

	last = ask_control("{\"command\":\"show\"}\n", NULL);
	summary = json_object_get(last, "summary");
	ck_assert_str_eq(member(summary, "node_id"), "alpha");
	ck_assert(json_is_true(json_object_get(summary, "unlocked")));
	ck_assert(json_is_null(json_object_get(summary, "mesh_id")));
	json_decref(last);
	last = ask_control("{\"command\":\"status\"}\n", NULL);
	ck_assert(json_is_true(json_object_get(last, "ready")));
	ck_assert_uint_eq(
	    json_array_size(json_object_get(last, "processes")), 5);
	json_decref(last);
	last = ask_control("{\"command\":\"metrics\"}\n", NULL);
	ck_assert_ptr_nonnull(strstr(
	    member(last, "metrics"), "# TYPE hermes_chats_active gauge\n"));
	json_decref(last);
	expect_error(
	    "{\"command\":\"show\",\"what\":\"certificate\"}\n", "failed");
	control.certificate = strdup("-----BEGIN\n");
	last = ask_control("{\"command\":\"show\",\"what\":\"certificate\"}"
			   "\n",
	    NULL);
	ck_assert_str_eq(member(last, "certificate"), "-----BEGIN\n");
	json_decref(last);
}
END_TEST

START_TEST(test_plain_commands)
{
	expect_ok("{\"command\":\"erase\"}\n");
	ck_assert_uint_eq(asked(PROCESS_KEYD, IPC_ERASE), 1);
	expect_ok("{\"command\":\"mesh create\"}\n");
	ck_assert_uint_eq(asked(PROCESS_KEYD, IPC_MESH_CREATE), 1);
	expect_ok("{\"command\":\"reload\"}\n");
	ck_assert_uint_eq(asked(PROCESS_PARENT, IPC_RELOAD), 1);
	expect_ok("{\"command\":\"stop\"}\n");
	ck_assert_uint_eq(asked(PROCESS_PARENT, IPC_STOP), 1);
	expect_ok("{\"command\":\"mesh revoke\",\"node\":\"beta\"}\n");
	ck_assert_str_eq(LAST(PROCESS_KEYD, ipc_revoke)->node_id, "beta");
	fixture.refusal = "no such member";
	expect_error(
	    "{\"command\":\"mesh revoke\",\"node\":\"beta\"}\n", "failed");
}
END_TEST

/* A process that is down, dies during the question, or says nothing. */
START_TEST(test_missing_processes)
{
	json_t *last;
	int fd, eof;
	char *text;

	fixture.fakes[PROCESS_ROUTER].silent = 1;
	last = ask_control("{\"command\":\"show\",\"what\":\"chats\"}\n", NULL);
	ck_assert_str_eq(member(last, "error"), "timeout");
	ck_assert_str_eq(json_string_value(json_array_get(
			     json_object_get(last, "missing"), 0)),
	    "router");
	json_decref(last);
	/* Others are shown with what there is. */
	fd = fixture_connect(0);
	ck_assert_int_eq(send(fd, "{\"command\":\"show\"}\n", 19, 0), 19);
	while (asked(PROCESS_ROUTER, IPC_METRICS_GET) == 0)
		fixture_turn();
	fake_kill(PROCESS_ROUTER);
	text = fixture_read(fd, "\"ok\":", &eof);
	ck_assert_ptr_nonnull(strstr(text, "\"missing\":[\"router\"]"));
	ck_assert_ptr_nonnull(strstr(text, "{\"ok\":true"));
	free(text);
	close(fd);
	expect_error(
	    "{\"command\":\"show\",\"what\":\"chats\"}\n", "unavailable");
}
END_TEST

/* What comes after the end of its question goes nowhere. */
START_TEST(test_late_and_foreign_answers)
{
	struct ipc_request end = { 0, 0 };
	struct ipc_result result = { 0, 1, 0 };
	uint64_t id;

	fixture.fakes[PROCESS_KEYD].silent = 1;
	for (id = 0; id < 50; id++) {
		end.id = result.id = id;
		ipc_send(fixture.fakes[PROCESS_KEYD].end, IPC_SHOW_END, &end,
		    NULL, 0);
		ipc_send(fixture.fakes[PROCESS_MESH].end, IPC_RESULT, &result,
		    NULL, 0);
	}
	expect_ok("{\"command\":\"show\",\"what\":\"nodes\"}\n");
}
END_TEST

static void
make_ticket(struct ticket *ticket, int64_t expires_at)
{
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	uint8_t bytes[TICKET_ENCODED_MAX];
	size_t length;

	memset(ticket, 0, sizeof(*ticket));
	crypto_sign_keypair(ticket->authority, secret);
	mesh_id_make(ticket->mesh_id, ticket->authority);
	ticket->expires_at = expires_at;
	ticket->endpoint_count = 1;
	crypto_sign_keypair(ticket->endpoints[0].node_key, bytes);
	strcpy(ticket->endpoints[0].endpoint, "127.0.0.1:7444");
	length = ticket_signed_bytes(ticket, bytes);
	crypto_sign_detached(ticket->signature, NULL, bytes, length, secret);
}

START_TEST(test_ticket_and_join)
{
	json_t *last;
	char text[TICKET_TEXT_MAX], line[TICKET_TEXT_MAX + 64];

	make_ticket(&fixture.ticket.ticket, clock_wall() + 60 * CLOCK_SECOND);
	last = ask_control(
	    "{\"command\":\"ticket\",\"ttl\":60,\"uses\":3}\n", NULL);
	ck_assert(is_ok(last));
	ck_assert_int_eq(
	    LAST(PROCESS_KEYD, ipc_ticket_make)->lifetime, 60 * CLOCK_SECOND);
	ck_assert_uint_eq(LAST(PROCESS_KEYD, ipc_ticket_make)->uses, 3);
	ticket_to_text(&fixture.ticket.ticket, text);
	ck_assert_str_eq(member(last, "ticket"), text);
	json_decref(last);

	snprintf(line, sizeof(line),
	    "{\"command\":\"join\",\"ticket\":\"%s\"}\n", text);
	expect_ok(line);
	ck_assert_mem_eq(&LAST(PROCESS_MESH, ipc_ticket)->ticket,
	    &fixture.ticket.ticket, sizeof(struct ticket));
	ck_assert_mem_eq(&LAST(PROCESS_KEYD, ipc_ticket)->ticket,
	    &fixture.ticket.ticket, sizeof(struct ticket));

	/* What keyd does not allow, mesh never hears of. */
	fixture.refusal = "locked";
	expect_error(line, "failed");
	fixture.refusal = NULL;
	ck_assert_uint_eq(asked(PROCESS_KEYD, IPC_JOIN_ALLOW), 2);
	ck_assert_uint_eq(asked(PROCESS_MESH, IPC_JOIN), 1);

	fixture.ticket.ticket.signature[0] ^= 1;
	ticket_to_text(&fixture.ticket.ticket, text);
	snprintf(line, sizeof(line),
	    "{\"command\":\"join\",\"ticket\":\"%s\"}\n", text);
	expect_error(line, "failed");
	make_ticket(&fixture.ticket.ticket, clock_wall() - CLOCK_SECOND);
	ticket_to_text(&fixture.ticket.ticket, text);
	snprintf(line, sizeof(line),
	    "{\"command\":\"join\",\"ticket\":\"%s\"}\n", text);
	expect_error(line, "failed");
	ck_assert_uint_eq(asked(PROCESS_MESH, IPC_JOIN), 1);
}
END_TEST

START_TEST(test_rekey)
{
	json_t *last, *rows;

	fixture_row_ratchet(0, "first", 0x11, 0x22, 0);
	fixture_row_ratchet(1, "first", 0x22, 0x11, 1); /* its other side */
	fixture_row_ratchet(2, "firsts", 0x11, 0x44, 0);
	/* A whole chat id wins over one that it begins. */
	last =
	    ask_control("{\"command\":\"rekey\",\"chat\":\"first\"}\n", NULL);
	ck_assert(is_ok(last));
	ck_assert_uint_eq(json_array_size(json_object_get(last, "chats")), 2);
	json_decref(last);
	ck_assert_uint_eq(asked(PROCESS_KEYD, IPC_REKEY), 2);
	/* A prefix of two is ambiguous, and both are listed. */
	last =
	    ask_control("{\"command\":\"rekey\",\"chat\":\"firs\"}\n", &rows);
	ck_assert_str_eq(member(last, "error"), "ambiguous");
	ck_assert_uint_eq(json_array_size(rows), 3);
	json_decref(last);
	json_decref(rows);
	/* By handle (of "firsts", whose bytes are its length) and by app. */
	expect_ok("{\"command\":\"rekey\",\"chat\":\"06060606\"}\n");
	ck_assert_uint_eq(asked(PROCESS_KEYD, IPC_REKEY), 3);
	ck_assert_int_eq(LAST(PROCESS_KEYD, ipc_rekey)->key.handle[0], 6);
	expect_ok("{\"command\":\"rekey\",\"chat\":\"4444\"}\n");
	expect_error(
	    "{\"command\":\"rekey\",\"chat\":\"1111\"}\n", "ambiguous");
	/* Three digits name nothing. */
	expect_error("{\"command\":\"rekey\",\"chat\":\"444\"}\n", "not_found");
	expect_ok("{\"command\":\"rekey\",\"app\":\"1111\"}\n");
	ck_assert_uint_eq(asked(PROCESS_KEYD, IPC_REKEY), 7);
	expect_ok("{\"command\":\"rekey\",\"all\":true}\n");
	ck_assert_uint_eq(asked(PROCESS_KEYD, IPC_REKEY), 8);
	ck_assert_uint_eq(LAST(PROCESS_KEYD, ipc_rekey)->all, 1);
	fixture.refusal = "REKEY_THROTTLED";
	expect_error("{\"command\":\"rekey\",\"chat\":\"first\"}\n", "failed");
}
END_TEST

/* Run a function of hermesctl in a process of its own, with the loop turned
 * here. Its exit status; what it prints goes to out. */
static int
run_ctl(int (*run)(struct ctl *, int, char **), int argc, char **argv,
    const char *input, char *out, size_t size, uid_t uid)
{
	struct ctl ctl = { fixture.unix_address.sun_path, 0, 0, 60, -1,
		{ -1, -1 }, NULL };
	char name[] = "/tmp/hermes-out-XXXXXX";
	int64_t until = clock_monotonic() + BOUND;
	int status, fd = mkstemp(name), ends[2];
	pid_t pid;

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(
	    write(ends[1], input, strlen(input)), (ssize_t)strlen(input));
	close(ends[1]);
	if ((pid = fork()) == 0) {
		(void)dup2(ends[0], STDIN_FILENO);
		(void)dup2(fd, STDOUT_FILENO);
		if (uid != 0 && setresuid(uid, uid, uid) == -1)
			_exit(99);
		status = run(&ctl, argc, argv);
		(void)fflush(stdout);
		_exit(status);
	}
	close(ends[0]);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		ck_assert(clock_monotonic() < until);
		fixture_turn();
	}
	ck_assert(WIFEXITED(status));
	(void)lseek(fd, 0, SEEK_SET);
	out[read(fd, out, size - 1)] = '\0';
	close(fd);
	(void)unlink(name);
	return (WEXITSTATUS(status));
}

static int
show_nodes(struct ctl *ctl, int argc, char **argv)
{
	size_t matches;

	return (ctl_word_find(ctl_show_words, "no", &matches)
		    ->run(ctl, argc, argv));
}

START_TEST(test_hermesctl_shows)
{
	char out[4096];
	char *json[] = { (char[]){ "-j" } };
	json_t *value;

	ck_assert_int_eq(
	    run_ctl(show_nodes, 0, NULL, "", out, sizeof(out), 0), CTL_OK);
	ck_assert_str_eq(out,
	    "NODE   STATE  KEY           APPS    RTT   SEEN  ENDPOINT\n"
	    "alpha  alive  aaaaaaaaaaaa     0  2.0ms      -  127.0.0.1:1\n"
	    "beta   alive  bbbbbbbbbbbb     0  2.0ms  0.0ms  127.0.0.1:1\n");
	ck_assert_int_eq(
	    run_ctl(show_nodes, 1, json, "", out, sizeof(out), 0), CTL_OK);
	value = json_loads(out, 0, NULL);
	ck_assert_uint_eq(json_array_size(json_object_get(value, "nodes")), 2);
	json_decref(value);
	ck_assert_int_eq(
	    run_ctl(ctl_status, 0, NULL, "", out, sizeof(out), 0), CTL_OK);
	ck_assert_ptr_nonnull(strstr(out, "ready\n"));
	control.identity.unlocked = 0;
	ck_assert_int_eq(
	    run_ctl(ctl_status, 0, NULL, "", out, sizeof(out), 0), CTL_FAILED);
	ck_assert_ptr_nonnull(strstr(out, "not ready\n  keyd locked\n"));
	fake_kill(PROCESS_MESH);
	ck_assert_int_eq(
	    run_ctl(show_nodes, 0, NULL, "", out, sizeof(out), 0), CTL_FAILED);
}
END_TEST

/* The passphrase goes through control unread, to keyd. */
START_TEST(test_hermesctl_unlocks)
{
	char out[256];

	control.identity.unlocked = 0;
	ck_assert_int_eq(
	    run_ctl(ctl_unlock, 0, NULL, "open sesame\nx", out, sizeof(out), 0),
	    CTL_OK);
	ck_assert_str_eq(fixture.fakes[PROCESS_KEYD].secret, "open sesame");
	ck_assert_int_eq(
	    run_ctl(ctl_unlock, 0, NULL, "\n", out, sizeof(out), 0), CTL_USAGE);
	fixture.refusal = "wrong passphrase";
	ck_assert_int_eq(
	    run_ctl(ctl_unlock, 0, NULL, "closed", out, sizeof(out), 0),
	    CTL_FAILED);
	control.identity.unlocked = 1;
	ck_assert_int_eq(
	    run_ctl(ctl_unlock, 0, NULL, "again", out, sizeof(out), 0), CTL_OK);
	ck_assert_uint_eq(asked(PROCESS_KEYD, IPC_PASSPHRASE), 2);
}
END_TEST

/* Who may connect but is neither root nor the daemon's user only looks. */
START_TEST(test_others_only_look)
{
	char out[4096];

	if (geteuid() != 0)
		return; /* nobody else to be */
	ck_assert_int_eq(
	    run_ctl(show_nodes, 0, NULL, "", out, sizeof(out), 65534), CTL_OK);
	ck_assert_int_eq(
	    run_ctl(ctl_reload, 0, NULL, "", out, sizeof(out), 65534),
	    CTL_DENIED);
	ck_assert_int_eq(
	    run_ctl(ctl_mesh_create, 0, NULL, "", out, sizeof(out), 65534),
	    CTL_DENIED);
	ck_assert_uint_eq(asked(PROCESS_PARENT, IPC_RELOAD), 0);
	ck_assert_int_eq(
	    run_ctl(ctl_reload, 0, NULL, "", out, sizeof(out), 0), CTL_OK);
}
END_TEST

START_TEST(test_socket_limits)
{
	int fds[SOCKET_CLIENTS], i, eof;
	char long_line[SOCKET_LINE + 1], *text;
	const char *lines = "{}\n"
			    "{\"command\":\"show\",\"what\":\"nodes\"}\n{}\n";

	memset(long_line, 'a', sizeof(long_line));
	fds[0] = fixture_connect(0);
	(void)send(fds[0], long_line, sizeof(long_line), MSG_NOSIGNAL);
	text = fixture_read(fds[0], NULL, &eof);
	ck_assert_str_eq(text, "");
	free(text);
	close(fds[0]);
	for (i = 0; i < SOCKET_CLIENTS; i++) {
		fds[i] = fixture_connect(0);
		fixture_turn();
	}
	i = fixture_connect(0);
	text = fixture_read(i, NULL, &eof);
	ck_assert_str_eq(text, "");
	free(text);
	close(i);
	/* Several lines at once are answered in their order; half a
	 * conversation is enough. */
	(void)send(fds[0], lines, strlen(lines), 0);
	(void)shutdown(fds[0], SHUT_WR);
	text = fixture_read(fds[0], NULL, &eof);
	ck_assert_int_eq(strncmp(text, "{\"ok\":false", 11), 0);
	ck_assert_ptr_nonnull(strstr(text, "{\"ok\":true,\"count\":2}\n"
					   "{\"ok\":false"));
	free(text);
	/* Clients that leave in the middle of a question harm nobody. */
	for (i = 1; i < SOCKET_CLIENTS; i++) {
		(void)send(fds[i], "{\"command\":\"show\"}\n", 19, 0);
		if (i % 2)
			fixture_turn();
		close(fds[i]);
	}
	fixture_turn();
	close(fds[0]);
	fixture_turn();
	expect_ok("{\"command\":\"show\"}\n");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("control");
	TCase *tests = tcase_create("control");

	tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, test_bad_requests);
	tcase_add_test(tests, test_show_rows);
	tcase_add_test(tests, test_summary_status_metrics_certificate);
	tcase_add_test(tests, test_plain_commands);
	tcase_add_test(tests, test_missing_processes);
	tcase_add_test(tests, test_late_and_foreign_answers);
	tcase_add_test(tests, test_ticket_and_join);
	tcase_add_test(tests, test_rekey);
	tcase_add_test(tests, test_hermesctl_shows);
	tcase_add_test(tests, test_hermesctl_unlocks);
	tcase_add_test(tests, test_others_only_look);
	tcase_add_test(tests, test_socket_limits);
	suite_add_tcase(suite, tests);
	return (suite_run(suite));
}
