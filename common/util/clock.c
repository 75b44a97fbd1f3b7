/* Any process. Time in nanoseconds; see clock.h. */

#include <time.h>

#include "common/util/clock.h"

/* Goes on while the machine sleeps, so that waking up is no jump. */
#ifdef CLOCK_BOOTTIME
#define CLOCK_STEADY CLOCK_BOOTTIME
#else
#define CLOCK_STEADY CLOCK_MONOTONIC
#endif

static struct clock_state state;

static int64_t
clock_read(clockid_t id)
{
	struct timespec now;

	if (clock_gettime(id, &now) == -1)
		return (0); /* neither clock can fail on a valid id */
	return ((int64_t)now.tv_sec * CLOCK_SECOND + now.tv_nsec);
}

int64_t
clock_monotonic(void)
{
	return (clock_read(CLOCK_MONOTONIC));
}

static int64_t
distance(int64_t a, int64_t b)
{
	return (a > b ? a - b : b - a);
}

int64_t
clock_judge(struct clock_state *clock, int64_t wall, int64_t steady)
{
	int64_t offset = wall - steady;

	if (!clock->begun || distance(offset, clock->offset) <= CLOCK_JUMP) {
		clock->begun = 1;
		clock->offset = offset;
		clock->since = 0;
		return (wall);
	}
	if (clock->since == 0 ||
	    distance(offset, clock->jumped_to) > CLOCK_JUMP) {
		clock->jumped_to = offset;
		clock->since = steady;
	} else if (steady - clock->since >= CLOCK_HOLD) {
		clock->offset = offset;
		clock->since = 0;
	}
	return (steady + clock->offset);
}

int64_t
clock_wall(void)
{
	return (clock_judge(
	    &state, clock_read(CLOCK_REALTIME), clock_read(CLOCK_STEADY)));
}

int64_t
clock_jump(void)
{
	(void)clock_wall();
	return (state.since == 0 ? 0 : distance(state.jumped_to, state.offset));
}
