/*
 * keyd only. The tieline ratchet: epochs, chains, sealing and opening
 * (design section 5). A pure core: no input or output, no clock; randomness
 * is passed in. One struct ratchet is one side of one chat.
 *
 * The epoch of version v comes from the two offers of v:
 *
 *	dh	= X25519(own ephemeral, peer's ephemeral)
 *	prk	= HKDF-Extract(salt = link of v - 1, or 32 zero bytes, dh)
 *	okm	= HKDF-Expand(prk, "hermes-tieline-v1" || signed bytes of the
 *		  offer of side lo || of side hi, 96)
 *	chain_lo || chain_hi || link = okm
 *
 * with SHA-256, or SHA-512 when both offers ask for it. chain_lo carries the
 * messages of side lo. For each message
 *
 *	message key	= crypto_kdf(chain, 1, "hermes-t")
 *	next chain	= crypto_kdf(chain, 2, "hermes-t")
 *
 * The nonce is 4 zero bytes || BE64(counter); covered besides the payload
 * are handle || BE32(version) || u8 sender's side || BE64(counter) ||
 * BE64(app's sequence).
 */
#ifndef KEYD_RATCHET_H
#define KEYD_RATCHET_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"
#include "common/sign/offer.h"

#define RATCHET_JUMP 2000 /* counters stepped over at once */
#define RATCHET_TAG  16   /* bytes that sealing adds */

struct ratchet_secrets {
	uint8_t link[KEY_SIZE]; /* of the last version derived */
	uint8_t send[KEY_SIZE]; /* chains of the epoch in force */
	uint8_t receive[KEY_SIZE];
	uint8_t previous[KEY_SIZE];  /* the last epoch's receive chain */
	uint8_t ephemeral[KEY_SIZE]; /* of the offer not yet answered */
};

struct ratchet {
	struct ratchet_secrets *secrets; /* secret.h; the chat's */
	const uint8_t *handle;           /* KEY_SIZE; the chat's */
	uint8_t side;                    /* enum chat_side */
	uint8_t aes;
	uint8_t previous_aes;
	uint8_t sha512;            /* derived with it */
	uint32_t version;          /* in force; 0: none */
	uint32_t previous_version; /* 0: closed */
	uint64_t send_counter;     /* the next */
	uint64_t receive_counter;  /* least that opens */
	uint64_t previous_counter;
};

enum ratchet_result {
	RATCHET_OK,
	RATCHET_REPLAY, /* counter already passed */
	RATCHET_FAR,    /* jump over RATCHET_JUMP */
	RATCHET_AEAD,   /* does not open */
	RATCHET_OLD,    /* epoch wiped, or none yet */
	RATCHET_UNKNOWN /* epoch not derived here */
};

/* What this CPU and config let an offer carry. */
uint32_t ratchet_offer_flags(int sha512);

/* The offer's link_commitment for a link. */
void ratchet_commit_link(
    const uint8_t link[KEY_SIZE], uint8_t commitment[KEY_SIZE]);

/* Is the commitment that of link 0, from which a chat begins? */
int ratchet_commits_to_none(const uint8_t commitment[KEY_SIZE]);

/* Keep random (32 bytes) as the ephemeral secret; its public key. */
void ratchet_make_ephemeral(struct ratchet *ratchet,
    const uint8_t random[KEY_SIZE], uint8_t public_key[KEY_SIZE]);

/*
 * Derive the epoch of two offers of one version, own one made from the
 * ephemeral kept; wipes the ephemeral and the old link and puts the epoch in
 * force. The epoch before stays open for receiving, unless either offer
 * resets the link. 0, or -1 when the offers yield no key (nothing changes):
 * a weak public key, or a cipher this CPU lacks.
 */
int ratchet_derive(
    struct ratchet *ratchet, const struct offer *own, const struct offer *peer);

/* Seal length bytes of in to out (length + RATCHET_TAG) and step. The
 * counter used. There must be an epoch in force. */
uint64_t ratchet_seal(struct ratchet *ratchet, uint64_t sequence,
    const uint8_t *in, size_t length, uint8_t *out);

/*
 * Open length bytes of in to out (length - RATCHET_TAG) and step past the
 * counter. Unless RATCHET_OK nothing changes and out says nothing. The first
 * message of an epoch closes the one before.
 */
enum ratchet_result ratchet_open(struct ratchet *ratchet, uint32_t version,
    uint64_t counter, uint64_t sequence, const uint8_t *in, size_t length,
    uint8_t *out);

/* How far counter is beyond the next of that version; 0 when it is not, or the
 * version has no keys here. */
uint64_t ratchet_skips(
    const struct ratchet *ratchet, uint32_t version, uint64_t counter);

/* Wipe the previous epoch; wipe all epochs (the link stays). */
void ratchet_close_previous(struct ratchet *ratchet);
void ratchet_close(struct ratchet *ratchet);

/* Wipe every key, if there are any. */
void ratchet_wipe(struct ratchet *ratchet);

#endif
