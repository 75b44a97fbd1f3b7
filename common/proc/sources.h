/*
 * Router and mesh: what this process keeps of the sources that its listener
 * is spoken to from: penalties, as the configuration has them, for metrics and
 * operators.
 */
#ifndef COMMON_PROC_SOURCES_H
#define COMMON_PROC_SOURCES_H

#include <stdint.h>

#include "common/ipc/ipc.h"

struct rpc_counters;
struct rpc_penalties;

/* The penalties of this process, self: made and configured when first asked for;
 * NULL without memory. They are kept until it exits. */
struct rpc_penalties *sources_penalties(enum process self);

/* The configuration has changed. */
void sources_configured(void);

/* Send the rows of show request id to control. How many. */
uint64_t sources_show(uint64_t id);

/* Set the metrics of this process's listener. */
void sources_metrics(const struct rpc_counters *counters);

#endif
