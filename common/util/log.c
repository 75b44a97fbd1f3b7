/* Any process. Log lines to stderr, syslog or the journal; see log.h. */

#include <sys/socket.h>
#include <sys/un.h>

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "common/util/clock.h"
#include "common/util/log.h"

#define LOG_FIELDS   1024
#define LOG_LINE     4096 /* the fields escaped, and what is around them */
#define LOG_LIMIT    100
#define LOG_WAIT     100 /* ms */

#define PATH_SYSLOG  "/dev/log"
#define PATH_JOURNAL "/run/systemd/journal/socket"

static struct {
	const char *process;
	enum log_level level;
	enum log_format format;
	enum log_target target;
	int fd; /* of the target, or -1 */
	unsigned int limit;
	int64_t hangs_until; /* monotonic; the reader of fd */
	void (*fatal_hook)(void);
} logger = { .process = "hermes",
	.level = LOG_LEVEL_INFO,
	.fd = -1,
	.limit = LOG_LIMIT };

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
	tzset(); /* its file may be out of reach later */
	if (!foreground)
		openlog("hermesd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	log_set_target(foreground ? LOG_TO_STDERR : LOG_TO_SYSLOG, -1);
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

void
log_set_format(enum log_format format)
{
	logger.format = format;
}

void
log_set_limit(unsigned int lines)
{
	logger.limit = lines;
}

int
log_open(enum log_target target)
{
	struct sockaddr_un address;
	int fd, saved;

	if (target == LOG_TO_STDERR) {
		errno = EINVAL;
		return (-1);
	}
	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	(void)strlcpy(address.sun_path,
	    target == LOG_TO_SYSLOG ? PATH_SYSLOG : PATH_JOURNAL,
	    sizeof(address.sun_path));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return (-1);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) ==
	    -1) {
		saved = errno;
		(void)close(fd);
		errno = saved;
		return (-1);
	}
	return (fd);
}

void
log_set_target(enum log_target target, int fd)
{
	if (logger.fd != -1)
		(void)close(logger.fd);
	logger.target = target;
	logger.fd = fd;
}

/* --- one line ------------------------------------------------------------ */

/* A reader that is busy is waited for a moment, one that hangs is not. */
static void
log_send(const char *message, size_t length)
{
	struct pollfd writable = { .fd = logger.fd, .events = POLLOUT };

	while (send(logger.fd, message, length, MSG_NOSIGNAL) == -1 &&
	       (errno == EAGAIN || errno == EINTR)) {
		if (clock_monotonic() < logger.hangs_until)
			return;
		if (poll(&writable, 1, LOG_WAIT) > 0)
			continue;
		logger.hangs_until = clock_monotonic() + CLOCK_SECOND;
		return;
	}
}

/* As syslogd(8) takes it from a local program. */
static void
log_to_syslog(enum log_level level, const char *line)
{
	char message[LOG_LINE + 96], stamp[32] = "";
	time_t now = time(NULL);
	struct tm tm;
	int n;

	if (logger.fd == -1) {
		syslog(levels[level].priority, "%s", line);
		return;
	}
	if (localtime_r(&now, &tm) != NULL)
		(void)strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &tm);
	n = snprintf(message, sizeof(message), "<%d>%s hermesd[%d]: %s",
	    LOG_DAEMON | levels[level].priority, stamp, (int)getpid(), line);
	if (n > 0)
		log_send(message, (size_t)n);
}

/* The journal's own form: a field a line, ours in capitals. */
static void
log_to_journal(enum log_level level, const char *event, const char *fields,
    const char *line)
{
	char message[2 * LOG_LINE], name[64];
	struct log_field field;
	size_t at, i;
	int n;

	if (logger.fd == -1) {
		log_to_syslog(level, line);
		return;
	}
	n = snprintf(message, sizeof(message),
	    "SYSLOG_IDENTIFIER=hermesd\nPRIORITY=%d\nMESSAGE=%s\n"
	    "HERMES_PROCESS=%s\nHERMES_EVENT=%s\n",
	    levels[level].priority, line, logger.process, event);
	at = (size_t)n;
	while (log_field_next(&fields, &field)) {
		for (i = 0; i < field.key_length && i < sizeof(name) - 1; i++)
			name[i] = (char)toupper((unsigned char)field.key[i]);
		name[i] = '\0';
		n = snprintf(message + at, sizeof(message) - at,
		    "HERMES_%s=%.*s\n", name, (int)field.value_length,
		    field.value);
		if ((size_t)n >= sizeof(message) - at)
			break;
		at += (size_t)n;
	}
	log_send(message, at);
}

/* Whatever came into the fields: nothing in them ends the line. */
static void
log_clean(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static void
log_line(enum log_level level, const char *event, const char *fields)
{
	char line[LOG_LINE];
	int n;

	if (logger.format == LOG_FORMAT_JSON)
		n = (int)log_json(line, sizeof(line) - 1, logger.process,
		    levels[level].name, event, fields);
	else
		n = snprintf(line, sizeof(line) - 1, "%s: %s%sevent=%s%s%s",
		    logger.process,
		    logger.target == LOG_TO_STDERR ? levels[level].name : "",
		    logger.target == LOG_TO_STDERR ? ": " : "", event,
		    fields[0] == '\0' ? "" : " ", fields);
	if (n < 0)
		return;
	switch (logger.target) {
	case LOG_TO_STDERR:
		/* One write, so lines of several processes never mix. */
		line[n] = '\n';
		(void)fwrite(line, 1, (size_t)n + 1, stderr);
		break;
	case LOG_TO_SYSLOG:
		log_to_syslog(level, line);
		break;
	case LOG_TO_JOURNAL:
		log_to_journal(level, event, fields, line);
		break;
	}
}

static void __attribute__((format(printf, 3, 0))) log_write(
    enum log_level level, const char *event, const char *format, va_list ap)
{
	char fields[LOG_FIELDS];
	int saved = errno;
	unsigned int suppressed = 0;
	size_t length;

	if (level < logger.level)
		return;
	if (vsnprintf(fields, sizeof(fields), format, ap) < 0)
		fields[0] = '\0';
	log_clean(fields);
	if (level > LOG_LEVEL_DEBUG &&
	    !log_limit_take(
		logger.limit, clock_monotonic(), event, fields, &suppressed))
		goto done;
	length = strlen(fields);
	if (suppressed > 0)
		(void)snprintf(fields + length, sizeof(fields) - length,
		    "%ssuppressed=%u", length > 0 ? " " : "", suppressed);
	log_line(level, event, fields);
done:
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

	logger.limit = 0; /* the last word is heard */
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

		if (c >= ' ' && c < 0x7f && c != '"' && c != '\\')
			out[at++] = (char)c;
		else
			at += (size_t)snprintf(
			    out + at, LOG_TEXT_SIZE - at, "\\x%02x", c);
	}
	(void)snprintf(
	    out + at, LOG_TEXT_SIZE - at, "%s", length > 64 ? "..." : "");
	return (out);
}
