/*
 * Parent of hermesd. How the words of hermesd.conf(5) find their knob, and
 * what is said when they find none.
 */

#include <string.h>

#include "control/config_parse.h"

/* The pattern of a knob as it stands in block, or NULL. */
static const char *
config_pattern(const struct knob *knob, const char *block)
{
	size_t length = strlen(block);

	if (length == 0)
		return (knob->pattern);
	if (strncmp(knob->pattern, block, length) != 0 ||
	    knob->pattern[length] != ' ')
		return (NULL);
	return (knob->pattern + length + 1);
}

/*
 * Compare words from at on with a pattern: the number of words it takes when
 * all of it is there, else 0; *same is how many of them agree. values are
 * the words where % stands.
 */
static size_t
config_match(const struct config_words *words, size_t at, const char *pattern,
    const struct config_word *values[CONFIG_VALUES], size_t *same)
{
	const struct config_word *word;
	size_t n, length, value = 0;

	for (n = 0; *pattern != '\0'; n++) {
		length = strcspn(pattern, " ");
		if (at + n >= words->count)
			break;
		word = &words->word[at + n];
		if (length == 1 && *pattern == '%')
			values[value++] = word;
		else if (word->quoted || strlen(word->text) != length ||
			 memcmp(word->text, pattern, length) != 0)
			break;
		pattern += length;
		pattern += strspn(pattern, " ");
	}
	*same = n;
	return (*pattern == '\0' ? n : 0);
}

/* A pattern as it is written, "after NUMBER messages", into out. */
static void
config_usage(
    const struct knob *knob, const char *pattern, char *out, size_t size)
{
	const char *p;
	char c[2] = "";

	*out = '\0';
	for (p = pattern; *p != '\0'; p++) {
		c[0] = *p;
		(void)strlcat(
		    out, *p == '%' ? config_value_name(knob) : c, size);
	}
}

/*
 * Say what could have stood where words agree with no knob: the first words
 * known, or how the knobs are written that begin like this.
 */
static void
config_unknown(
    struct config_parser *parser, const char *block, size_t at, size_t most)
{
	const struct config_word *values[CONFIG_VALUES], *word;
	char known[384] = "", usage[96];
	const char *pattern;
	size_t i, same, length;

	word = &parser->words.word[at];
	/* Its brace may stand in the next line, too late. */
	if (*block == '\0' && most == 1 && at + 1 == parser->words.count &&
	    config_is_block(word->text, strlen(word->text)))
		(void)snprintf(known, sizeof(known), "%s {", word->text);
	for (i = 0; i < config_knob_count; i++) {
		pattern = config_pattern(&config_knobs[i], block);
		if (pattern == NULL)
			continue;
		(void)config_match(&parser->words, at, pattern, values, &same);
		if (same < most)
			continue;
		config_usage(&config_knobs[i], pattern, usage, sizeof(usage));
		if (most == 0)
			usage[strcspn(usage, " ")] = '\0';
		length = strlen(known);
		if (length + strlen(usage) + sizeof(" or  ...") >
		    sizeof(known)) {
			(void)strlcat(known, " ...", sizeof(known));
			break;
		}
		/* The knobs of one first word stand together. */
		if (length > 0 && most == 0 && strlen(usage) <= length &&
		    strcmp(known + length - strlen(usage), usage) == 0)
			continue;
		(void)strlcat(known,
		    length == 0 ? ""
		    : most == 0 ? ", "
				: " or ",
		    sizeof(known));
		(void)strlcat(known, usage, sizeof(known));
	}
	if (most > 0)
		config_error(parser, word->line, "expected %s", known);
	else
		config_error(parser, word->line,
		    "unknown keyword \"%s\"%s%s; known: %s%s", word->text,
		    block[0] == '\0' ? "" : " in ", block, known,
		    block[0] == '\0' ? ", include" : "");
}

/* Carry out one statement. */
static void
config_apply(struct config_parser *parser, const struct knob *knob, int line,
    const struct config_word *const *values)
{
	struct config_setting *set = &parser->set[knob - config_knobs];
	int was_set = set->place.line != 0;
	const char *error = NULL;
	char usage[96], text[CONFIG_PATH_SIZE + 16];

	config_usage(knob, knob->pattern, usage, sizeof(usage));
	if (was_set && set->level == parser->level && !knob->many) {
		config_error(parser, line, "\"%s\" was set already, at %s",
		    usage, config_place_text(text, &set->place));
		return;
	}
	if (was_set && set->level != parser->level && knob->set != NULL)
		(void)knob->set(parser, knob, NULL);
	config_here(parser, line, &set->place);
	set->level = parser->level;
	/* What no function sets has one value. */
	if (knob->set != NULL)
		(void)knob->set(parser, knob, values);
	else if (values[0] != NULL)
		error = config_value_read(
		    knob, values[0]->text, &parser->file->config);
	if (error != NULL)
		config_error(parser, line, "%s: %s", usage, error);
}

void
config_statements(struct config_parser *parser, const char *block)
{
	const struct config_word *values[CONFIG_VALUES] = { NULL };
	const struct config_word *best_values[CONFIG_VALUES] = { NULL };
	const struct knob *best;
	const char *pattern;
	size_t at, i, taken, same, best_taken, most;

	for (at = 0; at < parser->words.count; at += best_taken) {
		best = NULL;
		best_taken = most = 0;
		for (i = 0; i < config_knob_count; i++) {
			pattern = config_pattern(&config_knobs[i], block);
			if (pattern == NULL)
				continue;
			taken = config_match(
			    &parser->words, at, pattern, values, &same);
			if (same > most)
				most = same;
			if (taken > best_taken) {
				best = &config_knobs[i];
				best_taken = taken;
				memcpy(best_values, values, sizeof(values));
			}
		}
		if (best == NULL) {
			config_unknown(parser, block, at, most);
			break;
		}
		config_apply(
		    parser, best, parser->words.word[at].line, best_values);
	}
	config_lex_clear(parser);
}

void
config_statement(struct config_parser *parser, const struct knob *knob)
{
	const struct config_word *values[CONFIG_VALUES] = { NULL };
	char usage[96];
	size_t same;

	if (config_match(&parser->words, 0, knob->pattern, values, &same) ==
	    parser->words.count)
		config_apply(parser, knob, -1, values);
	else {
		config_usage(knob, knob->pattern + strcspn(knob->pattern, "%"),
		    usage, sizeof(usage));
		config_error(parser, -1, "expected %s", usage);
	}
	config_lex_clear(parser);
}

int
config_block(struct config_parser *parser, const char *block)
{
	char known[256] = "", word[32];
	size_t i, length;

	if (config_is_block(block, strlen(block)))
		return (1);
	for (i = 0; i < config_knob_count; i++) {
		length = strcspn(config_knobs[i].pattern, " ");
		(void)snprintf(word, sizeof(word), "%.*s", (int)length,
		    config_knobs[i].pattern);
		if (!config_is_block(word, length) ||
		    (i > 0 && config_pattern(&config_knobs[i - 1], word)))
			continue;
		(void)strlcat(
		    known, known[0] == '\0' ? "" : ", ", sizeof(known));
		(void)strlcat(known, word, sizeof(known));
	}
	config_error(parser, parser->token_line,
	    "unknown block \"%s\"; known: %s", block, known);
	return (0);
}
