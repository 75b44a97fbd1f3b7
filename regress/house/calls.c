/*
 * Tests only, preloaded into keyd. Writes down every call that changes files
 * in keyd's folder (calls.h) and kills the process with SIGKILL at one of
 * them, instead of it or after half of a write. The journal is the file
 * named by HERMES_CALLS; the harness sets when to die in it.
 *
 * Calls that change files in a way that is not modelled here abort: should
 * keyd begin to use one, the tests say so. That none is missed, a test shows
 * that replays the journal and compares (power.c).
 */

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "regress/house/calls.h"

#define DESCRIPTORS 1024

static struct calls *calls;
static uint32_t files[DESCRIPTORS]; /* numbers by descriptor */

__attribute__((constructor)) static void
calls_open(void)
{
	const char *path = getenv("HERMES_CALLS");
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	calls =
	    mmap(NULL, CALLS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd == -1 || calls == MAP_FAILED)
		abort();
	(void)close(fd);
}

static void *
real(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (function == NULL)
		abort();
	return (function);
}

static void
die(void)
{
	(void)kill(getpid(), SIGKILL);
	for (;;)
		(void)pause();
}

/* One more call. 1 when it is the one to die after half of. */
static int
begun(enum call_kind kind)
{
	if (calls == NULL)
		return (0);
	calls->syncs += kind == CALL_SYNC;
	if (++calls->count != calls->die_at)
		return (0);
	calls->died_in = kind;
	if (kind == CALL_WRITE && calls->torn)
		return (1);
	die();
	return (0);
}

static void
done(enum call_kind kind, uint32_t file, const char *name, uint64_t offset,
    const void *bytes, uint64_t length)
{
	struct call call = {
		.kind = kind, .file = file, .offset = offset, .length = length
	};
	uint64_t size = sizeof(call) + ((length + 7) & ~UINT64_C(7));
	const char *base;

	if (calls == NULL)
		return;
	if (kind == CALL_WRITE)
		calls->written += length;
	if (calls->unkept)
		return;
	if (size > CALLS_SIZE - sizeof(*calls) - calls->used)
		abort();
	if (name != NULL) {
		base = strrchr(name, '/');
		snprintf(call.name, sizeof(call.name), "%s",
		    base == NULL ? name : base + 1);
	}
	memcpy(calls->bytes + calls->used, &call, sizeof(call));
	if (length > 0)
		memcpy(
		    calls->bytes + calls->used + sizeof(call), bytes, length);
	calls->used += size;
}

/* The number of a file in keyd's folder that is open for writing, or 0. */
static uint32_t
file_of(int fd)
{
	struct stat st;

	if (fd < 0 || fd >= DESCRIPTORS || files[fd] == 0 ||
	    fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		return (0);
	return (files[fd]);
}

/* --- bytes --------------------------------------------------------------- */

/* Berkeley DB fills the rest of an opened log with zeros, a thousand writes
 * that are all alike: of these every 64th counts. */
static int
dull(const uint8_t *bytes, size_t length, off64_t offset)
{
	return (length == 4096 && offset / 4096 % 64 != 0 && bytes[0] == 0 &&
		memcmp(bytes, bytes + 1, length - 1) == 0);
}

ssize_t
pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
	ssize_t (*next)(int, const void *, size_t, off64_t);
	uint32_t file = file_of(fd);
	ssize_t n;
	int torn;

	*(void **)&next = real("pwrite64");
	if (file == 0)
		return (next(fd, bytes, length, offset));
	torn = !dull(bytes, length, offset) && begun(CALL_WRITE);
	n = next(fd, bytes, torn ? length / 2 : length, offset);
	if (n > 0)
		done(CALL_WRITE, file, NULL, (uint64_t)offset, bytes,
		    (uint64_t)n);
	if (torn)
		die();
	return (n);
}

ssize_t
pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
	return (pwrite64(fd, bytes, length, offset));
}

ssize_t
write(int fd, const void *bytes, size_t length)
{
	ssize_t (*next)(int, const void *, size_t);
	off64_t at;
	ssize_t n;

	*(void **)&next = real("write");
	if (file_of(fd) == 0)
		return (next(fd, bytes, length));
	at = lseek64(fd, 0, SEEK_CUR);
	n = pwrite64(fd, bytes, length, at);
	if (n > 0)
		(void)lseek64(fd, at + n, SEEK_SET);
	return (n);
}

int
ftruncate64(int fd, off64_t length)
{
	int (*next)(int, off64_t);
	uint32_t file = file_of(fd);
	int result;

	*(void **)&next = real("ftruncate64");
	if (file != 0)
		(void)begun(CALL_TRUNCATE);
	result = next(fd, length);
	if (file != 0 && result == 0)
		done(CALL_TRUNCATE, file, NULL, (uint64_t)length, NULL, 0);
	return (result);
}

int
ftruncate(int fd, off_t length)
{
	return (ftruncate64(fd, length));
}

static int
synced(const char *name, int fd)
{
	int (*next)(int);
	struct stat st;
	uint32_t file = file_of(fd);
	int folder, result;

	*(void **)&next = real(name);
	folder = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
	if (file != 0)
		(void)begun(CALL_SYNC);
	else if (folder)
		(void)begun(CALL_SYNC_FOLDER);
	result = next(fd);
	if (result == 0 && file != 0)
		done(CALL_SYNC, file, NULL, 0, NULL, 0);
	else if (result == 0 && folder)
		done(CALL_SYNC_FOLDER, 0, NULL, 0, NULL, 0);
	return (result);
}

int
fsync(int fd)
{
	return (synced("fsync", fd));
}

int
fdatasync(int fd)
{
	return (synced("fdatasync", fd));
}

/* --- names --------------------------------------------------------------- */

int
close(int fd)
{
	int (*next)(int);

	*(void **)&next = real("close");
	if (fd >= 0 && fd < DESCRIPTORS)
		files[fd] = 0;
	return (next(fd));
}

/* All that keyd opens for writing is in its folder, but devices and what a
 * coverage build writes of itself. */
static int
foreign(const char *path)
{
	const char *dot = strrchr(path, '.');

	return (strncmp(path, "/dev/", 5) == 0 ||
		(dot != NULL && strcmp(dot, ".gcda") == 0));
}

static int
opened(int at, const char *path, int flags, mode_t mode)
{
	int (*next)(int, const char *, int, ...);
	struct stat st;
	int fd, made;

	*(void **)&next = real("openat64");
	if (calls == NULL || (flags & O_ACCMODE) == O_RDONLY || foreign(path))
		return (next(at, path, flags, mode));
	made = (flags & O_CREAT) && fstatat(at, path, &st, 0) == -1;
	if (made)
		(void)begun(CALL_CREATE);
	if ((fd = next(at, path, flags, mode)) == -1)
		return (-1);
	if (fd >= DESCRIPTORS)
		abort();
	files[fd] = ++calls->files;
	done(made ? CALL_CREATE : CALL_OPEN, files[fd], path, 0, NULL, 0);
	if (!made && (flags & O_TRUNC))
		done(CALL_TRUNCATE, files[fd], NULL, 0, NULL, 0);
	return (fd);
}

#define OPEN_CALL(name)                                                        \
	int name(const char *path, int flags, ...)                             \
	{                                                                      \
		va_list ap;                                                    \
		mode_t mode;                                                   \
                                                                               \
		va_start(ap, flags);                                           \
		mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;               \
		va_end(ap);                                                    \
		return (opened(AT_FDCWD, path, flags, mode));                  \
	}

#define OPENAT_CALL(name)                                                      \
	int name(int at, const char *path, int flags, ...)                     \
	{                                                                      \
		va_list ap;                                                    \
		mode_t mode;                                                   \
                                                                               \
		va_start(ap, flags);                                           \
		mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;               \
		va_end(ap);                                                    \
		return (opened(at, path, flags, mode));                        \
	}

OPEN_CALL(open)
OPEN_CALL(open64)
OPENAT_CALL(openat)
OPENAT_CALL(openat64)

/* What glibc's fortified headers call when no mode is given. */
#define OPEN_2_CALL(name)                                                      \
	int name(const char *, int);                                           \
	int name(const char *path, int flags)                                  \
	{                                                                      \
		return (opened(AT_FDCWD, path, flags, 0));                     \
	}

#define OPENAT_2_CALL(name)                                                    \
	int name(int, const char *, int);                                      \
	int name(int at, const char *path, int flags)                          \
	{                                                                      \
		return (opened(at, path, flags, 0));                           \
	}

OPEN_2_CALL(__open_2)
OPEN_2_CALL(__open64_2)
OPENAT_2_CALL(__openat_2)
OPENAT_2_CALL(__openat64_2)

int
renameat(int from_at, const char *from, int to_at, const char *to)
{
	int (*next)(int, const char *, int, const char *);
	const char *base = strrchr(to, '/');
	int result;

	*(void **)&next = real("renameat");
	(void)begun(CALL_RENAME);
	result = next(from_at, from, to_at, to);
	base = base == NULL ? to : base + 1;
	if (result == 0)
		done(CALL_RENAME, 0, from, 0, base, strlen(base) + 1);
	return (result);
}

int
rename(const char *from, const char *to)
{
	return (renameat(AT_FDCWD, from, AT_FDCWD, to));
}

int
unlinkat(int at, const char *path, int flags)
{
	int (*next)(int, const char *, int);
	int result;

	*(void **)&next = real("unlinkat");
	(void)begun(CALL_UNLINK);
	result = next(at, path, flags);
	if (result == 0)
		done(CALL_UNLINK, 0, path, 0, NULL, 0);
	return (result);
}

int
unlink(const char *path)
{
	return (unlinkat(AT_FDCWD, path, 0));
}

/* --- what keyd does not use ---------------------------------------------- */

static void
unknown(const char *name)
{
	fprintf(
	    stderr, "calls.so: keyd calls %s, which is not modelled\n", name);
	abort();
}

void *
mmap64(void *where, size_t length, int protection, int flags, int fd,
    off64_t offset)
{
	void *(*next)(void *, size_t, int, int, int, off64_t);

	*(void **)&next = real("mmap64");
	if (file_of(fd) != 0 && (flags & MAP_SHARED) &&
	    (protection & PROT_WRITE))
		unknown("mmap");
	return (next(where, length, protection, flags, fd, offset));
}

void *
mmap(
    void *where, size_t length, int protection, int flags, int fd, off_t offset)
{
	return (mmap64(where, length, protection, flags, fd, offset));
}

#define VECTOR_CALL(name, parameters, arguments)                               \
	ssize_t name parameters                                                \
	{                                                                      \
		ssize_t(*next) parameters;                                     \
                                                                               \
		*(void **)&next = real(#name);                                 \
		if (file_of(fd) != 0)                                          \
			unknown(#name);                                        \
		return (next arguments);                                       \
	}

VECTOR_CALL(writev, (int fd, const struct iovec *vector, int count),
    (fd, vector, count))
VECTOR_CALL(pwritev,
    (int fd, const struct iovec *vector, int count, off_t offset),
    (fd, vector, count, offset))
VECTOR_CALL(pwritev64,
    (int fd, const struct iovec *vector, int count, off64_t offset),
    (fd, vector, count, offset))
VECTOR_CALL(pwritev2,
    (int fd, const struct iovec *vector, int count, off_t offset, int flags),
    (fd, vector, count, offset, flags))
VECTOR_CALL(pwritev64v2,
    (int fd, const struct iovec *vector, int count, off64_t offset, int flags),
    (fd, vector, count, offset, flags))

#define UNKNOWN_CALL(name, parameters)                                         \
	int name parameters                                                    \
	{                                                                      \
		unknown(#name);                                                \
		return (-1);                                                   \
	}

UNKNOWN_CALL(fallocate,
    (int fd __attribute__((unused)), int mode __attribute__((unused)),
	off_t offset __attribute__((unused)),
	off_t length __attribute__((unused))))
UNKNOWN_CALL(posix_fallocate,
    (int fd __attribute__((unused)), off_t offset __attribute__((unused)),
	off_t length __attribute__((unused))))
UNKNOWN_CALL(truncate, (const char *path __attribute__((unused)),
			   off_t length __attribute__((unused))))
UNKNOWN_CALL(link, (const char *from __attribute__((unused)),
		       const char *to __attribute__((unused))))
UNKNOWN_CALL(symlink, (const char *from __attribute__((unused)),
			  const char *to __attribute__((unused))))
UNKNOWN_CALL(renameat2, (int from_at __attribute__((unused)),
			    const char *from __attribute__((unused)),
			    int to_at __attribute__((unused)),
			    const char *to __attribute__((unused)),
			    unsigned int flags __attribute__((unused))))
UNKNOWN_CALL(fallocate64,
    (int fd __attribute__((unused)), int mode __attribute__((unused)),
	off64_t offset __attribute__((unused)),
	off64_t length __attribute__((unused))))
UNKNOWN_CALL(posix_fallocate64,
    (int fd __attribute__((unused)), off64_t offset __attribute__((unused)),
	off64_t length __attribute__((unused))))
UNKNOWN_CALL(truncate64, (const char *path __attribute__((unused)),
			     off64_t length __attribute__((unused))))
UNKNOWN_CALL(linkat, (int from_at __attribute__((unused)),
			 const char *from __attribute__((unused)),
			 int to_at __attribute__((unused)),
			 const char *to __attribute__((unused)),
			 int flags __attribute__((unused))))
UNKNOWN_CALL(symlinkat,
    (const char *from __attribute__((unused)), int at __attribute__((unused)),
	const char *to __attribute__((unused))))
UNKNOWN_CALL(creat, (const char *path __attribute__((unused)),
			mode_t mode __attribute__((unused))))
UNKNOWN_CALL(creat64, (const char *path __attribute__((unused)),
			  mode_t mode __attribute__((unused))))
