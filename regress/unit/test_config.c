/*
 * Test. hermesd.conf(5): files that are right and what they come to, files
 * that are wrong and every error they give (regress/unit/config), and each
 * knob at and beyond its bounds.
 */

#include <check.h>
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util/buffer.h"
#include "common/util/log.h"
#include "control/config_parse.h"

#define FOLDER "regress/unit/config/"

static struct config_file file;
static char errors[16384];

static void
report(void *arg, const char *message)
{
	(void)arg;
	(void)strlcat(errors, message, sizeof(errors));
	(void)strlcat(errors, "\n", sizeof(errors));
}

static int
load(const char *path)
{
	errors[0] = '\0';
	return (config_load(path, &file, report, NULL));
}

/* Load text as a file of its own. */
static int
load_text(const char *text)
{
	char path[] = "/tmp/hermes-test-config.XXXXXX";
	int fd = mkstemp(path), result;

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
	result = load(path);
	(void)unlink(path);
	return (result);
}

static char *
print(void)
{
	struct buffer out;

	buffer_init(&out);
	ck_assert_int_eq(config_print(&file.config, &out), 0);
	ck_assert_int_eq(buffer_append(&out, "", 1), 0);
	return ((char *)out.data);
}

static char *
contents(const char *path)
{
	struct buffer out;
	FILE *stream = fopen(path, "re");
	size_t n;

	ck_assert_msg(stream != NULL, "%s is missing", path);
	buffer_init(&out);
	do {
		n = fread(buffer_reserve(&out, 4096), 1, 4095, stream);
		buffer_commit(&out, n);
	} while (n > 0);
	(void)fclose(stream);
	*buffer_reserve(&out, 1) = '\0';
	return ((char *)buffer_bytes(&out));
}

/* The golden text of NAME.conf is in NAME.out. */
static void
compare(const char *path, const char *text)
{
	char golden[256], *expected;

	(void)snprintf(golden, sizeof(golden), "%.*s.out",
	    (int)(strlen(path) - strlen(".conf")), path);
	expected = contents(golden);
	ck_assert_msg(strcmp(expected, text) == 0, "%s: got\n%s", path, text);
	free(expected);
}

START_TEST(test_golden_good)
{
	struct config first;
	char *text;
	glob_t found;
	size_t i;

	ck_assert_int_eq(glob(FOLDER "good-*.conf", 0, NULL, &found), 0);
	ck_assert_uint_ge(found.gl_pathc, 3);
	for (i = 0; i < found.gl_pathc; i++) {
		ck_assert_msg(load(found.gl_pathv[i]) == 0, "%s", errors);
		first = file.config;
		text = print();
		compare(found.gl_pathv[i], text);
		/* What is printed is the same configuration. */
		ck_assert_msg(load_text(text) == 0, "%s", errors);
		ck_assert_mem_eq(&first, &file.config, sizeof(first));
		free(text);
	}
	globfree(&found);
}
END_TEST

START_TEST(test_golden_bad)
{
	glob_t found;
	size_t i;

	ck_assert_int_eq(glob(FOLDER "bad-*.conf", 0, NULL, &found), 0);
	ck_assert_uint_ge(found.gl_pathc, 5);
	for (i = 0; i < found.gl_pathc; i++) {
		ck_assert_int_eq(load(found.gl_pathv[i]), -1);
		compare(found.gl_pathv[i], errors);
	}
	globfree(&found);
	ck_assert_int_eq(load("/nonexistent/x.conf"), -1);
	ck_assert_str_eq(
	    errors, "/nonexistent/x.conf: No such file or directory\n");
}
END_TEST

/* One statement with value, in its block. */
static void
statement(const struct knob *knob, const char *value, char *out, size_t size)
{
	const char *percent = strchr(knob->pattern, '%');

	(void)snprintf(out, size, "node \"a\"\n%s%s%.*s%s%s\n%s", knob->block,
	    knob->block[0] == '\0' ? "" : " {\n",
	    (int)(percent - knob->pattern), knob->pattern, value, percent + 1,
	    knob->block[0] == '\0' ? "" : "}\n");
}

static uint64_t
loaded(const struct knob *knob)
{
	uint32_t small;
	uint64_t value;

	memcpy(&value, (const uint8_t *)&file.config + knob->offset,
	    sizeof(value));
	memcpy(&small, (const uint8_t *)&file.config + knob->offset,
	    sizeof(small));
	return (knob->size == sizeof(small) ? small : value);
}

static void
number_text(const struct knob *knob, uint64_t value, char *out, size_t size)
{
	(void)snprintf(out, size, "%" PRIu64 "%s",
	    knob->type == KNOB_TIME ? value / 1000000 : value,
	    knob->type == KNOB_TIME ? "ms" : "");
}

/* L44: every knob is read, has an effect, has bounds that hold. */
START_TEST(test_L44_every_number)
{
	const struct knob *knob;
	char text[512], number[64];
	uint64_t step;
	size_t i, seen = 0;

	for (i = 0; i < config_knob_count; i++) {
		knob = &config_knobs[i];
		if (knob->type != KNOB_COUNT && knob->type != KNOB_BYTES &&
		    knob->type != KNOB_TIME)
			continue;
		seen++;
		step = knob->type == KNOB_TIME ? 1000000 : 1;
		ck_assert_int_eq(load_text("node \"a\"\n"), 0);
		ck_assert_uint_eq(loaded(knob), knob->standard);

		number_text(knob, knob->least, number, sizeof(number));
		statement(knob, number, text, sizeof(text));
		/* Only a window smaller than a message is refused whole. */
		(void)load_text(text);
		ck_assert_ptr_null(strstr(errors, "out of range"));
		ck_assert_uint_eq(loaded(knob), knob->least);
		number_text(knob, knob->most, number, sizeof(number));
		statement(knob, number, text, sizeof(text));
		(void)load_text(text);
		ck_assert_ptr_null(strstr(errors, "out of range"));
		ck_assert_uint_eq(loaded(knob), knob->most);

		number_text(knob, knob->most + step, number, sizeof(number));
		statement(knob, number, text, sizeof(text));
		ck_assert_int_eq(load_text(text), -1);
		ck_assert_ptr_nonnull(strstr(errors, "is out of range: "));
		statement(knob, "99999999999999999999999", text, sizeof(text));
		ck_assert_int_eq(load_text(text), -1);
		statement(knob, "0", text, sizeof(text));
		ck_assert_int_eq(load_text(text), knob->zero ? 0 : -1);
		statement(knob, "-1", text, sizeof(text));
		ck_assert_int_eq(load_text(text), -1);
		statement(knob, "\"\"", text, sizeof(text));
		ck_assert_int_eq(load_text(text), -1);
		if (knob->least <= step)
			continue;
		number_text(knob, knob->least - step, number, sizeof(number));
		statement(knob, number, text, sizeof(text));
		ck_assert_int_eq(load_text(text), -1);
		ck_assert_ptr_nonnull(strstr(errors, "is out of range: "));
	}
	ck_assert_uint_ge(seen, 25);
}
END_TEST

START_TEST(test_L44_every_word)
{
	const struct knob *knob;
	const char *choice;
	char text[1024], word[600];
	uint64_t index;
	size_t i;

	for (i = 0; i < config_knob_count; i++) {
		knob = &config_knobs[i];
		if (knob->type == KNOB_CHOICE) {
			for (index = 0, choice = knob->text; *choice != '\0';
			     index++) {
				(void)snprintf(word, sizeof(word), "%.*s",
				    (int)strcspn(choice, " "), choice);
				statement(knob, word, text, sizeof(text));
				ck_assert_msg(
				    load_text(text) == 0, "%s", errors);
				ck_assert_uint_eq(loaded(knob), index);
				choice += strcspn(choice, " ");
				choice += strspn(choice, " ");
			}
			statement(knob, "maybe", text, sizeof(text));
			ck_assert_int_eq(load_text(text), -1);
		} else if (knob->type == KNOB_PATH) {
			statement(knob, "\"/a/b c\"", text, sizeof(text));
			ck_assert_msg(load_text(text) == 0, "%s", errors);
			ck_assert_str_eq(
			    (const char *)&file.config + knob->offset,
			    "/a/b c");
			word[0] = '/';
			memset(word + 1, 'x', sizeof(word) - 2);
			word[300] = '\0';
			statement(knob, word, text, sizeof(text));
			ck_assert_int_eq(load_text(text), -1);
		}
	}
}
END_TEST

START_TEST(test_units)
{
	ck_assert_int_eq(load_text("node a\nrekey { window 2m }\n"), 0);
	ck_assert_int_eq(file.config.rekey.window, INT64_C(120000000000));
	ck_assert_int_eq(load_text("node a\nrekey { window 250ms }\n"), 0);
	ck_assert_int_eq(file.config.rekey.window, INT64_C(250000000));
	ck_assert_int_eq(load_text("node a\nkeystore { chat idle 2d }\n"), 0);
	ck_assert_int_eq(
	    file.config.keystore.chat_idle, INT64_C(172800000000000));
	ck_assert_int_eq(
	    load_text("node a\nkeystore { argon2 memory 1G }\n"), 0);
	ck_assert_uint_eq(file.config.keystore.argon2_memory, 1 << 30);
	ck_assert_int_eq(load_text("node a\nrekey { window 5 }\n"), -1);
	ck_assert_int_eq(load_text("node a\nrekey { window 5K }\n"), -1);
	ck_assert_int_eq(load_text("node a\nlimits { apps 5K }\n"), -1);
}
END_TEST

START_TEST(test_listen_names)
{
	struct config_listener *slot = file.config.listen[LISTEN_APP];

	ck_assert_int_eq(load_text("node a\n"
				   "listen app on localhost port 5\n"),
	    0);
	ck_assert_str_eq(slot[0].name, "localhost");
	ck_assert_uint_eq(config_listen_port(&slot[0]), 5);
	ck_assert_int_eq(file.listen[LISTEN_APP][0].line, 2);
	ck_assert_int_eq(
	    load_text("node a\n"
		      "listen app on no-such-host.invalid port 5\n"),
	    -1);
	ck_assert_int_eq(load_text("node a\n"), 0);
	ck_assert_uint_eq(config_listen_port(&slot[0]), 7443);
	ck_assert_uint_eq(
	    config_listen_port(&file.config.listen[LISTEN_MESH][0]), 7444);
	ck_assert_uint_eq(
	    config_listen_port(&file.config.listen[LISTEN_ADMIN][0]), 8080);
	ck_assert_uint_eq(
	    file.config.listen[LISTEN_ADMIN][1].address_length, 0);
}
END_TEST

/* Whatever bytes are in the file: errors, no crash. */
START_TEST(test_noise)
{
	static const char alphabet[] = "ab{}=,;#\"\\$ \n\t019node";
	char text[400];
	unsigned int seed = 1;
	size_t round, i, length;

	for (round = 0; round < 3000; round++) {
		length = (size_t)rand_r(&seed) % (sizeof(text) - 1);
		for (i = 0; i < length; i++)
			text[i] = round % 3 == 0
				      ? (char)(rand_r(&seed) % 255 + 1)
				      : alphabet[(size_t)rand_r(&seed) %
						 (sizeof(alphabet) - 1)];
		text[length] = '\0';
		(void)load_text(text);
	}
}
END_TEST

START_TEST(test_sample)
{
	ck_assert_msg(load("etc/hermesd.conf.sample") == 0, "%s", errors);
	ck_assert_int_eq(strncmp(file.config.keystore.path, "/var/lib/", 9), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("config");
	SRunner *runner;
	int failed;

	log_init("test_config", LOG_LEVEL_ERROR, 1);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_golden_good);
	tcase_add_test(tc, test_golden_bad);
	tcase_add_test(tc, test_L44_every_number);
	tcase_add_test(tc, test_L44_every_word);
	tcase_add_test(tc, test_units);
	tcase_add_test(tc, test_listen_names);
	tcase_add_test(tc, test_noise);
	tcase_add_test(tc, test_sample);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return (failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}
