/*
 * hermesctl(8): reading a passphrase, which goes to keyd in a pipe. It is in
 * locked memory here until it is in the pipe, and in no process between.
 */

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
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

/* The next line of standard input. Its length. */
static size_t
passphrase_read(char *out)
{
	size_t length = 0;

	/* read(2), not stdio: no copy is left in a buffer. A byte at a time:
	 * the next line is for the next one. */
	while (length < CTL_PASSPHRASE - 1 &&
	       read(STDIN_FILENO, out + length, 1) == 1 && out[length] != '\n')
		length++;
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

int
ctl_passphrase_from(const char *path, const char *prompt, int *status)
{
	struct stat st;
	int fd;

	if (path == NULL)
		return (ctl_passphrase(prompt, 0, status));
	*status = CTL_FAILED;
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) == -1 ||
	    fstat(fd, &st) == -1)
		ctl_warn("%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0 ||
		 (st.st_uid != 0 && st.st_uid != geteuid()))
		ctl_warn("%s: must be a file that none but its owner, you or "
			 "root, may read",
		    path);
	else
		return (fd);
	if (fd != -1)
		close(fd);
	return (-1);
}
