/*
 * Tests only. Timers of libevent on the clock of fuzz_clock.c: what is added,
 * deleted and asked for goes to a list here (link with FUZZ_TIMER_WRAP), and
 * fires when the input says how much time goes by.
 */
#ifndef REGRESS_FUZZ_TIMER_H
#define REGRESS_FUZZ_TIMER_H

#include <stddef.h>
#include <stdint.h>

/* Let ns go by, firing what is due in order. */
void timers_run(int64_t ns);

/* How many are pending. */
size_t timers_pending(void);

#endif
