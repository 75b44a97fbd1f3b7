/*
 * Tests only. Instead of keyd/store.c: folders that are memory, with the same
 * contract. What was committed is found again when a folder is opened anew.
 */
#ifndef REGRESS_FUZZ_STORE_H
#define REGRESS_FUZZ_STORE_H

#include "keyd/store.h"

/* Forget every folder; none may be open. */
void fuzz_store_reset(void);

/* The next so many commits fail. */
void fuzz_store_fail(unsigned int commits);

/* Keep what all folders hold; put it back (none may be open). */
void fuzz_store_save(void);
void fuzz_store_restore(void);

/* The folder at path gets a record, as if it had been committed. */
void fuzz_store_plant(const char *path, enum store_table table,
    const void *name, size_t name_length, const void *data, size_t length);

#endif
