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

#include <jansson.h>

#include "common/util/buffer.h"
#include "common/util/log.h"
#include "control/config_parse.h"
#include "regress/unit/suite.h"

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
	return (config_load(path, NULL, &file, report, NULL));
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

/* One statement with value. */
static void
statement(const struct knob *knob, const char *value, char *out, size_t size)
{
	const char *percent = strchr(knob->pattern, '%');

	(void)snprintf(out, size, "node \"a\"\n%.*s%s%s\n",
	    (int)(percent - knob->pattern), knob->pattern, value, percent + 1);
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

/* --- besides the file ---------------------------------------------------- */

/* Load text with one list each of what goes over it. */
static int
load_with(const char *text, const char *const *macros,
    const char *const *environment, const char *const *settings)
{
	struct config_options options = { (char *const *)(uintptr_t)macros,
		(char *const *)(uintptr_t)settings,
		(char *const *)(uintptr_t)environment };
	char path[] = "/tmp/hermes-test-config.XXXXXX";
	int fd = mkstemp(path), result;

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
	errors[0] = '\0';
	result = config_load(path, &options, &file, report, NULL);
	(void)unlink(path);
	return (result);
}

#define LIST(...)                                                              \
	(const char *const[])                                                  \
	{                                                                      \
		__VA_ARGS__, NULL                                              \
	}

START_TEST(test_override_order)
{
	const char *text = "node a\nrekey { limit 5 }\n"
			   "listen app on 127.0.0.1 port 1\n"
			   "listen app on 127.0.0.1 port 2\n";
	const struct config_listener *app = file.config.listen[LISTEN_APP];

	ck_assert_int_eq(load_with(text, NULL, NULL, NULL), 0);
	ck_assert_uint_eq(file.config.rekey.limit, 5);
	ck_assert_int_eq(
	    load_with(text, NULL, LIST("HERMES_REKEY_LIMIT=6"), NULL), 0);
	ck_assert_uint_eq(file.config.rekey.limit, 6);
	ck_assert_int_eq(load_with(text, NULL, LIST("HERMES_REKEY_LIMIT=6"),
			     LIST("rekey_limit=7")),
	    0);
	ck_assert_uint_eq(file.config.rekey.limit, 7);
	/* A list is replaced, not added to. */
	ck_assert_int_eq(
	    load_with(text, NULL,
		LIST("HERMES_LISTEN_APP=127.0.0.1 port 3,\"127.0.0.1\" "
		     "port 4"),
		NULL),
	    0);
	ck_assert_uint_eq(config_listen_port(&app[0]), 3);
	ck_assert_uint_eq(config_listen_port(&app[1]), 4);
	ck_assert_uint_eq(app[2].address_length, 0);
	/* Other variables are nobody's business. */
	ck_assert_int_eq(
	    load_with(text, NULL, LIST("HERMESX=1", "PATH=/"), NULL), 0);
}
END_TEST

START_TEST(test_override_admin)
{
	const struct config_listener *admin = file.config.listen[LISTEN_ADMIN];

	ck_assert_int_eq(load_with("node a\nlisten admin on * port 5\n", NULL,
			     NULL, LIST("no_admin=yes")),
	    0);
	ck_assert_uint_eq(admin[0].address_length, 0);
	ck_assert_int_eq(load_with("node a\nno admin\n", NULL,
			     LIST("HERMES_NO_ADMIN=no"), NULL),
	    0);
	ck_assert_uint_eq(config_listen_port(&admin[0]), 8080);
	ck_assert_int_eq(load_with("node a\nno admin\n", NULL, NULL,
			     LIST("listen_admin=127.0.0.1 port 6")),
	    0);
	ck_assert_uint_eq(config_listen_port(&admin[0]), 6);
	ck_assert_int_eq(
	    load_with("node a\n", NULL, NULL,
		LIST("no_admin=yes", "listen_admin=127.0.0.1 port 6")),
	    -1);
}
END_TEST

START_TEST(test_override_macros)
{
	const char *text = "name = file\nnode $name\n";

	ck_assert_int_eq(load_with(text, NULL, NULL, NULL), 0);
	ck_assert_str_eq(file.config.node_id, "file");
	ck_assert_int_eq(
	    load_with(text, LIST("name=flag", "other=x"), NULL, NULL), 0);
	ck_assert_str_eq(file.config.node_id, "flag");
	ck_assert_int_eq(load_with(text, LIST("name"), NULL, NULL), -1);
	ck_assert_str_eq(errors, "-D name: not macro=value\n");
	ck_assert_int_eq(load_with(text, LIST("x=1", "x=2"), NULL, NULL), -1);
	ck_assert_str_eq(errors, "-D x: macro \"x\" is defined already\n");
}
END_TEST

/* Each error names its place; what is unknown is not repeated. */
START_TEST(test_override_errors)
{
	static const struct {
		const char *variable;
		const char *setting;
		const char *error;
	} wrong[] = {
		{ "HERMES_PASSPHRASE=opensesame", NULL,
		    "HERMES_PASSPHRASE: unknown variable" },
		{ "HERMES_rekey_limit=1", NULL,
		    "HERMES_rekey_limit: unknown variable" },
		{ NULL, "passphrase=opensesame", "-o passphrase: unknown key" },
		{ NULL, "REKEY_LIMIT=1", "-o REKEY_LIMIT: unknown key" },
		{ NULL, "rekey_limit", "-o rekey_limit: no value" },
		{ NULL, "rekey_limit=0",
		    "-o rekey_limit: rekey limit NUMBER: 0 is out of range" },
		{ "HERMES_REKEY_AFTER=5", NULL,
		    "HERMES_REKEY_AFTER: rekey after TIME: \"5\" is not" },
		{ NULL, "node=A", "-o node: \"A\" is no node name" },
		{ NULL, "listen_app=* port 1 }",
		    "-o listen_app: \"}\" does not belong here" },
		{ NULL, "listen_app=*:1",
		    "-o listen_app: expected VALUE port VALUE" },
		{ NULL, "certificate=/a\n/b", "-o certificate: " },
		{ NULL, "no_admin=", "-o no_admin: yes or no" },
		{ NULL, "advertise_app=x", "-o advertise_app: advertise app" },
	};
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_int_eq(
		    load_with("node a\n", NULL,
			wrong[i].variable == NULL ? NULL
						  : LIST(wrong[i].variable),
			wrong[i].setting == NULL ? NULL
						 : LIST(wrong[i].setting)),
		    -1);
		ck_assert_msg(strncmp(errors, wrong[i].error,
				  strlen(wrong[i].error)) == 0,
		    "%s", errors);
		ck_assert_ptr_null(strstr(errors, "opensesame"));
	}
	ck_assert_int_eq(load_with("node a\n", NULL, NULL,
			     LIST("rekey_limit=1", "rekey_limit=2")),
	    -1);
	ck_assert_ptr_nonnull(strstr(errors, "was set already, at -o "));
}
END_TEST

/* What is printed as JSON gives, by -o, the same configuration; every knob
 * has a key of its own. */
START_TEST(test_override_all)
{
	char settings[CONFIG_KNOBS][512], key[KNOB_KEY_SIZE];
	const char *list[CONFIG_KNOBS + 1] = { NULL }, *name;
	struct config first;
	json_t *json, *value;
	glob_t found;
	size_t i, n;

	ck_assert_int_eq(glob(FOLDER "good-*.conf", 0, NULL, &found), 0);
	for (i = 0; i < found.gl_pathc; i++) {
		ck_assert_msg(load(found.gl_pathv[i]) == 0, "%s", errors);
		first = file.config;
		json = config_print_json(&first);
		n = 0;
		json_object_foreach(json, name, value)
		{
			ck_assert_ptr_nonnull(json_string_value(value));
			(void)snprintf(settings[n], sizeof(settings[n]),
			    "%s=%s", name, json_string_value(value));
			list[n] = settings[n];
			n++;
		}
		list[n] = NULL;
		json_decref(json);
		ck_assert_uint_gt(n, 35);
		ck_assert_msg(load_with("node other\nrekey { limit 999 }\n"
					"listen app on 127.0.0.1 port 555\n",
				  NULL, NULL, list) == 0,
		    "%s", errors);
		ck_assert_mem_eq(&first, &file.config, sizeof(first));
	}
	globfree(&found);
	json = json_object();
	for (i = 0; i < config_knob_count; i++)
		(void)json_object_set_new(
		    json, config_knob_key(&config_knobs[i], key), json_true());
	ck_assert_uint_eq(json_object_size(json), config_knob_count);
	json_decref(json);
}
END_TEST

/* Each block may be written as one or as single statements. */
START_TEST(test_blocks)
{
	static const char *const names[] = { "listen", "admin", "log",
		"keystore", "rekey", "limits", "mesh" };
	struct config first;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_int_eq(
		    config_is_block(names[i], strlen(names[i])), 1);
	ck_assert_int_eq(
	    load_text("node a\nlisten { app on 127.0.0.1 port 1, mesh on "
		      "127.0.0.1 port 2 }\nadmin { apps yes ids full }\n"
		      "log { level warn }\nrekey { after 5m }\n"),
	    0);
	first = file.config;
	ck_assert_int_eq(
	    load_text("node a\nlisten app on 127.0.0.1 port 1\n"
		      "listen mesh on 127.0.0.1 port 2\nadmin apps yes\n"
		      "admin ids full\nlog level warn\nrekey after 5m\n"),
	    0);
	ck_assert_mem_eq(&first, &file.config, sizeof(first));
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

	log_init("test_config", LOG_LEVEL_ERROR, 1);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_golden_good);
	tcase_add_test(tc, test_golden_bad);
	tcase_add_test(tc, test_L44_every_number);
	tcase_add_test(tc, test_L44_every_word);
	tcase_add_test(tc, test_units);
	tcase_add_test(tc, test_listen_names);
	tcase_add_test(tc, test_override_order);
	tcase_add_test(tc, test_override_admin);
	tcase_add_test(tc, test_override_macros);
	tcase_add_test(tc, test_override_errors);
	tcase_add_test(tc, test_override_all);
	tcase_add_test(tc, test_blocks);
	tcase_add_test(tc, test_noise);
	tcase_add_test(tc, test_sample);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
