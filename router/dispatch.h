/* router: what each frame of a connected app means. */
#ifndef ROUTER_DISPATCH_H
#define ROUTER_DISPATCH_H

#include "router/session.h"

/*
 * Do what an app's frame says. length: bytes it takes of the app's window;
 * now: monotonic. 1 when a chat took the message over and will give the
 * bytes back, 0 when the caller does.
 */
int dispatch_frame(struct session *session, const struct frame *frame,
    size_t length, int64_t now);

#endif
