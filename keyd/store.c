/*
 * keyd only, as its own user, in its own folder. The sealed store on Berkeley
 * DB 5.3: transactions, records, rotation; see store.h, and store_open.c for
 * the folder. One B-tree of all tables: a key is the table's number and the
 * keyed hash of the name, a value is the sealed BE16(name length) || name ||
 * data.
 */

#include <sys/statvfs.h>

#include <db.h>
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/seal.h"
#include "keyd/secret.h"
#include "keyd/store.h"
#include "keyd/store_internal.h"

#define STORE_PLAIN_MAX (2 + STORE_RECORD_MAX)
#define STORE_RESERVE   (256 * 1024) /* never written into */
/* With so much free, nobody fills the disk in this time. */
#define STORE_AMPLE     (UINT64_C(1024) * 1024 * 1024)
#define STORE_AMPLE_FOR (50 * CLOCK_MS)
#define CHECKPOINT_SIZE (32 * 1024 * 1024) /* of logs between them */

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
	int saved = errno;

	store->txn = NULL;
	if (txn != NULL)
		(void)store_check(store, "abort", txn->abort(txn));
	errno = saved;
}

enum store_error
store_broken(const struct store *store)
{
	if (!store->broken)
		return (STORE_OK);
	errno = store->why;
	return (store_error_of(store->why));
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
		log_error(
		    "store_rotation_failed", "error=\"%s\"", strerror(errno));
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
	/* What it writes on a full disk stays to be written again. */
	if (!store->broken && store_has_room(store))
		(void)store_check(store, "checkpoint",
		    store->env->txn_checkpoint(
			store->env, CHECKPOINT_SIZE / 1024, 0, 0));
}
