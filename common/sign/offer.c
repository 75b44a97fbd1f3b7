/*
 * keyd, mesh and tests; an offer from another node is hostile until verified.
 * See offer.h.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/offer.h"

#define INSTANCE_DOMAIN "hermes-instance-v1"
#define OFFER_DOMAIN    "hermes-offer-v2"

static int
offer_form(const struct offer *offer)
{
	return (offer->version >= 1 && (offer->flags & ~OFFER_FLAGS) == 0 &&
		(offer->side == CHAT_LO || offer->side == CHAT_HI) &&
		memcmp(offer->app_lo, offer->app_hi, KEY_SIZE) < 0);
}

void
offer_signed_bytes(const struct offer *offer, uint8_t out[OFFER_SIGNED])
{
	struct encoder encoder = { out, OFFER_SIGNED, 0, 0 };

	encode_text(&encoder, OFFER_DOMAIN);
	encode_bytes(&encoder, offer->handle, KEY_SIZE);
	encode_u32(&encoder, offer->version);
	encode_u32(&encoder, offer->flags);
	encode_u8(&encoder, (uint8_t)offer->side);
	encode_bytes(&encoder, offer->app_lo, KEY_SIZE);
	encode_bytes(&encoder, offer->app_hi, KEY_SIZE);
	encode_bytes(&encoder, offer->node_lo, KEY_SIZE);
	encode_bytes(&encoder, offer->node_hi, KEY_SIZE);
	encode_bytes(&encoder, offer->ephemeral, KEY_SIZE);
	encode_bytes(&encoder, offer->link_commitment, KEY_SIZE);
	encode_bytes(&encoder, offer->app_key_hash, KEY_SIZE);
	encode_u64(&encoder, offer->generation);
	encode_bytes(&encoder, offer->instance, INSTANCE_SIZE);
}

int
offer_verify(const struct offer *offer)
{
	uint8_t bytes[OFFER_SIGNED];

	if (!offer_form(offer)) {
		errno = EINVAL;
		return (-1);
	}
	offer_signed_bytes(offer, bytes);
	if (crypto_sign_verify_detached(offer->signature, bytes, sizeof(bytes),
		offer->side == CHAT_LO ? offer->node_lo : offer->node_hi) !=
	    0) {
		errno = EACCES;
		return (-1);
	}
	return (0);
}

void
offer_instance(const struct offer *one, const struct offer *other,
    uint8_t instance[INSTANCE_SIZE])
{
	const struct offer *lo = one->side == CHAT_LO ? one : other;
	const struct offer *hi = one->side == CHAT_LO ? other : one;
	static const char domain[] = INSTANCE_DOMAIN;
	uint8_t bytes[OFFER_SIGNED], hash[KEY_SIZE];
	crypto_generichash_state state;

	if (instance_is_known(lo->instance) ||
	    instance_is_known(hi->instance)) {
		memcpy(instance,
		    instance_is_known(lo->instance) ? lo->instance
						    : hi->instance,
		    INSTANCE_SIZE);
		return;
	}
	(void)crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)domain, sizeof(domain) - 1);
	offer_signed_bytes(lo, bytes);
	(void)crypto_generichash_update(&state, bytes, sizeof(bytes));
	offer_signed_bytes(hi, bytes);
	(void)crypto_generichash_update(&state, bytes, sizeof(bytes));
	(void)crypto_generichash_final(&state, hash, sizeof(hash));
	memcpy(instance, hash, INSTANCE_SIZE);
}

void
offer_encode(const struct offer *offer, uint8_t out[OFFER_ENCODED])
{
	offer_signed_bytes(offer, out);
	memcpy(out + OFFER_SIGNED, offer->signature, SIGNATURE_SIZE);
}

int
offer_decode(struct offer *offer, const uint8_t *bytes, size_t length)
{
	struct decoder decoder = { bytes, length, 0 };
	char domain[sizeof(OFFER_DOMAIN)] = "";

	memset(offer, 0, sizeof(*offer));
	decode_bytes(&decoder, domain, sizeof(OFFER_DOMAIN) - 1);
	decode_bytes(&decoder, offer->handle, KEY_SIZE);
	offer->version = decode_u32(&decoder);
	offer->flags = decode_u32(&decoder);
	offer->side = decode_u8(&decoder);
	decode_bytes(&decoder, offer->app_lo, KEY_SIZE);
	decode_bytes(&decoder, offer->app_hi, KEY_SIZE);
	decode_bytes(&decoder, offer->node_lo, KEY_SIZE);
	decode_bytes(&decoder, offer->node_hi, KEY_SIZE);
	decode_bytes(&decoder, offer->ephemeral, KEY_SIZE);
	decode_bytes(&decoder, offer->link_commitment, KEY_SIZE);
	decode_bytes(&decoder, offer->app_key_hash, KEY_SIZE);
	offer->generation = decode_u64(&decoder);
	decode_bytes(&decoder, offer->instance, INSTANCE_SIZE);
	decode_bytes(&decoder, offer->signature, SIGNATURE_SIZE);
	if (decode_done(&decoder) == -1 || strcmp(domain, OFFER_DOMAIN) != 0 ||
	    !offer_form(offer)) {
		errno = EINVAL;
		return (-1);
	}
	return (0);
}
