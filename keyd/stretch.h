/*
 * keyd only. What a passphrase becomes: a key, by Argon2id, with parameters
 * that stand at the head of the file that the key opens.
 */
#ifndef KEYD_STRETCH_H
#define KEYD_STRETCH_H

#include <stddef.h>
#include <stdint.h>

#include <sodium.h>

#include "common/ipc/messages.h"

#define STRETCH_MAGIC 16 /* bytes; the kind of file */
#define STRETCH_HEAD  (STRETCH_MAGIC + 8 + 8 + crypto_pwhash_SALTBYTES)

/* Head of a new file: its kind, so many passes over so many bytes of memory
 * (keystore argon2 of hermesd.conf(5)), a fresh salt. */
void stretch_head(uint8_t head[STRETCH_HEAD], const char magic[STRETCH_MAGIC],
    uint64_t ops, uint64_t memory);

/*
 * The key that a passphrase of length bytes is with this head. 0, or -1 with
 * errno EINVAL (not that kind of file, or parameters that no configuration
 * has) or ENOMEM. The caller wipes it.
 */
int stretch_key(const uint8_t head[STRETCH_HEAD],
    const char magic[STRETCH_MAGIC], const char *passphrase, size_t length,
    uint8_t key[KEY_SIZE]);

#endif
