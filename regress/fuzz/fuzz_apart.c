/* Tests only. See fuzz_apart.h. */

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_apart.h"

#define SECONDS 20 /* of the processor, for one input */

/* The counters that clang put into every edge. */
extern uint8_t __start___sancov_cntrs[] __attribute__((weak));
extern uint8_t __stop___sancov_cntrs[] __attribute__((weak));

void
apart_run(void (*run)(const uint8_t *data, size_t size), const uint8_t *data,
    size_t size)
{
	static uint8_t *shared;
	uint8_t *counters = __start___sancov_cntrs;
	const struct rlimit limit = { SECONDS, SECONDS };
	size_t length;
	pid_t pid;
	int status;

	if (counters == NULL) {
		run(data, size);
		return;
	}
	length = (size_t)(__stop___sancov_cntrs - counters);
	if (shared == NULL) {
		shared = mmap(NULL, length, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		FUZZ_CHECK(shared != MAP_FAILED);
	}
	FUZZ_CHECK((pid = fork()) != -1);
	if (pid == 0) {
		(void)setrlimit(RLIMIT_CPU, &limit);
		run(data, size);
		memcpy(shared, counters, length);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) == -1) /* libFuzzer's clock */
		FUZZ_CHECK(errno == EINTR);
	FUZZ_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	memcpy(counters, shared, length);
}
