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
int64_t clock_wall(void);      /* since the epoch; may jump */

#endif
