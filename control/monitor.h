/*
 * control: clients that watch what happens, and what they are told: a row for
 * each event, in order, from all processes. A client that reads too slowly
 * misses some, and is told how many.
 */
#ifndef CONTROL_MONITOR_H
#define CONTROL_MONITOR_H

#include "common/ipc/ipc.h"
#include "control/command.h"

/* The command; it ends with its client. */
void command_monitor(struct command *command);

/* Its client went away. Other commands are no watchers: nothing happens. */
void monitor_forget(struct command *command);

/* The process has a new door: it must know if somebody watches. */
void monitor_door_up(enum process peer);

/* EVENT came from a process. */
void monitor_event(void *arg, const struct ipc_message *message);

/* The node is ready (0) or not, for reasons of enum readiness. */
void monitor_readiness(unsigned int reasons);

/* The parent says that a process died or was started. */
void monitor_process(
    const struct ipc_process_state *was, const struct ipc_process_state *now);

#endif
