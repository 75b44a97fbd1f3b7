/*
 * mesh, unprivileged; node bytes are hostile. Joining: this node with a
 * ticket that the operator gave, or by the peer lines of the configuration;
 * and others, whom this node's keyd admits.
 */
#ifndef MESH_JOIN_H
#define MESH_JOIN_H

#include "common/ipc/ipc.h"
#include "common/rpc/rpc.h"

/* Server side, mesh/join_server.c. */
extern const struct rpc_stream_callbacks join_server_callbacks;
enum rpc_status join_opened(struct rpc_stream *stream, void *arg);
void join_on_redeemed(void *arg, const struct ipc_message *message);

/* Client side, mesh/join.c. control's JOIN; answered with RESULT. */
void join_on_join(void *arg, const struct ipc_message *message);

/* Who is in no mesh, or was not renewed in time, asks the peers of the
 * configuration, with back-off. configured: there may be other ones now. */
void join_tick(int64_t now);
void join_configured(void);

/* The own descriptor is signed: a join that came before can begin. */
void join_described(void);

/* keyd sent a new identity: a join may be complete. */
void join_identity(void);

#endif
