/*
 * Any process, any privileges; the X.509 certificate is the peer's and
 * hostile. Which node is at the other end of a TLS connection; see
 * certificate.h.
 */

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <sodium.h>

#include "common/sign/certificate.h"
#include "common/sign/encode.h"

#define TLS_DOMAIN "hermes-tls-v1"

size_t
binding_signed_bytes(const struct binding *binding,
    const uint8_t spki_sha256[KEY_SIZE], uint8_t out[BINDING_SIGNED_MAX])
{
	struct encoder encoder = { out, BINDING_SIGNED_MAX, 0, 0 };

	encode_text(&encoder, TLS_DOMAIN);
	encode_lp(&encoder, binding->node_id,
	    strnlen(binding->node_id, NODE_ID_SIZE));
	encode_lp(&encoder, binding->node_key, KEY_SIZE);
	encode_lp(&encoder, spki_sha256, KEY_SIZE);
	return (encoder.length);
}

/* LP(node_id), node_key, signature, u8 has_certificate, the certificate. */
size_t
binding_encode(const struct binding *binding, uint8_t out[BINDING_ENCODED_MAX])
{
	struct encoder encoder = { out, BINDING_ENCODED_MAX, 0, 0 };
	uint8_t certificate[CERTIFICATE_ENCODED];

	encode_lp(&encoder, binding->node_id,
	    strnlen(binding->node_id, NODE_ID_SIZE));
	encode_bytes(&encoder, binding->node_key, KEY_SIZE);
	encode_bytes(&encoder, binding->signature, SIGNATURE_SIZE);
	encode_u8(&encoder, binding->has_certificate ? 1 : 0);
	if (binding->has_certificate) {
		certificate_encode(&binding->certificate, certificate);
		encode_bytes(&encoder, certificate, sizeof(certificate));
	}
	return (encoder.length);
}

int
binding_decode(struct binding *binding, const uint8_t *bytes, size_t length)
{
	struct decoder decoder = { bytes, length, 0 };
	uint8_t certificate[CERTIFICATE_ENCODED];

	memset(binding, 0, sizeof(*binding));
	decode_lp_text(&decoder, binding->node_id, sizeof(binding->node_id));
	decode_bytes(&decoder, binding->node_key, KEY_SIZE);
	decode_bytes(&decoder, binding->signature, SIGNATURE_SIZE);
	binding->has_certificate = decode_u8(&decoder);
	if (binding->has_certificate == 1)
		decode_bytes(&decoder, certificate, sizeof(certificate));
	if (decode_done(&decoder) == -1 || binding->has_certificate > 1 ||
	    !node_id_valid(binding->node_id, strlen(binding->node_id))) {
		errno = EINVAL;
		return (-1);
	}
	if (binding->has_certificate)
		return (certificate_decode(
		    &binding->certificate, certificate, sizeof(certificate)));
	return (0);
}

/* The one extension BINDING_OID of x509, or NULL. Two are one too many. */
static const ASN1_OCTET_STRING *
binding_extension(X509 *x509)
{
	ASN1_OBJECT *object = OBJ_txt2obj(BINDING_OID, 1);
	int found = -1, second = -1;

	if (object == NULL)
		return (NULL);
	found = X509_get_ext_by_OBJ(x509, object, -1);
	if (found >= 0)
		second = X509_get_ext_by_OBJ(x509, object, found);
	ASN1_OBJECT_free(object);
	if (found < 0 || second >= 0)
		return (NULL);
	return (X509_EXTENSION_get_data(X509_get_ext(x509, found)));
}

static int
x509_spki_hash(X509 *x509, uint8_t spki_sha256[KEY_SIZE])
{
	uint8_t *der = NULL;
	int length;

	length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);
	if (length <= 0)
		return (-1);
	(void)crypto_hash_sha256(spki_sha256, der, (size_t)length);
	OPENSSL_free(der);
	return (0);
}

static int
binding_verify(
    const struct binding *binding, const uint8_t spki_sha256[KEY_SIZE])
{
	uint8_t bytes[BINDING_SIGNED_MAX];
	size_t length;

	if (binding->has_certificate &&
	    (strcmp(binding->certificate.node_id, binding->node_id) != 0 ||
		memcmp(binding->certificate.node_key, binding->node_key,
		    KEY_SIZE) != 0)) {
		errno = EINVAL;
		return (-1);
	}
	length = binding_signed_bytes(binding, spki_sha256, bytes);
	if (crypto_sign_verify_detached(
		binding->signature, bytes, length, binding->node_key) != 0) {
		errno = EACCES;
		return (-1);
	}
	return (0);
}

int
binding_from_x509(struct binding *binding, uint8_t spki_sha256[KEY_SIZE],
    const uint8_t *der, size_t length)
{
	const ASN1_OCTET_STRING *value;
	const uint8_t *at = der;
	X509 *x509 = NULL;
	int result = -1;

	errno = EINVAL;
	if (length > INT32_MAX ||
	    (x509 = d2i_X509(NULL, &at, (long)length)) == NULL ||
	    at != der + length || x509_spki_hash(x509, spki_sha256) == -1 ||
	    (value = binding_extension(x509)) == NULL) {
		errno = EINVAL;
		goto done;
	}
	if (binding_decode(binding, ASN1_STRING_get0_data(value),
		(size_t)ASN1_STRING_length(value)) == 0)
		result = binding_verify(binding, spki_sha256);
done:
	if (x509 != NULL) {
		int saved = errno;

		X509_free(x509);
		errno = saved;
	}
	return (result);
}
