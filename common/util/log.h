/*
 * Any process. One log line an event: a fixed event name and key=value
 * fields. No secret, no payload; identifiers shortened; text that a peer
 * supplied only through log_text().
 */
#ifndef COMMON_UTIL_LOG_H
#define COMMON_UTIL_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN,
	LOG_LEVEL_ERROR
};

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_JOURNAL };

/*
 * Name this process in every line and choose where lines go: stderr when
 * foreground is not 0, else syslog(3). Lines below level are dropped. Call
 * once before anything is logged; process must stay valid.
 */
void log_init(const char *process, enum log_level level, int foreground);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_set_format(enum log_format format);

/*
 * At most so many lines of one event about one peer, and ten times as many of
 * one event, in 10 s, debug lines apart; 0: no limit. The next line that
 * comes through says in suppressed= how many did not.
 */
void log_set_limit(unsigned int lines);

/* A socket of the target, close-on-exec, for log_set_target(); -1 with errno
 * when there is none or it needs none. */
int log_open(enum log_target target);

/* Where lines go from now on; fd is from log_open(), owned from here. Without
 * one, -1, syslog is written by syslog(3), and a journal by it too. */
void log_set_target(enum log_target target, int fd);

/*
 * Log one event. event is a fixed word such as "chat_ready"; format gives
 * the fields, "key=%s key=%u". errno is left as it was.
 */
void log_debug(const char *event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_info(const char *event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_warn(const char *event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_error(const char *event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Run hook once before fatal() exits: keyd wipes its secrets there. */
void log_set_fatal_hook(void (*hook)(void));

/*
 * Log an error and exit 1. Only at start-up, or when an invariant of our own
 * is broken; never for what a peer, an app, a file or a user sent.
 */
void fatal(const char *event, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/*
 * Make hostile text fit for a log line, between quotes: at most 64 bytes of
 * it, everything but printable ASCII without quote and backslash escaped as
 * \xNN, "..." where it was cut. Returns out, which holds at least
 * LOG_TEXT_SIZE.
 */
#define LOG_TEXT_SIZE 264
const char *log_text(char out[LOG_TEXT_SIZE], const char *text, size_t length);

/* --- inside of the log, and its tests (log_fields.c, log_limit.c) -------- */

struct log_field {
	const char *key; /* in the line, not ended */
	size_t key_length;
	const char *value; /* without quotes */
	size_t value_length;
};

/* Take the next "key=value" or key="value" from *cursor. 1, or 0 when there
 * is none left. */
int log_field_next(const char **cursor, struct log_field *field);

/* Append the line as one JSON object; fields is "key=value ...". Cut at a
 * field when out is full: size is at least 512. Returns its length. */
size_t log_json(char *out, size_t size, const char *process, const char *level,
    const char *event, const char *fields);

/* May a line be written at now (ns)? *suppressed is how many of its event and
 * peer were not since the last. */
int log_limit_take(unsigned int lines, int64_t now, const char *event,
    const char *fields, unsigned int *suppressed);

#endif
