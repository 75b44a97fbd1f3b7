/*
 * Any process. One log line an event: a fixed event name and key=value
 * fields. No secret, no payload; identifiers shortened; text that a peer
 * supplied only through log_text().
 */
#ifndef COMMON_UTIL_LOG_H
#define COMMON_UTIL_LOG_H

#include <stddef.h>

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN,
	LOG_LEVEL_ERROR
};

/*
 * Name this process in every line and choose where lines go: stderr when
 * foreground is not 0, else syslog(3). Lines below level are dropped. Call
 * once before anything is logged; process must stay valid.
 */
void log_init(const char *process, enum log_level level, int foreground);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

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
 * Make hostile text fit for a log line: at most 64 bytes of it, everything
 * but printable ASCII without blank, quote and backslash escaped as \xNN,
 * "..." where it was cut. Returns out, which holds at least LOG_TEXT_SIZE.
 */
#define LOG_TEXT_SIZE 264
const char *log_text(char out[LOG_TEXT_SIZE], const char *text, size_t length);

#endif
