/*
 * Parent of hermesd; control prints with it. Everything that hermesd.conf(5)
 * can set, one row a knob: how it is written, its bounds, its default. The
 * parser, the environment, -o, what is printed and the tests of the manual
 * all go by this table.
 */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/penalty.h"
#include "common/util/buffer.h"
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
	.offset = offsetof(struct config, member),                             \
	.size = sizeof(((struct config *)NULL)->member)

#define NUMBER(kind, words, member, from, to, otherwise, or_zero)              \
	{                                                                      \
		.pattern = words, .type = kind, FIELD(member), .least = from,  \
		.most = to, .standard = otherwise, .zero = or_zero,            \
		.print = config_value_print                                    \
	}
#define COUNT(words, member, from, to, otherwise, or_zero)                     \
	NUMBER(KNOB_COUNT, words, member, from, to, otherwise, or_zero)
#define BYTES(words, member, from, to, otherwise)                              \
	NUMBER(KNOB_BYTES, words, member, from, to, otherwise, 0)
#define TIME(words, member, from, to, otherwise, or_zero)                      \
	NUMBER(KNOB_TIME, words, member, from, to, otherwise, or_zero)
#define CHOICE(words, member, otherwise, choices)                              \
	{                                                                      \
		.pattern = words, .type = KNOB_CHOICE, FIELD(member),          \
		.standard = otherwise, .text = choices,                        \
		.print = config_value_print                                    \
	}
#define TEXT(words, kind, member, otherwise)                                   \
	{                                                                      \
		.pattern = words, .type = kind, FIELD(member),                 \
		.text = otherwise, .print = config_value_print                 \
	}
#define OTHER(words, number, several, set_it, print_it)                        \
	{                                                                      \
		.pattern = words, .type = KNOB_OTHER, .least = number,         \
		.many = several, .set = set_it, .print = print_it              \
	}

static int config_set_node(struct config_parser *, const struct knob *,
    const struct config_word *const *);
static int config_set_exempt(struct config_parser *, const struct knob *,
    const struct config_word *const *);
static int config_set_no_admin(struct config_parser *, const struct knob *,
    const struct config_word *const *);
static int config_set_certificate(struct config_parser *, const struct knob *,
    const struct config_word *const *);
static int config_print_no_admin(
    const struct knob *, const struct config *, size_t, struct buffer *);
static int config_print_certificate(
    const struct knob *, const struct config *, size_t, struct buffer *);

/* Rows of one first word stand together: they are printed as one block. */
const struct knob config_knobs[] = {
	{ .pattern = "node %",
	    .type = KNOB_TEXT,
	    FIELD(node_id),
	    .text = "",
	    .set = config_set_node,
	    .print = config_value_print },
	OTHER("listen app on % port %", LISTEN_APP, 1, config_set_listen,
	    config_print_listen),
	OTHER("listen mesh on % port %", LISTEN_MESH, 1, config_set_listen,
	    config_print_listen),
	OTHER("listen admin on % port %", LISTEN_ADMIN, 1, config_set_listen,
	    config_print_listen),
	OTHER("no admin", 0, 0, config_set_no_admin, config_print_no_admin),
	TEXT("control socket %", KNOB_PATH, control_socket,
	    HERMES_RUNDIR "/hermes/hermesd.sock"),
	TEXT("advertise app %", KNOB_TEXT, advertise_app, ""),
	TEXT("advertise mesh %", KNOB_TEXT, advertise_mesh, ""),
	OTHER("certificate % key %", 0, 0, config_set_certificate,
	    config_print_certificate),
	OTHER(
	    "peer % address % key %", 0, 1, config_set_peer, config_print_peer),
	CHOICE("app compat %", app_compat_v1, 0, "off v1"),
	CHOICE("admin apps %", admin_apps, 0, "no yes"),
	CHOICE("admin ids %", admin_full_ids, 0, "short full"),
	CHOICE(
	    "log level %", log_level, LOG_LEVEL_INFO, "debug info warn error"),
	CHOICE("log format %", log_format, LOG_FORMAT_TEXT, "text json"),
	CHOICE(
	    "log to %", log_to, CONFIG_LOG_AUTO, "auto stderr syslog journal"),
	COUNT("log limit %", log_limit, 1, 100000, 100, 1),
	CHOICE("sandbox %", sandbox_log, 0, "enforce log"),
	TIME("busy poll %", busy_poll, MS, SECOND, 0, 1),

	TEXT("keystore path %", KNOB_PATH, keystore.path,
	    "/var/lib/hermes/keyd"),
	TEXT("keystore passphrase file %", KNOB_PATH, keystore.passphrase, ""),
	COUNT("keystore argon2 ops %", keystore.argon2_ops, 1, 64, 3, 0),
	BYTES("keystore argon2 memory %", keystore.argon2_memory, M, 4 * G,
	    64 * M),
	TIME("keystore erase interval %", keystore.erase_interval, 100 * MS,
	    DAY, MINUTE, 0),
	TIME("keystore chat idle %", keystore.chat_idle, SECOND, 3650 * DAY,
	    30 * DAY, 0),

	TIME("rekey after %", rekey.after_time, SECOND, 365 * DAY, HOUR, 1),
	COUNT("rekey after % messages", rekey.after_messages, 1,
	    UINT64_C(1) << 32, 1048576, 1),
	COUNT("rekey limit %", rekey.limit, 1, 1000, 3, 0),
	TIME("rekey window %", rekey.window, 100 * MS, DAY, 30 * SECOND, 0),
	TIME("rekey key lifetime %", rekey.key_lifetime, SECOND, 3650 * DAY,
	    30 * DAY, 1),
	TIME("rekey grace %", rekey.grace, 100 * MS, HOUR, 30 * SECOND, 0),
	CHOICE("rekey hkdf hash %", rekey.hkdf_sha512, 0, "sha256 sha512"),

	COUNT("limits sessions %", limits.sessions, 1, 1000000, 10000, 0),
	COUNT("limits unauthenticated %", limits.unauthenticated, 1, 100000,
	    1024, 0),
	COUNT("limits unauthenticated per source %",
	    limits.unauthenticated_source, 1, 100000, 128, 0),
	COUNT("limits per source %", limits.per_source, 1, 1000000, 1024, 0),
	COUNT("limits handshakes %", limits.handshakes, 1, 1000000, 250, 1),
	COUNT("limits handshakes per source %", limits.handshakes_source, 1,
	    1000000, 30, 1),
	COUNT("limits verifications %", limits.verifications, 1, 1000000, 5000,
	    1),
	COUNT("limits verifications per source %", limits.verifications_source,
	    1, 1000000, 200, 1),
	COUNT("limits chats per app %", limits.chats_per_app, 1, 1000000, 1000,
	    0),
	COUNT("limits messages per second %", limits.messages_per_second, 1,
	    10000000, 10000, 1),
	COUNT("limits starts per minute %", limits.starts_per_minute, 1,
	    1000000, 600, 0),
	BYTES("limits message size %", limits.message_size, K, 16 * M, M),
	BYTES(
	    "limits metadata size %", limits.metadata_size, 256, 7 * K, 4 * K),
	COUNT("limits chat window % messages", limits.chat_window_messages, 1,
	    65536, 256, 0),
	BYTES("limits chat window % bytes", limits.chat_window_bytes, 4 * K,
	    256 * M, M),
	BYTES("limits kept messages %", limits.kept_messages, M, 64 * G, G),
	COUNT("limits members %", limits.members, 1, 10000, 1000, 0),
	COUNT("limits apps %", limits.apps, 1, 10000000, 100000, 0),
	TIME("limits connect timeout %", limits.connect_timeout, 100 * MS,
	    10 * MINUTE, 10 * SECOND, 0),
	TIME("limits session idle %", limits.session_idle, SECOND, 30 * DAY, 0,
	    1),

	TIME("penalty handshake %", penalty.handshake, MS, HOUR, SECOND, 1),
	TIME("penalty authentication %", penalty.authentication, MS, HOUR,
	    5 * SECOND, 1),
	TIME("penalty abuse %", penalty.abuse, MS, HOUR, 10 * SECOND, 1),
	TIME(
	    "penalty threshold %", penalty.threshold, MS, HOUR, 15 * SECOND, 1),
	TIME("penalty longest %", penalty.longest, MS, 7 * DAY, 10 * MINUTE, 0),
	COUNT("penalty sources %", penalty.sources, 1, 1000000, 4096, 0),
	{ .pattern = "penalty exempt %",
	    .type = KNOB_TEXT,
	    FIELD(penalty.exempt),
	    .text = "127.0.0.1 ::1",
	    .set = config_set_exempt,
	    .print = config_value_print },

	TIME("mesh route grace %", route_grace, 100 * MS, DAY, 30 * SECOND, 0),
	TIME("mesh drain grace %", drain_grace, 100 * MS, 10 * MINUTE,
	    10 * SECOND, 0),
	TIME("mesh membership lifetime %", membership_lifetime, 10 * SECOND,
	    3650 * DAY, 365 * DAY, 0),
	COUNT("mesh connections %", mesh_connections, 1, 10000, 64, 0),
};

const size_t config_knob_count = sizeof(config_knobs) / sizeof(config_knobs[0]);

_Static_assert(sizeof(config_knobs) / sizeof(config_knobs[0]) <= CONFIG_KNOBS,
    "a place for each knob");

/* --- knobs that are not a plain number or text --------------------------- */

static int
config_set_node(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values)
{
	struct config *config = &parser->file->config;
	const char *name = values == NULL ? "" : values[0]->text;

	(void)knob;
	if (values != NULL && !node_id_valid(name, strlen(name))) {
		config_error(parser, values[0]->line,
		    "\"%s\" is no node name: 1 to %d of a-z, 0-9 and -", name,
		    NODE_ID_SIZE - 1);
		return (-1);
	}
	memset(config->node_id, 0, sizeof(config->node_id));
	(void)strlcpy(config->node_id, name, sizeof(config->node_id));
	return (0);
}

static int
config_set_exempt(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values)
{
	struct config_penalty *penalty = &parser->file->config.penalty;
	const char *text = values == NULL ? knob->text : values[0]->text;
	struct rpc_prefix prefixes[RPC_PREFIXES];

	if (strlen(text) >= sizeof(penalty->exempt) || *text == '\0' ||
	    (strcmp(text, "none") != 0 &&
		rpc_prefixes_read(text, prefixes) == -1)) {
		config_error(parser, values == NULL ? 0 : values[0]->line,
		    "\"%s\": addresses or prefixes, at most %d, or \"none\"",
		    text, RPC_PREFIXES);
		return (-1);
	}
	memset(penalty->exempt, 0, sizeof(penalty->exempt));
	(void)strlcpy(penalty->exempt, text, sizeof(penalty->exempt));
	return (0);
}

static int
config_set_no_admin(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values)
{
	(void)knob;
	parser->no_admin = values != NULL;
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
	config->own_certificate = 0;
	memset(config->certificate, 0, sizeof(config->certificate));
	memset(config->certificate_key, 0, sizeof(config->certificate_key));
	for (i = 0; values != NULL && i < 2; i++) {
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
	if (values == NULL)
		return (0);
	config->own_certificate = 1;
	config_here(parser, values[0]->line, &parser->file->certificate);
	return (0);
}

static int
config_print_no_admin(const struct knob *knob, const struct config *config,
    size_t index, struct buffer *out)
{
	(void)knob;
	(void)out;
	return (
	    index == 0 && config->listen[LISTEN_ADMIN][0].address_length == 0);
}

static int
config_print_certificate(const struct knob *knob, const struct config *config,
    size_t index, struct buffer *out)
{
	(void)knob;
	if (index > 0 || !config->own_certificate)
		return (0);
	if (config_put_quoted(out, config->certificate) == -1 ||
	    config_put(out, " key ") == -1 ||
	    config_put_quoted(out, config->certificate_key) == -1)
		return (-1);
	return (1);
}

/* --- finding them -------------------------------------------------------- */

const struct knob *
config_knob(const char *pattern)
{
	size_t i;

	for (i = 0; i < config_knob_count; i++)
		if (strcmp(config_knobs[i].pattern, pattern) == 0)
			return (&config_knobs[i]);
	fatal("config", "error=\"no knob\" pattern=\"%s\"", pattern);
}

const struct config_setting *
config_knob_set(const struct config_parser *parser, const char *pattern)
{
	return (&parser->set[config_knob(pattern) - config_knobs]);
}

const char *
config_knob_key(const struct knob *knob, char out[KNOB_KEY_SIZE])
{
	const char *p, *value = strchr(knob->pattern, '%');
	size_t n = 0;

	/* What stands between two values belongs to the value. */
	if (value != NULL && strchr(value + 1, '%') == NULL)
		value = NULL;
	for (p = knob->pattern; *p != '\0' && p != value; p++) {
		if (*p == '%')
			continue;
		if (*p != ' ')
			out[n++] = *p;
		else if (n > 0 && out[n - 1] != '_')
			out[n++] = '_';
	}
	while (n > 0 && out[n - 1] == '_')
		n--;
	/* "listen app on" is the listen line of apps. */
	if (n > 3 && memcmp(out + n - 3, "_on", 3) == 0)
		n -= 3;
	out[n] = '\0';
	return (out);
}

int
config_is_block(const char *word, size_t length)
{
	size_t i, count = 0;

	for (i = 0; i < config_knob_count; i++)
		count += strncmp(config_knobs[i].pattern, word, length) == 0 &&
			 config_knobs[i].pattern[length] == ' ';
	return (count > 1);
}
