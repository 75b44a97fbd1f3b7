/*
 * keyd only: what store.c and store_open.c share of the store. See store.h.
 */
#ifndef KEYD_STORE_INTERNAL_H
#define KEYD_STORE_INTERNAL_H

#include <stdint.h>

#include <db.h>

#include "keyd/seal.h"
#include "keyd/store.h"

#define STORE_KEY_SIZE (1 + KEY_SIZE)
#define STORE_MARK     "kept" /* this file: there have been records */

struct store {
	int folder;
	int lock;
	DB_ENV *env;
	DB *db;
	DB_TXN *txn;
	struct seal *seal; /* NULL: locked */
	uint8_t *plain;    /* SECRET_MAX, one record */
	int broken;
	int why;    /* errno of what broke it; 0: damage */
	int marked; /* STORE_MARK is there */
	int rotating;
	int64_t ample_until; /* monotonic; the disk need not be asked */
	uint8_t position[STORE_KEY_SIZE]; /* of the rotation */
};

/* What Berkeley DB answered to a call: 0; or -1, logged, with errno as
 * store.h has it. */
int store_check(struct store *store, const char *call, int status);

/* From now on a store without records is one that has lost them. */
void store_mark(struct store *store);

#endif
