/*
 * keyd only. What makes the store unreadable: the passphrase opens the
 * keyring file, the keyring holds the store key, the store key seals records.
 *
 * The keyring has two slots for store keys. A rotation writes a new key into
 * the vacant slot; once every live record is sealed with it the old slot is
 * overwritten in place: then nothing opens what is left of old records in
 * logs and free pages.
 */
#ifndef KEYD_SEAL_H
#define KEYD_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

#define SEAL_FILE     "keyring"
/* Bytes that sealing adds: key number, nonce, tag. */
#define SEAL_OVERHEAD (8 + 24 + 16)

struct seal;

/* 1 when the folder has a keyring, 0 when not, -1 with errno. */
int seal_exists(int folder);

/*
 * Make the keyring of a new store: fresh keys under the passphrase, Argon2id
 * with ops and memory (bytes). Atomic and on disk when it returns. 0 or -1
 * with errno.
 */
int seal_create(int folder, const char *passphrase, size_t length, uint64_t ops,
    uint64_t memory);

/* Finish or take back a change of the passphrase that was cut off; before
 * anything else. 0 or -1 with errno. */
int seal_recover(int folder);

/* Open the keyring. NULL with errno EACCES (wrong passphrase), EINVAL (not a
 * keyring), or another. seal_close() wipes. */
struct seal *seal_open(int folder, const char *passphrase, size_t length);
void seal_close(struct seal *seal);

/* A record's key in the database: a keyed hash of its name, so that the file
 * shows no name. Does not change with the store key. */
void seal_name(const struct seal *seal, uint8_t table, const void *name,
    size_t length, uint8_t key[KEY_SIZE]);

/* Seal with the newest store key; out has room for length + SEAL_OVERHEAD. */
void seal_record(const struct seal *seal, uint8_t table,
    const uint8_t key[KEY_SIZE], const uint8_t *plain, size_t length,
    uint8_t *out);

/* Open a sealed record; plain has room for length - SEAL_OVERHEAD. 0, or -1
 * with errno EACCES. */
int seal_open_record(const struct seal *seal, uint8_t table,
    const uint8_t key[KEY_SIZE], const uint8_t *sealed, size_t length,
    uint8_t *plain);

/* 1 when a sealed record is under the newest store key. */
int seal_is_current(
    const struct seal *seal, const uint8_t *sealed, size_t length);

/* A second key exists: a rotation is under way (or was cut off). */
int seal_rotating(const struct seal *seal);

/* Begin: a new key, on disk when it returns. End: destroy the old key in
 * place, on disk when it returns. 0 or -1 with errno. */
int seal_rotate_begin(struct seal *seal);
int seal_rotate_end(struct seal *seal);

/* Is this the passphrase? Costs what opening does. 1, 0, or -1 with errno. */
int seal_prove(const struct seal *seal, const char *passphrase, size_t length);

/*
 * From now on this passphrase opens the keyring, and none before it: what the
 * old one opened is destroyed in place, on disk when it returns. 0; -1 with
 * errno and nothing changed; 1: changed, but what the old one opened is still
 * there, until seal_recover().
 */
int seal_change(struct seal *seal, int folder, const char *passphrase,
    size_t length, uint64_t ops, uint64_t memory);

#endif
