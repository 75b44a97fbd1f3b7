/*
 * Any process, any privileges; statements come from other nodes and are
 * hostile until verified. See statement.h.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/statement.h"

#define CHALLENGE_DOMAIN "hermes-challenge-v2"
#define CHAT_LABEL       "hermes-chat-session"

static const char *const domains[STATEMENT_KINDS] = {
	[STATEMENT_DESCRIPTOR] = "hermes-descriptor-v1",
	[STATEMENT_ALIVE] = "hermes-alive-v1",
	[STATEMENT_LEAVE] = "hermes-leave-v1",
	[STATEMENT_PRESENCE] = "hermes-presence-v1",
	[STATEMENT_JOIN] = "hermes-join-v1",
	[STATEMENT_REVOCATION] = "hermes-revocation-v1",
};

size_t
statement_signed_bytes(enum statement_kind kind, const char *node_id,
    const uint8_t node_key[KEY_SIZE], uint64_t number,
    const uint8_t digest[KEY_SIZE], uint8_t out[STATEMENT_SIGNED_MAX])
{
	struct encoder encoder = { out, STATEMENT_SIGNED_MAX, 0, 0 };

	if (kind < STATEMENT_DESCRIPTOR || kind >= STATEMENT_KINDS)
		return (0);
	encode_text(&encoder, domains[kind]);
	encode_lp(&encoder, node_id, strnlen(node_id, NODE_ID_SIZE));
	encode_lp(&encoder, node_key, KEY_SIZE);
	encode_u64(&encoder, number);
	encode_bytes(&encoder, digest, KEY_SIZE);
	return (encoder.length);
}

int
statement_verify(enum statement_kind kind, const char *node_id,
    const uint8_t node_key[KEY_SIZE], uint64_t number,
    const uint8_t digest[KEY_SIZE], const uint8_t signature[SIGNATURE_SIZE],
    const uint8_t signer[KEY_SIZE])
{
	uint8_t bytes[STATEMENT_SIGNED_MAX];
	size_t length;

	length = statement_signed_bytes(
	    kind, node_id, node_key, number, digest, bytes);
	if (length == 0 || crypto_sign_verify_detached(
			       signature, bytes, length, signer) != 0) {
		errno = EACCES;
		return (-1);
	}
	return (0);
}

size_t
challenge_signed_bytes(const uint8_t nonce[KEY_SIZE], const char *node_id,
    const char *mesh_id, const uint8_t spki_sha256[KEY_SIZE],
    uint8_t out[CHALLENGE_SIGNED_MAX])
{
	struct encoder encoder = { out, CHALLENGE_SIGNED_MAX, 0, 0 };

	encode_text(&encoder, CHALLENGE_DOMAIN);
	encode_lp(&encoder, nonce, KEY_SIZE);
	encode_lp(&encoder, node_id, strnlen(node_id, NODE_ID_SIZE));
	encode_lp(&encoder, mesh_id, strnlen(mesh_id, 2 * KEY_SIZE));
	encode_lp(&encoder, spki_sha256, KEY_SIZE);
	return (encoder.length);
}

size_t
start_chat_signed_bytes(
    const struct start_chat_fields *fields, uint8_t *out, size_t size)
{
	struct encoder encoder = { out, size, 0, 0 };

	encode_text(&encoder, fields->chat_id);
	encode_u8(&encoder, 0);
	encode_text(&encoder, fields->source_app_id);
	encode_u8(&encoder, 0);
	encode_text(&encoder, fields->target_app_id);
	encode_u8(&encoder, 0);
	encode_bytes(&encoder, fields->public_key, KEY_SIZE);
	encode_u8(&encoder, 0);
	encode_bytes(&encoder, fields->salt, fields->salt_length);
	encode_u8(&encoder, 0);
	if (fields->info_length == 0)
		encode_text(&encoder, CHAT_LABEL);
	else
		encode_bytes(&encoder, fields->info, fields->info_length);
	encode_u8(&encoder, 0);
	encode_u32(&encoder, fields->version == 0 ? 1 : fields->version);
	encode_u8(&encoder, fields->rekey ? 1 : 0);
	return (encoder.failed ? 0 : encoder.length);
}
