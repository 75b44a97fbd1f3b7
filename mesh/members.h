/*
 * mesh, unprivileged; node bytes are hostile. Who is in the mesh and alive:
 * feeds the SWIM core with what was verified and does what it asks.
 */
#ifndef MESH_MEMBERS_H
#define MESH_MEMBERS_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "mesh/swim.h"
#include "proto/nodemesh.pb-c.h"

struct peer;

/* The own descriptor was signed: start, or let the others know. 0 or -1. */
int members_own(const struct Nodemesh__V1__NodeDescriptor *node);

/* Another limit of members, after a reload. */
void members_configured(void);

/* NULL while this node is outside a mesh. */
struct swim *members_swim(void);

/*
 * An event came from another node, which pays for the signatures in it
 * (members_descriptor(): NULL, in a JoinResponse); synced: in a push-pull. 0
 * when it was taken or was no news; -1 when a signature in it is wrong.
 */
int members_event(const struct Nodemesh__V1__MembershipEvent *event,
    struct peer *from, int synced);
int members_descriptor(const struct Nodemesh__V1__NodeDescriptor *node,
    struct peer *from, int synced);

/* After every call into the core but those above. */
void members_drain(void);

/* A message of peer, its updates handed in before. */
void members_receive(struct peer *peer, const struct swim_message *message);

/* An update as it goes on the wire, on the heap; NULL when memory is short or
 * the node is not known. */
struct Nodemesh__V1__MembershipEvent *members_pack(
    const struct swim_update *update);
void members_pack_free(struct Nodemesh__V1__MembershipEvent *event);

/* node_id <-> key; the own node too. NULL or -1 when not known. */
const char *members_name(const uint8_t key[KEY_SIZE]);
int members_key(const char *node_id, uint8_t key[KEY_SIZE]);

/* Exchange states with peer now. */
void members_contact(struct peer *peer);
void members_connected(struct peer *peer, int connected);
void members_revoke(const uint8_t key[KEY_SIZE]);

/* The caller's rumours wait. */
void members_want_gossip(int wanted);

/* Say LEAVE; done is called when it was told, or keyd refused. */
void members_leave(void);
int members_left(void);

void members_metrics(void);

#endif
