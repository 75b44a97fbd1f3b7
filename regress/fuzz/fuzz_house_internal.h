/*
 * Tests only. What the files fuzz_house*.c share; see fuzz_house.h.
 */
#ifndef REGRESS_FUZZ_HOUSE_INTERNAL_H
#define REGRESS_FUZZ_HOUSE_INTERNAL_H

#include <stddef.h>

#include "common/ipc/ipc_door.h"
#include "common/proc/proc.h"
#include "regress/fuzz/fuzz_guard.h"
#include "regress/fuzz/fuzz_house.h"

struct door {
	struct proc_door proc; /* first: callbacks get its address */
	int fd;                /* our end; -1: gone */
	int up;
	struct buffer shadow; /* written and not yet a whole frame */
	int broken;           /* what was written breaks the table */
	unsigned int given;   /* descriptors that frames are due */
	int unsure;           /* none of that is known */
	struct buffer said;   /* by keyd, not yet a whole frame */
};

/* The one there is; in fuzz_house.c. */
extern struct house {
	const struct proc_hooks *hooks;
	struct event_base *base;
	ipc_handler handlers[IPC_TYPE_COUNT];
	struct config config;
	struct door doors[DOOR_COUNT];
	size_t budget; /* bytes that keyd may still say */
	unsigned int answers[IPC_TYPE_COUNT];
} house;

static const enum process processes[DOOR_COUNT] = { PROCESS_ROUTER,
	PROCESS_MESH, PROCESS_CONTROL };

/* Doors that broke in this turn close at its end. */
void house_broken_close(void);

/* Let keyd work until nothing more comes of it, and check all that it says;
 * before: the secrets there were before it began. */
void house_settle(const struct secrets *before);

#endif
