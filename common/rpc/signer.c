/*
 * Router and mesh: TLS private keys live in keyd. OpenSSL's default EC key
 * method is replaced by one that sends the digest elsewhere to be signed.
 *
 * A key without its private half is this process's identity, made by libtls
 * from the certificate; the public-key hash libtls would identify it by is
 * not there when OpenSSL signs, hence one identity a process. A key that has
 * its private half (clients, tests) signs here.
 */

/* EC_KEY_METHOD is deprecated in OpenSSL 3.0, and libtls has nothing else. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <string.h>

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>

#include "common/rpc/internal.h"
#include "common/util/log.h"

#define SIGNATURE_ROOM 80 /* promised by rpc_sign; P-256 needs 72 */

static struct {
	rpc_sign sign;
	void *arg;
	EC_KEY_METHOD *method;
} signer;

static int signer_sign(int, const unsigned char *, int, unsigned char *,
    unsigned int *, const BIGNUM *, const BIGNUM *, EC_KEY *);

void
rpc_tls_set_signer(rpc_sign sign, void *arg)
{
	int (*setup)(EC_KEY *, BN_CTX *, BIGNUM **, BIGNUM **);
	ECDSA_SIG *(*plain)(const unsigned char *, int, const BIGNUM *,
	    const BIGNUM *, EC_KEY *);

	signer.sign = sign;
	signer.arg = arg;
	if (signer.method != NULL)
		return;
	signer.method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
	if (signer.method == NULL)
		fatal("signer_failed", "reason=memory");
	EC_KEY_METHOD_get_sign(EC_KEY_OpenSSL(), NULL, &setup, &plain);
	EC_KEY_METHOD_set_sign(signer.method, signer_sign, setup, plain);
	EC_KEY_set_default_method(signer.method);
}

int
rpc_signer_set(void)
{
	return (signer.sign != NULL);
}

static int
signer_sign(int type, const unsigned char *digest, int length,
    unsigned char *signature, unsigned int *signature_length,
    const BIGNUM *inverse, const BIGNUM *r, EC_KEY *key)
{
	int (*local)(int, const unsigned char *, int, unsigned char *,
	    unsigned int *, const BIGNUM *, const BIGNUM *, EC_KEY *);
	uint8_t room[SIGNATURE_ROOM];
	size_t made = sizeof(room);
	int most;

	if (EC_KEY_get0_private_key(key) != NULL) {
		EC_KEY_METHOD_get_sign(EC_KEY_OpenSSL(), &local, NULL, NULL);
		return (local(type, digest, length, signature, signature_length,
		    inverse, r, key));
	}
	most = ECDSA_size(key);
	if (length <= 0 || most <= 0 || signer.sign == NULL ||
	    signer.sign(signer.arg, digest, (size_t)length, room, &made) ==
		-1 ||
	    made == 0 || made > sizeof(room) || made > (size_t)most) {
		ERR_raise(ERR_LIB_EC, ERR_R_OPERATION_FAIL);
		return (0);
	}
	memcpy(signature, room, made);
	*signature_length = (unsigned int)made;
	return (1);
}
