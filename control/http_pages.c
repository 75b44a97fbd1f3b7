/*
 * control: what the admin HTTP shows, as the contract lists it. Nothing here
 * changes anything, and ids are shortened unless the operator wants them
 * whole (admin ids full).
 */

#include <stdlib.h>
#include <string.h>

#include "control/ask.h"
#include "control/control.h"
#include "control/http.h"
#include "control/readiness.h"
#include "control/report.h"

#define TYPE_JSON    "application/json"
#define TYPE_METRICS "text/plain; version=0.0.4"

/* Answer with value, whose reference is taken. */
static void
page_json(struct http *http, int status, json_t *value)
{
	struct buffer text;

	buffer_init(&text);
	if (report_dump(value, JSON_INDENT(2), &text) == -1 ||
	    buffer_append(&text, "\n", 1) == -1)
		http_answer(http, 503, TYPE_JSON, "{}\n", 3);
	else
		http_answer(http, status, TYPE_JSON, buffer_bytes(&text),
		    buffer_length(&text));
	buffer_free(&text);
}

static void
page_missing(struct http *http, const struct ask_answer *answer)
{
	page_json(http, 503,
	    json_pack("{s:s s:o}", "error", "a process does not answer",
		"missing", report_process_names(answer->missing)));
}

static void
page_health(void *arg, const struct ask_answer *answer)
{
	struct http *http = arg;

	http_asked(http);
	if (answer->missing != 0)
		page_missing(http, answer);
	else
		page_json(http, 200, json_pack("{s:s}", "status", "ok"));
}

static void
page_ready(void *arg, const struct ask_answer *answer)
{
	struct http *http = arg;
	unsigned int reasons = readiness_find(answer);

	http_asked(http);
	page_json(http, reasons == 0 ? 200 : 503,
	    json_pack("{s:b s:o}", "ready", reasons == 0, "reasons",
		readiness_texts(reasons)));
}

static void
page_metrics(void *arg, const struct ask_answer *answer)
{
	struct http *http = arg;
	struct buffer text;

	http_asked(http);
	buffer_init(&text);
	if (report_metrics(answer, &text) == -1)
		http_answer(http, 503, TYPE_METRICS, "", 0);
	else
		http_answer(http, 200, TYPE_METRICS, buffer_bytes(&text),
		    buffer_length(&text));
	buffer_free(&text);
}

static void
page_rows(struct http *http, const struct ask_answer *answer,
    enum show_what what, enum process owner)
{
	http_asked(http);
	if (answer->missing & owner)
		page_missing(http, answer);
	else
		page_json(http, 200,
		    report_rows(
			answer, what, control.config.admin_full_ids != 0));
}

static void
page_members(void *arg, const struct ask_answer *answer)
{
	page_rows(arg, answer, SHOW_NODES, PROCESS_MESH);
}

static void
page_apps(void *arg, const struct ask_answer *answer)
{
	page_rows(arg, answer, SHOW_APPS, PROCESS_MESH);
}

static void
page_ratchets(void *arg, const struct ask_answer *answer)
{
	page_rows(arg, answer, SHOW_RATCHETS, PROCESS_KEYD);
}

static void
ask_members(struct ask *ask)
{
	ask_show(ask, SHOW_NODES);
}

static void
ask_apps(struct ask *ask)
{
	ask_show(ask, SHOW_APPS);
}

static void
ask_ratchets(struct ask *ask)
{
	ask_show(ask, SHOW_RATCHETS);
	ask_show(ask, SHOW_NODES);
}

static const struct {
	const char *path;
	void (*ask)(struct ask *);
	ask_done done;
} pages[] = {
	{ "/healthz", ask_metrics, page_health },
	{ "/readyz", readiness_ask, page_ready },
	{ "/metrics", ask_metrics, page_metrics },
	{ "/mesh/members", ask_members, page_members },
	{ "/mesh/apps", ask_apps, page_apps },
	{ "/crypto/ratchets", ask_ratchets, page_ratchets },
};
#define PAGES (sizeof(pages) / sizeof(pages[0]))

struct ask *
http_page(struct http *http, const char *path)
{
	struct ask *ask;
	size_t i;

	if (strcmp(path, "/") == 0) {
		page_status(http);
		return (NULL);
	}
	for (i = 0; i < PAGES; i++)
		if (strcmp(path, pages[i].path) == 0)
			break;
	if (i == PAGES ||
	    (pages[i].ask == ask_apps && !control.config.admin_apps)) {
		page_json(
		    http, 404, json_pack("{s:s}", "error", "no such page"));
		return (NULL);
	}
	ask = ask_new(ASK_SHORT, pages[i].done, http);
	if (ask == NULL) {
		page_json(http, 503, NULL);
		return (NULL);
	}
	pages[i].ask(ask);
	ask_start(ask);
	return (ask);
}
