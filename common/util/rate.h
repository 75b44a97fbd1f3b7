/*
 * Any process. Rate limits as one number each, the generic cell rate algorithm
 * (ITU-T I.371): due is when the next event would be in time if all came
 * evenly; how far due may run ahead of now is the burst.
 */
#ifndef COMMON_UTIL_RATE_H
#define COMMON_UTIL_RATE_H

#include <stdint.h>

/*
 * Count events at now against rate events per period (ns); rate 0 is no
 * limit. Returns how many ns too early they come, a burst of a period being
 * allowed; 0 when in time. What comes more than patience too early is not
 * counted. events * period must fit.
 */
static inline int64_t
rate_take_many(int64_t *due, int64_t now, uint32_t events, uint32_t rate,
    int64_t period, int64_t patience)
{
	int64_t early, cost;

	if (rate == 0)
		return (0);
	if (*due < now)
		*due = now;
	cost = events * period / rate;
	early = *due + cost - now - period;
	if (early <= patience)
		*due += cost;
	return (early > 0 ? early : 0);
}

/* The same for one event. */
static inline int64_t
rate_take(
    int64_t *due, int64_t now, uint32_t rate, int64_t period, int64_t patience)
{
	return (rate_take_many(due, now, 1, rate, period, patience));
}

#endif
