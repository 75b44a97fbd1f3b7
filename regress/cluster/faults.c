/*
 * Calls that fail, for tests: preloaded into every process of a node by an
 * /etc/ld.so.preload of its own. Which calls of which process fail, and when,
 * stands in /etc/faults, which is mapped and may change at any time; see
 * regress/lib/faults.py. What fails does so before the kernel is asked, or
 * after a part of it was done; the sandbox sees no call that is new to it. The
 * parent alone goes without Landlock, within which its children are born and
 * could not count in that file.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum fault_kind {
	FAULT_MEMORY, /* no memory */
	FAULT_SHORT,  /* one byte is read or written */
	FAULT_INTR,   /* EINTR */
	FAULT_FULL,   /* the socket's buffer is: EAGAIN */
	FAULT_FILES,  /* EMFILE */
	FAULT_SPACE,  /* ENOSPC */
	FAULT_ROOM,   /* statvfs(3) says that there is none */
	FAULT_KINDS
};

/* The parent, then the children in the order of faults.py. */
static const char *const names[] = { "parent", "router", "keyd", "mesh",
	"control" };
#define PROCESSES (sizeof(names) / sizeof(names[0]))

struct fault {
	uint64_t seen;
	uint64_t hit;
	uint64_t every; /* each so many fail; 0: none */
	uint64_t once;  /* so many more, and one fails; 0: none */
};

static struct fault *faults; /* of this process */
static int is_parent;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);

static void __attribute__((constructor)) faults_open(int argc, char **argv)
{
	struct fault(*all)[FAULT_KINDS] = MAP_FAILED;
	size_t i = 0, n;
	int fd, at;

	if (argc < 1 || strstr(argv[0], "hermesd") == NULL)
		return;
	for (at = 1; at + 1 < argc; at++)
		for (n = 1; n < PROCESSES; n++)
			if (strcmp(argv[at], "-P") == 0 &&
			    strcmp(argv[at + 1], names[n]) == 0)
				i = n;
	if ((fd = open("/etc/faults", O_RDWR | O_CLOEXEC)) != -1) {
		all = mmap(NULL, sizeof(*all) * PROCESSES,
		    PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		(void)close(fd);
	}
	if (all == MAP_FAILED)
		abort(); /* a test without faults proves nothing */
	is_parent = i == 0;
	faults = all[i];
}

long
syscall(long number, ...)
{
	long (*next)(long, ...), a[6];
	va_list ap;
	size_t i;

	va_start(ap, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (is_parent && number == SYS_landlock_create_ruleset) {
		errno = ENOSYS;
		return (-1);
	}
	*(void **)&next = dlsym(RTLD_NEXT, "syscall");
	return (next(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}

static int
fails(enum fault_kind kind)
{
	struct fault *fault;

	if (faults == NULL)
		return (0);
	fault = &faults[kind];
	fault->seen++;
	if ((fault->once != 0 && --fault->once == 0) ||
	    (fault->every != 0 && fault->seen % fault->every == 0)) {
		fault->hit++;
		return (1);
	}
	return (0);
}

/* --- memory -------------------------------------------------------------- */

static void *
no_memory(void)
{
	errno = ENOMEM;
	return (NULL);
}

void *
malloc(size_t size)
{
	return (fails(FAULT_MEMORY) ? no_memory() : __libc_malloc(size));
}

void *
calloc(size_t count, size_t size)
{
	return (fails(FAULT_MEMORY) ? no_memory() : __libc_calloc(count, size));
}

void *
realloc(void *at, size_t size)
{
	return (fails(FAULT_MEMORY) ? no_memory() : __libc_realloc(at, size));
}

void *
reallocarray(void *at, size_t count, size_t size)
{
	size_t whole;

	if (__builtin_mul_overflow(count, size, &whole))
		return (no_memory());
	return (realloc(at, whole));
}

/* --- bytes --------------------------------------------------------------- */

/* 1 when it fails, with errno; else how much of it is to be done. */
static int
io_fails(int out, size_t *length)
{
	if (fails(FAULT_INTR)) {
		errno = EINTR;
		return (1);
	}
	if (out && fails(FAULT_FULL)) {
		errno = EAGAIN;
		return (1);
	}
	if (*length > 1 && fails(FAULT_SHORT))
		*length = 1;
	return (0);
}

ssize_t
recv(int fd, void *bytes, size_t length, int flags)
{
	if (io_fails(0, &length))
		return (-1);
	return (syscall(SYS_recvfrom, fd, bytes, length, flags, NULL, NULL));
}

ssize_t
send(int fd, const void *bytes, size_t length, int flags)
{
	if (io_fails(1, &length))
		return (-1);
	return (syscall(SYS_sendto, fd, bytes, length, flags, NULL, 0));
}

/* Of these a part is the first vector alone, or a byte of it. */
ssize_t
recvmsg(int fd, struct msghdr *message, int flags)
{
	struct msghdr part = *message;
	struct iovec first;
	ssize_t n;

	if (part.msg_iovlen == 0)
		return (syscall(SYS_recvmsg, fd, message, flags));
	first = part.msg_iov[0];
	if (io_fails(0, &first.iov_len))
		return (-1);
	if (first.iov_len != part.msg_iov[0].iov_len) {
		part.msg_iov = &first;
		part.msg_iovlen = 1;
	}
	n = syscall(SYS_recvmsg, fd, &part, flags);
	message->msg_namelen = part.msg_namelen;
	message->msg_controllen = part.msg_controllen;
	message->msg_flags = part.msg_flags;
	return (n);
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct msghdr part = *message;
	struct iovec first;

	if (part.msg_iovlen == 0)
		return (syscall(SYS_sendmsg, fd, message, flags));
	first = part.msg_iov[0];
	if (io_fails(1, &first.iov_len))
		return (-1);
	if (first.iov_len != part.msg_iov[0].iov_len) {
		part.msg_iov = &first;
		part.msg_iovlen = 1;
	}
	return (syscall(SYS_sendmsg, fd, &part, flags));
}

/* --- descriptors and disks ----------------------------------------------- */

int
accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length,
    int flags)
{
	if (fails(FAULT_FILES)) {
		errno = EMFILE;
		return (-1);
	}
	return ((int)syscall(SYS_accept4, fd, address, length, flags));
}

int
socket(int family, int type, int protocol)
{
	if (fails(FAULT_FILES)) {
		errno = EMFILE;
		return (-1);
	}
	return ((int)syscall(SYS_socket, family, type, protocol));
}

int
fstatvfs(int fd, struct statvfs *fs)
{
	int (*next)(int, struct statvfs *);
	int result;

	*(void **)&next = dlsym(RTLD_NEXT, "fstatvfs");
	result = next(fd, fs);
	if (fails(FAULT_ROOM))
		fs->f_bavail = 0;
	return (result);
}

ssize_t
pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
	if (fails(FAULT_SPACE)) {
		errno = ENOSPC;
		return (-1);
	}
	return (syscall(SYS_pwrite64, fd, bytes, length, offset));
}

ssize_t
pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
	return (pwrite64(fd, bytes, length, offset));
}
