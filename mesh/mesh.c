/*
 * mesh, unprivileged: no file, no key, the sockets it was given and those it
 * dials. Membership, directory and tielines to other nodes. What other nodes
 * send is hostile until its signature is checked; keyd says who this node
 * is and signs for it; router and control ask.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/proc/event.h"
#include "common/rpc/rpc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/gossip.h"
#include "mesh/join.h"
#include "mesh/listener.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/names.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/query.h"
#include "mesh/renew.h"
#include "mesh/revoke.h"
#include "mesh/route.h"
#include "mesh/show.h"
#include "mesh/tieline.h"
#include "mesh/trunk.h"
#include "mesh/wire.h"

#define TICK           (50 * CLOCK_MS)
#define LEAVE_MAX      (3 * CLOCK_SECOND)
#define CLOSE_FOR      (200 * CLOCK_MS)
#define DESCRIBE_TRIES 20
#define DESCRIBE_AGAIN (5 * CLOCK_SECOND) /* after so many in vain */

struct mesh mesh;

static struct event *ticker;

/* The descriptor on its way through keyd. */
static struct {
	struct Nodemesh__V1__NodeDescriptor *node; /* being signed */
	uint64_t next;                             /* wanted after it */
	int refused;
	int64_t again; /* monotonic; 0: not due */
} describe;

static struct {
	int64_t leave_until; /* monotonic */
	int64_t close_until;
} ending;

static int congested;

int
mesh_is_member(void)
{
	return (mesh.identity.unlocked && mesh.identity.in_mesh &&
		members_swim() != NULL &&
		!peer_is_revoked(mesh.identity.node_key));
}

int
mesh_is_self(const uint8_t key[KEY_SIZE])
{
	return (mesh.identity.unlocked &&
		memcmp(key, mesh.identity.node_key, KEY_SIZE) == 0);
}

const char *
mesh_endpoint(void)
{
	const char *advertised = proc_config()->advertise_mesh;

	return (advertised[0] != '\0' ? advertised : listener_endpoint());
}

void
mesh_mind_keyd(void)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);

	if (congested || keyd == NULL || !ipc_congested(keyd))
		return;
	congested = 1;
	listener_pause(1);
	trunk_pause_all(1);
}

static void
on_uncongested(enum process peer)
{
	if (peer != PROCESS_KEYD || !congested)
		return;
	congested = 0;
	listener_pause(0);
	trunk_pause_all(0);
}

/* --- the own descriptor -------------------------------------------------- */

static void
described(struct Nodemesh__V1__NodeDescriptor *node)
{
	int first = members_swim() == NULL;

	if (mesh.descriptor != NULL)
		nodemesh__v1__node_descriptor__free_unpacked(
		    mesh.descriptor, NULL);
	mesh.descriptor = node;
	join_described();
	if (!mesh.identity.in_mesh)
		return;
	if (members_own(node) == -1) {
		log_error("descriptor", "error=\"not taken\"");
		return;
	}
	if (first) {
		listener_health(1);
		presence_announce();
		peer_start_all();
	}
	join_identity();
}

static void
on_described(const uint8_t *signature, void *arg)
{
	struct Nodemesh__V1__NodeDescriptor *node = describe.node;
	uint64_t next;

	(void)arg;
	describe.node = NULL;
	if (signature == NULL) {
		/* keyd has signed a higher incarnation before: go higher;
		 * or it cannot sign now. */
		next = node->incarnation + (UINT64_C(1) << describe.refused);
		nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
		if (describe.refused++ < DESCRIBE_TRIES) {
			mesh_describe(next);
			return;
		}
		describe.refused = 0;
		describe.again = clock_monotonic() + DESCRIBE_AGAIN;
		return;
	}
	describe.refused = 0;
	memcpy(node->signature.data, signature, SIGNATURE_SIZE);
	next = describe.next;
	describe.next = 0;
	described(node);
	if (next > mesh.descriptor->incarnation)
		mesh_describe(next);
}

void
mesh_describe(uint64_t incarnation)
{
	uint8_t digest[KEY_SIZE];

	if (incarnation == 0)
		incarnation = 1;
	if (describe.node != NULL) {
		if (incarnation > describe.next)
			describe.next = incarnation;
		return;
	}
	describe.node = wire_descriptor_own(&mesh.identity, incarnation,
	    mesh_endpoint(), proc_config()->advertise_app);
	if (describe.node == NULL) {
		log_error("descriptor", "endpoint=\"%s\" error=\"not made\"",
		    mesh_endpoint());
		return;
	}
	wire_descriptor_digest(describe.node, digest);
	sign_statement(
	    STATEMENT_DESCRIPTOR, incarnation, digest, on_described, NULL);
}

/* Something in the descriptor is another: say so, under the next number. */
static void
describe_again(void)
{
	uint64_t incarnation = mesh.identity.incarnation;

	if (!mesh.identity.unlocked || !mesh.going)
		return;
	if (describe.node != NULL && describe.node->incarnation >= incarnation)
		incarnation = describe.node->incarnation + 1;
	if (mesh.descriptor != NULL &&
	    mesh.descriptor->incarnation >= incarnation)
		incarnation = mesh.descriptor->incarnation + 1;
	mesh_describe(incarnation);
}

/* --- keyd ---------------------------------------------------------------- */

static void
on_identity(void *arg, const struct ipc_message *message)
{
	struct ipc_identity before = mesh.identity;

	(void)arg;
	memcpy(&mesh.identity, message->payload, sizeof(mesh.identity));
	mesh.identity.node_id[NODE_ID_SIZE - 1] = '\0';
	metric_set(METRIC_CERTIFICATE_EXPIRY_MEMBERSHIP,
	    mesh.identity.in_mesh && mesh.identity.certificate.not_after > 0
		? (uint64_t)(mesh.identity.certificate.not_after / CLOCK_SECOND)
		: 0);
	if (!mesh.identity.unlocked)
		return;
	listener_start();
	renew_identity();
	if (!before.unlocked) {
		route_tell_router();
		presence_identity();
	}
	if (!before.unlocked ||
	    memcmp(&before, &mesh.identity, sizeof(before)) != 0)
		describe_again();
}

static void
on_tls_certificate(void *arg, const struct ipc_message *message)
{
	const struct ipc_tls_certificate *certificate = message->payload;
	char *pem;

	(void)arg;
	if (certificate->role != TLS_MESH)
		return;
	if ((pem = malloc(message->tail_length + 1)) == NULL)
		return;
	memcpy(pem, message->tail, message->tail_length);
	pem[message->tail_length] = '\0';
	metric_set(METRIC_CERTIFICATE_EXPIRY_MESH,
	    (uint64_t)rpc_certificate_end(pem, message->tail_length));
	free(mesh.pem);
	mesh.pem = pem;
	mesh.pem_length = message->tail_length;
	listener_renew_tls();
	listener_start();
}

/* --- the frame's hooks --------------------------------------------------- */

static void
close_step(int64_t now)
{
	if (mesh.stopping == 1 &&
	    (members_left() || now >= ending.leave_until)) {
		mesh.stopping = 2;
		ending.close_until = now + CLOSE_FOR;
		route_close_all();
		gossip_close_all();
	} else if (mesh.stopping == 2 && now >= ending.close_until) {
		listener_stop();
		proc_done();
	}
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	int64_t now = clock_monotonic();

	(void)fd;
	(void)what;
	(void)arg;
	peer_tick(now);
	tieline_tick(now);
	presence_tick(now);
	renew_tick(now);
	join_tick(now);
	if (describe.again != 0 && now >= describe.again) {
		describe.again = 0;
		describe_again();
	}
	if (mesh.stopping)
		close_step(now);
}

static void
on_configured(const struct config *config, int reload)
{
	const struct timeval every = { TICK / CLOCK_SECOND,
		TICK % CLOCK_SECOND / 1000 };

	(void)config;
	if (reload) {
		peer_configured();
		members_configured();
		listener_configured();
		trunk_configured();
		join_configured();
		describe_again();
		return;
	}
	ticker = event_new(proc_base(), -1, EV_PERSIST, on_tick, NULL);
	if (ticker == NULL || event_add(ticker, &every) == -1)
		fatal("event", "error=memory");
}

static void
on_listener(enum listener_kind kind, uint32_t index, int fd)
{
	(void)kind;
	(void)index;
	listener_add(fd);
}

static void
on_door_up(enum process peer, struct ipc *ipc)
{
	(void)ipc;
	if (peer != PROCESS_ROUTER)
		return;
	peer_tell_router();
	route_tell_router();
}

static void
on_door_down(enum process peer)
{
	if (peer == PROCESS_ROUTER)
		presence_router_gone();
}

static void
on_go(void)
{
	mesh.going = 1;
	listener_start();
	route_tell_router();
	if (mesh.identity.unlocked)
		describe_again();
}

static void
on_shutdown(int64_t grace)
{
	if (mesh.stopping)
		return;
	mesh.stopping = 1;
	ending.leave_until =
	    clock_monotonic() + (grace / 2 < LEAVE_MAX ? grace / 2 : LEAVE_MAX);
	listener_health(0);
	members_leave();
}

static const ipc_handler handlers[IPC_TYPE_COUNT] = { [IPC_IDENTITY] =
							  on_identity,
	[IPC_TLS_CERTIFICATE] = on_tls_certificate,
	[IPC_SIGNED_DIGEST] = sign_on_late_digest,
	[IPC_STATEMENT_SIGNED] = sign_on_signed,
	[IPC_REDEEMED] = join_on_redeemed,
	[IPC_PEER] = peer_on_peer,
	[IPC_REVOCATION] = revoke_on_revocation,
	[IPC_APP_UP] = presence_on_app_up,
	[IPC_APP_DOWN] = presence_on_app_down,
	[IPC_FIND] = query_on_find,
	[IPC_WATCH] = query_on_watch,
	[IPC_UNWATCH] = query_on_unwatch,
	[IPC_RELAY_ACK] = tieline_on_relay_ack,
	[IPC_CREDIT] = tieline_on_credit,
	[IPC_SETUP_OUT] = tieline_on_setup_out,
	[IPC_SETUP_REFUSED] = tieline_on_setup_refused,
	[IPC_TEARDOWN_OUT] = tieline_on_teardown_out,
	[IPC_SEALED] = tieline_on_sealed,
	[IPC_SHOW] = show_on_show,
	[IPC_METRICS_GET] = show_on_metrics,
	[IPC_EVENTS_WANTED] = proc_events_wanted,
	[IPC_JOIN] = join_on_join,
	[IPC_NAMES_FILE] = names_on_file };

static const struct proc_hooks hooks = { .handlers = handlers,
	.prepare = names_setup,
	.uncongested = on_uncongested,
	.configured = on_configured,
	.listener = on_listener,
	.listeners_close = listener_close,
	.door_up = on_door_up,
	.door_down = on_door_down,
	.go = on_go,
	.shutdown = on_shutdown };

int
mesh_main(void)
{
	if (sodium_init() == -1)
		return (1);
	rpc_tls_set_signer(sign_tls_digest, NULL);
	return (proc_run(PROCESS_MESH, &hooks));
}
