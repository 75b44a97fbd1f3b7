/*
 * Parent and children of hermesd on any system. How much of the machine a process may
 * use, whatever gets hold of it. See sandbox.h.
 */

#include <sys/resource.h>
#include <sys/stat.h>

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "common/proc/sandbox.h"
#include "common/util/log.h"

#define K           (UINT64_C(1) << 10)
#define M           (UINT64_C(1) << 20)

#define PARENT_DATA (512 * M) /* bytes */
#define HEAP_SPARE  (4 * M)   /* bytes */
#define HEAP_MAPPED (1 * M)   /* bytes of what is not of the heap */

static void
bound(int resource, const char *name, uint64_t most)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) == -1)
		fatal(
		    "sandbox", "limit=%s error=\"%s\"", name, strerror(errno));
	if (most < limit.rlim_max)
		limit.rlim_max = (rlim_t)most;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(resource, &limit) == -1)
		fatal(
		    "sandbox", "limit=%s error=\"%s\"", name, strerror(errno));
}

/*
 * Memory that a process writes to, in bytes: reckoned generously from what
 * the configuration lets it hold. It is no quota but the end of growth
 * without bound.
 */
static uint64_t
memory_of(enum process self, const struct config *config)
{
	const struct config_limits *limits = &config->limits;
	uint64_t chats = (uint64_t)limits->sessions * limits->chats_per_app;

	/* Nobody has all chats of all apps at once on one machine. */
	if (chats > M)
		chats = M;
	switch (self) {
	case PROCESS_ROUTER:
		/* A session's TLS, frames and window; a chat's state; what
		 * is kept of messages, with the allocator's waste. */
		return (1024 * M + limits->kept_messages * 3 / 2 +
			limits->sessions * 256 * K + chats * 4 * K);
	case PROCESS_KEYD:
		/* Argon2id once, the cache of the store, a chat's ratchet. */
		return (1024 * M + 2 * config->keystore.argon2_memory +
			chats * 4 * K);
	case PROCESS_MESH:
		/* A node's streams and queues, an app's presence. */
		return (2048 * M + limits->members * 1024 * K +
			limits->apps * 8 * K + chats * 2 * K);
	default:
		/* Answers to operators, row by row. */
		return (1024 * M + chats * 1 * K);
	}
}

/* Descriptors: twice what the limits of the configuration add up to, so
 * that a reload finds room; the fixed part is doors, queue and store. */
static uint64_t
files_of(enum process self, const struct config *config)
{
	const struct config_limits *limits = &config->limits;

	switch (self) {
	case PROCESS_ROUTER:
		return (4096 + 2 * ((uint64_t)limits->sessions +
				       limits->unauthenticated));
	case PROCESS_MESH:
		return (4096 + 4 * (uint64_t)limits->members);
	default:
		return (1024);
	}
}

/*
 * What carries large messages is freed and wanted again for each: the library
 * would give it to the system and take it back, page by page.
 */
static void
heap_spare(void)
{
#ifdef __GLIBC__
	(void)mallopt(M_TRIM_THRESHOLD, HEAP_SPARE);
	(void)mallopt(M_MMAP_THRESHOLD, HEAP_MAPPED);
#endif
}

void
sandbox_limits_parent(void)
{
	struct rlimit limit;

	/* Soft: the children choose their own. */
	if (SANDBOX_SANITIZED || getrlimit(RLIMIT_DATA, &limit) == -1)
		return;
	if (limit.rlim_cur > PARENT_DATA)
		limit.rlim_cur = PARENT_DATA;
	if (setrlimit(RLIMIT_DATA, &limit) == -1)
		fatal("sandbox", "limit=data error=\"%s\"", strerror(errno));
}

void
sandbox_limits(enum process self, const struct config *config, int foreground)
{
	struct stat st;

	if (self & (PROCESS_ROUTER | PROCESS_MESH))
		heap_spare();
	bound(RLIMIT_CORE, "core", 0);
	/* No process beside it, no thread. */
	bound(RLIMIT_NPROC, "nproc", 0);
	bound(RLIMIT_NOFILE, "nofile", files_of(self, config));
	if (!SANDBOX_SANITIZED)
		bound(RLIMIT_DATA, "data", memory_of(self, config));
	/* Only keyd makes files grow; but stderr may be one. */
	if (self != PROCESS_KEYD &&
	    (!foreground || fstat(STDERR_FILENO, &st) == -1 ||
		!S_ISREG(st.st_mode)))
		bound(RLIMIT_FSIZE, "fsize", 0);
}
