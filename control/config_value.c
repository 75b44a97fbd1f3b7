/*
 * Parent of hermesd. Values of hermesd.conf(5): numbers with units, choices
 * and texts, read within their bounds and printed so that they read back.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/buffer.h"
#include "common/util/clock.h"
#include "control/config_parse.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* From the largest, so that printing finds the shortest form. */
static const struct unit times[] = { { "d", 86400 * (uint64_t)CLOCK_SECOND },
	{ "h", 3600 * (uint64_t)CLOCK_SECOND },
	{ "m", 60 * (uint64_t)CLOCK_SECOND }, { "s", (uint64_t)CLOCK_SECOND },
	{ "ms", (uint64_t)CLOCK_MS }, { NULL, 0 } };

static const struct unit sizes[] = { { "G", 1024 * 1024 * 1024 },
	{ "M", 1024 * 1024 }, { "K", 1024 }, { "", 1 }, { NULL, 0 } };

static const struct unit counts[] = { { "", 1 }, { NULL, 0 } };

static const struct unit *
config_units(const struct knob *knob)
{
	return (knob->type == KNOB_TIME    ? times
		: knob->type == KNOB_BYTES ? sizes
					   : counts);
}

const char *
config_value_name(const struct knob *knob)
{
	switch (knob->type) {
	case KNOB_COUNT:
		return ("NUMBER");
	case KNOB_BYTES:
		return ("SIZE");
	case KNOB_TIME:
		return ("TIME");
	case KNOB_CHOICE:
		return ("WORD");
	case KNOB_TEXT:
	case KNOB_PATH:
	case KNOB_OTHER:
		break;
	}
	return ("VALUE");
}

void
config_value_format(
    const struct knob *knob, uint64_t value, char *out, size_t size)
{
	const struct unit *unit = config_units(knob);

	if (value == 0) {
		(void)strlcpy(out, "0", size);
		return;
	}
	while (value % unit->factor != 0 && unit[1].name != NULL)
		unit++;
	(void)snprintf(
	    out, size, "%" PRIu64 "%s", value / unit->factor, unit->name);
}

void
config_value_store(
    const struct knob *knob, struct config *config, uint64_t value)
{
	uint8_t *to = (uint8_t *)config + knob->offset;
	uint32_t small = (uint32_t)value;

	if (knob->size == sizeof(small))
		memcpy(to, &small, sizeof(small));
	else
		memcpy(to, &value, sizeof(value));
}

static uint64_t
config_value_load(const struct knob *knob, const struct config *config)
{
	const uint8_t *from = (const uint8_t *)config + knob->offset;
	uint32_t small;
	uint64_t value;

	if (knob->size == sizeof(small)) {
		memcpy(&small, from, sizeof(small));
		return (small);
	}
	memcpy(&value, from, sizeof(value));
	return (value);
}

static char config_why[160];

static const char *
config_read_number(
    const struct knob *knob, const char *text, struct config *config)
{
	const struct unit *unit;
	char least[32], most[32];
	uint64_t value = 0;
	const char *p;
	int over = 0;

	for (p = text; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			over = 1;
	for (unit = config_units(knob); unit->name != NULL; unit++)
		if (strcmp(unit->name, p) == 0)
			break;
	/* Nothing is nothing in any unit. */
	if (p == text || (unit->name == NULL && (*p != '\0' || value != 0))) {
		(void)snprintf(config_why, sizeof(config_why),
		    "\"%.40s\" is not %s", text,
		    knob->type == KNOB_TIME
			? "a time: a number and ms, s, m, h or d"
		    : knob->type == KNOB_BYTES
			? "a size: a number, or one and K, M or G"
			: "a number");
		return (config_why);
	}
	if (unit->name != NULL &&
	    __builtin_mul_overflow(value, unit->factor, &value))
		over = 1;
	if (over || value > knob->most ||
	    (value < knob->least && !(value == 0 && knob->zero))) {
		config_value_format(knob, knob->least, least, sizeof(least));
		config_value_format(knob, knob->most, most, sizeof(most));
		(void)snprintf(config_why, sizeof(config_why),
		    "%.40s is out of range: %s%s to %s", text,
		    knob->zero ? "0, or " : "", least, most);
		return (config_why);
	}
	config_value_store(knob, config, value);
	return (NULL);
}

static const char *
config_read_choice(
    const struct knob *knob, const char *text, struct config *config)
{
	const char *choice = knob->text;
	size_t length;
	uint64_t i;

	for (i = 0; *choice != '\0'; i++) {
		length = strcspn(choice, " ");
		if (strlen(text) == length &&
		    memcmp(text, choice, length) == 0) {
			config_value_store(knob, config, i);
			return (NULL);
		}
		choice += length;
		choice += strspn(choice, " ");
	}
	(void)snprintf(config_why, sizeof(config_why),
	    "\"%.40s\" is none of: %s", text, knob->text);
	return (config_why);
}

const char *
config_value_read(
    const struct knob *knob, const char *text, struct config *config)
{
	switch (knob->type) {
	case KNOB_COUNT:
	case KNOB_BYTES:
	case KNOB_TIME:
		return (config_read_number(knob, text, config));
	case KNOB_CHOICE:
		return (config_read_choice(knob, text, config));
	case KNOB_PATH:
		if (text[0] != '/')
			return ("the path must start with /");
		/* FALLTHROUGH */
	case KNOB_TEXT:
		/* No byte of an earlier value stays behind the end. */
		memset((char *)config + knob->offset, 0, knob->size);
		if (strlcpy((char *)config + knob->offset, text, knob->size) <
		    knob->size)
			return (NULL);
		(void)snprintf(config_why, sizeof(config_why),
		    "longer than %zu characters", knob->size - 1);
		return (config_why);
	case KNOB_OTHER:
		break;
	}
	return ("not a plain value");
}

int
config_put(struct buffer *out, const char *text)
{
	return (buffer_append(out, text, strlen(text)));
}

int
config_put_quoted(struct buffer *out, const char *text)
{
	char c[3] = "";

	if (config_put(out, "\"") == -1)
		return (-1);
	for (; *text != '\0'; text++) {
		c[0] = *text == '"' || *text == '\\' ? '\\' : *text;
		c[1] = c[0] == '\\' ? *text : '\0';
		if (config_put(out, c) == -1)
			return (-1);
	}
	return (config_put(out, "\""));
}

/* The word of a choice. */
static int
config_print_choice(const struct knob *knob, uint64_t value, struct buffer *out)
{
	const char *choice = knob->text;

	while (value-- > 0) {
		choice += strcspn(choice, " ");
		choice += strspn(choice, " ");
	}
	return (buffer_append(out, choice, strcspn(choice, " ")));
}

int
config_value_print(const struct knob *knob, const struct config *config,
    size_t index, struct buffer *out)
{
	const char *text = (const char *)config + knob->offset;
	char number[32];
	int result;

	if (index > 0)
		return (0);
	switch (knob->type) {
	case KNOB_CHOICE:
		result = config_print_choice(
		    knob, config_value_load(knob, config), out);
		break;
	case KNOB_TEXT:
	case KNOB_PATH:
		if (*text == '\0')
			return (0);
		result = config_put_quoted(out, text);
		break;
	default:
		config_value_format(knob, config_value_load(knob, config),
		    number, sizeof(number));
		result = config_put(out, number);
	}
	return (result == -1 ? -1 : 1);
}
