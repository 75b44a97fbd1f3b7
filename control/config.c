/*
 * Parent of hermesd. Defaults of the configuration, and loading it whole.
 */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_parse.h"

void
config_default(struct config *config)
{
	const struct knob *knob;
	size_t i;

	memset(config, 0, sizeof(*config));
	for (i = 0; i < config_knob_count; i++) {
		knob = &config_knobs[i];
		switch (knob->type) {
		case KNOB_TEXT:
		case KNOB_PATH:
			(void)strlcpy((char *)config + knob->offset, knob->text,
			    knob->size);
			break;
		case KNOB_OTHER:
			break;
		default:
			config_value_store(knob, config, knob->standard);
		}
	}
}

const char *
config_place_text(
    char out[CONFIG_PATH_SIZE + 16], const struct config_place *place)
{
	if (place->line <= 0)
		(void)strlcpy(out, place->line == 0 ? "default" : place->file,
		    CONFIG_PATH_SIZE + 16);
	else
		(void)snprintf(out, CONFIG_PATH_SIZE + 16, "%s:%d", place->file,
		    place->line);
	return (out);
}

int
config_endpoint_valid(const char *text)
{
	const char *colon = strrchr(text, ':');
	char *end;
	unsigned long port;

	if (text[0] == '\0')
		return (1);
	if (colon == NULL || colon == text || colon[1] < '0' ||
	    colon[1] > '9' || strpbrk(text, " \t\"/") != NULL)
		return (0);
	if ((text[0] == '[') != (colon[-1] == ']') ||
	    (text[0] != '[' && memchr(text, ':', (size_t)(colon - text))))
		return (0);
	port = strtoul(colon + 1, &end, 10);
	return (*end == '\0' && port > 0 && port <= UINT16_MAX);
}

/* Report an error where the knob of a pattern was set. */
static void __attribute__((format(printf, 3, 4))) config_error_at(
    struct config_parser *parser, const char *pattern, const char *format, ...)
{
	const struct config_place *place =
	    &config_knob_set(parser, pattern)->place;
	char message[400], where[CONFIG_PATH_SIZE + 16], text[768];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	(void)snprintf(text, sizeof(text), "%s: %s",
	    config_place_text(where, place), message);
	parser->errors++;
	parser->report(parser->arg, text);
}

static void
config_check_endpoint(struct config_parser *parser, const char *what,
    const char *pattern, const char *text)
{
	if (!config_endpoint_valid(text))
		config_error_at(parser, pattern,
		    "%s: \"%s\" is not " CONFIG_ENDPOINT_FORM, what, text);
}

/* no admin and listen admin: the weightier one stands, two of the same
 * weight do not. */
static void
config_finish_admin(struct config_parser *parser)
{
	const struct config_setting *off = config_knob_set(parser, "no admin");
	const struct config_setting *on =
	    config_knob_set(parser, "listen admin on % port %");
	char place[CONFIG_PATH_SIZE + 16];

	if (!parser->no_admin || on->place.line == 0)
		return;
	if (off->level == on->level)
		config_error_at(parser, "no admin",
		    "no admin, but also listen admin at %s: take one away",
		    config_place_text(place, &on->place));
	else if (off->level < on->level)
		parser->no_admin = 0;
	else
		(void)config_set_listen(
		    parser, config_knob("listen admin on % port %"), NULL);
}

/* What can only be seen when all is read. */
static void
config_finish(struct config_parser *parser)
{
	struct config_file *file = parser->file;
	struct config *config = &file->config;
	enum listener_kind kind;
	const char *window = "limits chat window % bytes";

	if (config_knob_set(parser, "node %")->place.line == 0)
		config_error(parser, 0, "no node statement: node \"NAME\"");
	config_check_endpoint(
	    parser, "advertise app", "advertise app %", config->advertise_app);
	config_check_endpoint(parser, "advertise mesh", "advertise mesh %",
	    config->advertise_mesh);
	if (config_knob_set(parser, window)->place.line == 0)
		window = "limits message size %";
	if (config->limits.chat_window_bytes < config->limits.message_size)
		config_error_at(parser, window,
		    "a chat window of %u bytes does not hold a message of %u",
		    config->limits.chat_window_bytes,
		    config->limits.message_size);
	window = "limits kept messages %";
	if (config_knob_set(parser, window)->place.line == 0)
		window = "limits message size %";
	if (config->limits.kept_messages < config->limits.message_size)
		config_error_at(parser, window,
		    "%llu bytes of kept messages do not hold one of %u",
		    (unsigned long long)config->limits.kept_messages,
		    config->limits.message_size);
	config_finish_admin(parser);
	for (kind = LISTEN_APP; kind <= LISTEN_ADMIN; kind++)
		if (config->listen[kind][0].address_length == 0 &&
		    !(kind == LISTEN_ADMIN && parser->no_admin) &&
		    parser->errors == 0)
			(void)config_listen_default(parser, kind);
	file->control_socket =
	    config_knob_set(parser, "control socket %")->place;
	file->keystore_path = config_knob_set(parser, "keystore path %")->place;
	file->passphrase =
	    config_knob_set(parser, "keystore passphrase file %")->place;
	file->log_to = config_knob_set(parser, "log to %")->place;
	(void)config_listen_control(parser);
}

int
config_load(const char *path, const struct config_options *options,
    struct config_file *file, config_report report, void *arg)
{
	static const struct config_options none;
	struct config_parser *parser;
	unsigned int errors;

	memset(file, 0, sizeof(*file));
	config_default(&file->config);
	if ((parser = calloc(1, sizeof(*parser))) == NULL)
		return (-1);
	parser->file = file;
	parser->report = report;
	parser->arg = arg;
	TAILQ_INIT(&parser->macros);
	if (options == NULL)
		options = &none;
	config_override_macros(parser, options);
	if (config_lex_push(parser, path) == 0) {
		(void)config_yyparse(parser);
		config_override(parser, options);
		config_finish(parser);
	}
	errors = parser->errors;
	config_lex_free(parser);
	free(parser);
	return (errors == 0 ? 0 : -1);
}
