/*
 * Any process, any privileges; a ticket is what a user typed or a node sent
 * and hostile until verified. See ticket.h.
 */

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/ticket.h"

#define TICKET_DOMAIN "hermes-ticket-v1"
#define TICKET_PREFIX "hermes1"

static const char base32_digits[] = "abcdefghijklmnopqrstuvwxyz234567";

static int
endpoint_valid(const char *text)
{
	size_t length = strnlen(text, ENDPOINT_SIZE), i;

	if (length < 3 || length >= ENDPOINT_SIZE)
		return (0);
	for (i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return (0);
	return (strchr(text, ':') != NULL);
}

static int
ticket_form(const struct ticket *ticket)
{
	uint32_t i;

	if (ticket->endpoint_count < 1 ||
	    ticket->endpoint_count > TICKET_ENDPOINTS)
		return (0);
	for (i = 0; i < ticket->endpoint_count; i++)
		if (!endpoint_valid(ticket->endpoints[i].endpoint))
			return (0);
	return (1);
}

/* mesh_id, authority, secret, BE64 expires_at, BE32 count, and for each
 * endpoint node_key and LP(endpoint). */
static void
ticket_body(struct encoder *encoder, const struct ticket *ticket)
{
	uint32_t i, count = ticket->endpoint_count;

	if (count > TICKET_ENDPOINTS)
		count = TICKET_ENDPOINTS;
	encode_bytes(encoder, ticket->mesh_id, KEY_SIZE);
	encode_bytes(encoder, ticket->authority, KEY_SIZE);
	encode_bytes(encoder, ticket->secret, TICKET_SECRET_SIZE);
	encode_u64(encoder, (uint64_t)ticket->expires_at);
	encode_u32(encoder, count);
	for (i = 0; i < count; i++) {
		encode_bytes(encoder, ticket->endpoints[i].node_key, KEY_SIZE);
		encode_lp(encoder, ticket->endpoints[i].endpoint,
		    strnlen(ticket->endpoints[i].endpoint, ENDPOINT_SIZE));
	}
}

size_t
ticket_signed_bytes(
    const struct ticket *ticket, uint8_t out[TICKET_ENCODED_MAX])
{
	struct encoder encoder = { out, TICKET_ENCODED_MAX, 0, 0 };

	encode_text(&encoder, TICKET_DOMAIN);
	ticket_body(&encoder, ticket);
	return (encoder.length);
}

size_t
ticket_encode(const struct ticket *ticket, uint8_t out[TICKET_ENCODED_MAX])
{
	struct encoder encoder = { out, TICKET_ENCODED_MAX, 0, 0 };

	ticket_body(&encoder, ticket);
	encode_bytes(&encoder, ticket->signature, SIGNATURE_SIZE);
	return (encoder.length);
}

int
ticket_decode(struct ticket *ticket, const uint8_t *bytes, size_t length)
{
	struct decoder decoder = { bytes, length, 0 };
	uint32_t i;

	memset(ticket, 0, sizeof(*ticket));
	decode_bytes(&decoder, ticket->mesh_id, KEY_SIZE);
	decode_bytes(&decoder, ticket->authority, KEY_SIZE);
	decode_bytes(&decoder, ticket->secret, TICKET_SECRET_SIZE);
	ticket->expires_at = (int64_t)decode_u64(&decoder);
	ticket->endpoint_count = decode_u32(&decoder);
	if (ticket->endpoint_count > TICKET_ENDPOINTS) {
		ticket->endpoint_count = 0;
		errno = EINVAL;
		return (-1);
	}
	for (i = 0; i < ticket->endpoint_count; i++) {
		decode_bytes(&decoder, ticket->endpoints[i].node_key, KEY_SIZE);
		decode_lp_text(
		    &decoder, ticket->endpoints[i].endpoint, ENDPOINT_SIZE);
	}
	decode_bytes(&decoder, ticket->signature, SIGNATURE_SIZE);
	if (decode_done(&decoder) == -1 || !ticket_form(ticket)) {
		errno = EINVAL;
		return (-1);
	}
	return (0);
}

/* RFC 4648 base32, lower case, no padding, with a NUL. */
static void
base32_encode(char *out, const uint8_t *bytes, size_t length)
{
	uint32_t bits = 0;
	size_t i;
	int held = 0;

	for (i = 0; i < length; i++) {
		bits = bits << 8 | bytes[i];
		for (held += 8; held >= 5; held -= 5)
			*out++ = base32_digits[bits >> (held - 5) & 31];
	}
	if (held > 0)
		*out++ = base32_digits[bits << (5 - held) & 31];
	*out = '\0';
}

static int
base32_digit(char c)
{
	if (c >= 'a' && c <= 'z')
		return (c - 'a');
	if (c >= 'A' && c <= 'Z')
		return (c - 'A');
	if (c >= '2' && c <= '7')
		return (c - '2' + 26);
	return (-1);
}

/* The number of bytes, or 0: no base32, too long, or not in its one form
 * (bits left over that are not 0, a last digit that carries nothing). */
static size_t
base32_decode(uint8_t *out, size_t size, const char *text, size_t length)
{
	uint32_t bits = 0;
	size_t used = 0, i;
	int held = 0, digit;

	for (i = 0; i < length; i++) {
		if ((digit = base32_digit(text[i])) == -1)
			return (0);
		bits = bits << 5 | (uint32_t)digit;
		held += 5;
		if (held < 8)
			continue;
		held -= 8;
		if (used == size)
			return (0);
		out[used++] = (uint8_t)(bits >> held);
	}
	if (held >= 5 || (bits & ((1U << held) - 1)) != 0)
		return (0);
	return (used);
}

void
ticket_to_text(const struct ticket *ticket, char out[TICKET_TEXT_MAX])
{
	uint8_t bytes[TICKET_ENCODED_MAX];
	size_t length = ticket_encode(ticket, bytes);

	(void)strlcpy(out, TICKET_PREFIX, TICKET_TEXT_MAX);
	base32_encode(out + strlen(TICKET_PREFIX), bytes, length);
}

int
ticket_from_text(struct ticket *ticket, const char *text)
{
	uint8_t bytes[TICKET_ENCODED_MAX];
	size_t length, prefix = strlen(TICKET_PREFIX);

	while (isspace((unsigned char)*text))
		text++;
	length = strlen(text);
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	if (length <= prefix || length >= TICKET_TEXT_MAX ||
	    strncasecmp(text, TICKET_PREFIX, prefix) != 0 ||
	    (length = base32_decode(
		 bytes, sizeof(bytes), text + prefix, length - prefix)) == 0) {
		errno = EINVAL;
		return (-1);
	}
	return (ticket_decode(ticket, bytes, length));
}

int
ticket_verify(const struct ticket *ticket, int64_t now)
{
	uint8_t bytes[TICKET_ENCODED_MAX], mesh_id[KEY_SIZE];
	size_t length;

	mesh_id_make(mesh_id, ticket->authority);
	if (memcmp(mesh_id, ticket->mesh_id, KEY_SIZE) != 0 ||
	    !ticket_form(ticket)) {
		errno = EINVAL;
		return (-1);
	}
	length = ticket_signed_bytes(ticket, bytes);
	if (crypto_sign_verify_detached(
		ticket->signature, bytes, length, ticket->authority) != 0) {
		errno = EACCES;
		return (-1);
	}
	if (ticket->expires_at <= now) {
		errno = ETIME;
		return (-1);
	}
	return (0);
}
