/*
 * control/ctl_*.c without a daemon: keywords, arguments, tables, init.
 */

#include <sys/stat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "common/util/clock.h"
#include "control/ctl.h"
#include "control/ctl_top.h"
#include "regress/unit/suite.h"

static const char *
found(const char *arg)
{
	const struct ctl_word *word;
	size_t matches;

	word = ctl_word_find(ctl_show_words, arg, &matches);
	ck_assert_int_eq(word != NULL, matches == 1);
	return (word == NULL ? "" : word->word);
}

START_TEST(test_word_prefixes)
{
	static const struct ctl_word words[] = { { "app", "", NULL, NULL },
		{ "apple", "TREE", NULL, NULL }, { NULL, NULL, NULL, NULL } };
	size_t matches;

	ck_assert_str_eq(found("no"), "nodes");
	ck_assert_str_eq(found("nodes"), "nodes");
	ck_assert_str_eq(found("nodesx"), "");
	ck_assert_str_eq(found("s"), ""); /* sessions summary */
	ck_assert_str_eq(found("su"), "summary");
	ck_assert_str_eq(found("ce"), "certificate");
	ck_assert_str_eq(found("c"), "");
	ck_assert_str_eq(found("x"), "");
	/* A whole word is never ambiguous. */
	ck_assert_str_eq(ctl_word_find(words, "app", &matches)->word, "app");
	ck_assert_ptr_null(ctl_word_find(words, "ap", &matches));
	ck_assert_uint_eq(matches, 2);
	ck_assert_ptr_null(ctl_word_find(words, "", &matches));
}
END_TEST

START_TEST(test_word_errors_list_what_is_possible)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_int_eq(ctl_word_error(ctl_show_words, "c", out), CTL_USAGE);
	ck_assert_int_eq(ctl_word_error(ctl_show_words, "zz", out), CTL_USAGE);
	fclose(out);
	ck_assert_str_eq(text,
	    "hermesctl: c: ambiguous; it begins:\n"
	    "  certificate\n  chats\n  config\n"
	    "hermesctl: zz: unknown; known are:\n"
	    "  apps\n  certificate\n  chats\n  config\n  metrics\n  nodes\n"
	    "  penalties\n  ratchets\n  sessions\n  summary\n  tickets\n  "
	    "tielines\n");
	free(text);
}
END_TEST

START_TEST(test_durations)
{
	ck_assert_int_eq(ctl_duration("90"), 90);
	ck_assert_int_eq(ctl_duration("90s"), 90);
	ck_assert_int_eq(ctl_duration("15m"), 900);
	ck_assert_int_eq(ctl_duration("1h"), 3600);
	ck_assert_int_eq(ctl_duration("7d"), 7 * 86400);
	ck_assert_int_eq(ctl_duration("2w"), 14 * 86400);
	ck_assert_int_eq(ctl_duration(""), -1);
	ck_assert_int_eq(ctl_duration("0"), -1);
	ck_assert_int_eq(ctl_duration("-1h"), -1);
	ck_assert_int_eq(ctl_duration("1hh"), -1);
	ck_assert_int_eq(ctl_duration("1y"), -1);
	ck_assert_int_eq(ctl_duration("999999999999999w"), -1);
	ck_assert_int_eq(ctl_duration("99999999999999999999"), -1);
}
END_TEST

START_TEST(test_addresses)
{
	char address[16];
	int port;

	ck_assert_int_eq(
	    ctl_address("127.0.0.1:7443", address, sizeof(address), &port), 0);
	ck_assert_str_eq(address, "127.0.0.1");
	ck_assert_int_eq(port, 7443);
	ck_assert_int_eq(
	    ctl_address("[::1]:1", address, sizeof(address), &port), 0);
	ck_assert_str_eq(address, "::1");
	ck_assert_int_eq(
	    ctl_address("[::1:1", address, sizeof(address), &port), -1);
	ck_assert_int_eq(ctl_address("a", address, sizeof(address), &port), -1);
	ck_assert_int_eq(
	    ctl_address(":1", address, sizeof(address), &port), -1);
	ck_assert_int_eq(
	    ctl_address("a:0", address, sizeof(address), &port), -1);
	ck_assert_int_eq(
	    ctl_address("a:65536", address, sizeof(address), &port), -1);
	ck_assert_int_eq(
	    ctl_address("a\"\nnode b:1", address, sizeof(address), &port), -1);
	ck_assert_int_eq(ctl_address("a-name-too-long-for-it:1", address,
			     sizeof(address), &port),
	    -1);
}
END_TEST

START_TEST(test_options)
{
	struct ctl ctl = { "s", 0, 0, 1, -1, { -1, -1 }, NULL };
	const char *ttl = NULL;
	int now = 0;
	const struct ctl_option options[] = { { "--ttl", &ttl, NULL },
		{ "--now", NULL, &now }, { NULL, NULL, NULL } };
	char *a[] = { (char[]){ "x" }, (char[]){ "-j" }, (char[]){ "--ttl" },
		(char[]){ "1h" }, (char[]){ "-" }, (char[]){ "--now" } };
	char *b[] = { (char[]){ "--ttl=5m" }, (char[]){ "--" },
		(char[]){ "-j" } };
	char *bad[] = { (char[]){ "--what" } };
	char *none[] = { (char[]){ "--ttl" } };
	char *value[] = { (char[]){ "--now=1" } };

	ck_assert_int_eq(ctl_options(&ctl, options, 6, a, 2, 2), 2);
	ck_assert_str_eq(a[0], "x");
	ck_assert_str_eq(a[1], "-");
	ck_assert_str_eq(ttl, "1h");
	ck_assert_int_eq(now, 1);
	ck_assert_int_eq(ctl.json, 1);
	ctl.json = 0;
	ck_assert_int_eq(ctl_options(&ctl, options, 3, b, 0, 1), 1);
	ck_assert_str_eq(ttl, "5m");
	ck_assert_str_eq(b[0], "-j");
	ck_assert_int_eq(ctl.json, 0);
	ck_assert_int_eq(ctl_options(&ctl, options, 1, bad, 0, 1), -1);
	ck_assert_int_eq(ctl_options(&ctl, options, 1, none, 0, 1), -1);
	ck_assert_int_eq(ctl_options(&ctl, options, 1, value, 0, 1), -1);
	ck_assert_int_eq(ctl_options(&ctl, options, 0, NULL, 1, 1), -1);
	ck_assert_int_eq(ctl_options(&ctl, options, 1, a, 0, 0), -1);
}
END_TEST

START_TEST(test_cells)
{
	json_t *list = json_pack("[s s]", "keyd locked", "draining");
	char text[64];

	ctl_cell(text, sizeof(text), list, CTL_TEXT);
	ck_assert_str_eq(text, "keyd locked, draining");
	ctl_cell(text, 8, list, CTL_TEXT);
	ck_assert_str_eq(text, "keyd lo");
	json_array_clear(list);
	ctl_cell(text, sizeof(text), list, CTL_TEXT);
	ck_assert_str_eq(text, "-");
	json_array_append_new(list, json_integer(1));
	ctl_cell(text, sizeof(text), list, CTL_TEXT);
	ck_assert_str_eq(text, "?");
	json_decref(list);
}
END_TEST

START_TEST(test_table)
{
	static const struct ctl_column columns[] = {
		{ "NAME", "name", CTL_TEXT, 6 }, { "N", "n", CTL_NUMBER, 0 },
		{ "RTT", "rtt", CTL_SECONDS, 0 }, { "UP", "up", CTL_YES_NO, 0 },
		{ "WHEN", "when", CTL_TIME, 0 }, { NULL, NULL, CTL_TEXT, 0 }
	};
	json_t *rows;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	rows = json_pack("[{s:s s:i s:f s:b s:s} {s:s s:i s:n s:b s:n}]",
	    "name", "a", "n", 7, "rtt", 0.0015, "up", 1, "when",
	    "2026-01-31T12:34:56Z", "name", "long\033[2Jer", "n", 12345, "rtt",
	    "up", 0, "when");
	ck_assert_ptr_nonnull(rows);
	ctl_table(out, columns, rows, 0);
	ctl_table(out, columns, rows, 1);
	fclose(out);
	ck_assert_str_eq(text,
	    "NAME        N    RTT  UP   WHEN\n"
	    "a           7  1.5ms  yes  2026-01-31 12:34\n"
	    "long?~  12345      -  no   -\n"
	    "NAME            N    RTT  UP   WHEN\n"
	    "a               7  1.5ms  yes  2026-01-31 12:34\n"
	    "long?[2Jer  12345      -  no   -\n");
	free(text);
	json_decref(rows);
}
END_TEST

/* --- top ----------------------------------------------------------------- */

#define TOP_NODES 30
#define TOP_CHATS 1000

/* What a large node says, after n seconds. Chat i goes i messages a second
 * from here; node 7 has failed, and 8 is called something odd. */
static void
large_sample(struct top_sample *sample, int n)
{
	char name[32];
	int i;

	sample->at = (n + 1) * CLOCK_SECOND;
	sample->summary = json_pack("{s:s s:s s:b s:s s:i s:i}", "node_id",
	    "alpha", "mesh_id", "0123456789abcdef", "authority", 1, "up_since",
	    "2026-01-31T12:34:56Z", "messages_sent", 12345 * n, "nodes_alive",
	    TOP_NODES - 1);
	sample->status =
	    json_pack("{s:b s:[s] s:[{s:i} {s:i}]}", "ready", 0, "reasons",
		"disk nearly full", "processes", "restarts", 1, "restarts", 2);
	sample->nodes = json_array();
	for (i = 0; i < TOP_NODES; i++) {
		snprintf(name, sizeof(name),
		    i == 8 ? "node-%02d\033[2J" : "node-%02d", i);
		(void)json_array_append_new(sample->nodes,
		    json_pack("{s:s s:s s:b s:f s:f s:i s:s}", "node_id", name,
			"state", i == 7 ? "failed" : "alive", "self", i == 0,
			"rtt_seconds", 0.0015, "last_seen_seconds", 2.0, "apps",
			i, "endpoint", "192.0.2.1:7444"));
	}
	sample->chats = json_array();
	for (i = 0; i < TOP_CHATS; i++) {
		snprintf(name, sizeof(name), "%012d", i);
		(void)json_array_append_new(sample->chats,
		    json_pack("{s:s s:s s:s s:s s:s s:s s:i s:i s:i}",
			"chat_id", name, "handle", name, "local_app_id",
			"aaaaaaaaaaaa", "remote_app_id", "bbbbbbbbbbbb",
			"remote_node_id", "node-01", "state", "ready",
			"key_version", 3, "accepted", i * n, "delivered", 0));
	}
}

/* The screen, its lines without the sequences that end and part them. */
static size_t
drawn_lines(struct top_view *view, char *text, char *lines[], size_t most)
{
	char *line, *end, *rest;
	size_t count = 0, size;
	char *all;
	FILE *out = open_memstream(&all, &size);

	top_draw(out, view);
	fclose(out);
	ck_assert_uint_lt(size, 65536);
	memcpy(text, all, size + 1);
	free(all);
	ck_assert_int_eq(strncmp(text, "\033[H", 3), 0);
	ck_assert_str_eq(text + size - 3, "\033[J");
	for (line = text + 3; line != NULL; line = rest) {
		if ((rest = strstr(line, "\r\n")) != NULL) {
			*rest = '\0';
			rest += 2;
		}
		ck_assert_ptr_nonnull(end = strstr(line, "\033[K"));
		*end = '\0';
		ck_assert_uint_lt(count, most);
		lines[count++] = line;
	}
	return (count);
}

START_TEST(test_top_draws_a_large_node)
{
	static const int sizes[][2] = { { 24, 80 }, { 50, 132 }, { 12, 60 },
		{ 10, 80 }, { 11, 80 }, { 9, 80 }, { 3, 10 }, { 1, 1 } };
	static char text[65536];
	struct top_view view = { .clock = "12:00:00" };
	char *lines[64];
	size_t i, j, count;

	large_sample(&view.before, 1);
	large_sample(&view.now, 2);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		view.rows = sizes[i][0];
		view.columns = sizes[i][1];
		count = drawn_lines(&view, text, lines, 64);
		ck_assert_uint_eq(count, (size_t)view.rows);
		for (j = 0; j < count; j++)
			ck_assert_uint_le(
			    strlen(lines[j]), (size_t)view.columns);
		if (i == 0) {
			ck_assert_str_eq(lines[1], "NOT READY: disk nearly "
						   "full");
			ck_assert_int_eq(
			    strncmp(lines[3], "messages  12.3k/s", 17), 0);
			ck_assert_ptr_nonnull(strstr(lines[4], "restarts 3"));
			ck_assert_int_eq(
			    strncmp(lines[7], "node-07   ", 10), 0);
			ck_assert_int_eq(
			    strncmp(lines[8], "node-00   ", 10), 0);
			ck_assert_str_eq(lines[13], "... and 24 more");
			ck_assert_int_eq(
			    strncmp(lines[16], "000000000999", 12), 0);
			ck_assert_ptr_nonnull(strstr(lines[16], " 999.0 "));
			ck_assert_str_eq(lines[22], "... and 994 more");
		}
	}
	top_sample_free(&view.before);
	top_sample_free(&view.now);
}
END_TEST

/* Rates need two moments; a counter that began anew counts from 0. */
START_TEST(test_top_rates)
{
	struct top_view view = { .rows = 24, .columns = 80 };
	json_t *line;

	view.now.at = 5 * CLOCK_SECOND;
	view.now.summary = json_pack("{s:i s:i}", "rekeys", 10, "errors", 4);
	ck_assert(!(top_rate(&view, "rekeys") > 0));
	view.before.at = 3 * CLOCK_SECOND;
	view.before.summary =
	    json_pack("{s:i s:i}", "rekeys", 4, "errors", 100);
	ck_assert(top_rate(&view, "rekeys") > 2.99 &&
		  top_rate(&view, "rekeys") < 3.01);
	ck_assert(top_rate(&view, "errors") > 1.99 &&
		  top_rate(&view, "errors") < 2.01);
	ck_assert(!(top_rate(&view, "nothing") > 0));
	snprintf(view.now.failure, sizeof(view.now.failure), "no answer");
	line = top_json(&view);
	ck_assert(json_is_false(json_object_get(line, "ok")));
	ck_assert_str_eq(
	    json_string_value(json_object_get(line, "message")), "no answer");
	json_decref(line);
	top_sample_free(&view.before);
	top_sample_free(&view.now);
}
END_TEST

static int
run_init(const char *dir, const char *node)
{
	struct ctl ctl = { CTL_SOCKET, 0, 0, 1, -1, { -1, -1 }, NULL };
	char where[128], name[64];
	char *argv[] = { (char[]){ "-d" }, where, (char[]){ "-n" }, name,
		(char[]){ "-a" }, (char[]){ "[::1]:9" } };

	snprintf(where, sizeof(where), "%s", dir);
	snprintf(name, sizeof(name), "%s", node);
	return (ctl_init(&ctl, 6, argv));
}

static void
read_file(const char *dir, const char *name, char *out, size_t size)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ck_assert_ptr_nonnull(file = fopen(path, "r"));
	out[fread(out, 1, size - 1, file)] = '\0';
	fclose(file);
}

START_TEST(test_init)
{
	char dir[] = "/tmp/hermes-init-XXXXXX", path[256];
	char first[4096], again[4096], config[4096], command[300];
	struct stat st;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(run_init(dir, "Not A Node"), CTL_USAGE);
	ck_assert_int_eq(run_init(dir, "alpha"), CTL_OK);
	snprintf(path, sizeof(path), "%s/keystore", dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	snprintf(path, sizeof(path), "%s/passphrase", dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	read_file(dir, "passphrase", first, sizeof(first));
	ck_assert_uint_eq(strlen(first), 65);
	read_file(dir, "hermesd.conf", config, sizeof(config));
	ck_assert_ptr_nonnull(strstr(config, "node \"alpha\"\n"));
	ck_assert_ptr_nonnull(
	    strstr(config, "listen admin on \"::1\" port 9\n"));
	/* Nothing is ever overwritten. */
	ck_assert_int_eq(run_init(dir, "beta"), CTL_FAILED);
	read_file(dir, "passphrase", again, sizeof(again));
	ck_assert_str_eq(first, again);
	read_file(dir, "hermesd.conf", again, sizeof(again));
	ck_assert_str_eq(config, again);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hermesctl");
	TCase *tests = tcase_create("hermesctl");

	tcase_add_test(tests, test_word_prefixes);
	tcase_add_test(tests, test_word_errors_list_what_is_possible);
	tcase_add_test(tests, test_durations);
	tcase_add_test(tests, test_addresses);
	tcase_add_test(tests, test_options);
	tcase_add_test(tests, test_cells);
	tcase_add_test(tests, test_table);
	tcase_add_test(tests, test_top_draws_a_large_node);
	tcase_add_test(tests, test_top_rates);
	tcase_add_test(tests, test_init);
	suite_add_tcase(suite, tests);
	return (suite_run(suite));
}
