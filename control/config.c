/*
 * Parent of hermesd; config_print() in control too. Defaults of the
 * configuration, loading it whole, printing it.
 */

#include <stdlib.h>
#include <string.h>

#include "common/util/buffer.h"
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
	if (place->line == 0)
		(void)strlcpy(out, "default", CONFIG_PATH_SIZE + 16);
	else
		(void)snprintf(out, CONFIG_PATH_SIZE + 16, "%s:%d", place->file,
		    place->line);
	return (out);
}

/* Where the knob of a field was set. */
static const struct config_place *
config_set_place(
    const struct config_parser *parser, const char *block, const char *pattern)
{
	size_t i;

	for (i = 0; i < config_knob_count; i++)
		if (strcmp(config_knobs[i].block, block) == 0 &&
		    strcmp(config_knobs[i].pattern, pattern) == 0)
			break;
	return (&parser->set[i]);
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

static void
config_check_endpoint(struct config_parser *parser, const char *what,
    const char *pattern, const char *text)
{
	if (!config_endpoint_valid(text))
		config_error(parser,
		    config_set_place(parser, "", pattern)->line,
		    "%s: \"%s\" is not host:port", what, text);
}

/* What can only be seen when all is read. */
static void
config_finish(struct config_parser *parser)
{
	struct config *config = &parser->file->config;
	enum listener_kind kind;
	int line;

	if (config->node_id[0] == '\0' &&
	    config_set_place(parser, "", "node %")->line == 0)
		config_error(parser, 0, "no node statement: node \"NAME\"");
	config_check_endpoint(
	    parser, "advertise app", "advertise app %", config->advertise_app);
	config_check_endpoint(parser, "advertise mesh", "advertise mesh %",
	    config->advertise_mesh);
	line = config_set_place(parser, "limits", "chat window % bytes")->line;
	if (line == 0)
		line =
		    config_set_place(parser, "limits", "message size %")->line;
	if (config->limits.chat_window_bytes < config->limits.message_size)
		config_error(parser, line,
		    "a chat window of %u bytes does "
		    "not hold a message of %u",
		    config->limits.chat_window_bytes,
		    config->limits.message_size);
	line = config_set_place(parser, "", "no admin")->line;
	if (parser->no_admin &&
	    config->listen[LISTEN_ADMIN][0].address_length != 0)
		config_error(parser, line,
		    "no admin, but also listen admin at line %d",
		    parser->file->listen[LISTEN_ADMIN][0].line);
	for (kind = LISTEN_APP; kind <= LISTEN_ADMIN; kind++)
		if (config->listen[kind][0].address_length == 0 &&
		    !(kind == LISTEN_ADMIN && parser->no_admin) &&
		    parser->errors == 0)
			(void)config_listen_default(parser, kind);
	parser->file->control_socket =
	    *config_set_place(parser, "", "control socket %");
	parser->file->keystore_path =
	    *config_set_place(parser, "keystore", "path %");
	parser->file->passphrase =
	    *config_set_place(parser, "keystore", "passphrase file %");
	(void)config_listen_control(parser);
}

int
config_load(
    const char *path, struct config_file *file, config_report report, void *arg)
{
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
	if (config_lex_push(parser, path) == 0) {
		(void)config_yyparse(parser);
		config_finish(parser);
	}
	errors = parser->errors;
	config_lex_free(parser);
	free(parser);
	return (errors == 0 ? 0 : -1);
}

/* --- printing ------------------------------------------------------------ */

static int
config_put(struct buffer *out, const char *text)
{
	return (buffer_append(out, text, strlen(text)));
}

/* A knob's statement, its % replaced by its value. */
static int
config_print_knob(
    const struct knob *knob, const struct config *config, struct buffer *out)
{
	const char *value = strchr(knob->pattern, '%');

	if (config_put(out, knob->block[0] == '\0' ? "" : "\t") == -1 ||
	    buffer_append(
		out, knob->pattern, (size_t)(value - knob->pattern)) == -1 ||
	    config_value_print(knob, config, out) == -1 ||
	    config_put(out, value + 1) == -1)
		return (-1);
	return (config_put(out, "\n"));
}

static int
config_print_listeners(const struct config *config, struct buffer *out)
{
	static const char *const kinds[] = { "app", "mesh", "admin" };
	const struct config_listener *slots, *slot;
	char text[64];
	size_t kind, i;

	for (kind = LISTEN_APP; kind <= LISTEN_ADMIN; kind++) {
		slots = config->listen[kind];
		for (i = 0; i < CONFIG_LISTENERS; i++) {
			slot = &slots[i];
			if (slot->address_length == 0)
				break;
			/* One line gave all addresses of a name. */
			if (i > 0 &&
			    strcmp(slot->name, slots[i - 1].name) == 0 &&
			    config_listen_port(slot) ==
				config_listen_port(&slots[i - 1]))
				continue;
			(void)snprintf(
			    text, sizeof(text), "listen %s on ", kinds[kind]);
			if (config_put(out, text) == -1 ||
			    config_value_quote(slot->name, out) == -1)
				return (-1);
			(void)snprintf(text, sizeof(text), " port %u\n",
			    config_listen_port(slot));
			if (config_put(out, text) == -1)
				return (-1);
		}
	}
	if (config->listen[LISTEN_ADMIN][0].address_length == 0)
		return (config_put(out, "no admin\n"));
	return (0);
}

static int
config_print_certificate(const struct config *config, struct buffer *out)
{
	if (!config->own_certificate)
		return (0);
	if (config_put(out, "certificate ") == -1 ||
	    config_value_quote(config->certificate, out) == -1 ||
	    config_put(out, " key ") == -1 ||
	    config_value_quote(config->certificate_key, out) == -1)
		return (-1);
	return (config_put(out, "\n"));
}

int
config_print(const struct config *config, struct buffer *out)
{
	const struct knob *knob;
	const char *block = "";
	size_t i;

	if (config_put(out, "node ") == -1 ||
	    config_value_quote(config->node_id, out) == -1 ||
	    config_put(out, "\n") == -1 ||
	    config_print_listeners(config, out) == -1 ||
	    config_print_certificate(config, out) == -1 ||
	    config_print_peers(config, out) == -1)
		return (-1);
	for (i = 0; i < config_knob_count; i++) {
		knob = &config_knobs[i];
		if (knob->type == KNOB_OTHER)
			continue;
		/* Empty texts are the same as no statement. */
		if ((knob->type == KNOB_TEXT || knob->type == KNOB_PATH) &&
		    *((const char *)config + knob->offset) == '\0')
			continue;
		if (strcmp(knob->block, block) != 0) {
			if (config_put(out, block[0] == '\0' ? "" : "}\n") ==
				-1 ||
			    config_put(out, knob->block) == -1 ||
			    config_put(out, " {\n") == -1)
				return (-1);
			block = knob->block;
		}
		if (config_print_knob(knob, config, out) == -1)
			return (-1);
	}
	return (config_put(out, "}\n"));
}
