/*
 * mesh, unprivileged; node bytes are hostile. Joining a mesh: with a ticket,
 * its endpoints in turn, each one's node key checked by TLS before the
 * ticket's secret is shown; or through the peers of the configuration, whose
 * keys the operator wrote there and who say which mesh it is. Then the
 * certificate goes to keyd. See join.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/backoff.h"
#include "mesh/join.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/trunk.h"
#include "mesh/unpack.h"
#include "mesh/wire.h"

#define JOIN_PATH     "/nodemesh.v1.NodeMesh/Join"
#define REFERRALS_MAX 4
#define CALL_TIMEOUT  (10 * CLOCK_SECOND)
#define KEYD_TIMEOUT  10 /* s, for the new identity */
#define RETRY_FIRST   CLOCK_SECOND
#define RETRY_MOST    (60 * CLOCK_SECOND)

/* At most one at a time. */
static struct join {
	int busy;
	int held;    /* until the own descriptor is signed */
	int listed;  /* through peer lines, without a ticket */
	uint64_t id; /* control's */
	struct ticket ticket;
	int authority_known;             /* in ticket.authority */
	uint32_t next;                   /* endpoint to try */
	struct ticket_endpoint at;       /* the one tried */
	struct ticket_endpoint referral; /* try this first, if set */
	unsigned referrals;
	struct trunk *trunk;
	struct rpc_stream *stream;
	uint8_t nonce[KEY_SIZE];
	int answered;                   /* the call brought a response */
	int waiting;                    /* for keyd's IDENTITY */
	struct certificate certificate; /* that it should bring */
	struct event *timer;
	struct Nodemesh__V1__JoinResponse *response;
	char error[192]; /* of the last endpoint */
} join;

/* When to go through the peer lines again. */
static struct {
	int64_t next_try; /* monotonic */
	int64_t backoff;
} lines;

static const uint8_t no_secret[TICKET_SECRET_SIZE];

static void join_try(void);

/*
 * The secret of a ticket is for the authority alone, which the ticket names
 * first, and signed. Others are asked where that is; what they say of who holds
 * the mesh key they need not be right about.
 */
static int
join_is_authority(const uint8_t node_key[KEY_SIZE])
{
	return (
	    !join.listed &&
	    memcmp(node_key, join.ticket.endpoints[0].node_key, KEY_SIZE) == 0);
}

static void
answer(uint64_t id, int ok, const char *text)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);
	struct ipc_result result = { 0 };

	if (control == NULL)
		return;
	result.id = id;
	result.ok = (uint64_t)ok;
	ipc_send(control, IPC_RESULT, &result, text, strlen(text));
}

static void
join_end(int ok, const char *text)
{
	metric_add(ok ? METRIC_MESH_JOIN_SUCCESS : METRIC_MESH_JOIN_FAILURE, 1);
	log_info("join", "ok=%d peers=%d why=\"%s\"", ok, join.listed, text);
	if (!join.listed)
		answer(join.id, ok, text);
	if (join.response != NULL)
		nodemesh__v1__join_response__free_unpacked(join.response, NULL);
	if (join.timer != NULL)
		event_free(join.timer);
	if (join.trunk != NULL) {
		join.trunk->arg = NULL;
		trunk_close(join.trunk);
	}
	sodium_memzero(&join, sizeof(join));
}

/* This endpoint did not do it; why is kept for the operator. */
static void
join_failed(const char *why)
{
	const char *endpoint = join.at.endpoint;
	char text[LOG_TEXT_SIZE];

	(void)snprintf(join.error, sizeof(join.error), "%s: %s",
	    log_text(text, endpoint, strlen(endpoint)), why);
	join_try();
}

/* --- the answer ---------------------------------------------------------- */

/*
 * A node that a peer line names says which authority its mesh has: the one
 * that signed the membership in the descriptor that it signed. keyd believes
 * no less. Who is in a mesh already stays with its own. 0 or -1.
 */
static int
learn_authority(const struct Nodemesh__V1__JoinResponse *response)
{
	const uint8_t *key = response->authority_key.data;
	struct ipc_voucher voucher = { .incarnation = 0 };
	uint8_t body[VOUCHER_BODY_MAX];
	struct descriptor read;
	size_t length;

	if (join.authority_known)
		return (0);
	if (response->authority_key.len != KEY_SIZE ||
	    (mesh.identity.in_mesh &&
		memcmp(key, mesh.identity.authority_key, KEY_SIZE) != 0) ||
	    response->self == NULL ||
	    wire_descriptor_read(&read, response->self) == -1 ||
	    memcmp(read.node_key, join.at.node_key, KEY_SIZE) != 0 ||
	    wire_descriptor_verify(&read, response->self, key, clock_wall()) ==
		-1 ||
	    (length = wire_descriptor_body(response->self, body)) == 0)
		return (-1);
	memcpy(voucher.node_id, read.node_id, NODE_ID_SIZE);
	memcpy(voucher.node_key, read.node_key, KEY_SIZE);
	voucher.incarnation = read.incarnation;
	memcpy(voucher.signature, read.signature, SIGNATURE_SIZE);
	memcpy(voucher.authority_key, key, KEY_SIZE);
	ipc_send(proc_ipc(PROCESS_KEYD), IPC_VOUCHER, &voucher, body, length);
	memcpy(join.ticket.authority, key, KEY_SIZE);
	join.authority_known = 1;
	return (0);
}

static int
response_check(const struct Nodemesh__V1__JoinResponse *response,
    struct ipc_membership *membership)
{
	const struct certificate *certificate = &membership->certificate;

	if (response->authority_key.len != KEY_SIZE ||
	    certificate_decode(&membership->certificate,
		response->certificate.data, response->certificate.len) == -1)
		return (-1);
	memcpy(
	    membership->authority_key, response->authority_key.data, KEY_SIZE);
	if (memcmp(membership->authority_key, join.ticket.authority,
		KEY_SIZE) != 0 ||
	    strcmp(certificate->node_id, mesh.identity.node_id) != 0 ||
	    memcmp(certificate->node_key, mesh.identity.node_key, KEY_SIZE) !=
		0)
		return (-1);
	return (certificate_verify(
	    certificate, membership->authority_key, clock_wall()));
}

/* A member that is not the authority names the one that is. */
static int
join_referred(const struct Nodemesh__V1__JoinResponse *response)
{
	struct descriptor read;

	if (response->certificate.len != 0 || response->n_membership != 1)
		return (0);
	if (join.referrals < REFERRALS_MAX &&
	    wire_descriptor_read(&read, response->membership[0]) == 0 &&
	    (join.listed || join_is_authority(read.node_key)) &&
	    wire_descriptor_verify(&read, response->membership[0],
		join.ticket.authority, clock_wall()) == 0) {
		join.referrals++;
		memcpy(join.referral.node_key, read.node_key, KEY_SIZE);
		memcpy(join.referral.endpoint, read.endpoint, ENDPOINT_SIZE);
	}
	return (1);
}

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	join_end(0, "the key store did not take the certificate");
}

static void
on_response(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	const struct timeval wait = { KEYD_TIMEOUT, 0 };
	struct ipc_membership membership = { 0 };

	(void)arg;
	rpc_stream_consume(stream, length);
	if (join.response != NULL)
		return;
	join.response = unpack_bounded(
	    &nodemesh__v1__join_response__descriptor, bytes, length);
	if (join.response == NULL || learn_authority(join.response) == -1 ||
	    join_referred(join.response) ||
	    response_check(join.response, &membership) == -1)
		return; /* said when the call is closed */
	join.answered = 1;
	join.certificate = membership.certificate;
	join.waiting = 1;
	join.timer = evtimer_new(proc_base(), on_timeout, NULL);
	if (join.timer != NULL)
		(void)evtimer_add(join.timer, &wait);
	ipc_send(proc_ipc(PROCESS_KEYD), IPC_MEMBERSHIP, &membership, NULL, 0);
}

/* Another node's words, for the operator to read. */
static const char *
reason_text(char clean[LOG_TEXT_SIZE], const char *text)
{
	char *c;

	(void)strlcpy(clean, text, LOG_TEXT_SIZE);
	for (c = clean; *c != '\0'; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			*c = '?';
	return (clean);
}

static void
on_call_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *text, void *arg)
{
	char clean[LOG_TEXT_SIZE], why[LOG_TEXT_SIZE + 32];
	int believed;

	(void)arg;
	if (!join.busy || join.stream != stream)
		return;
	join.stream = NULL;
	if (join.answered)
		return;
	if (text == NULL)
		text = "";
	believed = join.listed || join_is_authority(join.at.node_key);
	switch (status) {
	case RPC_OK:
		(void)strlcpy(why,
		    join.referral.endpoint[0] != '\0'
			? "it is not the authority"
			: "its answer does not hold",
		    sizeof(why));
		break;
	case RPC_UNAUTHENTICATED:
		if (join.listed || !believed) {
			(void)strlcpy(why,
			    believed ? "the authority has no peer line of this "
				       "node"
				     : "it is not the authority",
			    sizeof(why));
			break;
		}
		join_end(0, "the ticket is unknown, used up or expired: have "
			    "another made");
		return;
	case RPC_ALREADY_EXISTS:
		if (believed) {
			join_end(0, "another node of the mesh has this node's "
				    "name: hermesd.conf wants another one");
			return;
		}
		/* FALLTHROUGH */
	default:
		(void)snprintf(why, sizeof(why), "refused (%d) %s", (int)status,
		    reason_text(clean, text));
		break;
	}
	if (join.trunk != NULL) {
		join.trunk->arg = NULL;
		trunk_close(join.trunk);
		join.trunk = NULL;
	}
	if (join.response != NULL)
		nodemesh__v1__join_response__free_unpacked(join.response, NULL);
	join.response = NULL;
	join_failed(why);
}

static const struct rpc_stream_callbacks call_callbacks = {
	.message = on_response, .closed = on_call_closed
};

/* --- the question -------------------------------------------------------- */

static void
on_signed(const uint8_t *signature, void *arg)
{
	struct Nodemesh__V1__JoinRequest request =
	    NODEMESH__V1__JOIN_REQUEST__INIT;
	uint8_t copy[SIGNATURE_SIZE], ticket[TICKET_ENCODED_MAX] = { 0 };
	uint8_t *room;
	size_t length;

	if (!join.busy || join.trunk == NULL || join.trunk != arg)
		return;
	if (signature == NULL || mesh.descriptor == NULL) {
		join_end(0, "the key store refused to sign");
		return;
	}
	memcpy(copy, signature, sizeof(copy));
	request.node = mesh.descriptor;
	request.nonce.data = join.nonce;
	request.nonce.len = sizeof(join.nonce);
	request.signature.data = copy;
	request.signature.len = sizeof(copy);
	if (join_is_authority(join.at.node_key)) {
		request.ticket_secret.data = join.ticket.secret;
		request.ticket_secret.len = TICKET_SECRET_SIZE;
		request.ticket.len = ticket_encode(&join.ticket, ticket);
		request.ticket.data = ticket;
	}
	join.stream = rpc_call(join.trunk->connection, JOIN_PATH, CALL_TIMEOUT,
	    &call_callbacks, NULL);
	length = nodemesh__v1__join_request__get_packed_size(&request);
	if (join.stream != NULL &&
	    (room = rpc_stream_reserve(join.stream, length)) != NULL) {
		nodemesh__v1__join_request__pack(&request, room);
		rpc_stream_commit(join.stream, length);
		rpc_stream_half_close(join.stream);
	} else
		trunk_close(join.trunk);
	sodium_memzero(ticket, sizeof(ticket));
}

/* Connected, and its node key is the one asked for. */
static void
on_up(struct trunk *trunk)
{
	uint8_t digest[KEY_SIZE];

	if (trunk->arg == NULL)
		return;
	if (!trunk->binding.has_certificate ||
	    (join.authority_known &&
		certificate_verify(&trunk->binding.certificate,
		    join.ticket.authority, clock_wall()) == -1)) {
		trunk->arg = NULL;
		trunk_close(trunk);
		join.trunk = NULL;
		join_failed(join.listed ? "it is in no mesh, or in another"
					: "it is not a member of the ticket's "
					  "mesh");
		return;
	}
	randombytes_buf(join.nonce, sizeof(join.nonce));
	wire_join_digest(join_is_authority(join.at.node_key)
			     ? join.ticket.secret
			     : no_secret,
	    join.nonce, trunk->binding.node_key, digest);
	sign_statement(STATEMENT_JOIN, 0, digest, on_signed, trunk);
}

static void
on_down(struct trunk *trunk, const char *why)
{
	if (trunk->arg == NULL || join.trunk != trunk)
		return; /* given up before */
	join.trunk = NULL;
	if (!join.answered)
		join_failed(why);
}

static const struct trunk_owner join_owner = { .up = on_up, .down = on_down };

/* The next one to ask, into join.at. 0, or -1: there is none. */
static int
join_next(void)
{
	const struct config *config = proc_config();

	if (join.referral.endpoint[0] != '\0') {
		join.at = join.referral;
		memset(&join.referral, 0, sizeof(join.referral));
		return (0);
	}
	if (!join.listed && join.next < join.ticket.endpoint_count) {
		join.at = join.ticket.endpoints[join.next++];
		return (0);
	}
	if (!join.listed || join.next >= config->peer_count)
		return (-1);
	memcpy(join.at.node_key, config->peers[join.next].node_key, KEY_SIZE);
	memcpy(
	    join.at.endpoint, config->peers[join.next].endpoint, ENDPOINT_SIZE);
	join.next++;
	/* Another line may lead to another mesh: its own word counts. */
	join.authority_known = 0;
	return (0);
}

static void
join_try(void)
{
	while (join_next() == 0) {
		if (mesh_is_self(join.at.node_key))
			continue;
		join.trunk = trunk_dial(
		    join.at.endpoint, join.at.node_key, &join_owner, &join);
		if (join.trunk != NULL)
			return;
	}
	join_end(0, join.error[0] != '\0'
			? join.error
			: "there is no node that can be dialled");
}

/* With a ticket of its own mesh, a member whose certificate runs out gets a
 * new one. */
static int
may_renew(const struct ticket *ticket)
{
	return (memcmp(ticket->mesh_id, mesh.identity.mesh_id, KEY_SIZE) == 0 &&
		mesh.identity.certificate.not_after - clock_wall() <
		    proc_config()->membership_lifetime / 3);
}

void
join_on_join(void *arg, const struct ipc_message *message)
{
	const struct ipc_ticket *order = message->payload;
	const char *no = NULL;

	(void)arg;
	if (join.busy && join.listed)
		join_end(0, "there is a ticket now");
	if (join.busy)
		no = "a join is under way";
	else if (!mesh.identity.unlocked)
		no = "the store is locked: hermesctl unlock";
	else if (mesh.identity.in_mesh && !may_renew(&order->ticket))
		no = "this node is in a mesh already; for another one it "
		     "needs a new key store: hermesctl(8), Leaving a mesh";
	else if (ticket_verify(&order->ticket, clock_wall()) == -1)
		no = "the ticket is broken or expired";
	if (no != NULL) {
		answer(order->id, 0, no);
		return;
	}
	join.busy = 1;
	join.id = order->id;
	join.ticket = order->ticket;
	join.authority_known = 1;
	if (join.ticket.endpoint_count > TICKET_ENDPOINTS)
		join.ticket.endpoint_count = TICKET_ENDPOINTS;
	join.held = mesh.descriptor == NULL;
	if (!join.held)
		join_try();
}

void
join_described(void)
{
	if (!join.busy || !join.held)
		return;
	join.held = 0;
	join_try();
}

void
join_identity(void)
{
	const struct Nodemesh__V1__JoinResponse *response = join.response;
	struct peer *peer;
	size_t i;

	if (!join.busy || !join.waiting || !mesh_is_member() ||
	    memcmp(&mesh.identity.certificate, &join.certificate,
		sizeof(join.certificate)) != 0)
		return;
	if (response->self != NULL)
		(void)members_descriptor(response->self, NULL, 1);
	for (i = 0; i < response->n_membership; i++)
		(void)members_descriptor(response->membership[i], NULL, 1);
	members_drain();
	if (response->self != NULL &&
	    response->self->identity_key.len == KEY_SIZE &&
	    (peer = peer_find(response->self->identity_key.data)) != NULL)
		members_contact(peer);
	join_end(1, "joined");
}

void
join_configured(void)
{
	lines.next_try = 0;
	lines.backoff = 0;
}

void
join_tick(int64_t now)
{
	const struct ipc_identity *me = &mesh.identity;

	if (proc_config()->peer_count == 0 || now < lines.next_try ||
	    join.busy || mesh.stopping || mesh.descriptor == NULL ||
	    !me->unlocked || me->authority || peer_is_revoked(me->node_key) ||
	    (me->in_mesh && me->certificate.not_after > clock_wall()))
		return;
	lines.backoff = backoff_after(lines.backoff, RETRY_FIRST, RETRY_MOST);
	lines.next_try = now + backoff_jitter(lines.backoff, backoff_random());
	join.busy = 1;
	join.listed = 1;
	join_try();
}
