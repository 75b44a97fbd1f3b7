/* router: stopping in order. */
#ifndef ROUTER_SHUTDOWN_H
#define ROUTER_SHUTDOWN_H

#include <stdint.h>

/*
 * Take no more apps, tell those that are here where else to go, let what is
 * under way be acknowledged, end the streams, tell the parent: all within
 * grace (ns).
 */
void shutdown_begin(int64_t grace);

#endif
