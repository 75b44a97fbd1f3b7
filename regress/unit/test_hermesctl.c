/*
 * control/ctl_*.c without a daemon: keywords, arguments, tables, init.
 */

#include <sys/stat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "control/ctl.h"

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
	    "  certificate\n  chats\n"
	    "hermesctl: zz: unknown; known are:\n"
	    "  apps\n  certificate\n  chats\n  metrics\n  nodes\n"
	    "  ratchets\n  sessions\n  summary\n  tickets\n  tielines\n");
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
	struct ctl ctl = { "s", 0, 0, 1, -1, { -1, -1 } };
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

static int
run_init(const char *dir, const char *node)
{
	struct ctl ctl = { CTL_SOCKET, 0, 0, 1, -1, { -1, -1 } };
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
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, test_word_prefixes);
	tcase_add_test(tests, test_word_errors_list_what_is_possible);
	tcase_add_test(tests, test_durations);
	tcase_add_test(tests, test_addresses);
	tcase_add_test(tests, test_options);
	tcase_add_test(tests, test_table);
	tcase_add_test(tests, test_init);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return (failed == 0 ? 0 : 1);
}
