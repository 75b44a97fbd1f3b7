/*
 * mesh, unprivileged; node bytes are hostile. Revocations by the mesh
 * authority, from this node's keyd or through other nodes.
 */
#ifndef MESH_REVOKE_H
#define MESH_REVOKE_H

#include "common/ipc/ipc.h"
#include "proto/nodemesh.pb-c.h"

struct peer;
struct rpc_stream;

/* One came from another node. 0, or -1: the authority did not sign it. */
int revoke_take(struct peer *from, const struct Nodemesh__V1__Revocation *body);

/* Tell peer all that are known. */
void revoke_tell(struct peer *peer);

/* The node at the other end of a Gossip stream, its key proven, is refused:
 * if it was revoked, tell it so on the stream, and end that. 1, or 0: it was
 * not revoked. */
int revoke_refuse(struct rpc_stream *stream, const uint8_t node_key[KEY_SIZE]);

/* keyd's message, on the founding node. */
void revoke_on_revocation(void *arg, const struct ipc_message *message);

#endif
