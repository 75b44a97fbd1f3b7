/*
 * Test. The store when there is no room: from any of its writes on, the disk
 * is full, or a quota used up, which nobody can see before. Nothing that was
 * committed is lost, the cause is named, never damage, and with room all goes
 * on. The calls of this program are the ones that fail.
 */

#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/util/log.h"
#include "keyd/store_internal.h"
#include "regress/unit/store_fixture.h"

#define COMMITS    12
/* How a life ends: this and the commits; anything else is an assertion. */
#define LIVED      128
#define FOUND_FULL 64

static struct {
	long left; /* writes that succeed still; -1: all */
	int error;
	int failed;
} disk = { .left = -1 };

static int
is_full(void)
{
	if (disk.left > 0)
		disk.left--;
	if (disk.left != 0)
		return (0);
	disk.failed = 1;
	errno = disk.error;
	return (1);
}

ssize_t
write(int fd, const void *bytes, size_t length)
{
	if (fd > STDERR_FILENO && is_full())
		return (-1);
	return (syscall(SYS_write, fd, bytes, length));
}

ssize_t
pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
	if (is_full())
		return (-1);
	return (syscall(SYS_pwrite64, fd, bytes, length, at));
}

ssize_t
pwrite(int fd, const void *bytes, size_t length, off_t at)
{
	return (pwrite64(fd, bytes, length, at));
}

/* What a call that failed says of it. */
static void
blamed_on_room(struct store *store)
{
	int error = errno;
	enum store_error broken = store_broken(store);

	ck_assert_int_eq(error, disk.error);
	ck_assert_int_eq(store_error_of(error), STORE_NO_ROOM);
	ck_assert(broken == STORE_OK || broken == STORE_NO_ROOM);
}

/* Commit number i: two records that belong together. 0 or -1. */
static int
commit_pair(struct store *store, int i)
{
	char text[3000], name[16];

	memset(text, 'a' + i, sizeof(text));
	(void)snprintf(name, sizeof(name), "n%d", i);
	if (store_put(store, STORE_COLD, name, strlen(name), text,
		sizeof(text)) == 0 &&
	    store_put(store, STORE_HOT, name, strlen(name), text, 8) == 0 &&
	    store_commit(store, i % 2) == 0)
		return (0);
	blamed_on_room(store);
	store_abort(store);
	blamed_on_room(store);
	return (-1);
}

static int
rotate(struct store *store)
{
	int more = store_rotate_begin(store);

	while (more != -1 && (more = store_rotate_step(store, 4)) == 1)
		;
	if (more == -1)
		blamed_on_room(store);
	return (more);
}

/* A life of the store, to its end or to where it fails. How many were
 * committed. */
static int
live(int clean)
{
	enum store_error error;
	struct store *store = store_open(folder, &error);
	int done = 0;

	if (store == NULL) {
		ck_assert_int_eq(error, STORE_NO_ROOM);
		ck_assert_ptr_nonnull(
		    strstr(store_error_text(error), "no room"));
		return (0);
	}
	error =
	    store_unlock(store, PASSPHRASE, strlen(PASSPHRASE), OPS, MEMORY);
	ck_assert(error == STORE_OK || error == STORE_NO_ROOM);
	if (error == STORE_OK) {
		while (done < COMMITS && commit_pair(store, done) == 0)
			done++;
		if (done == COMMITS)
			(void)rotate(store);
		store_checkpoint(store);
	}
	if (clean)
		store_close(store);
	return (done);
}

/* The folder after a life that found the disk full after so many writes. Its
 * commits; *failed: it did find it full. */
static int
after(long writes, int error, int clean, int *failed)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ne(pid, -1);
	if (pid == 0) {
		disk.left = writes;
		disk.error = error;
		status = live(clean);
		_exit(LIVED | status | (disk.failed ? FOUND_FULL : 0));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && (WEXITSTATUS(status) & LIVED),
	    "after %ld writes: status %x", writes, (unsigned int)status);
	*failed = (WEXITSTATUS(status) & FOUND_FULL) != 0;
	return (WEXITSTATUS(status) & ~(LIVED | FOUND_FULL));
}

static void
has(struct store *store, int commits)
{
	int i;
	char name[16], text[3000];
	size_t length;

	for (i = 0; i < commits; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		ck_assert_int_eq(store_get(store, STORE_COLD, name,
				     strlen(name), text, sizeof(text), &length),
		    1);
		ck_assert_int_eq(text[0], 'a' + i);
		ck_assert_int_eq(store_get(store, STORE_HOT, name, strlen(name),
				     text, sizeof(text), &length),
		    1);
	}
}

/* Full for one life, for a start after it, then not. Whether any failed. */
static int
full_after(long writes, int error, int clean)
{
	struct store *store;
	int failed, again, commits;

	setup();
	commits = after(writes, error, clean, &failed);
	(void)after(failed ? 0 : writes, error, clean, &again);
	store = open_store();
	has(store, commits);
	ck_assert_int_eq(commit_pair(store, commits), 0);
	ck_assert_int_eq(rotate(store), 0);
	has(store, commits + 1);
	store_close(store);
	teardown();
	return (failed);
}

START_TEST(from_any_write_on)
{
	static const int errors[] = { ENOSPC, EDQUOT };
	long writes = 0;

	while (full_after(writes, errors[_i & 1], _i >> 1))
		writes++;
	/* Opening, each commit and the rotation wrote. */
	ck_assert_int_gt(writes, COMMITS + 10);
}
END_TEST

/* The next life of a store that has something to recover. */
START_TEST(a_start_with_no_room_is_no_damage)
{
	enum store_error error;
	struct store *store;
	int failed;
	long writes;

	setup();
	ck_assert_int_eq(after(-1, 0, _i, &failed), COMMITS);
	for (writes = 0;; writes++) {
		disk.left = writes;
		disk.error = EDQUOT;
		disk.failed = 0;
		store = store_open(folder, &error);
		disk.left = -1;
		if (store == NULL)
			ck_assert_int_eq(error, STORE_NO_ROOM);
		store_close(store);
		if (!disk.failed)
			break;
	}
	ck_assert_int_gt(writes, 0);
	store = open_store();
	has(store, COMMITS);
	store_close(store);
	teardown();
}
END_TEST

START_TEST(what_else_a_start_may_meet)
{
	struct store broken = { .broken = 1, .why = EIO };

	/* Whatever has happened since it broke. */
	errno = EPERM;
	ck_assert_ptr_nonnull(
	    strstr(store_error_text(store_broken(&broken)), strerror(EIO)));
	errno = EMFILE;
	ck_assert_ptr_nonnull(
	    strstr(store_error_text(store_error_of(EMFILE)), strerror(EMFILE)));
	ck_assert_int_eq(store_error_of(EROFS), STORE_READ_ONLY);
	ck_assert_int_eq(store_error_of(EIO), STORE_SYSTEM);
	ck_assert_int_eq(store_error_of(EACCES), STORE_DAMAGED);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_full");
	TCase *tcase = tcase_create("store_full");

	if (sodium_init() == -1)
		return (1);
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tcase, 300);
	tcase_add_loop_test(tcase, from_any_write_on, 0, 4);
	tcase_add_loop_test(tcase, a_start_with_no_room_is_no_damage, 0, 2);
	tcase_add_test(tcase, what_else_a_start_may_meet);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
