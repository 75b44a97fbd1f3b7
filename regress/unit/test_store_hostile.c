/*
 * The sealed store under somebody's hands: records damaged, cut, exchanged or
 * put where another belongs; folders and files that are not what they were;
 * callers that ask for what cannot be.
 */

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <db.h>
#include <sodium.h>

#include "common/util/log.h"
#include "keyd/pages.h"
#include "regress/unit/store_fixture.h"

#define RECORDS 2
#define ROOM    256

/* The records of a closed store as they lie on the disk. */
struct disk {
	DB_ENV *env;
	DB *db;
	uint8_t key[RECORDS][ROOM], value[RECORDS][ROOM];
	uint32_t key_size[RECORDS], value_size[RECORDS];
};

static void
disk_open(struct disk *disk)
{
	DBT key = { 0 }, value = { 0 };
	DBC *cursor;
	int i;

	memset(disk, 0, sizeof(*disk));
	ck_assert_int_eq(db_env_create(&disk->env, 0), 0);
	ck_assert_int_eq(disk->env->open(disk->env, folder,
			     DB_CREATE | DB_INIT_LOG | DB_INIT_MPOOL |
				 DB_INIT_TXN | DB_PRIVATE | DB_RECOVER,
			     0600),
	    0);
	ck_assert_int_eq(db_create(&disk->db, disk->env, 0), 0);
	ck_assert_int_eq(disk->db->open(disk->db, NULL, PAGES_DATABASE, NULL,
			     DB_BTREE, DB_AUTO_COMMIT, 0),
	    0);
	ck_assert_int_eq(disk->db->cursor(disk->db, NULL, &cursor, 0), 0);
	for (i = 0; cursor->get(cursor, &key, &value, DB_NEXT) == 0; i++) {
		ck_assert_int_lt(i, RECORDS);
		memcpy(disk->key[i], key.data, key.size);
		memcpy(disk->value[i], value.data, value.size);
		disk->key_size[i] = key.size;
		disk->value_size[i] = value.size;
	}
	ck_assert_int_eq(i, RECORDS);
	cursor->close(cursor);
}

static void
disk_close(struct disk *disk)
{
	ck_assert_int_eq(disk->db->close(disk->db, 0), 0);
	ck_assert_int_eq(disk->env->close(disk->env, 0), 0);
}

static void
disk_put(struct disk *disk, int at, const uint8_t *value, uint32_t size)
{
	uint8_t bytes[ROOM * 20] = { 0 };
	DBT where = { .data = disk->key[at], .size = disk->key_size[at] };
	DBT what = { .data = bytes, .size = size };

	memcpy(bytes, value, size < ROOM ? size : ROOM);
	ck_assert_int_eq(disk->db->put(disk->db, NULL, &where, &what, 0), 0);
}

/* --- what may be done to records ----------------------------------------- */

static void
exchange(struct disk *disk)
{
	disk_put(disk, 0, disk->value[1], disk->value_size[1]);
	disk_put(disk, 1, disk->value[0], disk->value_size[0]);
}

static void
flip_a_bit(struct disk *disk)
{
	int i;

	for (i = 0; i < RECORDS; i++) {
		disk->value[i][disk->value_size[i] / 2] ^= 4;
		disk_put(disk, i, disk->value[i], disk->value_size[i]);
	}
}

static void
cut(struct disk *disk)
{
	int i;

	for (i = 0; i < RECORDS; i++)
		disk_put(disk, i, disk->value[i], disk->value_size[i] - 1);
}

static void
cut_to_nothing(struct disk *disk)
{
	int i;

	for (i = 0; i < RECORDS; i++)
		disk_put(disk, i, disk->value[i], 1);
}

static void
swell(struct disk *disk)
{
	int i;

	for (i = 0; i < RECORDS; i++)
		disk_put(disk, i, disk->value[i], 4000);
}

/* A record of one table is none of another, though its name is the same. */
static void
other_table(struct disk *disk)
{
	DBT where = { 0 };
	int i;

	for (i = 0; i < RECORDS; i++) {
		where.data = disk->key[i];
		where.size = disk->key_size[i];
		ck_assert_int_eq(disk->db->del(disk->db, NULL, &where, 0), 0);
		disk->key[i][0] = STORE_HOT;
		disk_put(disk, i, disk->value[i], disk->value_size[i]);
	}
}

/* And a key that no record of ours has; rotation goes past it. */
static void
longer_keys(struct disk *disk)
{
	int i;

	for (i = 0; i < RECORDS; i++) {
		disk->key_size[i]++;
		disk_put(disk, i, disk->value[i], disk->value_size[i]);
	}
}

static const struct {
	void (*harm)(struct disk *);
	enum store_table table; /* whose walk meets it */
	int found;              /* what a look for a record says */
	int rotated;            /* what a step of rotation says */
} harms[] = {
	{ exchange, STORE_COLD, -1, -1 },
	{ flip_a_bit, STORE_COLD, -1, -1 },
	{ cut, STORE_COLD, -1, -1 },
	{ cut_to_nothing, STORE_COLD, -1, -1 },
	{ swell, STORE_COLD, -1, -1 },
	{ other_table, STORE_HOT, 0, -1 },
	{ longer_keys, STORE_COLD, 1, 0 },
};

static int
nothing_seen(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	(void)data;
	/* What was left as it was may be seen. */
	if (name_length != 1 || length != 3 || (*name != 'a' && *name != 'b'))
		++*(int *)arg;
	return (0);
}

/* It is not taken for anything, no rotation gives it a good seal, and the
 * store goes on: a record that is written anew is whole. */
START_TEST(what_was_tampered_with_opens_nowhere)
{
	struct store *store = open_store();
	struct disk disk;
	char text[64];
	size_t length;
	int strange = 0, turn;

	put_text(store, "a", "one");
	put_text(store, "b", "two");
	ck_assert_int_eq(store_commit(store, 1), 0);
	store_close(store);
	disk_open(&disk);
	harms[_i].harm(&disk);
	disk_close(&disk);
	store = open_store();
	errno = 0;
	ck_assert_int_eq(
	    store_get(store, STORE_COLD, "a", 1, text, sizeof(text), &length),
	    harms[_i].found);
	if (harms[_i].found == -1)
		ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(
	    store_walk(store, harms[_i].table, nothing_seen, &strange), -1);
	ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(strange, 0);
	ck_assert_int_eq(store_rotate_begin(store), 0);
	for (turn = 0; turn < 2; turn++)
		ck_assert_int_eq(
		    store_rotate_step(store, 10), harms[_i].rotated);
	ck_assert_int_eq(store_rotating(store), harms[_i].rotated == -1);
	ck_assert_int_eq(store_broken(store), 0);
	put_text(store, "a", "anew");
	put_text(store, "c", "more");
	ck_assert_int_eq(store_commit(store, 1), 0);
	ck_assert_str_eq(get_text(store, "a"), "anew");
	store_close(store);
	store = open_store();
	ck_assert_str_eq(get_text(store, "a"), "anew");
	ck_assert_str_eq(get_text(store, "c"), "more");
	store_close(store);
}
END_TEST

/* --- folders and files --------------------------------------------------- */

static enum store_error
refused(const char *path)
{
	enum store_error error = STORE_OK;

	ck_assert_ptr_null(store_open(path, &error));
	ck_assert_ptr_nonnull(store_error_text(error));
	ck_assert_str_ne(store_error_text(error), "");
	return (error);
}

START_TEST(a_folder_that_is_none)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/none/store", folder);
	ck_assert_int_eq(refused(path), STORE_FOLDER);
	snprintf(path, sizeof(path), "%s/file", folder);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	ck_assert_int_eq(refused(path), STORE_FOLDER);
}
END_TEST

/* A link in place of the lock could make keyd open any file for writing. */
START_TEST(links_are_not_followed)
{
	enum store_error error;
	struct store *store;
	struct stat st;
	char path[300], aim[300];

	snprintf(path, sizeof(path), "%s/lock", folder);
	snprintf(aim, sizeof(aim), "%s/aim", folder);
	ck_assert_int_eq(symlink(aim, path), 0);
	ck_assert_int_eq(refused(folder), STORE_SYSTEM);
	ck_assert_int_eq(stat(aim, &st), -1);
	ck_assert_int_eq(unlink(path), 0);

	/* One in place of the mark says that there have been records. */
	snprintf(path, sizeof(path), "%s/kept", folder);
	ck_assert_int_eq(symlink(aim, path), 0);
	ck_assert_ptr_nonnull(store = store_open(folder, &error));
	ck_assert_int_eq(
	    store_unlock(store, PASSPHRASE, strlen(PASSPHRASE), OPS, MEMORY),
	    STORE_DAMAGED);
	store_close(store);
	ck_assert_int_eq(stat(aim, &st), -1);
}
END_TEST

START_TEST(a_database_that_is_none)
{
	struct store *store = open_store();
	char path[300];
	int fd;

	put_text(store, "a", "one");
	ck_assert_int_eq(store_commit(store, 1), 0);
	store_close(store);
	snprintf(path, sizeof(path), "%s/%s", folder, PAGES_DATABASE);
	ck_assert_int_ne(fd = open(path, O_WRONLY), -1);
	ck_assert_int_eq(pwrite(fd, "not a database", 14, 0), 14);
	close(fd);
	ck_assert_int_eq(refused(folder), STORE_DAMAGED);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(refused(folder), STORE_SYSTEM);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* --- callers ------------------------------------------------------------- */

START_TEST(too_much_is_refused_and_spoils_nothing)
{
	static const uint8_t big[STORE_RECORD_MAX + 1];
	struct store *store = open_store();
	uint8_t small[2];
	size_t length;

	put_text(store, "a", "one");
	ck_assert_int_eq(
	    store_put(store, STORE_COLD, "b", 1, big, STORE_RECORD_MAX), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(
	    store_put(store, STORE_COLD, big, sizeof(big), "", 0), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(
	    store_put(store, STORE_COLD, "b", 1, big, STORE_RECORD_MAX - 1), 0);
	ck_assert_int_eq(store_commit(store, 1), 0);
	ck_assert_int_eq(
	    store_get(store, STORE_COLD, "a", 1, small, sizeof(small), &length),
	    -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_str_eq(get_text(store, "a"), "one");
	store_close(store);
}
END_TEST

/* Before the passphrase nothing is read, written or rotated. */
START_TEST(a_locked_store_does_nothing)
{
	struct store *store = open_store();
	enum store_error error;
	uint8_t bytes[8];
	size_t length;
	int count = 0;

	put_text(store, "a", "one");
	ck_assert_int_eq(store_commit(store, 1), 0);
	store_close(store);
	ck_assert_ptr_nonnull(store = store_open(folder, &error));
	errno = 0;
	ck_assert_int_eq(
	    store_get(store, STORE_COLD, "a", 1, bytes, 8, &length), -1);
	ck_assert_int_eq(errno, EPERM);
	errno = 0;
	ck_assert_int_eq(
	    store_walk(store, STORE_COLD, count_record, &count), -1);
	ck_assert_int_eq(errno, EPERM);
	errno = 0;
	ck_assert_int_eq(store_put(store, STORE_COLD, "a", 1, "x", 1), -1);
	ck_assert_int_eq(errno, EPERM);
	errno = 0;
	ck_assert_int_eq(store_delete(store, STORE_COLD, "a", 1), -1);
	ck_assert_int_eq(errno, EPERM);
	errno = 0;
	ck_assert_int_eq(store_rotate_begin(store), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(store_rotate_step(store, 1), 0);
	ck_assert_int_eq(store_commit(store, 1), 0);
	ck_assert_int_eq(count, 0);
	store_close(store);
	store = open_store();
	ck_assert_str_eq(get_text(store, "a"), "one");
	store_close(store);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_hostile");
	TCase *tcase = tcase_create("store_hostile");

	if (sodium_init() == -1)
		return (1);
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, what_was_tampered_with_opens_nowhere, 0,
	    (int)(sizeof(harms) / sizeof(harms[0])));
	tcase_add_test(tcase, a_folder_that_is_none);
	tcase_add_test(tcase, links_are_not_followed);
	tcase_add_test(tcase, a_database_that_is_none);
	tcase_add_test(tcase, too_much_is_refused_and_spoils_nothing);
	tcase_add_test(tcase, a_locked_store_does_nothing);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
