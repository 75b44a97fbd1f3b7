/*
 * Parent of hermesd. What is set besides the file: macros of -D, variables
 * HERMES_<KEY> of the environment, and -o key=value, in this order of weight.
 * A value stands where the file has it, from the first value of the statement
 * to the last; a statement that may be repeated takes several, parted by
 * commas. They are the operator's and trusted; values of what is not known
 * are never shown, for they may be a secret in the wrong place.
 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_parse.h"

#define VARIABLE "HERMES_"

static const struct knob *
config_find_key(const char *key, size_t length, int upper)
{
	char text[KNOB_KEY_SIZE];
	size_t i, j;

	for (i = 0; i < config_knob_count; i++) {
		(void)config_knob_key(&config_knobs[i], text);
		for (j = 0; upper && text[j] != '\0'; j++)
			text[j] = (char)toupper((unsigned char)text[j]);
		if (strlen(text) == length && memcmp(text, key, length) == 0)
			return (&config_knobs[i]);
	}
	return (NULL);
}

/* The words of a pattern before its first value, or after its only one. */
static void
config_override_words(struct config_parser *parser, const char *from, size_t n)
{
	char word[KNOB_KEY_SIZE];
	size_t length;

	for (; n > 0; n -= length, from += length) {
		length = strspn(from, " ");
		if (length > 0)
			continue;
		length = strcspn(from, " ");
		if (length > n)
			length = n;
		(void)snprintf(word, sizeof(word), "%.*s", (int)length, from);
		config_lex_key(parser, word);
	}
}

/* One value of a knob with several words in it; text is cut. */
static void
config_override_one(
    struct config_parser *parser, const struct knob *knob, const char *text)
{
	const char *percent = strchr(knob->pattern, '%');

	config_override_words(
	    parser, knob->pattern, (size_t)(percent - knob->pattern));
	if (config_lex_text(parser, text) == 0)
		config_statement(parser, knob);
	else
		config_lex_clear(parser);
}

static void
config_override_many(
    struct config_parser *parser, const struct knob *knob, const char *text)
{
	char *copy = strdup(text), *rest = copy, *part;

	if (copy == NULL) {
		config_error(parser, -1, "out of memory");
		return;
	}
	while ((part = strsep(&rest, ",")) != NULL)
		config_override_one(parser, knob, part);
	free(copy);
}

/* knob = text. */
static void
config_override_set(
    struct config_parser *parser, const struct knob *knob, const char *text)
{
	const char *percent = strchr(knob->pattern, '%');

	if (percent == NULL) {
		/* A statement without a value is made or not. */
		if (strcmp(text, "yes") == 0) {
			config_override_words(
			    parser, knob->pattern, strlen(knob->pattern));
			config_statement(parser, knob);
		} else if (strcmp(text, "no") == 0)
			(void)knob->set(parser, knob, NULL);
		else
			config_error(
			    parser, -1, "yes or no, not \"%.40s\"", text);
	} else if (knob->many)
		config_override_many(parser, knob, text);
	else if (strchr(percent + 1, '%') != NULL)
		config_override_one(parser, knob, text);
	else {
		config_override_words(
		    parser, knob->pattern, (size_t)(percent - knob->pattern));
		config_lex_key(parser, text);
		config_override_words(parser, percent + 1, strlen(percent + 1));
		config_statement(parser, knob);
	}
}

/* "KEY=value" from place; name is "HERMES_KEY" or "-o key", for errors. */
static void
config_override_text(struct config_parser *parser, const char *prefix,
    const char *text, int upper, const char *hint)
{
	const char *equals = strchr(text, '=');
	size_t length = equals == NULL ? strlen(text) : (size_t)(equals - text);
	const struct knob *knob = config_find_key(text, length, upper);
	char name[CONFIG_PATH_SIZE];

	(void)snprintf(name, sizeof(name), "%s%.*s", prefix,
	    length > 100 ? 100 : (int)length, text);
	parser->outside = name;
	if (knob == NULL)
		config_error(parser, -1,
		    "unknown %s; hermesd.conf(5) lists "
		    "them, and none is a secret itself",
		    hint);
	else if (equals == NULL)
		config_error(parser, -1, "no value: key=value");
	else
		config_override_set(parser, knob, equals + 1);
	parser->outside = NULL;
}

void
config_override(
    struct config_parser *parser, const struct config_options *options)
{
	char *const *next;

	parser->level = CONFIG_ENVIRONMENT;
	for (next = options->environment; next != NULL && *next != NULL; next++)
		if (strncmp(*next, VARIABLE, strlen(VARIABLE)) == 0)
			config_override_text(parser, VARIABLE,
			    *next + strlen(VARIABLE), 1, "variable");
	parser->level = CONFIG_FLAG;
	for (next = options->settings; next != NULL && *next != NULL; next++)
		config_override_text(parser, "-o ", *next, 0, "key");
}

void
config_override_macros(
    struct config_parser *parser, const struct config_options *options)
{
	char name[CONFIG_PATH_SIZE];
	char *const *next;
	size_t length;

	for (next = options->macros; next != NULL && *next != NULL; next++) {
		length = strcspn(*next, "=");
		(void)snprintf(name, sizeof(name), "-D %.*s",
		    length > 100 ? 100 : (int)length, *next);
		parser->outside = name;
		if ((*next)[length] != '=' || length == 0 || length > 100)
			config_error(parser, -1, "not macro=value");
		else
			config_lex_define(
			    parser, name + strlen("-D "), *next + length + 1);
		parser->outside = NULL;
	}
}
