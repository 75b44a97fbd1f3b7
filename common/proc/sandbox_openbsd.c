/*
 * Parent and children of hermesd on OpenBSD: pledge(2) and unveil(2). Each
 * promise is justified where it is made. There is no chroot: unveil hides the
 * rest of the file system from a process as well. See sandbox.h.
 */
#ifdef __OpenBSD__

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/proc/sandbox.h"
#include "common/util/log.h"

/* PROC_PARENT_FD, the last that a child keeps. */
#define LAST_FD 3

static char program_path[CONFIG_PATH_SIZE];

static void
show(const char *path, const char *rights)
{
	if (unveil(path, rights) == -1)
		fatal("unveil", "path=%s error=\"%s\"", path, strerror(errno));
}

static void
promise(const char *promises)
{
	if (unveil(NULL, NULL) == -1)
		fatal("unveil", "error=\"%s\"", strerror(errno));
	if (pledge(promises, NULL) == -1)
		fatal("pledge", "error=\"%s\"", strerror(errno));
}

void
sandbox_enter(enum process self, const struct config *config, int foreground)
{
	tzset(); /* reads the time zone while it can */
	sandbox_limits(self, config, foreground);
	switch (self) {
	case PROCESS_ROUTER:
		/*
		 * stdio: the event loop, doors, memory, time, the log.
		 * recvfd: doors and listeners come from the parent.
		 * inet: accepts apps and sets options of their sockets.
		 */
		show("/", "");
		promise("stdio recvfd inet");
		break;
	case PROCESS_KEYD:
		/*
		 * stdio, recvfd: as above; the passphrase comes that way.
		 * rpath, wpath, cpath: the store's files are read, written,
		 * made, renamed and taken away, in this folder only.
		 * flock: a second keyd on one store must fail.
		 * error: no promise has mlock(2). Refused, it leaves secrets
		 * to the swap, which this system encrypts; without this word
		 * it would be death.
		 */
		show(config->keystore.path, "rwc");
		promise("error stdio recvfd rpath wpath cpath flock");
		break;
	case PROCESS_MESH:
		/*
		 * stdio, recvfd: as above.
		 * inet: accepts and dials nodes, asks name servers. The parent
		 * opens resolv.conf(5), so "dns" is not needed.
		 */
		show("/", "");
		promise("stdio recvfd inet");
		break;
	default:
		/*
		 * stdio, recvfd: as above; hermesctl passes files that way.
		 * inet: accepts clients of the admin HTTP.
		 * unix: accepts hermesctl and asks who it is.
		 */
		show("/", "");
		promise("stdio recvfd inet unix");
		break;
	}
}

void
sandbox_paths(struct config *config)
{
	(void)config; /* the same everywhere */
}

void
sandbox_parent(const struct config *config)
{
	char folder[CONFIG_PATH_SIZE], *slash;

	sandbox_limits_parent();
	(void)strlcpy(folder, config->control_socket, sizeof(folder));
	if ((slash = strrchr(folder, '/')) != NULL)
		slash[slash == folder] = '\0';
	show("/", "r");           /* a reload reads what it names */
	show(program_path, "rx"); /* children are this program */
	show(folder, "rwc");      /* hermesctl's socket */
	show("/dev/null", "rw");  /* children's standard input */
	/*
	 * stdio: as above.
	 * rpath: a reload reads the configuration and certificates.
	 * wpath: /dev/null for children. cpath: hermesctl's socket is made
	 * and taken away.
	 * fattr, chown: that socket's mode and group.
	 * inet, unix: a reload may bind other sockets; syslog.
	 * dns: their names may have to be looked up.
	 * sendfd: doors, listeners and files go to children.
	 * proc, exec, id: children are started, ended, and under users of
	 * their own.
	 */
	promise("stdio rpath wpath cpath fattr chown inet unix dns sendfd "
		"proc exec id");
}

void
sandbox_prepare(const char *program)
{
	if (strlcpy(program_path, program, sizeof(program_path)) >=
	    sizeof(program_path))
		fatal("program", "path=%s error=\"too long\"", program);
}

int
sandbox_place(void)
{
	return (chdir("/"));
}

void
sandbox_exec(const char *program, char *const argv[], char *const envp[])
{
	closefrom(LAST_FD + 1);
	(void)execve(program, argv, envp);
}

const char *
sandbox_death(int number)
{
	/* What pledge(2) ends a process with; abort(3) looks the same. */
	return (number == SIGABRT ? " reason=sandbox" : "");
}

#endif
