/*
 * Any process. Time in nanoseconds. Protocol cores never call these: they
 * are told the time.
 */
#ifndef COMMON_UTIL_CLOCK_H
#define COMMON_UTIL_CLOCK_H

#include <stdint.h>

#define CLOCK_SECOND INT64_C(1000000000)
#define CLOCK_MS     INT64_C(1000000)

int64_t clock_monotonic(void); /* since some start, never back */

/*
 * Since the epoch; set by somebody, so it may go a minute forth or back. A
 * jump further than that is not believed at once: time goes on as it did, by
 * the clock that nobody sets, until the clock is back or has kept its new
 * time for ten minutes. So a wrong hour ends no chat and no membership.
 */
int64_t clock_wall(void);

#define CLOCK_JUMP (60 * CLOCK_SECOND)
#define CLOCK_HOLD (600 * CLOCK_SECOND)

/* How far this process's wall clock is from what clock_wall() says, in ns,
 * never negative; 0 unless it jumped. */
int64_t clock_jump(void);

/* What clock_wall() does, with both clocks given: set by somebody and not,
 * in ns. state is all 0 before the first call. */
struct clock_state {
	int begun;
	int64_t offset;    /* believed, wall - steady */
	int64_t jumped_to; /* another one, seen since ... */
	int64_t since;     /* steady; 0: none */
};
int64_t clock_judge(struct clock_state *state, int64_t wall, int64_t steady);

#endif
