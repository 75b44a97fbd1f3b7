/* hermesctl(8): the screen of top; see ctl_top.h. */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/clock.h"
#include "control/ctl.h"
#include "control/ctl_top.h"

#define TOP_CELL    128

/* Attributes of a line, as SGR parameters. */
#define TOP_PLAIN   ""
#define TOP_BOLD    "1"
#define TOP_REVERSE "7"
#define TOP_RED     "1;31"
#define TOP_YELLOW  "33"

/* Where on the screen the next line goes. */
struct top_screen {
	FILE *out;
	const struct top_view *view;
	int row; /* of lines drawn */
};

/* --- rates --------------------------------------------------------------- */

static double
top_seconds(const struct top_view *view)
{
	if (view->before.at == 0 || view->now.at <= view->before.at)
		return (0);
	return (
	    (double)(view->now.at - view->before.at) / (double)CLOCK_SECOND);
}

/* From one number to a later one; a counter that began anew counts from 0. */
static double
top_difference(const json_t *now, const json_t *before, double seconds)
{
	double a = json_number_value(before), b = json_number_value(now);

	if (seconds <= 0 || before == NULL || now == NULL)
		return (0);
	return ((b >= a ? b - a : b) / seconds);
}

double
top_rate(const struct top_view *view, const char *key)
{
	return (top_difference(json_object_get(view->now.summary, key),
	    json_object_get(view->before.summary, key), top_seconds(view)));
}

/* What names a row of chats: the handle and the side. */
static void
top_chat_name(char name[TOP_CELL], const json_t *row)
{
	const char *handle, *app;

	handle = json_string_value(json_object_get(row, "handle"));
	app = json_string_value(json_object_get(row, "local_app_id"));
	(void)snprintf(name, TOP_CELL, "%s/%s", handle != NULL ? handle : "",
	    app != NULL ? app : "");
}

/* Give each chat its rates, by what it was before. */
static void
top_chat_rates(struct top_view *view)
{
	json_t *row, *was, *index = json_object();
	double seconds = top_seconds(view);
	char name[TOP_CELL];
	size_t i;

	for (i = 0; (row = json_array_get(view->before.chats, i)) != NULL;
	     i++) {
		top_chat_name(name, row);
		(void)json_object_set(index, name, row);
	}
	for (i = 0; (row = json_array_get(view->now.chats, i)) != NULL; i++) {
		top_chat_name(name, row);
		was = json_object_get(index, name);
		(void)json_object_set_new(row, "sent_per_second",
		    json_real(top_difference(json_object_get(row, "accepted"),
			json_object_get(was, "accepted"), seconds)));
		(void)json_object_set_new(row, "received_per_second",
		    json_real(top_difference(json_object_get(row, "delivered"),
			json_object_get(was, "delivered"), seconds)));
	}
	json_decref(index);
}

static double
top_chat_busy(const json_t *row)
{
	return (json_number_value(json_object_get(row, "sent_per_second")) +
		json_number_value(json_object_get(row, "received_per_second")));
}

/* The busiest first, then those with more behind them, then by name. */
static int
top_chat_compare(const void *one, const void *other)
{
	const json_t *a = *(json_t *const *)one, *b = *(json_t *const *)other;
	double busy = top_chat_busy(b) - top_chat_busy(a);
	json_int_t sent;

	if (busy > 0 || busy < 0)
		return (busy > 0 ? 1 : -1);
	sent = json_integer_value(json_object_get(b, "accepted")) -
	       json_integer_value(json_object_get(a, "accepted"));
	if (sent != 0)
		return (sent > 0 ? 1 : -1);
	return (strcmp(json_string_value(json_object_get(a, "handle")),
	    json_string_value(json_object_get(b, "handle"))));
}

/* Those in trouble, those that are well, those that are gone. */
static int
top_node_rank(const json_t *row)
{
	static const char *const trouble[] = { "suspect", "failed", "expired" };
	const char *state = json_string_value(json_object_get(row, "state"));
	size_t i;

	for (i = 0; i < sizeof(trouble) / sizeof(trouble[0]); i++)
		if (strcmp(state, trouble[i]) == 0)
			return (0);
	return (strcmp(state, "alive") == 0 ? 1 : 2);
}

/* By rank, then by name. */
static int
top_node_compare(const void *one, const void *other)
{
	const json_t *a = *(json_t *const *)one, *b = *(json_t *const *)other;
	int rank = top_node_rank(a) - top_node_rank(b);

	if (rank != 0)
		return (rank);
	return (strcmp(json_string_value(json_object_get(a, "node_id")),
	    json_string_value(json_object_get(b, "node_id"))));
}

/* Sort an array of rows, all of which have the texts compared. */
static void
top_sort(json_t *rows, int (*compare)(const void *, const void *))
{
	size_t i, count = json_array_size(rows);
	json_t **sorted = calloc(count + 1, sizeof(json_t *));

	if (sorted == NULL)
		return;
	for (i = 0; i < count; i++)
		sorted[i] = json_incref(json_array_get(rows, i));
	qsort(sorted, count, sizeof(json_t *), compare);
	for (i = 0; i < count; i++)
		(void)json_array_set_new(rows, i, sorted[i]);
	free(sorted);
}

static void
top_prepare(struct top_view *view)
{
	top_chat_rates(view);
	top_sort(view->now.chats, top_chat_compare);
	top_sort(view->now.nodes, top_node_compare);
}

json_t *
top_json(struct top_view *view)
{
	static const char *const rates[] = { "messages_sent",
		"messages_received", "message_bytes", "rekeys", "errors" };
	const struct top_sample *now = &view->now;
	json_t *all, *rate = json_object();
	size_t i;

	top_prepare(view);
	for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		(void)json_object_set_new(
		    rate, rates[i], json_real(top_rate(view, rates[i])));
	all = json_pack("{s:b s:f s:o s:O?}", "ok", now->failure[0] == '\0',
	    "interval_seconds", top_seconds(view), "rates", rate, "summary",
	    now->summary);
	(void)json_object_update(all, now->status);
	(void)json_object_set_new(
	    all, "ok", json_boolean(now->failure[0] == '\0'));
	(void)json_object_set(all, "nodes", now->nodes);
	(void)json_object_set(all, "chats", now->chats);
	if (now->failure[0] != '\0')
		(void)json_object_set_new(
		    all, "message", json_string(now->failure));
	return (all);
}

void
top_sample_free(struct top_sample *sample)
{
	json_decref(sample->summary);
	json_decref(sample->status);
	json_decref(sample->nodes);
	json_decref(sample->chats);
	memset(sample, 0, sizeof(*sample));
}

/* --- lines --------------------------------------------------------------- */

/* One line, cut at the terminal's width; none below its last row. */
static void __attribute__((format(printf, 3, 4))) top_line(
    struct top_screen *screen, const char *attribute, const char *format, ...)
{
	char text[TOP_COLUMNS_MAX + 1];
	int width = screen->view->columns;
	va_list ap;

	if (screen->row >= screen->view->rows)
		return;
	va_start(ap, format);
	if (vsnprintf(text, sizeof(text), format, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	ctl_clean(text);
	if (width > TOP_COLUMNS_MAX)
		width = TOP_COLUMNS_MAX;
	text[width] = '\0';
	if (screen->row++ > 0)
		(void)fputs("\r\n", screen->out);
	if (!screen->view->colour || attribute[0] == '\0') {
		(void)fprintf(screen->out, "%s\033[K", text);
		return;
	}
	/* A bar is as wide as the terminal. */
	(void)fprintf(screen->out, "\033[%sm%-*s\033[0m\033[K", attribute,
	    strcmp(attribute, TOP_REVERSE) == 0 ? width : 0, text);
}

/* A number in at most 6 characters: 999.9, 12.3k, 4.5M. */
static const char *
top_number(char text[TOP_CELL], double number)
{
	static const char units[] = " kMGTPE";
	size_t i = 0;

	while (number >= 999.95 && units[i + 1] != '\0') {
		number /= 1000;
		i++;
	}
	(void)snprintf(text, TOP_CELL, "%.1f%.*s", number, i > 0, &units[i]);
	return (text);
}

static const char *
top_text(char text[TOP_CELL], const json_t *row, const char *key,
    enum ctl_kind kind, size_t width)
{
	ctl_cell(text, TOP_CELL, json_object_get(row, key), kind);
	if (strlen(text) > width) {
		text[width] = '\0';
		if (kind == CTL_TEXT && width > 0)
			text[width - 1] = '~';
	}
	return (text);
}

static json_int_t
top_integer(const json_t *row, const char *key)
{
	return (json_integer_value(json_object_get(row, key)));
}

static int
top_true(const json_t *row, const char *key)
{
	return (json_is_true(json_object_get(row, key)));
}

/* --- the head ------------------------------------------------------------ */

/* Why the node is not ready, or what did not answer. */
static void
top_state(char *text, size_t size, const struct top_sample *now)
{
	const json_t *reasons = json_object_get(now->status, "reasons");
	const char *reason;
	size_t i;

	if (now->status == NULL) {
		(void)snprintf(text, size, "NO ANSWER: %s", now->failure);
		return;
	}
	(void)snprintf(text, size, "%s",
	    top_true(now->status, "ready") ? "ready" : "NOT READY");
	for (i = 0;
	     (reason = json_string_value(json_array_get(reasons, i))) != NULL;
	     i++) {
		(void)strlcat(text, i == 0 ? ": " : ", ", size);
		(void)strlcat(text, reason, size);
	}
	if (now->failure[0] != '\0') {
		(void)strlcat(text, "; ", size);
		(void)strlcat(text, now->failure, size);
	}
}

static json_int_t
top_restarts(const json_t *status)
{
	const json_t *row, *processes = json_object_get(status, "processes");
	json_int_t restarts = 0;
	size_t i;

	for (i = 0; (row = json_array_get(processes, i)) != NULL; i++)
		restarts += top_integer(row, "restarts");
	return (restarts);
}

static void
top_head(struct top_screen *screen)
{
	const struct top_view *view = screen->view;
	const struct top_sample *now = &view->now;
	char node[TOP_CELL], mesh[TOP_CELL], since[TOP_CELL], state[512];
	char in[TOP_CELL], out[TOP_CELL], bytes[TOP_CELL], rekeys[TOP_CELL];

	top_text(node, now->summary, "node_id", CTL_TEXT, 24);
	top_text(mesh, now->summary, "mesh_id", CTL_ID, 12);
	top_text(since, now->summary, "up_since", CTL_TIME, 16);
	top_state(state, sizeof(state), now);
	top_line(screen, TOP_BOLD, "%s  mesh %s%s  up since %s  %s", node, mesh,
	    top_true(now->summary, "authority") ? " (authority)" : "", since,
	    view->clock);
	top_line(screen,
	    now->failure[0] == '\0' && top_true(now->status, "ready")
		? TOP_PLAIN
		: TOP_RED,
	    "%s", state);
	top_line(screen, TOP_PLAIN,
	    "nodes     %lld alive, %lld suspect, %lld failed   apps %lld here, "
	    "%lld in the mesh",
	    (long long)top_integer(now->summary, "nodes_alive"),
	    (long long)top_integer(now->summary, "nodes_suspect"),
	    (long long)top_integer(now->summary, "nodes_failed"),
	    (long long)top_integer(now->summary, "sessions"),
	    (long long)top_integer(now->summary, "apps"));
	top_line(screen, TOP_PLAIN,
	    "messages  %s/s from apps, %s/s to apps, %sB/s",
	    top_number(out, top_rate(view, "messages_sent")),
	    top_number(in, top_rate(view, "messages_received")),
	    top_number(bytes, top_rate(view, "message_bytes")));
	top_line(screen, TOP_PLAIN,
	    "rekeys    %lld, %s/s   errors %lld   restarts %lld   disk %lld%%",
	    (long long)top_integer(now->summary, "rekeys"),
	    top_number(rekeys, top_rate(view, "rekeys")),
	    (long long)top_integer(now->summary, "errors"),
	    (long long)top_restarts(now->status),
	    (long long)top_integer(now->summary, "disk_used_percent"));
}

/* --- the tables ---------------------------------------------------------- */

static void
top_node(struct top_screen *screen, const json_t *row)
{
	char node[TOP_CELL], state[TOP_CELL], rtt[TOP_CELL], seen[TOP_CELL],
	    endpoint[TOP_CELL];
	const char *attribute = TOP_PLAIN;

	top_text(state, row, "state", CTL_TEXT, 8);
	if (strcmp(state, "suspect") == 0)
		attribute = TOP_YELLOW;
	else if (strcmp(state, "failed") == 0 || strcmp(state, "expired") == 0)
		attribute = TOP_RED;
	top_line(screen, attribute, "%-20s %-8s %8s %8s %6lld  %s",
	    top_text(node, row, "node_id", CTL_TEXT, 20), state,
	    top_text(rtt, row, "rtt_seconds", CTL_SECONDS, 8),
	    top_true(row, "self")
		? "here"
		: top_text(seen, row, "last_seen_seconds", CTL_SECONDS, 8),
	    (long long)top_integer(row, "apps"),
	    top_text(endpoint, row, "endpoint", CTL_TEXT, TOP_CELL - 1));
}

static void
top_chat(struct top_screen *screen, const json_t *row)
{
	char chat[TOP_CELL], local[TOP_CELL], peer[TOP_CELL], node[TOP_CELL],
	    state[TOP_CELL], sent[TOP_CELL], received[TOP_CELL];

	top_text(state, row, "state", CTL_TEXT, 9);
	top_line(screen, strcmp(state, "ready") == 0 ? TOP_PLAIN : TOP_YELLOW,
	    "%-12s %-9s %-9s %-12s %-9s %5lld %8s %8s",
	    top_text(chat, row, "chat_id", CTL_TEXT, 12),
	    top_text(local, row, "local_app_id", CTL_ID, 9),
	    top_text(peer, row, "remote_app_id", CTL_ID, 9),
	    top_text(node, row, "remote_node_id", CTL_TEXT, 12), state,
	    (long long)top_integer(row, "key_version"),
	    top_number(sent,
		json_number_value(json_object_get(row, "sent_per_second"))),
	    top_number(received, json_number_value(json_object_get(
				     row, "received_per_second"))));
}

/* Rows of a table in the lines given; what has no room is counted. */
static void
top_table(struct top_screen *screen, const json_t *rows, int lines,
    void (*draw)(struct top_screen *, const json_t *))
{
	int count = (int)json_array_size(rows), i;

	for (i = 0; i < count && i < lines; i++) {
		if (i == lines - 1 && count > lines) {
			top_line(
			    screen, TOP_PLAIN, "... and %d more", count - i);
			return;
		}
		draw(screen, json_array_get(rows, (size_t)i));
	}
}

/*
 * Head 5 lines, two bars with a blank line before each, the help: the tables
 * share the rest. Nodes get what they need, up to half of it.
 */
void
top_draw(FILE *out, struct top_view *view)
{
	struct top_screen screen = { out, view, 0 };
	int rest = view->rows - 10, nodes;

	top_prepare(view);
	nodes = (int)json_array_size(view->now.nodes);
	if (nodes > rest / 2)
		nodes = rest / 2;
	(void)fputs("\033[H", out);
	top_head(&screen);
	top_line(&screen, TOP_PLAIN, "%s", "");
	top_line(&screen, TOP_REVERSE, "%-20s %-8s %8s %8s %6s  %s", "NODE",
	    "STATE", "RTT", "SEEN", "APPS", "ENDPOINT");
	top_table(&screen, view->now.nodes, nodes, top_node);
	top_line(&screen, TOP_PLAIN, "%s", "");
	top_line(&screen, TOP_REVERSE, "%-12s %-9s %-9s %-12s %-9s %5s %8s %8s",
	    "CHAT", "LOCAL APP", "PEER APP", "NODE", "STATE", "KEY", "SENT/S",
	    "RCVD/S");
	top_table(&screen, view->now.chats, rest - nodes, top_chat);
	while (screen.row < view->rows - 1)
		top_line(&screen, TOP_PLAIN, "%s", "");
	top_line(&screen, TOP_BOLD, "q quit   space refresh   chats %zu",
	    json_array_size(view->now.chats));
	(void)fputs("\033[J", out);
}
