/*
 * mesh, unprivileged; node bytes are hostile. The gRPC server for other
 * nodes: NodeMesh, health and reflection, TLS 1.3 with the key in keyd.
 */
#ifndef MESH_LISTENER_H
#define MESH_LISTENER_H

#include <stdint.h>

struct rpc_counters;

/* A bound socket from the parent (owned); served once there is TLS. */
void listener_add(int fd);

/* "host:port" of the first socket that is bound to an address others can
 * dial; "" when there is none. */
const char *listener_endpoint(void);

/* Before new sockets come: no new connections on the old ones. */
void listener_close(void);

/* mesh.pem is new: TLS settings for connections from now on, both ways. */
void listener_renew_tls(void);

/* Other limits, after a reload. */
void listener_configured(void);

/* Serve what waits, when TLS settings are there and GO has come. */
void listener_start(void);

/* The health service's word of the NodeMesh service. */
void listener_health(int serving);

void listener_pause(int pause);
void listener_drain(void); /* no new connections, GOAWAY */
void listener_stop(void);  /* cut what is left */
void listener_counters(struct rpc_counters *counters);

#endif
