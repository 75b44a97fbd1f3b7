/*
 * router: Connect. Who is the app, and may it come in? After this file a
 * session's app is proven, by a signature over this node's key and nonce
 * that is also its presence attestation for the mesh.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "router/chats.h"
#include "router/nodes.h"
#include "router/session.h"

#define METADATA_TAIL 8192 /* of APP_UP */
#define V1_SIGNED_MAX (METADATA_TAIL + NODE_ID_SIZE)

static int
span_equals(struct span span, const char *text)
{
	return (
	    span.length == strlen(text) &&
	    (span.length == 0 || memcmp(span.bytes, text, span.length) == 0));
}

/* Contract v1: signed over node_id and metadata. 0, or -1 with errno as
 * attestation_verify() has it. */
static int
verify_v1(struct frame_connect *connect, struct attestation *attestation)
{
	uint8_t bytes[V1_SIGNED_MAX];
	size_t length;

	length = attestation_v1_bytes(bytes, sizeof(bytes),
	    attestation->node_id, connect->pairs, connect->pair_count);
	if (length == 0 || crypto_sign_verify_detached(attestation->signature,
			       bytes, length, attestation->app_key) == -1) {
		errno = EACCES;
		return (-1);
	}
	attestation->kind = ATTESTATION_V1;
	attestation->issued_at = clock_wall();
	attestation->expires_at = attestation->issued_at + ATTESTATION_MAX_AGE;
	return (0);
}

/* 0, or -1 with errno: EBADMSG (nonce), or as attestation_verify() has it. */
static int
verify_v2(const struct session *session, const struct frame_connect *connect,
    struct attestation *attestation)
{
	if (connect->nonce.length != KEY_SIZE ||
	    sodium_memcmp(connect->nonce.bytes, session->nonce, KEY_SIZE) !=
		0) {
		errno = EBADMSG;
		return (-1);
	}
	attestation->kind = ATTESTATION_V2;
	memcpy(attestation->nonce, session->nonce, KEY_SIZE);
	attestation->issued_at = connect->issued_at;
	attestation->expires_at = connect->expires_at;
	return (attestation_verify(attestation, clock_wall()));
}

/* What verify_v1() and verify_v2() found, for who wrote the app. */
static const char *
verify_error(int error)
{
	switch (error) {
	case EBADMSG:
		return ("nonce is not that of the Challenge");
	case ETIME:
		return ("issued_at or expires_at: at most 24 hours apart, and "
			"clocks within 60 seconds");
	default:
		return ("the signature does not verify");
	}
}

/* RPC_OK and the attestation, or why not. */
static enum rpc_status
connect_verify(
    struct session *session, struct frame_connect *connect, const char **why)
{
	const struct config *config = proc_config();
	struct attestation *attestation = &session->attestation;
	int v1, rv;

	*why = "metadata too large";
	if (connect->metadata_bytes > config->limits.metadata_size) {
		metric_add(METRIC_SESSION_LIMITS_METADATA, 1);
		return (RPC_RESOURCE_EXHAUSTED);
	}
	*why = "that is another node's id";
	if (!span_equals(connect->node_id, router.identity.node_id))
		return (RPC_PERMISSION_DENIED);
	*why = "app_public_key is not 32 bytes, or signature not 64";
	if (connect->app_key.length != KEY_SIZE ||
	    connect->signature.length != SIGNATURE_SIZE)
		return (RPC_UNAUTHENTICATED);
	memset(attestation, 0, sizeof(*attestation));
	memcpy(attestation->app_key, connect->app_key.bytes, KEY_SIZE);
	memcpy(attestation->node_key, router.identity.node_key, KEY_SIZE);
	(void)strlcpy(attestation->node_id, router.identity.node_id,
	    sizeof(attestation->node_id));
	memcpy(
	    attestation->signature, connect->signature.bytes, SIGNATURE_SIZE);
	metadata_hash(
	    attestation->metadata_hash, connect->pairs, connect->pair_count);
	v1 = connect->nonce.length == 0 && config->app_compat_v1;
	rv = v1 ? verify_v1(connect, attestation)
		: verify_v2(session, connect, attestation);
	if (rv == -1) {
		*why = verify_error(errno);
		return (RPC_UNAUTHENTICATED);
	}
	session->v1 = v1;
	session->arrived = connect->arrived;
	return (RPC_OK);
}

/* Keep the metadata as APP_UP wants it. 0 or -1. */
static int
keep_metadata(struct session *session, const struct frame_connect *connect)
{
	struct frame_body *body = &session_body;

	frame_begin(body, FRAME_CONNECT);
	frame_put_metadata(body, connect->pairs, connect->pair_count);
	if (body->failed || body->length > METADATA_TAIL)
		return (-1);
	if (body->length > 0 &&
	    (session->metadata = malloc(body->length)) == NULL)
		return (-1);
	if (body->length > 0)
		memcpy(session->metadata, body->bytes, body->length);
	session->metadata_length = body->length;
	session->accept_auto = frame_has_pair(
	    connect->pairs, connect->pair_count, "accept", "auto");
	session->acks_last =
	    frame_has_pair(connect->pairs, connect->pair_count, "acks", "last");
	return (0);
}

static void
connect_refuse(struct session *session, enum rpc_status status, const char *why)
{
	char short_id[HEX_SHORT_SIZE];

	metric_add(METRIC_AUTH_FAILURES, 1);
	log_info("connect_refused",
	    "from=\"%s\" app=%s status=%d "
	    "reason=\"%s\"",
	    session->address,
	    hex_short(short_id, session->attestation.app_key, KEY_SIZE),
	    (int)status, why);
	session_finish(session, status, why);
	if (status == RPC_UNAUTHENTICATED)
		rpc_connection_blame(rpc_stream_connection(session->stream));
}

/* A second stream of the app takes the place of the first. */
static void
connect_replace(struct app *app)
{
	struct session *old = app->session;

	if (old == NULL)
		return;
	session_go_away(old, "replaced", 0);
	app->replaced = 1; /* no APP_DOWN between the two */
	session_finish(old, RPC_ABORTED, "replaced by a newer stream");
}

void
connect_moved(const struct ipc_app_moved *moved)
{
	struct app *app = app_find(moved->app);
	struct session *session = app == NULL ? NULL : app->session;

	/* It may be back already, with a later signature. */
	if (session == NULL ||
	    session->attestation.issued_at >= moved->issued_at)
		return;
	session_go_away(session, "moved", 0);
	session_finish(session, RPC_ABORTED, "connected to another node");
}

static void
connect_answer(struct session *session, struct span correlation)
{
	const struct config_limits *limits = &proc_config()->limits;
	struct frame_body *body = &session_body;

	frame_begin(body, FRAME_CONNECT_ACK);
	frame_put_text(body, 1, session->session_id);
	frame_put_text(body, 2, router.identity.node_id);
	frame_put_bytes(body, 3, router.identity.node_key, KEY_SIZE);
	nodes_put(body, 4);
	frame_put_number(body, 5, limits->message_size);
	frame_put_number(body, 6, limits->chat_window_messages);
	session_send(session, body, correlation);
}

/* The app is proven: it is connected. */
static void
connect_open(struct session *session, struct app *app, struct span correlation)
{
	uint8_t id[16];
	char short_id[HEX_SHORT_SIZE];

	connect_replace(app);
	randombytes_buf(id, sizeof(id));
	hex_encode(session->session_id, id, sizeof(id));
	session->connected_at = clock_wall();
	session->app = app;
	session_count_open(session);
	rpc_connection_prove(rpc_stream_connection(session->stream));
	connect_answer(session, correlation);
	session_announce(session);
	if (session->v1) {
		metric_add(METRIC_SESSIONS_V1, 1);
		log_warn("session_v1", "app=%s from=\"%s\"",
		    hex_short(short_id, app->key, KEY_SIZE), session->address);
	}
	log_info("session_open", "app=%s from=\"%s\" session=%.12s",
	    hex_short(short_id, app->key, KEY_SIZE), session->address,
	    session->session_id);
	metric_observe(METRIC_ROUTER_LATENCY_CONNECT,
	    clock_monotonic() - session->opened_at);
	if (session->arrived)
		end_left(app);
	app_connected(app, session);
}

void
session_connect(
    struct session *session, struct span body, struct span correlation)
{
	static struct frame_connect connect;
	struct app *app;
	enum rpc_status status;
	const char *why;

	if (!router_serving()) {
		session_finish(session, RPC_UNAVAILABLE,
		    router.draining ? "draining" : "locked");
		return;
	}
	if (frame_read_connect(&connect, body) == -1) {
		session_finish(
		    session, RPC_INVALID_ARGUMENT, "Connect is malformed");
		return;
	}
	if (!rpc_connection_may_verify(
		rpc_stream_connection(session->stream))) {
		session_finish(session, RPC_RESOURCE_EXHAUSTED,
		    "too many Connects at a time");
		return;
	}
	if ((status = connect_verify(session, &connect, &why)) != RPC_OK) {
		connect_refuse(session, status, why);
		return;
	}
	if (keep_metadata(session, &connect) == -1) {
		session_finish(
		    session, RPC_RESOURCE_EXHAUSTED, "metadata too large");
		return;
	}
	app = app_find(session->attestation.app_key);
	if ((app == NULL || app->session == NULL) &&
	    session_count() >= proc_config()->limits.sessions) {
		metric_add(METRIC_SESSION_LIMITS_SESSIONS, 1);
		session_finish(
		    session, RPC_RESOURCE_EXHAUSTED, "too many sessions");
		return;
	}
	app = app_make(session->attestation.app_key);
	if (app == NULL) {
		session_finish(
		    session, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	connect_open(session, app, correlation);
}
