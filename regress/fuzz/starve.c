/*
 * Tests only. A fuzz target whose code under test runs out of memory: linked
 * with copies of the libraries that allocate here (starve_*), so that the
 * target's own memory is always there. Each file is run once to see which
 * chains of callers allocate, then again for each new one, with its first
 * allocation failing, and for some with all from there on. Under the address
 * sanitizer: no error and no leak may come of it. fatal() is an ordered end.
 *
 *	starve_TARGET FOLDER [FILES]
 *
 * The last line is "N passed, N failed", one a failure injected.
 */

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include <sanitizer/lsan_interface.h>

#include "common/util/log.h"
#include "regress/fuzz/fuzz.h"

#define INPUT_MAX (1024 * 1024)
#define SECONDS   60 /* for one run */
#define SITES_MAX 8192
#define DEPTH     4 /* callers that make a chain */
#define FRAME_MAX (256 * 1024)
#define LEAKED    77
#define ORDERED   78 /* fatal() */
#define REFUSED   79 /* the target could not do what it wanted */

/* One chain of callers that allocates, by its hash. */
struct site {
	uint64_t chain;
	uint64_t first; /* number of its first allocation */
};

/* Shared with the child. */
struct shared {
	int armed;
	int longer;       /* all from there on fail */
	uint64_t fail_at; /* 0: never */
	uint64_t count;
	size_t sites;
	struct site site[SITES_MAX];
};

static struct shared *shared;
static uint64_t known[SITES_MAX]; /* chains that were tried */
static size_t known_count;
static unsigned long passed, failed, refused, ordered;
static uint8_t room[INPUT_MAX];

/* --- memory -------------------------------------------------------------- */

/* The callers, by their frames, as far as these can be followed. */
static uint64_t __attribute__((noinline, no_sanitize("address", "undefined")))
callers(void)
{
	void **frame = __builtin_frame_address(0);
	uint64_t hash = 0;
	int i;

	for (i = 0; i < DEPTH + 2; i++) {
		void **next = frame[0];

		hash = hash * UINT64_C(0x9e3779b97f4a7c15) +
		       (uint64_t)(uintptr_t)frame[1];
		if (next <= frame ||
		    (uintptr_t)next - (uintptr_t)frame > FRAME_MAX ||
		    ((uintptr_t)next & 7) != 0)
			break;
		frame = next;
	}
	return (hash);
}

static int
starved(void)
{
	uint64_t chain;
	size_t i;

	if (shared == NULL || !shared->armed)
		return (0);
	shared->count++;
	if (shared->fail_at != 0) {
		if (shared->count != shared->fail_at &&
		    !(shared->longer && shared->count > shared->fail_at))
			return (0);
		errno = ENOMEM;
		return (1);
	}
	chain = callers();
	for (i = 0; i < shared->sites; i++)
		if (shared->site[i].chain == chain)
			return (0);
	if (i < SITES_MAX) {
		shared->site[i].chain = chain;
		shared->site[i].first = shared->count;
		shared->sites++;
	}
	return (0);
}

void *starve_malloc(size_t size);
void *starve_calloc(size_t count, size_t size);
void *starve_realloc(void *at, size_t size);
void *starve_reallocarray(void *at, size_t count, size_t size);
char *starve_strdup(const char *text);
char *starve_strndup(const char *text, size_t most);

void *
starve_malloc(size_t size)
{
	return (starved() ? NULL : malloc(size));
}

void *
starve_calloc(size_t count, size_t size)
{
	return (starved() ? NULL : calloc(count, size));
}

void *
starve_realloc(void *at, size_t size)
{
	return (starved() ? NULL : realloc(at, size));
}

void *
starve_reallocarray(void *at, size_t count, size_t size)
{
	return (starved() ? NULL : reallocarray(at, count, size));
}

char *
starve_strdup(const char *text)
{
	return (starved() ? NULL : strdup(text));
}

char *
starve_strndup(const char *text, size_t most)
{
	return (starved() ? NULL : strndup(text, most));
}

/* --- one run ------------------------------------------------------------- */

static void
on_fatal(void)
{
	_exit(ORDERED);
}

static void
on_refused(void)
{
	_exit(REFUSED);
}

static void
run_child(size_t length)
{
	uint8_t *exact;

	(void)alarm(SECONDS);
	if (shared->fail_at != 0) {
		(void)freopen("/dev/null", "w", stdout);
		fuzz_on_fail = on_refused;
		log_set_fatal_hook(on_fatal);
	}
	if ((exact = malloc(length + 1)) == NULL)
		_exit(1);
	memcpy(exact + 1, room, length);
	shared->armed = 1;
	(void)LLVMFuzzerTestOneInput(exact + 1, length);
	shared->armed = 0;
	free(exact);
	_exit(__lsan_do_recoverable_leak_check() ? LEAKED : 0);
}

/* What the child ended with, or -1 when it was killed. */
static int
run(size_t length, uint64_t fail_at, int longer)
{
	int status;
	pid_t pid;

	shared->count = 0;
	shared->fail_at = fail_at;
	shared->longer = longer;
	shared->armed = 0;
	(void)fflush(NULL);
	if ((pid = fork()) == -1)
		err(1, "fork");
	if (pid == 0)
		run_child(length);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return (-1);
	return (WEXITSTATUS(status));
}

static void
count(const char *path, uint64_t at, int longer, int result)
{
	switch (result) {
	case REFUSED:
		refused++;
		break;
	case ORDERED:
		ordered++;
		break;
	case 0:
		break;
	default:
		printf("FAIL %s: allocation %llu%s: %s (%d)\n", path,
		    (unsigned long long)at, longer ? " and all after it" : "",
		    result == LEAKED ? "leaked" : "died", result);
		failed++;
		return;
	}
	passed++;
}

static void
run_file(const char *path)
{
	static struct site sites[SITES_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC), result;
	ssize_t length = fd == -1 ? -1 : read(fd, room, sizeof(room));
	size_t i, j, n;

	if (length == -1)
		err(1, "%s", path);
	(void)close(fd);
	shared->sites = 0;
	if ((result = run((size_t)length, 0, 0)) != 0) {
		printf("FAIL %s: with all memory: %d\n", path, result);
		failed++;
		return;
	}
	n = shared->sites;
	memcpy(sites, shared->site, n * sizeof(sites[0]));
	for (i = 0; i < n; i++) {
		for (j = 0; j < known_count; j++)
			if (known[j] == sites[i].chain)
				break;
		if (j < known_count || known_count == SITES_MAX)
			continue;
		known[known_count++] = sites[i].chain;
		count(path, sites[i].first, 0,
		    run((size_t)length, sites[i].first, 0));
		if (known_count % 4 == 0)
			count(path, sites[i].first, 1,
			    run((size_t)length, sites[i].first, 1));
	}
}

int
main(int argc, char **argv)
{
	struct dirent **entries;
	char name[4096];
	int i, n, files;

	if (argc < 2) {
		(void)fprintf(stderr, "usage: starve FOLDER [FILES]\n");
		return (2);
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	event_set_mem_functions(starve_malloc, starve_realloc, free);
	(void)LLVMFuzzerInitialize(&argc, &argv);
	files = argc > 2 ? atoi(argv[2]) : INPUT_MAX;
	if ((n = scandir(argv[1], &entries, NULL, alphasort)) == -1)
		err(1, "%s", argv[1]);
	for (i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.' && files > 0) {
			files--;
			(void)snprintf(name, sizeof(name), "%s/%s", argv[1],
			    entries[i]->d_name);
			run_file(name);
		}
		free(entries[i]);
	}
	free(entries);
	printf("%zu chains of callers; %lu went on, %lu broke off, %lu ended "
	       "in order\n",
	    known_count, passed - refused - ordered, refused, ordered);
	printf("%lu passed, %lu failed\n", passed, failed);
	return (failed != 0);
}
