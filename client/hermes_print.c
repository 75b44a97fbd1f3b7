/* hermes(1). What it prints: markers for scripts, words for people. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/cmd.h"

void
print_marker(const struct app *app, const char *format, ...)
{
	va_list ap;

	if (!app->markers)
		return;
	va_start(ap, format);
	(void)vprintf(format, ap); /* a closed stdout is the reader's */
	va_end(ap);
	(void)putchar('\n');
	(void)fflush(stdout);
}

static void
print_stderr(const char *format, va_list ap)
{
	(void)fputs("hermes: ", stderr);
	(void)vfprintf(stderr, format, ap);
	(void)fputc('\n', stderr);
}

void
print_status(const struct app *app, const char *format, ...)
{
	va_list ap;

	if (app->quiet)
		return;
	va_start(ap, format);
	print_stderr(format, ap);
	va_end(ap);
}

void
print_error(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	print_stderr(format, ap);
	va_end(ap);
}

/*
 * Does text[i] begin something that could steer a terminal? C0 and C1
 * controls, the latter as UTF-8; the rest of UTF-8 passes. How many bytes.
 */
static size_t
print_is_control(const char *text, size_t length, size_t i)
{
	unsigned char c = (unsigned char)text[i];
	unsigned char next = i + 1 < length ? (unsigned char)text[i + 1] : 0;

	if (c == 0xc2 && next >= 0x80 && next < 0xa0)
		return (2);
	return ((c < 0x20 && c != '\t') || c == 0x7f);
}

const char *
print_text(char out[PRINT_TEXT_SIZE], const char *text)
{
	size_t i, n, used = 0, length = strlen(text);

	for (i = 0; i < length && used + 9 < PRINT_TEXT_SIZE; i++) {
		n = print_is_control(text, length, i);
		if (n == 0) {
			out[used++] = text[i];
			continue;
		}
		used += (size_t)snprintf(out + used, PRINT_TEXT_SIZE - used,
		    "\\x%02x", (unsigned char)text[i]);
		if (n == 2)
			used +=
			    (size_t)snprintf(out + used, PRINT_TEXT_SIZE - used,
				"\\x%02x", (unsigned char)text[++i]);
	}
	out[used] = '\0';
	return (out);
}

void
print_line(const char *peer, const char *text, size_t length)
{
	size_t i, n;

	if (peer != NULL)
		(void)printf("%.12s ", peer);
	for (i = 0; i < length; i++) {
		n = print_is_control(text, length, i);
		if (n == 0)
			(void)putchar(text[i]);
		else
			(void)printf("\\x%02x", (unsigned char)text[i]);
		if (n == 2)
			(void)printf("\\x%02x", (unsigned char)text[++i]);
	}
	(void)putchar('\n');
	(void)fflush(stdout);
}
