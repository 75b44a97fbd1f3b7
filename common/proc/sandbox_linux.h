/*
 * Parent and children of hermesd on Linux. The inside of the sandbox, shared
 * by sandbox_linux.c, sandbox_landlock.c and sandbox_seccomp.c only.
 */
#ifndef COMMON_PROC_SANDBOX_LINUX_H
#define COMMON_PROC_SANDBOX_LINUX_H

#include "common/ipc/ipc.h"
#include "common/proc/config.h"

/* Where the parent keeps this program open, in a child before its exec. */
#define SANDBOX_EXEC_FD 4

/*
 * Landlock for a child: no file but under folder (NULL: none), TCP as its
 * process needs, no signal and no abstract socket out. The ABI in force, 0
 * when the kernel has none; fatal on errors.
 */
int landlock_enter(enum process self, const char *folder);

/*
 * Landlock for the parent: read all, run program (a descriptor) alone, write
 * where config says. As above.
 */
int landlock_parent(const struct config *config, int program);

/* The system calls of a process; only_log: others are logged, not punished.
 * Fatal on errors. */
void seccomp_enter(enum process self, int only_log);

#endif
