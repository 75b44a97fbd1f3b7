/* control: the node's state, looked at again and again; see vitals.h. */

#include <string.h>

#include <event2/event.h>
#include <jansson.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "control/ask.h"
#include "control/control.h"
#include "control/monitor.h"
#include "control/readiness.h"
#include "control/report.h"
#include "control/vitals.h"

/* What is kept: sums of series from first to last. The page knows the names
 * and what to make of each. */
static const struct {
	const char *name;
	enum metric first, last;
} kept[] = {
	{ "messages", METRIC_MESSAGES_IN_LOCAL, METRIC_MESSAGES_OUT_MESH },
	{ "bytes", METRIC_MESSAGE_BYTES, METRIC_MESSAGE_BYTES },
	{ "sessions", METRIC_SESSIONS_ACTIVE, METRIC_SESSIONS_ACTIVE },
	{ "chats", METRIC_CHATS_ACTIVE, METRIC_CHATS_ACTIVE },
	{ "rekeys", METRIC_REKEYS_APPLIED_APP, METRIC_REKEYS_APPLIED_RECOVERY },
	{ "errors", METRIC_ROUTER_ERRORS_INVALID_FRAME,
	    METRIC_ROUTER_ERRORS_BACKPRESSURE },
};
#define KEPT (sizeof(kept) / sizeof(kept[0]))

static struct {
	struct event *timer;
	struct ask *ask;
	int judged; /* reasons are known */
	unsigned int reasons;
	size_t next; /* where the next sample goes */
	size_t count;
	int64_t kept_at; /* monotonic; the last one */
	uint64_t samples[VITALS_KEPT][KEPT];
} vitals;

static void
vitals_keep(const struct metric_value *values)
{
	uint64_t *sample = vitals.samples[vitals.next];
	size_t i, series;

	for (i = 0; i < KEPT; i++) {
		sample[i] = 0;
		for (series = kept[i].first; series <= kept[i].last; series++)
			sample[i] += values[series].value;
	}
	vitals.kept_at = clock_monotonic();
	vitals.next = (vitals.next + 1) % VITALS_KEPT;
	if (vitals.count < VITALS_KEPT)
		vitals.count++;
}

static void
vitals_tell(enum process peer)
{
	struct ipc_request request = { .value = vitals.reasons &
						NOT_READY_NEW_CHATS };
	struct ipc *ipc = control.door(peer);

	if (ipc != NULL)
		ipc_send(ipc, IPC_NEW_CHATS, &request, NULL, 0);
}

void
vitals_door_up(enum process peer)
{
	if (vitals.judged && (peer == PROCESS_ROUTER || peer == PROCESS_KEYD))
		vitals_tell(peer);
}

static void
vitals_judge(unsigned int reasons)
{
	unsigned int changed = vitals.reasons ^ reasons;
	char words[256];

	if (vitals.judged && changed == 0)
		return;
	/* The first says nothing when all is well, or the node is still
	 * starting: that is what one expects. */
	if (changed != 0) {
		readiness_words(reasons, words, sizeof(words));
		if (reasons != 0)
			log_warn("not_ready", "reasons=%s new_chats=%s", words,
			    reasons & NOT_READY_NEW_CHATS ? "refused"
							  : "taken");
		else
			log_info("ready", "new_chats=taken");
		monitor_readiness(reasons);
	}
	vitals.reasons = reasons;
	if (!vitals.judged || (changed & NOT_READY_NEW_CHATS) != 0) {
		vitals_tell(PROCESS_ROUTER);
		vitals_tell(PROCESS_KEYD);
	}
	vitals.judged = 1;
}

static void
vitals_answered(void *arg, const struct ask_answer *answer)
{
	(void)arg;
	vitals.ask = NULL;
	if (answer->metrics == NULL)
		return; /* memory is out: nothing is known */
	/* A counter that is missing must not look like one that fell. */
	if (answer->missing == 0)
		vitals_keep(answer->metrics);
	vitals_judge(readiness_find(answer));
}

static void
vitals_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (vitals.ask != NULL || control.draining)
		return;
	vitals.ask = ask_new(ASK_SHORT, vitals_answered, NULL);
	if (vitals.ask == NULL)
		return;
	readiness_ask(vitals.ask);
	ask_start(vitals.ask);
}

int
vitals_start(void)
{
	static const struct timeval every = { VITALS_SECONDS, 0 };

	memset(&vitals, 0, sizeof(vitals));
	vitals.timer =
	    event_new(control.base, -1, EV_PERSIST, vitals_tick, NULL);
	if (vitals.timer == NULL || event_add(vitals.timer, &every) == -1)
		return (-1);
	event_active(vitals.timer, EV_TIMEOUT, 1);
	return (0);
}

void
vitals_stop(void)
{
	if (vitals.ask != NULL)
		ask_cancel(vitals.ask);
	if (vitals.timer != NULL)
		event_free(vitals.timer);
	vitals.ask = NULL;
	vitals.timer = NULL;
}

unsigned int
vitals_reasons(void)
{
	return (vitals.reasons);
}

int
vitals_print(struct buffer *out)
{
	json_t *names = json_array(), *samples = json_array(), *all, *row;
	size_t i, k, at;

	for (k = 0; k < KEPT; k++)
		(void)json_array_append_new(names, json_string(kept[k].name));
	for (i = 0; i < vitals.count; i++) {
		at = (vitals.next + VITALS_KEPT - vitals.count + i) %
		     VITALS_KEPT;
		row = json_array();
		for (k = 0; k < KEPT; k++)
			(void)json_array_append_new(row,
			    json_integer((json_int_t)vitals.samples[at][k]));
		(void)json_array_append_new(samples, row);
	}
	/* No text here can hold a '<': a node's name is of [a-z0-9-]. */
	all = json_pack("{s:i s:f s:o s:o s:s s:s}", "every", VITALS_SECONDS,
	    "age", (double)(clock_monotonic() - vitals.kept_at) / CLOCK_SECOND,
	    "names", names, "samples", samples, "node_id",
	    control.config.node_id, "version", HERMES_VERSION);
	return (report_dump(all, JSON_COMPACT, out));
}
