/*
 * Tests only. The power goes: keyd dies at a call that changes its files, or
 * between two, and of what it had not synced any part may be lost, by sector,
 * file and name, out of order. After that everything that had left keyd must
 * be so, and the chat goes on with the other end, which kept everything.
 *
 *	power HERMESD CALLS.so FOLDER COUNT [SEED [FIRST [MESSAGES]]]
 *
 * With some thousand MESSAGES, said one by one, the log fills several files.
 * First a test of the test: that a write that was not synced is lost, that
 * one that was synced is not, and that the journal misses no call of keyd.
 * The last line is "N passed, N failed".
 */

#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "regress/house/image.h"
#include "regress/house/life.h"

static struct life life;
static char image_folder[512];
static unsigned long passed, failed;

static void
verdict(int good, const char *what, unsigned long at)
{
	if (good) {
		passed++;
		return;
	}
	printf("not ok %s %lu\n", what, at);
	failed++;
}

/* --- the test of the test ------------------------------------------------ */

/* Run with the shim: what a careless program does. */
static int
careless(const char *folder)
{
	char path[600];
	int fd, at;

	(void)snprintf(path, sizeof(path), "%s/one", folder);
	if ((fd = open(path, O_RDWR | O_CREAT, 0600)) == -1 ||
	    pwrite(fd, "safe", 4, 0) != 4 || fsync(fd) == -1 ||
	    pwrite(fd, "lost", 4, 0) != 4 || pwrite(fd, "lost", 4, 512) != 4 ||
	    close(fd) == -1)
		return (1);
	(void)snprintf(path, sizeof(path), "%s/two", folder);
	if ((fd = open(path, O_RDWR | O_CREAT, 0600)) == -1 ||
	    write(fd, "lost", 4) != 4 || close(fd) == -1)
		return (1);
	if ((at = open(folder, O_RDONLY | O_DIRECTORY)) == -1 ||
	    renameat(at, "one", at, "three") == -1)
		return (1);
	return (0);
}

static int
holds(const char *folder, const char *name, const char *wanted, size_t length)
{
	char path[600], bytes[1024];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	if ((fd = open(path, O_RDONLY)) == -1)
		return (wanted == NULL);
	n = read(fd, bytes, sizeof(bytes));
	(void)close(fd);
	return (wanted != NULL && n == (ssize_t)length &&
		memcmp(bytes, wanted, length) == 0);
}

static void
run_careless(const char *self)
{
	char *const argv[] = { (char *)self, (char *)"-", life.folder, NULL };
	pid_t pid;
	int status;

	memset(life.calls, 0, sizeof(*life.calls));
	life_folder(life.folder);
	if ((pid = fork()) == 0) {
		(void)execve(self, argv, life.environment);
		_exit(127);
	}
	if (pid == -1 || waitpid(pid, &status, 0) == -1 || status != 0)
		errx(1, "power: the careless program failed");
}

static void
test_loss(const char *self)
{
	char whole[516] = "lost";
	int old = 0, mixed = 0, i;

	memcpy(whole + 512, "lost", 4);
	run_careless(self);
	life_folder(image_folder);
	image_make(life.calls, image_folder, IMAGE_DROP, IMAGE_JOURNALLED);
	verdict(holds(image_folder, "one", "safe", 4) &&
		    holds(image_folder, "two", NULL, 0) &&
		    holds(image_folder, "three", NULL, 0),
	    "unsynced is lost", 0);
	life_folder(image_folder);
	image_make(life.calls, image_folder, IMAGE_DROP, IMAGE_LOOSE);
	verdict(holds(image_folder, "one", NULL, 0), "a loose name is lost", 0);
	life_folder(image_folder);
	image_make(life.calls, image_folder, IMAGE_KEEP, IMAGE_JOURNALLED);
	verdict(holds(image_folder, "three", whole, sizeof(whole)) &&
		    holds(image_folder, "two", "lost", 4) &&
		    holds(image_folder, "one", NULL, 0),
	    "all is kept", 0);
	for (i = 0; i < 200; i++) {
		memcpy(whole, "safe", 4);
		life_folder(image_folder);
		image_make(
		    life.calls, image_folder, IMAGE_ANY, IMAGE_JOURNALLED);
		old += holds(image_folder, "one", "safe", 4) ||
		       holds(image_folder, "three", "safe", 4);
		mixed += holds(image_folder, "one", whole, sizeof(whole)) ||
			 holds(image_folder, "three", whole, sizeof(whole));
	}
	/* The later write there, the earlier one not. */
	verdict(old > 0 && mixed > 0 && old + mixed < 200, "out of order", 0);
}

static int
same_file(const char *a, const char *b)
{
	struct stat sa, sb;
	uint8_t *bytes;
	int fa, fb, same;

	fa = open(a, O_RDONLY);
	fb = open(b, O_RDONLY);
	if (fa == -1 || fb == -1 || fstat(fa, &sa) == -1 ||
	    fstat(fb, &sb) == -1)
		same = 0;
	else if (sa.st_size != sb.st_size)
		same = 0;
	else {
		size_t size = (size_t)sa.st_size;

		if ((bytes = malloc(2 * size + 1)) == NULL)
			err(1, "power");
		same = read(fa, bytes, size) == (ssize_t)size &&
		       read(fb, bytes + size, size) == (ssize_t)size &&
		       memcmp(bytes, bytes + size, size) == 0;
		free(bytes);
	}
	(void)close(fa);
	(void)close(fb);
	return (same);
}

static int
files_in(const char *path)
{
	struct dirent *entry;
	DIR *folder = opendir(path);
	int n = 0;

	if (folder == NULL)
		err(1, "%s", path);
	while ((entry = readdir(folder)) != NULL)
		n += entry->d_name[0] != '.';
	(void)closedir(folder);
	return (n);
}

/* With nothing lost the image is the folder: the journal misses no call. */
static void
test_whole(void)
{
	struct dirent *entry;
	DIR *folder;
	char a[800], b[800];
	int same;

	life_begin(&life, 0, 0, 0);
	if (life_live(&life) == -1)
		errx(1, "power: keyd died by itself, see %s", life.log);
	life_folder(image_folder);
	image_make(life.calls, image_folder, IMAGE_KEEP, IMAGE_JOURNALLED);
	same = files_in(life.folder) == files_in(image_folder);
	if ((folder = opendir(life.folder)) == NULL)
		err(1, "%s", life.folder);
	while ((entry = readdir(folder)) != NULL) {
		(void)snprintf(
		    a, sizeof(a), "%s/%s", life.folder, entry->d_name);
		(void)snprintf(
		    b, sizeof(b), "%s/%s", image_folder, entry->d_name);
		if (entry->d_name[0] != '.' && !same_file(a, b)) {
			printf("%s differs\n", entry->d_name);
			same = 0;
		}
	}
	(void)closedir(folder);
	verdict(same, "the journal is the folder", life.calls->count);
	life_end(&life);
}

/* --- the test ------------------------------------------------------------ */

/* The folder becomes what the image says. */
static void
put_image(enum image_loss loss, enum image_names names)
{
	const struct passwd *user = getpwnam("_hermes_keyd");
	struct dirent *entry;
	DIR *folder;

	life_folder(life.folder);
	image_make(life.calls, life.folder, loss, names);
	if (geteuid() != 0 || user == NULL)
		return;
	if ((folder = opendir(life.folder)) == NULL)
		err(1, "%s", life.folder);
	while ((entry = readdir(folder)) != NULL)
		if (entry->d_name[0] != '.' &&
		    fchownat(dirfd(folder), entry->d_name, user->pw_uid,
			user->pw_gid, 0) == -1)
			err(1, "%s", entry->d_name);
	(void)closedir(folder);
}

static void
point(unsigned long number, unsigned seed, unsigned long calls)
{
	enum image_names names;
	enum image_loss loss;
	unsigned long at;
	char what[100];

	srandom(seed + (unsigned)number);
	at = 1 + (unsigned long)random() % calls;
	names = random() % 2 ? IMAGE_JOURNALLED : IMAGE_LOOSE;
	loss = random() % 8 == 0 ? IMAGE_DROP : IMAGE_ANY;
	life_begin(&life, number, at, random() % 4 == 0);
	if (life_live(&life) == -1) {
		house_kill(&life.a);
		if (!WIFSIGNALED(life.a.status) ||
		    WTERMSIG(life.a.status) != SIGKILL)
			life_fail(&life, "keyd ended by itself");
	}
	put_image(loss, names);
	life_again(&life);
	(void)snprintf(what, sizeof(what),
	    "call %lu, loss %d, names %d: %s: "
	    "point",
	    at, loss, names, life.failure == NULL ? "" : life.failure);
	verdict(life.failure == NULL, what, number);
	life_end(&life);
}

int
main(int argc, char **argv)
{
	unsigned long count, i, first, calls;
	unsigned seed;

	if (argc == 3 && strcmp(argv[1], "-") == 0)
		return (careless(argv[2]));
	if (argc < 5 || sodium_init() == -1) {
		fprintf(stderr, "usage: power HERMESD CALLS.so FOLDER COUNT "
				"[SEED [FIRST [MESSAGES]]]\n");
		return (2);
	}
	count = strtoul(argv[4], NULL, 10);
	seed = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10)
			: randombytes_random();
	first = argc > 6 ? strtoul(argv[6], NULL, 10) : 1;
	life_init(&life, argv[1], argv[2], argv[3]);
	(void)snprintf(image_folder, sizeof(image_folder), "%s/image", argv[3]);
	life_folder(image_folder);
	if (argc > 7) {
		life.messages = (unsigned)strtoul(argv[7], NULL, 10);
		life.burst = 1;
	}
	srandom(seed);
	test_loss(argv[0]);
	test_whole();
	/* Some points lie beyond the end: the power goes after a clean stop. */
	calls = life.calls->count + 10;
	for (i = first; i < first + count; i++)
		point(i, seed, calls);
	printf("power: seed %u, points %lu to %lu, %lu calls a life\n", seed,
	    first, first + count - 1, calls - 10);
	life_free(&life);
	printf("%lu passed, %lu failed\n", passed, failed);
	return (failed != 0);
}
