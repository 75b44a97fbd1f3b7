/*
 * Test. Nodes reduced to one real mesh process each: the test plays parent,
 * keyd, router and control of all of them on one event loop, and the nodes
 * meet over real sockets on the loopback.
 */
#ifndef REGRESS_UNIT_MESH_FIXTURE_H
#define REGRESS_UNIT_MESH_FIXTURE_H

#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/evp.h>
#include <sodium.h>

#include "common/ipc/codes.h"
#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/proc/privileges.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#define PLAYED_CHECK(condition) ck_assert(condition)

#include "regress/unit/mesh_cast.h"

#define WAIT_NS (120 * CLOCK_SECOND)
#define NODES   6
#define SEEN    64

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
	uint64_t serial;
	struct ipc_peer saved[NODES];
	unsigned saved_count;
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
	ck_assert_uint_lt(i, NODES);
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

static const ipc_handler keyd_side[IPC_TYPE_COUNT] = { [IPC_SIGN_DIGEST] =
							   on_sign_digest,
	[IPC_STATEMENT] = on_statement,
	[IPC_REDEEM] = on_redeem,
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

/* --- a node's life ------------------------------------------------------- */

HELPER void
node_listen(struct node *node)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (node->endpoint[0] != '\0')
		address.sin_port =
		    htons((uint16_t)atoi(strchr(node->endpoint, ':') + 1));
	node->fd =
	    socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)setsockopt(
	    node->fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	ck_assert_int_eq(
	    bind(node->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(node->fd, 64), 0);
	ck_assert_int_eq(
	    getsockname(node->fd, (struct sockaddr *)&address, &length), 0);
	(void)snprintf(node->endpoint, sizeof(node->endpoint), "127.0.0.1:%u",
	    ntohs(address.sin_port));
}

static void __attribute__((noreturn)) node_run(int door)
{
	const char *what;
	int fd;

	fd = fcntl(door, F_DUPFD, 200);
	(void)dup2(fd, PROC_PARENT_FD);
	for (fd = PROC_PARENT_FD + 1; fd < 256; fd++)
		(void)close(fd);
	if (geteuid() == 0 && privileges_drop(65534, 65534, &what) == -1)
		_exit(99);
	_exit(mesh_main());
}

HELPER void
node_config(struct node *node)
{
	static struct config config;
	const char *level = getenv("MESH_TEST_LOG");

	memset(&config, 0, sizeof(config));
	(void)strlcpy(config.node_id, node->name, sizeof(config.node_id));
	(void)strlcpy(config.advertise_mesh, node->endpoint,
	    sizeof(config.advertise_mesh));
	(void)strlcpy(
	    config.advertise_app, "127.0.0.1:1", sizeof(config.advertise_app));
	config.limits.members = 64;
	config.mesh_connections = 64;
	config.limits.unauthenticated = 256;
	config.limits.per_source = 1024;
	config.limits.apps = 1000;
	config.limits.message_size = 1024 * 1024;
	config.route_grace = world.route_grace;
	config.log_level = level == NULL ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG;
	ipc_send(node->parent, IPC_CONFIG, &config, NULL, 0);
}

HELPER void
node_start(struct node *node)
{
	struct ipc_callbacks callbacks = { parent_side, NULL, NULL,
		on_door_closed };
	struct ipc_listener listener = { .kind = LISTEN_MESH };
	struct ipc_empty empty = { 0 };
	int doors[2];

	if (node->fd <= 0)
		node_listen(node);
	ck_assert_int_eq(ipc_pair(doors), 0);
	node->pid = fork();
	ck_assert_int_ne(node->pid, -1);
	if (node->pid == 0)
		node_run(doors[1]);
	(void)close(doors[1]);
	node->down = 0;
	node->parent = ipc_new(world.base, doors[0], PROCESS_PARENT,
	    PROCESS_MESH, &callbacks, node);
	node_config(node);
	node->keyd = door_give(node, PROCESS_KEYD, keyd_side);
	node->router = door_give(node, PROCESS_ROUTER, router_side);
	node->control = door_give(node, PROCESS_CONTROL, control_side);
	ipc_send_fd(node->parent, IPC_LISTENER, &listener,
	    fcntl(node->fd, F_DUPFD_CLOEXEC, 3));
	ipc_send(node->parent, IPC_GO, &empty, NULL, 0);
	if (!node->mute)
		keyd_identify(node);
}

/* A node of the world, named and keyed, not started. */
HELPER struct node *
node_new(unsigned index, const char *name)
{
	struct node *node = &world.nodes[index];

	memset(node, 0, sizeof(*node));
	(void)strlcpy(node->name, name, sizeof(node->name));
	keys_make(&node->keys);
	node->tls = EVP_EC_gen("P-256");
	spki_hash(node->tls, node->spki);
	node->incarnation = 1000;
	return (node);
}

/* One that founded the mesh, or one that the authority certified. */
HELPER void
node_certify(struct node *node, int authority)
{
	node->authority = authority;
	node->in_mesh = 1;
	certify(node, 1 + (uint64_t)(node - world.nodes), &node->certificate);
	node->serial = 100;
}

HELPER void
turn(void)
{
	(void)event_base_loop(world.base, EVLOOP_NONBLOCK);
	(void)poll(NULL, 0, 1);
}

#define UNTIL(condition)                                                       \
	do {                                                                   \
		int64_t until_end = clock_monotonic() + WAIT_NS;               \
                                                                               \
		while (!(condition)) {                                         \
			turn();                                                \
			ck_assert_msg(clock_monotonic() < until_end,           \
			    "waited in vain for " #condition);                 \
		}                                                              \
	} while (0)

/* Kill the process like a crash would, and drop the doors. */
HELPER void
node_kill(struct node *node)
{
	int status;

	ck_assert_int_eq(kill(node->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(node->pid, &status, 0), node->pid);
	UNTIL(node->down == 4); /* each door is freed with it */
	node->pid = 0;
}

/* SHUTDOWN; it leaves the mesh and exits 0. */
HELPER void
node_stop(struct node *node)
{
	struct ipc_shutdown order = { .grace = 5 * CLOCK_SECOND };
	int status;

	ipc_send(node->parent, IPC_SHUTDOWN, &order, NULL, 0);
	UNTIL(node->shut > 0 && node->down == 4);
	ck_assert_int_eq(waitpid(node->pid, &status, 0), node->pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	node->pid = 0;
	node->shut = 0;
}

/* Its last word on other's state, 0 when it knows none. */
HELPER uint32_t
node_state_of(struct node *node, const struct node *other)
{
	struct ipc_show show = { .id = 1, .what = SHOW_NODES };
	unsigned i, ends = node->show_ends;

	node->row_count = 0;
	ipc_send(node->control, IPC_SHOW, &show, NULL, 0);
	UNTIL(node->show_ends > ends);
	for (i = 0; i < node->row_count; i++)
		if (memcmp(node->rows[i].node_key, other->keys.public,
			KEY_SIZE) == 0)
			return (node->rows[i].state);
	return (0);
}

HELPER void
ticket_make(const struct node *via, struct ipc_ticket *order)
{
	memset(order, 0, sizeof(*order));
	order->id = 7;
	cast_ticket(&world.authority, world.secret, via->keys.public,
	    via->endpoint, &order->ticket);
}

HELPER void
node_join(struct node *node, const struct node *via)
{
	struct ipc_ticket order;
	unsigned results = node->results;

	ticket_make(via, &order);
	/* It knows who it is once it has its descriptor signed. */
	UNTIL(node->floor[STATEMENT_DESCRIPTOR] > 0);
	ipc_send(node->control, IPC_JOIN, &order, NULL, 0);
	UNTIL(node->results > results);
}

/* --- apps and chats ------------------------------------------------------ */

HELPER void
app_attest(const struct keys *app, const struct node *node,
    struct attestation *attestation)
{
	cast_attest(app, node->name, node->keys.public, attestation);
}

HELPER void
app_up(struct node *node, const struct keys *app)
{
	struct ipc_app_up up = { .session_id = "session", .connected_at = 1 };

	app_attest(app, node, &up.attestation);
	ipc_send(node->router, IPC_APP_UP, &up, NULL, 0);
}

HELPER void
app_down(struct node *node, const struct keys *app)
{
	struct ipc_app down;

	memcpy(down.app, app->public, KEY_SIZE);
	ipc_send(node->router, IPC_APP_DOWN, &down, NULL, 0);
}

HELPER void
app_watch(struct node *node, const struct keys *app)
{
	struct ipc_app watch;

	memcpy(watch.app, app->public, KEY_SIZE);
	ipc_send(node->router, IPC_WATCH, &watch, NULL, 0);
}

/* The set-up that node's keyd would send for from's chat with to. */
HELPER void
setup_make(struct ipc_setup *setup, const char *chat_id,
    const struct keys *from, const struct node *here, const struct keys *to,
    const struct node *there)
{
	cast_setup(setup, chat_id, from, &here->keys, to, there->keys.public);
}

HELPER void
world_open(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	memset(&world, 0, sizeof(world));
	log_init("test", LOG_LEVEL_ERROR, 1);
	world.base = event_base_new();
	world.route_grace = 60 * CLOCK_SECOND;
	keys_make(&world.authority);
	randombytes_buf(world.secret, sizeof(world.secret));
}

HELPER void
world_close(void)
{
	unsigned i;

	for (i = 0; i < NODES; i++) {
		struct node *node = &world.nodes[i];

		if (node->pid > 0)
			node_kill(node);
		if (node->fd > 0)
			(void)close(node->fd);
		EVP_PKEY_free(node->tls);
	}
	event_base_free(world.base);
}

#endif
