/*
 * mesh, unprivileged; node bytes are hostile. Renewal; see renew.h. What the
 * authority answers is checked here and again in keyd, which keeps it.
 */
#include <string.h>

#include <sodium.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/renew.h"
#include "mesh/unpack.h"
#include "mesh/wire.h"

#define JOIN_PATH    "/nodemesh.v1.NodeMesh/Join"
#define CALL_TIMEOUT (10 * CLOCK_SECOND)
#define RETRY_LEAST  (200 * CLOCK_MS)
#define RETRY_MOST   (60 * CLOCK_SECOND)

static struct {
	int64_t span;     /* ns the certificate had when it came */
	uint64_t serial;  /* its */
	int64_t next_try; /* monotonic */
	size_t cursor;    /* of whom to ask */
	uint32_t signing; /* keyd has our request */
	uint32_t overdue; /* said in the log */
	uint8_t nonce[KEY_SIZE];
	uint8_t server[KEY_SIZE];
	struct rpc_stream *stream; /* the call, or NULL */
} renew;

void
renew_identity(void)
{
	const struct certificate *own = &mesh.identity.certificate;
	int64_t whole = proc_config()->membership_lifetime;
	int first = renew.serial == 0;

	if (!mesh.identity.in_mesh || own->serial == renew.serial)
		return;
	renew.serial = own->serial;
	renew.span = own->not_after - clock_wall();
	/* How long it was good for when it was new is not known; asking once
	 * too early tells. */
	if (first && renew.span < whole)
		renew.span = whole;
	renew.overdue = 0;
}

/* --- the answer ---------------------------------------------------------- */

static int
response_check(const struct Nodemesh__V1__JoinResponse *response,
    struct ipc_membership *membership)
{
	const struct ipc_identity *me = &mesh.identity;
	const struct certificate *later = &membership->certificate;

	if (certificate_decode(&membership->certificate,
		response->certificate.data, response->certificate.len) == -1 ||
	    strcmp(later->node_id, me->node_id) != 0 ||
	    memcmp(later->node_key, me->node_key, KEY_SIZE) != 0 ||
	    later->serial <= me->certificate.serial)
		return (-1);
	memcpy(membership->authority_key, me->authority_key, KEY_SIZE);
	return (certificate_verify(later, me->authority_key, clock_wall()));
}

static void
on_response(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	struct Nodemesh__V1__JoinResponse *response;
	struct ipc_membership membership = { 0 };

	(void)arg;
	rpc_stream_consume(stream, length);
	response = unpack_bounded(
	    &nodemesh__v1__join_response__descriptor, bytes, length);
	if (response != NULL && response_check(response, &membership) == 0 &&
	    proc_ipc(PROCESS_KEYD) != NULL)
		ipc_send(proc_ipc(PROCESS_KEYD), IPC_MEMBERSHIP, &membership,
		    NULL, 0);
	else
		log_warn("renewal_answer", "error=\"does not hold\"");
	if (response != NULL)
		nodemesh__v1__join_response__free_unpacked(response, NULL);
}

static void
on_closed(struct rpc_stream *stream, enum rpc_status status, const char *text,
    void *arg)
{
	char clean[LOG_TEXT_SIZE];

	(void)arg;
	if (renew.stream == stream)
		renew.stream = NULL;
	if (status != RPC_OK)
		log_warn("renewal_refused", "status=%d why=\"%s\"", (int)status,
		    text == NULL ? "" : log_text(clean, text, strlen(text)));
}

static const struct rpc_stream_callbacks callbacks = { .message = on_response,
	.closed = on_closed };

/* --- the question -------------------------------------------------------- */

static void
on_signed(const uint8_t *signature, void *arg)
{
	struct Nodemesh__V1__JoinRequest request =
	    NODEMESH__V1__JOIN_REQUEST__INIT;
	struct peer *peer = peer_find(renew.server);
	struct trunk *trunk = peer == NULL ? NULL : peer_dialled_trunk(peer);
	uint8_t copy[SIGNATURE_SIZE], *room;
	size_t length;

	(void)arg;
	renew.signing = 0;
	if (signature == NULL || trunk == NULL || mesh.descriptor == NULL ||
	    renew.stream != NULL || mesh.stopping)
		return; /* the next try is due soon */
	memcpy(copy, signature, sizeof(copy));
	request.node = mesh.descriptor;
	request.nonce.data = renew.nonce;
	request.nonce.len = sizeof(renew.nonce);
	request.signature.data = copy;
	request.signature.len = sizeof(copy);
	renew.stream = rpc_call(
	    trunk->connection, JOIN_PATH, CALL_TIMEOUT, &callbacks, NULL);
	if (renew.stream == NULL)
		return;
	length = nodemesh__v1__join_request__get_packed_size(&request);
	if ((room = rpc_stream_reserve(renew.stream, length)) == NULL) {
		rpc_stream_cancel(renew.stream);
		return;
	}
	nodemesh__v1__join_request__pack(&request, room);
	rpc_stream_commit(renew.stream, length);
	rpc_stream_half_close(renew.stream);
}

static void
renew_ask(struct peer *peer)
{
	const uint8_t none[TICKET_SECRET_SIZE] = { 0 };
	uint8_t digest[KEY_SIZE];

	if (peer_dialled_trunk(peer) == NULL) {
		peer_want(peer, WANT_RENEW);
		return;
	}
	peer_unwant(peer, WANT_RENEW);
	memcpy(renew.server, peer->node_key, KEY_SIZE);
	randombytes_buf(renew.nonce, sizeof(renew.nonce));
	wire_join_digest(none, renew.nonce, renew.server, digest);
	renew.signing = 1;
	sign_statement(STATEMENT_JOIN, 0, digest, on_signed, NULL);
}

void
renew_tick(int64_t now)
{
	struct peer *peer;
	int64_t left, retry = renew.span / 60;

	if (renew.span == 0 || mesh.identity.authority || mesh.stopping ||
	    !mesh_is_member())
		return;
	left = mesh.identity.certificate.not_after - clock_wall();
	if (left < 0 && !renew.overdue) {
		log_error("membership_expired",
		    "hint=\"hermesctl join with a new ticket\"");
		renew.overdue = 1;
	}
	if (left < 0 || left > renew.span / 3 || now < renew.next_try ||
	    renew.signing || renew.stream != NULL)
		return;
	if (retry < RETRY_LEAST)
		retry = RETRY_LEAST;
	if (retry > RETRY_MOST)
		retry = RETRY_MOST;
	renew.next_try = now + retry;
	if ((peer = peer_authority(&renew.cursor)) == NULL)
		return;
	if (peer_dialled_trunk(peer) == NULL)
		renew.next_try = now + RETRY_LEAST;
	renew_ask(peer);
}
