/*
 * Parent of hermesd. Words, quotes, macros and files of hermesd.conf(5).
 */

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/log.h"
#include "control/config_parse.h"
#include "control/parse.tab.h"

#define CONFIG_TOKEN 512 /* longest word */

int config_yylex(CONFIG_YYSTYPE *value, struct config_parser *parser);

static struct config_source *
config_source(struct config_parser *parser)
{
	return (
	    parser->depth == 0 ? NULL : &parser->sources[parser->depth - 1]);
}

void
config_here(struct config_parser *parser, int line, struct config_place *place)
{
	struct config_source *source = config_source(parser);

	(void)strlcpy(place->file,
	    parser->outside != NULL ? parser->outside
	    : source == NULL        ? parser->sources[0].path
				    : source->path,
	    sizeof(place->file));
	place->line = parser->outside != NULL ? -1 : line;
}

void
config_error(struct config_parser *parser, int line, const char *format, ...)
{
	struct config_place place;
	char message[512], text[1024];
	va_list ap;

	config_here(parser, line, &place);
	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	if (place.line > 0)
		(void)snprintf(
		    text, sizeof(text), "%s:%d: %s", place.file, line, message);
	else
		(void)snprintf(
		    text, sizeof(text), "%s: %s", place.file, message);
	parser->errors++;
	parser->report(parser->arg, text);
}

/* To read; a folder opens and fails at its first byte. NULL with errno. */
static FILE *
config_open(const char *path)
{
	FILE *stream = fopen(path, "re");
	int c, error;

	if (stream == NULL)
		return (NULL);
	if ((c = getc(stream)) == EOF && ferror(stream)) {
		error = errno;
		(void)fclose(stream);
		errno = error;
		return (NULL);
	}
	(void)ungetc(c, stream);
	return (stream);
}

int
config_lex_push(struct config_parser *parser, const char *path)
{
	struct config_source *source, *outer = config_source(parser);
	const char *slash;
	int line = outer == NULL ? 0 : parser->token_line;
	char full[CONFIG_PATH_SIZE];
	FILE *stream;

	(void)strlcpy(full, "", sizeof(full));
	if (path[0] != '/' && outer != NULL &&
	    (slash = strrchr(outer->path, '/')) != NULL)
		(void)snprintf(full, sizeof(full), "%.*s",
		    (int)(slash - outer->path + 1), outer->path);
	if (strlcat(full, path, sizeof(full)) >= sizeof(full)) {
		config_error(parser, line, "path is too long");
		return (-1);
	}
	if (parser->depth == CONFIG_DEPTH) {
		config_error(parser, line,
		    "more than %d files include one "
		    "another",
		    CONFIG_DEPTH);
		return (-1);
	}
	if ((stream = config_open(full)) == NULL) {
		if (outer == NULL)
			(void)strlcpy(
			    parser->sources[0].path, full, sizeof(full));
		config_error(parser, line, "%s%s%s", outer == NULL ? "" : full,
		    outer == NULL ? "" : ": ", strerror(errno));
		return (-1);
	}
	source = &parser->sources[parser->depth++];
	memset(source, 0, sizeof(*source));
	source->stream = stream;
	source->line = 1;
	(void)strlcpy(source->path, full, sizeof(source->path));
	parser->ended = 0;
	return (0);
}

static char *
config_copy(const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		fatal("config", "error=memory");
	return (copy);
}

static void
config_lex_pop(struct config_parser *parser)
{
	struct config_source *source = config_source(parser);

	(void)fclose(source->stream);
	source->stream = NULL;
	parser->depth--;
}

void
config_lex_clear(struct config_parser *parser)
{
	size_t i;

	for (i = 0; i < parser->words.count; i++)
		free(parser->words.word[i].text);
	parser->words.count = 0;
}

void
config_lex_keep(struct config_parser *parser, char *text, int quoted)
{
	struct config_word *word;

	if (parser->words.count == CONFIG_WORDS) {
		config_error(parser, parser->token_line,
		    "more than %d words in a line", CONFIG_WORDS);
		config_lex_clear(parser);
	}
	word = &parser->words.word[parser->words.count++];
	word->text = text;
	word->quoted = quoted;
	word->line = parser->token_line;
}

void
config_lex_key(struct config_parser *parser, const char *text)
{
	config_lex_keep(parser, config_copy(text), 0);
}

void
config_lex_free(struct config_parser *parser)
{
	struct config_macro *macro;

	while (parser->depth > 0)
		config_lex_pop(parser);
	config_lex_clear(parser);
	while ((macro = TAILQ_FIRST(&parser->macros)) != NULL) {
		TAILQ_REMOVE(&parser->macros, macro, entry);
		free(macro->name);
		free(macro->value);
		free(macro);
	}
}

static struct config_macro *
config_macro(struct config_parser *parser, const char *name)
{
	struct config_macro *macro;

	TAILQ_FOREACH(macro, &parser->macros, entry)
	if (strcmp(macro->name, name) == 0)
		return (macro);
	return (NULL);
}

void
config_lex_define(
    struct config_parser *parser, const char *name, const char *value)
{
	struct config_macro *macro;

	if ((macro = config_macro(parser, name)) != NULL) {
		if (macro->stays && parser->outside == NULL)
			return;
		config_error(parser, parser->token_line,
		    "macro \"%s\" is defined already", name);
		return;
	}
	if ((macro = calloc(1, sizeof(*macro))) == NULL)
		fatal("config", "error=memory");
	macro->name = config_copy(name);
	macro->value = config_copy(value);
	macro->stays = parser->outside != NULL;
	TAILQ_INSERT_TAIL(&parser->macros, macro, entry);
}

/* --- characters ---------------------------------------------------------- */

static int
config_getc(struct config_source *source)
{
	int c = source->back;

	source->back = 0;
	return (c != 0 ? c : getc(source->stream));
}

static void
config_ungetc(struct config_source *source, int c)
{
	source->back = c;
}

static int
config_word_character(int c)
{
	return (c > ' ' && c < 0x7f && strchr("\"{}=,;#", c) == NULL);
}

/* The rest of a quoted string; a backslash keeps the next character. 0, or
 * -1 reported. */
static int
config_lex_string(
    struct config_parser *parser, struct config_source *source, char *out)
{
	size_t n = 0;
	int c;

	while ((c = config_getc(source)) != '"') {
		if (c == '\\')
			c = config_getc(source);
		if (c == EOF || c == '\n' || c == '\0') {
			config_ungetc(source, c);
			config_error(parser, source->line,
			    "a quoted string does not end");
			return (-1);
		}
		if (n == CONFIG_TOKEN - 1) {
			config_error(parser, source->line,
			    "a string is longer than %d characters",
			    CONFIG_TOKEN - 1);
			return (-1);
		}
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return (0);
}

/* 1 when the next thing is an equals sign, which is then gone. */
static int
config_lex_equals(struct config_source *source)
{
	int c;

	while ((c = config_getc(source)) == ' ' || c == '\t')
		;
	if (c == '=')
		return (1);
	config_ungetc(source, c);
	return (0);
}

/* A bare word that starts with c: a keyword, value, macro or its use. */
static int
config_lex_word(struct config_parser *parser, struct config_source *source,
    int c, CONFIG_YYSTYPE *value)
{
	struct config_macro *macro;
	char word[CONFIG_TOKEN];
	size_t n = 0;

	do {
		if (n == sizeof(word) - 1) {
			config_error(parser, source->line,
			    "a word is longer than %d characters",
			    CONFIG_TOKEN - 1);
			return (CONFIG_YYUNDEF);
		}
		word[n++] = (char)c;
	} while (config_word_character(c = config_getc(source)));
	word[n] = '\0';
	config_ungetc(source, c);
	(void)strlcpy(parser->token, word, sizeof(parser->token));
	if (word[0] == '$') {
		if ((macro = config_macro(parser, word + 1)) == NULL) {
			config_error(parser, source->line,
			    "macro \"%s\" is not defined", word + 1);
			value->text = config_copy("");
			return (STRING);
		}
		value->text = config_copy(macro->value);
		return (WORD);
	}
	if (strcmp(word, "include") == 0)
		return (INCLUDE);
	value->text = config_copy(word);
	if (!config_lex_equals(source))
		return (WORD);
	(void)strlcat(parser->token, " =", sizeof(parser->token));
	return (MACRO);
}

/* The end of a file: a newline, then what is after its include line. */
static int
config_lex_end(struct config_parser *parser)
{
	if (!parser->ended) {
		parser->ended = 1;
		return (NEWLINE);
	}
	if (parser->depth == 1)
		return (0);
	config_lex_pop(parser);
	return (-1);
}

int
config_yylex(CONFIG_YYSTYPE *value, struct config_parser *parser)
{
	struct config_source *source;
	char text[CONFIG_TOKEN];
	int c, token;

again:
	source = config_source(parser);
	while ((c = config_getc(source)) == ' ' || c == '\t' || c == '\r')
		;
	if (c == '#')
		while ((c = config_getc(source)) != '\n' && c != EOF)
			;
	parser->token_line = source->line;
	(void)snprintf(parser->token, sizeof(parser->token), "%c",
	    c < ' ' || c > '~' ? '?' : c);
	switch (c) {
	case EOF:
		(void)strlcpy(
		    parser->token, "end of file", sizeof(parser->token));
		if ((token = config_lex_end(parser)) == -1)
			goto again;
		return (token);
	case '\n':
		(void)strlcpy(
		    parser->token, "end of line", sizeof(parser->token));
		source->line++;
		return (NEWLINE);
	case ',':
	case ';':
		return (NEWLINE);
	case '"':
		if (config_lex_string(parser, source, text) == -1)
			goto again;
		(void)strlcpy(parser->token, text, sizeof(parser->token));
		value->text = config_copy(text);
		return (STRING);
	}
	if (config_word_character(c))
		return (config_lex_word(parser, source, c, value));
	return (c == '{' || c == '}' || c == '=' ? c : CONFIG_YYUNDEF);
}

int
config_lex_text(struct config_parser *parser, const char *text)
{
	CONFIG_YYSTYPE value = { NULL };
	struct config_source *source;
	int token, result = 0;

	if (*text == '\0')
		return (0);
	/* The file was read to its end, so there is room. */
	source = &parser->sources[parser->depth++];
	memset(source, 0, sizeof(*source));
	source->line = -1;
	source->stream = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	if (source->stream == NULL)
		fatal("config", "error=memory");
	parser->ended = 0;
	while (
	    (token = config_yylex(&value, parser)) == WORD || token == STRING)
		config_lex_keep(parser, value.text, token == STRING);
	if (token == MACRO)
		free(value.text);
	if (token != NEWLINE || !parser->ended) {
		config_error(
		    parser, -1, "\"%s\" does not belong here", parser->token);
		result = -1;
	}
	config_lex_pop(parser);
	return (result);
}
