/*
 * control: what its files share. The process serves hermesctl's socket and
 * the admin HTTP, runs without privileges under its own user and holds no
 * secret. It owns no state of the node either: it asks the owners.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"

struct event_base;

struct control {
	struct event_base *base;
	/* The door to a process, NULL while it is down. */
	struct ipc *(*door)(enum process process);
	struct config config;
	struct ipc_identity identity; /* as keyd last said */
	char *certificate;            /* PEM shown to apps, or NULL */
	/* By enum process; as the parent last said. */
	struct ipc_process_state states[PROCESS_CONTROL + 1];
	int draining;
	int store_failed;   /* as keyd said unasked, if it could */
	int64_t started_at; /* ns since the epoch */
};

extern struct control control;

/* The handlers of everything the table sends to control; arg of each is the
 * sender's struct proc_door. [IPC_TYPE_COUNT] */
extern const ipc_handler control_handlers[];

/* Forget everything and start on base with these doors. */
void control_init(
    struct event_base *base, struct ipc *(*door)(enum process process));

#endif
