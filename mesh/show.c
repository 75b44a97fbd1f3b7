/* mesh, unprivileged. Rows for hermesctl and admin HTTP, and metrics. */
#include <string.h>

#include "common/proc/sources.h"
#include "common/util/buffer.h"
#include "common/util/clock.h"
#include "common/util/metrics.h"
#include "mesh/listener.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/show.h"
#include "mesh/tieline.h"

/* What operators call the state of this node, and of another. */
static enum node_state
state_of_self(void)
{
	if (peer_is_revoked(mesh.identity.node_key))
		return (NODE_REVOKED);
	if (mesh.identity.in_mesh &&
	    mesh.identity.certificate.not_after < clock_wall())
		return (NODE_EXPIRED);
	return (NODE_ALIVE);
}

static enum node_state
state_of_peer(const struct peer *peer)
{
	if (peer->state != NODE_LEFT && peer->state != NODE_REVOKED &&
	    peer->certificate.not_after < clock_wall())
		return (NODE_EXPIRED);
	return (peer->state);
}

static void
row_self(uint64_t id)
{
	struct ipc_row_node row = { 0 };

	row.id = id;
	memcpy(row.node_id, mesh.identity.node_id, sizeof(row.node_id));
	memcpy(row.node_key, mesh.identity.node_key, KEY_SIZE);
	(void)strlcpy(row.endpoint, mesh_endpoint(), sizeof(row.endpoint));
	row.state = (uint32_t)state_of_self();
	row.self = 1;
	row.connected = 1;
	if (mesh.descriptor != NULL)
		row.incarnation = mesh.descriptor->incarnation;
	row.not_after = mesh.identity.certificate.not_after;
	row.apps = presence_count(NULL);
	ipc_send(proc_ipc(PROCESS_CONTROL), IPC_ROW_NODE, &row, NULL, 0);
}

static void
row_peer(uint64_t id, const struct peer *peer)
{
	const struct swim_member *member = NULL;
	struct ipc_row_node row = { 0 };

	if (members_swim() != NULL)
		member = swim_find(members_swim(), peer->node_key);
	row.id = id;
	memcpy(row.node_id, peer->node_id, sizeof(row.node_id));
	memcpy(row.node_key, peer->node_key, KEY_SIZE);
	memcpy(row.endpoint, peer->endpoint, sizeof(row.endpoint));
	row.state = (uint32_t)state_of_peer(peer);
	row.not_after = peer->certificate.not_after;
	row.apps = presence_count(peer);
	row.connected = !TAILQ_EMPTY(&peer->trunks);
	row.held = peer->budget.held;
	row.bad = peer->budget.bad;
	row.last_seen = -1;
	if (member != NULL) {
		if (member->alive != NULL)
			row.incarnation = member->alive->incarnation;
		row.rtt = member->rtt;
		if (member->last_seen != 0)
			row.last_seen = clock_monotonic() - member->last_seen;
	}
	ipc_send(proc_ipc(PROCESS_CONTROL), IPC_ROW_NODE, &row, NULL, 0);
}

/* Revoked and forgotten but for that. */
static void
row_revoked(uint64_t id, const struct ipc_revocation *revocation)
{
	struct ipc_row_node row = { 0 };

	row.id = id;
	memcpy(row.node_id, revocation->node_id, sizeof(row.node_id));
	memcpy(row.node_key, revocation->node_key, KEY_SIZE);
	row.state = NODE_REVOKED;
	row.last_seen = -1;
	ipc_send(proc_ipc(PROCESS_CONTROL), IPC_ROW_NODE, &row, NULL, 0);
}

static uint64_t
show_nodes(uint64_t id)
{
	const struct ipc_revocation *revocation;
	const struct peer *peer;
	size_t cursor = 0;
	uint64_t count = 1;

	if (!mesh.identity.unlocked)
		return (0);
	row_self(id);
	while ((peer = peer_next(&cursor)) != NULL) {
		row_peer(id, peer);
		count++;
	}
	cursor = 0;
	while ((revocation = peer_revocation_next(&cursor)) != NULL)
		if (peer_find(revocation->node_key) == NULL &&
		    !mesh_is_self(revocation->node_key)) {
			row_revoked(id, revocation);
			count++;
		}
	return (count);
}

void
show_on_show(void *arg, const struct ipc_message *message)
{
	const struct ipc_show *show = message->payload;
	struct ipc_request end = { .id = show->id };

	(void)arg;
	switch ((enum show_what)show->what) {
	case SHOW_NODES:
		end.value = show_nodes(show->id);
		break;
	case SHOW_APPS:
		end.value = presence_show(show->id);
		break;
	case SHOW_TIELINES:
		end.value = tieline_show(show->id);
		break;
	case SHOW_PENALTIES:
		end.value = sources_show(show->id);
		break;
	default:
		break;
	}
	ipc_send(proc_ipc(PROCESS_CONTROL), IPC_SHOW_END, &end, NULL, 0);
}

/* The rows above, counted. */
static void
show_node_metrics(void)
{
	static const enum metric states[] = {
		[NODE_ALIVE] = METRIC_MESH_NODES_ALIVE,
		[NODE_SUSPECT] = METRIC_MESH_NODES_SUSPECT,
		[NODE_FAILED] = METRIC_MESH_NODES_FAILED,
		[NODE_LEFT] = METRIC_MESH_NODES_LEFT,
		[NODE_REVOKED] = METRIC_MESH_NODES_REVOKED,
		[NODE_EXPIRED] = METRIC_MESH_NODES_EXPIRED,
	};
	const struct ipc_revocation *revocation;
	const struct peer *peer;
	size_t cursor = 0, i;

	for (i = NODE_ALIVE; i < sizeof(states) / sizeof(states[0]); i++)
		metric_set(states[i], 0);
	metric_set(METRIC_MESH_CONNECTED, 0);
	if (!mesh.identity.unlocked)
		return;
	metric_add(states[state_of_self()], 1);
	while ((peer = peer_next(&cursor)) != NULL) {
		metric_add(states[state_of_peer(peer)], 1);
		metric_add(METRIC_MESH_CONNECTED, !TAILQ_EMPTY(&peer->trunks));
	}
	cursor = 0;
	while ((revocation = peer_revocation_next(&cursor)) != NULL)
		if (peer_find(revocation->node_key) == NULL &&
		    !mesh_is_self(revocation->node_key))
			metric_add(METRIC_MESH_NODES_REVOKED, 1);
}

void
show_on_metrics(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	struct ipc_request answer = { .id = request->id };
	struct rpc_counters counters;
	struct buffer packed;

	(void)arg;
	listener_counters(&counters);
	members_metrics();
	show_node_metrics();
	tieline_metrics();
	peer_metrics();
	metric_set(METRIC_CONNECTION_ERRORS_MESH_HANDSHAKE,
	    counters.handshake_failures);
	metric_set(
	    METRIC_CONNECTION_ERRORS_MESH_PROTOCOL, counters.protocol_errors);
	metric_set(METRIC_CONNECTION_ERRORS_MESH_ABUSE, counters.abuse);
	metric_set(METRIC_CONNECTION_ERRORS_MESH_REFUSED, counters.refused);
	sources_metrics(&counters);
	if (proc_ipc(PROCESS_KEYD) != NULL)
		metric_set(METRIC_QUEUE_DEPTH_MESH_KEYD,
		    ipc_queued(proc_ipc(PROCESS_KEYD)));
	if (proc_ipc(PROCESS_ROUTER) != NULL)
		metric_set(METRIC_QUEUE_DEPTH_MESH_ROUTER,
		    ipc_queued(proc_ipc(PROCESS_ROUTER)));
	buffer_init(&packed);
	if (metrics_pack(&packed) == 0)
		ipc_send(proc_ipc(PROCESS_CONTROL), IPC_METRICS, &answer,
		    buffer_bytes(&packed), buffer_length(&packed));
	buffer_free(&packed);
}
