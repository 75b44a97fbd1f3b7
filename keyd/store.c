/*
 * keyd only, as its own user, in its own folder. The sealed store on Berkeley
 * DB 5.3; see store.h. One B-tree of all tables: a key is the table's number
 * and the keyed hash of the name, a value is the sealed
 * BE16(name length) || name || data. The environment is private to the
 * process (no shared region, no locks inside): flock(2) on the file "lock"
 * keeps others out, whatever way the last owner died.
 */

#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/pages.h"
#include "keyd/seal.h"
#include "keyd/secret.h"
#include "keyd/store.h"

#define STORE_KEY_SIZE  (1 + KEY_SIZE)
#define STORE_PLAIN_MAX (2 + STORE_RECORD_MAX)
#define STORE_FILE      PAGES_DATABASE
#define STORE_MARK      "kept" /* this file: there have been records */
/* A fifth of what 100,000 chats are on disk; their counters. Berkeley DB takes
 * a quarter more than it is told. */
#define CACHE_SIZE      (32 * 1024 * 1024)
/* What is over a quarter of a page goes to one of its own: the cold record of
 * a chat, up to 1.4 KB, must not. */
#define PAGE_SIZE       8192
#define LOG_FILE_SIZE   (4 * 1024 * 1024)
#define STORE_RESERVE   (256 * 1024) /* never written into */
/* With so much free, nobody fills the disk in this time. */
#define STORE_AMPLE     (UINT64_C(1024) * 1024 * 1024)
#define STORE_AMPLE_FOR (50 * CLOCK_MS)
#define CHECKPOINT_SIZE (32 * 1024 * 1024) /* of logs between them */

struct store {
	int folder;
	int lock;
	DB_ENV *env;
	DB *db;
	DB_TXN *txn;
	struct seal *seal; /* NULL: locked */
	uint8_t *plain;    /* SECRET_MAX, one record */
	int broken;
	int marked; /* STORE_MARK is there */
	int rotating;
	int64_t ample_until; /* monotonic; the disk need not be asked */
	uint8_t position[STORE_KEY_SIZE]; /* of the rotation */
};

const char *
store_error_text(enum store_error error)
{
	switch (error) {
	case STORE_OK:
		return ("no error");
	case STORE_FOLDER:
		return ("the folder is missing, another user's, or open to "
			"others (mode 0700 wanted)");
	case STORE_BUSY:
		return ("another process has the store open: stop the "
			"other hermesd");
	case STORE_PASSPHRASE:
		return ("wrong passphrase");
	case STORE_DAMAGED:
		return ("the store is damaged: put a backup back");
	case STORE_SYSTEM:
		break;
	}
	return ("the system refused");
}

static void
store_message(const DB_ENV *env, const char *prefix, const char *text)
{
	char safe[LOG_TEXT_SIZE];

	(void)env;
	(void)prefix;
	log_warn(
	    "store_message", "text=\"%s\"", log_text(safe, text, strlen(text)));
}

static int
store_check(struct store *store, const char *what, int status)
{
	if (status == 0)
		return (0);
	if (status == DB_RUNRECOVERY)
		store->broken = 1;
	log_error("store_failed", "call=%s error=%d", what, status);
	/* Berkeley DB's own codes are negative. */
	errno = status > 0 ? status : EIO;
	return (-1);
}

/* --- open and close ----------------------------------------------------- */

static enum store_error
folder_open(struct store *store, const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == -1 && errno != EEXIST)
		return (STORE_FOLDER);
	store->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->folder == -1 || fstat(store->folder, &st) == -1)
		return (STORE_FOLDER);
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return (STORE_FOLDER);
	store->lock = openat(store->folder, "lock",
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (store->lock == -1)
		return (STORE_SYSTEM);
	if (flock(store->lock, LOCK_EX | LOCK_NB) == -1)
		return (errno == EWOULDBLOCK ? STORE_BUSY : STORE_SYSTEM);
	return (STORE_OK);
}

static int
database_open(struct store *store, const char *path)
{
	int status;

	if (pages_recover(store->folder) == -1 || pages_hook() == -1)
		return (store_check(store, "pages", errno));
	if ((status = db_env_create(&store->env, 0)) != 0)
		return (store_check(store, "db_env_create", status));
	store->env->set_errcall(store->env, store_message);
	if ((status = store->env->set_cachesize(
		 store->env, 0, CACHE_SIZE, 1)) != 0 ||
	    (status = store->env->set_lg_max(store->env, LOG_FILE_SIZE)) != 0 ||
	    (status = store->env->log_set_config(
		 store->env, DB_LOG_AUTO_REMOVE, 1)) != 0)
		return (store_check(store, "set", status));
	status = store->env->open(store->env, path,
	    DB_CREATE | DB_INIT_LOG | DB_INIT_MPOOL | DB_INIT_TXN | DB_PRIVATE |
		DB_RECOVER,
	    0600);
	if (status != 0)
		return (store_check(store, "env_open", status));
	if ((status = db_create(&store->db, store->env, 0)) != 0)
		return (store_check(store, "db_create", status));
	/* Of a new store; an old one keeps its own. */
	if ((status = store->db->set_pagesize(store->db, PAGE_SIZE)) != 0)
		return (store_check(store, "set_pagesize", status));
	status = store->db->open(store->db, NULL, STORE_FILE, NULL, DB_BTREE,
	    DB_CREATE | DB_AUTO_COMMIT, 0600);
	return (store_check(store, "db_open", status));
}

struct store *
store_open(const char *path, enum store_error *error)
{
	struct store *store = calloc(1, sizeof(*store));

	*error = STORE_SYSTEM;
	if (store == NULL)
		return (NULL);
	store->folder = store->lock = -1;
	if ((store->plain = secret_new(SECRET_MAX)) != NULL &&
	    (*error = folder_open(store, path)) == STORE_OK) {
		if (database_open(store, path) == 0)
			return (store);
		*error = store->broken ? STORE_DAMAGED : STORE_SYSTEM;
	}
	store_close(store);
	return (NULL);
}

static int
store_empty(struct store *store)
{
	DBT key = { 0 }, data = { 0 };
	DBC *cursor;
	int status;

	if (store->db->cursor(store->db, NULL, &cursor, 0) != 0)
		return (0);
	status = cursor->get(cursor, &key, &data, DB_FIRST);
	(void)cursor->close(cursor);
	return (status == DB_NOTFOUND);
}

/* Have there been records, as far as the mark tells? */
static int
store_was_used(struct store *store)
{
	struct stat st;

	store->marked =
	    fstatat(store->folder, STORE_MARK, &st, AT_SYMLINK_NOFOLLOW) == 0;
	return (store->marked);
}

/* From now on a store without records is one that has lost them. */
static void
store_mark(struct store *store)
{
	int fd = openat(store->folder, STORE_MARK,
	    O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd == -1 || close(fd) == -1 || fsync(store->folder) == -1)
		log_warn("store_not_marked", "error=%s", strerror(errno));
	else
		store->marked = 1;
}

enum store_error
store_unlock(struct store *store, const char *passphrase, size_t length,
    uint64_t ops, uint64_t memory)
{
	int exists;

	if (seal_recover(store->folder) == -1 ||
	    (exists = seal_exists(store->folder)) == -1)
		return (STORE_SYSTEM);
	/* Records without a keyring, a keyring without records: somebody took
	 * the other away. */
	if (store_was_used(store) ? exists == 0 || store_empty(store)
				  : exists == 0 && !store_empty(store))
		return (STORE_DAMAGED);
	if (exists == 0) {
		if (seal_create(
			store->folder, passphrase, length, ops, memory) == -1)
			return (STORE_SYSTEM);
	}
	store->seal = seal_open(store->folder, passphrase, length);
	if (store->seal == NULL)
		return (errno == EACCES   ? STORE_PASSPHRASE
			: errno == EINVAL ? STORE_DAMAGED
					  : STORE_SYSTEM);
	store->rotating = seal_rotating(store->seal);
	return (STORE_OK);
}

int
store_prove(struct store *store, const char *passphrase, size_t length)
{
	return (seal_prove(store->seal, passphrase, length));
}

int
store_change_passphrase(struct store *store, const char *passphrase,
    size_t length, uint64_t ops, uint64_t memory)
{
	return (seal_change(
	    store->seal, store->folder, passphrase, length, ops, memory));
}

void
store_close(struct store *store)
{
	if (store == NULL)
		return;
	store_abort(store);
	if (store->db != NULL)
		(void)store_check(
		    store, "db_close", store->db->close(store->db, 0));
	if (store->env != NULL)
		(void)store_check(
		    store, "env_close", store->env->close(store->env, 0));
	seal_close(store->seal);
	secret_free(store->plain, SECRET_MAX);
	if (store->lock != -1)
		(void)close(store->lock); /* gives up the lock */
	if (store->folder != -1)
		(void)close(store->folder);
	free(store);
}

/* --- transactions ------------------------------------------------------- */

/* 1 when a transaction may be begun: asked for each, it would be a good part
 * of a small one. */
static int
store_has_room(struct store *store)
{
	int64_t now = clock_monotonic();
	struct statvfs fs;
	uint64_t left;

	if (now < store->ample_until)
		return (1);
	if (fstatvfs(store->folder, &fs) == -1)
		return (1);
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (left >= STORE_AMPLE)
		store->ample_until = now + STORE_AMPLE_FOR;
	return (left >= STORE_RESERVE);
}

int
store_full(struct store *store)
{
	store->ample_until = 0;
	return (!store_has_room(store));
}

static int
store_begin(struct store *store)
{
	if (store->seal == NULL || store->broken) {
		errno = EPERM;
		return (-1);
	}
	if (store->txn != NULL)
		return (0);
	if (!store_has_room(store)) {
		errno = ENOSPC;
		return (-1);
	}
	return (store_check(store, "txn_begin",
	    store->env->txn_begin(store->env, NULL, &store->txn, 0)));
}

static void
store_key(struct store *store, enum store_table table, const void *name,
    size_t length, uint8_t key[STORE_KEY_SIZE])
{
	key[0] = (uint8_t)table;
	seal_name(store->seal, key[0], name, length, key + 1);
}

/* Seal length bytes of store->plain under key and put them. */
static int
store_put_plain(struct store *store, uint8_t key[STORE_KEY_SIZE], size_t length)
{
	uint8_t sealed[STORE_PLAIN_MAX + SEAL_OVERHEAD];
	DBT where = { .data = key, .size = STORE_KEY_SIZE };
	DBT what = { .data = sealed };

	seal_record(store->seal, key[0], key + 1, store->plain, length, sealed);
	what.size = (uint32_t)(length + SEAL_OVERHEAD);
	sodium_memzero(store->plain, length);
	return (store_check(store, "put",
	    store->db->put(store->db, store->txn, &where, &what, 0)));
}

int
store_put(struct store *store, enum store_table table, const void *name,
    size_t name_length, const void *data, size_t length)
{
	uint8_t key[STORE_KEY_SIZE];

	if (name_length > STORE_RECORD_MAX ||
	    length > STORE_RECORD_MAX - name_length) {
		errno = EINVAL;
		return (-1);
	}
	if (store_begin(store) == -1)
		return (-1);
	store_key(store, table, name, name_length, key);
	store->plain[0] = (uint8_t)(name_length >> 8);
	store->plain[1] = (uint8_t)name_length;
	memcpy(store->plain + 2, name, name_length);
	memcpy(store->plain + 2 + name_length, data, length);
	return (store_put_plain(store, key, 2 + name_length + length));
}

int
store_delete(struct store *store, enum store_table table, const void *name,
    size_t name_length)
{
	uint8_t key[STORE_KEY_SIZE];
	DBT where = { .data = key, .size = sizeof(key) };
	int status;

	if (store_begin(store) == -1)
		return (-1);
	store_key(store, table, name, name_length, key);
	status = store->db->del(store->db, store->txn, &where, 0);
	return (store_check(store, "del", status == DB_NOTFOUND ? 0 : status));
}

int
store_commit(struct store *store, int sync)
{
	DB_TXN *txn = store->txn;

	if (txn == NULL)
		return (0);
	store->txn = NULL;
	metric_add(METRIC_STORE_TRANSACTIONS, 1);
	if (store_check(store, "commit",
		txn->commit(txn, sync ? DB_TXN_SYNC : DB_TXN_WRITE_NOSYNC)) ==
	    -1)
		return (-1);
	if (sync && !store->marked)
		store_mark(store);
	return (0);
}

void
store_abort(struct store *store)
{
	DB_TXN *txn = store->txn;

	store->txn = NULL;
	if (txn != NULL)
		(void)store_check(store, "abort", txn->abort(txn));
}

int
store_broken(const struct store *store)
{
	return (store->broken);
}

/* --- reading ------------------------------------------------------------ */

/* Open a sealed value into store->plain. Its parts, or -1. */
static int
store_open_value(struct store *store, const DBT *key, const DBT *value,
    const uint8_t **name, size_t *name_length, const uint8_t **data,
    size_t *length)
{
	const uint8_t *where = key->data;
	size_t size;

	errno = EACCES;
	if (key->size != STORE_KEY_SIZE || value->size < SEAL_OVERHEAD + 2 ||
	    value->size > STORE_PLAIN_MAX + SEAL_OVERHEAD ||
	    seal_open_record(store->seal, where[0], where + 1, value->data,
		value->size, store->plain) == -1)
		return (-1);
	size = value->size - SEAL_OVERHEAD - 2;
	*name_length = (size_t)store->plain[0] << 8 | store->plain[1];
	if (*name_length > size)
		return (-1);
	*name = store->plain + 2;
	*data = store->plain + 2 + *name_length;
	*length = size - *name_length;
	return (0);
}

int
store_get(struct store *store, enum store_table table, const void *name,
    size_t name_length, void *data, size_t size, size_t *length)
{
	uint8_t key[STORE_KEY_SIZE];
	DBT where = { .data = key, .size = sizeof(key) };
	DBT value = { 0 };
	const uint8_t *found_name, *found;
	size_t found_name_length;
	int status;

	if (store->seal == NULL) {
		errno = EPERM;
		return (-1);
	}
	store_key(store, table, name, name_length, key);
	status = store->db->get(store->db, store->txn, &where, &value, 0);
	if (status == DB_NOTFOUND)
		return (0);
	if (store_check(store, "get", status) == -1)
		return (-1);
	status = -1;
	if (store_open_value(store, &where, &value, &found_name,
		&found_name_length, &found, length) == 0) {
		if (*length <= size) {
			memcpy(data, found, *length);
			status = 1;
		} else
			errno = EINVAL;
	}
	sodium_memzero(store->plain, SECRET_MAX);
	return (status);
}

int
store_walk(
    struct store *store, enum store_table table, store_visit visit, void *arg)
{
	uint8_t first = (uint8_t)table;
	DBT key = { .data = &first, .size = 1 }, value = { 0 };
	DBC *cursor;
	const uint8_t *name, *data;
	size_t name_length, length;
	int status;

	if (store->seal == NULL) {
		errno = EPERM;
		return (-1);
	}
	status = store->db->cursor(store->db, store->txn, &cursor, 0);
	if (store_check(store, "cursor", status) == -1)
		return (-1);
	status = cursor->get(cursor, &key, &value, DB_SET_RANGE);
	while (status == 0 && ((uint8_t *)key.data)[0] == first) {
		if (store_open_value(store, &key, &value, &name, &name_length,
			&data, &length) == -1 ||
		    visit(arg, name, name_length, data, length) == -1) {
			sodium_memzero(store->plain, SECRET_MAX);
			(void)cursor->close(cursor);
			return (-1);
		}
		status = cursor->get(cursor, &key, &value, DB_NEXT);
	}
	sodium_memzero(store->plain, SECRET_MAX);
	(void)cursor->close(cursor);
	return (store_check(store, "walk", status == DB_NOTFOUND ? 0 : status));
}

/* --- rotation ----------------------------------------------------------- */

int
store_rotating(const struct store *store)
{
	return (store->rotating);
}

int
store_rotate_begin(struct store *store)
{
	if (store->seal == NULL || store->broken) {
		errno = EPERM;
		return (-1);
	}
	if (store->rotating)
		return (0);
	if (seal_rotate_begin(store->seal) == -1) {
		log_error("store_rotation_failed", "error=%s", strerror(errno));
		return (-1);
	}
	memset(store->position, 0, sizeof(store->position));
	store->rotating = 1;
	return (0);
}

/* Everything is under the new key: make that durable, destroy the old key,
 * drop the logs. */
static int
store_rotate_end(struct store *store)
{
	if (store_check(store, "log_flush",
		store->env->log_flush(store->env, NULL)) == -1 ||
	    store_check(store, "checkpoint",
		store->env->txn_checkpoint(store->env, 0, 0, DB_FORCE)) == -1 ||
	    seal_rotate_end(store->seal) == -1)
		return (-1);
	store->rotating = 0;
	(void)store_check(store, "log_archive",
	    store->env->log_archive(store->env, NULL, DB_ARCH_REMOVE));
	metric_add(METRIC_STORE_KEY_ROTATIONS, 1);
	return (0);
}

/* Re-seal the record at key if it is under the old store key. */
static int
store_reseal(struct store *store, const DBT *key, const DBT *value)
{
	uint8_t where[STORE_KEY_SIZE];
	const uint8_t *name, *data;
	size_t name_length, length;

	if (seal_is_current(store->seal, value->data, value->size))
		return (0);
	if (store_open_value(
		store, key, value, &name, &name_length, &data, &length) == -1)
		return (-1);
	memcpy(where, key->data, sizeof(where));
	return (store_put_plain(store, where, 2 + name_length + length));
}

/* The next key in the B-tree's order. */
static void
key_increment(uint8_t key[STORE_KEY_SIZE])
{
	size_t i = STORE_KEY_SIZE;

	while (i > 0 && ++key[--i] == 0)
		;
}

/* Re-seal up to count records from store->position on. */
static int
store_rotate_some(struct store *store, size_t count)
{
	uint8_t at[STORE_KEY_SIZE];
	DBT key = { .data = at,
		.size = sizeof(at),
		.ulen = sizeof(at),
		.flags = DB_DBT_USERMEM };
	uint8_t buffer[STORE_PLAIN_MAX + SEAL_OVERHEAD];
	DBT value = {
		.data = buffer, .ulen = sizeof(buffer), .flags = DB_DBT_USERMEM
	};
	DBC *cursor;
	int status;

	for (; count > 0; count--) {
		memcpy(at, store->position, sizeof(at));
		/* A cursor a record: puts move what a cursor stands on. */
		status = store->db->cursor(store->db, store->txn, &cursor, 0);
		if (store_check(store, "cursor", status) == -1)
			return (-1);
		status = cursor->get(cursor, &key, &value, DB_SET_RANGE);
		(void)cursor->close(cursor);
		if (status == DB_NOTFOUND)
			return (0);
		if (store_check(store, "rotate", status) == -1 ||
		    store_reseal(store, &key, &value) == -1)
			return (-1);
		memcpy(store->position, at, sizeof(at));
		key_increment(store->position);
	}
	return (1);
}

int
store_rotate_step(struct store *store, size_t count)
{
	uint8_t before[STORE_KEY_SIZE];
	int more, saved;

	if (!store->rotating)
		return (0);
	memcpy(before, store->position, sizeof(before));
	if (store_begin(store) == -1)
		return (-1);
	more = store_rotate_some(store, count);
	if (more == -1) {
		saved = errno;
		store_abort(store);
		memcpy(store->position, before, sizeof(before));
		errno = saved;
		return (-1);
	}
	if (store_commit(store, 0) == -1) {
		memcpy(store->position, before, sizeof(before));
		return (-1);
	}
	return (more == 1 ? 1 : store_rotate_end(store));
}

void
store_checkpoint(struct store *store)
{
	if (!store->broken)
		(void)store_check(store, "checkpoint",
		    store->env->txn_checkpoint(
			store->env, CHECKPOINT_SIZE / 1024, 0, 0));
}
