/*
 * Router, keyd and mesh: events for control; see event.h.
 */
#include "common/proc/event.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"

#define EVENT_BURST 1000
#define EVENT_EVERY (5 * CLOCK_MS) /* one more in that time */

static struct {
	int64_t filled; /* monotonic */
	int64_t tokens;
	uint64_t lost;
	const struct ipc *wanted; /* by this door; NULL: nobody */
} events = { .tokens = EVENT_BURST };

static int
event_allowed(void)
{
	int64_t now = clock_monotonic(), fresh;

	if (events.filled == 0)
		events.filled = now;
	fresh = (now - events.filled) / EVENT_EVERY;
	events.filled += fresh * EVENT_EVERY;
	events.tokens += fresh;
	if (events.tokens > EVENT_BURST)
		events.tokens = EVENT_BURST;
	if (events.tokens == 0)
		return (0);
	events.tokens--;
	return (1);
}

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
	if (ipc_congested(control) || !event_allowed()) {
		events.lost++;
		return;
	}
	event->at = clock_wall();
	event->lost = events.lost;
	events.lost = 0;
	ipc_send(control, IPC_EVENT, event, NULL, 0);
}
