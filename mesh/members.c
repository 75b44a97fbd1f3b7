/*
 * mesh, unprivileged; node bytes are hostile. The glue round the SWIM core:
 * signatures are checked here, before anything goes in; what comes out
 * becomes messages, peer states and own descriptors. See members.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/gossip.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/wire.h"

#define SEEK_EVERY CLOCK_SECOND

static struct {
	struct swim *swim;
	struct event *timer;
	int draining; /* members_drain() is on the stack */
	int leaving;
	int leave_refused;
	int64_t rtt;
	int64_t seek_at; /* monotonic */
	size_t seek_cursor;
} members;

struct swim *
members_swim(void)
{
	return (members.swim);
}

const char *
members_name(const uint8_t key[KEY_SIZE])
{
	const struct peer *peer;

	if (mesh_is_self(key))
		return (mesh.identity.node_id);
	return ((peer = peer_find(key)) == NULL ? NULL : peer->node_id);
}

int
members_key(const char *node_id, uint8_t key[KEY_SIZE])
{
	const struct peer *peer;

	if (strcmp(node_id, mesh.identity.node_id) == 0)
		memcpy(key, mesh.identity.node_key, KEY_SIZE);
	else if ((peer = peer_by_name(node_id)) != NULL)
		memcpy(key, peer->node_key, KEY_SIZE);
	else
		return (-1);
	return (0);
}

/* --- out of the core ----------------------------------------------------- */

static void
on_changed(const struct swim_member *member, int was, int now)
{
	struct Nodemesh__V1__NodeDescriptor *node;
	const struct swim_statement *alive = member->alive;
	struct descriptor read;
	struct peer *peer;

	if (alive == NULL || (peer = peer_find(alive->key)) == NULL)
		return;
	if (now == NODE_ALIVE || now == was) {
		node = nodemesh__v1__node_descriptor__unpack(
		    NULL, alive->length, alive->bytes);
		if (node != NULL && wire_descriptor_read(&read, node) == 0)
			peer_described(peer, &read);
		if (node != NULL)
			nodemesh__v1__node_descriptor__free_unpacked(
			    node, NULL);
	}
	if (now == 0)
		presence_node_ended(peer, 1);
	/* Forgotten by the core: it was failed, left or revoked for long. */
	if (now != was)
		peer_set_state(
		    peer, now == 0 ? NODE_FAILED : (enum node_state)now);
}

/*
 * Who is alone keeps calling everybody it was told of or had saved, for ever,
 * as often as the back-off allows. Who is not alone calls those that the core
 * has forgotten one by one: the mesh may have been in two for a day.
 */
static void
seek(int64_t now)
{
	struct peer *peer;
	size_t cursor = 0;

	if (now < members.seek_at)
		return;
	members.seek_at = now + SEEK_EVERY;
	if (swim_live(members.swim) > 1) {
		peer = peer_next(&members.seek_cursor);
		if (peer == NULL)
			members.seek_cursor = 0;
		else if (peer->state == NODE_FAILED &&
			 swim_find(members.swim, peer->node_key) == NULL)
			peer_want(peer, WANT_GOSSIP);
		return;
	}
	while ((peer = peer_next(&cursor)) != NULL)
		if (peer->state == NODE_FAILED)
			peer_want(peer, WANT_SEED);
}

static void members_arm(void);

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	swim_tick(members.swim, clock_monotonic());
	members_drain();
	seek(clock_monotonic());
}

static void
members_arm(void)
{
	struct timeval wait;
	int64_t left;

	left = swim_deadline(members.swim) - clock_monotonic();
	if (left < 0)
		left = 0;
	wait.tv_sec = (time_t)(left / CLOCK_SECOND);
	wait.tv_usec = (suseconds_t)(left % CLOCK_SECOND / 1000 + 1);
	(void)evtimer_add(members.timer, &wait); /* memory is there */
}

void
members_drain(void)
{
	struct swim_action action;
	struct peer *peer;

	/* What an action causes is drained by the loop already running. */
	if (members.swim == NULL || members.draining)
		return;
	members.draining = 1;
	while (swim_next(members.swim, &action)) {
		switch (action.type) {
		case SWIM_DO_SEND:
			if ((peer = peer_find(action.node)) != NULL)
				gossip_send_swim(peer, &action.message,
				    action.updates, action.update_count);
			break;
		case SWIM_DO_CHANGED:
			on_changed(action.member, action.was, action.now);
			break;
		case SWIM_DO_REFUTE:
			log_info("refute", "incarnation=%llu",
			    (unsigned long long)action.incarnation);
			mesh_describe(action.incarnation);
			break;
		}
	}
	members.draining = 0;
	members_arm();
}

/* --- into the core ------------------------------------------------------- */

static uint64_t
swim_random64(void *arg)
{
	uint64_t value;

	(void)arg;
	randombytes_buf(&value, sizeof(value));
	return (value);
}

static struct swim_statement *
descriptor_statement(const struct Nodemesh__V1__NodeDescriptor *node)
{
	struct swim_statement *statement;
	uint8_t *bytes;
	size_t length;

	length = nodemesh__v1__node_descriptor__get_packed_size(node);
	if ((bytes = malloc(length + 1)) == NULL)
		return (NULL);
	nodemesh__v1__node_descriptor__pack(node, bytes);
	statement = swim_statement_make(node->identity_key.data, node->node_id,
	    node->incarnation, bytes, length);
	free(bytes);
	return (statement);
}

static int
members_start(struct swim_statement *own)
{
	struct swim_config config;

	swim_config_default(&config);
	config.members = proc_config()->limits.members;
	members.timer = evtimer_new(proc_base(), on_timer, NULL);
	if (members.timer == NULL)
		return (-1);
	members.swim =
	    swim_new(&config, own, swim_random64, NULL, clock_monotonic());
	if (members.swim == NULL) {
		log_error("swim", "error=\"%s\"", strerror(errno));
		event_free(members.timer);
		return (-1);
	}
	log_info("mesh_started", "node=%s incarnation=%llu",
	    mesh.identity.node_id, (unsigned long long)own->incarnation);
	return (0);
}

void
members_configured(void)
{
	if (members.swim != NULL)
		swim_set_members(members.swim, proc_config()->limits.members);
}

int
members_own(const struct Nodemesh__V1__NodeDescriptor *node)
{
	struct swim_statement *own;
	int result;

	if ((own = descriptor_statement(node)) == NULL)
		return (-1);
	if (members.swim == NULL)
		result = members_start(own);
	else
		result = swim_own(members.swim, own, clock_monotonic());
	swim_statement_free(own);
	members_drain();
	return (result);
}

/* Its certificate and itself; from pays. As wire_descriptor_verify(). */
static int
descriptor_verify(const struct descriptor *read,
    const struct Nodemesh__V1__NodeDescriptor *node, struct peer *from)
{
	budget_spend(from, BUDGET_MESH, 2 * BUDGET_VERIFY);
	if (wire_descriptor_verify(
		read, node, mesh.identity.authority_key, clock_wall()) == 0)
		return (0);
	if (errno != EACCES) {
		metric_add(METRIC_MESH_REFUSED_MEMBERSHIP, 1);
		return (-1);
	}
	metric_add(METRIC_MESH_REFUSED_SIGNATURE, 1);
	budget_blame(from, 1);
	errno = EACCES;
	return (-1);
}

int
members_descriptor(const struct Nodemesh__V1__NodeDescriptor *node,
    struct peer *from, int synced)
{
	struct swim_update update = { .type = SWIM_ALIVE, .synced = synced };
	struct descriptor read;

	if (wire_descriptor_read(&read, node) == -1) {
		metric_add(METRIC_MESH_REFUSED_FORM, 1);
		return (0);
	}
	if (members.swim == NULL || peer_is_revoked(read.node_key) ||
	    !swim_wants(
		members.swim, SWIM_ALIVE, read.node_key, read.incarnation))
		return (0);
	if (descriptor_verify(&read, node, from) == -1)
		return (errno == EACCES ? -1 : 0);
	if (!mesh_is_self(read.node_key) &&
	    peer_certified(&read.certificate) == NULL) {
		metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
		return (0);
	}
	if ((update.statement = descriptor_statement(node)) == NULL)
		return (0);
	memcpy(update.key, read.node_key, KEY_SIZE);
	update.incarnation = read.incarnation;
	if (swim_update(members.swim, &update, clock_monotonic()) == -1)
		metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
	swim_statement_free(update.statement);
	return (0);
}

static int
event_leave(const struct Nodemesh__V1__MembershipEvent *event,
    struct peer *from, int synced)
{
	const uint8_t *key = event->node->identity_key.data;
	struct swim_update update = { .type = SWIM_LEAVE, .synced = synced };
	uint8_t digest[KEY_SIZE];

	if (!swim_wants(members.swim, SWIM_LEAVE, key, event->incarnation))
		return (0);
	wire_leave_digest(mesh.identity.mesh_id, digest);
	budget_spend(from, BUDGET_MESH, BUDGET_VERIFY);
	if (event->signature.len != SIGNATURE_SIZE ||
	    !node_id_valid(
		event->node->node_id, strlen(event->node->node_id)) ||
	    statement_verify(STATEMENT_LEAVE, event->node->node_id, key,
		event->incarnation, digest, event->signature.data, key) == -1) {
		metric_add(METRIC_MESH_REFUSED_SIGNATURE, 1);
		budget_blame(from, 1);
		return (-1);
	}
	if (mesh_is_self(key)) {
		/* Said in an earlier life, or the echo of it just now. */
		if (!members.leaving)
			mesh_describe(event->incarnation + 1);
		return (0);
	}
	memcpy(update.key, key, KEY_SIZE);
	update.incarnation = event->incarnation;
	update.statement = swim_statement_make(key, event->node->node_id,
	    event->incarnation, event->signature.data, event->signature.len);
	if (update.statement == NULL)
		return (0);
	(void)swim_update(members.swim, &update, clock_monotonic());
	swim_statement_free(update.statement);
	return (0);
}

/* Hearsay; the accused's descriptor comes along in a push-pull. */
static int
event_hearsay(const struct Nodemesh__V1__MembershipEvent *event,
    enum swim_update_type type, struct peer *from, int synced)
{
	const struct Nodemesh__V1__NodeDescriptor *node = event->node;
	struct swim_update update = { .type = type, .synced = synced };
	struct descriptor read;

	memcpy(update.key, node->identity_key.data, KEY_SIZE);
	update.incarnation = event->incarnation;
	if (members_key(event->accuser, update.accuser) == -1)
		memcpy(update.accuser, from->node_key, KEY_SIZE);
	if (node->signature.len > 0 &&
	    swim_wants(
		members.swim, SWIM_ALIVE, update.key, node->incarnation) &&
	    !peer_is_revoked(update.key) &&
	    wire_descriptor_read(&read, node) == 0 &&
	    descriptor_verify(&read, node, from) == 0 &&
	    (mesh_is_self(update.key) ||
		peer_certified(&read.certificate) != NULL))
		update.statement = descriptor_statement(node);
	(void)swim_update(members.swim, &update, clock_monotonic());
	swim_statement_free(update.statement);
	return (0);
}

int
members_event(const struct Nodemesh__V1__MembershipEvent *event,
    struct peer *from, int synced)
{
	if (members.swim == NULL)
		return (0);
	if (event->node == NULL || event->node->identity_key.len != KEY_SIZE) {
		metric_add(METRIC_MESH_REFUSED_FORM, 1);
		return (0);
	}
	switch (event->type) {
	case NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__JOIN:
	case NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE:
		return (members_descriptor(event->node, from, synced));
	case NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__LEAVE:
		return (event_leave(event, from, synced));
	case NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__SUSPECT:
		return (event_hearsay(event, SWIM_SUSPECT, from, synced));
	case NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__FAIL:
		return (event_hearsay(event, SWIM_FAIL, from, synced));
	default:
		metric_add(METRIC_MESH_REFUSED_FORM, 1);
		return (0);
	}
}

void
members_receive(struct peer *peer, const struct swim_message *message)
{
	const struct swim_member *member;

	if (members.swim == NULL)
		return;
	swim_receive(members.swim, peer->node_key, message, clock_monotonic());
	if (message->type == SWIM_ACK &&
	    (member = swim_find(members.swim, peer->node_key)) != NULL &&
	    member->rtt > 0)
		metric_observe(METRIC_MESH_PROBE_RTT, member->rtt);
	members_drain();
}

void
members_contact(struct peer *peer)
{
	if (members.swim == NULL)
		return;
	swim_contact(members.swim, peer->node_key, clock_monotonic());
	members_drain();
}

void
members_connected(struct peer *peer, int connected)
{
	if (members.swim != NULL)
		swim_connected(members.swim, peer->node_key, connected);
}

void
members_revoke(const uint8_t key[KEY_SIZE])
{
	if (members.swim == NULL)
		return;
	swim_revoke(members.swim, key, clock_monotonic());
	members_drain();
}

void
members_want_gossip(int wanted)
{
	if (members.swim == NULL)
		return;
	swim_want_gossip(members.swim, wanted, clock_monotonic());
	members_drain();
}

/* --- packing ------------------------------------------------------------- */

static struct Nodemesh__V1__NodeDescriptor *
bare_descriptor(const char *node_id, const uint8_t key[KEY_SIZE])
{
	struct Nodemesh__V1__NodeDescriptor node =
	    NODEMESH__V1__NODE_DESCRIPTOR__INIT;
	uint8_t copy[KEY_SIZE];
	char name[NODE_ID_SIZE];

	memcpy(copy, key, KEY_SIZE);
	(void)strlcpy(name, node_id, sizeof(name));
	node.node_id = name;
	node.identity_key.data = copy;
	node.identity_key.len = KEY_SIZE;
	return (wire_descriptor_copy(&node));
}

static Nodemesh__V1__MembershipEvent__Type
event_type(enum swim_update_type type)
{
	switch (type) {
	case SWIM_ALIVE:
		return (NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE);
	case SWIM_SUSPECT:
		return (NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__SUSPECT);
	case SWIM_FAIL:
		return (NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__FAIL);
	case SWIM_LEAVE:
		break;
	}
	return (NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__LEAVE);
}

struct Nodemesh__V1__MembershipEvent *
members_pack(const struct swim_update *update)
{
	const struct swim_statement *statement = update->statement;
	struct Nodemesh__V1__MembershipEvent *event;
	const char *name, *accuser;

	if ((name = members_name(update->key)) == NULL ||
	    (event = malloc(sizeof(*event))) == NULL)
		return (NULL);
	nodemesh__v1__membership_event__init(event);
	event->type = event_type(update->type);
	event->incarnation = update->incarnation;
	if (update->type == SWIM_LEAVE || statement == NULL)
		event->node = bare_descriptor(name, update->key);
	else
		event->node = nodemesh__v1__node_descriptor__unpack(
		    NULL, statement->length, statement->bytes);
	if (event->node == NULL) {
		free(event);
		return (NULL);
	}
	if (update->type == SWIM_LEAVE && statement != NULL) {
		event->signature.data = malloc(statement->length);
		if (event->signature.data != NULL) {
			memcpy(event->signature.data, statement->bytes,
			    statement->length);
			event->signature.len = statement->length;
		}
	}
	if ((update->type == SWIM_SUSPECT || update->type == SWIM_FAIL) &&
	    (accuser = members_name(update->accuser)) != NULL &&
	    (event->accuser = strdup(accuser)) == NULL)
		event->accuser = (char *)protobuf_c_empty_string;
	return (event);
}

void
members_pack_free(struct Nodemesh__V1__MembershipEvent *event)
{
	if (event != NULL)
		nodemesh__v1__membership_event__free_unpacked(event, NULL);
}

/* --- leaving ------------------------------------------------------------- */

static void
on_leave_signed(const uint8_t *signature, void *arg)
{
	struct swim_update update = { .type = SWIM_LEAVE };
	const struct swim_statement *own;

	(void)arg;
	if (signature == NULL || members.swim == NULL) {
		members.leave_refused = 1;
		return;
	}
	own = swim_self(members.swim)->alive;
	memcpy(update.key, own->key, KEY_SIZE);
	update.incarnation = own->incarnation;
	update.statement = swim_statement_make(own->key, own->node_id,
	    own->incarnation, signature, SIGNATURE_SIZE);
	if (update.statement == NULL ||
	    swim_update(members.swim, &update, clock_monotonic()) != 1)
		members.leave_refused = 1;
	swim_statement_free(update.statement);
	members_drain();
}

void
members_leave(void)
{
	uint8_t digest[KEY_SIZE];

	if (members.swim == NULL || members.leaving)
		return;
	members.leaving = 1;
	wire_leave_digest(mesh.identity.mesh_id, digest);
	sign_statement(STATEMENT_LEAVE,
	    swim_self(members.swim)->alive->incarnation, digest,
	    on_leave_signed, NULL);
}

int
members_left(void)
{
	const struct swim_member *self;

	if (members.swim == NULL || members.leave_refused)
		return (1);
	self = swim_self(members.swim);
	return (self->leave != NULL && swim_left(members.swim));
}

void
members_metrics(void)
{
	struct swim_counts counts;

	if (members.swim == NULL)
		return;
	swim_count(members.swim, &counts);
	metric_set(METRIC_MESH_SUSPECTED_PEERS, counts.states[NODE_SUSPECT]);
	metric_set(METRIC_MESH_EVICTED_PEERS, counts.evicted);
	metric_set(METRIC_MESH_HEARTBEATS, counts.probes);
}
