/*
 * Router, keyd and mesh: what happened, told to control for an operator who
 * watches. It is news, not a record: no more than so many a second, and none
 * while control is behind; what was left out is counted.
 */
#ifndef COMMON_PROC_EVENT_H
#define COMMON_PROC_EVENT_H

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"

/* The handler of EVENTS_WANTED: somebody watches, or nobody any more. */
void proc_events_wanted(void *arg, const struct ipc_message *message);

/* When wanted: send event, its time and count of lost ones filled in, or count it. */
void proc_event(struct ipc_event *event);

#endif
