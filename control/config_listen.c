/*
 * Parent of hermesd. Listeners of hermesd.conf(5): host names looked up,
 * slots filled, defaults given.
 */

#include <sys/socket.h>
#include <sys/un.h>

#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/buffer.h"
#include "control/config_parse.h"

static const char *const kinds[LISTEN_KINDS] = { "app", "mesh", "admin",
	"control" };

uint16_t
config_listen_port(const struct config_listener *listener)
{
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;

	switch (listener->address.ss_family) {
	case AF_INET:
		memcpy(&v4, &listener->address, sizeof(v4));
		return (ntohs(v4.sin_port));
	case AF_INET6:
		memcpy(&v6, &listener->address, sizeof(v6));
		return (ntohs(v6.sin6_port));
	}
	return (0);
}

/* Take one address. 0, or -1 reported. */
static int
config_listen_add(struct config_parser *parser, enum listener_kind kind,
    const char *name, int line, const struct addrinfo *info)
{
	struct config_listener *slots = parser->file->config.listen[kind];
	struct config_listener *slot = NULL;
	size_t i;

	for (i = 0; i < CONFIG_LISTENERS; i++) {
		if (slots[i].address_length == 0) {
			slot = &slots[i];
			break;
		}
		if (slots[i].address_length == info->ai_addrlen &&
		    memcmp(&slots[i].address, info->ai_addr,
			info->ai_addrlen) == 0 &&
		    config_listen_port(&slots[i]) != 0) {
			config_error(parser, line,
			    "listen %s on %s port %u: "
			    "this address is listened on already",
			    kinds[kind], name, config_listen_port(&slots[i]));
			return (-1);
		}
	}
	if (slot == NULL) {
		config_error(parser, line,
		    "more than %d addresses to listen "
		    "%s on",
		    CONFIG_LISTENERS, kinds[kind]);
		return (-1);
	}
	memcpy(&slot->address, info->ai_addr, info->ai_addrlen);
	slot->address_length = (uint32_t)info->ai_addrlen;
	(void)strlcpy(slot->name, name, sizeof(slot->name));
	config_here(parser, line, &parser->file->listen[kind][i]);
	return (0);
}

/* Look name up and listen on all its addresses. 0, or -1 reported. */
static int
config_listen(struct config_parser *parser, enum listener_kind kind,
    const char *name, const char *port, int line)
{
	struct addrinfo hints, *list, *info;
	int error, result = 0;

	memset(&hints, 0, sizeof(hints));
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_protocol = IPPROTO_TCP;
	hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
	error = getaddrinfo(
	    strcmp(name, "*") == 0 ? NULL : name, port, &hints, &list);
	if (error != 0) {
		config_error(parser, line,
		    "listen %s on %s: %s; expected an address without "
		    "brackets, a name, or *",
		    kinds[kind], name, gai_strerror(error));
		return (-1);
	}
	for (info = list; info != NULL && result == 0; info = info->ai_next)
		if (info->ai_family == AF_INET || info->ai_family == AF_INET6)
			result =
			    config_listen_add(parser, kind, name, line, info);
	freeaddrinfo(list);
	return (result);
}

int
config_set_listen(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values)
{
	enum listener_kind kind = (enum listener_kind)knob->least;
	const char *name, *port;
	char *end;
	unsigned long number;
	int line;

	if (values == NULL) {
		memset(parser->file->config.listen[kind], 0,
		    sizeof(parser->file->config.listen[kind]));
		return (0);
	}
	name = values[0]->text;
	port = values[1]->text;
	line = values[0]->line;
	number = strtoul(port, &end, 10);
	if (port[0] < '0' || port[0] > '9' || *end != '\0' ||
	    number > UINT16_MAX) {
		config_error(parser, line,
		    "\"%s\" is not a port: 0 (any that "
		    "is free) to %u",
		    port, UINT16_MAX);
		return (-1);
	}
	if (name[0] == '\0' || strlen(name) >= CONFIG_NAME_SIZE) {
		config_error(parser, line, "a host is 1 to %d characters",
		    CONFIG_NAME_SIZE - 1);
		return (-1);
	}
	return (config_listen(parser, kind, name, port, line));
}

/* One line gave all addresses of a name. */
static int
config_listen_same(
    const struct config_listener *a, const struct config_listener *b)
{
	return (strcmp(a->name, b->name) == 0 &&
		config_listen_port(a) == config_listen_port(b));
}

int
config_print_listen(const struct knob *knob, const struct config *config,
    size_t index, struct buffer *out)
{
	const struct config_listener *slots = config->listen[knob->least];
	char port[32];
	size_t i, seen = 0;

	for (i = 0; i < CONFIG_LISTENERS && slots[i].address_length != 0; i++) {
		if (i > 0 && config_listen_same(&slots[i], &slots[i - 1]))
			continue;
		if (seen++ < index)
			continue;
		(void)snprintf(port, sizeof(port), " port %u",
		    config_listen_port(&slots[i]));
		return (config_put_quoted(out, slots[i].name) == -1 ||
				config_put(out, port) == -1
			    ? -1
			    : 1);
	}
	return (0);
}

int
config_listen_default(struct config_parser *parser, enum listener_kind kind)
{
	static const char *const ports[LISTEN_KINDS] = { "7443", "7444", "8080",
		"" };

	return (config_listen(parser, kind, "127.0.0.1", ports[kind], 0));
}

int
config_listen_control(struct config_parser *parser)
{
	struct config *config = &parser->file->config;
	struct config_listener *slot = &config->listen[LISTEN_CONTROL][0];
	struct sockaddr_un address;

	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	if (strlcpy(address.sun_path, config->control_socket,
		sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
		config_error(parser, parser->file->control_socket.line,
		    "control socket: the path is longer than %zu characters",
		    sizeof(address.sun_path) - 1);
		return (-1);
	}
	memcpy(&slot->address, &address, sizeof(address));
	slot->address_length = (uint32_t)sizeof(address);
	(void)strlcpy(slot->name, "control", sizeof(slot->name));
	parser->file->listen[LISTEN_CONTROL][0] = parser->file->control_socket;
	return (0);
}
