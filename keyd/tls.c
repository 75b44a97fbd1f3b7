/*
 * keyd only. P-256 keys and signatures; see tls.h.
 */

/* EC_KEY is deprecated in OpenSSL 3.0; LibreSSL has nothing else. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <errno.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sodium.h>

#include "common/compat/secure_crypto.h"
#include "keyd/tls.h"
#include "keyd/tls_internal.h"

EC_KEY *
tls_key(const uint8_t key[P256_SIZE])
{
	EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	BIGNUM *number = secure_crypto_bignum();
	EC_POINT *point = NULL;
	int ok = 0;

	if (ec != NULL && number != NULL &&
	    BN_bin2bn(key, P256_SIZE, number) != NULL &&
	    (point = EC_POINT_new(EC_KEY_get0_group(ec))) != NULL &&
	    EC_KEY_set_private_key(ec, number) == 1 &&
	    EC_POINT_mul(
		EC_KEY_get0_group(ec), point, number, NULL, NULL, NULL) == 1 &&
	    EC_KEY_set_public_key(ec, point) == 1) {
		EC_KEY_set_asn1_flag(ec, OPENSSL_EC_NAMED_CURVE);
		ok = 1;
	}
	EC_POINT_free(point);
	BN_clear_free(number);
	if (!ok) {
		EC_KEY_free(ec);
		ERR_clear_error();
		return (NULL);
	}
	return (ec);
}

static int
key_bytes(const EC_KEY *ec, uint8_t key[P256_SIZE])
{
	const BIGNUM *number = EC_KEY_get0_private_key(ec);

	if (number == NULL || BN_bn2binpad(number, key, P256_SIZE) != P256_SIZE)
		return (-1);
	return (0);
}

int
tls_make_key(uint8_t key[P256_SIZE])
{
	EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	int result = -1;

	if (ec != NULL && EC_KEY_generate_key(ec) == 1)
		result = key_bytes(ec, key);
	EC_KEY_free(ec);
	ERR_clear_error();
	return (result);
}

int
tls_read_key(const char *pem, size_t length, uint8_t key[P256_SIZE])
{
	BIO *bio = BIO_new_mem_buf(pem, (int)length);
	EVP_PKEY *pkey = NULL;
	const EC_KEY *ec = NULL;
	int result = -1;

	/* No password is ever asked for. */
	if (bio != NULL && (pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL,
				(void *)(uintptr_t) "")) != NULL)
		ec = EVP_PKEY_get0_EC_KEY(pkey);
	if (ec != NULL && EC_GROUP_get_curve_name(EC_KEY_get0_group(ec)) ==
			      NID_X9_62_prime256v1)
		result = key_bytes(ec, key);
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	ERR_clear_error();
	if (result == -1)
		errno = EINVAL;
	return (result);
}

int
tls_spki(const uint8_t key[P256_SIZE], uint8_t spki_sha256[KEY_SIZE])
{
	EC_KEY *ec = tls_key(key);
	uint8_t *der = NULL;
	int length;

	if (ec == NULL)
		return (-1);
	length = i2d_EC_PUBKEY(ec, &der);
	EC_KEY_free(ec);
	if (length <= 0) {
		ERR_clear_error();
		return (-1);
	}
	(void)crypto_hash_sha256(spki_sha256, der, (size_t)length);
	OPENSSL_free(der);
	return (0);
}

void
tls_sign_digest(const uint8_t key[P256_SIZE],
    const struct ipc_sign_digest *digest, struct ipc_signed_digest *out)
{
	EC_KEY *ec;
	unsigned int length = 0;

	out->length = 0;
	if (digest->length < 20 || digest->length > sizeof(digest->digest) ||
	    (ec = tls_key(key)) == NULL)
		return;
	if ((size_t)ECDSA_size(ec) <= sizeof(out->signature) &&
	    ECDSA_sign(0, digest->digest, (int)digest->length, out->signature,
		&length, ec) == 1)
		out->length = length;
	EC_KEY_free(ec);
	ERR_clear_error();
}
