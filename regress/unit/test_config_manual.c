/*
 * Test. hermesd.conf(5) and the table of knobs say the same: every knob is in
 * the manual once, with its values, default and bounds, and nothing else is.
 */

#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/buffer.h"
#include "common/util/log.h"
#include "control/config_parse.h"
#include "regress/unit/suite.h"

#define MANUAL "man/hermesd.conf.5"
#define ITEMS  128

/* One ".It Ic ..." of the manual: words, % for values; and its text. */
struct item {
	char pattern[128];
	char values[160]; /* "time", "off | v1" */
	char text[2048];
	int seen;
};

static struct item items[ITEMS];
static size_t item_count;

/* Ic stands before words, Ar and Cm before a value. */
static void
parse_item(struct item *item, char *line)
{
	char *word, *rest = line;
	int value = 0;

	memset(item, 0, sizeof(*item));
	while ((word = strsep(&rest, " ")) != NULL) {
		if (strcmp(word, "Ic") == 0) {
			value = 0;
			continue;
		}
		if (strcmp(word, "Ar") == 0 || strcmp(word, "Cm") == 0 ||
		    strcmp(word, "Ns") == 0) {
			if (!value)
				(void)strlcat(item->pattern,
				    item->pattern[0] == '\0' ? "%" : " %",
				    sizeof(item->pattern));
			value = 1;
			continue;
		}
		if (item->pattern[0] != '\0' && !value)
			(void)strlcat(
			    item->pattern, " ", sizeof(item->pattern));
		if (value && item->values[0] != '\0')
			(void)strlcat(item->values, " ", sizeof(item->values));
		if (value)
			(void)strlcat(item->values, word, sizeof(item->values));
		else
			(void)strlcat(
			    item->pattern, word, sizeof(item->pattern));
	}
}

/* Text of an item: lines joined, ".Pq Pa x" as "(x)". */
static void
parse_text(struct item *item, const char *line)
{
	char path[201];

	(void)strlcat(item->text, " ", sizeof(item->text));
	if (sscanf(line, ".Pq Pa %200s", path) == 1) {
		(void)strlcat(item->text, "(", sizeof(item->text));
		(void)strlcat(item->text, path, sizeof(item->text));
		(void)strlcat(item->text, ")", sizeof(item->text));
	} else
		(void)strlcat(item->text, line, sizeof(item->text));
}

static void
read_manual(void)
{
	FILE *stream = fopen(MANUAL, "re");
	struct item *item = NULL;
	char line[512];

	ck_assert_ptr_nonnull(stream);
	item_count = 0;
	while (fgets(line, sizeof(line), stream) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, ".It Ic ", 7) == 0) {
			ck_assert_uint_lt(item_count, ITEMS);
			item = &items[item_count++];
			parse_item(item, line + 4);
			/* Not a knob but grammar. */
			item->seen = strcmp(item->pattern, "include %") == 0;
		} else if (strncmp(line, ".It", 3) == 0 ||
			   strncmp(line, ".El", 3) == 0)
			item = NULL;
		else if (item != NULL)
			parse_text(item, line);
	}
	(void)fclose(stream);
}

/* What the manual calls a value; "" anything. */
static const char *
value_words(const struct knob *knob, char *out, size_t size)
{
	const char *p;
	char c[2] = "";

	switch (knob->type) {
	case KNOB_COUNT:
		return ("number");
	case KNOB_BYTES:
		return ("size");
	case KNOB_TIME:
		return ("time");
	case KNOB_PATH:
		return ("path");
	case KNOB_CHOICE:
		*out = '\0';
		for (p = knob->text; *p != '\0'; p++) {
			c[0] = *p;
			(void)strlcat(out, *p == ' ' ? " | " : c, size);
		}
		return (out);
	default:
		return ("");
	}
}

/* "(default; bounds)" as the manual has it; "" nothing to compare. */
static void
default_words(const struct knob *knob, char *out, size_t size)
{
	char standard[64], least[32], most[32];
	const char *p = knob->text;
	uint64_t i;

	*out = '\0';
	switch (knob->type) {
	case KNOB_COUNT:
	case KNOB_BYTES:
	case KNOB_TIME:
		config_value_format(
		    knob, knob->standard, standard, sizeof(standard));
		config_value_format(knob, knob->least, least, sizeof(least));
		config_value_format(knob, knob->most, most, sizeof(most));
		(void)snprintf(out, size, "(%s; %s%s to %s)", standard,
		    knob->zero ? "0, or " : "", least, most);
		break;
	case KNOB_CHOICE:
		for (i = 0; i < knob->standard; i++)
			p += strcspn(p, " ") + 1;
		(void)snprintf(out, size, "(%.*s)", (int)strcspn(p, " "), p);
		break;
	case KNOB_PATH:
		if (*p != '\0')
			(void)snprintf(out, size, "(%s)", p);
		break;
	default:
		break;
	}
}

START_TEST(test_manual_has_each_knob)
{
	const struct knob *knob;
	char expected[256], words[160];
	const char *values;
	struct item *item;
	size_t i, j;

	for (i = 0; i < config_knob_count; i++) {
		knob = &config_knobs[i];
		for (j = 0; j < item_count; j++)
			if (!items[j].seen &&
			    strcmp(items[j].pattern, knob->pattern) == 0)
				break;
		ck_assert_msg(
		    j < item_count, "not in the manual: %s", knob->pattern);
		item = &items[j];
		item->seen = 1;
		values = value_words(knob, words, sizeof(words));
		ck_assert_msg(
		    *values == '\0' || strcmp(values, item->values) == 0,
		    "%s: the manual says \"%s\", it is \"%s\"", knob->pattern,
		    item->values, values);
		default_words(knob, expected, sizeof(expected));
		ck_assert_msg(strstr(item->text, expected) != NULL,
		    "%s: %s is not in%s", knob->pattern, expected, item->text);
	}
	for (j = 0; j < item_count; j++)
		ck_assert_msg(
		    items[j].seen, "only in the manual: %s", items[j].pattern);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config_manual");
	TCase *tc = tcase_create("config_manual");

	log_init("test_config_manual", LOG_LEVEL_ERROR, 1);
	tcase_add_unchecked_fixture(tc, read_manual, NULL);
	tcase_add_test(tc, test_manual_has_each_knob);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
