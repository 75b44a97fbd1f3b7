/*
 * Parent and children of hermesd. The walls a process puts around itself
 * once it has what it needs: from then on neither a bug nor who uses it can
 * reach more than its work does. sandbox_linux.c (with sandbox_landlock.c
 * and sandbox_seccomp.c) and sandbox_openbsd.c are the same walls of two
 * systems. hermesd(8), SECURITY, says what each process is left with.
 */
#ifndef COMMON_PROC_SANDBOX_H
#define COMMON_PROC_SANDBOX_H

#include "common/ipc/ipc.h"
#include "common/proc/config.h"

/* The sanitizers map terabytes of nothing and look into files. */
#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

/* What ran is written to files as a process ends: no walls (make coverage).*/
#ifdef HERMES_COVERAGE
#define SANDBOX_OPEN 1
#else
#define SANDBOX_OPEN 0
#endif

/*
 * A child, with its first configuration and before it does anything with it:
 * bounds on memory, files and processes; a root folder of its own (keyd's is
 * that of its store, the others' is where the parent put them), if it was
 * given the right to; no capability; no file system, no network and no system
 * call beyond its work. foreground: it logs to stderr. What the kernel does
 * not know is left out and logged; what it refuses is fatal. May be called
 * once.
 */
void sandbox_enter(
    enum process self, const struct config *config, int foreground);

/*
 * The part of sandbox_enter() that all systems have: no core, no process or
 * thread beside it, no more memory and descriptors than the configuration can
 * lead to, no file that grows but keyd's.
 */
void sandbox_limits(
    enum process self, const struct config *config, int foreground);

/* The parent's part: a bound on its memory that its children do not inherit
 * for good. */
void sandbox_limits_parent(void);

/* After sandbox_enter(): write into config, where paths are as the parent
 * sees them, the path of keyd's folder as this process does. */
void sandbox_paths(struct config *config);

/*
 * The parent, when everything is open and bound and before a child is
 * started: what it may still do is read files, start this same program, bind
 * sockets and signal its children. config: where it and keyd must write.
 * Children are born within these walls. What the kernel does not know is left
 * out and logged; what it refuses is fatal.
 */
void sandbox_parent(const struct config *config);

/*
 * The parent, before sandbox_parent(): open this program, started as
 * program, to run it again; as root also an empty folder for children to
 * live in.
 */
void sandbox_prepare(const char *program);

/* Between fork and exec: go where sandbox_enter() will make the root. 0, or
 * -1 with errno. */
int sandbox_place(void);

/*
 * Between fork and exec: keep descriptors 0 to 2 and PROC_PARENT_FD, close
 * the others, and become this program, started as program, anew. Returns on
 * errors only, with errno.
 */
void sandbox_exec(const char *program, char *const argv[], char *const envp[]);

/* What ended a process by this signal, for the log: " reason=sandbox" when
 * it did what it must not, else "". */
const char *sandbox_death(int number);

#endif
