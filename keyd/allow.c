/*
 * keyd only. The operator's word as to which mesh may be joined; see allow.h.
 * It comes as a ticket, from control, or stands in the configuration, as the
 * key of a node that says it. It is not kept: a join that a restart cut off is
 * asked for again.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/statement.h"
#include "common/sign/ticket.h"
#include "common/util/clock.h"
#include "keyd/allow.h"

#define VOUCHER_LIFETIME (60 * CLOCK_SECOND)

static void
allow(
    struct identity *identity, const uint8_t authority[KEY_SIZE], int64_t until)
{
	memcpy(identity->allowed, authority, KEY_SIZE);
	identity->allowed_until = until;
}

int
allow_ticket(
    struct identity *identity, const struct ticket *ticket, int64_t now)
{
	if (ticket_verify(ticket, now) == -1)
		return (-1);
	allow(identity, ticket->authority, ticket->expires_at);
	return (0);
}

int
allow_listed(const struct config *config, const char *node_id,
    const uint8_t node_key[KEY_SIZE])
{
	size_t i;

	for (i = 0; i < config->peer_count && i < CONFIG_PEERS; i++)
		if (strcmp(config->peers[i].node_id, node_id) == 0 &&
		    memcmp(config->peers[i].node_key, node_key, KEY_SIZE) == 0)
			return (1);
	return (0);
}

static void
skip_lp(struct decoder *d)
{
	uint32_t length = decode_u32(d);

	if (d->failed || length > d->length) {
		d->failed = 1;
		return;
	}
	d->bytes += length;
	d->length -= length;
}

/* The certificate in the body of a descriptor, behind the endpoint, the wallet
 * and the hash of the TLS key. 0 or -1. */
static int
body_certificate(
    const uint8_t *body, size_t length, struct certificate *certificate)
{
	struct decoder d = { .bytes = body, .length = length };
	int i;

	for (i = 0; i < 3; i++)
		skip_lp(&d);
	if (decode_u32(&d) != CERTIFICATE_ENCODED || d.failed ||
	    d.length < CERTIFICATE_ENCODED)
		return (-1);
	return (certificate_decode(certificate, d.bytes, CERTIFICATE_ENCODED));
}

int
allow_voucher(struct identity *identity, const struct config *config,
    const struct ipc_voucher *voucher, const uint8_t *body, size_t length,
    int64_t now)
{
	struct certificate certificate;
	uint8_t digest[KEY_SIZE];

	if (memchr(voucher->node_id, '\0', NODE_ID_SIZE) == NULL ||
	    body_certificate(body, length, &certificate) == -1 ||
	    memcmp(certificate.node_key, voucher->node_key, KEY_SIZE) != 0) {
		errno = EINVAL;
		return (-1);
	}
	if (!allow_listed(config, voucher->node_id, voucher->node_key)) {
		errno = EPERM;
		return (-1);
	}
	(void)crypto_hash_sha256(digest, body, length);
	if (statement_verify(STATEMENT_DESCRIPTOR, voucher->node_id,
		voucher->node_key, voucher->incarnation, digest,
		voucher->signature, voucher->node_key) == -1 ||
	    certificate_verify(&certificate, voucher->authority_key, now) == -1)
		return (-1);
	allow(identity, voucher->authority_key, now + VOUCHER_LIFETIME);
	return (0);
}
