/*
 * Tests only. Who plays in a mesh, and what each of them can prove: keys,
 * membership, TLS certificates with a binding, attestations, set-ups,
 * tickets, descriptors and presence. Include once, with PLAYED_CHECK defined.
 */
#ifndef REGRESS_UNIT_MESH_CAST_H
#define REGRESS_UNIT_MESH_CAST_H

#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sodium.h>

#include "common/ipc/messages.h"
#include "common/sign/statement.h"
#include "common/sign/ticket.h"
#include "common/util/clock.h"
#include "mesh/wire.h"

#define YEAR (INT64_C(365) * 86400 * CLOCK_SECOND)

/* Not every test uses every helper. */
#ifndef HELPER
#define HELPER static __attribute__((unused))
#endif

struct keys {
	uint8_t public[KEY_SIZE];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
};

HELPER void
keys_make(struct keys *keys)
{
	crypto_sign_keypair(keys->public, keys->secret);
}

/* --- X.509 with a binding ------------------------------------------------ */

HELPER void
spki_hash(EVP_PKEY *tls, uint8_t hash[KEY_SIZE])
{
	uint8_t *der = NULL;
	int length = i2d_PUBKEY(tls, &der);

	PLAYED_CHECK(length > 0);
	crypto_hash_sha256(hash, der, (size_t)length);
	OPENSSL_free(der);
}

/* certificate: NULL for one that is in no mesh. */
HELPER void
cast_binding(const char *name, const struct keys *keys,
    const uint8_t spki[KEY_SIZE], const struct certificate *certificate,
    struct binding *binding)
{
	uint8_t bytes[BINDING_SIGNED_MAX];
	size_t length;

	memset(binding, 0, sizeof(*binding));
	(void)strlcpy(binding->node_id, name, NODE_ID_SIZE);
	memcpy(binding->node_key, keys->public, KEY_SIZE);
	length = binding_signed_bytes(binding, spki, bytes);
	crypto_sign_detached(
	    binding->signature, NULL, bytes, length, keys->secret);
	if (certificate == NULL)
		return;
	binding->has_certificate = 1;
	binding->certificate = *certificate;
}

/* A self-signed certificate of tls; the caller frees it. */
HELPER X509 *
x509_make(EVP_PKEY *tls, const struct binding *binding)
{
	uint8_t bytes[BINDING_ENCODED_MAX];
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *object = OBJ_txt2obj(BINDING_OID, 1);
	X509_EXTENSION *extension;
	X509 *x509 = X509_new();

	(void)X509_set_version(x509, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(x509), 0);
	(void)X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
	(void)X509_set_pubkey(x509, tls);
	PLAYED_CHECK(ASN1_OCTET_STRING_set(value, bytes,
			 (int)binding_encode(binding, bytes)) == 1);
	extension = X509_EXTENSION_create_by_OBJ(NULL, object, 0, value);
	PLAYED_CHECK(X509_add_ext(x509, extension, -1) == 1);
	PLAYED_CHECK(X509_sign(x509, tls, EVP_sha256()) > 0);
	X509_EXTENSION_free(extension);
	ASN1_OBJECT_free(object);
	ASN1_OCTET_STRING_free(value);
	return (x509);
}

/* The same as PEM. */
HELPER char *
pem_make(EVP_PKEY *tls, const struct binding *binding)
{
	X509 *x509 = x509_make(tls, binding);
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *pem;
	long size;

	PLAYED_CHECK(PEM_write_bio_X509(bio, x509) == 1);
	size = BIO_get_mem_data(bio, &data);
	pem = strndup(data, (size_t)size);
	X509_free(x509);
	BIO_free(bio);
	return (pem);
}

/* --- what others sign ---------------------------------------------------- */

HELPER void
cast_certify(const struct keys *authority, const char *name,
    const uint8_t node_key[KEY_SIZE], uint64_t serial, int64_t not_after,
    struct certificate *certificate)
{
	uint8_t bytes[CERTIFICATE_SIGNED_MAX];
	size_t length;

	memset(certificate, 0, sizeof(*certificate));
	mesh_id_make(certificate->mesh_id, authority->public);
	(void)strlcpy(certificate->node_id, name, NODE_ID_SIZE);
	memcpy(certificate->node_key, node_key, KEY_SIZE);
	certificate->serial = serial;
	certificate->not_after = not_after;
	length = certificate_signed_bytes(certificate, bytes);
	crypto_sign_detached(
	    certificate->signature, NULL, bytes, length, authority->secret);
}

HELPER void
cast_ticket(const struct keys *authority,
    const uint8_t secret[TICKET_SECRET_SIZE], const uint8_t node_key[KEY_SIZE],
    const char *endpoint, struct ticket *made)
{
	uint8_t bytes[TICKET_ENCODED_MAX];
	size_t length;

	memset(made, 0, sizeof(*made));
	mesh_id_make(made->mesh_id, authority->public);
	memcpy(made->authority, authority->public, KEY_SIZE);
	memcpy(made->secret, secret, TICKET_SECRET_SIZE);
	made->expires_at = clock_wall() + 3600 * CLOCK_SECOND;
	made->endpoint_count = 1;
	memcpy(made->endpoints[0].node_key, node_key, KEY_SIZE);
	(void)strlcpy(made->endpoints[0].endpoint, endpoint, ENDPOINT_SIZE);
	length = ticket_signed_bytes(made, bytes);
	crypto_sign_detached(
	    made->signature, NULL, bytes, length, authority->secret);
}

HELPER void
cast_attest(const struct keys *app, const char *name,
    const uint8_t node_key[KEY_SIZE], struct attestation *attestation)
{
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	size_t length;

	memset(attestation, 0, sizeof(*attestation));
	attestation->kind = ATTESTATION_V2;
	memcpy(attestation->app_key, app->public, KEY_SIZE);
	memcpy(attestation->node_key, node_key, KEY_SIZE);
	(void)strlcpy(attestation->node_id, name, NODE_ID_SIZE);
	attestation->issued_at = clock_wall();
	attestation->expires_at = attestation->issued_at + 3600 * CLOCK_SECOND;
	length = attestation_signed_bytes(attestation, bytes);
	crypto_sign_detached(
	    attestation->signature, NULL, bytes, length, app->secret);
}

/* The set-up of from, on the node here, for its chat with to. */
HELPER void
cast_setup(struct ipc_setup *setup, const char *chat_id,
    const struct keys *from, const struct keys *here, const struct keys *to,
    const uint8_t there[KEY_SIZE])
{
	struct offer *offer = &setup->offer;
	uint8_t bytes[OFFER_SIGNED];
	int lo;

	memset(setup, 0, sizeof(*setup));
	(void)strlcpy(setup->chat_id, chat_id, CHAT_ID_SIZE);
	PLAYED_CHECK(
	    chat_key_make(&setup->key, chat_id, from->public, to->public) == 0);
	lo = setup->key.side == CHAT_LO;
	memcpy(offer->handle, setup->key.handle, KEY_SIZE);
	offer->version = 1;
	offer->side = setup->key.side;
	memcpy(lo ? offer->app_lo : offer->app_hi, from->public, KEY_SIZE);
	memcpy(lo ? offer->app_hi : offer->app_lo, to->public, KEY_SIZE);
	memcpy(lo ? offer->node_lo : offer->node_hi, here->public, KEY_SIZE);
	memcpy(lo ? offer->node_hi : offer->node_lo, there, KEY_SIZE);
	memset(offer->ephemeral, 9, KEY_SIZE);
	offer_signed_bytes(offer, bytes);
	crypto_sign_detached(
	    offer->signature, NULL, bytes, sizeof(bytes), here->secret);
	memcpy(setup->node, there, KEY_SIZE);
}

/* --- what a node states of itself ---------------------------------------- */

HELPER void
cast_state(enum statement_kind kind, const char *name, const struct keys *keys,
    uint64_t number, const uint8_t digest[KEY_SIZE],
    uint8_t signature[SIGNATURE_SIZE])
{
	uint8_t bytes[STATEMENT_SIGNED_MAX];
	size_t length = statement_signed_bytes(
	    kind, name, keys->public, number, digest, bytes);

	crypto_sign_detached(signature, NULL, bytes, length, keys->secret);
}

/* A signed descriptor, on the heap; holds: it says that the mesh key is there. */
HELPER struct Nodemesh__V1__NodeDescriptor *
cast_descriptor(const char *name, const struct keys *keys,
    const uint8_t spki[KEY_SIZE], const struct certificate *certificate,
    uint64_t incarnation, int holds)
{
	struct ipc_identity identity = { .unlocked = 1, .in_mesh = 1 };
	struct Nodemesh__V1__NodeDescriptor *node;
	uint8_t digest[KEY_SIZE];

	(void)strlcpy(identity.node_id, name, NODE_ID_SIZE);
	memcpy(identity.node_key, keys->public, KEY_SIZE);
	memcpy(identity.mesh_spki, spki, KEY_SIZE);
	identity.certificate = *certificate;
	identity.authority = (uint32_t)holds;
	node = wire_descriptor_own(&identity, incarnation, "127.0.0.1:1", "");
	PLAYED_CHECK(node != NULL);
	wire_descriptor_digest(node, digest);
	cast_state(STATEMENT_DESCRIPTOR, name, keys, incarnation, digest,
	    node->signature.data);
	return (node);
}

/* Sign a sync of the node; signature has room and is what it points to. */
HELPER void
cast_sync(struct Nodemesh__V1__AppSync *sync, const char *name,
    const struct keys *keys, uint8_t signature[SIGNATURE_SIZE])
{
	uint8_t digest[KEY_SIZE];

	wire_presence_digest(sync, digest);
	cast_state(
	    STATEMENT_PRESENCE, name, keys, sync->sequence, digest, signature);
	sync->signature.data = signature;
	sync->signature.len = SIGNATURE_SIZE;
}

#endif
