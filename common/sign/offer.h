/*
 * keyd makes and checks these; mesh carries them. A side's offer for one key
 * version of a chat (design section 5): everything the epoch is bound to.
 */
#ifndef COMMON_SIGN_OFFER_H
#define COMMON_SIGN_OFFER_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

#define OFFER_AES    0x1 /* this CPU has AES-256-GCM in hardware */
#define OFFER_RESET  0x2 /* start again from link 0 */
#define OFFER_SHA512 0x4 /* wants HKDF-SHA512; both must */
#define OFFER_FLAGS  0x7

struct offer {
	uint8_t handle[KEY_SIZE];
	uint32_t version; /* >= 1 */
	uint32_t flags;   /* OFFER_* */
	uint32_t side;    /* enum chat_side that offers */
	uint32_t zero;
	uint8_t app_lo[KEY_SIZE];
	uint8_t app_hi[KEY_SIZE];
	uint8_t node_lo[KEY_SIZE]; /* identity of app_lo's node */
	uint8_t node_hi[KEY_SIZE];
	uint8_t ephemeral[KEY_SIZE]; /* X25519 public key */
	/* BLAKE2b-256("hermes-link-v1" || link of version - 1) */
	uint8_t link_commitment[KEY_SIZE];
	uint8_t app_key_hash[KEY_SIZE]; /* SHA-256; 0 when none */
	uint64_t generation;            /* of the store; never goes back */
	/* Of the chat that goes on; 0: it begins, or that is not known. */
	uint8_t instance[INSTANCE_SIZE];
	uint8_t signature[SIGNATURE_SIZE]; /* by the side's node */
};

/*
 * The signed bytes: "hermes-offer-v2" || handle || BE32 version || BE32 flags
 * || u8 side || app_lo || app_hi || node_lo || node_hi || ephemeral ||
 * link_commitment || app_key_hash || BE64 generation || instance. They are
 * also what the derivation binds in. Always OFFER_SIGNED long.
 */
#define OFFER_SIGNED (288 + INSTANCE_SIZE)
void offer_signed_bytes(const struct offer *offer, uint8_t out[OFFER_SIGNED]);

/* 0, or -1 with errno EINVAL (form: flags, side, version, handle order) or
 * EACCES (signature by the side's node key). */
int offer_verify(const struct offer *offer);

/*
 * The instance of a chat that has an epoch of these two offers, of one version:
 * the one that an offer names, and if neither does, it begins with this epoch:
 * the first INSTANCE_SIZE bytes of BLAKE2b-256("hermes-instance-v1" || signed
 * bytes of side lo's || of side hi's). Both ends come to the same.
 */
void offer_instance(const struct offer *one, const struct offer *other,
    uint8_t instance[INSTANCE_SIZE]);

/* As in SetupTieline.offer: the signed bytes, then the signature. */
#define OFFER_ENCODED (OFFER_SIGNED + SIGNATURE_SIZE)
void offer_encode(const struct offer *offer, uint8_t out[OFFER_ENCODED]);
int offer_decode(struct offer *offer, const uint8_t *bytes, size_t length);

#endif
