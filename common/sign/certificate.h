/*
 * Any process. The membership certificate: the mesh authority's word that a
 * node of this name and key belongs to the mesh. And the binding: the node's
 * word, carried in an X.509 extension, that a TLS key is its own.
 */
#ifndef COMMON_SIGN_CERTIFICATE_H
#define COMMON_SIGN_CERTIFICATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

struct certificate {
	uint8_t mesh_id[KEY_SIZE];
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
	uint64_t serial;
	int64_t not_after;                 /* ns since the epoch */
	uint8_t signature[SIGNATURE_SIZE]; /* by the authority */
};

/* "hermes-member-v1" || LP(mesh_id) || LP(node_id) || LP(node_key) ||
 * BE64(serial) || BE64(not_after). Returns the length. */
#define CERTIFICATE_SIGNED_MAX 256
size_t certificate_signed_bytes(
    const struct certificate *certificate, uint8_t out[CERTIFICATE_SIGNED_MAX]);

/* 0, or -1 with errno EINVAL (form, mesh_id is not authority's), EACCES
 * (signature), ETIME (expired at now, ns since the epoch). */
int certificate_verify(const struct certificate *certificate,
    const uint8_t authority[KEY_SIZE], int64_t now);

/* As in NodeDescriptor.certificate and JoinResponse.certificate. */
#define CERTIFICATE_ENCODED 208
void certificate_encode(
    const struct certificate *certificate, uint8_t out[CERTIFICATE_ENCODED]);
int certificate_decode(
    struct certificate *certificate, const uint8_t *bytes, size_t length);

/*
 * What the X.509 certificate of a node's TLS key carries, in a non-critical
 * extension BINDING_OID, so that the TLS handshake itself proves which node
 * is at the other end. The extension's value is what binding_encode() makes.
 */
#define BINDING_OID "1.3.6.1.4.1.58888.7.1"

struct binding {
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
	uint8_t signature[SIGNATURE_SIZE]; /* by node_key */
	uint32_t has_certificate;
	uint32_t zero;
	struct certificate certificate; /* membership, when it has */
};

/* "hermes-tls-v1" || LP(node_id) || LP(node_key) || LP(spki_sha256). */
#define BINDING_SIGNED_MAX 192
size_t binding_signed_bytes(const struct binding *binding,
    const uint8_t spki_sha256[KEY_SIZE], uint8_t out[BINDING_SIGNED_MAX]);

#define BINDING_ENCODED_MAX 400
size_t binding_encode(
    const struct binding *binding, uint8_t out[BINDING_ENCODED_MAX]);
int binding_decode(
    struct binding *binding, const uint8_t *bytes, size_t length);

/*
 * Read the binding out of an X.509 certificate (DER) and check that its node
 * key signed the certificate's SPKI, and that a membership certificate in it
 * is of the same node (its authority's signature is the caller's to check).
 * spki_sha256 gets the hash. 0, or -1 with errno EINVAL (no or broken
 * binding) or EACCES (signature).
 */
int binding_from_x509(struct binding *binding, uint8_t spki_sha256[KEY_SIZE],
    const uint8_t *der, size_t length);

#endif
