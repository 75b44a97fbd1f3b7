/*
 * mesh, unprivileged; node bytes are hostile. See wire.h: canonical bytes of
 * statements, and descriptors and registrations checked before use.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/statement.h"
#include "common/util/hex.h"
#include "mesh/wire.h"

#define WIRE_V1_BYTES_MAX 16384

/* SHA-256 fed as the encoder would write, without a buffer. */
static void
hash_u32(crypto_hash_sha256_state *state, uint32_t value)
{
	uint8_t bytes[4];

	for (int i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(value >> (24 - 8 * i));
	crypto_hash_sha256_update(state, bytes, sizeof(bytes));
}

static void
hash_u64(crypto_hash_sha256_state *state, uint64_t value)
{
	hash_u32(state, (uint32_t)(value >> 32));
	hash_u32(state, (uint32_t)value);
}

static void
hash_lp(crypto_hash_sha256_state *state, const void *bytes, size_t length)
{
	hash_u32(state, (uint32_t)length);
	if (length > 0)
		crypto_hash_sha256_update(state, bytes, length);
}

static void
hash_text(crypto_hash_sha256_state *state, const char *text)
{
	hash_lp(state, text, strlen(text));
}

/*
 * The two metadata maps differ only in type; both entries are a base, a key
 * and a value, which the compiler checks here.
 */
static void
node_metadata_hash(
    const struct Nodemesh__V1__NodeDescriptor *node, uint8_t hash[KEY_SIZE])
{
	struct metadata_pair *pairs;
	size_t i, count = node->n_metadata;

	pairs = calloc(count + 1, sizeof(*pairs));
	if (pairs == NULL) {
		memset(hash, 0, KEY_SIZE);
		return;
	}
	for (i = 0; i < count; i++) {
		pairs[i].key = node->metadata[i]->key;
		pairs[i].key_length = strlen(pairs[i].key);
		pairs[i].value = node->metadata[i]->value;
		pairs[i].value_length = strlen(pairs[i].value);
	}
	metadata_hash(hash, pairs, count);
	free(pairs);
}

/* NULL when memory is short. */
static struct metadata_pair *
app_metadata_pairs(const struct Nodemesh__V1__AppRegistration *app)
{
	struct metadata_pair *pairs;
	size_t i;

	pairs = calloc(app->n_metadata + 1, sizeof(*pairs));
	if (pairs == NULL)
		return (NULL);
	for (i = 0; i < app->n_metadata; i++) {
		pairs[i].key = app->metadata[i]->key;
		pairs[i].key_length = strlen(pairs[i].key);
		pairs[i].value = app->metadata[i]->value;
		pairs[i].value_length = strlen(pairs[i].value);
	}
	return (pairs);
}

static void
app_metadata_hash(
    const struct Nodemesh__V1__AppRegistration *app, uint8_t hash[KEY_SIZE])
{
	struct metadata_pair *pairs;

	memset(hash, 0, KEY_SIZE);
	if ((pairs = app_metadata_pairs(app)) == NULL)
		return;
	metadata_hash(hash, pairs, app->n_metadata);
	free(pairs);
}

size_t
wire_descriptor_body(const struct Nodemesh__V1__NodeDescriptor *node,
    uint8_t out[VOUCHER_BODY_MAX])
{
	struct encoder e = { .bytes = out, .size = VOUCHER_BODY_MAX };
	uint8_t hash[KEY_SIZE];
	size_t i;

	node_metadata_hash(node, hash);
	encode_lp(&e, node->endpoint, strlen(node->endpoint));
	encode_lp(&e, node->wallet, strlen(node->wallet));
	encode_lp(&e, node->tls_spki_sha256.data, node->tls_spki_sha256.len);
	encode_lp(&e, node->certificate.data, node->certificate.len);
	encode_lp(&e, hash, sizeof(hash));
	encode_u32(&e, (uint32_t)node->n_capabilities);
	for (i = 0; i < node->n_capabilities; i++)
		encode_lp(
		    &e, node->capabilities[i], strlen(node->capabilities[i]));
	return (e.failed ? 0 : e.length);
}

void
wire_descriptor_digest(
    const struct Nodemesh__V1__NodeDescriptor *node, uint8_t digest[KEY_SIZE])
{
	uint8_t body[VOUCHER_BODY_MAX];

	(void)crypto_hash_sha256(
	    digest, body, wire_descriptor_body(node, body));
}

void
wire_leave_digest(const uint8_t mesh_id[KEY_SIZE], uint8_t digest[KEY_SIZE])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	hash_lp(&state, mesh_id, KEY_SIZE);
	crypto_hash_sha256_final(&state, digest);
}

void
wire_presence_digest(
    const struct Nodemesh__V1__AppSync *sync, uint8_t digest[KEY_SIZE])
{
	crypto_hash_sha256_state state;
	uint8_t hash[KEY_SIZE], flag;
	size_t i;

	crypto_hash_sha256_init(&state);
	flag = sync->full != 0;
	crypto_hash_sha256_update(&state, &flag, 1);
	hash_u32(&state, (uint32_t)sync->n_apps);
	for (i = 0; i < sync->n_apps; i++) {
		const struct Nodemesh__V1__AppRegistration *app = sync->apps[i];

		hash_text(&state, app->app_id);
		hash_text(&state, app->session_id);
		app_metadata_hash(app, hash);
		hash_lp(&state, hash, sizeof(hash));
		hash_u64(&state, (uint64_t)app->connected_at_nanos);
		hash_lp(&state, app->attestation.data, app->attestation.len);
		flag = app->departed != 0;
		crypto_hash_sha256_update(&state, &flag, 1);
		hash_u64(&state, app->sequence);
	}
	crypto_hash_sha256_final(&state, digest);
}

void
wire_join_digest(const uint8_t secret[TICKET_SECRET_SIZE],
    const uint8_t nonce[KEY_SIZE], const uint8_t server[KEY_SIZE],
    uint8_t digest[KEY_SIZE])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, secret, TICKET_SECRET_SIZE);
	crypto_hash_sha256_update(&state, nonce, KEY_SIZE);
	crypto_hash_sha256_update(&state, server, KEY_SIZE);
	crypto_hash_sha256_final(&state, digest);
}

void
wire_revocation_digest(int64_t revoked_at, uint8_t digest[KEY_SIZE])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	hash_u64(&state, (uint64_t)revoked_at);
	crypto_hash_sha256_final(&state, digest);
}

int
wire_text(char *out, size_t size, const char *text)
{
	size_t i, length = strlen(text);

	if (length >= size)
		return (-1);
	for (i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return (-1);
	memset(out, 0, size);
	(void)strlcpy(out, text, size);
	return (0);
}

int
wire_app_key(const char *app_id, uint8_t key[KEY_SIZE])
{
	if (strlen(app_id) != APP_ID_LENGTH)
		return (-1);
	return (hex_decode(key, KEY_SIZE, app_id));
}

static int
descriptor_bounds(const struct Nodemesh__V1__NodeDescriptor *node)
{
	if (node->n_metadata > WIRE_METADATA_MAX ||
	    node->n_capabilities > WIRE_CAPABILITIES_MAX)
		return (-1);
	if (nodemesh__v1__node_descriptor__get_packed_size(node) >
	    WIRE_DESCRIPTOR_MAX)
		return (-1);
	return (0);
}

int
wire_descriptor_read(
    struct descriptor *out, const struct Nodemesh__V1__NodeDescriptor *node)
{
	size_t i;

	errno = EINVAL;
	memset(out, 0, sizeof(*out));
	if (descriptor_bounds(node) == -1 ||
	    !node_id_valid(node->node_id, strlen(node->node_id)) ||
	    wire_text(out->node_id, sizeof(out->node_id), node->node_id) ==
		-1 ||
	    wire_text(out->endpoint, sizeof(out->endpoint), node->endpoint) ==
		-1)
		return (-1);
	if (node->identity_key.len != KEY_SIZE ||
	    node->tls_spki_sha256.len != KEY_SIZE ||
	    node->signature.len != SIGNATURE_SIZE)
		return (-1);
	memcpy(out->node_key, node->identity_key.data, KEY_SIZE);
	memcpy(out->tls_spki, node->tls_spki_sha256.data, KEY_SIZE);
	memcpy(out->signature, node->signature.data, SIGNATURE_SIZE);
	out->incarnation = node->incarnation;
	for (i = 0; i < node->n_metadata; i++)
		if (strcmp(node->metadata[i]->key, "app_endpoint") == 0 &&
		    wire_text(out->app_endpoint, sizeof(out->app_endpoint),
			node->metadata[i]->value) == -1)
			return (-1);
	for (i = 0; i < node->n_capabilities; i++)
		if (strcmp(node->capabilities[i], WIRE_AUTHORITY) == 0)
			out->authority = 1;
	if (node->certificate.len == 0)
		return (0);
	if (certificate_decode(&out->certificate, node->certificate.data,
		node->certificate.len) == -1) {
		errno = EINVAL;
		return (-1);
	}
	out->has_certificate = 1;
	return (0);
}

int
wire_descriptor_verify(const struct descriptor *read,
    const struct Nodemesh__V1__NodeDescriptor *node, const uint8_t *authority,
    int64_t now)
{
	uint8_t digest[KEY_SIZE];

	if (authority != NULL) {
		if (!read->has_certificate ||
		    strcmp(read->certificate.node_id, read->node_id) != 0 ||
		    memcmp(read->certificate.node_key, read->node_key,
			KEY_SIZE) != 0) {
			errno = EINVAL;
			return (-1);
		}
		if (certificate_verify(&read->certificate, authority, now) ==
		    -1)
			return (-1);
	}
	wire_descriptor_digest(node, digest);
	return (statement_verify(STATEMENT_DESCRIPTOR, read->node_id,
	    read->node_key, read->incarnation, digest, read->signature,
	    read->node_key));
}

struct Nodemesh__V1__NodeDescriptor *
wire_descriptor_copy(const struct Nodemesh__V1__NodeDescriptor *node)
{
	struct Nodemesh__V1__NodeDescriptor *copy;
	uint8_t *bytes;
	size_t length;

	length = nodemesh__v1__node_descriptor__get_packed_size(node);
	if ((bytes = malloc(length + 1)) == NULL)
		return (NULL);
	nodemesh__v1__node_descriptor__pack(node, bytes);
	copy = nodemesh__v1__node_descriptor__unpack(NULL, length, bytes);
	free(bytes);
	return (copy);
}

struct Nodemesh__V1__NodeDescriptor *
wire_descriptor_own(const struct ipc_identity *identity, uint64_t incarnation,
    const char *endpoint, const char *app_endpoint)
{
	struct Nodemesh__V1__NodeDescriptor node =
	    NODEMESH__V1__NODE_DESCRIPTOR__INIT;
	struct Nodemesh__V1__NodeDescriptor__MetadataEntry entry =
	    NODEMESH__V1__NODE_DESCRIPTOR__METADATA_ENTRY__INIT;
	struct Nodemesh__V1__NodeDescriptor__MetadataEntry *entries = &entry;
	uint8_t certificate[CERTIFICATE_ENCODED];
	uint8_t signature[SIGNATURE_SIZE] = { 0 };
	char key[] = "app_endpoint", tieline[] = "tieline-v1";
	char authority[] = WIRE_AUTHORITY;
	char *capabilities[] = { tieline, authority };
	struct ipc_identity me = *identity;
	char mine[ENDPOINT_SIZE], apps[ENDPOINT_SIZE];

	if (wire_text(mine, sizeof(mine), endpoint) == -1 ||
	    wire_text(apps, sizeof(apps), app_endpoint) == -1) {
		errno = EINVAL;
		return (NULL);
	}
	node.node_id = me.node_id;
	node.endpoint = mine;
	node.identity_key.data = me.node_key;
	node.identity_key.len = KEY_SIZE;
	if (apps[0] != '\0') {
		entry.key = key;
		entry.value = apps;
		node.metadata = &entries;
		node.n_metadata = 1;
	}
	node.incarnation = incarnation;
	node.tls_spki_sha256.data = me.mesh_spki;
	node.tls_spki_sha256.len = KEY_SIZE;
	if (me.in_mesh) {
		certificate_encode(&me.certificate, certificate);
		node.certificate.data = certificate;
		node.certificate.len = sizeof(certificate);
	}
	node.signature.data = signature;
	node.signature.len = sizeof(signature);
	node.capabilities = capabilities;
	node.n_capabilities = me.authority ? 2 : 1;
	return (wire_descriptor_copy(&node));
}

static int
registration_v1_verify(const struct Nodemesh__V1__AppRegistration *app,
    const struct attestation *attestation)
{
	struct metadata_pair *pairs;
	uint8_t *bytes;
	size_t length = 0;

	bytes = malloc(WIRE_V1_BYTES_MAX);
	pairs = app_metadata_pairs(app);
	if (bytes != NULL && pairs != NULL)
		length = attestation_v1_bytes(bytes, WIRE_V1_BYTES_MAX,
		    attestation->node_id, pairs, app->n_metadata);
	if (length > 0 && crypto_sign_verify_detached(attestation->signature,
			      bytes, length, attestation->app_key) != 0)
		length = 0;
	free(bytes);
	free(pairs);
	return (length > 0 ? 0 : -1);
}

int
wire_registration_read(const struct Nodemesh__V1__AppRegistration *app,
    const uint8_t node_key[KEY_SIZE], struct attestation *attestation)
{
	uint8_t key[KEY_SIZE];

	errno = EINVAL;
	if (wire_app_key(app->app_id, key) == -1 ||
	    attestation_decode(attestation, app->attestation.data,
		app->attestation.len) == -1 ||
	    memcmp(attestation->app_key, key, KEY_SIZE) != 0 ||
	    strcmp(attestation->node_id, app->node_id) != 0) {
		errno = EINVAL;
		return (-1);
	}
	if (memcmp(attestation->node_key, node_key, KEY_SIZE) != 0) {
		errno = EACCES;
		return (-1);
	}
	return (0);
}

int
wire_registration_verify(const struct Nodemesh__V1__AppRegistration *app,
    const struct attestation *attestation, int compat_v1, int64_t now)
{
	if (attestation->kind == ATTESTATION_V2)
		return (attestation_verify(attestation, now));
	errno = EACCES;
	if (attestation->kind != ATTESTATION_V1 || !compat_v1)
		return (-1);
	return (registration_v1_verify(app, attestation));
}

struct Nodemesh__V1__AppRegistration *
wire_registration_make(const struct attestation *attestation,
    const char *node_id, const char *session_id, int64_t connected_at,
    uint64_t sequence, int departed,
    struct Nodemesh__V1__AppRegistration__MetadataEntry **metadata,
    size_t count)
{
	struct Nodemesh__V1__AppRegistration
	    app = NODEMESH__V1__APP_REGISTRATION__INIT,
	    *copy = NULL;
	uint8_t encoded[ATTESTATION_ENCODED], *bytes;
	char app_id[APP_ID_LENGTH + 1], session[SESSION_ID_SIZE];
	char node[NODE_ID_SIZE];
	size_t length;

	hex_encode(app_id, attestation->app_key, KEY_SIZE);
	(void)strlcpy(node, node_id, sizeof(node));
	app.app_id = app_id;
	app.node_id = node;
	app.sequence = sequence;
	app.departed = departed != 0;
	if (!departed) {
		(void)strlcpy(session, session_id, sizeof(session));
		attestation_encode(attestation, encoded);
		app.session_id = session;
		app.connected_at_nanos = connected_at;
		app.attestation.data = encoded;
		app.attestation.len = sizeof(encoded);
		if (metadata != NULL) {
			app.metadata = metadata;
			app.n_metadata = count;
		}
	}
	length = nodemesh__v1__app_registration__get_packed_size(&app);
	if ((bytes = malloc(length + 1)) == NULL)
		return (NULL);
	nodemesh__v1__app_registration__pack(&app, bytes);
	copy = nodemesh__v1__app_registration__unpack(NULL, length, bytes);
	free(bytes);
	return (copy);
}
