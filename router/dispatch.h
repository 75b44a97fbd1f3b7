/* router: what each frame of a connected app means. */
#ifndef ROUTER_DISPATCH_H
#define ROUTER_DISPATCH_H

#include "router/session.h"

/* Do what an app's frame says. now: monotonic. */
void dispatch_frame(
    struct session *session, const struct frame *frame, int64_t now);

#endif
