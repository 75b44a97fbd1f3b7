/*
 * hermesctl(8): reading a passphrase, which goes to keyd in a pipe. It is in
 * locked memory here until it is in the pipe, and in no process between.
 */

#include <errno.h>
#include <readpassphrase.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "control/ctl.h"

#define CTL_PASSPHRASE 1024 /* bytes at most, with NUL */

/* From the terminal. The length, 0: none, or not twice the same. */
static size_t
passphrase_ask(const char *prompt, int repeat, char *out, char *again)
{
	if (readpassphrase(prompt, out, CTL_PASSPHRASE, RPP_REQUIRE_TTY) ==
	    NULL)
		return (0);
	if (repeat && (readpassphrase("The same again: ", again, CTL_PASSPHRASE,
			   RPP_REQUIRE_TTY) == NULL ||
			  strcmp(out, again) != 0)) {
		ctl_warn("that was not the same passphrase twice");
		return (0);
	}
	return (strlen(out));
}

/* The first line of standard input. Its length. */
static size_t
passphrase_read(char *out)
{
	size_t length = 0;
	ssize_t n;

	/* read(2), not stdio: no copy is left in a buffer. */
	while (length < CTL_PASSPHRASE - 1 &&
	       (n = read(STDIN_FILENO, out + length,
		    CTL_PASSPHRASE - 1 - length)) > 0)
		length += (size_t)n;
	out[length] = '\0';
	return (strcspn(out, "\n"));
}

int
ctl_passphrase(const char *prompt, int repeat, int *status)
{
	char *passphrase = NULL, *again = NULL;
	size_t length = 0;
	int ends[2] = { -1, -1 };

	*status = CTL_FAILED;
	if (sodium_init() == -1 ||
	    (passphrase = sodium_malloc(CTL_PASSPHRASE)) == NULL ||
	    (again = sodium_malloc(CTL_PASSPHRASE)) == NULL)
		ctl_warn("no locked memory for the passphrase");
	else if ((length =
			 isatty(STDIN_FILENO)
			     ? passphrase_ask(prompt, repeat, passphrase, again)
			     : passphrase_read(passphrase)) == 0) {
		ctl_warn("no passphrase");
		*status = CTL_USAGE;
	} else if (pipe(ends) == -1 ||
		   write(ends[1], passphrase, length) != (ssize_t)length) {
		ctl_warn("pipe: %s", strerror(errno));
		length = 0;
	}
	sodium_free(passphrase); /* wiped */
	sodium_free(again);
	if (ends[1] != -1)
		close(ends[1]);
	if (length == 0 && ends[0] != -1)
		close(ends[0]);
	return (length == 0 ? -1 : ends[0]);
}
