/*
 * control: whether this node can do its work, and if not, why. The texts,
 * and those that make a node refuse new chats, are listed in hermesctl(8).
 */
#ifndef CONTROL_READINESS_H
#define CONTROL_READINESS_H

#include <jansson.h>

#include "control/ask.h"

#define READINESS_DISK 95 /* per cent used that is too much */

/* Bits of a set of reasons. */
enum readiness {
	NOT_READY_PARENT = 1 << 0, /* a process is down or silent */
	NOT_READY_ROUTER = 1 << 1,
	NOT_READY_KEYD = 1 << 2,
	NOT_READY_MESH = 1 << 3,
	NOT_READY_LOCKED = 1 << 4,
	NOT_READY_STORE = 1 << 5,
	NOT_READY_DISK = 1 << 6,
	NOT_READY_CLOCK = 1 << 7,
	NOT_READY_DRAINING = 1 << 8,
	NOT_READY_REVOKED = 1 << 9,
	NOT_READY_EXPIRED = 1 << 10,
	NOT_READY_ALONE = 1 << 11
};

/* Those for which new chats are refused while old ones go on. */
#define NOT_READY_NEW_CHATS (NOT_READY_STORE | NOT_READY_DISK | NOT_READY_CLOCK)

/* Ask what readiness_find() needs. */
void readiness_ask(struct ask *ask);

/* The reasons why the node is not ready, as bits of enum readiness; 0: it
 * is ready. What did not answer is a reason, so none is ever overlooked. */
unsigned int readiness_find(const struct ask_answer *answer);

/* An array of their fixed texts. New reference, NULL when memory is out. */
json_t *readiness_texts(unsigned int reasons);

/* Their words, as in metrics, parted by commas, for the log; "none". */
const char *readiness_words(unsigned int reasons, char *text, size_t size);

/* Set the metrics of readiness. values[METRIC_COUNT] */
void readiness_metrics(unsigned int reasons, struct metric_value *values);

#endif
