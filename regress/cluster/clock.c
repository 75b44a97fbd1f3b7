/*
 * A wall clock that somebody sets, for tests: preloaded into every process
 * of a node by an /etc/ld.so.preload of its own, as hermesd hands no
 * environment on to its children. How many seconds it is ahead stands in
 * /etc/clock.ahead, as an int64_t that is mapped and may change at any time;
 * see regress/lib/clock.py. The other clocks are left alone. libfaketime
 * cannot do this: it reads its file again and again, which the sandbox
 * forbids.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;

static void __attribute__((constructor)) clock_open(void)
{
	int fd = open("/etc/clock.ahead", O_RDONLY | O_CLOEXEC);
	void *at = MAP_FAILED;

	if (fd != -1) {
		at = mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (at == MAP_FAILED)
		abort(); /* a test with the wrong clock proves nothing */
	ahead = at;
}

int
clock_gettime(clockid_t which, struct timespec *now)
{
	if (syscall(SYS_clock_gettime, which, now) == -1)
		return (-1);
	if (ahead != NULL &&
	    (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
		now->tv_sec += *ahead;
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
