/*
 * mesh, unprivileged; node bytes are hostile. See listener.h. Which call a
 * node may make is decided where it opens: join_server.c lets strangers in,
 * gossip.c and route.c only members.
 */
#include <sys/socket.h>

#include <netdb.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/proc/sources.h"
#include "common/util/log.h"
#include "mesh/gossip.h"
#include "mesh/join.h"
#include "mesh/listener.h"
#include "mesh/mesh.h"
#include "mesh/route.h"
#include "mesh/trunk.h"
#include "proto/descriptors.h"

#define SERVICE "nodemesh.v1.NodeMesh"

static struct rpc_method methods[3];

static const struct rpc_server_callbacks server_callbacks = {
	.opened = trunk_accepted, .closed = trunk_accept_closed
};

static struct {
	struct rpc_server *server;
	struct rpc_tls *tls;
	int fds[CONFIG_LISTENERS];
	int count; /* fds not yet served */
	char endpoint[ENDPOINT_SIZE];
} listener;

static void
note_endpoint(int fd)
{
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t length = sizeof(address);
	char host[64], port[8];
	int v6;

	if (listener.endpoint[0] != '\0' ||
	    getsockname(fd, (struct sockaddr *)&address, &length) == -1 ||
	    getnameinfo((struct sockaddr *)&address, length, host, sizeof(host),
		port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	/* The wildcard is no address to tell others. */
	if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
		return;
	v6 = address.ss_family == AF_INET6;
	(void)snprintf(listener.endpoint, sizeof(listener.endpoint),
	    v6 ? "[%s]:%s" : "%s:%s", host, port);
}

const char *
listener_endpoint(void)
{
	return (listener.endpoint);
}

void
listener_add(int fd)
{
	note_endpoint(fd);
	if (listener.count == CONFIG_LISTENERS) {
		(void)close(fd);
		return;
	}
	listener.fds[listener.count++] = fd;
	listener_start();
}

void
listener_close(void)
{
	listener.endpoint[0] = '\0';
	while (listener.count > 0)
		(void)close(listener.fds[--listener.count]);
	if (listener.server != NULL)
		rpc_server_unlisten(listener.server);
}

void
listener_renew_tls(void)
{
	struct rpc_tls_options options = { .verify = RPC_VERIFY_PEER_LATER };
	struct rpc_tls *server, *client;
	char error[256] = "";

	options.certificate_pem = mesh.pem;
	options.certificate_length = mesh.pem_length;
	server = rpc_tls_server(&options, error, sizeof(error));
	client = rpc_tls_client(&options, error, sizeof(error));
	if (server == NULL || client == NULL) {
		log_error("tls", "error=\"%s\"", error);
		rpc_tls_free(server);
		rpc_tls_free(client);
		return;
	}
	if (listener.server != NULL)
		rpc_server_set_tls(listener.server, server);
	rpc_tls_free(listener.tls);
	rpc_tls_free(mesh.client_tls);
	listener.tls = server;
	mesh.client_tls = client;
}

static void
methods_init(void)
{
	methods[0].path = "/" SERVICE "/Join";
	methods[0].unary = 1;
	methods[0].opened = join_opened;
	methods[0].callbacks = join_server_callbacks;
	methods[1].path = "/" SERVICE "/Gossip";
	methods[1].opened = gossip_opened;
	methods[1].callbacks = gossip_server_callbacks;
	methods[2].path = "/" SERVICE "/RouteChat";
	methods[2].opened = route_opened;
	methods[2].callbacks = route_server_callbacks;
}

/* Everything but the app's protocol, which is not served here. */
static void
reflect(void)
{
	static struct rpc_descriptor
	    sets[sizeof(descriptors) / sizeof(descriptors[0])];
	size_t i, count = 0;

	for (i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++) {
		if (strcmp(descriptors[i].file, "approuter.proto") == 0)
			continue;
		sets[count].set = (const uint8_t *)descriptors[i].set;
		sets[count++].length = descriptors[i].length;
	}
	if (rpc_server_enable_reflection(listener.server, sets, count) == -1)
		log_warn("reflection", "error=unavailable");
}

static int
server_make(void)
{
	struct rpc_limits limits;

	methods_init();
	trunk_limits(&limits);
	listener.server = rpc_server_new(proc_base(), listener.tls, &limits,
	    methods, 3, &server_callbacks, NULL);
	if (listener.server == NULL)
		return (-1);
	rpc_server_set_penalties(
	    listener.server, sources_penalties(PROCESS_MESH));
	reflect();
	return (0);
}

void
listener_configured(void)
{
	struct rpc_limits limits;

	sources_configured();
	if (listener.server == NULL)
		return;
	trunk_limits(&limits);
	rpc_server_set_limits(listener.server, &limits);
}

void
listener_start(void)
{
	if (listener.tls == NULL || !mesh.going || mesh.stopping ||
	    !mesh.identity.unlocked)
		return;
	if (listener.server == NULL && server_make() == -1) {
		log_error("listen", "error=\"cannot serve\"");
		return;
	}
	while (listener.count > 0)
		if (rpc_server_listen(
			listener.server, listener.fds[--listener.count]) == -1)
			log_error("listen", "error=\"cannot listen\"");
	listener_health(mesh_is_member());
}

void
listener_health(int serving)
{
	if (listener.server == NULL)
		return;
	rpc_server_set_health(listener.server, "", 1);
	rpc_server_set_health(listener.server, SERVICE, serving);
}

void
listener_pause(int pause)
{
	if (listener.server != NULL)
		rpc_server_pause(listener.server, pause);
}

void
listener_drain(void)
{
	if (listener.server != NULL)
		rpc_server_drain(listener.server);
}

void
listener_stop(void)
{
	if (listener.server != NULL)
		rpc_server_free(listener.server);
	listener.server = NULL;
}

void
listener_counters(struct rpc_counters *counters)
{
	memset(counters, 0, sizeof(*counters));
	if (listener.server != NULL)
		rpc_server_counters(listener.server, counters);
}
