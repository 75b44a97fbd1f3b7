/*
 * control: a question of an operator, sent to one or several processes under
 * one number, and the answers collected until all are there or time is up.
 */
#ifndef CONTROL_ASK_H
#define CONTROL_ASK_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/util/buffer.h"
#include "common/util/clock.h"
#include "common/util/metrics.h"

#define ASK_SHORT (3 * CLOCK_SECOND)  /* a look at state in memory */
#define ASK_LONG  (30 * CLOCK_SECOND) /* disk, network, Argon2id */
#define ASK_ROWS  262144              /* kept of one kind; then cut */

struct ask;

/* What came back; valid during the callback. */
struct ask_answer {
	unsigned int missing; /* process bits: no answer */
	unsigned int late;    /* of these: up, but silent */
	int cut;              /* more rows than ASK_ROWS */
	struct buffer rows[SHOW_KINDS];
	struct metric_value *metrics; /* sums, or NULL: not asked */
	int have_ticket;
	struct ipc_ticket ticket;
	unsigned int results;  /* RESULTs with ok 1 */
	unsigned int refusals; /* RESULTs with ok 0 */
	uint64_t count;        /* sum of RESULT.count */
	char text[1025];       /* of the last RESULT */
};

typedef void (*ask_done)(void *arg, const struct ask_answer *answer);

/*
 * A question that ends after timeout ns at the latest. done is called once,
 * from the event loop, never before ask_start() returned; the ask is freed
 * after it. NULL with errno.
 */
struct ask *ask_new(int64_t timeout, ask_done done, void *arg);

/* Ask for rows of a kind; for the metrics of every process. */
void ask_show(struct ask *ask, enum show_what what);
void ask_metrics(struct ask *ask);

/*
 * Send any other message whose payload begins with the id of the question;
 * the id is filled in. fd is -1 or goes along, and is owned from here.
 */
void ask_send(struct ask *ask, enum process process, enum ipc_type type,
    const void *payload, int fd);

void ask_start(struct ask *ask);
void ask_cancel(struct ask *ask); /* done is not called */

/* The rows of a kind. *count gets their number. */
const void *ask_rows(
    const struct ask_answer *answer, enum show_what what, size_t *count);

/* For the handler table: an answer from a process; its door went down. */
void ask_message(enum process from, const struct ipc_message *message);
void ask_lost(enum process process);

#endif
