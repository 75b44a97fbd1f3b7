/*
 * mesh, unprivileged; node bytes are hostile. Revocations: the authority's
 * word that a node is out, kept, passed on, and done. See revoke.h.
 */
#include <stdlib.h>
#include <string.h>

#include "common/rpc/rpc.h"
#include "common/sign/statement.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/gossip.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/revoke.h"
#include "mesh/wire.h"

/* A revocation as GossipMessage, all in one place. */
struct told {
	struct Nodemesh__V1__GossipMessage message;
	struct Nodemesh__V1__Revocation body;
	struct ipc_revocation copy;
};

static void
told_fill(struct told *told, const struct ipc_revocation *revocation)
{
	nodemesh__v1__gossip_message__init(&told->message);
	nodemesh__v1__revocation__init(&told->body);
	told->copy = *revocation;
	told->body.node_id = told->copy.node_id;
	told->body.identity_key.data = told->copy.node_key;
	told->body.identity_key.len = KEY_SIZE;
	told->body.serial = told->copy.serial;
	told->body.revoked_at_nanos = told->copy.revoked_at;
	told->body.signature.data = told->copy.signature;
	told->body.signature.len = SIGNATURE_SIZE;
	told->message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_REVOCATION;
	told->message.revocation = &told->body;
}

static void
send_revocation(struct peer *peer, const struct ipc_revocation *revocation)
{
	struct told told;

	told_fill(&told, revocation);
	gossip_say(peer, told.copy.node_key, &told.message, 1);
}

int
revoke_refuse(struct rpc_stream *stream, const uint8_t node_key[KEY_SIZE])
{
	const struct ipc_revocation *revocation = peer_revocation(node_key);
	struct told told;
	uint8_t *room;
	size_t length;

	if (revocation == NULL)
		return (0);
	told_fill(&told, revocation);
	length = nodemesh__v1__gossip_message__get_packed_size(&told.message);
	if ((room = rpc_stream_reserve(stream, length)) != NULL)
		rpc_stream_commit(stream,
		    nodemesh__v1__gossip_message__pack(&told.message, room));
	rpc_stream_finish(stream, RPC_PERMISSION_DENIED, "revoked");
	return (1);
}

static void
revoke(const struct ipc_revocation *revocation)
{
	if (peer_revoke(revocation) != 1)
		return;
	members_revoke(revocation->node_key);
	send_revocation(NULL, revocation);
	if (mesh_is_self(revocation->node_key))
		log_error("revoked",
		    "node=%s reason=\"this node is no member any more\" "
		    "hint=\"hermesctl(8), Leaving a mesh\"",
		    mesh.identity.node_id);
}

void
revoke_on_revocation(void *arg, const struct ipc_message *message)
{
	const struct ipc_revocation *revocation = message->payload;

	(void)arg;
	if (memchr(revocation->node_id, '\0', NODE_ID_SIZE) != NULL)
		revoke(revocation);
}

int
revoke_take(struct peer *from, const struct Nodemesh__V1__Revocation *body)
{
	struct ipc_revocation revocation = { 0 };
	uint8_t digest[KEY_SIZE];

	if (body->identity_key.len != KEY_SIZE ||
	    body->signature.len != SIGNATURE_SIZE ||
	    wire_text(revocation.node_id, sizeof(revocation.node_id),
		body->node_id) == -1) {
		metric_add(METRIC_MESH_REFUSED_FORM, 1);
		return (0);
	}
	memcpy(revocation.node_key, body->identity_key.data, KEY_SIZE);
	if (peer_is_revoked(revocation.node_key))
		return (0);
	revocation.serial = body->serial;
	revocation.revoked_at = body->revoked_at_nanos;
	memcpy(revocation.signature, body->signature.data, SIGNATURE_SIZE);
	wire_revocation_digest(revocation.revoked_at, digest);
	budget_spend(from, BUDGET_MESH, BUDGET_VERIFY);
	if (statement_verify(STATEMENT_REVOCATION, revocation.node_id,
		revocation.node_key, revocation.serial, digest,
		revocation.signature, mesh.identity.authority_key) == -1) {
		metric_add(METRIC_MESH_REFUSED_SIGNATURE, 1);
		budget_blame(from, 1);
		return (-1);
	}
	if (proc_ipc(PROCESS_KEYD) != NULL)
		ipc_send(
		    proc_ipc(PROCESS_KEYD), IPC_REVOKED, &revocation, NULL, 0);
	revoke(&revocation);
	return (0);
}

void
revoke_tell(struct peer *peer)
{
	const struct ipc_revocation *revocation;
	size_t cursor = 0;

	while ((revocation = peer_revocation_next(&cursor)) != NULL)
		send_revocation(peer, revocation);
}
