/*
 * hermesctl(8): top. What the node said at two moments, the rates that
 * follow, and the screen drawn of them. Drawing does no I/O but on the stream
 * it is given, so tests draw without a terminal.
 */
#ifndef CONTROL_CTL_TOP_H
#define CONTROL_CTL_TOP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define TOP_COLUMNS_MAX 512

/* What the node said; members are owned, and NULL where it did not answer. */
struct top_sample {
	int64_t at;      /* clock_monotonic() */
	json_t *summary; /* object, as `show summary` */
	json_t *status;  /* object, as `status` */
	json_t *nodes;   /* arrays of rows, as `show` */
	json_t *chats;
	char failure[256]; /* why something is missing; "" nothing is */
};

struct top_view {
	struct top_sample now;
	struct top_sample before; /* at 0: there is none yet */
	int rows;                 /* of the terminal */
	int columns;
	int colour;
	char clock[16]; /* the time of day as it is shown */
};

void top_sample_free(struct top_sample *sample);

/* The rate of a number in the summary, a second; 0 without two samples. */
double top_rate(const struct top_view *view, const char *key);

/*
 * The object that `top -j` prints for one interval, a new reference: what the
 * daemon said, and "rates"; hermesctl(8) lists its keys. Sorts the chats.
 */
json_t *top_json(struct top_view *view);

/* Draw the whole screen, from its upper left corner, rows lines of at most
 * columns characters. Sorts the chats of now, the busiest first. */
void top_draw(FILE *out, struct top_view *view);

#endif
