/* Test. Buffers, hex, tables, hostile text in logs, metrics. */

#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/buffer.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "common/util/table.h"
#include "regress/unit/suite.h"

START_TEST(test_buffer_order)
{
	struct buffer buffer;
	uint32_t value, in = 0, out = 0;
	size_t round, i;

	/* Write a few, read a few, for long: growing and moving down. */
	buffer_init(&buffer);
	for (round = 0; round < 2000; round++) {
		for (i = 0; i < (round * 7) % 50; i++, in++)
			ck_assert_int_eq(
			    buffer_append(&buffer, &in, sizeof(in)), 0);
		for (i = 0; i < (round * 5) % 50 && out < in; i++, out++) {
			memcpy(&value, buffer_bytes(&buffer), sizeof(value));
			ck_assert_uint_eq(value, out);
			buffer_consume(&buffer, sizeof(value));
		}
		ck_assert_uint_eq(
		    buffer_length(&buffer), (in - out) * sizeof(in));
	}
	buffer_consume(&buffer, SIZE_MAX);
	ck_assert_uint_eq(buffer_length(&buffer), 0);
	buffer_free(&buffer);
	ck_assert_ptr_null(buffer.data);
}
END_TEST

START_TEST(test_buffer_overflow)
{
	struct buffer buffer;

	buffer_init(&buffer);
	ck_assert_int_eq(buffer_append(&buffer, "x", 1), 0);
	errno = 0;
	ck_assert_ptr_null(buffer_reserve(&buffer, SIZE_MAX));
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_ptr_null(buffer_reserve(&buffer, SIZE_MAX / 2));
	ck_assert_uint_eq(buffer_length(&buffer), 1);
	ck_assert_uint_eq(*buffer_bytes(&buffer), 'x');
	ck_assert_int_eq(buffer_append(&buffer, NULL, 0), 0);
	buffer_free(&buffer);
}
END_TEST

START_TEST(test_hex)
{
	static const char *const bad[] = { "", "00", "000102f", "000102fff",
		"000102f ", "000102FF", "000102g0", "0x0102ff", "000102ff\n" };
	uint8_t bytes[4] = { 0, 1, 2, 0xff }, back[4];
	char text[9], small[HEX_SHORT_SIZE];
	size_t i;

	hex_encode(text, bytes, 4);
	ck_assert_str_eq(text, "000102ff");
	ck_assert_int_eq(hex_decode(back, 4, text), 0);
	ck_assert_mem_eq(bytes, back, 4);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		ck_assert_int_eq(hex_decode(back, 4, bad[i]), -1);
		ck_assert_int_eq(errno, EINVAL);
	}
	ck_assert_str_eq(hex_short(small, bytes, 4), "000102ff");
	ck_assert_str_eq(
	    hex_short(small, (const uint8_t *)"abcdefgh", 8), "616263646566");
}
END_TEST

struct item {
	uint64_t key;
	int seen;
};

START_TEST(test_table)
{
	static struct item items[5000];
	struct table table;
	struct item *item;
	size_t i, cursor, count;

	table_init(&table, sizeof(uint64_t));
	ck_assert_ptr_null(table_get(&table, &items[0].key));
	ck_assert_ptr_null(table_remove(&table, &items[0].key));
	for (i = 0; i < 5000; i++) {
		items[i].key = i * 1000003;
		ck_assert_int_eq(
		    table_put(&table, &items[i].key, &items[i]), 0);
	}
	ck_assert_uint_eq(table.count, 5000);
	for (i = 0; i < 5000; i++)
		ck_assert_ptr_eq(table_get(&table, &items[i].key), &items[i]);
	/* Every second one goes, while walking. */
	for (cursor = 0, count = 0;
	     (item = table_next(&table, &cursor)) != NULL; count++) {
		item->seen++;
		if ((item - items) % 2 == 0)
			ck_assert_ptr_eq(
			    table_remove(&table, &item->key), item);
	}
	ck_assert_uint_eq(count, 5000);
	ck_assert_uint_eq(table.count, 2500);
	for (i = 0; i < 5000; i++) {
		ck_assert_int_eq(items[i].seen, 1);
		ck_assert_ptr_eq(table_get(&table, &items[i].key),
		    i % 2 == 0 ? NULL : &items[i]);
	}
	/* Replacing keeps one entry. */
	ck_assert_int_eq(table_put(&table, &items[1].key, &items[2]), 0);
	ck_assert_uint_eq(table.count, 2500);
	ck_assert_ptr_eq(table_get(&table, &items[1].key), &items[2]);
	table_free(&table);
}
END_TEST

/* Coming and going for ever does not grow the table. */
START_TEST(test_table_graves)
{
	struct table table;
	struct item items[10];
	uint64_t i;

	table_init(&table, sizeof(uint64_t));
	for (i = 0; i < 100000; i++) {
		if (i >= 10)
			ck_assert_ptr_nonnull(
			    table_remove(&table, &items[i % 10].key));
		items[i % 10].key = i;
		ck_assert_int_eq(
		    table_put(&table, &items[i % 10].key, &items[i % 10]), 0);
	}
	ck_assert_uint_eq(table.count, 10);
	ck_assert_uint_le(table.size, 64);
	table_free(&table);
}
END_TEST

START_TEST(test_log_text)
{
	static const struct {
		const char *in;
		size_t length;
		const char *out;
	} cases[] = { { "plain", 5, "plain" }, { "", 0, "" },
		{ "a b", 3, "a b" },
		{ "a\nevent=forged", 14, "a\\x0aevent=forged" },
		{ "\"\\", 2, "\\x22\\x5c" },
		{ "\0\x7f\xff\x1b[31m", 7, "\\x00\\x7f\\xff\\x1b[31" } };
	char out[LOG_TEXT_SIZE], hostile[1000];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(
		    log_text(out, cases[i].in, cases[i].length), cases[i].out);
	memset(hostile, '\n', sizeof(hostile));
	ck_assert_uint_eq(
	    strlen(log_text(out, hostile, sizeof(hostile))), 64 * 4 + 3);
	ck_assert_str_eq(out + 64 * 4, "...");
	ck_assert_uint_eq(strlen(log_text(out, hostile, 64)), 64 * 4);
}
END_TEST

START_TEST(test_log_keeps_errno)
{
	errno = ENOTTY;
	log_error("test", "key=%d", 1);
	ck_assert_int_eq(errno, ENOTTY);
}
END_TEST

static void
hook(void)
{
	_Exit(42);
}

START_TEST(test_fatal_runs_the_hook)
{
	log_set_fatal_hook(hook);
	fatal("test", "reason=asked");
}
END_TEST

/* --- metrics ------------------------------------------------------------- */

static struct metric_value sum[METRIC_COUNT];

static void
clear(void)
{
	memset(metrics, 0, sizeof(metrics));
	memset(sum, 0, sizeof(sum));
}

static char *
printed(void)
{
	static struct buffer out;

	buffer_init(&out);
	ck_assert_int_eq(metrics_print(&out, sum), 0);
	ck_assert_int_eq(buffer_append(&out, "", 1), 0);
	return ((char *)buffer_bytes(&out));
}

START_TEST(test_metrics_pack_and_merge)
{
	struct buffer packed;
	size_t i, pairs;

	clear();
	buffer_init(&packed);
	ck_assert_int_eq(metrics_pack(&packed), 0);
	ck_assert_uint_eq(buffer_length(&packed), 0);
	metric_add(METRIC_SESSIONS_TOTAL, 3);
	metric_add(METRIC_SESSIONS_TOTAL, 4);
	metric_set(METRIC_BUILD_INFO, 1);
	metric_observe(METRIC_MESH_PROBE_RTT, 700000);
	metric_observe(METRIC_MESH_PROBE_RTT, -5);
	metric_observe(METRIC_MESH_PROBE_RTT, INT64_MAX / 2);
	ck_assert_int_eq(metrics_pack(&packed), 0);
	pairs = 2 + 1 + 3;
	ck_assert_uint_eq(buffer_length(&packed), pairs * 12);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(metrics_merge(sum, buffer_bytes(&packed),
				     buffer_length(&packed)),
		    0);
	ck_assert_uint_eq(sum[METRIC_SESSIONS_TOTAL].value, 14);
	ck_assert_uint_eq(sum[METRIC_MESH_PROBE_RTT].buckets[0], 2);
	ck_assert_uint_eq(sum[METRIC_MESH_PROBE_RTT].buckets[3], 2);
	ck_assert_uint_eq(
	    sum[METRIC_MESH_PROBE_RTT].buckets[METRIC_BUCKETS - 1], 2);
	buffer_free(&packed);
}
END_TEST

/* What a hostile process may send to control instead. */
START_TEST(test_metrics_merge_refuses)
{
	static struct metric_value before[METRIC_COUNT];
	const uint32_t slots = METRIC_COUNT * (1 + METRIC_BUCKETS);
	uint8_t pairs[24] = { 0 };
	uint32_t slot;

	clear();
	pairs[4] = 1;
	memcpy(before, sum, sizeof(sum));
	ck_assert_int_eq(metrics_merge(sum, pairs, 11), -1);
	ck_assert_int_eq(errno, EINVAL);
	/* Twice the same, then one before the last. */
	ck_assert_int_eq(metrics_merge(sum, pairs, 24), -1);
	slot = slots;
	memcpy(pairs + 12, &slot, sizeof(slot));
	ck_assert_int_eq(metrics_merge(sum, pairs, 24), -1);
	slot = UINT32_MAX;
	memcpy(pairs + 12, &slot, sizeof(slot));
	ck_assert_int_eq(metrics_merge(sum, pairs, 24), -1);
	/* A bucket of what is no histogram. */
	slot = METRIC_SESSIONS_TOTAL * (1 + METRIC_BUCKETS) + 1;
	memcpy(pairs + 12, &slot, sizeof(slot));
	ck_assert_int_eq(metrics_merge(sum, pairs, 24), -1);
	ck_assert_mem_eq(before, sum, sizeof(sum));
	slot = METRIC_SESSIONS_TOTAL * (1 + METRIC_BUCKETS);
	memcpy(pairs + 12, &slot, sizeof(slot));
	ck_assert_int_eq(metrics_merge(sum, pairs, 24), 0);
}
END_TEST

START_TEST(test_metrics_print)
{
	char *text, *line, name[121], again[140];

	clear();
	sum[METRIC_SESSIONS_TOTAL].value = 14;
	sum[METRIC_MESH_PROBE_RTT].value = UINT64_C(1500000007);
	sum[METRIC_MESH_PROBE_RTT].buckets[0] = 1;
	sum[METRIC_MESH_PROBE_RTT].buckets[METRIC_BUCKETS - 1] = 2;
	text = printed();
	ck_assert_ptr_nonnull(
	    strstr(text, "# HELP hermes_sessions_total Apps that connected\n"
			 "# TYPE hermes_sessions_total counter\n"
			 "hermes_sessions_total 14\n"));
	ck_assert_ptr_nonnull(strstr(text,
	    "# TYPE hermes_mesh_probe_rtt_seconds histogram\n"
	    "hermes_mesh_probe_rtt_seconds_bucket{le=\"0.0001\"} 1\n"
	    "hermes_mesh_probe_rtt_seconds_bucket{le=\"0.00025\"} 1\n"));
	ck_assert_ptr_nonnull(
	    strstr(text, "hermes_mesh_probe_rtt_seconds_bucket{le=\"+Inf\"} 3\n"
			 "hermes_mesh_probe_rtt_seconds_sum 1.500000007\n"
			 "hermes_mesh_probe_rtt_seconds_count 3\n"));
	ck_assert_ptr_nonnull(
	    strstr(text, "hermes_router_latency_seconds_bucket{op=\"connect\","
			 "le=\"0.0001\"} 0\n"));
	ck_assert_ptr_nonnull(strstr(
	    text, "hermes_build_info{version=\"" HERMES_VERSION "\"} 0\n"));
	/* Every family is announced once. */
	for (line = text; (line = strstr(line, "# TYPE ")) != NULL; line++) {
		ck_assert_int_eq(sscanf(line, "# TYPE %120s", name), 1);
		(void)snprintf(again, sizeof(again), "# TYPE %s ", name);
		ck_assert_ptr_null(strstr(line + 1, again));
	}
	free(text);
}
END_TEST

#define EPOCH (INT64_C(1700000000) * CLOCK_SECOND)
#define HOUR  (INT64_C(3600) * CLOCK_SECOND)

/* A clock that is set: a little is followed at once, a jump only when the
 * clock stays there; back again it is as if nothing had been. */
START_TEST(test_clock_judge)
{
	struct clock_state state = { 0 };
	int64_t steady = 5 * CLOCK_SECOND, at;

	ck_assert_int_eq(clock_judge(&state, EPOCH, steady), EPOCH);
	steady += CLOCK_SECOND;
	at = EPOCH + CLOCK_SECOND;
	ck_assert_int_eq(clock_judge(&state, at, steady), at);
	/* Half a minute, twice, in both directions. */
	at += 30 * CLOCK_SECOND;
	ck_assert_int_eq(clock_judge(&state, at, steady), at);
	at += 30 * CLOCK_SECOND;
	ck_assert_int_eq(clock_judge(&state, at, steady), at);
	at -= 60 * CLOCK_SECOND;
	ck_assert_int_eq(clock_judge(&state, at, steady), at);
	ck_assert_int_eq(state.since, 0);
	/* An hour forth: time goes on as it did. */
	ck_assert_int_eq(clock_judge(&state, at + HOUR, steady), at);
	ck_assert_int_ne(state.since, 0);
	steady += CLOCK_HOLD / 2;
	at += CLOCK_HOLD / 2;
	ck_assert_int_eq(clock_judge(&state, at + HOUR, steady), at);
	/* Back. */
	ck_assert_int_eq(clock_judge(&state, at, steady), at);
	ck_assert_int_eq(state.since, 0);
	/* Two hours back, then elsewhere: the wait begins anew. */
	ck_assert_int_eq(clock_judge(&state, at - 2 * HOUR, steady), at);
	steady += CLOCK_HOLD - 1;
	at += CLOCK_HOLD - 1;
	ck_assert_int_eq(clock_judge(&state, at - 2 * HOUR, steady), at);
	ck_assert_int_eq(clock_judge(&state, at - 3 * HOUR, steady), at);
	steady += CLOCK_HOLD - 1;
	at += CLOCK_HOLD - 1;
	ck_assert_int_eq(clock_judge(&state, at - 3 * HOUR, steady), at);
	/* It stayed: that is the time now. */
	steady++;
	at++;
	ck_assert_int_eq(
	    clock_judge(&state, at - 3 * HOUR, steady), at - 3 * HOUR);
	ck_assert_int_eq(state.since, 0);
	ck_assert_int_eq(
	    clock_judge(&state, at - 3 * HOUR, steady), at - 3 * HOUR);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("util");
	TCase *tc = tcase_create("util");

	log_init("test_util", LOG_LEVEL_ERROR, 1);
	tcase_add_test(tc, test_buffer_order);
	tcase_add_test(tc, test_buffer_overflow);
	tcase_add_test(tc, test_hex);
	tcase_add_test(tc, test_clock_judge);
	tcase_add_test(tc, test_table);
	tcase_add_test(tc, test_table_graves);
	tcase_add_test(tc, test_log_text);
	tcase_add_test(tc, test_log_keeps_errno);
	tcase_add_exit_test(tc, test_fatal_runs_the_hook, 42);
	tcase_add_test(tc, test_metrics_pack_and_merge);
	tcase_add_test(tc, test_metrics_merge_refuses);
	tcase_add_test(tc, test_metrics_print);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
