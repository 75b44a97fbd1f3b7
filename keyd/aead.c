/*
 * keyd only. Sealing and opening one message; see aead.h. libsodium does it,
 * but for long ones under AES: libcrypto, which needs longer to begin, is
 * then more than twice as fast. The bytes are the same.
 */

#include <limits.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "keyd/aead.h"

#define LONG 2048 /* from here on libcrypto is faster, measured */

/* Kept for the next message; what it knew of the key is wiped after each. */
static EVP_CIPHER_CTX *
long_context(const struct aead *aead, size_t length)
{
	static EVP_CIPHER_CTX *context;

	if (!aead->aes || length < LONG || length > INT_MAX)
		return (NULL);
	if (context == NULL)
		context = EVP_CIPHER_CTX_new();
	return (context);
}

/* 1 when it is done. */
static int
long_seal(EVP_CIPHER_CTX *context, const struct aead *aead, const uint8_t *in,
    size_t length, uint8_t *out)
{
	int n;

	return (EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, aead->key,
		    aead->nonce) == 1 &&
		EVP_EncryptUpdate(
		    context, NULL, &n, aead->aad, (int)aead->aad_length) == 1 &&
		EVP_EncryptUpdate(context, out, &n, in, (int)length) == 1 &&
		EVP_EncryptFinal_ex(context, out + length, &n) == 1 &&
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, AEAD_TAG,
		    out + length) == 1);
}

/* 1 when it opens. */
static int
long_open(EVP_CIPHER_CTX *context, const struct aead *aead, const uint8_t *in,
    size_t length, uint8_t *out)
{
	uint8_t tag[AEAD_TAG];
	int n;

	length -= AEAD_TAG;
	/* It is not const for getting one. */
	memcpy(tag, in + length, AEAD_TAG);
	return (EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, aead->key,
		    aead->nonce) == 1 &&
		EVP_DecryptUpdate(
		    context, NULL, &n, aead->aad, (int)aead->aad_length) == 1 &&
		EVP_DecryptUpdate(context, out, &n, in, (int)length) == 1 &&
		EVP_CIPHER_CTX_ctrl(
		    context, EVP_CTRL_GCM_SET_TAG, AEAD_TAG, tag) == 1 &&
		EVP_DecryptFinal_ex(context, out + length, &n) == 1);
}

void
aead_seal(
    const struct aead *aead, const uint8_t *in, size_t length, uint8_t *out)
{
	EVP_CIPHER_CTX *context = long_context(aead, length);
	int done = 0;

	if (context != NULL) {
		done = long_seal(context, aead, in, length, out);
		(void)EVP_CIPHER_CTX_reset(context);
	}
	if (done)
		return;
	if (aead->aes)
		(void)crypto_aead_aes256gcm_encrypt(out, NULL, in, length,
		    aead->aad, aead->aad_length, NULL, aead->nonce, aead->key);
	else
		(void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in,
		    length, aead->aad, aead->aad_length, NULL, aead->nonce,
		    aead->key);
}

int
aead_open(
    const struct aead *aead, const uint8_t *in, size_t length, uint8_t *out)
{
	EVP_CIPHER_CTX *context = long_context(aead, length);
	int done = 0;

	if (context != NULL) {
		done = long_open(context, aead, in, length, out);
		(void)EVP_CIPHER_CTX_reset(context);
	}
	if (done)
		return (0);
	/* Also what libcrypto had no memory for; this wipes out. */
	if (aead->aes)
		return (
		    crypto_aead_aes256gcm_decrypt(out, NULL, NULL, in, length,
			aead->aad, aead->aad_length, aead->nonce, aead->key));
	return (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in,
	    length, aead->aad, aead->aad_length, aead->nonce, aead->key));
}
