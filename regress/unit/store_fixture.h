/*
 * Test. A store in a folder of its own that goes with the test, and texts as
 * its records.
 */
#ifndef REGRESS_UNIT_STORE_FIXTURE_H
#define REGRESS_UNIT_STORE_FIXTURE_H

#include <sys/stat.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <sodium.h>

#include "keyd/store.h"
#include "regress/unit/folder.h"
#include "regress/unit/suite.h"

#define PASSPHRASE "correct horse"
#define OPS        crypto_pwhash_OPSLIMIT_MIN
#define MEMORY     crypto_pwhash_MEMLIMIT_MIN

static char folder[256];

static inline void
setup(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(folder, sizeof(folder), "%s/hermes-store-XXXXXX",
	    base != NULL ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static inline void
teardown(void)
{
	folder_remove(folder);
}

static inline struct store *
open_store(void)
{
	enum store_error error;
	struct store *store = store_open(folder, &error);

	ck_assert_msg(store != NULL, "%s", store_error_text(error));
	error =
	    store_unlock(store, PASSPHRASE, strlen(PASSPHRASE), OPS, MEMORY);
	ck_assert_msg(error == STORE_OK, "%s", store_error_text(error));
	return (store);
}

static inline void
put_text(struct store *store, const char *name, const char *text)
{
	ck_assert_int_eq(store_put(store, STORE_COLD, name, strlen(name), text,
			     strlen(text)),
	    0);
}

/* The text stored under name, "" when there is none. */
static inline const char *
get_text(struct store *store, const char *name)
{
	static char text[256];
	size_t length = 0;
	int found;

	found = store_get(store, STORE_COLD, name, strlen(name), text,
	    sizeof(text) - 1, &length);
	ck_assert_int_ge(found, 0);
	text[found ? length : 0] = '\0';
	return (text);
}

static inline int
count_record(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	(void)name;
	(void)name_length;
	(void)data;
	(void)length;
	++*(int *)arg;
	return (0);
}

static inline int
count_records(struct store *store, enum store_table table)
{
	int count = 0;

	ck_assert_int_eq(store_walk(store, table, count_record, &count), 0);
	return (count);
}

#endif
