/*
 * Any process, any privileges; attestations come from apps and other nodes
 * and are hostile until verified. See attestation.h.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/attestation.h"
#include "common/sign/encode.h"

#define CONNECT_DOMAIN "hermes-connect-v2"

static int
bytes_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t common = a_length < b_length ? a_length : b_length;
	int order = common == 0 ? 0 : memcmp(a, b, common);

	if (order != 0)
		return (order);
	return ((a_length > b_length) - (a_length < b_length));
}

/* By key; keys of a map differ, but be the same for any order if not. */
static int
pair_compare(const void *a, const void *b)
{
	const struct metadata_pair *x = a, *y = b;
	int order;

	order = bytes_compare(x->key, x->key_length, y->key, y->key_length);
	if (order == 0)
		order = bytes_compare(
		    x->value, x->value_length, y->value, y->value_length);
	return (order);
}

static void
hash_lp(crypto_hash_sha256_state *state, const char *bytes, size_t length)
{
	uint8_t prefix[4];
	struct encoder encoder = { prefix, sizeof(prefix), 0, 0 };

	encode_u32(&encoder, (uint32_t)length);
	(void)crypto_hash_sha256_update(state, prefix, sizeof(prefix));
	(void)crypto_hash_sha256_update(state, (const uint8_t *)bytes, length);
}

void
metadata_hash(uint8_t hash[KEY_SIZE], struct metadata_pair *pairs, size_t count)
{
	crypto_hash_sha256_state state;
	size_t i;

	if (count > 1)
		qsort(pairs, count, sizeof(*pairs), pair_compare);
	(void)crypto_hash_sha256_init(&state);
	for (i = 0; i < count; i++) {
		hash_lp(&state, pairs[i].key, pairs[i].key_length);
		hash_lp(&state, pairs[i].value, pairs[i].value_length);
	}
	(void)crypto_hash_sha256_final(&state, hash);
}

size_t
attestation_signed_bytes(
    const struct attestation *attestation, uint8_t out[ATTESTATION_SIGNED_MAX])
{
	struct encoder encoder = { out, ATTESTATION_SIGNED_MAX, 0, 0 };

	encode_text(&encoder, CONNECT_DOMAIN);
	encode_lp(&encoder, attestation->node_key, KEY_SIZE);
	encode_lp(&encoder, attestation->nonce, KEY_SIZE);
	encode_lp(&encoder, attestation->node_id,
	    strnlen(attestation->node_id, NODE_ID_SIZE));
	encode_u64(&encoder, (uint64_t)attestation->issued_at);
	encode_u64(&encoder, (uint64_t)attestation->expires_at);
	encode_lp(&encoder, attestation->metadata_hash, KEY_SIZE);
	return (encoder.length);
}

static int
attestation_form(const struct attestation *attestation)
{
	return ((attestation->kind == ATTESTATION_V1 ||
		    attestation->kind == ATTESTATION_V2) &&
		node_id_valid(attestation->node_id,
		    strnlen(attestation->node_id, NODE_ID_SIZE)));
}

static int
attestation_in_time(const struct attestation *attestation, int64_t now)
{
	return (attestation->issued_at >= 0 &&
		attestation->expires_at > attestation->issued_at &&
		attestation->expires_at - attestation->issued_at <=
		    ATTESTATION_MAX_AGE &&
		attestation->issued_at - ATTESTATION_SKEW <= now &&
		attestation->expires_at >= now - ATTESTATION_SKEW);
}

int
attestation_valid(const struct attestation *attestation, int64_t now)
{
	if (!attestation_form(attestation)) {
		errno = EINVAL;
		return (-1);
	}
	if (!attestation_in_time(attestation, now)) {
		errno = ETIME;
		return (-1);
	}
	return (0);
}

int
attestation_verify(const struct attestation *attestation, int64_t now)
{
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	size_t length;

	if (!attestation_form(attestation)) {
		errno = EINVAL;
		return (-1);
	}
	length = attestation_signed_bytes(attestation, bytes);
	if (attestation->kind == ATTESTATION_V2 &&
	    crypto_sign_verify_detached(attestation->signature, bytes, length,
		attestation->app_key) != 0) {
		errno = EACCES;
		return (-1);
	}
	return (attestation_valid(attestation, now));
}

size_t
attestation_v1_bytes(uint8_t *out, size_t size, const char *node_id,
    struct metadata_pair *pairs, size_t count)
{
	struct encoder encoder = { out, size, 0, 0 };
	size_t i;

	if (count > 1)
		qsort(pairs, count, sizeof(*pairs), pair_compare);
	encode_text(&encoder, node_id);
	for (i = 0; i < count; i++) {
		encode_bytes(&encoder, pairs[i].key, pairs[i].key_length);
		encode_bytes(&encoder, pairs[i].value, pairs[i].value_length);
	}
	return (encoder.failed ? 0 : encoder.length);
}

/* u8 kind, the keys, node_id padded with NUL, times, hash, signature. */
void
attestation_encode(
    const struct attestation *attestation, uint8_t out[ATTESTATION_ENCODED])
{
	struct encoder encoder = { out, ATTESTATION_ENCODED, 0, 0 };
	char node_id[NODE_ID_SIZE] = "";

	memcpy(node_id, attestation->node_id,
	    strnlen(attestation->node_id, NODE_ID_SIZE));
	encode_u8(&encoder, (uint8_t)attestation->kind);
	encode_bytes(&encoder, attestation->app_key, KEY_SIZE);
	encode_bytes(&encoder, attestation->node_key, KEY_SIZE);
	encode_bytes(&encoder, attestation->nonce, KEY_SIZE);
	encode_bytes(&encoder, node_id, NODE_ID_SIZE);
	encode_u64(&encoder, (uint64_t)attestation->issued_at);
	encode_u64(&encoder, (uint64_t)attestation->expires_at);
	encode_bytes(&encoder, attestation->metadata_hash, KEY_SIZE);
	encode_bytes(&encoder, attestation->signature, SIGNATURE_SIZE);
}

int
attestation_decode(
    struct attestation *attestation, const uint8_t *bytes, size_t length)
{
	struct decoder decoder = { bytes, length, 0 };

	memset(attestation, 0, sizeof(*attestation));
	attestation->kind = decode_u8(&decoder);
	decode_bytes(&decoder, attestation->app_key, KEY_SIZE);
	decode_bytes(&decoder, attestation->node_key, KEY_SIZE);
	decode_bytes(&decoder, attestation->nonce, KEY_SIZE);
	decode_node_id(&decoder, attestation->node_id);
	attestation->issued_at = (int64_t)decode_u64(&decoder);
	attestation->expires_at = (int64_t)decode_u64(&decoder);
	decode_bytes(&decoder, attestation->metadata_hash, KEY_SIZE);
	decode_bytes(&decoder, attestation->signature, SIGNATURE_SIZE);
	if (decode_done(&decoder) == -1 || !attestation_form(attestation)) {
		errno = EINVAL;
		return (-1);
	}
	return (0);
}
