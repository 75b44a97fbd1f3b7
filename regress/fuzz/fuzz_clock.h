/* Tests only. Time as the input sets it. */
#ifndef REGRESS_FUZZ_CLOCK_H
#define REGRESS_FUZZ_CLOCK_H

#include "common/util/clock.h"

#define FUZZ_EPOCH INT64_C(1700000000000000000)

extern int64_t fuzz_wall; /* ns since the epoch; clock_wall() */

#endif
