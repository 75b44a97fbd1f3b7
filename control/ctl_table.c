/* hermesctl(8): tables, cells, JSON on standard output. */

#include <stdlib.h>
#include <string.h>

#include "control/ctl.h"

#define CTL_CELL    512
#define CTL_COLUMNS 16

void
ctl_clean(char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

/* The texts of an array, or "-" when there are none. */
static void
ctl_list(char *text, size_t size, const json_t *list)
{
	const char *one;
	size_t i;

	text[0] = '\0';
	for (i = 0; i < json_array_size(list); i++) {
		one = json_string_value(json_array_get(list, i));
		if (i > 0)
			(void)strlcat(text, ", ", size);
		(void)strlcat(text, one != NULL ? one : "?", size);
	}
}

void
ctl_cell(char *text, size_t size, const json_t *value, enum ctl_kind kind)
{
	double seconds = json_number_value(value);
	char *t;

	if (value == NULL || json_is_null(value))
		(void)snprintf(text, size, "-");
	else if (json_is_boolean(value))
		(void)snprintf(
		    text, size, "%s", json_is_true(value) ? "yes" : "no");
	else if (kind == CTL_SECONDS && json_is_number(value))
		(void)snprintf(text, size, seconds < 1 ? "%.1fms" : "%.1fs",
		    seconds < 1 ? seconds * 1000 : seconds);
	else if (json_is_integer(value))
		(void)snprintf(
		    text, size, "%lld", (long long)json_integer_value(value));
	else if (json_is_string(value))
		(void)snprintf(text, size, "%s", json_string_value(value));
	else if (json_is_array(value))
		ctl_list(text, size, value);
	else
		(void)snprintf(text, size, "?");
	/* 2026-01-31T12:34:56Z becomes 2026-01-31 12:34. */
	if (kind == CTL_TIME && strlen(text) == 20 &&
	    (t = strchr(text, 'T')) != NULL) {
		*t = ' ';
		text[16] = '\0';
	}
	if (text[0] == '\0')
		(void)snprintf(text, size, "-");
	ctl_clean(text);
}

/* The cell of a row, cut to the column's width unless whole. */
static void
ctl_fit(char text[CTL_CELL], const struct ctl_column *column, const json_t *row,
    int whole)
{
	ctl_cell(
	    text, CTL_CELL, json_object_get(row, column->key), column->kind);
	if (!whole && column->width != 0 && strlen(text) > column->width) {
		if (column->kind != CTL_ID)
			text[column->width - 1] = '~';
		text[column->width] = '\0';
	}
}

static void
ctl_line(FILE *out, const struct ctl_column *columns, const size_t *widths,
    const json_t *row, int whole)
{
	char text[CTL_CELL];
	size_t i;

	for (i = 0; columns[i].head != NULL; i++) {
		const char *cell = columns[i].head;
		int width = (int)widths[i];

		if (row != NULL) {
			ctl_fit(text, &columns[i], row, whole);
			cell = text;
		}
		if (columns[i].kind == CTL_NUMBER ||
		    columns[i].kind == CTL_SECONDS)
			(void)fprintf(out, "%*s", width, cell);
		else if (columns[i + 1].head == NULL)
			(void)fprintf(out, "%s", cell);
		else
			(void)fprintf(out, "%-*s", width, cell);
		(void)fprintf(out, columns[i + 1].head == NULL ? "\n" : "  ");
	}
}

void
ctl_table(
    FILE *out, const struct ctl_column *columns, const json_t *rows, int whole)
{
	size_t widths[CTL_COLUMNS], i, j;
	char text[CTL_CELL];
	json_t *row;

	for (i = 0; i < CTL_COLUMNS && columns[i].head != NULL; i++) {
		widths[i] = strlen(columns[i].head);
		for (j = 0; (row = json_array_get(rows, j)) != NULL; j++) {
			ctl_fit(text, &columns[i], row, whole);
			if (strlen(text) > widths[i])
				widths[i] = strlen(text);
		}
	}
	ctl_line(out, columns, widths, NULL, whole);
	for (j = 0; (row = json_array_get(rows, j)) != NULL; j++)
		ctl_line(out, columns, widths, row, whole);
}

void
ctl_print_json(const json_t *value)
{
	/* Escaped to ASCII: safe on a terminal, the same JSON. */
	(void)json_dumpf(value, stdout,
	    JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
	(void)putchar('\n');
}
