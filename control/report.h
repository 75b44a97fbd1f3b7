/*
 * control: rows of answers as JSON, for hermesctl and the admin HTTP alike.
 * The keys are documented in hermesctl(8) and never change meaning. Rows may
 * come from a hostile process: texts are cut at their array and made UTF-8.
 */
#ifndef CONTROL_REPORT_H
#define CONTROL_REPORT_H

#include <stdint.h>

#include <jansson.h>

#include "control/ask.h"

#define REPORT_SHORT 12 /* characters of an id that is shortened */

/* All rows of a kind as an array; ids whole when full. New reference, NULL
 * when memory is out. RATCHETS wants NODES in the answer, for their names. */
json_t *report_rows(
    const struct ask_answer *answer, enum show_what what, int full);

/* What a kind is called on the command line; 0 for another word. */
const char *report_word(enum show_what what);
enum show_what report_find(const char *word);

/* The node at a glance, from the metrics in answer; its own key and its
 * mesh's id are whole, to be pinned. */
json_t *report_summary(const struct ask_answer *answer);

/* The five processes: name, pid, up, restarts, since; NULL when memory is
 * out. */
json_t *report_processes(const struct ask_answer *answer);

/* The metrics of all processes in the Prometheus text format, with what
 * control knows of processes filled in. 0, or -1 when memory is out. */
int report_metrics(const struct ask_answer *answer, struct buffer *out);

/* Names of the processes in a set of bits; NULL when memory is out. */
json_t *report_process_names(unsigned int processes);

/*
 * Append value as text (flags: of jansson); its reference is taken. NULL, what
 * memory was missing for, fails. 0 or -1, with part of it in out. Not
 * json_dumps(), which loses keys when its memory ends.
 */
int report_dump(json_t *value, size_t flags, struct buffer *out);

/* Parts of rows. time: ns since the epoch as RFC 3339 in UTC, null for 0.
 * id: the hex digits of length bytes, shortened unless full. text: at most
 * size bytes up to a NUL, "?" when they are no UTF-8. NULL: no memory. */
json_t *report_time(int64_t when);
json_t *report_id(const uint8_t *bytes, size_t length, int full);
json_t *report_text(const char *text, size_t size, int full);

#endif
