/* hermes(1). What it prints: markers for scripts, words for people. */
#include <stdarg.h>
#include <stdio.h>

#include "client/cmd.h"

void
print_marker(const struct app *app, const char *format, ...)
{
	va_list	ap;

	if (!app->markers)
		return;
	va_start(ap, format);
	(void)vprintf(format, ap);	/* a closed stdout is the reader's */
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
	va_list	ap;

	if (app->quiet)
		return;
	va_start(ap, format);
	print_stderr(format, ap);
	va_end(ap);
}

void
print_error(const char *format, ...)
{
	va_list	ap;

	va_start(ap, format);
	print_stderr(format, ap);
	va_end(ap);
}

/* UTF-8 passes; control characters, which could steer a terminal, do not. */
void
print_line(const char *peer, const char *text, size_t length)
{
	unsigned char	c, next;
	size_t		i;

	if (peer != NULL)
		(void)printf("%.12s ", peer);
	for (i = 0; i < length; i++) {
		c = (unsigned char)text[i];
		next = i + 1 < length ? (unsigned char)text[i + 1] : 0;
		if ((c < 0x20 && c != '\t') || c == 0x7f ||
		    (c == 0xc2 && next >= 0x80 && next < 0xa0))
			(void)printf("\\x%02x", c);
		else
			(void)putchar(c);
	}
	(void)putchar('\n');
	(void)fflush(stdout);
}
