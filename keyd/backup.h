/*
 * keyd only. A backup: who this node is and what it decided, as one sealed
 * file. In it are the tables NODE, TICKET, NAME, PEER and REVOKED of the
 * store; never a chat: an old ratchet put back would use keys twice (L13).
 *
 * The file:
 *
 *	"hermes-backup1" NUL NUL, Argon2id ops and memory, salt (header)
 *	XChaCha20-Poly1305 secretstream header
 *	frames: u32 length || sealed bytes; the header is additional data
 *
 * The first frame says which node it is of and when it was made, each other
 * is a record (u8 table, u16 length of name, name, data); the last one is
 * marked as such and holds their number. The key is Argon2id of the
 * backup's own passphrase. Numbers are big-endian.
 */
#ifndef KEYD_BACKUP_H
#define KEYD_BACKUP_H

#include <stddef.h>
#include <stdint.h>

#include "keyd/identity.h"

struct store;

struct backup_passphrase {
	const char *bytes; /* in locked memory */
	size_t length;
};

/*
 * Write a backup to fd, an empty regular file, and sync it. ops and memory
 * are Argon2id's. NULL, or why not; the file is worthless then.
 */
const char *backup_write(int fd, struct store *store, const char *node_id,
    const struct backup_passphrase *passphrase, uint64_t ops, uint64_t memory,
    int64_t now, size_t *records);

/* May a backup be put in without force: does the store hold nothing but the
 * identity of a node that never joined a mesh or had a chat? 1, 0 or -1. */
int backup_store_is_new(struct store *store);

/*
 * Replace all that the store holds by what the backup in fd does, in one
 * transaction; numbers that the node may have signed since the backup are
 * skipped. NULL, or why not and nothing changed. What the process has in
 * memory is then of another life.
 */
const char *backup_read(int fd, struct store *store, const char *node_id,
    const struct backup_passphrase *passphrase, size_t *records);

#endif
