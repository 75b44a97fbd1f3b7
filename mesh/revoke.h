/*
 * mesh, unprivileged; node bytes are hostile. Revocations by the mesh
 * authority, from this node's keyd or through other nodes.
 */
#ifndef MESH_REVOKE_H
#define MESH_REVOKE_H

#include "common/ipc/ipc.h"
#include "proto/nodemesh.pb-c.h"

struct peer;

/* One came from another node. 0, or -1: the authority did not sign it. */
int revoke_take(const struct Nodemesh__V1__Revocation *body);

/* Tell peer all that are known. */
void revoke_tell(struct peer *peer);

/* keyd's message, on the founding node. */
void revoke_on_revocation(void *arg, const struct ipc_message *message);

#endif
