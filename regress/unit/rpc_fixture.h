/*
 * Tests of common/rpc. A server with a few methods and a client connection
 * to it, in one process on one event base, over TCP on the loopback.
 */
#ifndef REGRESS_UNIT_RPC_FIXTURE_H
#define REGRESS_UNIT_RPC_FIXTURE_H

#include <sys/socket.h>
#include <netinet/in.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <event2/event.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/rpc/rpc.h"
#include "common/util/clock.h"

#define WAIT_LIMIT (120 * CLOCK_SECOND)

/* --- identities ---------------------------------------------------------- */

struct identity {
	char *certificate;
	char *key;
	size_t certificate_length;
	size_t key_length;
	EVP_PKEY *pkey;
	uint8_t spki[32];
};

static inline char *
identity_text(BIO *bio, size_t *length)
{
	char *data, *text;
	long n = BIO_get_mem_data(bio, &data);

	text = malloc((size_t)n + 1);
	ck_assert_ptr_nonnull(text);
	memcpy(text, data, (size_t)n);
	text[n] = '\0';
	*length = (size_t)n;
	BIO_free(bio);
	return (text);
}

static inline void
identity_make(struct identity *identity, const char *name)
{
	X509_EXTENSION *san;
	X509 *x = X509_new();
	BIO *bio;
	uint8_t *der = NULL;
	int length;

	identity->pkey = EVP_EC_gen("P-256");
	ck_assert_ptr_nonnull(identity->pkey);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, identity->pkey);
	san = X509V3_EXT_conf_nid(
	    NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
	X509_add_ext(x, san, -1);
	X509_EXTENSION_free(san);
	ck_assert_int_gt(X509_sign(x, identity->pkey, EVP_sha256()), 0);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(bio, x);
	identity->certificate =
	    identity_text(bio, &identity->certificate_length);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PKCS8PrivateKey(
	    bio, identity->pkey, NULL, NULL, 0, NULL, NULL);
	identity->key = identity_text(bio, &identity->key_length);
	length = i2d_PUBKEY(identity->pkey, &der);
	ck_assert_int_gt(length, 0);
	ck_assert_int_eq(EVP_Digest(der, (size_t)length, identity->spki, NULL,
			     EVP_sha256(), NULL),
	    1);
	OPENSSL_free(der);
	X509_free(x);
}

static inline void
identity_free(struct identity *identity)
{
	free(identity->certificate);
	free(identity->key);
	EVP_PKEY_free(identity->pkey);
	memset(identity, 0, sizeof(*identity));
}

/* --- the rig ------------------------------------------------------------- */

struct rig {
	struct event_base *base;
	struct event *alarm;
	struct rpc_server *server;
	struct rpc_tls *server_tls;
	struct rpc_tls *client_tls;
	struct rpc_limits limits;
	struct identity identity;
	struct rpc_connection *connection;
	struct sockaddr_in address;
	int connected;
	int failed;
	int closed;
	int draining;
	int server_opened;
	int server_closed;
	int refuse;   /* admission says no */
	int opened;   /* calls at the server */
	int finished; /* calls at the server */
	int writables;
	enum rpc_status server_status;
	struct rpc_connection *peer; /* at the server, the last */
	struct rpc_stream *held;     /* at the server, Hang, Sink */
	uint64_t sunk;               /* messages at Sink */
	char error[256];
};

/* One call of a client. */
struct call {
	struct rpc_stream *stream;
	uint64_t messages;
	uint64_t bytes;
	int closed;
	int finished;
	int hoard; /* do not consume */
	enum rpc_status status;
	char text[256];
	uint8_t last[64];
	size_t last_length;
	uint64_t to_send; /* pump: messages left */
	uint64_t sent;
	size_t size; /* of each */
	int in_order;
	int filled; /* by call_pump(): the answers are looked at */
};

static inline void
call_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	struct call *call = arg;
	uint64_t number;

	if (length >= sizeof(number)) {
		memcpy(&number, message, sizeof(number));
		if (number != call->messages)
			call->in_order = 0;
	}
	/* All of the rest is the same byte; see call_pump(). */
	if (call->filled && length > sizeof(number) &&
	    (message[8] != (uint8_t)call->messages ||
		memcmp(message + 8, message + 9, length - 9) != 0))
		call->in_order = 0;
	call->messages++;
	call->bytes += length;
	call->last_length = length;
	memcpy(call->last, message,
	    length < sizeof(call->last) ? length : sizeof(call->last));
	if (!call->hoard)
		rpc_stream_consume(stream, length);
}

/* Send as much as is sensible now; numbered messages. */
static inline void
call_pump(struct call *call)
{
	uint8_t *to;

	while (call->to_send > 0 && !rpc_stream_congested(call->stream)) {
		to = rpc_stream_reserve(call->stream, call->size);
		ck_assert_ptr_nonnull(to);
		memset(to, (int)(call->sent & 0xff), call->size);
		call->filled = 1;
		memcpy(to, &call->sent, sizeof(call->sent));
		rpc_stream_commit(call->stream, call->size);
		call->sent++;
		if (--call->to_send == 0)
			rpc_stream_half_close(call->stream);
	}
}

static inline void
call_writable(struct rpc_stream *stream, void *arg)
{
	(void)stream;
	call_pump(arg);
}

static inline void
call_finished(struct rpc_stream *stream, void *arg)
{
	struct call *call = arg;

	(void)stream;
	call->finished = 1;
}

static inline void
call_closed(struct rpc_stream *stream, enum rpc_status status, const char *text,
    void *arg)
{
	struct call *call = arg;

	ck_assert_ptr_eq(stream, call->stream);
	ck_assert_int_eq(call->closed, 0);
	call->closed = 1;
	call->status = status;
	call->stream = NULL;
	(void)snprintf(
	    call->text, sizeof(call->text), "%s", text == NULL ? "" : text);
}

static const struct rpc_stream_callbacks call_callbacks = { call_message,
	call_finished, call_writable, call_closed };

static inline void
call_start(
    struct rig *rig, struct call *call, const char *path, int64_t deadline)
{
	memset(call, 0, sizeof(*call));
	call->in_order = 1;
	call->stream =
	    rpc_call(rig->connection, path, deadline, &call_callbacks, call);
	ck_assert_ptr_nonnull(call->stream);
}

/* --- methods of the server ----------------------------------------------- */

/* Echo: what could not be sent on at once is not consumed until it can. */
struct echo {
	struct rig *rig;
	size_t owed;
};

static inline enum rpc_status
echo_opened(struct rpc_stream *stream, void *arg)
{
	struct rig *rig = arg;
	struct echo *echo = calloc(1, sizeof(*echo));

	echo->rig = rig;
	rig->opened++;
	rpc_stream_set_arg(stream, echo);
	return (RPC_OK);
}

static inline void
echo_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	struct echo *echo = arg;

	ck_assert_int_eq(rpc_stream_send(stream, message, length), 0);
	if (rpc_stream_congested(stream))
		echo->owed += length;
	else
		rpc_stream_consume(stream, length);
}

static inline void
echo_writable(struct rpc_stream *stream, void *arg)
{
	struct echo *echo = arg;

	echo->rig->writables++;
	rpc_stream_consume(stream, echo->owed);
	echo->owed = 0;
}

static inline void
echo_finished(struct rpc_stream *stream, void *arg)
{
	struct echo *echo = arg;

	echo->rig->finished++;
	rpc_stream_finish(stream, RPC_OK, NULL);
}

static inline void
echo_closed(struct rpc_stream *stream, enum rpc_status status, const char *text,
    void *arg)
{
	struct echo *echo = arg;

	(void)stream;
	(void)text;
	echo->rig->opened--;
	echo->rig->server_status = status;
	free(echo);
}

static inline void
unary_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	(void)arg;
	ck_assert_int_eq(rpc_stream_send(stream, message, length), 0);
	rpc_stream_finish(stream, RPC_OK, NULL);
}

/* Ends with the status that the first byte of the message names. */
static inline void
status_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	(void)arg;
	ck_assert_uint_ge(length, 1);
	rpc_stream_finish(
	    stream, (enum rpc_status)message[0], "caf\xc3\xa9 100%\n");
}

static inline enum rpc_status
refuse_opened(struct rpc_stream *stream, void *arg)
{
	(void)stream;
	(void)arg;
	return (RPC_PERMISSION_DENIED);
}

/* Takes everything, consumes nothing, answers nothing. */
static inline enum rpc_status
sink_opened(struct rpc_stream *stream, void *arg)
{
	struct rig *rig = arg;

	rig->opened++;
	rig->held = stream;
	rpc_stream_set_arg(stream, rig);
	return (RPC_OK);
}

static inline void
sink_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	struct rig *rig = arg;

	(void)stream;
	(void)message;
	(void)length;
	rig->sunk++;
}

static inline void
sink_closed(struct rpc_stream *stream, enum rpc_status status, const char *text,
    void *arg)
{
	struct rig *rig = arg;

	(void)text;
	rig->opened--;
	rig->server_status = status;
	if (rig->held == stream)
		rig->held = NULL;
}

static const struct rpc_method rig_methods[] = {
	{ "/test.Echo/Unary", 1, echo_opened,
	    { unary_message, NULL, NULL, echo_closed } },
	{ "/test.Echo/Stream", 0, echo_opened,
	    { echo_message, echo_finished, echo_writable, echo_closed } },
	{ "/test.Echo/Status", 1, echo_opened,
	    { status_message, NULL, NULL, echo_closed } },
	{ "/test.Echo/Refuse", 0, refuse_opened,
	    { NULL, NULL, NULL, echo_closed } },
	{ "/test.Echo/Sink", 0, sink_opened,
	    { sink_message, NULL, NULL, sink_closed } },
};
#define RIG_METHODS (sizeof(rig_methods) / sizeof(*rig_methods))

/* --- set up, wait, tear down --------------------------------------------- */

static inline int
rig_server_opened(struct rpc_connection *connection, void *arg)
{
	struct rig *rig = arg;

	if (rig->refuse)
		return (-1);
	rig->server_opened++;
	rig->peer = connection;
	return (0);
}

static inline void
rig_server_closed(struct rpc_connection *connection, void *arg)
{
	struct rig *rig = arg;

	rig->server_closed++;
	if (rig->peer == connection)
		rig->peer = NULL;
}

static const struct rpc_server_callbacks rig_server_callbacks = {
	rig_server_opened, rig_server_closed
};

static inline void
rig_connected(struct rpc_connection *connection, void *arg)
{
	struct rig *rig = arg;

	ck_assert_ptr_eq(connection, rig->connection);
	rig->connected++;
}

static inline void
rig_failed(struct rpc_connection *connection, const char *error, void *arg)
{
	struct rig *rig = arg;

	(void)connection;
	rig->failed++;
	rig->connection = NULL;
	(void)snprintf(rig->error, sizeof(rig->error), "%s", error);
}

static inline void
rig_draining(struct rpc_connection *connection, void *arg)
{
	struct rig *rig = arg;

	(void)connection;
	rig->draining++;
}

static inline void
rig_closed(struct rpc_connection *connection, void *arg)
{
	struct rig *rig = arg;

	rig->closed++;
	if (rig->connection == connection)
		rig->connection = NULL;
}

static const struct rpc_client_callbacks rig_client_callbacks = { rig_connected,
	rig_failed, rig_draining, rig_closed };

static inline void
rig_alarm(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* Turn the loop until condition holds; fail when it never does. */
#define WAIT(rig, condition)                                                   \
	do {                                                                   \
		int64_t wait_end = clock_monotonic() + WAIT_LIMIT;             \
		while (!(condition)) {                                         \
			ck_assert_msg(clock_monotonic() < wait_end,            \
			    "never: %s", #condition);                          \
			event_base_loop((rig)->base, EVLOOP_ONCE);             \
		}                                                              \
	} while (0)

/* Let everything that can happen without new input happen. */
static inline void
rig_settle(struct rig *rig)
{
	int i;

	for (i = 0; i < 50; i++)
		event_base_loop(rig->base, EVLOOP_ONCE);
}

static inline int
rig_socket(struct rig *rig)
{
	socklen_t length = sizeof(rig->address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(&rig->address, 0, sizeof(rig->address));
	rig->address.sin_family = AF_INET;
	rig->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(
	    bind(fd, (struct sockaddr *)&rig->address, sizeof(rig->address)),
	    0);
	ck_assert_int_eq(listen(fd, 128), 0);
	ck_assert_int_eq(
	    getsockname(fd, (struct sockaddr *)&rig->address, &length), 0);
	return (fd);
}

static inline void
rig_options(const struct identity *identity, struct rpc_tls_options *options)
{
	memset(options, 0, sizeof(*options));
	options->certificate_pem = identity->certificate;
	options->certificate_length = identity->certificate_length;
	options->key_pem = identity->key;
	options->key_length = identity->key_length;
}

static inline void
rig_base(struct rig *rig)
{
	struct timeval tick = { 0, 1000 };

	memset(rig, 0, sizeof(*rig));
	rig->base = event_base_new();
	/* So that EVLOOP_ONCE always comes back. */
	rig->alarm = event_new(rig->base, -1, EV_PERSIST, rig_alarm, NULL);
	event_add(rig->alarm, &tick);
	identity_make(&rig->identity, "localhost");
	rpc_limits_default(&rig->limits);
	/* Who is slow here is the machine. */
	rig->limits.handshake_timeout = WAIT_LIMIT;
	rig->limits.slow_timeout = WAIT_LIMIT;
}

static inline void
rig_serve(struct rig *rig)
{
	rig->server = rpc_server_new(rig->base, rig->server_tls, &rig->limits,
	    rig_methods, RIG_METHODS, &rig_server_callbacks, rig);
	ck_assert_ptr_nonnull(rig->server);
	ck_assert_int_eq(rpc_server_listen(rig->server, rig_socket(rig)), 0);
}

static inline void
rig_connect(struct rig *rig)
{
	rig->connection = rpc_connect(rig->base, rig->client_tls, &rig->limits,
	    (struct sockaddr *)&rig->address, "localhost",
	    &rig_client_callbacks, rig);
	ck_assert_ptr_nonnull(rig->connection);
}

static inline void
rig_tls(struct rig *rig)
{
	struct rpc_tls_options options;
	char error[128] = "";

	rig_options(&rig->identity, &options);
	rig->server_tls = rpc_tls_server(&options, error, sizeof(error));
	ck_assert_msg(rig->server_tls != NULL, "%s", error);
	memset(&options, 0, sizeof(options));
	rig->client_tls = rpc_tls_client(&options, error, sizeof(error));
	ck_assert_msg(rig->client_tls != NULL, "%s", error);
}

static inline void
rig_up(struct rig *rig)
{
	rig_tls(rig);
	rig_serve(rig);
	rig_connect(rig);
	WAIT(rig, rig->connected || rig->failed);
	ck_assert_msg(rig->connected, "%s", rig->error);
}

static inline void
rig_down(struct rig *rig)
{
	if (rig->connection != NULL) {
		rpc_connection_close(rig->connection);
		WAIT(rig, rig->connection == NULL);
	}
	rpc_server_free(rig->server);
	rpc_tls_free(rig->server_tls);
	rpc_tls_free(rig->client_tls);
	event_free(rig->alarm);
	event_base_free(rig->base);
	identity_free(&rig->identity);
}

#endif
