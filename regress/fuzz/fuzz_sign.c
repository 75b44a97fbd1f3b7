/*
 * Tests only. The decoders of common/sign: what decodes encodes to the very
 * same bytes, and verifying what nobody signed fails.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/attestation.h"
#include "common/sign/certificate.h"
#include "common/sign/offer.h"
#include "common/sign/ticket.h"
#include "regress/fuzz/fuzz.h"

#define NOW INT64_C(1700000000000000000)

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(5);
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct binding binding;
	uint8_t hash[KEY_SIZE], what;

	if (size == 0)
		return (0);
	what = *data++;
	size--;
	switch (what % 7) {
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
	}
	return (0);
}
