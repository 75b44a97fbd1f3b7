/*
 * Any process. Presence: an app's signed word that it is connected to a
 * node. Made by the app in Connect, gossiped between nodes, checked by keyd
 * before it holds a ratchet for the app. Contract section 1, "Connect".
 */
#ifndef COMMON_SIGN_ATTESTATION_H
#define COMMON_SIGN_ATTESTATION_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

#define ATTESTATION_MAX_AGE (INT64_C(24) * 3600 * 1000000000)
#define ATTESTATION_SKEW    (INT64_C(60) * 1000000000)

enum attestation_kind {
	/*
	 * Contract v1: signed over node_id and metadata only, no time, no
	 * node key. Here only what router or mesh verified is recorded; the
	 * signature is not checked again. Accepted only with
	 * "app compat v1".
	 */
	ATTESTATION_V1 = 1,
	ATTESTATION_V2 = 2
};

struct attestation {
	uint32_t kind; /* enum attestation_kind */
	uint32_t zero;
	uint8_t app_key[KEY_SIZE];
	uint8_t node_key[KEY_SIZE];
	uint8_t nonce[KEY_SIZE];
	char node_id[NODE_ID_SIZE];
	int64_t issued_at; /* ns since the epoch */
	int64_t expires_at;
	uint8_t metadata_hash[KEY_SIZE];
	uint8_t signature[SIGNATURE_SIZE];
};

/* One pair of Connect.metadata, for hashing; texts need no NUL. */
struct metadata_pair {
	const char *key;
	size_t key_length;
	const char *value;
	size_t value_length;
};

/* SHA-256 over LP(key) || LP(value) of all pairs in key order (bytewise);
 * sorts pairs in place. */
void metadata_hash(
    uint8_t hash[KEY_SIZE], struct metadata_pair *pairs, size_t count);

/* The bytes a v2 signature covers. Their length; out has room for
 * ATTESTATION_SIGNED_MAX. */
#define ATTESTATION_SIGNED_MAX 320
size_t attestation_signed_bytes(
    const struct attestation *attestation, uint8_t out[ATTESTATION_SIGNED_MAX]);

/*
 * Check the signature and the times against now (ns since the epoch): not
 * issued in the future, not expired, no longer than 24 h, 60 s of skew.
 * 0, or -1 with errno EINVAL (form), EACCES (signature), ETIME (times).
 * ATTESTATION_V1 passes without a look at the signature.
 */
int attestation_verify(const struct attestation *attestation, int64_t now);

/* The same but for the signature, which the caller knows to be good. */
int attestation_valid(const struct attestation *attestation, int64_t now);

/*
 * The bytes of a v1 Connect signature: node_id then each key and value in
 * key order (sorts pairs). Their length, or 0 when out (size bytes) is
 * too small.
 */
size_t attestation_v1_bytes(uint8_t *out, size_t size, const char *node_id,
    struct metadata_pair *pairs, size_t count);

/* As in AppRegistration.attestation: fixed width, big-endian. decode: 0, or
 * -1 with errno EINVAL. */
#define ATTESTATION_ENCODED 273
void attestation_encode(
    const struct attestation *attestation, uint8_t out[ATTESTATION_ENCODED]);
int attestation_decode(
    struct attestation *attestation, const uint8_t *bytes, size_t length);

#endif
