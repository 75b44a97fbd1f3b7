/* Tests only. See fuzz_timer.h. */

#include <sys/time.h>

#include <stdlib.h>

#include <event2/event.h>

#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_timer.h"

#define TIMERS 1024
#define FIRED  20000 /* in one run: more is a loop */

struct timer {
	struct event *event;
	int64_t due;
	int64_t every;
};

static struct timer timers[TIMERS];
static size_t count;

int __wrap_event_add(struct event *event, const struct timeval *wait);
int __wrap_event_del(struct event *event);
int __wrap_event_pending(
    const struct event *event, short what, struct timeval *when);
void __real_event_free(struct event *event);
void __wrap_event_free(struct event *event);

static struct timer *
timer_find(const struct event *event)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (timers[i].event == event)
			return (&timers[i]);
	return (NULL);
}

int
__wrap_event_add(struct event *event, const struct timeval *wait)
{
	struct timer *timer = timer_find(event);

	FUZZ_CHECK(wait != NULL && event_get_fd(event) == -1);
	if (timer == NULL) {
		FUZZ_CHECK(count < TIMERS);
		timer = &timers[count++];
	}
	timer->event = event;
	timer->every =
	    (int64_t)wait->tv_sec * CLOCK_SECOND + wait->tv_usec * 1000;
	FUZZ_CHECK(timer->every >= 0);
	timer->due = clock_monotonic() + timer->every;
	return (0);
}

int
__wrap_event_del(struct event *event)
{
	struct timer *timer = timer_find(event);

	if (timer != NULL)
		*timer = timers[--count];
	return (0);
}

int
__wrap_event_pending(
    const struct event *event, short what, struct timeval *when)
{
	(void)what;
	FUZZ_CHECK(when == NULL);
	return (timer_find(event) != NULL ? EV_TIMEOUT : 0);
}

void
__wrap_event_free(struct event *event)
{
	(void)__wrap_event_del(event);
	__real_event_free(event);
}

static struct timer *
timer_next(int64_t until)
{
	struct timer *next = NULL;
	size_t i;

	for (i = 0; i < count; i++)
		if (timers[i].due <= until &&
		    (next == NULL || timers[i].due < next->due))
			next = &timers[i];
	return (next);
}

void
timers_run(int64_t ns)
{
	int64_t until = clock_monotonic() + ns;
	struct timer *timer;
	struct event *event;
	int fired = 0;

	while ((timer = timer_next(until)) != NULL) {
		FUZZ_CHECK(fired++ < FIRED);
		event = timer->event;
		if (timer->due > clock_monotonic())
			fuzz_wall += timer->due - clock_monotonic();
		if (event_get_events(event) & EV_PERSIST)
			timer->due += timer->every;
		else
			*timer = timers[--count];
		event_get_callback(event)(
		    -1, EV_TIMEOUT, event_get_callback_arg(event));
	}
	fuzz_wall += until - clock_monotonic();
}

size_t
timers_pending(void)
{
	return (count);
}
