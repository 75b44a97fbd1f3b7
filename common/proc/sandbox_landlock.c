/*
 * Parent and children of hermesd on Linux. What they may reach of the file
 * system and the network: Landlock, as far as the running kernel has it. The
 * rights are those of the kernel's documentation, named here because headers
 * of the distribution are older than its kernels.
 */
#ifdef __linux__

#include <sys/prctl.h>
#include <sys/syscall.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <sys/auxv.h>

#include "common/proc/sandbox_linux.h"
#include "common/util/log.h"

/* Rights on files. */
#define FS_EXECUTE     (UINT64_C(1) << 0)
#define FS_WRITE_FILE  (UINT64_C(1) << 1)
#define FS_READ_FILE   (UINT64_C(1) << 2)
#define FS_READ_DIR    (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_REG    (UINT64_C(1) << 8)
#define FS_MAKE_SOCK   (UINT64_C(1) << 9)
#define FS_TRUNCATE    (UINT64_C(1) << 14)

/* All rights on files that an ABI knows: those of ABI 1, then what came
 * with ABI 2 (refer), 3 (truncate) and 5 (ioctl on devices). */
#define FS_ABI_1       ((UINT64_C(1) << 13) - 1)
#define FS_ABI_2       ((UINT64_C(1) << 14) - 1)
#define FS_ABI_3       ((UINT64_C(1) << 15) - 1)
#define FS_ABI_5       ((UINT64_C(1) << 16) - 1)

/* What keyd does in its folder: read, write, make and take away files. */
#define FS_STORE                                                               \
	(FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_MAKE_REG |            \
	    FS_REMOVE_FILE | FS_TRUNCATE)

/* ABI 4: rights on TCP ports. ABI 6: what must stay inside. */
#define NET_BIND_TCP    (UINT64_C(1) << 0)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT  (UINT64_C(1) << 0)
#define SCOPE_SIGNAL    (UINT64_C(1) << 1)

#define CREATE_VERSION  1U
#define RULE_BENEATH    1
#define ABI_NETWORK     4
#define ABI_SCOPE       6

/* As long as the newest ABI used; older ones want zeros at the end. */
struct ruleset {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

struct beneath {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

static int
landlock_abi(void)
{
	long abi = syscall(
	    __NR_landlock_create_ruleset, NULL, (size_t)0, CREATE_VERSION);

	return (abi < 0 ? 0 : (int)abi);
}

/* A ruleset in which everything that the ABI knows is forbidden, but for
 * the network and scopes as asked. Its descriptor. */
static int
ruleset_new(int abi, uint64_t net, uint64_t scoped, struct ruleset *rules)
{
	long fd;

	memset(rules, 0, sizeof(*rules));
	rules->fs = abi >= 5   ? FS_ABI_5
		    : abi >= 3 ? FS_ABI_3
		    : abi >= 2 ? FS_ABI_2
			       : FS_ABI_1;
	if (abi >= ABI_NETWORK)
		rules->net = net;
	if (abi >= ABI_SCOPE)
		rules->scoped = scoped;
	fd = syscall(__NR_landlock_create_ruleset, rules, sizeof(*rules), 0U);
	if (fd == -1)
		fatal("landlock", "step=create abi=%d error=\"%s\"", abi,
		    strerror(errno));
	return ((int)fd);
}

/* Allow what is under an open file or folder. */
static void
ruleset_allow(int ruleset, const struct ruleset *rules, int fd, uint64_t rights)
{
	struct beneath rule = { rights & rules->fs, fd };

	if (syscall(__NR_landlock_add_rule, ruleset, RULE_BENEATH, &rule, 0U) ==
	    -1)
		fatal("landlock", "step=allow error=\"%s\"", strerror(errno));
}

/* The same by path; what is not there cannot be allowed. */
static void
ruleset_allow_path(
    int ruleset, const struct ruleset *rules, const char *path, uint64_t rights)
{
	int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd == -1) {
		log_debug(
		    "landlock", "path=%s error=\"%s\"", path, strerror(errno));
		return;
	}
	ruleset_allow(ruleset, rules, fd, rights);
	(void)close(fd);
}

static void
ruleset_enforce(int ruleset)
{
	/* Landlock wants this first; it was set at the start, too. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
	    syscall(__NR_landlock_restrict_self, ruleset, 0U) == -1)
		fatal("landlock", "step=enforce error=\"%s\"", strerror(errno));
	(void)close(ruleset);
}

int
landlock_enter(enum process self, const char *folder)
{
	/* The mesh dials nodes, at ports that only they know. */
	uint64_t net = self == PROCESS_MESH ? NET_BIND_TCP
					    : NET_BIND_TCP | NET_CONNECT_TCP;
	struct ruleset rules;
	int abi, ruleset;

	if ((abi = landlock_abi()) == 0)
		return (0);
	ruleset = ruleset_new(abi, net, SCOPE_ABSTRACT | SCOPE_SIGNAL, &rules);
	if (folder != NULL)
		ruleset_allow_path(ruleset, &rules, folder, FS_STORE);
	ruleset_enforce(ruleset);
	return (abi);
}

/* The program that loads this one, as its own header says; NULL if none. */
static const char *
interpreter(void)
{
	const ElfW(Phdr) * headers, *self = NULL;
	uintptr_t base;
	size_t count, i;

	headers = (const ElfW(Phdr) *)getauxval(AT_PHDR);
	count = getauxval(AT_PHNUM);
	for (i = 0; headers != NULL && i < count; i++)
		if (headers[i].p_type == PT_PHDR)
			self = &headers[i];
	if (self == NULL)
		return (NULL);
	base = (uintptr_t)headers - self->p_vaddr;
	for (i = 0; i < count; i++)
		if (headers[i].p_type == PT_INTERP)
			return ((const char *)(base + headers[i].p_vaddr));
	return (NULL);
}

/* hermesctl's socket is made and taken away in its folder. */
static void
allow_socket(int ruleset, const struct ruleset *rules, const char *path)
{
	char folder[CONFIG_PATH_SIZE], *slash;

	(void)strlcpy(folder, path, sizeof(folder));
	if ((slash = strrchr(folder, '/')) == NULL)
		return;
	slash[slash == folder] = '\0';
	ruleset_allow_path(
	    ruleset, rules, folder, FS_MAKE_SOCK | FS_REMOVE_FILE);
}

int
landlock_parent(const struct config *config, int program)
{
	const char *loader = interpreter();
	struct ruleset rules;
	int abi, ruleset;

	if ((abi = landlock_abi()) == 0)
		return (0);
	/* No rule on the network, nor on abstract sockets: the mesh, which
	 * dials, is born within these walls, and the service manager may
	 * listen on an abstract socket. */
	ruleset = ruleset_new(abi, 0, SCOPE_SIGNAL, &rules);
	/* A reload reads the configuration and what it names. */
	ruleset_allow_path(ruleset, &rules, "/", FS_READ_FILE | FS_READ_DIR);
	/* Children: what they are, what loads them, where they write. */
	ruleset_allow(ruleset, &rules, program, FS_EXECUTE | FS_READ_FILE);
	if (loader != NULL)
		ruleset_allow_path(
		    ruleset, &rules, loader, FS_EXECUTE | FS_READ_FILE);
	ruleset_allow_path(
	    ruleset, &rules, "/dev/null", FS_READ_FILE | FS_WRITE_FILE);
	ruleset_allow_path(ruleset, &rules, config->keystore.path, FS_STORE);
	allow_socket(ruleset, &rules, config->control_socket);
	ruleset_enforce(ruleset);
	return (abi);
}

#endif
