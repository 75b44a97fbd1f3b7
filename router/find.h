/* router: FindApp, answered from the mesh's directory. */
#ifndef ROUTER_FIND_H
#define ROUTER_FIND_H

#include "router/session.h"

void find_init(void);

/* An app asks. */
void find_from_app(struct session *session, const struct frame_find_app *find,
    struct span correlation, int64_t now);

/* mesh answers; mesh went away and will not. */
void find_answered(const struct ipc_found *found);
void find_mesh_down(void);

/* A session is over: nobody waits for its answers. */
void find_forget(struct session *session);

#endif
