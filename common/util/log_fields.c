/* Any process. The fields of a log line, and the line as JSON; see log.h. */

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/util/clock.h"
#include "common/util/log.h"

int
log_field_next(const char **cursor, struct log_field *field)
{
	const char *p = *cursor + strspn(*cursor, " "), *end;

	field->key = p;
	field->key_length = strcspn(p, "= ");
	if (field->key_length == 0 || p[field->key_length] != '=')
		return (0);
	p += field->key_length + 1;
	if (*p == '"') {
		/* To the quote that ends it: what is in it is not escaped. */
		for (end = ++p; *end != '\0'; end++)
			if (*end == '"' && (end[1] == ' ' || end[1] == '\0'))
				break;
		*cursor = *end == '\0' ? end : end + 1;
	} else
		*cursor = end = p + strcspn(p, " ");
	field->value = p;
	field->value_length = (size_t)(end - p);
	return (1);
}

/* Append a JSON string; the new length, or 0 when there is no room. */
static size_t
json_put(char *out, size_t size, size_t at, const char *text, size_t length)
{
	size_t i;

	if (at + 1 >= size)
		return (0);
	out[at++] = '"';
	for (i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (at + 8 >= size)
			return (0);
		if (c == '"' || c == '\\')
			at += (size_t)snprintf(out + at, size - at, "\\%c", c);
		else if (c < ' ' || c >= 0x7f)
			at +=
			    (size_t)snprintf(out + at, size - at, "\\u%04x", c);
		else
			out[at++] = (char)c;
	}
	out[at++] = '"';
	return (at);
}

/* 1 when a value reads as a JSON number: an integer without leading zeros. */
static int
json_is_number(const char *text, size_t length)
{
	size_t i = length > 1 && text[0] == '-';

	if (length == 0 || length - i > 15 || (text[i] == '0' && length > 1))
		return (0);
	for (; i < length; i++)
		if (!isdigit((unsigned char)text[i]))
			return (0);
	return (1);
}

/* Append ,"key":value; the new length, or 0 when there is no room. */
static size_t
json_field(char *out, size_t size, size_t at, const struct log_field *field)
{
	if (at + 2 >= size)
		return (0);
	out[at++] = ',';
	at = json_put(out, size, at, field->key, field->key_length);
	if (at == 0 || at + field->value_length + 2 >= size)
		return (0);
	out[at++] = ':';
	if (!json_is_number(field->value, field->value_length))
		return (
		    json_put(out, size, at, field->value, field->value_length));
	memcpy(out + at, field->value, field->value_length);
	return (at + field->value_length);
}

size_t
log_json(char *out, size_t size, const char *process, const char *level,
    const char *event, const char *fields)
{
	struct log_field field;
	int64_t now = clock_wall();
	time_t seconds = (time_t)(now / CLOCK_SECOND);
	struct tm tm;
	char stamp[32] = "";
	size_t at, next;
	int n;

	if (gmtime_r(&seconds, &tm) != NULL)
		(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	n = snprintf(out, size,
	    "{\"time\":\"%s.%03dZ\",\"process\":\"%.40s\",\"level\":\"%.20s\","
	    "\"event\":\"%.80s\"",
	    stamp, (int)(now / CLOCK_MS % 1000), process, level, event);
	at = (size_t)n;
	while (log_field_next(&fields, &field)) {
		next = json_field(out, size - 1, at, &field);
		if (next == 0)
			break;
		at = next;
	}
	out[at++] = '}';
	out[at] = '\0';
	return (at);
}
