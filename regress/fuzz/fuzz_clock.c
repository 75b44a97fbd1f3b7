/* Tests only. Instead of common/util/clock.c: time as the input sets it. */

#include "regress/fuzz/fuzz_clock.h"

int64_t fuzz_wall = FUZZ_EPOCH;

int64_t
clock_monotonic(void)
{
	return (fuzz_wall - FUZZ_EPOCH + CLOCK_SECOND);
}

int64_t
clock_jump(void)
{
	return (0);
}

int64_t
clock_wall(void)
{
	return (fuzz_wall);
}
