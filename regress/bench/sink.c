/*
 * Takes TLS connections on the loopback, reads what comes and throws it away:
 * what an attack costs a machine whose server does nothing about it. Prints
 * its port.
 *
 *	sink FOLDER		which has cert.pem and key.pem
 */

#include <sys/socket.h>

#include <netinet/in.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <tls.h>

#define PIECE   (64 * 1024)
#define BACKLOG 1024

static struct tls *server;

struct taken {
	struct tls *tls;
	int fd;
};

static void
die(const char *what)
{
	perror(what);
	_exit(1);
}

static void *
swallow(void *arg)
{
	struct taken *taken = arg;
	uint8_t piece[PIECE];
	ssize_t n;

	do {
		n = tls_read(taken->tls, piece, sizeof(piece));
	} while (n > 0 || n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT);
	tls_free(taken->tls);
	(void)close(taken->fd);
	free(taken);
	return (NULL);
}

static int
take(int listener, const pthread_attr_t *attributes)
{
	struct taken *taken = calloc(1, sizeof(*taken));
	pthread_t thread;

	if (taken == NULL || (taken->fd = accept(listener, NULL, NULL)) == -1)
		return (-1);
	if (tls_accept_socket(server, &taken->tls, taken->fd) == -1)
		return (-1);
	return (
	    pthread_create(&thread, attributes, swallow, taken) == 0 ? 0 : -1);
}

int
main(int argc, char **argv)
{
	struct tls_config *config = tls_config_new();
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	pthread_attr_t attributes;
	char certificate[4096], key[4096];
	int listener;

	if (argc != 2) {
		fprintf(stderr, "usage: sink FOLDER\n");
		return (2);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(
	    certificate, sizeof(certificate), "%s/cert.pem", argv[1]);
	(void)snprintf(key, sizeof(key), "%s/key.pem", argv[1]);
	server = tls_server();
	if (config == NULL || server == NULL ||
	    tls_config_set_keypair_file(config, certificate, key) == -1 ||
	    tls_config_set_alpn(config, "h2") == -1 ||
	    tls_configure(server, config) == -1)
		die("tls");
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener == -1 ||
	    bind(listener, (struct sockaddr *)&address, length) == -1 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) == -1 ||
	    listen(listener, BACKLOG) == -1 ||
	    pthread_attr_init(&attributes) != 0 ||
	    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) !=
		0)
		die("listen");
	printf("%u\n", ntohs(address.sin_port));
	(void)fflush(stdout);
	while (take(listener, &attributes) == 0)
		continue;
	die("accept");
}
