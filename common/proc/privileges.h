/*
 * Parent and children of hermesd. How a process gives up what it does not
 * need. OpenBSD and others without a part of it do what they can.
 */
#ifndef COMMON_PROC_PRIVILEGES_H
#define COMMON_PROC_PRIVILEGES_H

#include <sys/types.h>

/*
 * Any process of hermesd, first thing: no core dumps, not traceable by
 * others, no privileges gained by exec. 0, or -1 with errno.
 */
int privileges_harden(void);

/*
 * A child between fork and exec, root still: become uid and gid with no
 * other group and no capability in any set and none to get back, but that to
 * chroot, if it is held, which sandbox_enter() uses and gives up. 0, or -1
 * with errno and *what the step that failed.
 */
int privileges_drop(uid_t uid, gid_t gid, const char **what);

/* Give up every capability. 0, or -1 with errno. */
int privileges_clear(void);

/* The parent: give up the capabilities that neither starting children nor a
 * reload needs, for good; low_ports: one may bind such. 0, or -1 with errno. */
int privileges_keep(int low_ports);

/* 1 when this process may chroot, else 0. */
int privileges_can_chroot(void);

/* 1 when this process holds any capability but that to chroot, or is root,
 * else 0. */
int privileges_held(void);

/* Raise the soft limit of open files to the hard one; root also lifts the
 * limit of locked memory, which keyd's pages need. */
void privileges_limits(void);

#endif
