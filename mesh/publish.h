/*
 * mesh, unprivileged. This node's own presence: apps as the router says,
 * numbered, signed by keyd and told to the mesh.
 */
#ifndef MESH_PUBLISH_H
#define MESH_PUBLISH_H

#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "mesh/directory.h"

struct peer;

/* An app came (tail: packed Connect with its metadata) or went. The
 * directory is changed at once, the mesh told when keyd has signed. */
void publish_up(struct directory *directory, const struct ipc_app_up *up,
    const uint8_t *tail, size_t tail_length);
void publish_down(struct directory *directory, const uint8_t app[KEY_SIZE]);

/* All apps went (the router died): one full sync. */
void publish_none(struct directory *directory);

/* Tell the whole presence to peer, or to all with NULL. */
void publish_full(struct directory *directory, struct peer *peer);

/*
 * Somebody says that others know a later sequence of this node than itself: go
 * beyond it, if a clock that was ahead may have brought it there, and it is
 * not said all the time.
 */
void publish_claimed(struct directory *directory, uint64_t sequence);

/* The directory is in doubt about this node, too: all is told whole. */
void publish_again(void);

/* Now and then: what could not be told change by change, told whole. */
void publish_tick(struct directory *directory);

/* The peer is gone for good: owe it nothing. */
void publish_forget(const struct peer *peer);

#endif
