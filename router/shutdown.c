/*
 * router: stopping in order. Half of the grace is for messages under way,
 * the rest for apps to read their last frames.
 */

#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "router/chats.h"
#include "router/service.h"
#include "router/shutdown.h"

#define QUIET      (250 * CLOCK_MS) /* for what is on its way in */
#define LOOK_AGAIN (20 * CLOCK_MS)
#define TOLD_FIRST 32 /* apps at once; more are spread */

static struct {
	struct event timer;
	int64_t not_before; /* monotonic */
	int64_t drained_by;
	int64_t done_by;
	int64_t begun;
	int64_t grace;
	uint32_t count; /* apps at the start */
	uint32_t told;  /* of them */
	int finished;   /* streams were told to end */
} stop;

/* Messages that can still arrive: their peer is there. */
static int
messages_under_way(void)
{
	struct side *side;
	size_t cursor = 0;

	while ((side = side_next(&cursor)) != NULL)
		if (side->app->session != NULL && side->peer->present &&
		    !side->ending && core_unacknowledged(&side->core) > 0)
			return (1);
	return (0);
}

/* Many apps that all look for another node at once are a storm: who is told
 * when is spread over a quarter of the grace. */
static void
tell_apps(int64_t now)
{
	struct session *session = NULL;
	int64_t spread = stop.grace / 4;
	uint64_t due = stop.count;

	if (now - stop.begun < spread)
		due = TOLD_FIRST + stop.count * (uint64_t)(now - stop.begun) /
				       (uint64_t)spread;
	while (stop.told < due && (session = session_next(session)) != NULL) {
		if (session->state != SESSION_OPEN || session->told)
			continue;
		session->told = 1;
		stop.told++;
		session_go_away(session, "shutdown", stop.grace / 2);
	}
}

static void
finish_streams(void)
{
	struct session *session, *next;

	for (session = session_next(NULL); session != NULL; session = next) {
		next = session_next(session);
		session_finish(session, RPC_UNAVAILABLE, "node is stopping");
	}
	stop.finished = 1;
}

static void
shutdown_look(evutil_socket_t fd, short what, void *arg)
{
	struct timeval again = { 0, LOOK_AGAIN / 1000 };
	int64_t now = clock_monotonic();

	(void)fd;
	(void)what;
	(void)arg;
	if (!stop.finished)
		tell_apps(now);
	if (!stop.finished &&
	    (now >= stop.drained_by ||
		(now >= stop.not_before && !messages_under_way())))
		finish_streams();
	if (stop.finished &&
	    (now >= stop.done_by || session_next(NULL) == NULL)) {
		log_info(
		    "router_drained", "streams=%d", session_next(NULL) != NULL);
		service_free();
		proc_done();
		return;
	}
	(void)evtimer_add(&stop.timer, &again);
}

void
shutdown_begin(int64_t grace)
{
	int64_t now = clock_monotonic();

	if (router.draining)
		return;
	router.draining = 1;
	stop.begun = now;
	stop.grace = grace;
	stop.count = session_count();
	stop.not_before =
	    now +
	    (grace / 4 < QUIET || stop.count > TOLD_FIRST ? grace / 4 : QUIET);
	stop.drained_by = now + grace / 2;
	stop.done_by = now + grace / 4 * 3;
	service_set_health();
	service_drain();
	(void)evtimer_assign(&stop.timer, proc_base(), shutdown_look, NULL);
	shutdown_look(-1, 0, NULL);
}
