/*
 * Tests only. A target without libFuzzer: runs it over files and folders,
 * each file in a process of its own, and ends with "N passed, N failed". After
 * each comes the empty input: a run leaves nothing behind for the next.
 */

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "regress/fuzz/fuzz.h"

#ifdef HERMES_COVERAGE
void __gcov_dump(void);
#endif

#define INPUT_MAX (1024 * 1024)
#define SECONDS   20 /* for one file */

static unsigned int passed, failed;
static uint8_t room[INPUT_MAX];

static void
run_file(const char *path)
{
	/* Not fopen(3), which a target may have made its own. */
	int status, fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd == -1 ? -1 : read(fd, room, sizeof(room));
	uint8_t *exact;
	pid_t pid;

	if (length == -1)
		err(1, "%s", path);
	(void)close(fd);
	(void)fflush(NULL);
	if ((pid = fork()) == -1)
		err(1, "fork");
	if (pid == 0) {
		(void)alarm(SECONDS);
		/* At the end of its memory, so that a read beyond is seen. */
		if ((exact = malloc((size_t)length + 1)) == NULL)
			_exit(1);
		memcpy(exact + 1, room, (size_t)length);
		(void)LLVMFuzzerTestOneInput(exact + 1, (size_t)length);
		(void)LLVMFuzzerTestOneInput(exact + 1, 0);
		free(exact);
#ifdef HERMES_COVERAGE
		__gcov_dump();
#endif
		_exit(0);
	}
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0)
		passed++;
	else {
		failed++;
		printf("FAIL %s: status %d\n", path, status);
	}
}

static void
run_folder(const char *path)
{
	struct dirent **entries;
	char name[4096];
	int i, n = scandir(path, &entries, NULL, alphasort);

	if (n == -1)
		err(1, "%s", path);
	for (i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			(void)snprintf(name, sizeof(name), "%s/%s", path,
			    entries[i]->d_name);
			run_file(name);
		}
		free(entries[i]);
	}
	free(entries);
}

int
main(int argc, char *argv[])
{
	struct stat st;
	int i;

	(void)LLVMFuzzerInitialize(&argc, &argv);
	for (i = 1; i < argc; i++) {
		if (stat(argv[i], &st) == -1)
			err(1, "%s", argv[i]);
		if (S_ISDIR(st.st_mode))
			run_folder(argv[i]);
		else
			run_file(argv[i]);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return (failed > 0 || passed == 0);
}
