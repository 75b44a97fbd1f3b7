/*
 * Parent of hermesd. Everything that hermesd.conf(5) can set, one row a
 * knob: where it stands, how it is written, its bounds, its default. And how
 * the words of the file find their row.
 */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "control/config_parse.h"

#define SECOND ((uint64_t)CLOCK_SECOND)
#define MS     ((uint64_t)CLOCK_MS)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define K      UINT64_C(1024)
#define M      (1024 * K)
#define G      (1024 * M)

#define FIELD(member)                                                          \
	offsetof(struct config, member), sizeof(((struct config *)NULL)->member)

#define COUNT(block, pattern, member, least, most, standard, zero)             \
	{                                                                      \
		block, pattern, KNOB_COUNT, FIELD(member), least, most,        \
		    standard, zero, NULL, NULL                                 \
	}
#define BYTES(block, pattern, member, least, most, standard)                   \
	{                                                                      \
		block, pattern, KNOB_BYTES, FIELD(member), least, most,        \
		    standard, 0, NULL, NULL                                    \
	}
#define TIME(block, pattern, member, least, most, standard, zero)              \
	{                                                                      \
		block, pattern, KNOB_TIME, FIELD(member), least, most,         \
		    standard, zero, NULL, NULL                                 \
	}
#define CHOICE(block, pattern, member, standard, choices)                      \
	{                                                                      \
		block, pattern, KNOB_CHOICE, FIELD(member), 0, 0, standard, 0, \
		    choices, NULL                                              \
	}
#define TEXT(block, pattern, type, member, standard)                           \
	{                                                                      \
		block, pattern, type, FIELD(member), 0, 0, 0, 0, standard,     \
		    NULL                                                       \
	}
#define OTHER(block, pattern, number, set)                                     \
	{                                                                      \
		block, pattern, KNOB_OTHER, 0, 0, number, 0, 0, 0, NULL, set   \
	}

static int config_set_node(struct config_parser *, const struct knob *,
    const struct config_word *const *);
static int config_set_no_admin(struct config_parser *, const struct knob *,
    const struct config_word *const *);
static int config_set_argon2(struct config_parser *, const struct knob *,
    const struct config_word *const *);
static int config_set_certificate(struct config_parser *, const struct knob *,
    const struct config_word *const *);

const struct knob config_knobs[] = { OTHER("", "node %", 0, config_set_node),
	OTHER("", "listen app on % port %", LISTEN_APP, config_set_listen),
	OTHER("", "listen mesh on % port %", LISTEN_MESH, config_set_listen),
	OTHER("", "listen admin on % port %", LISTEN_ADMIN, config_set_listen),
	OTHER("", "no admin", 0, config_set_no_admin),
	TEXT("", "control socket %", KNOB_PATH, control_socket,
	    HERMES_RUNDIR "/hermes/hermesd.sock"),
	TEXT("", "advertise app %", KNOB_TEXT, advertise_app, ""),
	TEXT("", "advertise mesh %", KNOB_TEXT, advertise_mesh, ""),
	OTHER("", "certificate % key %", 0, config_set_certificate),
	OTHER("", "peer % address % key %", 0, config_set_peer),
	CHOICE("", "app compat %", app_compat_v1, 0, "off v1"),
	CHOICE("", "admin apps %", admin_apps, 0, "no yes"),
	CHOICE("", "admin ids %", admin_full_ids, 0, "short full"),
	CHOICE("", "log level %", log_level, LOG_LEVEL_INFO,
	    "debug info warn error"),

	TEXT("keystore", "path %", KNOB_PATH, keystore.path,
	    "/var/lib/hermes/keyd"),
	TEXT("keystore", "passphrase file %", KNOB_PATH, keystore.passphrase,
	    ""),
	COUNT("keystore", "argon2 ops %", keystore.argon2_ops, 1, 64, 3, 0),
	BYTES("keystore", "argon2 memory %", keystore.argon2_memory, M, 4 * G,
	    64 * M),
	OTHER("keystore", "argon2 ops % memory %", 0, config_set_argon2),
	TIME("keystore", "erase interval %", keystore.erase_interval, 100 * MS,
	    DAY, MINUTE, 0),
	TIME("keystore", "chat idle %", keystore.chat_idle, SECOND, 3650 * DAY,
	    30 * DAY, 0),

	TIME("rekey", "after %", rekey.after_time, SECOND, 365 * DAY, HOUR, 1),
	COUNT("rekey", "after % messages", rekey.after_messages, 1,
	    UINT64_C(1) << 32, 1048576, 1),
	COUNT("rekey", "limit %", rekey.limit, 1, 1000, 3, 0),
	TIME("rekey", "window %", rekey.window, 100 * MS, DAY, 30 * SECOND, 0),
	TIME("rekey", "key lifetime %", rekey.key_lifetime, SECOND, 3650 * DAY,
	    30 * DAY, 1),
	TIME("rekey", "grace %", rekey.grace, 100 * MS, HOUR, 30 * SECOND, 0),
	CHOICE("rekey", "hkdf hash %", rekey.hkdf_sha512, 0, "sha256 sha512"),

	COUNT("limits", "sessions %", limits.sessions, 1, 1000000, 10000, 0),
	COUNT("limits", "unauthenticated %", limits.unauthenticated, 1, 100000,
	    1024, 0),
	COUNT("limits", "per source %", limits.per_source, 1, 1000000, 1024, 0),
	COUNT("limits", "chats per app %", limits.chats_per_app, 1, 1000000,
	    1000, 0),
	COUNT("limits", "messages per second %", limits.messages_per_second, 1,
	    10000000, 10000, 1),
	COUNT("limits", "starts per minute %", limits.starts_per_minute, 1,
	    1000000, 600, 0),
	BYTES("limits", "message size %", limits.message_size, K, 16 * M, M),
	BYTES("limits", "metadata size %", limits.metadata_size, 256, 7 * K,
	    4 * K),
	COUNT("limits", "chat window % messages", limits.chat_window_messages,
	    1, 65536, 256, 0),
	BYTES("limits", "chat window % bytes", limits.chat_window_bytes, 4 * K,
	    256 * M, M),
	COUNT("limits", "members %", limits.members, 1, 10000, 1000, 0),
	COUNT("limits", "apps %", limits.apps, 1, 10000000, 100000, 0),
	TIME("limits", "connect timeout %", limits.connect_timeout, 100 * MS,
	    10 * MINUTE, 10 * SECOND, 0),
	TIME("limits", "session idle %", limits.session_idle, SECOND, 30 * DAY,
	    0, 1),

	TIME("mesh", "route grace %", route_grace, 100 * MS, DAY, 30 * SECOND,
	    0),
	TIME("mesh", "drain grace %", drain_grace, 100 * MS, 10 * MINUTE,
	    10 * SECOND, 0),
	TIME("mesh", "membership lifetime %", membership_lifetime, 10 * SECOND,
	    3650 * DAY, 365 * DAY, 0) };

const size_t config_knob_count = sizeof(config_knobs) / sizeof(config_knobs[0]);

_Static_assert(sizeof(config_knobs) / sizeof(config_knobs[0]) <= CONFIG_KNOBS,
    "a place for each knob");

static void config_apply(
    struct config_parser *, size_t, size_t, const struct config_word *const *);

/* --- knobs that are not a plain number or text --------------------------- */

static int
config_set_node(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values)
{
	struct config *config = &parser->file->config;
	const struct config_word *value = values[0];

	(void)knob;
	if (!node_id_valid(value->text, strlen(value->text))) {
		config_error(parser, value->line,
		    "\"%s\" is no node name: 1 "
		    "to %d of a-z, 0-9 and -",
		    value->text, NODE_ID_SIZE - 1);
		return (-1);
	}
	(void)strlcpy(config->node_id, value->text, sizeof(config->node_id));
	return (0);
}

static int
config_set_no_admin(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values)
{
	(void)knob;
	(void)values;
	parser->no_admin = 1;
	return (0);
}

/* Both in one statement; each counts as set by itself. */
static int
config_set_argon2(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values)
{
	static const char *const patterns[2] = { "argon2 ops %",
		"argon2 memory %" };
	size_t i, value;

	for (value = 0; value < 2; value++)
		for (i = 0; i < config_knob_count; i++)
			if (strcmp(config_knobs[i].block, knob->block) == 0 &&
			    strcmp(config_knobs[i].pattern, patterns[value]) ==
				0)
				config_apply(parser, i,
				    (size_t)(values[0] - parser->words.word),
				    &values[value]);
	return (0);
}

static int
config_set_certificate(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values)
{
	struct config *config = &parser->file->config;
	char *to[2] = { config->certificate, config->certificate_key };
	int i;

	(void)knob;
	for (i = 0; i < 2; i++) {
		if (values[i]->text[0] != '/') {
			config_error(parser, values[i]->line,
			    "\"%s\": the "
			    "path must start with /",
			    values[i]->text);
			return (-1);
		}
		if (strlcpy(to[i], values[i]->text, CONFIG_PATH_SIZE) >=
		    CONFIG_PATH_SIZE) {
			config_error(parser, values[i]->line,
			    "the path is longer than %d characters",
			    CONFIG_PATH_SIZE - 1);
			return (-1);
		}
	}
	config->own_certificate = 1;
	config_here(parser, values[0]->line, &parser->file->certificate);
	return (0);
}

/* --- from words to knobs ------------------------------------------------- */

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

/* A knob as it is written, "after NUMBER messages", into out. */
static void
config_usage(const struct knob *knob, char *out, size_t size)
{
	const char *p;
	char c[2] = "";

	*out = '\0';
	for (p = knob->pattern; *p != '\0'; p++) {
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
	size_t i, same, length;

	word = &parser->words.word[at];
	for (i = 0; i < config_knob_count; i++) {
		if (strcmp(config_knobs[i].block, block) != 0)
			continue;
		(void)config_match(
		    &parser->words, at, config_knobs[i].pattern, values, &same);
		if (same < most)
			continue;
		config_usage(&config_knobs[i], usage, sizeof(usage));
		if (most == 0)
			usage[strcspn(usage, " ")] = '\0';
		length = strlen(known);
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
	else if (block[0] == '\0')
		config_error(parser, word->line,
		    "unknown keyword \"%s\"; "
		    "known: %s, include, and the blocks keystore, rekey, "
		    "limits, mesh",
		    word->text, known);
	else
		config_error(parser, word->line,
		    "unknown keyword \"%s\" in "
		    "%s; known: %s",
		    word->text, block, known);
}

/* Carry out one statement. */
static void
config_apply(struct config_parser *parser, size_t knob_index, size_t at,
    const struct config_word *const *values)
{
	const struct knob *knob = &config_knobs[knob_index];
	struct config_place *set = &parser->set[knob_index];
	int line = parser->words.word[at].line;
	const char *error;
	char usage[96], text[CONFIG_PATH_SIZE + 16];

	config_usage(knob, usage, sizeof(usage));
	if (knob->set != config_set_listen && knob->set != config_set_peer &&
	    set->line != 0) {
		config_error(parser, line, "\"%s\" was set already, at %s",
		    usage, config_place_text(text, set));
		return;
	}
	config_here(parser, line, set);
	if (knob->set != NULL) {
		(void)knob->set(parser, knob, values);
		return;
	}
	error = config_value_read(knob, values[0]->text, &parser->file->config);
	if (error != NULL)
		config_error(parser, line, "%s: %s", usage, error);
}

void
config_statements(struct config_parser *parser, const char *block)
{
	const struct config_word *values[CONFIG_VALUES];
	const struct config_word *best_values[CONFIG_VALUES];
	size_t at, i, taken, same, best, best_taken;
	size_t most;

	for (at = 0; at < parser->words.count; at += best_taken) {
		best = best_taken = most = 0;
		for (i = 0; i < config_knob_count; i++) {
			if (strcmp(config_knobs[i].block, block) != 0)
				continue;
			taken = config_match(&parser->words, at,
			    config_knobs[i].pattern, values, &same);
			if (same > most)
				most = same;
			if (taken > best_taken) {
				best = i;
				best_taken = taken;
				memcpy(best_values, values, sizeof(values));
			}
		}
		if (best_taken == 0) {
			config_unknown(parser, block, at, most);
			break;
		}
		config_apply(parser, best, at, best_values);
	}
	config_lex_clear(parser);
}

int
config_block(struct config_parser *parser, const char *block)
{
	size_t i;

	for (i = 0; i < config_knob_count; i++)
		if (block[0] != '\0' &&
		    strcmp(config_knobs[i].block, block) == 0)
			return (1);
	config_error(parser, parser->token_line,
	    "unknown block \"%s\"; "
	    "known: keystore, rekey, limits, mesh",
	    block);
	return (0);
}
