/* control: whether this node can do its work, and if not, why. */
#ifndef CONTROL_READINESS_H
#define CONTROL_READINESS_H

#include <jansson.h>

#include "control/ask.h"

#define READINESS_DISK 95 /* per cent used that is too much */

/* Ask what readiness_reasons() needs. */
void readiness_ask(struct ask *ask);

/* The reasons why the node is not ready, an array of fixed texts; empty:
 * it is. New reference, NULL when memory is out. */
json_t *readiness_reasons(const struct ask_answer *answer);

#endif
