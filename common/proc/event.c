/*
 * Router, keyd and mesh: events for control; see event.h.
 */
#include "common/proc/event.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/rate.h"

/* So many at once, and as many in that time. */
#define EVENTS    1000
#define EVENTS_IN (5 * CLOCK_SECOND)

static struct {
	int64_t due; /* see rate_take() */
	uint64_t lost;
	const struct ipc *wanted; /* by this door; NULL: nobody */
} events;

void
proc_events_wanted(void *arg, const struct ipc_message *message)
{
	const struct proc_door *door = arg;
	const struct ipc_request *request = message->payload;

	events.wanted = request->value != 0 ? door->ipc : NULL;
	events.lost = 0;
}

void
proc_event(struct ipc_event *event)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);

	/* A new control has not asked yet. */
	if (control == NULL || control != events.wanted)
		return;
	if (ipc_congested(control) || rate_take(&events.due, clock_monotonic(),
					  EVENTS, EVENTS_IN, 0) > 0) {
		events.lost++;
		return;
	}
	event->at = clock_wall();
	event->lost = events.lost;
	events.lost = 0;
	ipc_send(control, IPC_EVENT, event, NULL, 0);
}
