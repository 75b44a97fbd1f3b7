/* Any process. Time in nanoseconds; see clock.h. */

#include <time.h>

#include "common/util/clock.h"

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

int64_t
clock_wall(void)
{
	return (clock_read(CLOCK_REALTIME));
}
