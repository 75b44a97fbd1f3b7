/*
 * mesh, unprivileged; node bytes are hostile. Where apps are: those of this
 * node as the router says, those of others as their nodes and the apps
 * themselves signed it. Kept in the directory, told to all.
 */
#ifndef MESH_PRESENCE_H
#define MESH_PRESENCE_H

#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "proto/nodemesh.pb-c.h"

struct peer;

/* Apps in one sync, of 4 MiB then; one with more is nobody's. */
#define PRESENCE_APPS_MAX 8000

/* All apps, within the limits of the configuration. */
struct directory;
struct directory *presence_directory(void);

/*
 * Where is app? FOUND: *peer is its node's; LOCAL: *peer is NULL. The
 * attestation is set unless UNKNOWN. Either pointer may be NULL.
 */
enum presence_status presence_find(const uint8_t app[KEY_SIZE],
    struct attestation *attestation, struct peer **peer);

/*
 * A node's signed AppSync came from peer, which may only be passing it on;
 * raw is the whole GossipMessage, to be passed on when it is news. 0; -1
 * when the signature is not the node's. peer pays for that one, the node for
 * those of its apps that were not known; of a node that is held the sync is
 * left, and asked for later, when another brings it.
 */
int presence_sync(struct peer *from, const struct Nodemesh__V1__AppSync *sync,
    const uint8_t *raw, size_t length);

/* Digests of a push-pull: put ours in (at most max; names are borrowed), and
 * judge what came. */
size_t presence_digests(struct Nodemesh__V1__AppDigest *out, size_t max);
void presence_judge(
    struct peer *from, const struct Nodemesh__V1__PushPull *body);

/* Reachability of a node's apps may have changed. */
void presence_node_changed(struct peer *peer);

/* This node's identity is new or came back: tell the mesh all again. */
void presence_announce(void);

/* Grace is over or it was revoked: its apps are nowhere. forget: and no
 * sync of it is remembered. */
void presence_node_ended(struct peer *peer, int forget);

/* keyd said who this node is: apps that came before are its own. */
void presence_identity(void);

/* Apps known here, for a node that joins: an array on the heap. */
size_t presence_registrations(struct Nodemesh__V1__AppRegistration ***list);
void presence_registrations_free(
    struct Nodemesh__V1__AppRegistration **list, size_t count);

void presence_tick(int64_t now);
uint64_t presence_show(uint64_t id);
uint64_t presence_count(const struct peer *peer); /* NULL: own */

/* The router's messages; a new router starts with nothing. */
void presence_on_app_up(void *arg, const struct ipc_message *message);
void presence_on_app_down(void *arg, const struct ipc_message *message);
void presence_router_gone(void);

#endif
