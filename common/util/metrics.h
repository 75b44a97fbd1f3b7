/*
 * Any process of hermesd. Counters and gauges, one array a process; see
 * metrics.def. Adding to one costs an addition.
 */
#ifndef COMMON_UTIL_METRICS_H
#define COMMON_UTIL_METRICS_H

#include <stddef.h>
#include <stdint.h>

struct buffer;

enum metric_family {
#define METRIC_FAMILY(family, name, type, help) FAMILY_##family,
#define METRIC(id, family, labels)
#include "common/util/metrics.def"
#undef METRIC_FAMILY
#undef METRIC
	FAMILY_COUNT
};

enum metric {
#define METRIC_FAMILY(family, name, type, help)
#define METRIC(id, family, labels) METRIC_##id,
#include "common/util/metrics.def"
#undef METRIC_FAMILY
#undef METRIC
	METRIC_COUNT
};

/* A histogram's bounds in ns; the last bucket is +Inf. */
#define METRIC_BUCKETS 14

struct metric_value {
	uint64_t value;                   /* histogram: the sum, in ns */
	uint64_t buckets[METRIC_BUCKETS]; /* not cumulative */
};

/* This process's values. */
extern struct metric_value metrics[METRIC_COUNT];

static inline void
metric_add(enum metric metric, uint64_t n)
{
	metrics[metric].value += n;
}

static inline void
metric_set(enum metric metric, uint64_t value)
{
	metrics[metric].value = value;
}

/*
 * Is a gauge that counts so many things to be counted again? Many are counted
 * less often than asked for: 100,000 every 10 s. *counted_at is the caller's,
 * 0 to begin with.
 */
int metrics_recount(int64_t *counted_at, size_t count);

/* Count one observation of ns nanoseconds (less than 0 counts as 0). */
void metric_observe(enum metric metric, int64_t ns);

/*
 * What crosses the door to control: the values of series that are not 0, as
 * pairs for metrics_merge(), which adds them to sum[METRIC_COUNT]. merge: 0,
 * or -1 with errno EINVAL and sum unchanged.
 */
int metrics_pack(struct buffer *out);
int metrics_merge(
    struct metric_value *sum, const uint8_t *bytes, size_t length);

/* The Prometheus text format 0.0.4 of values[METRIC_COUNT]. 0 or -1. */
int metrics_print(struct buffer *out, const struct metric_value *values);

#endif
