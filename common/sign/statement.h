/*
 * keyd signs, everybody checks. What a node states of itself to the mesh,
 * its answer to an app's Connect, and the v1 signature of StartChat.
 */
#ifndef COMMON_SIGN_STATEMENT_H
#define COMMON_SIGN_STATEMENT_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

/* Each kind has a domain of its own: "hermes-" kind "-v1". */
enum statement_kind {
	STATEMENT_DESCRIPTOR = 1, /* number: incarnation */
	STATEMENT_ALIVE,          /* number: incarnation */
	STATEMENT_LEAVE,          /* number: incarnation */
	STATEMENT_PRESENCE,       /* number: AppSync sequence */
	STATEMENT_JOIN,           /* number: 0 */
	STATEMENT_REVOCATION,     /* number: serial; by the authority */
	STATEMENT_KINDS
};

/*
 * domain || LP(node_id) || LP(node_key) || BE64(number) || digest, where
 * digest is SHA-256 of the body that the kind's maker defines (mesh/ says
 * which). Returns the length.
 */
#define STATEMENT_SIGNED_MAX 256
size_t statement_signed_bytes(enum statement_kind kind, const char *node_id,
    const uint8_t node_key[KEY_SIZE], uint64_t number,
    const uint8_t digest[KEY_SIZE], uint8_t out[STATEMENT_SIGNED_MAX]);

/* 0, or -1 with errno EACCES. signer is node_key but for a revocation. */
int statement_verify(enum statement_kind kind, const char *node_id,
    const uint8_t node_key[KEY_SIZE], uint64_t number,
    const uint8_t digest[KEY_SIZE], const uint8_t signature[SIGNATURE_SIZE],
    const uint8_t signer[KEY_SIZE]);

/*
 * Challenge.signature: "hermes-challenge-v2" || LP(nonce) || LP(node_id) ||
 * LP(mesh_id) || LP(spki_sha256). mesh_id as on the wire: 64 hex digits, or
 * "" outside a mesh. Returns the length.
 */
#define CHALLENGE_SIGNED_MAX 256
size_t challenge_signed_bytes(const uint8_t nonce[KEY_SIZE],
    const char *node_id, const char *mesh_id,
    const uint8_t spki_sha256[KEY_SIZE], uint8_t out[CHALLENGE_SIGNED_MAX]);

/* What StartChat's v1 signature covers; texts end in NUL. */
struct start_chat_fields {
	const char *chat_id;
	const char *source_app_id;
	const char *target_app_id;
	const uint8_t *public_key; /* 32 bytes */
	const uint8_t *salt;
	size_t salt_length;
	const uint8_t *info; /* length 0: "hermes-chat-session" */
	size_t info_length;
	uint32_t version; /* 0 is read as 1 */
	int rekey;
};

/* Contract section 1, "StartChat signature". The length, or 0 when out
 * (size bytes) is too small. */
size_t start_chat_signed_bytes(
    const struct start_chat_fields *fields, uint8_t *out, size_t size);

#endif
