/*
 * A wall clock that is ahead, for tests: preloaded into every process of a
 * node by an /etc/ld.so.preload of its own, as hermesd hands no environment
 * on to its children. The monotonic clock is left alone. libfaketime cannot
 * do this: it reads its file again and again, which the sandbox forbids.
 */
#include <sys/syscall.h>
#include <sys/time.h>

#include <time.h>
#include <unistd.h>

#define AHEAD 45 /* seconds */

int
clock_gettime(clockid_t which, struct timespec *now)
{
	if (syscall(SYS_clock_gettime, which, now) == -1)
		return (-1);
	if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)
		now->tv_sec += AHEAD;
	return (0);
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec exact;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &exact) == -1)
		return (-1);
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return (0);
}

time_t
time(time_t *out)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) == -1)
		return ((time_t)-1);
	if (out != NULL)
		*out = now.tv_sec;
	return (now.tv_sec);
}
