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

static int
privileges_clear(void)
{
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

	memset(&header, 0, sizeof(header));
	header.version = _LINUX_CAPABILITY_VERSION_3;
	memset(none, 0, sizeof(none));
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1 &&
	    errno != EINVAL)
		return (-1);
	return ((int)syscall(SYS_capset, &header, none));
}
#endif

int
privileges_drop(uid_t uid, gid_t gid, const char **what)
{
	*what = "setgroups";
	if (setgroups(1, &gid) == -1)
		return (-1);
#ifdef __linux__
	*what = "bounding set";
	if (privileges_bound() == -1)
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
	if (privileges_clear() == -1)
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
privileges_held(void)
{
#ifdef __linux__
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	size_t i;

	memset(&header, 0, sizeof(header));
	header.version = _LINUX_CAPABILITY_VERSION_3;
	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &header, data) == -1)
		return (1);
	for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if (data[i].effective != 0 || data[i].permitted != 0)
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
