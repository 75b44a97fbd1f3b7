/* Tests only. libtls over sockets of the loopback; see bare.h. */

#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tls.h>

#include "regress/bench/bare.h"

uint8_t bare_piece[BARE_PIECE];
struct tls_config *bare_config;

double
bare_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

void
bare_die(const char *what)
{
	perror(what);
	_exit(1);
}

void
bare_configure(const char *folder)
{
	char certificate[1024], key[1024];

	(void)snprintf(certificate, sizeof(certificate), "%s/cert.pem", folder);
	(void)snprintf(key, sizeof(key), "%s/key.pem", folder);
	bare_config = tls_config_new();
	if (bare_config == NULL ||
	    tls_config_set_keypair_file(bare_config, certificate, key) == -1 ||
	    tls_config_set_ca_file(bare_config, certificate) == -1 ||
	    tls_config_set_protocols(bare_config, TLS_PROTOCOL_TLSv1_3) == -1)
		bare_die("tls_config");
	tls_config_insecure_noverifycert(bare_config);
	tls_config_insecure_noverifyname(bare_config);
}

void
bare_write(struct tls *tls, const uint8_t *bytes, size_t length)
{
	ssize_t n;

	while (length > 0) {
		n = tls_write(tls, bytes, length);
		if (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT)
			continue;
		if (n <= 0)
			bare_die("tls_write");
		bytes += n;
		length -= (size_t)n;
	}
}

void
bare_read(struct tls *tls, uint64_t length)
{
	ssize_t n;

	while (length > 0) {
		n = tls_read(
		    tls, bare_piece, length < BARE_PIECE ? length : BARE_PIECE);
		if (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT)
			continue;
		if (n <= 0)
			bare_die("tls_read");
		length -= (uint64_t)n;
	}
}

int
bare_listen(struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*address = (struct sockaddr_in){ .sin_family = AF_INET };
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd == -1 ||
	    bind(fd, (struct sockaddr *)(void *)address, size) == -1 ||
	    listen(fd, 16) == -1 ||
	    getsockname(fd, (struct sockaddr *)(void *)address, &size) == -1)
		bare_die("listen");
	return (fd);
}

void
bare_no_delay(int fd)
{
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int
bare_dial(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd == -1 ||
	    connect(fd, (const struct sockaddr *)(const void *)address,
		sizeof(*address)) == -1)
		bare_die("connect");
	bare_no_delay(fd);
	return (fd);
}

struct tls *
bare_server(void)
{
	struct tls *server = tls_server();

	if (server == NULL || tls_configure(server, bare_config) == -1)
		bare_die("tls_server");
	return (server);
}

struct tls *
bare_call(int fd)
{
	struct tls *tls = tls_client();

	if (tls == NULL || tls_configure(tls, bare_config) == -1 ||
	    tls_connect_socket(tls, fd, "localhost") == -1 ||
	    tls_handshake(tls) == -1)
		bare_die("tls_connect");
	return (tls);
}

struct tls *
bare_take(struct tls *server, int fd)
{
	struct tls *tls;

	if (tls_accept_socket(server, &tls, fd) == -1 ||
	    tls_handshake(tls) == -1)
		bare_die("tls_accept");
	return (tls);
}
