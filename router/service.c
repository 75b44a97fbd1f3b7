/*
 * router: the gRPC server that apps connect to. TLS with a private key that
 * is in keyd: each handshake asks it for one signature. A reload that
 * changes listeners starts a new server; the old one serves its streams on.
 */

#include <sys/queue.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/proc/proc.h"
#include "common/proc/sources.h"
#include "common/rpc/rpc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "proto/descriptors.h"
#include "router/router.h"
#include "router/service.h"
#include "router/session.h"

#define SIGN_TIMEOUT     2000        /* ms */
#define FRAME_EXTRA      (64 * 1024) /* all but the payload */
#define STREAM_WINDOW    (1024 * 1024)
#define STREAMS_MAX      64 /* a connection */
/* Until an app is known: a Connect frame, and so much of several. */
#define UNPROVEN_MESSAGE (32 * 1024)
#define UNPROVEN_HELD    (64 * 1024)
#define CHAIN_MAX        65536
#define DESCRIPTORS      (sizeof(descriptors) / sizeof(descriptors[0]))

struct old_server {
	TAILQ_ENTRY(old_server) entry;
	struct rpc_server *server;
};

static const struct rpc_method methods[] = { { "/approuter.v1.AppRouter/Open",
    0, session_opened,
    { session_message, session_half_closed, session_writable_again,
	session_closed } } };

static struct {
	struct rpc_server *server;
	TAILQ_HEAD(, old_server) old;
	struct rpc_tls *tls;
	struct rpc_tls *previous;
	struct rpc_counters gone; /* of servers freed */
	struct rpc_descriptor sets[DESCRIPTORS];
	int waiting[CONFIG_LISTENERS];
	int waiting_count;
	int paused;
	int operators;  /* certificate */
	uint8_t *chain; /* keyd's, PEM */
	size_t chain_length;
	uint8_t shown[KEY_SIZE]; /* hash of the certificate in use */
} service = { .old = TAILQ_HEAD_INITIALIZER(service.old) };

/* --- TLS ----------------------------------------------------------------- */

static int
service_sign(void *arg, const uint8_t *digest, size_t digest_length,
    uint8_t *signature, size_t *signature_length)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);
	struct ipc_sign_digest question;
	struct ipc_signed_digest answer;

	(void)arg;
	if (keyd == NULL || digest_length > sizeof(question.digest))
		return (-1);
	memset(&question, 0, sizeof(question));
	question.length = digest_length;
	memcpy(question.digest, digest, digest_length);
	if (ipc_call(keyd, IPC_SIGN_DIGEST, &question, IPC_SIGNED_DIGEST,
		&answer, SIGN_TIMEOUT) == -1 ||
	    answer.length == 0 || answer.length > sizeof(answer.signature)) {
		log_warn("tls_sign_failed", "length=%zu", digest_length);
		return (-1);
	}
	memcpy(signature, answer.signature, answer.length);
	*signature_length = answer.length;
	return (0);
}

void
service_init(void)
{
	rpc_tls_set_signer(service_sign, NULL);
}

/* --- the server ---------------------------------------------------------- */

static void
service_limits(struct rpc_limits *limits)
{
	const struct config_limits *config = &proc_config()->limits;

	rpc_limits_default(limits);
	limits->max_connections = config->sessions + config->unauthenticated;
	limits->max_unproven = config->unauthenticated;
	limits->max_unproven_source = config->unauthenticated_source;
	limits->unproven_message = UNPROVEN_MESSAGE;
	limits->unproven_held = UNPROVEN_HELD;
	limits->slow_timeout = config->connect_timeout < CLOCK_SECOND
				   ? CLOCK_SECOND
				   : config->connect_timeout;
	limits->max_per_source = config->per_source;
	limits->max_streams = STREAMS_MAX;
	limits->stream_window = STREAM_WINDOW;
	/* One that is too large by less than this much again is answered
	 * with MESSAGE_TOO_LARGE instead of the end of the stream. */
	limits->max_message = 2 * config->message_size + FRAME_EXTRA;
}

static int
service_reflects(const char *file)
{
	return (strcmp(file, "nodemesh.proto") != 0);
}

/* A server with what waits for one. */
static void
service_start(void)
{
	struct rpc_limits limits;
	size_t i, n = 0;

	if (service.tls == NULL || router.draining)
		return;
	if (service.server == NULL) {
		service_limits(&limits);
		service.server = rpc_server_new(
		    proc_base(), service.tls, &limits, methods, 1, NULL, NULL);
		if (service.server == NULL) {
			log_error("server_failed", "listener=app");
			return;
		}
		rpc_server_set_penalties(
		    service.server, sources_penalties(PROCESS_ROUTER));
		for (i = 0; i < DESCRIPTORS; i++) {
			if (!service_reflects(descriptors[i].file))
				continue;
			service.sets[n].set =
			    (const uint8_t *)descriptors[i].set;
			service.sets[n++].length = descriptors[i].length;
		}
		if (rpc_server_enable_reflection(
			service.server, service.sets, n) == -1)
			log_warn("reflection_failed", "listener=app");
		service_set_health();
		rpc_server_pause(service.server, service.paused);
	}
	while (service.waiting_count > 0) {
		if (rpc_server_listen(service.server,
			service.waiting[--service.waiting_count]) == -1)
			log_error("listen_failed", "listener=app");
	}
}

static void
service_use(const uint8_t *pem, size_t length)
{
	struct rpc_tls_options options;
	struct rpc_tls *tls;
	uint8_t shown[KEY_SIZE];
	char error[256];

	memset(&options, 0, sizeof(options));
	options.certificate_pem = (const char *)pem;
	options.certificate_length = length;
	options.verify = RPC_VERIFY_NONE;
	tls = rpc_tls_server(&options, error, sizeof(error));
	if (tls == NULL) {
		/* What is in use stays in use. */
		log_error("certificate_unusable", "file=\"%s\" reason=\"%s\"",
		    service.operators ? proc_config()->certificate : "", error);
		return;
	}
	metric_set(METRIC_CERTIFICATE_EXPIRY_APP,
	    (uint64_t)rpc_certificate_end(pem, length));
	rpc_tls_free(service.previous);
	service.previous = service.tls;
	service.tls = tls;
	(void)crypto_generichash(shown, sizeof(shown), pem, length, NULL, 0);
	if (service.server != NULL) {
		rpc_server_set_tls(service.server, tls);
		/* A Challenge is signed over the key that is in use now: a new
		 * stream goes where that was shown. */
		if (memcmp(shown, service.shown, sizeof(shown)) != 0)
			rpc_server_drain_connections(service.server);
	}
	memcpy(service.shown, shown, sizeof(shown));
	service_start();
}

void
service_certificate(const uint8_t *pem, size_t length)
{
	uint8_t *copy;

	if ((copy = malloc(length + 1)) == NULL) {
		log_error("out_of_memory", "where=certificate");
		return;
	}
	memcpy(copy, pem, length);
	free(service.chain);
	service.chain = copy;
	service.chain_length = length;
	if (!service.operators)
		service_use(pem, length);
}

void
service_certificate_file(int fd)
{
	uint8_t pem[CHAIN_MAX];
	size_t length = 0;
	ssize_t n;

	while (length < sizeof(pem) &&
	       (n = pread(
		    fd, pem + length, sizeof(pem) - length, (off_t)length)) > 0)
		length += (size_t)n;
	(void)close(fd);
	if (length == 0 || length == sizeof(pem)) {
		log_error("certificate_unusable", "file=\"%s\" reason=\"%s\"",
		    proc_config()->certificate,
		    length == 0 ? "empty" : "too large");
		return;
	}
	service.operators = 1;
	service_use(pem, length);
}

void
service_listen(int fd)
{
	if (service.waiting_count == CONFIG_LISTENERS || router.draining) {
		(void)close(fd);
		return;
	}
	service.waiting[service.waiting_count++] = fd;
	service_start();
}

void
service_listeners_close(void)
{
	struct old_server *old;

	while (service.waiting_count > 0)
		(void)close(service.waiting[--service.waiting_count]);
	if (service.server == NULL)
		return;
	rpc_server_drain(service.server);
	if ((old = calloc(1, sizeof(*old))) == NULL) {
		log_error("out_of_memory", "where=listeners");
		return; /* still served, closed to new apps */
	}
	old->server = service.server;
	service.server = NULL;
	TAILQ_INSERT_TAIL(&service.old, old, entry);
}

void
service_configured(void)
{
	struct rpc_limits limits;

	/* The operator took its certificate back: ours serves again. */
	if (service.operators && !proc_config()->own_certificate) {
		service.operators = 0;
		if (service.chain != NULL)
			service_use(service.chain, service.chain_length);
	}
	sources_configured();
	if (service.server == NULL)
		return;
	service_limits(&limits);
	rpc_server_set_limits(service.server, &limits);
}

void
service_set_health(void)
{
	int serving = router_serving();

	if (service.server == NULL)
		return;
	rpc_server_set_health(service.server, "", serving);
	rpc_server_set_health(
	    service.server, "approuter.v1.AppRouter", serving);
}

void
service_pause(int pause)
{
	struct old_server *old;

	if (service.paused == pause)
		return;
	service.paused = pause;
	if (service.server != NULL)
		rpc_server_pause(service.server, pause);
	TAILQ_FOREACH(old, &service.old, entry)
	rpc_server_pause(old->server, pause);
}

void
service_drain(void)
{
	while (service.waiting_count > 0)
		(void)close(service.waiting[--service.waiting_count]);
	if (service.server != NULL)
		rpc_server_drain(service.server);
}

/* --- counters ------------------------------------------------------------ */

static void
counters_add(struct rpc_counters *sum, const struct rpc_server *server)
{
	struct rpc_counters c;
	size_t i;

	rpc_server_counters(server, &c);
	for (i = 0; i < RPC_ABUSE_KINDS; i++)
		sum->abuses[i] += c.abuses[i];
	sum->connections_open += c.connections_open;
	sum->streams_open += c.streams_open;
	sum->connections_total += c.connections_total;
	sum->handshake_failures += c.handshake_failures;
	sum->protocol_errors += c.protocol_errors;
	sum->abuse += c.abuse;
	sum->refused += c.refused;
	sum->bytes_read += c.bytes_read;
	sum->bytes_written += c.bytes_written;
}

static void
service_free_old(struct old_server *old)
{
	counters_add(&service.gone, old->server);
	service.gone.connections_open = service.gone.streams_open = 0;
	TAILQ_REMOVE(&service.old, old, entry);
	rpc_server_free(old->server);
	free(old);
}

void
service_tick(void)
{
	struct old_server *old, *next;
	struct rpc_counters counters;

	for (old = TAILQ_FIRST(&service.old); old != NULL; old = next) {
		next = TAILQ_NEXT(old, entry);
		rpc_server_counters(old->server, &counters);
		if (counters.connections_open == 0)
			service_free_old(old);
	}
}

void
service_free(void)
{
	struct old_server *old;

	while ((old = TAILQ_FIRST(&service.old)) != NULL)
		service_free_old(old);
	if (service.server != NULL)
		rpc_server_free(service.server);
	service.server = NULL;
	rpc_tls_free(service.tls);
	rpc_tls_free(service.previous);
	service.tls = service.previous = NULL;
	free(service.chain);
	service.chain = NULL;
}

void
service_counters(struct rpc_counters *counters)
{
	struct old_server *old;

	*counters = service.gone;
	if (service.server != NULL)
		counters_add(counters, service.server);
	TAILQ_FOREACH(old, &service.old, entry)
	counters_add(counters, old->server);
}
