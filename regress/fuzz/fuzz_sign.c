/*
 * Tests only. The decoders of common/sign: what decodes encodes to the very
 * same bytes, and verifying what nobody signed fails. And what somebody did
 * sign, with keys that are known here: it verifies when its fields and times
 * are right, and not any more when one bit of its encoding is another.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/attestation.h"
#include "common/sign/certificate.h"
#include "common/sign/offer.h"
#include "common/sign/statement.h"
#include "common/sign/ticket.h"
#include "regress/fuzz/fuzz.h"

#define NOW INT64_C(1700000000000000000)

static uint8_t public[KEY_SIZE], secret[64]; /* of whoever signs */

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(5);
	(void)crypto_sign_keypair(public, secret);
	return (0);
}

static void
try_ticket(const uint8_t *bytes, size_t length)
{
	struct ticket ticket, again;
	uint8_t encoded[TICKET_ENCODED_MAX];
	char text[TICKET_TEXT_MAX];

	if (ticket_decode(&ticket, bytes, length) == -1)
		return;
	FUZZ_CHECK(ticket_encode(&ticket, encoded) == length);
	FUZZ_CHECK(memcmp(encoded, bytes, length) == 0);
	ticket_to_text(&ticket, text);
	FUZZ_CHECK(ticket_from_text(&again, text) == 0);
	FUZZ_CHECK(memcmp(&again, &ticket, sizeof(ticket)) == 0);
	(void)ticket_verify(&ticket, NOW);
}

static void
try_text(const uint8_t *bytes, size_t length)
{
	struct ticket ticket;
	char *text = malloc(length + 1), printed[TICKET_TEXT_MAX];

	FUZZ_CHECK(text != NULL);
	if (length > 0)
		memcpy(text, bytes, length);
	text[length] = '\0';
	if (ticket_from_text(&ticket, text) == 0) {
		ticket_to_text(&ticket, printed);
		FUZZ_CHECK(ticket_from_text(&ticket, printed) == 0);
	}
	free(text);
}

static void
try_certificate(const uint8_t *bytes, size_t length)
{
	struct certificate certificate;
	uint8_t encoded[CERTIFICATE_ENCODED], authority[KEY_SIZE] = { 1 };

	if (certificate_decode(&certificate, bytes, length) == -1)
		return;
	certificate_encode(&certificate, encoded);
	FUZZ_CHECK(length == CERTIFICATE_ENCODED &&
		   memcmp(encoded, bytes, length) == 0);
	FUZZ_CHECK(certificate_verify(&certificate, authority, NOW) == -1);
}

static void
try_attestation(const uint8_t *bytes, size_t length)
{
	struct attestation attestation;
	uint8_t encoded[ATTESTATION_ENCODED];

	if (attestation_decode(&attestation, bytes, length) == -1)
		return;
	attestation_encode(&attestation, encoded);
	FUZZ_CHECK(length == ATTESTATION_ENCODED &&
		   memcmp(encoded, bytes, length) == 0);
	(void)attestation_verify(&attestation, NOW);
	(void)attestation_verify(&attestation, INT64_MIN);
	(void)attestation_verify(&attestation, INT64_MAX);
}

static void
try_offer(const uint8_t *bytes, size_t length)
{
	struct offer offer;
	uint8_t encoded[OFFER_ENCODED];

	if (offer_decode(&offer, bytes, length) == -1)
		return;
	offer_encode(&offer, encoded);
	FUZZ_CHECK(
	    length == OFFER_ENCODED && memcmp(encoded, bytes, length) == 0);
	(void)offer_verify(&offer);
}

static void
try_binding(const uint8_t *bytes, size_t length)
{
	struct binding binding;
	uint8_t encoded[BINDING_ENCODED_MAX];

	if (binding_decode(&binding, bytes, length) == -1)
		return;
	FUZZ_CHECK(binding_encode(&binding, encoded) == length);
	FUZZ_CHECK(memcmp(encoded, bytes, length) == 0);
}

/* --- signed -------------------------------------------------------------- */

/* Change a bit of what was signed, maybe. 1: it is as it was. */
static int
spoil(struct input *input, uint8_t *bytes, size_t length)
{
	uint16_t at = input_u16(input);

	if (at % 2 == 0)
		return (1);
	bytes[at / 16 % length] ^= (uint8_t)(1 << (at / 2 % 8));
	return (0);
}

static void
any_name(struct input *input, char name[NODE_ID_SIZE])
{
	size_t i, length = 1 + input_u8(input) % (NODE_ID_SIZE - 1);

	memset(name, 0, NODE_ID_SIZE);
	for (i = 0; i < length; i++)
		name[i] = (char)('a' + input_u8(input) % 26);
}

/* A time some seconds before or after NOW. */
static int64_t
any_time(struct input *input)
{
	return (NOW + (int64_t)((int32_t)input_u32(input)) * 1000000000);
}

static void
signed_ticket(struct input *input)
{
	struct ticket ticket, again;
	uint8_t bytes[TICKET_ENCODED_MAX];
	char text[TICKET_TEXT_MAX];
	size_t i, length;
	int good;

	memset(&ticket, 0, sizeof(ticket));
	memcpy(ticket.authority, public, KEY_SIZE);
	mesh_id_make(ticket.mesh_id, public);
	input_bytes(input, ticket.secret, TICKET_SECRET_SIZE);
	ticket.expires_at = any_time(input);
	ticket.endpoint_count = input_u8(input) % (TICKET_ENDPOINTS + 1);
	for (i = 0; i < ticket.endpoint_count; i++) {
		(void)strcpy(ticket.endpoints[i].endpoint, "host:1");
		ticket.endpoints[i].node_key[0] = input_u8(input);
	}
	(void)crypto_sign_detached(ticket.signature, NULL, bytes,
	    ticket_signed_bytes(&ticket, bytes), secret);
	good = ticket.endpoint_count > 0 && ticket.expires_at > NOW;
	length = ticket_encode(&ticket, bytes);
	good &= spoil(input, bytes, length);
	if (ticket_decode(&again, bytes, length) == -1) {
		FUZZ_CHECK(!good);
		return;
	}
	FUZZ_CHECK((ticket_verify(&again, NOW) == 0) == good);
	ticket_to_text(&again, text);
	FUZZ_CHECK(ticket_from_text(&ticket, text) == 0);
	FUZZ_CHECK(memcmp(&again, &ticket, sizeof(ticket)) == 0);
}

static void
signed_certificate(struct input *input)
{
	struct certificate certificate, again;
	uint8_t bytes[CERTIFICATE_SIGNED_MAX + CERTIFICATE_ENCODED];
	int good;

	memset(&certificate, 0, sizeof(certificate));
	mesh_id_make(certificate.mesh_id, public);
	any_name(input, certificate.node_id);
	input_bytes(input, certificate.node_key, KEY_SIZE);
	certificate.serial = input_u64(input);
	certificate.not_after = any_time(input);
	(void)crypto_sign_detached(certificate.signature, NULL, bytes,
	    certificate_signed_bytes(&certificate, bytes), secret);
	good = certificate.not_after > NOW;
	certificate_encode(&certificate, bytes);
	good &= spoil(input, bytes, CERTIFICATE_ENCODED);
	if (certificate_decode(&again, bytes, CERTIFICATE_ENCODED) == -1) {
		FUZZ_CHECK(!good);
		return;
	}
	FUZZ_CHECK((certificate_verify(&again, public, NOW) == 0) == good);
}

static void
signed_attestation(struct input *input)
{
	struct attestation attestation, again;
	uint8_t bytes[ATTESTATION_SIGNED_MAX + ATTESTATION_ENCODED];
	int64_t issued, expires;
	int good;

	memset(&attestation, 0, sizeof(attestation));
	attestation.kind = ATTESTATION_V2;
	memcpy(attestation.app_key, public, KEY_SIZE);
	input_bytes(input, attestation.node_key, KEY_SIZE);
	input_bytes(input, attestation.nonce, KEY_SIZE);
	any_name(input, attestation.node_id);
	attestation.issued_at = issued = any_time(input);
	attestation.expires_at = expires = any_time(input);
	(void)crypto_sign_detached(attestation.signature, NULL, bytes,
	    attestation_signed_bytes(&attestation, bytes), secret);
	attestation_encode(&attestation, bytes);
	good = spoil(input, bytes, ATTESTATION_ENCODED);
	if (attestation_decode(&again, bytes, ATTESTATION_ENCODED) == -1) {
		FUZZ_CHECK(!good);
		return;
	}
	/* Version 1 has no signature that can be looked at here. */
	if (again.kind == ATTESTATION_V1)
		return;
	good &= issued <= NOW + ATTESTATION_SKEW && expires > issued &&
		expires - issued <= ATTESTATION_MAX_AGE &&
		expires >= NOW - ATTESTATION_SKEW;
	FUZZ_CHECK((attestation_verify(&again, NOW) == 0) == good);
}

static void
signed_offer(struct input *input)
{
	static const uint8_t lo[KEY_SIZE] = { 1 }, hi[KEY_SIZE] = { 2 };
	struct chat_key key;
	struct offer offer, again;
	uint8_t bytes[OFFER_ENCODED];
	int good;

	memset(&offer, 0, sizeof(offer));
	if (chat_key_make(&key, "chat", lo, hi) == -1)
		return;
	memcpy(offer.handle, key.handle, KEY_SIZE);
	memcpy(offer.app_lo, lo, KEY_SIZE);
	memcpy(offer.app_hi, hi, KEY_SIZE);
	offer.version = 1 + input_u32(input) % 1000;
	offer.side = input_u8(input) % 2;
	input_bytes(input, offer.node_lo, KEY_SIZE);
	input_bytes(input, offer.node_hi, KEY_SIZE);
	memcpy(offer.side == CHAT_LO ? offer.node_lo : offer.node_hi, public,
	    KEY_SIZE);
	input_bytes(input, offer.ephemeral, KEY_SIZE);
	memcpy(offer.instance, offer.ephemeral, INSTANCE_SIZE);
	offer_signed_bytes(&offer, bytes);
	(void)crypto_sign_detached(
	    offer.signature, NULL, bytes, OFFER_SIGNED, secret);
	offer_encode(&offer, bytes);
	good = spoil(input, bytes, OFFER_ENCODED);
	if (offer_decode(&again, bytes, OFFER_ENCODED) == -1) {
		FUZZ_CHECK(!good);
		return;
	}
	FUZZ_CHECK((offer_verify(&again) == 0) == good);
}

static void
signed_statement(struct input *input)
{
	uint8_t bytes[STATEMENT_SIGNED_MAX], signature[SIGNATURE_SIZE];
	uint8_t digest[KEY_SIZE];
	char name[NODE_ID_SIZE];
	enum statement_kind kind;
	uint64_t number = input_u64(input);
	int good;

	kind =
	    (enum statement_kind)(1 + input_u8(input) % (STATEMENT_KINDS - 1));
	any_name(input, name);
	input_bytes(input, digest, KEY_SIZE);
	(void)crypto_sign_detached(signature, NULL, bytes,
	    statement_signed_bytes(kind, name, public, number, digest, bytes),
	    secret);
	good = spoil(input, digest, KEY_SIZE);
	good &= spoil(input, signature, SIGNATURE_SIZE);
	FUZZ_CHECK((statement_verify(kind, name, public, number, digest,
			signature, public) == 0) == good);
	/* No kind passes for another. */
	kind = (enum statement_kind)(1 + kind % (STATEMENT_KINDS - 1));
	FUZZ_CHECK(statement_verify(kind, name, public, number, digest,
		       signature, public) == -1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct binding binding;
	uint8_t hash[KEY_SIZE], what;

	if (size == 0)
		return (0);
	what = input_u8(&input);
	data++;
	size--;
	switch (what % 12) {
	case 0:
		try_ticket(data, size);
		break;
	case 1:
		try_text(data, size);
		break;
	case 2:
		try_certificate(data, size);
		break;
	case 3:
		try_attestation(data, size);
		break;
	case 4:
		try_offer(data, size);
		break;
	case 5:
		try_binding(data, size);
		break;
	case 6:
		(void)binding_from_x509(&binding, hash, data, size);
		break;
	case 7:
		signed_ticket(&input);
		break;
	case 8:
		signed_certificate(&input);
		break;
	case 9:
		signed_attestation(&input);
		break;
	case 10:
		signed_offer(&input);
		break;
	case 11:
		signed_statement(&input);
		break;
	}
	return (0);
}
