/*
 * Any process, any privileges; certificates come from other nodes and are
 * hostile until verified. See certificate.h.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/certificate.h"
#include "common/sign/encode.h"

#define MEMBER_DOMAIN "hermes-member-v1"

size_t
certificate_signed_bytes(
    const struct certificate *certificate, uint8_t out[CERTIFICATE_SIGNED_MAX])
{
	struct encoder encoder = { out, CERTIFICATE_SIGNED_MAX, 0, 0 };

	encode_text(&encoder, MEMBER_DOMAIN);
	encode_lp(&encoder, certificate->mesh_id, KEY_SIZE);
	encode_lp(&encoder, certificate->node_id,
	    strnlen(certificate->node_id, NODE_ID_SIZE));
	encode_lp(&encoder, certificate->node_key, KEY_SIZE);
	encode_u64(&encoder, certificate->serial);
	encode_u64(&encoder, (uint64_t)certificate->not_after);
	return (encoder.length);
}

int
certificate_verify(const struct certificate *certificate,
    const uint8_t authority[KEY_SIZE], int64_t now)
{
	uint8_t bytes[CERTIFICATE_SIGNED_MAX], mesh_id[KEY_SIZE];
	size_t length;

	mesh_id_make(mesh_id, authority);
	if (memcmp(mesh_id, certificate->mesh_id, KEY_SIZE) != 0 ||
	    !node_id_valid(certificate->node_id,
		strnlen(certificate->node_id, NODE_ID_SIZE))) {
		errno = EINVAL;
		return (-1);
	}
	length = certificate_signed_bytes(certificate, bytes);
	if (crypto_sign_verify_detached(
		certificate->signature, bytes, length, authority) != 0) {
		errno = EACCES;
		return (-1);
	}
	if (certificate->not_after <= now) {
		errno = ETIME;
		return (-1);
	}
	return (0);
}

/* mesh_id, node_id padded with NUL, node_key, serial, not_after, signature. */
void
certificate_encode(
    const struct certificate *certificate, uint8_t out[CERTIFICATE_ENCODED])
{
	struct encoder encoder = { out, CERTIFICATE_ENCODED, 0, 0 };
	char node_id[NODE_ID_SIZE] = "";

	memcpy(node_id, certificate->node_id,
	    strnlen(certificate->node_id, NODE_ID_SIZE));
	encode_bytes(&encoder, certificate->mesh_id, KEY_SIZE);
	encode_bytes(&encoder, node_id, NODE_ID_SIZE);
	encode_bytes(&encoder, certificate->node_key, KEY_SIZE);
	encode_u64(&encoder, certificate->serial);
	encode_u64(&encoder, (uint64_t)certificate->not_after);
	encode_bytes(&encoder, certificate->signature, SIGNATURE_SIZE);
}

int
certificate_decode(
    struct certificate *certificate, const uint8_t *bytes, size_t length)
{
	struct decoder decoder = { bytes, length, 0 };

	memset(certificate, 0, sizeof(*certificate));
	decode_bytes(&decoder, certificate->mesh_id, KEY_SIZE);
	decode_node_id(&decoder, certificate->node_id);
	decode_bytes(&decoder, certificate->node_key, KEY_SIZE);
	certificate->serial = decode_u64(&decoder);
	certificate->not_after = (int64_t)decode_u64(&decoder);
	decode_bytes(&decoder, certificate->signature, SIGNATURE_SIZE);
	if (decode_done(&decoder) == -1) {
		errno = EINVAL;
		return (-1);
	}
	return (0);
}
