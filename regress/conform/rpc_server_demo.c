/*
 * A server on common/rpc for foreign gRPC clients to test. It prints
 * "port N" and serves until its standard input ends; a line on it does
 * something: "health NAME 0|1", "drain", "counters".
 *
 * usage: rpc_server_demo certificate.pem key.pem [signer]
 */

#include <sys/socket.h>
#include <netinet/in.h>

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "common/rpc/rpc.h"
#include "proto/descriptors.h"

#define DESCRIPTORS (sizeof(descriptors) / sizeof(*descriptors))

struct demo {
	struct event_base *base;
	struct rpc_server *server;
	EVP_PKEY *key;
	char line[512];
	size_t length;
};

/* --- methods ------------------------------------------------------------- */

static void
demo_closed(struct rpc_stream *stream, enum rpc_status status, const char *text,
    void *arg)
{
	(void)stream;
	(void)status;
	(void)text;
	(void)arg;
}

static void
demo_unary(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	(void)arg;
	(void)rpc_stream_send(stream, message, length);
	rpc_stream_finish(stream, RPC_OK, NULL);
}

/* The arg counts what is not consumed until it could be sent on. */
static enum rpc_status
demo_stream_opened(struct rpc_stream *stream, void *arg)
{
	size_t *owed = calloc(1, sizeof(*owed));

	(void)arg;
	rpc_stream_set_arg(stream, owed);
	return (owed == NULL ? RPC_RESOURCE_EXHAUSTED : RPC_OK);
}

static void
demo_stream(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	size_t *owed = arg;

	(void)rpc_stream_send(stream, message, length);
	if (rpc_stream_congested(stream))
		*owed += length;
	else
		rpc_stream_consume(stream, length);
}

static void
demo_stream_writable(struct rpc_stream *stream, void *arg)
{
	size_t *owed = arg;

	rpc_stream_consume(stream, *owed);
	*owed = 0;
}

static void
demo_stream_finished(struct rpc_stream *stream, void *arg)
{
	(void)arg;
	rpc_stream_finish(stream, RPC_OK, NULL);
}

static void
demo_stream_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *text, void *arg)
{
	(void)stream;
	(void)status;
	(void)text;
	free(arg);
}

/* First byte: the status; the rest: its message. */
static void
demo_status(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	char text[256] = "";

	(void)arg;
	if (length > 1 && length <= sizeof(text))
		memcpy(text, message + 1, length - 1);
	rpc_stream_finish(stream,
	    length == 0 ? RPC_INVALID_ARGUMENT : (enum rpc_status)message[0],
	    text);
}

/* Ten messages as large as the request says, then done. */
static void
demo_many(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	uint8_t *to;
	size_t size;
	int i;

	(void)arg;
	size = length == 0 ? 0 : (size_t)1 << (message[0] & 31);
	for (i = 0; i < 10; i++) {
		if ((to = rpc_stream_reserve(stream, size)) == NULL)
			break;
		memset(to, i, size);
		rpc_stream_commit(stream, size);
	}
	rpc_stream_finish(stream, RPC_OK, NULL);
}

static enum rpc_status
demo_refuse(struct rpc_stream *stream, void *arg)
{
	(void)arg;
	rpc_stream_finish(stream, RPC_PERMISSION_DENIED, "not you");
	return (RPC_OK);
}

static const struct rpc_method methods[] = {
	{ "/test.Echo/Unary", 1, NULL,
	    { demo_unary, NULL, NULL, demo_closed } },
	{ "/test.Echo/Stream", 0, demo_stream_opened,
	    { demo_stream, demo_stream_finished, demo_stream_writable,
		demo_stream_closed } },
	{ "/test.Echo/Status", 1, NULL,
	    { demo_status, NULL, NULL, demo_closed } },
	{ "/test.Echo/Many", 1, NULL, { demo_many, NULL, NULL, demo_closed } },
	{ "/test.Echo/Hang", 0, NULL, { NULL, NULL, NULL, demo_closed } },
	{ "/test.Echo/Refuse", 0, demo_refuse,
	    { NULL, NULL, NULL, demo_closed } },
	/* Named as in proto/, for reflection to list. */
	{ "/approuter.v1.AppRouter/Open", 0, demo_refuse,
	    { NULL, NULL, NULL, demo_closed } },
};

/* --- set up -------------------------------------------------------------- */

static int
demo_sign(void *arg, const uint8_t *digest, size_t digest_length,
    uint8_t *signature, size_t *signature_length)
{
	struct demo *demo = arg;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(demo->key, NULL);
	int rv = -1;

	if (EVP_PKEY_sign_init(context) == 1 &&
	    EVP_PKEY_sign(context, signature, signature_length, digest,
		digest_length) == 1)
		rv = 0;
	EVP_PKEY_CTX_free(context);
	return (rv);
}

static char *
demo_read_file(const char *path, size_t *length)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 65536);

	if (file == NULL || text == NULL)
		err(1, "%s", path);
	*length = fread(text, 1, 65535, file);
	fclose(file);
	return (text);
}

static void
demo_command(struct demo *demo, char *line)
{
	struct rpc_counters counters;
	char name[256];
	int serving;

	if (sscanf(line, "health %255s %d", name, &serving) == 2)
		rpc_server_set_health(demo->server, name, serving);
	else if (strcmp(line, "drain") == 0)
		rpc_server_drain(demo->server);
	else if (strcmp(line, "counters") == 0) {
		rpc_server_counters(demo->server, &counters);
		printf("connections_open=%llu streams_open=%llu "
		       "handshake_failures=%llu protocol_errors=%llu "
		       "abuse=%llu refused=%llu\n",
		    (unsigned long long)counters.connections_open,
		    (unsigned long long)counters.streams_open,
		    (unsigned long long)counters.handshake_failures,
		    (unsigned long long)counters.protocol_errors,
		    (unsigned long long)counters.abuse,
		    (unsigned long long)counters.refused);
	} else
		printf("what?\n");
	fflush(stdout);
}

static void
demo_input(evutil_socket_t fd, short what, void *arg)
{
	struct demo *demo = arg;
	char *end;
	ssize_t n;

	(void)what;
	n = read(fd, demo->line + demo->length,
	    sizeof(demo->line) - demo->length - 1);
	if (n <= 0) {
		event_base_loopbreak(demo->base);
		return;
	}
	demo->length += (size_t)n;
	demo->line[demo->length] = '\0';
	while ((end = strchr(demo->line, '\n')) != NULL) {
		*end = '\0';
		demo_command(demo, demo->line);
		demo->length -= (size_t)(end + 1 - demo->line);
		memmove(demo->line, end + 1, demo->length + 1);
	}
}

static int
demo_listen(void)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
	    listen(fd, 128) == -1 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) == -1)
		err(1, "listen");
	printf("port %d\n", ntohs(address.sin_port));
	fflush(stdout);
	return (fd);
}

static void
demo_reflect(struct rpc_server *server)
{
	struct rpc_descriptor sets[DESCRIPTORS];
	size_t i;

	for (i = 0; i < DESCRIPTORS; i++) {
		sets[i].set = (const uint8_t *)descriptors[i].set;
		sets[i].length = descriptors[i].length;
	}
	if (rpc_server_enable_reflection(server, sets, DESCRIPTORS) == -1)
		err(1, "reflection");
}

static struct rpc_tls *
demo_tls(struct demo *demo, char *argv[], int with_signer)
{
	struct rpc_tls_options options;
	struct rpc_tls *tls;
	char error[256];
	char *certificate, *key;
	BIO *bio;

	memset(&options, 0, sizeof(options));
	certificate = demo_read_file(argv[1], &options.certificate_length);
	key = demo_read_file(argv[2], &options.key_length);
	options.certificate_pem = certificate;
	if (with_signer) {
		bio = BIO_new_mem_buf(key, (int)options.key_length);
		demo->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
		BIO_free(bio);
		rpc_tls_set_signer(demo_sign, demo);
	} else
		options.key_pem = key;
	if ((tls = rpc_tls_server(&options, error, sizeof(error))) == NULL)
		errx(1, "%s", error);
	free(certificate);
	free(key);
	return (tls);
}

int
main(int argc, char *argv[])
{
	struct demo demo;
	struct rpc_limits limits;
	struct rpc_tls *tls;
	struct event *input;

	if (argc < 3)
		errx(1, "usage: rpc_server_demo certificate key [signer]");
	memset(&demo, 0, sizeof(demo));
	demo.base = event_base_new();
	tls = demo_tls(&demo, argv, argc > 3);
	rpc_limits_default(&limits);
	demo.server = rpc_server_new(demo.base, tls, &limits, methods,
	    sizeof(methods) / sizeof(*methods), NULL, NULL);
	if (demo.server == NULL)
		err(1, "server");
	demo_reflect(demo.server);
	if (rpc_server_listen(demo.server, demo_listen()) == -1)
		err(1, "listen");
	input = event_new(
	    demo.base, STDIN_FILENO, EV_READ | EV_PERSIST, demo_input, &demo);
	event_add(input, NULL);
	event_base_dispatch(demo.base);
	rpc_server_free(demo.server);
	rpc_tls_free(tls);
	event_free(input);
	event_base_free(demo.base);
	EVP_PKEY_free(demo.key);
	return (0);
}
