/*
 * Any process. The join ticket: "hermes1" + lower-case base32 (RFC 4648,
 * no padding) of the encoded ticket. It shows no long-lived secret.
 */
#ifndef COMMON_SIGN_TICKET_H
#define COMMON_SIGN_TICKET_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

#define TICKET_ENDPOINTS   16
#define TICKET_SECRET_SIZE 16

struct ticket_endpoint {
	uint8_t node_key[KEY_SIZE];
	char endpoint[ENDPOINT_SIZE];
};

struct ticket {
	uint8_t mesh_id[KEY_SIZE];
	uint8_t authority[KEY_SIZE]; /* public key */
	uint8_t secret[TICKET_SECRET_SIZE];
	int64_t expires_at; /* ns since the epoch */
	uint32_t endpoint_count;
	uint32_t zero;
	struct ticket_endpoint endpoints[TICKET_ENDPOINTS];
	uint8_t signature[SIGNATURE_SIZE];
};

#define TICKET_ENCODED_MAX 2800
#define TICKET_TEXT_MAX    4500

/* The encoding without the signature, under "hermes-ticket-v1". */
size_t ticket_signed_bytes(
    const struct ticket *ticket, uint8_t out[TICKET_ENCODED_MAX]);
size_t ticket_encode(
    const struct ticket *ticket, uint8_t out[TICKET_ENCODED_MAX]);
int ticket_decode(struct ticket *ticket, const uint8_t *bytes, size_t length);

/* Text form. from_text: 0, or -1 with errno EINVAL. White space around the
 * text is let pass; upper case is read as lower. */
void ticket_to_text(const struct ticket *ticket, char out[TICKET_TEXT_MAX]);
int ticket_from_text(struct ticket *ticket, const char *text);

/* 0, or -1 with errno EINVAL (mesh_id is not authority's, no endpoint),
 * EACCES (signature), ETIME (expired). */
int ticket_verify(const struct ticket *ticket, int64_t now);

#endif
