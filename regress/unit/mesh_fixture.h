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

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/proc/privileges.h"
#include "common/util/log.h"
#include "regress/unit/mesh_doors.h"

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
	config.limits.members = world.members;
	config.mesh_connections = 64;
	config.limits.unauthenticated = 256;
	config.limits.per_source = 1024;
	config.limits.apps = 1000;
	config.limits.message_size = 1024 * 1024;
	config.route_grace = world.route_grace;
	config.membership_lifetime = world.membership_lifetime;
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
	world.members = 64;
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
