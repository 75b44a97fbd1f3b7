/* Tests only. See fuzz_store.h. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_store.h"

#define FOLDERS        256
#define ROTATION_STEPS 2

struct record {
	struct record *next;
	enum store_table table;
	size_t name_length;
	size_t length;
	uint8_t bytes[]; /* name, data */
};

struct store {
	char path[64];
	int known;
	int open;
	int unlocked;
	int transaction;
	int rotating;
	struct record *now;
	struct record *committed; /* while a transaction is open */
};

static struct store folders[FOLDERS], saved[FOLDERS];
static unsigned int failing;

/* --- lists of records --------------------------------------------------- */

static void
list_free(struct record **list)
{
	struct record *record;

	while ((record = *list) != NULL) {
		*list = record->next;
		free(record);
	}
}

static void
list_put(struct record **list, enum store_table table, const void *name,
    size_t name_length, const void *data, size_t length)
{
	struct record *record = malloc(sizeof(*record) + name_length + length);

	FUZZ_CHECK(record != NULL);
	record->table = table;
	record->name_length = name_length;
	record->length = length;
	memcpy(record->bytes, name, name_length);
	memcpy(record->bytes + name_length, data, length);
	record->next = *list;
	*list = record;
}

static struct record **
list_find(struct record **list, enum store_table table, const void *name,
    size_t name_length)
{
	for (; *list != NULL; list = &(*list)->next)
		if ((*list)->table == table &&
		    (*list)->name_length == name_length &&
		    memcmp((*list)->bytes, name, name_length) == 0)
			break;
	return (list);
}

static void
list_delete(struct record **list, enum store_table table, const void *name,
    size_t name_length)
{
	struct record **at = list_find(list, table, name, name_length);
	struct record *record = *at;

	if (record == NULL)
		return;
	*at = record->next;
	free(record);
}

static struct record *
list_copy(const struct record *list)
{
	struct record *copy = NULL;

	for (; list != NULL; list = list->next)
		list_put(&copy, list->table, list->bytes, list->name_length,
		    list->bytes + list->name_length, list->length);
	return (copy);
}

/* --- of tests ----------------------------------------------------------- */

static struct store *
folder_find(const char *path)
{
	size_t i;

	for (i = 0; i < FOLDERS; i++)
		if (!folders[i].known || strcmp(folders[i].path, path) == 0)
			break;
	FUZZ_CHECK(i < FOLDERS && strlen(path) < sizeof(folders[i].path));
	folders[i].known = 1;
	memcpy(folders[i].path, path, strlen(path) + 1);
	return (&folders[i]);
}

void
fuzz_store_reset(void)
{
	size_t i;

	failing = 0;
	for (i = 0; i < FOLDERS; i++) {
		FUZZ_CHECK(!folders[i].open);
		list_free(&folders[i].now);
		list_free(&folders[i].committed);
	}
	memset(folders, 0, sizeof(folders));
}

void
fuzz_store_save(void)
{
	size_t i;

	for (i = 0; i < FOLDERS; i++) {
		list_free(&saved[i].now);
		saved[i] = folders[i];
		saved[i].now = list_copy(folders[i].now);
		saved[i].committed = NULL;
	}
}

void
fuzz_store_restore(void)
{
	size_t i;

	fuzz_store_reset();
	for (i = 0; i < FOLDERS; i++) {
		folders[i] = saved[i];
		folders[i].open = folders[i].unlocked = 0;
		folders[i].transaction = folders[i].rotating = 0;
		folders[i].now = list_copy(saved[i].now);
	}
}

void
fuzz_store_fail(unsigned int commits)
{
	failing = commits;
}

void
fuzz_store_plant(const char *path, enum store_table table, const void *name,
    size_t name_length, const void *data, size_t length)
{
	struct store *store = folder_find(path);

	list_delete(&store->now, table, name, name_length);
	list_put(&store->now, table, name, name_length, data, length);
}

/* --- store.h ------------------------------------------------------------ */

const char *
store_error_text(enum store_error error)
{
	return (error == STORE_OK ? "no error" : "an error");
}

const char *
store_failed_text(void)
{
	return ("the store failed");
}

enum store_error
store_error_of(int error)
{
	return (error == ENOSPC ? STORE_NO_ROOM : STORE_DAMAGED);
}

struct store *
store_open(const char *path, enum store_error *error)
{
	struct store *store = folder_find(path);

	if (store->open) {
		*error = STORE_BUSY;
		return (NULL);
	}
	store->open = 1;
	return (store);
}

enum store_error
store_unlock(struct store *store, const char *passphrase, size_t length,
    uint64_t ops, uint64_t memory)
{
	(void)ops;
	(void)memory;
	FUZZ_CHECK(store->open && !store->unlocked);
	if (length != 4 || memcmp(passphrase, "pass", 4) != 0)
		return (STORE_PASSPHRASE);
	store->unlocked = 1;
	return (STORE_OK);
}

int
store_prove(struct store *store, const char *passphrase, size_t length)
{
	FUZZ_CHECK(store->unlocked);
	return (length == 4 && memcmp(passphrase, "pass", 4) == 0);
}

/* It says so, and stays with the one that store_unlock() knows. */
int
store_change_passphrase(struct store *store, const char *passphrase,
    size_t length, uint64_t ops, uint64_t memory)
{
	(void)passphrase;
	(void)ops;
	(void)memory;
	FUZZ_CHECK(store->unlocked && length > 0);
	if (failing == 0)
		return (0);
	failing--;
	errno = ENOSPC;
	return (-1);
}

static void
store_begin(struct store *store)
{
	FUZZ_CHECK(store->unlocked);
	if (store->transaction)
		return;
	store->transaction = 1;
	store->committed = list_copy(store->now);
}

void
store_abort(struct store *store)
{
	if (!store->transaction)
		return;
	list_free(&store->now);
	store->now = store->committed;
	store->committed = NULL;
	store->transaction = 0;
}

void
store_close(struct store *store)
{
	if (store == NULL)
		return;
	store_abort(store);
	store->open = store->unlocked = store->rotating = 0;
}

int
store_put(struct store *store, enum store_table table, const void *name,
    size_t name_length, const void *data, size_t length)
{
	FUZZ_CHECK(name_length + length <= STORE_RECORD_MAX);
	store_begin(store);
	list_delete(&store->now, table, name, name_length);
	list_put(&store->now, table, name, name_length, data, length);
	return (0);
}

int
store_delete(struct store *store, enum store_table table, const void *name,
    size_t name_length)
{
	store_begin(store);
	list_delete(&store->now, table, name, name_length);
	return (0);
}

int
store_commit(struct store *store, int sync)
{
	(void)sync;
	if (!store->transaction)
		return (0);
	if (failing > 0) {
		failing--;
		store_abort(store);
		errno = ENOSPC;
		return (-1);
	}
	list_free(&store->committed);
	store->transaction = 0;
	return (0);
}

enum store_error
store_broken(const struct store *store)
{
	(void)store;
	return (0);
}

int
store_full(struct store *store)
{
	(void)store;
	return (0);
}

int
store_get(struct store *store, enum store_table table, const void *name,
    size_t name_length, void *data, size_t size, size_t *length)
{
	struct record *record;

	FUZZ_CHECK(store->unlocked);
	record = *list_find(&store->now, table, name, name_length);
	if (record == NULL)
		return (0);
	if (record->length > size) {
		errno = EINVAL;
		return (-1);
	}
	memcpy(data, record->bytes + record->name_length, record->length);
	*length = record->length;
	return (1);
}

int
store_walk(
    struct store *store, enum store_table table, store_visit visit, void *arg)
{
	struct record *record, *next;
	uint8_t *copy;
	int result = 0;

	FUZZ_CHECK(store->unlocked);
	for (record = store->now; record != NULL && result == 0;
	     record = next) {
		next = record->next;
		if (record->table != table)
			continue;
		/* Of its exact size, so that a read beyond it is seen. */
		FUZZ_CHECK((copy = malloc(record->length + 1)) != NULL);
		memcpy(copy + 1, record->bytes + record->name_length,
		    record->length);
		result = visit(arg, record->bytes, record->name_length,
		    copy + 1, record->length);
		free(copy);
	}
	return (result == 0 ? 0 : -1);
}

int
store_rotate_begin(struct store *store)
{
	FUZZ_CHECK(!store->transaction && !store->rotating);
	store->rotating = ROTATION_STEPS;
	return (0);
}

int
store_rotate_step(struct store *store, size_t count)
{
	FUZZ_CHECK(count > 0 && !store->transaction);
	if (failing > 0) {
		failing--;
		return (-1);
	}
	if (store->rotating > 0)
		store->rotating--;
	return (store->rotating > 0);
}

int
store_rotating(const struct store *store)
{
	return (store->rotating > 0);
}

void
store_checkpoint(struct store *store)
{
	FUZZ_CHECK(store->unlocked);
}

int
store_dump(struct store *store, FILE *file)
{
	(void)store;
	(void)file;
	return (-1);
}

int
store_load(struct store *store, FILE *file)
{
	(void)store;
	(void)file;
	return (-1);
}
