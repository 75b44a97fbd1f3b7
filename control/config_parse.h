/*
 * Parent of hermesd. The inside of the configuration parser, shared by
 * parse.y and the config_*.c.
 */
#ifndef CONTROL_CONFIG_PARSE_H
#define CONTROL_CONFIG_PARSE_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "control/config.h"

#define CONFIG_WORDS  64 /* in one run of statements */
#define CONFIG_DEPTH  8  /* of includes */
#define CONFIG_KNOBS  96 /* at most */
#define CONFIG_VALUES 3  /* of one knob */

struct buffer;

/* A word of the file; quoted ones are never keywords. */
struct config_word {
	char *text;
	int quoted;
	int line;
};

struct config_words {
	struct config_word word[CONFIG_WORDS];
	size_t count;
};

struct config_macro {
	TAILQ_ENTRY(config_macro) entry;
	char *name;
	char *value;
	int stays; /* from -D: the file's is passed over */
};
TAILQ_HEAD(config_macros, config_macro);

struct config_source {
	FILE *stream;
	char path[CONFIG_PATH_SIZE];
	int line;
	int back; /* a character pushed back, or EOF */
};

/* Later ones go over earlier ones. */
enum config_level { CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG };

/* Where a knob was set; line 0: it was not. */
struct config_setting {
	struct config_place place;
	enum config_level level;
};

struct config_parser {
	struct config_file *file;
	config_report report;
	void *arg;
	unsigned int errors;
	struct config_source sources[CONFIG_DEPTH];
	size_t depth; /* sources in use */
	struct config_macros macros;
	struct config_words words; /* of the statement read */
	struct config_setting set[CONFIG_KNOBS];
	enum config_level level;
	const char *outside; /* not in a file: "-o key"; or NULL */
	int no_admin;
	int ended;      /* last newline was given */
	char block[32]; /* the one we are in; "" none */
	int block_known;
	int block_line; /* of its { */
	char token[32]; /* last one read, for errors */
	int token_line;
};

/* --- config_lex.c -------------------------------------------------------- */

/* Start reading path; relative ones next to the file that includes it. 0, or
 * -1 reported. */
int config_lex_push(struct config_parser *parser, const char *path);
/* Close every source, free macros and words. */
void config_lex_free(struct config_parser *parser);
/* Forget the words of a statement. */
void config_lex_clear(struct config_parser *parser);
/* Add a word, owning text, to those of the statement. */
void config_lex_keep(struct config_parser *parser, char *text, int quoted);
/* name = value. */
void config_lex_define(
    struct config_parser *parser, const char *name, const char *value);
void config_here(
    struct config_parser *parser, int line, struct config_place *place);
/* Report an error at line of the file being read. */
void config_error(struct config_parser *parser, int line, const char *format,
    ...) __attribute__((format(printf, 3, 4)));

/* Put a word before the first of the statement. */
void config_lex_key(struct config_parser *parser, const char *text);
/* Append the words of text, which is outside of any file, to the statement.
 * 0, or -1 when there is more than words in it, reported. */
int config_lex_text(struct config_parser *parser, const char *text);

/* --- config_knobs.c ------------------------------------------------------ */

enum knob_type {
	KNOB_TEXT,   /* char[size] */
	KNOB_PATH,   /* the same, absolute */
	KNOB_COUNT,  /* uint32_t or uint64_t */
	KNOB_BYTES,  /* the same, with K M G */
	KNOB_TIME,   /* int64_t ns, with ms s m h d */
	KNOB_CHOICE, /* uint32_t, index in choices */
	KNOB_OTHER   /* has functions of its own */
};

struct knob;

/*
 * values stand where the pattern has %; NULL: forget all that was set so far.
 * 0, or -1 reported.
 */
typedef int (*knob_set)(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values);

/*
 * Append the value number index, all from the first % of the pattern to its
 * end, in the file's grammar. 1, 0 when there is no such value, -1 with errno.
 */
typedef int (*knob_print)(const struct knob *knob, const struct config *config,
    size_t index, struct buffer *out);

struct knob {
	/* "rekey after % messages". In a block, the first word is the
	 * block's. */
	const char *pattern;
	enum knob_type type;
	size_t offset; /* in struct config */
	size_t size;
	uint64_t least; /* in ns, bytes or as is */
	uint64_t most;
	uint64_t standard; /* the default */
	int zero;          /* 0 is allowed as well */
	int many;          /* may be set several times */
	const char *text;  /* default; choices "a b c" */
	knob_set set;      /* for KNOB_OTHER */
	knob_print print;
};

extern const struct knob config_knobs[];
extern const size_t config_knob_count;

/* The knob of a pattern, which exists. */
const struct knob *config_knob(const char *pattern);
/* Where a knob of a pattern was set. */
const struct config_setting *config_knob_set(
    const struct config_parser *parser, const char *pattern);

#define KNOB_KEY_SIZE 64
/* The name of a knob for -o and, in upper case, after HERMES_: the words of
 * its pattern, "rekey_after_messages". Returns out. */
const char *config_knob_key(const struct knob *knob, char out[KNOB_KEY_SIZE]);

/* 1 when several patterns begin with the word of this length. */
int config_is_block(const char *word, size_t length);

/* --- config_statement.c -------------------------------------------------- */

/* Carry out the statements in parser->words, which stand in block. */
void config_statements(struct config_parser *parser, const char *block);

/* 1 when block is the name of one, else 0, reported. */
int config_block(struct config_parser *parser, const char *block);

/* Carry out the one statement in parser->words, which is all of knob's. */
void config_statement(struct config_parser *parser, const struct knob *knob);

/* --- config_override.c --------------------------------------------------- */

/* Macros of -D, before the file is read. */
void config_override_macros(
    struct config_parser *parser, const struct config_options *options);
/* The environment, then -o, after it. */
void config_override(
    struct config_parser *parser, const struct config_options *options);

/* --- config_value.c ------------------------------------------------------ */

/* Read the value of a knob into config. NULL, or what is wrong with it (in
 * static storage). */
const char *config_value_read(
    const struct knob *knob, const char *text, struct config *config);

/* A knob_print for every type; empty texts have no value. */
int config_value_print(const struct knob *knob, const struct config *config,
    size_t index, struct buffer *out);

/* Write value, 0 or the default, of a knob that is a number. */
void config_value_store(
    const struct knob *knob, struct config *config, uint64_t value);

/* A number as the file would have it. */
void config_value_format(
    const struct knob *knob, uint64_t value, char *out, size_t size);

/* Append text. 0, or -1 with errno. */
int config_put(struct buffer *out, const char *text);
/* The same in quotes. */
int config_put_quoted(struct buffer *out, const char *text);

/* What stands for % of a knob in messages: NUMBER, TIME ... */
const char *config_value_name(const struct knob *knob);

/* --- config_listen.c ----------------------------------------------------- */

/* knob_set and knob_print; knob->least is the enum listener_kind. */
int config_set_listen(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values);
int config_print_listen(const struct knob *knob, const struct config *config,
    size_t index, struct buffer *out);
/* The listener of a kind at its default. 0, or -1 reported. */
int config_listen_default(
    struct config_parser *parser, enum listener_kind kind);
int config_listen_control(struct config_parser *parser);
/* The port of a listener's address. */
uint16_t config_listen_port(const struct config_listener *listener);

/* --- config_peer.c ------------------------------------------------------- */

/* knob_set and knob_print. */
int config_set_peer(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values);
int config_print_peer(const struct knob *knob, const struct config *config,
    size_t index, struct buffer *out);

/* --- config.c ------------------------------------------------------------ */

/* 1 when text is "host:port" or "[v6]:port", or empty. */
#define CONFIG_ENDPOINT_FORM                                                   \
	"host:port or [address]:port, with a port of 1 to 65535"
int config_endpoint_valid(const char *text);

/* --- parse.y ------------------------------------------------------------- */

int config_yyparse(struct config_parser *parser);

#endif
