/*
 * Parent and children of hermesd on Linux. The system calls of each process:
 * seccomp, an allow-list made from what the process was seen to need in all
 * suites and what its libraries may need besides. A child that makes another
 * call is killed; the parent is refused it, since what the name services of
 * libc do at a reload is not ours to know. `sandbox log` only logs.
 *
 * Calls without a condition cost next to nothing: the kernel remembers them
 * in a bitmap. The rest is found in a binary tree.
 */
#ifdef __linux__

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/proc/sandbox.h"
#include "common/proc/sandbox_linux.h"
#include "common/util/log.h"

#define P   PROCESS_PARENT
#define R   PROCESS_ROUTER
#define K   PROCESS_KEYD
#define M   PROCESS_MESH
#define C   PROCESS_CONTROL
/* The parent's children are born within its list, so it has all of theirs. */
#define ALL (P | R | K | M | C)

struct row {
	int call;
	unsigned int who; /* enum process bits */
	unsigned int conditions;
	struct scmp_arg_cmp args[3];
};

#define EQ(argument, value)                                                    \
	{                                                                      \
		argument, SCMP_CMP_EQ, value, 0                                \
	}
#define BITS(argument, mask, value)                                            \
	{                                                                      \
		argument, SCMP_CMP_MASKED_EQ, mask, value                      \
	}

#define ANY(call, who)                                                         \
	{                                                                      \
		SCMP_SYS(call), who, 0,                                        \
		{                                                              \
			{                                                      \
				0                                              \
			}                                                      \
		}                                                              \
	}
#define IF(call, who, a)                                                       \
	{                                                                      \
		SCMP_SYS(call), who, 1,                                        \
		{                                                              \
			a                                                      \
		}                                                              \
	}
#define IF2(call, who, a, b)                                                   \
	{                                                                      \
		SCMP_SYS(call), who, 2,                                        \
		{                                                              \
			a, b                                                   \
		}                                                              \
	}
#define IF3(call, who, a, b, c)                                                \
	{                                                                      \
		SCMP_SYS(call), who, 3,                                        \
		{                                                              \
			a, b, c                                                \
		}                                                              \
	}

#define SOCKET_TYPE 0xfU /* the rest of it is flags */
#define NAMESPACES                                                             \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |         \
	    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

static const struct row rows[] = {
	/* The event loop, doors, sockets and files that are open. What runs
	 * for each message comes first and has no condition. */
	ANY(epoll_wait, ALL),
	ANY(epoll_pwait, ALL),
	ANY(epoll_ctl, ALL),
	ANY(read, ALL),
	ANY(write, ALL),
	ANY(recvmsg, ALL),
	ANY(sendmsg, ALL),
	ANY(recvfrom, ALL),
	ANY(sendto, ALL),
	ANY(readv, ALL),
	ANY(writev, ALL),
	ANY(close, ALL),
	ANY(poll, ALL),
	ANY(ppoll, ALL),
	ANY(lseek, ALL),
	ANY(shutdown, ALL),
	ANY(sched_yield, ALL),

	/* Time, where it is not read without a call; randomness; locks of
	 * libc; waiting for what was interrupted. */
	ANY(clock_gettime, ALL),
	ANY(gettimeofday, ALL),
	ANY(time, ALL),
	ANY(getrandom, ALL),
	ANY(futex, ALL),
	ANY(restart_syscall, ALL),

	/* Memory, never to be executed. */
	ANY(brk, ALL),
	ANY(munmap, ALL),
	ANY(mremap, ALL),
	ANY(madvise, ALL),
	IF(mmap, ALL, BITS(2, PROT_EXEC, 0)),
	IF(mprotect, ALL, BITS(2, PROT_EXEC, 0)),

	/* Who and where we are: OpenSSL asks for each random number, libevent
	 * and libc now and then. */
	ANY(getpid, ALL),
	ANY(getppid, ALL),
	ANY(gettid, ALL),
	ANY(getuid, ALL),
	ANY(geteuid, ALL),
	ANY(getgid, ALL),
	ANY(getegid, ALL),
	ANY(sysinfo, ALL),
	ANY(uname, ALL),

	/* The end. */
	ANY(exit, ALL),
	ANY(exit_group, ALL),
	ANY(rt_sigreturn, ALL),
	ANY(rt_sigprocmask, ALL),

	/* Descriptors: flags, nothing else. Looking at open files. */
	IF(fcntl, ALL, EQ(1, F_GETFL)),
	IF(fcntl, ALL, EQ(1, F_SETFL)),
	IF(fcntl, ALL, EQ(1, F_GETFD)),
	IF(fcntl, ALL, EQ(1, F_SETFD)),
	ANY(fstat, ALL),
	IF(newfstatat, ALL, BITS(3, AT_EMPTY_PATH, AT_EMPTY_PATH)),

	/* Connections that come in, and how they are set. */
	ANY(accept4, R | M | C | P),
	ANY(getsockname, R | M | C | P),
	ANY(getpeername, R | M | P),
	IF(setsockopt, R | M, EQ(1, IPPROTO_TCP)),
	IF2(setsockopt, R | M, EQ(1, SOL_SOCKET), EQ(2, SO_KEEPALIVE)),
	IF2(getsockopt, R | M, EQ(1, SOL_SOCKET), EQ(2, SO_ERROR)),

	/* The mesh dials nodes over TCP and asks name servers over UDP. */
	IF3(socket, M, EQ(0, AF_INET), BITS(1, SOCKET_TYPE, SOCK_STREAM),
	    EQ(2, 0)),
	IF3(socket, M, EQ(0, AF_INET), BITS(1, SOCKET_TYPE, SOCK_DGRAM),
	    EQ(2, 0)),
	IF3(socket, M, EQ(0, AF_INET6), BITS(1, SOCKET_TYPE, SOCK_STREAM),
	    EQ(2, 0)),
	IF3(socket, M, EQ(0, AF_INET6), BITS(1, SOCKET_TYPE, SOCK_DGRAM),
	    EQ(2, 0)),
	ANY(connect, M | P),

	/* The router asks what a slow app's connection has not sent. */
	IF(ioctl, R | P, EQ(1, SIOCOUTQNSD)),

	/* Control asks who is at its socket; libevent listens once more. */
	IF2(getsockopt, C, EQ(1, SOL_SOCKET), EQ(2, SO_PEERCRED)),
	ANY(listen, C | P),
	/* Its evhttp asks how much there is to read. */
	IF(ioctl, C, EQ(1, FIONREAD)),

	/* keyd's store, in its folder: Berkeley DB and the files beside it.
	 * Paths are no matter of this list but of root and Landlock. */
	ANY(open, K | P),
	ANY(openat, K | P),
	ANY(newfstatat, K | P),
	ANY(stat, K | P),
	ANY(lstat, K | P),
	ANY(access, K | P),
	ANY(faccessat, K | P),
	ANY(faccessat2, K | P),
	ANY(pread64, R | K | P), /* the router: the operator's certificate */
	ANY(pwrite64, K | P),
	ANY(ftruncate, K | P),
	ANY(fsync, K | P),
	ANY(fdatasync, K | P),
	ANY(rename, K | P),
	ANY(renameat, K | P),
	ANY(unlink, K | P),
	ANY(unlinkat, K | P),
	ANY(mkdir, K | P),
	ANY(mkdirat, K | P),
	ANY(getdents64, K | P),
	ANY(flock, K | P),
	ANY(statfs, K | P),
	ANY(fstatfs, K | P),
	ANY(getcwd, K | P),
	/* Berkeley DB counts processors. */
	ANY(sched_getaffinity, K | P),
	ANY(select, K | P),
	ANY(pselect6, K | P),
	ANY(nanosleep, K | P),
	ANY(clock_nanosleep, K | P),
	/* keyd's secrets stay out of the swap. */
	ANY(mlock, K | P),
	ANY(munlock, K | P),

	/* The parent starts this program and no other: the descriptor of it
	 * is the one where sandbox_exec() puts it. No new namespaces. */
	IF2(execveat, P, EQ(0, SANDBOX_EXEC_FD), EQ(4, AT_EMPTY_PATH)),
	IF(clone, P, BITS(0, NAMESPACES, 0)),
	ANY(fork, P),
	ANY(wait4, P),
	ANY(kill, P),
	ANY(tgkill, P),
	/* A child on its way: descriptors, folder, user, the loader. */
	ANY(dup, P),
	ANY(dup2, P),
	ANY(dup3, P),
	ANY(close_range, P),
	ANY(fcntl, P),
	ANY(chdir, P),
	ANY(fchdir, P),
	ANY(chroot, P),
	ANY(setgroups, P),
	ANY(setresuid, P),
	ANY(setresgid, P),
	ANY(setuid, P),
	ANY(capget, P),
	ANY(capset, P),
	ANY(getresuid, P),
	ANY(getresgid, P),
	IF(mmap, P, BITS(2, PROT_EXEC | PROT_WRITE, PROT_EXEC)),
	ANY(arch_prctl, P),
	ANY(set_tid_address, P),
	ANY(set_robust_list, P),
	ANY(rseq, P),
	ANY(readlink, P),
	ANY(readlinkat, P),
	ANY(statx, P),
	ANY(prlimit64, P),
	ANY(getrlimit, P),
	ANY(setrlimit, P),
	ANY(rt_sigaction, P),
	ANY(rt_sigpending, P),
	ANY(sigaltstack, P),
	ANY(epoll_create1, P),
	ANY(eventfd2, P),
	ANY(pipe2, P),
	ANY(timerfd_create, P),
	/* ... and the walls it builds around itself. */
	ANY(seccomp, P),
	ANY(landlock_create_ruleset, P),
	ANY(landlock_add_rule, P),
	ANY(landlock_restrict_self, P),
	IF2(prctl, P, EQ(0, PR_SET_DUMPABLE), EQ(1, 0)),
	IF(prctl, P, EQ(0, PR_GET_DUMPABLE)),
	IF(prctl, P, EQ(0, PR_SET_NO_NEW_PRIVS)),
	IF(prctl, P, EQ(0, PR_GET_NO_NEW_PRIVS)),
	IF(prctl, P, EQ(0, PR_SET_KEEPCAPS)),
	IF(prctl, P, EQ(0, PR_CAPBSET_READ)),
	IF(prctl, P, EQ(0, PR_CAPBSET_DROP)),
	IF(prctl, P, EQ(0, PR_CAP_AMBIENT)),
	IF(prctl, P, EQ(0, PR_SET_NAME)),
	IF(prctl, P, EQ(0, PR_GET_SECCOMP)),
	/* Doors; listeners that a reload adds; syslog and the service
	 * manager; name services. No raw socket. */
	ANY(socketpair, P),
	ANY(bind, P),
	ANY(setsockopt, P),
	ANY(getsockopt, P),
	IF(socket, P, EQ(0, AF_UNIX)),
	IF2(socket, P, EQ(0, AF_INET), BITS(1, SOCKET_TYPE, SOCK_STREAM)),
	IF2(socket, P, EQ(0, AF_INET), BITS(1, SOCKET_TYPE, SOCK_DGRAM)),
	IF2(socket, P, EQ(0, AF_INET6), BITS(1, SOCKET_TYPE, SOCK_STREAM)),
	IF2(socket, P, EQ(0, AF_INET6), BITS(1, SOCKET_TYPE, SOCK_DGRAM)),
	IF3(socket, P, EQ(0, AF_NETLINK), BITS(1, SOCKET_TYPE, SOCK_RAW),
	    EQ(2, 0)),
	ANY(sendmmsg, P),
	ANY(recvmmsg, P),
	/* hermesctl's socket: mode and group. */
	ANY(umask, P),
	ANY(chown, P),
	ANY(fchownat, P),

#if SANDBOX_SANITIZED
	/* AddressSanitizer's own, and what it reports an error with. */
	ANY(mmap, ALL),
	ANY(mprotect, ALL),
	ANY(sigaltstack, ALL),
	ANY(rt_sigaction, ALL),
	ANY(open, ALL),
	ANY(openat, ALL),
	ANY(newfstatat, ALL),
	ANY(stat, ALL),
	ANY(readlink, ALL),
	ANY(pipe, ALL),
	ANY(pipe2, ALL),
	ANY(dup, ALL),
	ANY(prctl, ALL),
	ANY(sched_getaffinity, ALL),
	ANY(ioctl, ALL),
	ANY(getrlimit, ALL),
	ANY(prlimit64, ALL),
	ANY(getcwd, ALL),
	ANY(nanosleep, ALL),
	ANY(clock_nanosleep, ALL),
#endif
};

static void
seccomp_check(const char *step, int result)
{
	if (result != 0)
		fatal(
		    "seccomp", "step=%s error=\"%s\"", step, strerror(-result));
}

static void
add(scmp_filter_ctx context, uint32_t action, const struct row *row)
{
	seccomp_check("rule",
	    seccomp_rule_add_array(context, action, row->call, row->conditions,
		row->conditions > 0 ? row->args : NULL));
}

/* Ending oneself: abort(3), whose signal the log then tells, and kill. */
static void
add_own_end(scmp_filter_ctx context)
{
	const scmp_datum_t self = (scmp_datum_t)getpid();
	const struct row own[] = { IF2(tgkill, 0, EQ(0, self), EQ(2, SIGABRT)),
		IF(kill, 0, EQ(0, self)) };
	size_t i;

	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		add(context, SCMP_ACT_ALLOW, &own[i]);
}

/* What libraries try and can do without: an answer instead of death, for it
 * can be brought about from outside. */
static void
add_refusals(scmp_filter_ctx context, enum process self)
{
	static const struct row refused[] = {
		/* A log that was restarted. */
		IF(socket, ALL, EQ(0, AF_UNIX)),
		/* The scope of an IPv6 address, as a node may give one. */
		IF(ioctl, ALL, EQ(1, SIOCGIFINDEX)),
		IF(ioctl, ALL, EQ(1, SIOCGIFNAME)),
		/* ... and a client of the admin HTTP may have. */
		IF2(socket, C, EQ(0, AF_INET),
		    BITS(1, SOCKET_TYPE, SOCK_DGRAM)),
		IF2(socket, C, EQ(0, AF_INET6),
		    BITS(1, SOCKET_TYPE, SOCK_DGRAM)),
	};
	size_t i;

	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (refused[i].who & (unsigned int)self)
			add(context, SCMP_ACT_ERRNO(EACCES), &refused[i]);
}

void
seccomp_enter(enum process self, int only_log)
{
	scmp_filter_ctx context;
	uint32_t standard = self == PROCESS_PARENT ? SCMP_ACT_ERRNO(EPERM)
						   : SCMP_ACT_KILL_PROCESS;
	size_t i;

	if (only_log)
		standard = SCMP_ACT_LOG;
	if ((context = seccomp_init(standard)) == NULL)
		fatal("seccomp", "step=init");
	/* Calls in the manner of another machine are never ours. */
	seccomp_check(
	    "architecture", seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH,
				SCMP_ACT_KILL_PROCESS));
	seccomp_check(
	    "tree", seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2));
	/*
	 * Old kernels turn speculative store bypass off for whoever has a
	 * filter, which costs time in every load after a store. Only keyd, and
	 * the parent that reads its passphrase file, hold what is worth it;
	 * none of the others runs code that its peers wrote. Even older ones
	 * have no choice.
	 */
	if (self & (R | M | C))
		(void)seccomp_attr_set(context, SCMP_FLTATR_CTL_SSB, 1);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].who & (unsigned int)self)
			add(context, SCMP_ACT_ALLOW, &rows[i]);
	if (self != PROCESS_PARENT) {
		add_own_end(context);
		add_refusals(context, self);
	}
	seccomp_check("load", seccomp_load(context));
	seccomp_release(context);
}

#endif
