/*
 * mesh, unprivileged; node bytes are hostile. Revocations: the authority's
 * word that a node is out, kept, passed on, and done. See revoke.h.
 */
#include <stdlib.h>
#include <string.h>

#include "common/sign/statement.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/gossip.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/revoke.h"
#include "mesh/wire.h"

static void
send_revocation(struct peer *peer, const struct ipc_revocation *revocation)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__Revocation body = NODEMESH__V1__REVOCATION__INIT;
	struct ipc_revocation copy = *revocation;

	body.node_id = copy.node_id;
	body.identity_key.data = copy.node_key;
	body.identity_key.len = KEY_SIZE;
	body.serial = copy.serial;
	body.revoked_at_nanos = copy.revoked_at;
	body.signature.data = copy.signature;
	body.signature.len = SIGNATURE_SIZE;
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_REVOCATION;
	message.revocation = &body;
	gossip_say(peer, copy.node_key, &message, 1);
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
		    "node=%s reason=\"this node is no member any more\"",
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
revoke_take(const struct Nodemesh__V1__Revocation *body)
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
	if (statement_verify(STATEMENT_REVOCATION, revocation.node_id,
		revocation.node_key, revocation.serial, digest,
		revocation.signature, mesh.identity.authority_key) == -1) {
		metric_add(METRIC_MESH_REFUSED_SIGNATURE, 1);
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
