/*
 * keyd only. The P-256 keys of TLS: making them, the X.509 certificates for
 * them, and the signatures that router and mesh ask for in a handshake. The
 * private keys are 32 bytes in locked memory (identity.h); libcrypto has one
 * for as long as an operation takes, in locked memory of its own.
 */
#ifndef KEYD_TLS_H
#define KEYD_TLS_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "keyd/identity.h"

/* The longest PEM of a certificate made here. */
#define TLS_PEM_MAX 16384

/* Give libcrypto locked memory for private keys, and have it wipe all that
 * it frees. Once, before all else of it. 0 or -1. */
int tls_lock_memory(void);

/* A fresh private key. 0 or -1. */
int tls_make_key(uint8_t key[P256_SIZE]);

/* The private key in a PEM, which must be of P-256. 0, or -1 with errno
 * EINVAL. */
int tls_read_key(const char *pem, size_t length, uint8_t key[P256_SIZE]);

/* SHA-256 of the key's SubjectPublicKeyInfo. 0 or -1. */
int tls_spki(const uint8_t key[P256_SIZE], uint8_t spki_sha256[KEY_SIZE]);

/* ECDSA over a digest; length 0 in the answer when it is refused. */
void tls_sign_digest(const uint8_t key[P256_SIZE],
    const struct ipc_sign_digest *digest, struct ipc_signed_digest *out);

/*
 * The self-signed certificate for apps, with the names and addresses of the
 * config: the one in the store as long as it fits and lives, else a new one.
 * PEM with NUL to pem. 0 or -1.
 */
int tls_app_certificate(const struct identity *identity, struct store *store,
    const struct config *config, int64_t now, char pem[TLS_PEM_MAX]);

/* The certificate for other nodes, which carries the binding. 0 or -1. */
int tls_mesh_certificate(
    const struct identity *identity, int64_t now, char pem[TLS_PEM_MAX]);

#endif
