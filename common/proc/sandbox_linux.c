/*
 * Parent and children of hermesd on Linux. The walls in their order: bounds
 * on what is used, a root folder, no capability, then Landlock and seccomp,
 * after which none of it can be undone. See sandbox.h.
 */
#ifdef __linux__

#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/proc/privileges.h"
#include "common/proc/sandbox.h"
#include "common/proc/sandbox_linux.h"
#include "common/util/log.h"

static struct {
	int program; /* parent: this program, open */
	int empty;   /* parent: a folder that is no more, or -1 */
	int rooted;  /* child: its root is its own */
	int store;   /* child: and is the folder of the store */
} sandbox = { .program = -1, .empty = -1 };

/* --- the root folder ----------------------------------------------------- */

static void
root_enter(enum process self, const struct config *config)
{
	if (self == PROCESS_KEYD && chdir(config->keystore.path) == -1)
		fatal("sandbox", "folder=%s error=\"%s\"",
		    config->keystore.path, strerror(errno));
	if (!privileges_can_chroot())
		return;
	if (chroot(".") == -1 || chdir("/") == -1)
		fatal("sandbox", "step=chroot error=\"%s\"", strerror(errno));
	sandbox.rooted = 1;
	sandbox.store = self == PROCESS_KEYD;
}

void
sandbox_paths(struct config *config)
{
	/* Not "/", of which Berkeley DB makes no path. */
	if (sandbox.store)
		(void)strlcpy(
		    config->keystore.path, "/.", sizeof(config->keystore.path));
}

/* --- children ------------------------------------------------------------ */

void
sandbox_enter(enum process self, const struct config *config, int foreground)
{
	struct config own = *config;
	int abi;

	if (SANDBOX_OPEN)
		return;
	/* Started by descriptor, it has no name yet. */
	(void)prctl(PR_SET_NAME, "hermesd", 0, 0, 0);
	/* Files that libc would look for later: the time zone. */
	tzset();
	sandbox_limits(self, config, foreground);
	root_enter(self, config);
	if (privileges_clear() == -1)
		fatal("sandbox", "step=capabilities error=\"%s\"",
		    strerror(errno));
	sandbox_paths(&own);
	abi = landlock_enter(
	    self, self == PROCESS_KEYD ? own.keystore.path : NULL);
	if (abi == 0)
		log_warn("landlock_missing",
		    "reason=\"this kernel has none, or forbids it\"");
	seccomp_enter(self, config->sandbox_log != 0);
	log_info("sandbox", "landlock=%d seccomp=%s root=%s", abi,
	    config->sandbox_log ? "log" : "kill",
	    sandbox.rooted ? "own" : "shared");
}

/* --- the parent ---------------------------------------------------------- */

/* Does it listen where only root may? A reload may move there, too. */
static int
listens_low(const struct config *config)
{
	const struct config_listener *listener;
	struct sockaddr_in address; /* the port is there in both families */
	size_t kind, i;

	for (kind = LISTEN_APP; kind <= LISTEN_ADMIN; kind++)
		for (i = 0; i < CONFIG_LISTENERS; i++) {
			listener = &config->listen[kind][i];
			memcpy(&address, &listener->address, sizeof(address));
			if (listener->address_length > 0 &&
			    address.sin_port != 0 &&
			    ntohs(address.sin_port) < IPPORT_RESERVED)
				return (1);
		}
	return (0);
}

void
sandbox_parent(const struct config *config)
{
	int abi;

	if (SANDBOX_OPEN)
		return;
	sandbox_limits_parent();
	if (privileges_keep(listens_low(config)) == -1)
		fatal("sandbox", "step=capabilities error=\"%s\"",
		    strerror(errno));
	abi = landlock_parent(config, sandbox.program);
	if (abi == 0)
		log_warn("landlock_missing",
		    "reason=\"this kernel has none, or forbids it\"");
	seccomp_enter(PROCESS_PARENT, config->sandbox_log != 0);
	log_info("sandbox", "landlock=%d seccomp=%s", abi,
	    config->sandbox_log ? "log" : "deny");
}

/* A folder in which there is nothing and nobody can make anything: it is
 * removed as soon as it is open. */
static int
empty_open(void)
{
	static const char *const above[] = { "/run", "/tmp", "/dev/shm" };
	char path[64];
	size_t i;
	int fd;

	for (i = 0; i < sizeof(above) / sizeof(above[0]); i++) {
		(void)strlcpy(path, above[i], sizeof(path));
		(void)strlcat(path, "/hermesd.XXXXXXXX", sizeof(path));
		if (mkdtemp(path) == NULL)
			continue;
		/* The children's users must be able to stand in it. */
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd != -1 && (fchmod(fd, 0555) == -1 || rmdir(path) == -1)) {
			(void)close(fd);
			fd = -1;
		}
		if (fd != -1)
			return (fd);
	}
	return (-1);
}

void
sandbox_prepare(const char *program)
{
	sandbox.program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (sandbox.program == -1)
		sandbox.program = open(program, O_PATH | O_CLOEXEC);
	if (sandbox.program == -1)
		fatal("program", "path=%s error=\"%s\"", program,
		    strerror(errno));
	if (geteuid() == 0 && privileges_can_chroot() &&
	    (sandbox.empty = empty_open()) == -1)
		log_warn("root_shared", "error=\"no empty folder: %s\"",
		    strerror(errno));
}

int
sandbox_place(void)
{
	return (sandbox.empty == -1 ? 0 : fchdir(sandbox.empty));
}

void
sandbox_exec(const char *program, char *const argv[], char *const envp[])
{
	(void)program;
	if (dup3(sandbox.program, SANDBOX_EXEC_FD, O_CLOEXEC) == -1 &&
	    sandbox.program != SANDBOX_EXEC_FD)
		return;
	closefrom(SANDBOX_EXEC_FD + 1);
	(void)fexecve(SANDBOX_EXEC_FD, argv, envp);
}

const char *
sandbox_death(int number)
{
	return (number == SIGSYS ? " reason=sandbox" : "");
}

#endif
