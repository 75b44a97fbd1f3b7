/*
 * Parent and children of hermesd. Giving up privileges; see privileges.h.
 * The capability calls are made by system call: libcap is no dependency.
 */

#include <sys/types.h>
#include <sys/resource.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include <errno.h>
#include <grp.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/capability.h>
#endif

#include "common/proc/privileges.h"

int
privileges_harden(void)
{
	struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) == -1)
		return (-1);
#ifdef __linux__
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return (-1);
#endif
	return (0);
}

#ifdef __linux__
/* Empty the bounding set, so that no exec can give a capability back. */
static int
privileges_bound(void)
{
	int cap, held;

	for (cap = 0;; cap++) {
		held = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
		if (held == -1)
			return (errno == EINVAL ? 0 : -1);
		if (held == 1 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == -1)
			return (-1);
	}
}

static uint64_t
privileges_get(void)
{
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	memset(&header, 0, sizeof(header));
	header.version = _LINUX_CAPABILITY_VERSION_3;
	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &header, data) == -1)
		return (UINT64_MAX); /* believe the worst */
	return (data[0].effective | data[0].permitted |
		(uint64_t)(data[1].effective | data[1].permitted) << 32);
}

/* Hold these capabilities and no other; for the next program, too. */
static int
privileges_set(uint64_t held, uint64_t inherited)
{
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	size_t i;

	memset(&header, 0, sizeof(header));
	header.version = _LINUX_CAPABILITY_VERSION_3;
	memset(data, 0, sizeof(data));
	for (i = 0; i < 2; i++) {
		data[i].effective = data[i].permitted =
		    (uint32_t)(held >> (32 * i));
		data[i].inheritable = (uint32_t)(inherited >> (32 * i));
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1 &&
	    errno != EINVAL)
		return (-1);
	return ((int)syscall(SYS_capset, &header, data));
}
#endif

#define CAPABILITY(number) (UINT64_C(1) << (number))

int
privileges_can_chroot(void)
{
#ifdef __linux__
	return ((privileges_get() & CAPABILITY(CAP_SYS_CHROOT)) != 0);
#else
	return (geteuid() == 0);
#endif
}

int
privileges_drop(uid_t uid, gid_t gid, const char **what)
{
#ifdef __linux__
	uint64_t held = privileges_get();
	uint64_t kept = held & CAPABILITY(CAP_SYS_CHROOT);
#endif

	*what = "setgroups";
	if (setgroups(1, &gid) == -1)
		return (-1);
#ifdef __linux__
	/* What is to be inherited must be said before the set is empty. */
	*what = "bounding set";
	if (privileges_set(held, kept) == -1 || privileges_bound() == -1 ||
	    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == -1)
		return (-1);
#endif
	*what = "setresgid";
	if (setresgid(gid, gid, gid) == -1)
		return (-1);
	*what = "setresuid";
	if (setresuid(uid, uid, uid) == -1)
		return (-1);
#ifdef __linux__
	*what = "capset";
	if (privileges_set(kept, kept) == -1 ||
	    (kept != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE,
			      CAP_SYS_CHROOT, 0, 0) == -1))
		return (-1);
#endif
	/* It must not be possible to go back. */
	*what = "staying down";
	if (uid != 0 && (setuid(0) != -1 || seteuid(0) != -1)) {
		errno = EPERM;
		return (-1);
	}
	return (0);
}

int
privileges_clear(void)
{
#ifdef __linux__
	return (privileges_set(0, 0));
#else
	return (0);
#endif
}

int
privileges_keep(int low_ports)
{
#ifdef __linux__
	/* To become the children's users, also to end them, and to let them
	 * choose a root; at a reload, to read files of others. */
	uint64_t needed = CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID) |
			  CAPABILITY(CAP_SYS_CHROOT) |
			  CAPABILITY(CAP_DAC_READ_SEARCH);
	uint64_t held = privileges_get();

	if (held == 0)
		return (0);
	if (low_ports)
		needed |= CAPABILITY(CAP_NET_BIND_SERVICE);
	/* What a child is to inherit must be said before the bounding set is
	 * empty; then nobody needs the right to empty it any more. */
	if (privileges_set(held, held & CAPABILITY(CAP_SYS_CHROOT)) == -1 ||
	    privileges_bound() == -1)
		return (-1);
	return (
	    privileges_set(held & needed, held & CAPABILITY(CAP_SYS_CHROOT)));
#else
	(void)low_ports;
	return (0);
#endif
}

int
privileges_held(void)
{
#ifdef __linux__
	if (privileges_get() & ~CAPABILITY(CAP_SYS_CHROOT))
		return (1);
#endif
	return (geteuid() == 0 || getuid() == 0);
}

void
privileges_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (geteuid() == 0) {
		limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
		(void)setrlimit(RLIMIT_MEMLOCK, &limit);
	}
}
