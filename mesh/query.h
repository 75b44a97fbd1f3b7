/*
 * mesh, unprivileged; node bytes are hostile. FIND and WATCH: the router's
 * questions where an app is. Unknown is an answer only after the mesh was
 * asked, for at most a second.
 */
#ifndef MESH_QUERY_H
#define MESH_QUERY_H

#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"

struct peer;

/* Where app is has changed, or whether it can be reached; found: it is
 * somewhere. Watchers and who waits are told. */
void query_changed(const uint8_t app[KEY_SIZE], int found);

/* The peer answered a push-pull, or sent what its answer said we lack. */
void query_answered(struct peer *peer);

void query_tick(int64_t now);

/* A new router starts with no watch. */
void query_forget_all(void);

void query_on_find(void *arg, const struct ipc_message *message);
void query_on_watch(void *arg, const struct ipc_message *message);
void query_on_unwatch(void *arg, const struct ipc_message *message);

#endif
