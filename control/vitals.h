/*
 * control: a look at the whole node every two seconds. What it finds is kept
 * for ten minutes, for the status page; and when the node can or cannot do
 * its work any more, the log, those who watch, router and keyd are told: the
 * latter two take no new chats while there is no room, no store or no time
 * that they could rely on.
 */
#ifndef CONTROL_VITALS_H
#define CONTROL_VITALS_H

#include "common/ipc/ipc.h"
#include "common/util/buffer.h"

#define VITALS_SECONDS 2
#define VITALS_KEPT    300 /* samples */

/* Begin, on control.base. 0, or -1 when memory is out. */
int vitals_start(void);
void vitals_stop(void);

/* The process has a new door: it must know whether new chats are taken. */
void vitals_door_up(enum process peer);

/* What the last look found, bits of enum readiness; 0 before the first. */
unsigned int vitals_reasons(void);

/*
 * Append, as one JSON object, the samples of the last minutes, the oldest
 * first, and what the page's head shows: {"every" and "age" of the last, in
 * seconds, "names", "samples", "node_id", "version"}. Fit for a script element: no '<' is in it. 0, or -1
 * when memory is out.
 */
int vitals_print(struct buffer *out);

#endif
