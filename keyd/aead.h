/*
 * keyd only. The two ciphers of the tieline ratchet, AES-256-GCM and
 * ChaCha20-Poly1305-IETF. A key is used once.
 */
#ifndef KEYD_AEAD_H
#define KEYD_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

#define AEAD_TAG   16
#define AEAD_NONCE 12

/* One message. aes: only where crypto_aead_aes256gcm_is_available(). */
struct aead {
	int aes;
	const uint8_t *key; /* KEY_SIZE */
	uint8_t nonce[AEAD_NONCE];
	const uint8_t *aad;
	size_t aad_length;
};

/* Seal length bytes of in to out (length + AEAD_TAG). */
void aead_seal(
    const struct aead *aead, const uint8_t *in, size_t length, uint8_t *out);

/* Open length (>= AEAD_TAG) bytes of in to out (length - AEAD_TAG). 0, or -1
 * with nothing in out. */
int aead_open(
    const struct aead *aead, const uint8_t *in, size_t length, uint8_t *out);

#endif
