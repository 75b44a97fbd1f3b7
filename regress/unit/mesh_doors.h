/*
 * Test, of mesh_fixture.h. What a mesh process has at its doors: parent, keyd,
 * router and control, played by the test, and what each of them heard.
 */
#ifndef REGRESS_UNIT_MESH_DOORS_H
#define REGRESS_UNIT_MESH_DOORS_H

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <openssl/evp.h>
#include <sodium.h>

#include "common/ipc/codes.h"
#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"
#define PLAYED_CHECK(condition) ck_assert(condition)

#include "regress/unit/mesh_cast.h"

#define WAIT_NS (120 * CLOCK_SECOND)
#define NODES   6
#define SEEN    80

struct node {
	char name[NODE_ID_SIZE];
	struct keys keys;
	EVP_PKEY *tls;
	uint8_t spki[KEY_SIZE];
	struct certificate certificate;
	int in_mesh;
	int authority;
	int mute; /* keyd says nothing at first */
	pid_t pid;
	struct ipc *parent, *keyd, *router, *control;
	int fd; /* listening */
	char endpoint[ENDPOINT_SIZE];
	uint64_t incarnation;
	uint64_t floor[STATEMENT_KINDS];
	unsigned statements[STATEMENT_KINDS]; /* asked for */
	uint64_t serial;
	int liar;         /* an authority that is none */
	unsigned redeems; /* secrets that it was shown */
	struct ipc_peer saved[NODES];
	unsigned saved_count, forgotten;
	/* What it said. */
	unsigned ready, shut, down;
	unsigned results;
	struct ipc_result result;
	char result_text[256];
	struct ipc_row_node rows[SEEN];
	unsigned row_count, show_ends;
	struct ipc_presence presence; /* the last */
	unsigned presences;
	struct ipc_app_moved moved;
	unsigned moves;
	struct ipc_found found;
	unsigned founds;
	unsigned ups[NODES], downs[NODES], ended[NODES];
	struct ipc_setup setup;
	uint8_t setup_tail[4096];
	size_t setup_tail_length;
	unsigned setups;
	const char *wanted; /* chat_id of a set-up that is waited for */
	unsigned wanted_at; /* setups, when it came; 0: it has not */
	struct ipc_sealed open;
	uint64_t opens;
	unsigned misordered;
	size_t open_length;
	struct ipc_relay_ack ack;
	unsigned acks;
	struct ipc_credit credit;
	unsigned credits;
	struct ipc_teardown teardown;
	unsigned teardowns;
	struct ipc_chat_code error;
	unsigned errors;
};

static struct {
	struct event_base *base;
	struct keys authority;
	uint8_t secret[TICKET_SECRET_SIZE];
	int64_t route_grace;
	uint32_t members;
	int64_t membership_lifetime;
	struct node nodes[NODES];
} world;

/* --- who this is --------------------------------------------------------- */

static void
binding_make(const struct node *node, struct binding *binding)
{
	cast_binding(node->name, &node->keys, node->spki,
	    node->in_mesh ? &node->certificate : NULL, binding);
}

static void
certify(
    const struct node *node, uint64_t serial, struct certificate *certificate)
{
	cast_certify(&world.authority, node->name, node->keys.public, serial,
	    clock_wall() + YEAR, certificate);
}

/* --- keyd ---------------------------------------------------------------- */

static void
keyd_identify(struct node *node)
{
	struct ipc_tls_certificate role = { .role = TLS_MESH };
	struct ipc_identity identity = { .unlocked = 1 };
	struct binding binding;
	unsigned i;
	char *pem;

	binding_make(node, &binding);
	pem = pem_make(node->tls, &binding);
	ipc_send(node->keyd, IPC_TLS_CERTIFICATE, &role, pem, strlen(pem));
	free(pem);
	identity.in_mesh = (uint32_t)node->in_mesh;
	identity.authority = (uint32_t)node->authority;
	memcpy(identity.node_id, node->name, NODE_ID_SIZE);
	memcpy(identity.node_key, node->keys.public, KEY_SIZE);
	if (node->in_mesh) {
		memcpy(
		    identity.authority_key, world.authority.public, KEY_SIZE);
		mesh_id_make(identity.mesh_id, world.authority.public);
		identity.certificate = node->certificate;
	}
	memcpy(identity.mesh_spki, node->spki, KEY_SIZE);
	identity.incarnation = node->incarnation;
	identity.presence = node->floor[STATEMENT_PRESENCE];
	ipc_send(node->keyd, IPC_IDENTITY, &identity, NULL, 0);
	for (i = 0; i < node->saved_count; i++)
		ipc_send(node->keyd, IPC_PEER, &node->saved[i], NULL, 0);
}

static void
on_sign_digest(void *arg, const struct ipc_message *message)
{
	const struct ipc_sign_digest *question = message->payload;
	struct ipc_signed_digest answer = { 0 };
	struct node *node = arg;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(node->tls, NULL);
	size_t length = sizeof(answer.signature);

	ck_assert_int_eq(EVP_PKEY_sign_init(context), 1);
	ck_assert_int_eq(EVP_PKEY_sign(context, answer.signature, &length,
			     question->digest, question->length),
	    1);
	EVP_PKEY_CTX_free(context);
	answer.length = length;
	ipc_send(node->keyd, IPC_SIGNED_DIGEST, &answer, NULL, 0);
}

static void
on_statement(void *arg, const struct ipc_message *message)
{
	const struct ipc_statement *question = message->payload;
	struct ipc_statement_signed answer = { .id = question->id };
	struct node *node = arg;
	uint8_t bytes[STATEMENT_SIGNED_MAX];
	size_t length;

	ck_assert_uint_lt(question->kind, STATEMENT_KINDS);
	node->statements[question->kind]++;
	if (question->kind != STATEMENT_REVOCATION &&
	    question->number >= node->floor[question->kind]) {
		node->floor[question->kind] = question->number;
		length =
		    statement_signed_bytes((enum statement_kind)question->kind,
			node->name, node->keys.public, question->number,
			question->digest, bytes);
		crypto_sign_detached(
		    answer.signature, NULL, bytes, length, node->keys.secret);
		answer.ok = 1;
	}
	ipc_send(node->keyd, IPC_STATEMENT_SIGNED, &answer, NULL, 0);
}

static void
on_redeem(void *arg, const struct ipc_message *message)
{
	const struct ipc_redeem *redeem = message->payload;
	struct ipc_redeemed answer = { .id = redeem->id };
	struct node *node = arg, who = { .name = "" };
	unsigned i;

	node->redeems++;
	answer.result = REDEEM_OK;
	if (!node->authority)
		answer.result = REDEEM_NOT_AUTHORITY;
	else if (memcmp(redeem->secret, world.secret, TICKET_SECRET_SIZE) != 0)
		answer.result = REDEEM_UNKNOWN;
	for (i = 0; i < NODES; i++)
		if (world.nodes[i].in_mesh &&
		    strcmp(world.nodes[i].name, redeem->node_id) == 0 &&
		    memcmp(world.nodes[i].keys.public, redeem->node_key,
			KEY_SIZE) != 0)
			answer.result = REDEEM_NAME_TAKEN;
	if (answer.result == REDEEM_OK) {
		memcpy(who.name, redeem->node_id, NODE_ID_SIZE);
		memcpy(who.keys.public, redeem->node_key, KEY_SIZE);
		certify(&who, ++node->serial, &answer.certificate);
	}
	ipc_send(node->keyd, IPC_REDEEMED, &answer, NULL, 0);
}

/* A peer line is nobody's. */
static void
on_admit(void *arg, const struct ipc_message *message)
{
	const struct ipc_admit *admit = message->payload;
	struct ipc_redeemed answer = { .id = admit->id,
		.result = REDEEM_UNKNOWN };
	struct node *node = arg;

	ipc_send(node->keyd, IPC_REDEEMED, &answer, NULL, 0);
}

/* A liar holds no mesh key. */
static void
on_renew(void *arg, const struct ipc_message *message)
{
	const struct ipc_renew *renew = message->payload;
	struct ipc_redeemed answer = { .id = renew->id,
		.result = REDEEM_UNKNOWN };
	struct node *node = arg, who = { .name = "" };

	if (!node->liar) {
		answer.result = REDEEM_OK;
		memcpy(who.name, renew->certificate.node_id, NODE_ID_SIZE);
		memcpy(who.keys.public, renew->certificate.node_key, KEY_SIZE);
		certify(&who, ++node->serial, &answer.certificate);
	}
	ipc_send(node->keyd, IPC_REDEEMED, &answer, NULL, 0);
}

static void
on_membership(void *arg, const struct ipc_message *message)
{
	const struct ipc_membership *membership = message->payload;
	struct node *node = arg;

	node->certificate = membership->certificate;
	node->in_mesh = 1;
	keyd_identify(node);
}

static void
on_peer_save(void *arg, const struct ipc_message *message)
{
	const struct ipc_peer *peer = message->payload;
	struct node *node = arg;
	unsigned i;

	for (i = 0; i < node->saved_count; i++)
		if (memcmp(node->saved[i].certificate.node_key,
			peer->certificate.node_key, KEY_SIZE) == 0)
			break;
	if (i == NODES)
		return; /* enough for what is tried */
	node->saved[i] = *peer;
	if (i == node->saved_count)
		node->saved_count++;
}

static void
on_peer_forget(void *arg, const struct ipc_message *message)
{
	const struct ipc_peer *peer = message->payload;
	struct node *node = arg;
	unsigned i;

	node->forgotten++;
	for (i = 0; i < node->saved_count; i++)
		if (memcmp(node->saved[i].certificate.node_key,
			peer->certificate.node_key, KEY_SIZE) == 0)
			node->saved[i] = node->saved[--node->saved_count];
}

static void
on_setup_in(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	memcpy(&node->setup, message->payload, sizeof(node->setup));
	ck_assert_uint_le(message->tail_length, sizeof(node->setup_tail));
	memcpy(node->setup_tail, message->tail, message->tail_length);
	node->setup_tail_length = message->tail_length;
	node->setups++;
	if (node->wanted != NULL && node->wanted_at == 0 &&
	    strcmp(node->setup.chat_id, node->wanted) == 0)
		node->wanted_at = node->setups;
}

static void
on_open(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;
	uint64_t before = node->open.sequence;

	memcpy(&node->open, message->payload, sizeof(node->open));
	if (node->opens > 0 && node->open.sequence != before + 1)
		node->misordered++;
	node->open_length = message->tail_length;
	node->opens++;
}

static void
on_teardown_in(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	memcpy(&node->teardown, message->payload, sizeof(node->teardown));
	node->teardowns++;
}

static void
on_voucher(void *arg, const struct ipc_message *message)
{
	(void)arg;
	(void)message;
}

static const ipc_handler keyd_side[IPC_TYPE_COUNT] = { [IPC_SIGN_DIGEST] =
							   on_sign_digest,
	[IPC_STATEMENT] = on_statement,
	[IPC_REDEEM] = on_redeem,
	[IPC_ADMIT] = on_admit,
	[IPC_RENEW] = on_renew,
	[IPC_VOUCHER] = on_voucher,
	[IPC_MEMBERSHIP] = on_membership,
	[IPC_PEER_SAVE] = on_peer_save,
	[IPC_PEER_FORGET] = on_peer_forget,
	[IPC_SETUP_IN] = on_setup_in,
	[IPC_OPEN] = on_open,
	[IPC_TEARDOWN_IN] = on_teardown_in };

/* --- router -------------------------------------------------------------- */

static void
on_presence(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	memcpy(&node->presence, message->payload, sizeof(node->presence));
	node->presences++;
}

static void
on_found(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	memcpy(&node->found, message->payload, sizeof(node->found));
	node->founds++;
}

static void
on_node_state(void *arg, const struct ipc_message *message)
{
	(void)arg;
	(void)message;
}

static unsigned
node_index(const uint8_t key[KEY_SIZE])
{
	unsigned i;

	/* The last is for whoever is played by a test itself. */
	for (i = 0; i < NODES - 1; i++)
		if (memcmp(world.nodes[i].keys.public, key, KEY_SIZE) == 0)
			break;
	return (i);
}

static void
on_tieline_up(void *arg, const struct ipc_message *message)
{
	const struct ipc_tieline *tieline = message->payload;
	struct node *node = arg;

	node->ups[node_index(tieline->node_key)]++;
}

static void
on_tieline_down(void *arg, const struct ipc_message *message)
{
	const struct ipc_tieline *tieline = message->payload;
	struct node *node = arg;

	if (tieline->ended)
		node->ended[node_index(tieline->node_key)]++;
	else
		node->downs[node_index(tieline->node_key)]++;
}

static void
on_app_moved(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	memcpy(&node->moved, message->payload, sizeof(node->moved));
	node->moves++;
}

static void
on_relay_ack(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	memcpy(&node->ack, message->payload, sizeof(node->ack));
	node->acks++;
}

static void
on_credit(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	memcpy(&node->credit, message->payload, sizeof(node->credit));
	node->credits++;
}

static void
on_route_error(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	memcpy(&node->error, message->payload, sizeof(node->error));
	node->errors++;
}

static const ipc_handler router_side[IPC_TYPE_COUNT] = { [IPC_PRESENCE] =
							     on_presence,
	[IPC_FOUND] = on_found,
	[IPC_APP_MOVED] = on_app_moved,
	[IPC_NODE_STATE] = on_node_state,
	[IPC_TIELINE_UP] = on_tieline_up,
	[IPC_TIELINE_DOWN] = on_tieline_down,
	[IPC_RELAY_ACK] = on_relay_ack,
	[IPC_CREDIT] = on_credit,
	[IPC_ROUTE_ERROR] = on_route_error };

/* --- control and parent -------------------------------------------------- */

static void
on_result(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;
	size_t length = message->tail_length;

	memcpy(&node->result, message->payload, sizeof(node->result));
	if (length >= sizeof(node->result_text))
		length = sizeof(node->result_text) - 1;
	memcpy(node->result_text, message->tail, length);
	node->result_text[length] = '\0';
	node->results++;
}

static void
on_row(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	ck_assert_uint_lt(node->row_count, SEEN);
	memcpy(&node->rows[node->row_count++], message->payload,
	    sizeof(node->rows[0]));
}

static void
on_show_end(void *arg, const struct ipc_message *message)
{
	struct node *node = arg;

	(void)message;
	node->show_ends++;
}

static const ipc_handler control_side[IPC_TYPE_COUNT] = { [IPC_RESULT] =
							      on_result,
	[IPC_ROW_NODE] = on_row,
	[IPC_SHOW_END] = on_show_end };

static void
on_ready(void *arg, const struct ipc_message *message)
{
	(void)message;
	((struct node *)arg)->ready++;
}

static void
on_shut(void *arg, const struct ipc_message *message)
{
	(void)message;
	((struct node *)arg)->shut++;
}

static void
on_broken(void *arg, const struct ipc_message *message)
{
	(void)message;
	ck_abort_msg("%s found a neighbour broken", ((struct node *)arg)->name);
}

static const ipc_handler parent_side[IPC_TYPE_COUNT] = {
	[IPC_READY] = on_ready, [IPC_SHUT] = on_shut, [IPC_BROKEN] = on_broken
};

/* Every door of a dead child closes; forget it. */
static void
on_door_closed(void *arg, const char *reason)
{
	struct node *node = arg;

	(void)reason;
	node->down++;
}

static struct ipc *
door_give(struct node *node, enum process peer, const ipc_handler *handlers)
{
	struct ipc_callbacks callbacks = { handlers, NULL, NULL,
		on_door_closed };
	struct ipc_door door = { .peer = (uint64_t)peer };
	int fds[2];

	ck_assert_int_eq(ipc_pair(fds), 0);
	ipc_send_fd(node->parent, IPC_DOOR, &door, fds[1]);
	return (
	    ipc_new(world.base, fds[0], peer, PROCESS_MESH, &callbacks, node));
}

#endif
