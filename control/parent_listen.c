/*
 * Parent of hermesd, root: only here are sockets bound. The children get
 * them listening; none of them could open one by itself.
 */

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util/log.h"
#include "control/parent.h"

#define BACKLOG 1024

static const char *const kinds[LISTEN_KINDS] = { "app", "mesh", "admin",
	"control" };

/* The address in words; out is returned. */
static const char *
parent_address_text(
    const struct config_listener *listener, char *out, size_t size)
{
	const struct sockaddr *address;
	char host[INET6_ADDRSTRLEN + 16], port[16];

	address = (const struct sockaddr *)&listener->address;
	if (address->sa_family == AF_UNIX)
		(void)snprintf(out, size, "%s",
		    ((const struct sockaddr_un *)address)->sun_path);
	else if (getnameinfo(address, listener->address_length, host,
		     sizeof(host), port, sizeof(port),
		     NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		(void)snprintf(out, size, "%s port %s", host, port);
	else
		(void)snprintf(out, size, "?");
	return (out);
}

/* Clear the way: the folder there, no dead socket in it. 0, or -1. */
static int
parent_socket_path(const struct sockaddr_un *address)
{
	char folder[sizeof(address->sun_path)], *slash;
	int fd, alive;

	(void)strlcpy(folder, address->sun_path, sizeof(folder));
	if ((slash = strrchr(folder, '/')) != NULL && slash != folder) {
		*slash = '\0';
		if (mkdir(folder, 0755) == -1 && errno != EEXIST)
			return (-1);
	}
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1)
		return (-1);
	alive = connect(fd, (const struct sockaddr *)address,
		    sizeof(*address)) == 0;
	if (!alive && errno == ECONNREFUSED)
		(void)unlink(address->sun_path);
	(void)close(fd);
	if (alive) {
		errno = EADDRINUSE;
		return (-1);
	}
	return (0);
}

/*
 * hermesctl's socket: for root, and for who is in the group of control, which
 * the parent joins for that long. 0, or -1 with errno.
 */
static int
parent_bind_path(
    const struct parent *parent, int fd, const struct sockaddr_un *address)
{
	gid_t group = parent->children[CHILD_CONTROL].gid, own = getegid();
	mode_t mask;
	int result, saved;

	if (parent_socket_path(address) == -1 ||
	    (parent->root && setegid(group) == -1))
		return (-1);
	mask = umask(0117);
	result = bind(fd, (const struct sockaddr *)address, sizeof(*address));
	(void)umask(mask);
	/* A folder may have its own mind about groups. */
	if (result == 0 && parent->root)
		result = chown(address->sun_path, (uid_t)-1, group);
	saved = errno;
	if (parent->root && setegid(own) == -1)
		fatal("setegid", "error=\"%s\"", strerror(errno));
	errno = saved;
	return (result);
}

/* A listening socket for a slot, or -1 with errno. */
static int
parent_bind(const struct parent *parent, const struct config_listener *listener)
{
	const struct sockaddr *address;
	int fd, on = 1, saved;

	address = (const struct sockaddr *)&listener->address;
	fd = socket(
	    address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return (-1);
	if (address->sa_family == AF_UNIX) {
		if (parent_bind_path(
			parent, fd, (const struct sockaddr_un *)address) == -1)
			goto fail;
	} else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ==
		       -1 ||
		   (address->sa_family == AF_INET6 &&
		       setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on,
			   sizeof(on)) == -1) ||
		   bind(fd, address, listener->address_length) == -1)
		goto fail;
	if (listen(fd, BACKLOG) == -1)
		goto fail;
	return (fd);
fail:
	saved = errno;
	(void)close(fd);
	errno = saved;
	return (-1);
}

/* The descriptor the parent has for the same address and that the count
 * first of fds do not use yet, or -1. */
static int
parent_listen_have(const struct parent *parent, size_t kind,
    const struct config_listener *listener, const int *fds, size_t count)
{
	const struct config_listener *old;
	size_t i, j;
	int fd;

	for (i = 0; i < CONFIG_LISTENERS; i++) {
		old = &parent->file.config.listen[kind][i];
		fd = parent->listeners[kind][i];
		if (fd == -1 ||
		    old->address_length != listener->address_length ||
		    memcmp(&old->address, &listener->address,
			sizeof(old->address)) != 0)
			continue;
		for (j = 0; j < count && fds[j] != fd; j++)
			;
		if (j == count)
			return (fd);
	}
	return (-1);
}

static int
parent_listen_owned(const struct parent *parent, int fd)
{
	const int *all = &parent->listeners[0][0];
	size_t i;

	for (i = 0; i < LISTEN_KINDS * CONFIG_LISTENERS; i++)
		if (all[i] == fd)
			return (1);
	return (0);
}

/* What to do about an error of bind(2). */
static const char *
parent_listen_hint(int error)
{
	switch (error) {
	case EADDRINUSE:
		return ("; stop what listens there, or take another");
	case EADDRNOTAVAIL:
		return ("; no interface of this machine has it");
	case EACCES:
	case EPERM:
		return ("; start hermesd as root, or again if it is the first "
			"port below 1024; or take a port above 1023 or a "
			"folder of yours");
	case ENOENT:
	case ENOTDIR:
	case EROFS:
		return ("; make the folder, or name another");
	default:
		return ("");
	}
}

int
parent_listen(struct parent *parent, const struct config_file *next,
    struct parent_error *error, int fds[LISTEN_KINDS][CONFIG_LISTENERS])
{
	const struct config_listener *listener;
	char where[CONFIG_PATH_SIZE + 16];
	char address[256], line[1024];
	size_t kind, i;
	int failed = 0, saved, *fd;

	for (kind = 0; kind < LISTEN_KINDS; kind++)
		for (i = 0; i < CONFIG_LISTENERS; i++) {
			fd = &fds[kind][i];
			*fd = -1;
			listener = &next->config.listen[kind][i];
			if (listener->address_length == 0)
				continue;
			*fd = parent_listen_have(
			    parent, kind, listener, fds[kind], i);
			if (*fd == -1)
				*fd = parent_bind(parent, listener);
			if (*fd != -1)
				continue;
			failed = 1;
			saved = errno;
			(void)snprintf(line, sizeof(line),
			    "%s: listen %s on %s: %s%s",
			    config_place_text(where, &next->listen[kind][i]),
			    kinds[kind],
			    parent_address_text(
				listener, address, sizeof(address)),
			    strerror(saved), parent_listen_hint(saved));
			parent_report(error, line);
		}
	if (!failed)
		return (0);
	for (kind = 0; kind < LISTEN_KINDS; kind++)
		for (i = 0; i < CONFIG_LISTENERS; i++)
			if (fds[kind][i] != -1 &&
			    !parent_listen_owned(parent, fds[kind][i]))
				(void)close(fds[kind][i]);
	return (-1);
}

void
parent_listen_swap(struct parent *parent, const struct config_file *next,
    int fds[LISTEN_KINDS][CONFIG_LISTENERS])
{
	struct config_listener bound;
	char address[256];
	socklen_t length;
	size_t kind, i, j;
	int fd, kept;

	for (kind = 0; kind < LISTEN_KINDS; kind++) {
		for (i = 0; i < CONFIG_LISTENERS; i++) {
			if ((fd = parent->listeners[kind][i]) == -1)
				continue;
			for (kept = 0, j = 0; j < CONFIG_LISTENERS; j++)
				kept |= fds[kind][j] == fd;
			if (!kept)
				(void)close(fd);
		}
		for (i = 0; i < CONFIG_LISTENERS; i++) {
			if ((fd = fds[kind][i]) == -1 ||
			    parent_listen_owned(parent, fd))
				continue;
			length = sizeof(bound.address);
			memset(&bound, 0, sizeof(bound));
			(void)getsockname(
			    fd, (struct sockaddr *)&bound.address, &length);
			bound.address_length = (uint32_t)length;
			log_info("listening", "kind=%s address=\"%s\"",
			    kinds[kind],
			    parent_address_text(
				&bound, address, sizeof(address)));
		}
	}
	if (strcmp(parent->file.config.control_socket,
		next->config.control_socket) != 0)
		parent_unlink(parent);
	memcpy(parent->listeners, fds, sizeof(parent->listeners));
}

/*
 * The address of this machine that others see: the one a datagram to the
 * Internet would leave from. None is sent. 0, or -1 without a route.
 */
static int
parent_own_address(int family, char *out, size_t size)
{
	struct sockaddr_storage own;
	struct addrinfo hints = { .ai_family = family,
		.ai_socktype = SOCK_DGRAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct addrinfo *list;
	socklen_t length = sizeof(own);
	int fd, found = -1;

	/* Addresses for documentation: RFC 5737, RFC 3849. */
	if (getaddrinfo(family == AF_INET6 ? "2001:db8::1" : "192.0.2.1", "9",
		&hints, &list) != 0)
		return (-1);
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd != -1 && connect(fd, list->ai_addr, list->ai_addrlen) == 0 &&
	    getsockname(fd, (struct sockaddr *)&own, &length) == 0 &&
	    getnameinfo((struct sockaddr *)&own, length, out, (socklen_t)size,
		NULL, 0, NI_NUMERICHOST) == 0)
		found = 0;
	if (fd != -1)
		(void)close(fd);
	freeaddrinfo(list);
	return (found);
}

/* What others are told to connect to: as written, with the real port; for
 * all addresses the one that others see. */
static void
parent_advertise(const struct config_listener *listener, char *out)
{
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;
	char host[CONFIG_NAME_SIZE];
	unsigned int port;
	int any;

	(void)strlcpy(host, listener->name, sizeof(host));
	if (listener->address.ss_family == AF_INET6) {
		memcpy(&v6, &listener->address, sizeof(v6));
		port = ntohs(v6.sin6_port);
		any = IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
	} else {
		memcpy(&v4, &listener->address, sizeof(v4));
		port = ntohs(v4.sin_port);
		any = v4.sin_addr.s_addr == htonl(INADDR_ANY);
	}
	if (any &&
	    parent_own_address(
		listener->address.ss_family, host, sizeof(host)) == -1 &&
	    gethostname(host, sizeof(host)) == -1)
		(void)strlcpy(host, "localhost", sizeof(host));
	host[sizeof(host) - 1] = '\0';
	(void)snprintf(out, ENDPOINT_SIZE,
	    strchr(host, ':') != NULL ? "[%.110s]:%u" : "%.110s:%u", host,
	    port);
}

void
parent_effective(const struct parent *parent, struct config *config)
{
	struct config_listener *listener;
	socklen_t length;
	size_t kind, i;

	*config = parent->file.config;
	if (parent->verbose)
		config->log_level = LOG_LEVEL_DEBUG;
	for (kind = 0; kind < LISTEN_KINDS; kind++)
		for (i = 0; i < CONFIG_LISTENERS; i++) {
			listener = &config->listen[kind][i];
			if (listener->address_length == 0 ||
			    listener->address.ss_family == AF_UNIX)
				continue;
			length = sizeof(listener->address);
			if (getsockname(parent->listeners[kind][i],
				(struct sockaddr *)&listener->address,
				&length) == -1)
				fatal(
				    "listen", "error=\"%s\"", strerror(errno));
		}
	if (config->advertise_app[0] == '\0')
		parent_advertise(
		    &config->listen[LISTEN_APP][0], config->advertise_app);
	if (config->advertise_mesh[0] == '\0')
		parent_advertise(
		    &config->listen[LISTEN_MESH][0], config->advertise_mesh);
}

void
parent_unlink(const struct parent *parent)
{
	(void)unlink(parent->file.config.control_socket);
}

void
parent_unlisten(struct parent *parent)
{
	size_t kind, i;

	for (kind = 0; kind < LISTEN_KINDS; kind++)
		for (i = 0; kind != LISTEN_CONTROL && i < CONFIG_LISTENERS; i++)
			if (parent->listeners[kind][i] != -1)
				(void)close(parent->listeners[kind][i]);
	parent_unlink(parent);
}
