/*
 * mesh, unprivileged; node bytes are hostile. The one call a stranger may
 * make: Join. The stranger has proven its node key by TLS and by signature;
 * whether the ticket's secret, or a peer line, is worth a certificate is keyd's
 * to say.
 */
#include <stdlib.h>
#include <string.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "common/util/table.h"
#include "mesh/join.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/unpack.h"
#include "mesh/wire.h"

#define JOINS_MAX      64                  /* waiting for keyd */
#define BUCKET         20                  /* joins at once */
#define BUCKET_REFILL  (CLOCK_SECOND / 10) /* and one in that time */
#define MEMBERSHIP_MAX 1024                /* told to a new node */

/* A Join that keyd is asked about. */
struct join_call {
	uint64_t id;
	struct rpc_stream *stream; /* NULL: it went away */
};

static struct table calls = { .key_size = 0 };
static uint64_t last_id;
static int64_t filled; /* monotonic */
static int64_t tokens = BUCKET;

static int
token_take(void)
{
	int64_t now = clock_monotonic(), fresh;

	if (filled == 0)
		filled = now;
	fresh = (now - filled) / BUCKET_REFILL;
	filled += fresh * BUCKET_REFILL;
	tokens = tokens + fresh > BUCKET ? BUCKET : tokens + fresh;
	if (tokens == 0)
		return (-1);
	tokens--;
	return (0);
}

enum rpc_status
join_opened(struct rpc_stream *stream, void *arg)
{
	struct trunk *trunk = rpc_connection_arg(rpc_stream_connection(stream));

	(void)arg;
	rpc_stream_set_arg(stream, NULL);
	if (mesh.stopping || proc_ipc(PROCESS_KEYD) == NULL)
		return (RPC_UNAVAILABLE);
	if (trunk == NULL || !trunk->known) {
		metric_add(METRIC_MESH_REFUSED_MEMBERSHIP, 1);
		return (RPC_PERMISSION_DENIED);
	}
	/* A member that renews does not compete with them. */
	if (trunk->peer == NULL && token_take() == -1) {
		metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
		return (RPC_RESOURCE_EXHAUSTED);
	}
	return (RPC_OK);
}

static void
refuse(struct rpc_stream *stream, enum rpc_status status, const char *why)
{
	metric_add(METRIC_MESH_JOIN_FAILURE, 1);
	log_info("join_refused", "address=\"%s\" why=\"%s\"",
	    rpc_connection_name(rpc_stream_connection(stream)), why);
	rpc_stream_finish(stream, status, why);
	if (status == RPC_UNAUTHENTICATED || status == RPC_PERMISSION_DENIED)
		rpc_connection_blame(rpc_stream_connection(stream));
}

/*
 * The request's descriptor and signature are the node's that TLS named.
 * Without a ticket it is a member that renews, or a node that a peer line
 * may name.
 */
static enum rpc_status
request_check(const struct Nodemesh__V1__JoinRequest *request,
    struct trunk *trunk, struct descriptor *read, int *renews)
{
	int bare = request->ticket_secret.len == 0;
	const uint8_t none[TICKET_SECRET_SIZE] = { 0 };
	struct ticket ticket;
	uint8_t digest[KEY_SIZE];

	if (request->node == NULL || request->nonce.len != KEY_SIZE ||
	    request->signature.len != SIGNATURE_SIZE ||
	    (request->ticket_secret.len != TICKET_SECRET_SIZE && !bare) ||
	    wire_descriptor_read(read, request->node) == -1)
		return (RPC_INVALID_ARGUMENT);
	if (request->ticket.len > 0 &&
	    (ticket_decode(
		 &ticket, request->ticket.data, request->ticket.len) == -1 ||
		memcmp(ticket.mesh_id, mesh.identity.mesh_id, KEY_SIZE) != 0))
		return (RPC_UNAUTHENTICATED);
	*renews = bare && trunk_admit(trunk) == 0;
	if (memcmp(read->node_key, trunk->binding.node_key, KEY_SIZE) != 0 ||
	    (!*renews && memcmp(read->tls_spki, trunk->spki, KEY_SIZE) != 0) ||
	    strcmp(read->node_id, trunk->binding.node_id) != 0)
		return (RPC_PERMISSION_DENIED);
	if (peer_is_revoked(read->node_key))
		return (RPC_PERMISSION_DENIED);
	wire_join_digest(bare ? none : request->ticket_secret.data,
	    request->nonce.data, mesh.identity.node_key, digest);
	if (wire_descriptor_verify(read, request->node,
		*renews ? mesh.identity.authority_key : NULL,
		clock_wall()) == -1 ||
	    statement_verify(STATEMENT_JOIN, read->node_id, read->node_key, 0,
		digest, request->signature.data, read->node_key) == -1)
		return (RPC_UNAUTHENTICATED);
	return (RPC_OK);
}

/* Only the authority certifies: answer with its descriptor, no certificate,
 * and the node goes on there. */
static void
refer(struct rpc_stream *stream)
{
	struct Nodemesh__V1__JoinResponse response =
	    NODEMESH__V1__JOIN_RESPONSE__INIT;
	struct Nodemesh__V1__NodeDescriptor *node = NULL;
	const struct swim_member *member = NULL;
	static size_t cursor;
	const struct peer *peer = peer_authority(&cursor);
	uint8_t *room = NULL;
	size_t length = 0;

	if (peer != NULL)
		member = swim_find(members_swim(), peer->node_key);
	if (member != NULL && member->alive != NULL)
		node = nodemesh__v1__node_descriptor__unpack(
		    NULL, member->alive->length, member->alive->bytes);
	if (node != NULL) {
		/* It may know us, and not the one that it is sent to. */
		response.self = mesh.descriptor;
		response.authority_key.data = mesh.identity.authority_key;
		response.authority_key.len = KEY_SIZE;
		response.membership = &node;
		response.n_membership = 1;
		length =
		    nodemesh__v1__join_response__get_packed_size(&response);
		room = rpc_stream_reserve(stream, length);
	}
	if (room == NULL)
		refuse(stream, RPC_FAILED_PRECONDITION,
		    "this node does not hold the mesh key");
	else {
		nodemesh__v1__join_response__pack(&response, room);
		rpc_stream_commit(stream, length);
		rpc_stream_finish(stream, RPC_OK, NULL);
		log_info("join_referred", "to=%s", peer->node_id);
	}
	if (node != NULL)
		nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
}

static void
send_question(uint64_t id, const struct descriptor *read,
    const struct Nodemesh__V1__JoinRequest *request, int renews)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);
	struct ipc_redeem redeem = { .id = id };
	struct ipc_renew renew = { .id = id };
	struct ipc_admit admit = { .id = id };

	if (renews) {
		renew.certificate = read->certificate;
		ipc_send(keyd, IPC_RENEW, &renew, NULL, 0);
	} else if (request->ticket_secret.len == 0) {
		memcpy(admit.node_id, read->node_id, NODE_ID_SIZE);
		memcpy(admit.node_key, read->node_key, KEY_SIZE);
		ipc_send(keyd, IPC_ADMIT, &admit, NULL, 0);
	} else {
		memcpy(redeem.secret, request->ticket_secret.data,
		    TICKET_SECRET_SIZE);
		memcpy(redeem.node_id, read->node_id, NODE_ID_SIZE);
		memcpy(redeem.node_key, read->node_key, KEY_SIZE);
		ipc_send(keyd, IPC_REDEEM, &redeem, NULL, 0);
	}
}

static int
ask_keyd(struct rpc_stream *stream, const struct descriptor *read,
    const struct Nodemesh__V1__JoinRequest *request, int renews)
{
	struct join_call *call;

	if (calls.key_size == 0)
		table_init(&calls, sizeof(uint64_t));
	if (calls.count >= JOINS_MAX ||
	    (call = calloc(1, sizeof(*call))) == NULL)
		return (-1);
	call->id = ++last_id;
	call->stream = stream;
	if (table_put(&calls, &call->id, call) == -1) {
		free(call);
		return (-1);
	}
	rpc_stream_set_arg(stream, call);
	send_question(call->id, read, request, renews);
	return (0);
}

static void
on_message(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	struct trunk *trunk = rpc_connection_arg(rpc_stream_connection(stream));
	struct Nodemesh__V1__JoinRequest *request;
	struct descriptor read;
	enum rpc_status status = RPC_INVALID_ARGUMENT;
	int renews = 0;

	(void)arg;
	rpc_stream_consume(stream, length);
	/* A stranger pays with its source. */
	budget_spend(trunk->peer, BUDGET_MESH, 3 * BUDGET_VERIFY);
	if (!rpc_connection_may_verify(rpc_stream_connection(stream))) {
		refuse(stream, RPC_RESOURCE_EXHAUSTED, "too many joins");
		return;
	}
	request = unpack_bounded(
	    &nodemesh__v1__join_request__descriptor, bytes, length);
	if (request != NULL)
		status = request_check(request, trunk, &read, &renews);
	if (status != RPC_OK)
		refuse(stream, status, "join request does not hold");
	else if (!mesh_is_member())
		refuse(
		    stream, RPC_FAILED_PRECONDITION, "this node is in no mesh");
	else if (!mesh.identity.authority)
		refer(stream);
	else if (ask_keyd(stream, &read, request, renews) == -1)
		refuse(stream, RPC_RESOURCE_EXHAUSTED, "too many joins");
	else
		budget_spend(trunk->peer, BUDGET_MESH, BUDGET_JOIN);
	if (request != NULL)
		nodemesh__v1__join_request__free_unpacked(request, NULL);
}

static void
on_closed(struct rpc_stream *stream, enum rpc_status status, const char *text,
    void *arg)
{
	struct join_call *call = arg;

	(void)stream;
	(void)status;
	(void)text;
	if (call != NULL)
		call->stream = NULL;
}

const struct rpc_stream_callbacks join_server_callbacks = {
	.message = on_message, .closed = on_closed
};

/* Descriptors of the members, as they signed them. */
static size_t
membership_fill(struct Nodemesh__V1__NodeDescriptor **list, size_t max)
{
	struct swim_member *member;
	size_t cursor = 0, count = 0;

	while (count < max &&
	       (member = swim_walk(members_swim(), &cursor)) != NULL) {
		if (member->alive == NULL || (member->state != NODE_ALIVE &&
						 member->state != NODE_SUSPECT))
			continue;
		list[count] = nodemesh__v1__node_descriptor__unpack(
		    NULL, member->alive->length, member->alive->bytes);
		if (list[count] != NULL)
			count++;
	}
	return (count);
}

static void
welcome(struct rpc_stream *stream, const struct ipc_redeemed *redeemed)
{
	struct Nodemesh__V1__JoinResponse response =
	    NODEMESH__V1__JOIN_RESPONSE__INIT;
	struct Nodemesh__V1__NodeDescriptor *list[MEMBERSHIP_MAX];
	uint8_t certificate[CERTIFICATE_ENCODED], *room;
	struct ipc_identity me = mesh.identity;
	size_t i, length;

	certificate_encode(&redeemed->certificate, certificate);
	response.self = mesh.descriptor;
	response.certificate.data = certificate;
	response.certificate.len = sizeof(certificate);
	response.authority_key.data = me.authority_key;
	response.authority_key.len = KEY_SIZE;
	response.membership = list;
	response.n_membership = membership_fill(list, MEMBERSHIP_MAX);
	response.n_apps = presence_registrations(&response.apps);
	length = nodemesh__v1__join_response__get_packed_size(&response);
	if ((room = rpc_stream_reserve(stream, length)) != NULL) {
		nodemesh__v1__join_response__pack(&response, room);
		rpc_stream_commit(stream, length);
		rpc_stream_finish(stream, RPC_OK, NULL);
		metric_add(METRIC_MESH_JOIN_SUCCESS, 1);
		log_info(
		    "join_granted", "node=%s", redeemed->certificate.node_id);
	} else
		refuse(stream, RPC_RESOURCE_EXHAUSTED, "out of memory");
	for (i = 0; i < response.n_membership; i++)
		nodemesh__v1__node_descriptor__free_unpacked(list[i], NULL);
	presence_registrations_free(response.apps, response.n_apps);
}

void
join_on_redeemed(void *arg, const struct ipc_message *message)
{
	const struct ipc_redeemed *redeemed = message->payload;
	struct join_call *call;
	struct rpc_stream *stream;

	(void)arg;
	if (calls.key_size == 0 ||
	    (call = table_remove(&calls, &redeemed->id)) == NULL)
		return;
	stream = call->stream;
	free(call);
	if (stream == NULL)
		return; /* certified all the same; it asks again */
	rpc_stream_set_arg(stream, NULL);
	switch ((enum redeem_result)redeemed->result) {
	case REDEEM_OK:
		welcome(stream, redeemed);
		return;
	case REDEEM_NAME_TAKEN:
		refuse(stream, RPC_ALREADY_EXISTS, "node_id is taken");
		return;
	case REDEEM_NOT_AUTHORITY:
		refuse(stream, RPC_FAILED_PRECONDITION,
		    "this node does not hold the mesh key");
		return;
	case REDEEM_REVOKED:
		refuse(stream, RPC_PERMISSION_DENIED, "node is revoked");
		return;
	case REDEEM_UNKNOWN:
		break;
	}
	refuse(stream, RPC_UNAUTHENTICATED,
	    "ticket unknown, used up or expired; or no peer line");
}
