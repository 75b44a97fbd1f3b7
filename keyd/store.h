/*
 * keyd only. The sealed store: tables of small records, changed in
 * transactions, in one folder that one process at a time may open. What the
 * database is, nobody outside store.c and store_open.c knows.
 */
#ifndef KEYD_STORE_H
#define KEYD_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum store_table {
	STORE_NODE = 1,  /* this node: keys, counters, membership */
	STORE_COLD,      /* chats: who, offers, link */
	STORE_HOT,       /* chats: sequences and counts */
	STORE_TOMBSTONE, /* versions of chats that were erased */
	STORE_TICKET,    /* join tickets by hash of their secret */
	STORE_NAME,      /* node names issued by this authority */
	STORE_PEER,      /* members to find again after a start */
	STORE_REVOKED    /* revocations heard of, by node key */
};

/* The longest name and data of one record together. */
#define STORE_RECORD_MAX 3500

enum store_error {
	STORE_OK = 0,
	STORE_FOLDER,     /* not a folder of ours with mode 0700, nor files */
	STORE_BUSY,       /* another process has it open */
	STORE_PASSPHRASE, /* it is wrong */
	STORE_DAMAGED,    /* not what we wrote */
	STORE_NO_ROOM,    /* the disk is full, a quota used up; nothing lost */
	STORE_READ_ONLY,  /* the file system is */
	STORE_VERSION,    /* what another version of this program wrote */
	STORE_SYSTEM      /* errno */
};

/* For the operator; of STORE_SYSTEM it says what errno is. Valid until the
 * next call. */
const char *store_error_text(enum store_error error);

/* To operators whose request the open store did not carry out, of errno. Valid
 * until the next call. */
const char *store_failed_text(void);

/* What the errno of a call below that failed means; 0 is damage, as are EACCES
 * and EINVAL, which a record gives that does not open. One that does, and is in
 * a format that is not known, gives EPROTONOSUPPORT. */
enum store_error store_error_of(int error);

struct store;

/*
 * Open or make the folder and recover what a crash left. Nothing can be read
 * before store_unlock(). NULL with *error, and errno for its text.
 */
struct store *store_open(const char *path, enum store_error *error);

/*
 * Open the keyring; a new store gets one, with Argon2id's ops and memory
 * (bytes), which an old one has in its header. A rotation that was cut off
 * is under way again.
 */
enum store_error store_unlock(struct store *store, const char *passphrase,
    size_t length, uint64_t ops, uint64_t memory);

/* Is this the passphrase of the open store? 1, 0, or -1 with errno. */
int store_prove(struct store *store, const char *passphrase, size_t length);

/*
 * Give the open store another passphrase, Argon2id's ops and memory with it.
 * Atomic. 0; -1 with errno and nothing changed; 1: changed, but what the old
 * one opens is destroyed only at the next unlock. Rotate the store key after
 * it: a copy of the folder and the old passphrase then open nothing newer.
 */
int store_change_passphrase(struct store *store, const char *passphrase,
    size_t length, uint64_t ops, uint64_t memory);

/* Drops an open transaction, closes, wipes. */
void store_close(struct store *store);

/*
 * Put replaces; delete of what is not there is no error. The first of them
 * opens a transaction. 0, or -1: the transaction is spoilt, abort it.
 */
int store_put(struct store *store, enum store_table table, const void *name,
    size_t name_length, const void *data, size_t length);
int store_delete(struct store *store, enum store_table table, const void *name,
    size_t name_length);

/*
 * Make all since the last commit true at once. It survives the death of the
 * process; with sync also a loss of power. No transaction is no error. 0, or
 * -1 and everything is as before.
 */
int store_commit(struct store *store, int sync);

/* Everything is as before; errno too. */
void store_abort(struct store *store);

/* Commit what was put if that went well (result 0); else, or when it cannot
 * be, abort. 0, or -1 with the errno of what failed. */
static inline int
store_finish(struct store *store, int result, int sync)
{
	if (result == 0 && store_commit(store, sync) == 0)
		return (0);
	store_abort(store);
	return (-1);
}

/* 1 while the file system has no room that is safe to write into: nothing is
 * begun then (ENOSPC), for a write that fails half way breaks the store. */
int store_full(struct store *store);

/* STORE_OK; or why the database gave up, with errno for its text: only a new
 * process can help. */
enum store_error store_broken(const struct store *store);

/* Read a record of at most size bytes to data. 1, 0 when there is none, -1
 * with errno. */
int store_get(struct store *store, enum store_table table, const void *name,
    size_t name_length, void *data, size_t size, size_t *length);

/*
 * Call visit for every record of the table; data is in locked memory and
 * wiped afterwards. visit must not change the store and stops the walk with
 * -1. 0 or -1.
 */
typedef int (*store_visit)(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length);
int store_walk(
    struct store *store, enum store_table table, store_visit visit, void *arg);

/*
 * Rotate the store key. begin, then step until it says 0 (done: the old key
 * is destroyed, old logs are removed); each step re-seals at most count
 * records in a transaction of its own, so none may be open. 1: more to do.
 * -1: failed, try step again later.
 */
int store_rotate_begin(struct store *store);
int store_rotate_step(struct store *store, size_t count);
int store_rotating(const struct store *store);

/* Keep the logs short. Call now and then. */
void store_checkpoint(struct store *store);

/* Every record as a line of text, unsealed (tests, changes of format); and
 * back. 0 or -1. */
int store_dump(struct store *store, FILE *file);
int store_load(struct store *store, FILE *file);

#endif
