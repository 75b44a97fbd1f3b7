/* Any process of hermesd. Counters, gauges, histograms; see metrics.h. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/util/buffer.h"
#include "common/util/clock.h"
#include "common/util/metrics.h"

#define RECOUNT_FEW  1000            /* counted whenever asked for */
#define RECOUNT_EACH (CLOCK_MS / 10) /* to wait for each thing counted */

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

static const struct {
	const char *name;
	enum metric_type type;
	const char *help;
} families[FAMILY_COUNT] = {
#define METRIC_FAMILY(family, name, type, help)                                \
	[FAMILY_##family] = { name, type, help },
#define METRIC(id, family, labels)
#include "common/util/metrics.def"
#undef METRIC_FAMILY
#undef METRIC
};

static const struct {
	enum metric_family family;
	const char *labels;
} series[METRIC_COUNT] = {
#define METRIC_FAMILY(family, name, type, help)
#define METRIC(id, family, labels) [METRIC_##id] = { FAMILY_##family, labels },
#include "common/util/metrics.def"
#undef METRIC_FAMILY
#undef METRIC
};

/* The upper bounds of the buckets but the last, ns and as printed. */
static const struct {
	int64_t ns;
	const char *seconds;
} bounds[METRIC_BUCKETS - 1] = { { INT64_C(100000), "0.0001" },
	{ INT64_C(250000), "0.00025" }, { INT64_C(500000), "0.0005" },
	{ INT64_C(1000000), "0.001" }, { INT64_C(2500000), "0.0025" },
	{ INT64_C(5000000), "0.005" }, { INT64_C(10000000), "0.01" },
	{ INT64_C(25000000), "0.025" }, { INT64_C(50000000), "0.05" },
	{ INT64_C(100000000), "0.1" }, { INT64_C(250000000), "0.25" },
	{ INT64_C(1000000000), "1" }, { INT64_C(5000000000), "5" } };

struct metric_value metrics[METRIC_COUNT];

/* A packed pair: slot = metric * METRIC_SLOTS + (0 value, 1... buckets). */
#define METRIC_SLOTS (1 + METRIC_BUCKETS)
#define METRIC_PAIR  (sizeof(uint32_t) + sizeof(uint64_t))

static int
metric_is_histogram(size_t metric)
{
	return (families[series[metric].family].type == HISTOGRAM);
}

int
metrics_recount(int64_t *counted_at, size_t count)
{
	int64_t now = clock_monotonic();

	if (count >= RECOUNT_FEW && *counted_at != 0 &&
	    now - *counted_at < (int64_t)count * RECOUNT_EACH)
		return (0);
	*counted_at = now;
	return (1);
}

void
metric_observe(enum metric metric, int64_t ns)
{
	size_t i;

	if (ns < 0)
		ns = 0;
	for (i = 0; i < METRIC_BUCKETS - 1 && ns > bounds[i].ns; i++)
		;
	metrics[metric].buckets[i]++;
	metrics[metric].value += (uint64_t)ns;
}

static uint64_t *
metric_slot(struct metric_value *values, size_t slot)
{
	struct metric_value *value = &values[slot / METRIC_SLOTS];

	slot %= METRIC_SLOTS;
	return (slot == 0 ? &value->value : &value->buckets[slot - 1]);
}

int
metrics_pack(struct buffer *out)
{
	uint8_t pair[METRIC_PAIR];
	uint64_t value;
	uint32_t slot;

	for (slot = 0; slot < METRIC_COUNT * METRIC_SLOTS; slot++) {
		if (slot % METRIC_SLOTS != 0 &&
		    !metric_is_histogram(slot / METRIC_SLOTS))
			continue;
		value = *metric_slot(metrics, slot);
		if (value == 0)
			continue;
		memcpy(pair, &slot, sizeof(slot));
		memcpy(pair + sizeof(slot), &value, sizeof(value));
		if (buffer_append(out, pair, sizeof(pair)) == -1)
			return (-1);
	}
	return (0);
}

int
metrics_merge(struct metric_value *sum, const uint8_t *bytes, size_t length)
{
	uint64_t value;
	uint32_t slot, next = 0;
	size_t at;

	if (length % METRIC_PAIR != 0)
		goto invalid;
	/* Slots come in rising order, so each at most once. */
	for (at = 0; at < length; at += METRIC_PAIR) {
		memcpy(&slot, bytes + at, sizeof(slot));
		if (slot < next || slot >= METRIC_COUNT * METRIC_SLOTS ||
		    (slot % METRIC_SLOTS != 0 &&
			!metric_is_histogram(slot / METRIC_SLOTS)))
			goto invalid;
		next = slot + 1;
	}
	for (at = 0; at < length; at += METRIC_PAIR) {
		memcpy(&slot, bytes + at, sizeof(slot));
		memcpy(&value, bytes + at + sizeof(slot), sizeof(value));
		*metric_slot(sum, slot) += value;
	}
	return (0);
invalid:
	errno = EINVAL;
	return (-1);
}

static int __attribute__((format(printf, 2, 3)))
metrics_line(struct buffer *out, const char *format, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line)) {
		errno = EOVERFLOW;
		return (-1);
	}
	return (buffer_append(out, line, (size_t)n));
}

static int
metrics_print_histogram(struct buffer *out, const char *name,
    const char *labels, const struct metric_value *value)
{
	const char *comma = labels[0] == '\0' ? "" : ",";
	const char *open = labels[0] == '\0' ? "" : "{";
	const char *close = labels[0] == '\0' ? "" : "}";
	uint64_t count = 0;
	size_t i;

	for (i = 0; i < METRIC_BUCKETS; i++) {
		count += value->buckets[i];
		if (metrics_line(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n",
			name, labels, comma,
			i < METRIC_BUCKETS - 1 ? bounds[i].seconds : "+Inf",
			count) == -1)
			return (-1);
	}
	return (metrics_line(out,
	    "%s_sum%s%s%s %" PRIu64 ".%09" PRIu64 "\n"
	    "%s_count%s%s%s %" PRIu64 "\n",
	    name, open, labels, close, value->value / 1000000000,
	    value->value % 1000000000, name, open, labels, close, count));
}

int
metrics_print(struct buffer *out, const struct metric_value *values)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	const char *name, *labels;
	size_t i;
	int result;

	for (i = 0; i < METRIC_COUNT; i++) {
		name = families[series[i].family].name;
		labels = series[i].labels;
		if ((i == 0 || series[i].family != series[i - 1].family) &&
		    metrics_line(out, "# HELP %s %s\n# TYPE %s %s\n", name,
			families[series[i].family].help, name,
			types[families[series[i].family].type]) == -1)
			return (-1);
		if (metric_is_histogram(i))
			result = metrics_print_histogram(
			    out, name, labels, &values[i]);
		else
			result = metrics_line(out, "%s%s%s%s %" PRIu64 "\n",
			    name, labels[0] == '\0' ? "" : "{", labels,
			    labels[0] == '\0' ? "" : "}", values[i].value);
		if (result == -1)
			return (-1);
	}
	return (0);
}
