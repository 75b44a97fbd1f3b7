/*
 * Tests only, preloaded into keyd. Counts the calls that change files in
 * keyd's folder and kills the process with SIGKILL at one of them:
 *
 * HERMES_CRASH_AT=N	die instead of the Nth call (from 1)
 * HERMES_CRASH_TORN=1	let the first half of that write through, then die
 * HERMES_CRASH_COUNT=FILE	write the number of calls there at exit
 *
 * Sockets, pipes and descriptors outside regular files do not count.
 */

#include <sys/stat.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long	calls;

static unsigned long
number(const char *name)
{
	const char	*text = getenv(name);

	return (text == NULL ? 0 : strtoul(text, NULL, 10));
}

static void
die(void)
{
	(void)kill(getpid(), SIGKILL);
	for (;;)
		(void)pause();
}

/* Count one call; 1 when it is the one to die at. */
static int
counted(void)
{
	static unsigned long	at;
	static int		known;

	if (!known) {
		at = number("HERMES_CRASH_AT");
		known = 1;
	}
	return (++calls == at);
}

static int
regular(int fd)
{
	struct stat	st;

	return (fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
}

static void *
real(const char *name)
{
	void	*function = dlsym(RTLD_NEXT, name);

	if (function == NULL)
		abort();
	return (function);
}

__attribute__((destructor)) static void
report(void)
{
	const char	*path = getenv("HERMES_CRASH_COUNT");
	FILE		*file;

	if (path == NULL || (file = fopen(path, "w")) == NULL)
		return;
	fprintf(file, "%lu\n", calls);
	(void)fclose(file);
}

ssize_t
write(int fd, const void *bytes, size_t length)
{
	ssize_t	(*next)(int, const void *, size_t);

	*(void **)&next = real("write");
	if (regular(fd) && counted()) {
		if (number("HERMES_CRASH_TORN"))
			(void)next(fd, bytes, length / 2);
		die();
	}
	return (next(fd, bytes, length));
}

ssize_t
pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
	ssize_t	(*next)(int, const void *, size_t, off64_t);

	*(void **)&next = real("pwrite64");
	if (regular(fd) && counted()) {
		if (number("HERMES_CRASH_TORN"))
			(void)next(fd, bytes, length / 2, offset);
		die();
	}
	return (next(fd, bytes, length, offset));
}

ssize_t
pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
	return (pwrite64(fd, bytes, length, offset));
}

#define DESCRIPTOR_CALL(name)						\
int									\
name(int fd)								\
{									\
	int	(*next)(int);						\
									\
	*(void **)&next = real(#name);					\
	if (regular(fd) && counted())					\
		die();							\
	return (next(fd));						\
}

DESCRIPTOR_CALL(fsync)
DESCRIPTOR_CALL(fdatasync)

int
ftruncate64(int fd, off64_t length)
{
	int	(*next)(int, off64_t);

	*(void **)&next = real("ftruncate64");
	if (regular(fd) && counted())
		die();
	return (next(fd, length));
}

int
ftruncate(int fd, off_t length)
{
	return (ftruncate64(fd, length));
}

int
rename(const char *from, const char *to)
{
	int	(*next)(const char *, const char *);

	*(void **)&next = real("rename");
	if (counted())
		die();
	return (next(from, to));
}

int
unlink(const char *path)
{
	int	(*next)(const char *);

	*(void **)&next = real("unlink");
	if (counted())
		die();
	return (next(path));
}

/* A new file counts; opening an old one changes nothing. */
static int
open_counted(const char *name, const char *path, int flags, mode_t mode)
{
	int	(*next)(const char *, int, ...);

	*(void **)&next = real(name);
	if ((flags & O_CREAT) && access(path, F_OK) == -1 && counted())
		die();
	return (next(path, flags, mode));
}

int
open64(const char *path, int flags, ...)
{
	va_list	ap;
	mode_t	mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return (open_counted("open64", path, flags, mode));
}

int
open(const char *path, int flags, ...)
{
	va_list	ap;
	mode_t	mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return (open_counted("open", path, flags, mode));
}
