/*
 * router: what was delivered counts only when the kernel has it: this process
 * may be killed, and the app is still to get it. A mark is a sequence of a
 * side and how much the app's stream must have sent by then. An app's sides
 * wait in the order of their marks, so that a stream which takes nothing costs
 * one look, of however many chats, and others' messages none.
 */

#include <event2/event.h>

#include "common/proc/proc.h"
#include "router/chats.h"

#define STUCK_USEC 20000 /* between looks at streams that are stuck, */
#define STUCK_LOOK 256   /* so many of them at a time */

static struct {
	struct app_list fresh; /* since this turn of the loop */
	struct app_list stuck;
	struct event look;
	struct event look_again;
	int looking;
} waiting = { .fresh = TAILQ_HEAD_INITIALIZER(waiting.fresh),
	.stuck = TAILQ_HEAD_INITIALIZER(waiting.stuck) };

/* Have its stream looked at with those of list, behind them; NULL: no more. */
static void
written_wait(struct app *app, struct app_list *list)
{
	if (app->unwritten_list != NULL)
		TAILQ_REMOVE(app->unwritten_list, app, unwritten_entry);
	app->unwritten_list = list;
	if (list != NULL)
		TAILQ_INSERT_TAIL(list, app, unwritten_entry);
}

void
written_forget(struct side *side)
{
	struct app *app = side->app;

	if (!side->unwritten)
		return;
	side->unwritten = 0;
	TAILQ_REMOVE(&app->unwritten, side, unwritten_entry);
	if (TAILQ_EMPTY(&app->unwritten))
		written_wait(app, NULL);
}

/* How much of what the session was given is out of this process. */
static uint64_t
written_sent(const struct session *session)
{
	uint64_t unsent = rpc_stream_unsent(session->stream);

	return (unsent < session->written ? session->written - unsent : 0);
}

/* What is out by now is done with; for the rest its stream is stuck. */
static void
written_look(struct app *app)
{
	uint64_t sent = written_sent(app->session);
	struct side *side;

	written_wait(app, &waiting.stuck);
	while ((side = TAILQ_FIRST(&app->unwritten)) != NULL &&
	       side->mark_offset <= sent) {
		written_forget(side);
		flow_mark(side);
	}
}

static void
written_looked(void)
{
	static const struct timeval delay = { 0, STUCK_USEC };

	waiting.looking = 1;
	flow_flush();
	waiting.looking = 0;
	if (!TAILQ_EMPTY(&waiting.stuck) &&
	    !evtimer_pending(&waiting.look_again, NULL))
		(void)evtimer_add(&waiting.look_again, &delay);
}

static void
written_look_fresh(evutil_socket_t fd, short what, void *arg)
{
	struct app *app;

	(void)fd;
	(void)what;
	(void)arg;
	while ((app = TAILQ_FIRST(&waiting.fresh)) != NULL)
		written_look(app);
	written_looked();
}

static void
written_look_stuck(evutil_socket_t fd, short what, void *arg)
{
	struct app *app, *last = TAILQ_LAST(&waiting.stuck, app_list);
	int i;

	(void)fd;
	(void)what;
	(void)arg;
	for (i = 0; i < STUCK_LOOK; i++) {
		if ((app = TAILQ_FIRST(&waiting.stuck)) == NULL)
			break;
		written_look(app);
		if (app == last)
			break;
	}
	written_looked();
}

void
written_init(void)
{
	(void)evtimer_assign(
	    &waiting.look, proc_base(), written_look_fresh, NULL);
	(void)evtimer_assign(
	    &waiting.look_again, proc_base(), written_look_stuck, NULL);
}

/*
 * Behind the stream's output, which is due in this turn as well, or, if that
 * has not helped, a little later.
 */
static void
written_later(struct side *side)
{
	if (!side->unwritten) {
		side->unwritten = 1;
		TAILQ_INSERT_TAIL(&side->app->unwritten, side, unwritten_entry);
	}
	written_wait(
	    side->app, waiting.looking ? &waiting.stuck : &waiting.fresh);
	if (!waiting.looking)
		event_active(&waiting.look, EV_TIMEOUT, 0);
}

void
written_check(struct side *side)
{
	struct session *session = side->app->session;
	struct chat_core *core = &side->core;
	uint64_t sent;

	if (session == NULL || core->written >= core->delivered)
		return;
	sent = written_sent(session);
	if (sent == session->written)
		core_written(core, core->delivered);
	else if (sent >= side->mark_offset)
		core_written(core, side->mark_sequence);
	if (core->written >= core->delivered)
		return;
	if (core->written >= side->mark_sequence) {
		written_forget(side); /* the highest mark is the last */
		side->mark_sequence = core->delivered;
		side->mark_offset = session->written;
	}
	written_later(side);
}
