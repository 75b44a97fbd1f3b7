/*
 * The sealed store: reopen, wrong passphrase, second opener (L39), rotation
 * that leaves nothing to open, and death at any instant (L38).
 */

#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <sodium.h>

#include "common/util/log.h"
#include "keyd/seal.h"
#include "keyd/secret.h"
#include "keyd/store.h"
#include "regress/unit/store_fixture.h"

START_TEST(what_is_committed_is_there_after_reopening)
{
	struct store *store = open_store();

	put_text(store, "a", "one");
	put_text(store, "b", "two");
	ck_assert_int_eq(store_commit(store, 1), 0);
	put_text(store, "a", "changed");
	ck_assert_int_eq(store_commit(store, 0), 0);
	put_text(store, "b", "never");
	store_abort(store);
	ck_assert_int_eq(store_delete(store, STORE_COLD, "zz", 2), 0);
	put_text(store, "c", "open when closed");
	store_close(store);

	store = open_store();
	ck_assert_str_eq(get_text(store, "a"), "changed");
	ck_assert_str_eq(get_text(store, "b"), "two");
	ck_assert_str_eq(get_text(store, "c"), "");
	ck_assert_int_eq(count_records(store, STORE_COLD), 2);
	ck_assert_int_eq(count_records(store, STORE_HOT), 0);
	ck_assert_int_eq(store_delete(store, STORE_COLD, "a", 1), 0);
	ck_assert_int_eq(store_commit(store, 1), 0);
	ck_assert_str_eq(get_text(store, "a"), "");
	store_close(store);
}
END_TEST

START_TEST(wrong_passphrase_opens_nothing)
{
	struct store *store = open_store();
	enum store_error error;
	char text[8];
	size_t length;

	put_text(store, "a", "one");
	ck_assert_int_eq(store_commit(store, 1), 0);
	store_close(store);
	store = store_open(folder, &error);
	ck_assert_ptr_nonnull(store);
	ck_assert_int_eq(
	    store_unlock(store, "wrong", 5, OPS, MEMORY), STORE_PASSPHRASE);
	ck_assert_int_eq(
	    store_get(store, STORE_COLD, "a", 1, text, sizeof(text), &length),
	    -1);
	ck_assert_int_eq(store_put(store, STORE_COLD, "a", 1, "x", 1), -1);
	/* The right one still works, in the same process. */
	ck_assert_int_eq(
	    store_unlock(store, PASSPHRASE, strlen(PASSPHRASE), OPS, MEMORY),
	    STORE_OK);
	ck_assert_str_eq(get_text(store, "a"), "one");
	store_close(store);
}
END_TEST

START_TEST(l39_second_opener_fails_until_the_first_is_gone)
{
	struct store *store = open_store();
	enum store_error error;

	ck_assert_ptr_null(store_open(folder, &error));
	ck_assert_int_eq(error, STORE_BUSY);
	store_close(store);
	store = open_store();
	store_close(store);
}
END_TEST

START_TEST(folder_open_to_others_is_refused)
{
	enum store_error error;

	ck_assert_int_eq(chmod(folder, 0750), 0);
	ck_assert_ptr_null(store_open(folder, &error));
	ck_assert_int_eq(error, STORE_FOLDER);
	ck_assert_int_eq(chmod(folder, 0700), 0);
}
END_TEST

START_TEST(records_without_keyring_are_damage)
{
	struct store *store = open_store();
	enum store_error error;
	char path[1024];

	put_text(store, "a", "one");
	ck_assert_int_eq(store_commit(store, 1), 0);
	store_close(store);
	snprintf(path, sizeof(path), "%s/%s", folder, SEAL_FILE);
	ck_assert_int_eq(unlink(path), 0);
	store = store_open(folder, &error);
	ck_assert_ptr_nonnull(store);
	ck_assert_int_eq(
	    store_unlock(store, PASSPHRASE, strlen(PASSPHRASE), OPS, MEMORY),
	    STORE_DAMAGED);
	store_close(store);
}
END_TEST

START_TEST(dump_and_load_move_everything)
{
	static const char *const bad[] = { "9 00 00\n", "0 00 00\n",
		"11 00 00\n", "2 00\n", "2\n", "\n", "2 zz 00\n", "2 00 zz\n",
		"2 000 00\n", "2 00 0\n" };
	struct store *store = open_store();
	char *text = NULL;
	size_t size, i;
	FILE *file = open_memstream(&text, &size);

	put_text(store, "a", "one");
	ck_assert_int_eq(store_put(store, STORE_TICKET, "t", 1, "", 0), 0);
	ck_assert_int_eq(store_put(store, STORE_NODE, "", 0, "n", 1), 0);
	ck_assert_int_eq(store_put(store, STORE_REVOKED, "r", 1, "r", 1), 0);
	ck_assert_int_eq(store_commit(store, 1), 0);
	ck_assert_int_eq(store_dump(store, file), 0);
	fclose(file);
	store_close(store);
	folder_remove(folder);

	store = open_store();
	file = fmemopen(text, size, "r");
	ck_assert_int_eq(store_load(store, file), 0);
	fclose(file);
	ck_assert_str_eq(get_text(store, "a"), "one");
	ck_assert_int_eq(count_records(store, STORE_TICKET), 1);
	ck_assert_int_eq(count_records(store, STORE_NODE), 1);
	ck_assert_int_eq(count_records(store, STORE_REVOKED), 1);
	/* Nothing is taken of what has a line like these. */
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		free(text);
		ck_assert_int_ne(asprintf(&text, "2 ff ff\n%s", bad[i]), -1);
		file = fmemopen(text, strlen(text), "r");
		ck_assert_msg(store_load(store, file) == -1, "line %zu", i);
		ck_assert_int_eq(errno, EINVAL);
		fclose(file);
		ck_assert_int_eq(count_records(store, STORE_COLD), 1);
	}
	free(text);
	store_close(store);
}
END_TEST

/* --- rotation ------------------------------------------------------------ */

/* The number of steps that it took. */
static size_t
rotate(struct store *store, size_t step)
{
	size_t steps = 1;
	int more;

	ck_assert_int_eq(store_rotate_begin(store), 0);
	while ((more = store_rotate_step(store, step)) == 1)
		steps++;
	ck_assert_int_eq(more, 0);
	ck_assert(!store_rotating(store));
	return (steps);
}

/* A step of n records gets n records further. */
START_TEST(rotation_looks_at_each_record_once)
{
	struct store *store = open_store();
	char name[32];
	int i;

	for (i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "name-%d", i);
		put_text(store, name, "some text");
	}
	ck_assert_int_eq(store_commit(store, 1), 0);
	ck_assert_uint_eq(rotate(store, 1000), 1);
	ck_assert_uint_eq(rotate(store, 10), 11);
	ck_assert_uint_eq(rotate(store, 7), 15);
	ck_assert_uint_eq(rotate(store, 1), 101);
	ck_assert_int_eq(count_records(store, STORE_COLD), 100);
	ck_assert_str_eq(get_text(store, "name-99"), "some text");
	store_close(store);
}
END_TEST

/* Try to open a record at every byte of a file. */
static int
hits_in_file(const struct seal *seal, const char *path,
    const uint8_t key[KEY_SIZE], size_t length)
{
	int fd = open(path, O_RDONLY), hits = 0;
	struct stat st;
	uint8_t *bytes, plain[512];
	size_t at;

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(fstat(fd, &st), 0);
	bytes = malloc((size_t)st.st_size + 1);
	ck_assert_ptr_nonnull(bytes);
	ck_assert_int_eq(read(fd, bytes, (size_t)st.st_size), st.st_size);
	for (at = 0; at + length <= (size_t)st.st_size; at++)
		if (seal_open_record(
			seal, STORE_COLD, key, bytes + at, length, plain) == 0)
			hits++;
	free(bytes);
	close(fd);
	return (hits);
}

/* How often a sealed form of (name, data) opens anywhere in the folder for
 * one who has the passphrase. */
static int
hits_in_folder(const char *name, size_t data_length)
{
	int dirfd = open(folder, O_RDONLY | O_DIRECTORY);
	struct seal *seal = seal_open(dirfd, PASSPHRASE, strlen(PASSPHRASE));
	char path[1024];
	uint8_t key[KEY_SIZE];
	struct dirent *entry;
	DIR *dir = opendir(folder);
	int hits = 0;

	ck_assert_ptr_nonnull(seal);
	ck_assert_ptr_nonnull(dir);
	seal_name(seal, STORE_COLD, name, strlen(name), key);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		hits += hits_in_file(seal, path, key,
		    SEAL_OVERHEAD + 2 + strlen(name) + data_length);
	}
	closedir(dir);
	seal_close(seal);
	close(dirfd);
	return (hits);
}

START_TEST(rotation_leaves_nothing_of_what_was_erased)
{
	struct store *store = open_store();
	char name[32];
	int i;

	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		put_text(store, name, "some text");
	}
	put_text(store, "gone", "a secret text");
	put_text(store, "kept", "secret, first");
	ck_assert_int_eq(store_commit(store, 1), 0);
	ck_assert_int_eq(store_delete(store, STORE_COLD, "gone", 4), 0);
	put_text(store, "kept", "second secret");
	ck_assert_int_eq(store_commit(store, 1), 0);
	/* Deleting is not erasing: the logs have it. */
	ck_assert_int_gt(hits_in_folder("gone", 13), 0);
	ck_assert_int_gt(hits_in_folder("kept", 13), 0);
	rotate(store, 7);
	ck_assert_int_eq(hits_in_folder("gone", 13), 0);
	ck_assert_int_ge(hits_in_folder("kept", 13), 1);
	ck_assert_str_eq(get_text(store, "kept"), "second secret");
	ck_assert_int_eq(count_records(store, STORE_COLD), 101);
	store_close(store);
	ck_assert_int_eq(hits_in_folder("gone", 13), 0);

	store = open_store();
	ck_assert_int_eq(count_records(store, STORE_COLD), 101);
	ck_assert_str_eq(get_text(store, "name-99"), "some text");
	rotate(store, 1000);
	rotate(store, 1);
	ck_assert_str_eq(get_text(store, "name-0"), "some text");
	store_close(store);
}
END_TEST

START_TEST(writes_during_a_rotation_are_kept)
{
	struct store *store = open_store();
	char name[32];
	int i;

	for (i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		put_text(store, name, "old");
	}
	ck_assert_int_eq(store_commit(store, 0), 0);
	ck_assert_int_eq(store_rotate_begin(store), 0);
	for (i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		put_text(store, name, "new");
		ck_assert_int_eq(store_commit(store, 0), 0);
		ck_assert_int_ge(store_rotate_step(store, 1), 0);
	}
	while (store_rotate_step(store, 1) == 1)
		;
	for (i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		ck_assert_str_eq(get_text(store, name), "new");
	}
	store_close(store);
}
END_TEST

/* However large it is, the store opens at once. */
START_TEST(a_rotation_that_was_cut_off_goes_on)
{
	struct store *store = open_store();
	char name[32];
	int i, steps = 1;

	for (i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		put_text(store, name, "kept");
	}
	ck_assert_int_eq(store_commit(store, 0), 0);
	ck_assert_int_eq(store_rotate_begin(store), 0);
	ck_assert_int_eq(store_rotate_step(store, 20), 1);
	store_close(store);
	store = open_store();
	ck_assert(store_rotating(store));
	while (store_rotate_step(store, 20) == 1)
		steps++;
	ck_assert_int_eq(steps, 3);
	ck_assert(!store_rotating(store));
	ck_assert_int_eq(count_records(store, STORE_COLD), 50);
	store_close(store);
	store = open_store();
	ck_assert(!store_rotating(store));
	ck_assert_str_eq(get_text(store, "name-7"), "kept");
	store_close(store);
}
END_TEST

/* --- death at any instant ------------------------------------------------ */

/* Commit 1, 2, 3 ... in two records that must always agree, with a rotation
 * under way all the time; say each number when it is committed. */
static void
write_for_ever(int out)
{
	struct store *store = open_store();
	uint32_t n = (uint32_t)atoi(get_text(store, "count"));
	char text[16];

	for (;;) {
		n++;
		snprintf(text, sizeof(text), "%u", n);
		if (store_put(store, STORE_COLD, "count", 5, text,
			strlen(text)) == -1 ||
		    store_put(store, STORE_COLD, "twin", 4, text,
			strlen(text)) == -1 ||
		    store_commit(store, n % 64 == 0) == -1 ||
		    write(out, &n, sizeof(n)) != sizeof(n))
			_exit(1);
		if (!store_rotating(store) && store_rotate_begin(store) == -1)
			_exit(1);
		if (store_rotate_step(store, 1) == -1)
			_exit(1);
		if (n % 100 == 0)
			store_checkpoint(store);
	}
}

START_TEST(l38_killed_at_any_instant_it_reopens_and_lost_nothing)
{
	uint32_t heard = 0, n;
	int round, fds[2], i;

	for (round = 0; round < 30; round++) {
		struct store *store;
		uint32_t messages = 1 + randombytes_uniform(300);
		pid_t pid;

		ck_assert_int_eq(pipe(fds), 0);
		if ((pid = fork()) == 0) {
			close(fds[0]);
			write_for_ever(fds[1]);
		}
		close(fds[1]);
		for (i = 0; i < (int)messages; i++) {
			ck_assert_int_eq(
			    read(fds[0], &n, sizeof(n)), sizeof(n));
			heard = n;
		}
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		while (read(fds[0], &n, sizeof(n)) == sizeof(n))
			heard = n;
		close(fds[0]);
		store = open_store();
		n = (uint32_t)atoi(get_text(store, "count"));
		ck_assert_uint_ge(n, heard);
		ck_assert_uint_le(n, heard + 1);
		ck_assert_uint_eq((uint32_t)atoi(get_text(store, "twin")), n);
		store_close(store);
	}
}
END_TEST

/* Records that belong together, killed after the first, the second, before the
 * commit and after it. In the midst of it: regress/house/sweep.c. */
START_TEST(l46_records_of_one_transaction_are_all_there_or_none)
{
	struct store *store = open_store();
	char text[16];
	pid_t pid;
	int step;

	put_text(store, "one", "0");
	put_text(store, "two", "0");
	put_text(store, "gone", "here");
	ck_assert_int_eq(store_commit(store, 1), 0);
	store_close(store);
	for (step = 1; step <= 4; step++) {
		snprintf(text, sizeof(text), "%d", step);
		if ((pid = fork()) == 0) {
			store = open_store();
			put_text(store, "one", text);
			if (step == 1)
				(void)kill(getpid(), SIGKILL);
			put_text(store, "two", text);
			if (step == 2)
				(void)kill(getpid(), SIGKILL);
			if (store_delete(store, STORE_COLD, "gone", 4) == -1)
				_exit(1);
			if (step == 3)
				(void)kill(getpid(), SIGKILL);
			(void)store_commit(store, 0);
			(void)kill(getpid(), SIGKILL);
		}
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		store = open_store();
		snprintf(text, sizeof(text), "%d", step == 4 ? 4 : 0);
		ck_assert_str_eq(get_text(store, "one"), text);
		ck_assert_str_eq(get_text(store, "two"), text);
		ck_assert_str_eq(
		    get_text(store, "gone"), step == 4 ? "" : "here");
		store_close(store);
	}
}
END_TEST

/* Death while the store is born, at a random moment. */
START_TEST(l38_killed_while_it_is_made)
{
	int round;

	for (round = 0; round < 40; round++) {
		struct store *store;
		pid_t pid;

		folder_remove(folder);
		if ((pid = fork()) == 0) {
			struct itimerval timer = { 0 };

			signal(SIGALRM, SIG_DFL);
			timer.it_value.tv_usec =
			    1 + (int)randombytes_uniform(40000);
			setitimer(ITIMER_REAL, &timer, NULL);
			write_for_ever(open("/dev/null", O_WRONLY));
		}
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		store = open_store();
		put_text(store, "a", "one");
		ck_assert_int_eq(store_commit(store, 1), 0);
		store_close(store);
	}
}
END_TEST

/* --- another passphrase -------------------------------------------------- */

#define NEXT "the next one"

static enum store_error
opens(const char *passphrase)
{
	enum store_error error;
	struct store *store = store_open(folder, &error);

	ck_assert_ptr_nonnull(store);
	error =
	    store_unlock(store, passphrase, strlen(passphrase), OPS, MEMORY);
	if (error == STORE_OK)
		ck_assert_str_eq(get_text(store, "a"), "one");
	store_close(store);
	return (error);
}

/* Read all of a file of the store, at most size bytes. Its length; -1. */
static ssize_t
file_bytes(const char *name, uint8_t *bytes, size_t size)
{
	char path[600];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if ((fd = open(path, O_RDONLY)) == -1)
		return (-1);
	length = read(fd, bytes, size);
	close(fd);
	return (length);
}

static void
file_write_bytes(const char *name, const uint8_t *bytes, size_t length)
{
	char path[600];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	ck_assert_int_ne(fd = open(path, O_WRONLY | O_CREAT, 0600), -1);
	ck_assert_int_eq(write(fd, bytes, length), (ssize_t)length);
	close(fd);
}

static struct store *
store_with_one(void)
{
	struct store *store = open_store();

	put_text(store, "a", "one");
	ck_assert_int_eq(store_commit(store, 1), 0);
	return (store);
}

/* What no configuration lets a keyring say is refused before any time or
 * memory goes into it. */
START_TEST(a_head_that_asks_for_too_much)
{
	static const uint64_t asked[][2] = { { 0, MEMORY }, { 65, MEMORY },
		{ UINT64_MAX, MEMORY }, { OPS, 0 },
		{ OPS, (UINT64_C(4) << 30) + 1 }, { OPS, UINT64_MAX } };
	int dirfd = open(folder, O_RDONLY | O_DIRECTORY);
	uint8_t bytes[2048];
	size_t i, k;

	store_close(store_with_one());
	for (i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		ck_assert_int_eq(file_bytes("keyring", bytes, 2048), 1536);
		for (k = 0; k < 16; k++)
			bytes[16 + k] =
			    (uint8_t)(asked[i][k / 8] >> (56 - 8 * (k % 8)));
		file_write_bytes("keyring", bytes, 1536);
		errno = 0;
		ck_assert_ptr_null(
		    seal_open(dirfd, PASSPHRASE, strlen(PASSPHRASE)));
		ck_assert_int_eq(errno, EINVAL);
	}
	close(dirfd);
}
END_TEST

START_TEST(only_the_new_passphrase_opens_after_a_change)
{
	uint8_t before[2048], after[2048], hard[2048];
	struct store *store = store_with_one();
	char path[600], link_path[600];

	ck_assert_int_eq(store_prove(store, PASSPHRASE, strlen(PASSPHRASE)), 1);
	ck_assert_int_eq(store_prove(store, NEXT, strlen(NEXT)), 0);
	ck_assert_int_eq(file_bytes("keyring", before, sizeof(before)), 1536);
	/* A second name of the same file: was it destroyed in place? */
	snprintf(path, sizeof(path), "%s/keyring", folder);
	snprintf(link_path, sizeof(link_path), "%s/same", folder);
	ck_assert_int_eq(link(path, link_path), 0);
	ck_assert_int_eq(
	    store_change_passphrase(store, NEXT, strlen(NEXT), OPS, MEMORY), 0);
	ck_assert_int_eq(file_bytes("same", hard, sizeof(hard)), 1536);
	ck_assert_int_eq(unlink(link_path), 0);
	ck_assert_int_ne(memcmp(before, hard, 512), 0);
	ck_assert_int_ne(memcmp(before + 512, hard + 512, 512), 0);
	ck_assert_int_eq(file_bytes("keyring", after, sizeof(after)), 1536);
	ck_assert_int_ne(memcmp(before, after, 512), 0);
	ck_assert_int_eq(file_bytes("keyring.old", after, 1), -1);
	ck_assert_int_eq(file_bytes("keyring.new", after, 1), -1);
	/* The open store goes on, its rotation too. */
	ck_assert_int_eq(store_prove(store, PASSPHRASE, strlen(PASSPHRASE)), 0);
	ck_assert_int_eq(store_prove(store, NEXT, strlen(NEXT)), 1);
	ck_assert_str_eq(get_text(store, "a"), "one");
	ck_assert_int_eq(store_rotate_begin(store), 0);
	while (store_rotate_step(store, 10) == 1)
		;
	store_close(store);
	ck_assert_int_eq(opens(PASSPHRASE), STORE_PASSPHRASE);
	ck_assert_int_eq(opens(NEXT), STORE_OK);
}
END_TEST

/* In the middle of a rotation both store keys are taken along. */
START_TEST(a_change_during_a_rotation)
{
	struct store *store = store_with_one();

	ck_assert_int_eq(store_rotate_begin(store), 0);
	ck_assert_int_eq(
	    store_change_passphrase(store, NEXT, strlen(NEXT), OPS, MEMORY), 0);
	store_close(store);
	ck_assert_int_eq(opens(NEXT), STORE_OK);
	ck_assert_int_eq(opens(PASSPHRASE), STORE_PASSPHRASE);
}
END_TEST

/* What a crash between any two steps leaves: which passphrase opens then, and
 * the keyring of the other is destroyed. */
START_TEST(a_change_that_was_cut_off)
{
	static const struct {
		const char *files[3]; /* keyring, .old, .new; o, n or NULL */
		int new_opens;
	} left[] = {
		{ { "o", NULL, NULL }, 0 },
		{ { "o", NULL, "torn" }, 0 },
		{ { "o", NULL, "n" }, 0 },
		{ { NULL, "o", "n" }, 0 },
		{ { "n", "o", NULL }, 1 },
		{ { "n", "noise", NULL }, 1 },
		{ { "n", NULL, NULL }, 1 },
	};
	static const char *const names[] = { "keyring", "keyring.old",
		"keyring.new" };
	uint8_t old[1536], new[1536], bytes[1536];
	struct store *store;
	char path[600];
	size_t i, n;

	store = store_with_one();
	ck_assert_int_eq(file_bytes("keyring", old, sizeof(old)), 1536);
	ck_assert_int_eq(
	    store_change_passphrase(store, NEXT, strlen(NEXT), OPS, MEMORY), 0);
	ck_assert_int_eq(file_bytes("keyring", new, sizeof(new)), 1536);
	store_close(store);
	for (i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		for (n = 0; n < 3; n++) {
			const char *what = left[i].files[n];

			snprintf(path, sizeof(path), "%s/%s", folder, names[n]);
			(void)unlink(path);
			randombytes_buf(bytes, sizeof(bytes));
			if (what != NULL)
				file_write_bytes(names[n],
				    *what == 'o'                 ? old
				    : strcmp(what, "noise") == 0 ? bytes
								 : new,
				    *what == 't' ? 700 : 1536);
		}
		ck_assert_int_eq(opens(left[i].new_opens ? PASSPHRASE : NEXT),
		    STORE_PASSPHRASE);
		ck_assert_int_eq(
		    opens(left[i].new_opens ? NEXT : PASSPHRASE), STORE_OK);
		ck_assert_int_eq(file_bytes("keyring.old", bytes, 1), -1);
		ck_assert_int_eq(file_bytes("keyring.new", bytes, 1), -1);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store");
	TCase *tcase = tcase_create("store");

	if (sodium_init() == -1)
		return (1);
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, what_is_committed_is_there_after_reopening);
	tcase_add_test(tcase, wrong_passphrase_opens_nothing);
	tcase_add_test(tcase, l39_second_opener_fails_until_the_first_is_gone);
	tcase_add_test(tcase, folder_open_to_others_is_refused);
	tcase_add_test(tcase, records_without_keyring_are_damage);
	tcase_add_test(tcase, dump_and_load_move_everything);
	tcase_add_test(tcase, rotation_looks_at_each_record_once);
	tcase_add_test(tcase, rotation_leaves_nothing_of_what_was_erased);
	tcase_add_test(tcase, writes_during_a_rotation_are_kept);
	tcase_add_test(tcase, a_rotation_that_was_cut_off_goes_on);
	tcase_add_test(
	    tcase, l38_killed_at_any_instant_it_reopens_and_lost_nothing);
	tcase_add_test(tcase, l38_killed_while_it_is_made);
	tcase_add_test(
	    tcase, l46_records_of_one_transaction_are_all_there_or_none);
	tcase_add_test(tcase, a_head_that_asks_for_too_much);
	tcase_add_test(tcase, only_the_new_passphrase_opens_after_a_change);
	tcase_add_test(tcase, a_change_during_a_rotation);
	tcase_add_test(tcase, a_change_that_was_cut_off);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
