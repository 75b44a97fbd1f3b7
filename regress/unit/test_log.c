/*
 * Test. Log lines: fields, JSON that any reader takes whatever is in them,
 * the limit for each event and peer, and sockets.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "regress/unit/suite.h"

START_TEST(test_fields)
{
	const char *cursor = "a=1 error=\"x \"y\"z\" b= c=end open=\"cut";
	struct log_field field;
	static const char *const expected[][2] = { { "a", "1" },
		{ "error", "x \"y\"z" }, { "b", "" }, { "c", "end" },
		{ "open", "cut" } };
	size_t i;

	for (i = 0; i < 5; i++) {
		ck_assert_int_eq(log_field_next(&cursor, &field), 1);
		ck_assert_uint_eq(field.key_length, strlen(expected[i][0]));
		ck_assert_mem_eq(field.key, expected[i][0], field.key_length);
		ck_assert_uint_eq(field.value_length, strlen(expected[i][1]));
		ck_assert_mem_eq(
		    field.value, expected[i][1], field.value_length);
	}
	ck_assert_int_eq(log_field_next(&cursor, &field), 0);
	cursor = "words without fields";
	ck_assert_int_eq(log_field_next(&cursor, &field), 0);
}
END_TEST

static json_t *
json_of(const char *fields)
{
	char line[4096];
	json_error_t error;
	json_t *object;
	size_t length;

	length = log_json(
	    line, sizeof(line), "router", "info", "session_open", fields);
	ck_assert_uint_eq(length, strlen(line));
	object = json_loads(line, 0, &error);
	ck_assert_msg(object != NULL, "%s: %s", error.text, line);
	return (object);
}

START_TEST(test_json)
{
	json_t *object =
	    json_of("app=274d94e1e82c count=17 from=\"127.0.0.1:5\" "
		    "text=\"a \"quoted\\x0a\" zero=007 minus=-3 high=\xff\x01");

	ck_assert_str_eq(json_string_value(json_object_get(object, "event")),
	    "session_open");
	ck_assert_str_eq(
	    json_string_value(json_object_get(object, "process")), "router");
	ck_assert_str_eq(
	    json_string_value(json_object_get(object, "level")), "info");
	ck_assert_uint_eq(
	    strlen(json_string_value(json_object_get(object, "time"))), 24);
	ck_assert_int_eq(
	    json_integer_value(json_object_get(object, "count")), 17);
	ck_assert_int_eq(
	    json_integer_value(json_object_get(object, "minus")), -3);
	/* An id that looks like a number with zeros before it stays text. */
	ck_assert_str_eq(
	    json_string_value(json_object_get(object, "zero")), "007");
	ck_assert_str_eq(json_string_value(json_object_get(object, "text")),
	    "a \"quoted\\x0a");
	json_decref(object);
}
END_TEST

START_TEST(test_json_of_any_bytes)
{
	char fields[1024], line[600];
	unsigned int seed = 7;
	size_t round, i;

	for (round = 0; round < 3000; round++) {
		for (i = 0; i < sizeof(fields) - 1; i++)
			fields[i] =
			    "ab= \"\\\n\x01\xc3\xa9{}"[rand_r(&seed) % 12];
		fields[sizeof(fields) - 1 - (size_t)rand_r(&seed) % 1000] =
		    '\0';
		fields[sizeof(fields) - 1] = '\0';
		json_decref(json_of(fields));
		/* And when there is little room. */
		ck_assert_uint_lt(
		    log_json(line, sizeof(line), "keyd", "warn", "x", fields),
		    sizeof(line));
		json_decref(json_loads(line, 0, NULL));
	}
}
END_TEST

#define MANY 1000

START_TEST(test_limit_of_a_peer)
{
	unsigned int suppressed, i, lines = 0;
	int64_t now = CLOCK_SECOND;

	for (i = 0; i < MANY; i++)
		lines += (unsigned int)log_limit_take(
		    5, now, "refused", "node=evil why=x", &suppressed);
	ck_assert_uint_eq(lines, 5);
	/* Another peer and another event are not touched. */
	ck_assert_int_eq(
	    log_limit_take(5, now, "refused", "node=good", &suppressed), 1);
	ck_assert_uint_eq(suppressed, 0);
	ck_assert_int_eq(
	    log_limit_take(5, now, "other", "node=evil", &suppressed), 1);
	/* Later it is told how many there were. */
	now += 11 * CLOCK_SECOND;
	ck_assert_int_eq(
	    log_limit_take(5, now, "refused", "node=evil", &suppressed), 1);
	ck_assert_uint_eq(suppressed, MANY - 5);
	ck_assert_int_eq(
	    log_limit_take(5, now, "refused", "node=evil", &suppressed), 1);
	ck_assert_uint_eq(suppressed, 0);
}
END_TEST

START_TEST(test_limit_of_peers_without_number)
{
	unsigned int suppressed, i, lines = 0;
	char fields[64];

	for (i = 0; i < 20 * MANY; i++) {
		(void)snprintf(fields, sizeof(fields), "address=\"%u:1\"", i);
		lines += (unsigned int)log_limit_take(
		    5, CLOCK_SECOND, "stranger", fields, &suppressed);
	}
	ck_assert_uint_ge(lines, 5);
	ck_assert_uint_le(lines, 50);
	for (i = 0, lines = 0; i < MANY; i++)
		lines += (unsigned int)log_limit_take(
		    0, CLOCK_SECOND, "x", "node=a", &suppressed);
	ck_assert_uint_eq(lines, MANY);
}
END_TEST

/* What the log writes while call runs, in text[size]. */
static void
captured(void (*call)(void), char *text, size_t size)
{
	FILE *stream = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t length;

	ck_assert_ptr_nonnull(stream);
	(void)dup2(fileno(stream), STDERR_FILENO);
	call();
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	rewind(stream);
	length = fread(text, 1, size - 1, stream);
	text[length] = '\0';
	(void)fclose(stream);
}

static void
say_hostile(void)
{
	log_info("peer_says", "text=\"a\nparent: error: event=forged\x1b[2J\"");
}

static void
say_often(void)
{
	int i;

	log_set_limit(3);
	for (i = 0; i < 10; i++)
		log_warn("often", "node=a");
	for (i = 0; i < 10; i++)
		log_debug("often", "node=a");
}

static size_t
lines_of(const char *text)
{
	size_t count = 0;

	for (; *text != '\0'; text++)
		count += *text == '\n';
	return (count);
}

/* L26: one event, one line, whatever the peer put into it. */
START_TEST(test_L26_a_line_stays_one)
{
	char text[4096];

	captured(say_hostile, text, sizeof(text));
	ck_assert_uint_eq(lines_of(text), 1);
	ck_assert_ptr_null(strchr(text, '\x1b'));
	log_set_format(LOG_FORMAT_JSON);
	captured(say_hostile, text, sizeof(text));
	ck_assert_uint_eq(lines_of(text), 1);
	json_decref(json_loads(text, 0, NULL));
}
END_TEST

START_TEST(test_limit_is_applied)
{
	char text[4096];

	log_set_level(LOG_LEVEL_DEBUG);
	captured(say_often, text, sizeof(text));
	/* Debug lines are for who asked for them. */
	ck_assert_uint_eq(lines_of(text), 3 + 10);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");

	log_init("test_log", LOG_LEVEL_INFO, 1);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_fields);
	tcase_add_test(tc, test_json);
	tcase_add_test(tc, test_json_of_any_bytes);
	tcase_add_test(tc, test_limit_of_a_peer);
	tcase_add_test(tc, test_limit_of_peers_without_number);
	tcase_add_test(tc, test_L26_a_line_stays_one);
	tcase_add_test(tc, test_limit_is_applied);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
