/* Any process. Log lines to stderr or syslog(3); see log.h. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/util/log.h"

#define LOG_LINE 1024

static struct {
	const char *process;
	enum log_level level;
	int foreground;
	void (*fatal_hook)(void);
} logger = { "hermes", LOG_LEVEL_INFO, 1, NULL };

static const struct {
	const char *name;
	int priority; /* syslog(3) */
} levels[] = {
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_WARN] = { "warn", LOG_WARNING },
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
};

void
log_init(const char *process, enum log_level level, int foreground)
{
	logger.process = process;
	logger.level = level;
	logger.foreground = foreground;
	if (!foreground)
		openlog("hermesd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void
log_set_level(enum log_level level)
{
	logger.level = level;
}

enum log_level
log_get_level(void)
{
	return (logger.level);
}

static void __attribute__((format(printf, 3, 0))) log_write(
    enum log_level level, const char *event, const char *format, va_list ap)
{
	char fields[LOG_LINE];
	int saved = errno;

	if (level < logger.level)
		return;
	if (vsnprintf(fields, sizeof(fields), format, ap) < 0)
		fields[0] = '\0';
	/* A line is one write, so lines of several processes never mix. */
	if (logger.foreground) {
		char line[LOG_LINE + 128];
		int n;

		n = snprintf(line, sizeof(line), "%s: %s: event=%s%s%s\n",
		    logger.process, levels[level].name, event,
		    fields[0] == '\0' ? "" : " ", fields);
		if (n > 0)
			fwrite(line, 1,
			    (size_t)n < sizeof(line) ? (size_t)n
						     : sizeof(line) - 1,
			    stderr);
	} else
		syslog(levels[level].priority, "%s: event=%s%s%s",
		    logger.process, event, fields[0] == '\0' ? "" : " ",
		    fields);
	errno = saved;
}

#define LOG_AT(level)                                                          \
	do {                                                                   \
		va_list ap;                                                    \
                                                                               \
		va_start(ap, format);                                          \
		log_write(level, event, format, ap);                           \
		va_end(ap);                                                    \
	} while (0)

void
log_debug(const char *event, const char *format, ...)
{
	LOG_AT(LOG_LEVEL_DEBUG);
}

void
log_info(const char *event, const char *format, ...)
{
	LOG_AT(LOG_LEVEL_INFO);
}

void
log_warn(const char *event, const char *format, ...)
{
	LOG_AT(LOG_LEVEL_WARN);
}

void
log_error(const char *event, const char *format, ...)
{
	LOG_AT(LOG_LEVEL_ERROR);
}

void
log_set_fatal_hook(void (*hook)(void))
{
	logger.fatal_hook = hook;
}

void
fatal(const char *event, const char *format, ...)
{
	void (*hook)(void) = logger.fatal_hook;

	LOG_AT(LOG_LEVEL_ERROR);
	logger.fatal_hook = NULL;
	if (hook != NULL)
		hook();
	exit(1);
}

const char *
log_text(char out[LOG_TEXT_SIZE], const char *text, size_t length)
{
	size_t i, at = 0;

	for (i = 0; i < length && i < 64; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c > ' ' && c < 0x7f && c != '"' && c != '\\')
			out[at++] = (char)c;
		else
			at += (size_t)snprintf(
			    out + at, LOG_TEXT_SIZE - at, "\\x%02x", c);
	}
	(void)snprintf(
	    out + at, LOG_TEXT_SIZE - at, "%s", length > 64 ? "..." : "");
	return (out);
}
