/*
 * keyd only. The tieline ratchet; see ratchet.h for the derivation. Pure:
 * state and event in, state and result out.
 */

#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "keyd/aead.h"
#include "keyd/keyscan.h"
#include "keyd/ratchet.h"

#define KDF_CONTEXT "hermes-t"
#define KDF_MESSAGE 1
#define KDF_CHAIN   2
#define INFO_LABEL  "hermes-tieline-v1"
#define INFO_SIZE   (sizeof(INFO_LABEL) - 1 + 2 * OFFER_SIGNED)
#define OKM_SIZE    (3 * KEY_SIZE)
#define AAD_SIZE    (KEY_SIZE + 4 + 1 + 8 + 8)

static const uint8_t zero_link[KEY_SIZE];

uint32_t
ratchet_offer_flags(int sha512)
{
	return ((crypto_aead_aes256gcm_is_available() ? OFFER_AES : 0) |
		(sha512 ? OFFER_SHA512 : 0));
}

void
ratchet_commit_link(const uint8_t link[KEY_SIZE], uint8_t commitment[KEY_SIZE])
{
	static const char label[] = "hermes-link-v1";
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)label, sizeof(label) - 1);
	(void)crypto_generichash_update(&state, link, KEY_SIZE);
	(void)crypto_generichash_final(&state, commitment, KEY_SIZE);
	sodium_memzero(&state, sizeof(state));
}

int
ratchet_commits_to_none(const uint8_t commitment[KEY_SIZE])
{
	/* ratchet_commit_link() of 32 zero bytes. */
	static const uint8_t none[KEY_SIZE] = { 0xcf, 0x99, 0x5c, 0x0c, 0x54,
		0xce, 0x21, 0xcd, 0xbf, 0xdb, 0xd6, 0x5c, 0xb5, 0x54, 0x7c,
		0xc9, 0x95, 0x8b, 0xa2, 0x56, 0xe0, 0x96, 0x5a, 0x6b, 0x24,
		0x36, 0x46, 0xf2, 0x45, 0x6a, 0x21, 0x1a };

	return (memcmp(commitment, none, KEY_SIZE) == 0);
}

void
ratchet_make_ephemeral(struct ratchet *ratchet, const uint8_t random[KEY_SIZE],
    uint8_t public_key[KEY_SIZE])
{
	keyscan_wiped(KEYSCAN_EPHEMERAL, ratchet->secrets->ephemeral, KEY_SIZE);
	memcpy(ratchet->secrets->ephemeral, random, KEY_SIZE);
	keyscan_made(KEYSCAN_EPHEMERAL, ratchet->secrets->ephemeral, KEY_SIZE);
	(void)crypto_scalarmult_base(public_key, random);
}

/* HKDF (RFC 5869) to 96 bytes: three blocks of SHA-256. */
static void
hkdf_sha256(const uint8_t salt[KEY_SIZE], const uint8_t ikm[KEY_SIZE],
    const uint8_t *info, size_t info_length, uint8_t okm[OKM_SIZE])
{
	crypto_auth_hmacsha256_state state;
	uint8_t prk[crypto_auth_hmacsha256_BYTES];
	uint8_t i;

	crypto_auth_hmacsha256_init(&state, salt, KEY_SIZE);
	crypto_auth_hmacsha256_update(&state, ikm, KEY_SIZE);
	crypto_auth_hmacsha256_final(&state, prk);
	keyscan_made(KEYSCAN_PRK, prk, sizeof(prk));
	for (i = 1; i <= 3; i++) {
		crypto_auth_hmacsha256_init(&state, prk, sizeof(prk));
		if (i > 1)
			crypto_auth_hmacsha256_update(&state,
			    okm + (size_t)(i - 2) * sizeof(prk), sizeof(prk));
		crypto_auth_hmacsha256_update(&state, info, info_length);
		crypto_auth_hmacsha256_update(&state, &i, 1);
		crypto_auth_hmacsha256_final(
		    &state, okm + (size_t)(i - 1) * sizeof(prk));
	}
	keyscan_wiped(KEYSCAN_PRK, prk, sizeof(prk));
	sodium_memzero(prk, sizeof(prk));
	sodium_memzero(&state, sizeof(state));
}

/* The same with SHA-512: two blocks, the second one cut. */
static void
hkdf_sha512(const uint8_t salt[KEY_SIZE], const uint8_t ikm[KEY_SIZE],
    const uint8_t *info, size_t info_length, uint8_t okm[OKM_SIZE])
{
	crypto_auth_hmacsha512_state state;
	uint8_t prk[crypto_auth_hmacsha512_BYTES];
	uint8_t block[crypto_auth_hmacsha512_BYTES];
	uint8_t i;

	crypto_auth_hmacsha512_init(&state, salt, KEY_SIZE);
	crypto_auth_hmacsha512_update(&state, ikm, KEY_SIZE);
	crypto_auth_hmacsha512_final(&state, prk);
	keyscan_made(KEYSCAN_PRK, prk, sizeof(prk));
	for (i = 1; i <= 2; i++) {
		crypto_auth_hmacsha512_init(&state, prk, sizeof(prk));
		if (i > 1)
			crypto_auth_hmacsha512_update(
			    &state, block, sizeof(block));
		crypto_auth_hmacsha512_update(&state, info, info_length);
		crypto_auth_hmacsha512_update(&state, &i, 1);
		crypto_auth_hmacsha512_final(&state, block);
		memcpy(okm + (size_t)(i - 1) * sizeof(block), block,
		    i == 1 ? sizeof(block) : OKM_SIZE - sizeof(block));
	}
	keyscan_wiped(KEYSCAN_PRK, prk, sizeof(prk));
	sodium_memzero(prk, sizeof(prk));
	sodium_memzero(block, sizeof(block));
	sodium_memzero(&state, sizeof(state));
}

/* Put okm in force as the epoch of version. */
static void
ratchet_begin(struct ratchet *ratchet, const uint8_t okm[OKM_SIZE],
    uint32_t version, int aes, int reset)
{
	struct ratchet_secrets *secrets = ratchet->secrets;
	size_t own = ratchet->side == CHAT_LO ? 0 : KEY_SIZE;

	ratchet_close_previous(ratchet);
	keyscan_wiped(KEYSCAN_LINK, secrets->link, KEY_SIZE);
	keyscan_wiped(KEYSCAN_CHAIN, secrets->send, KEY_SIZE);
	if (ratchet->version != 0 && !reset) {
		memcpy(secrets->previous, secrets->receive, KEY_SIZE);
		ratchet->previous_version = ratchet->version;
		ratchet->previous_counter = ratchet->receive_counter;
		ratchet->previous_aes = ratchet->aes;
	} else
		keyscan_wiped(KEYSCAN_CHAIN, secrets->receive, KEY_SIZE);
	memcpy(secrets->send, okm + own, KEY_SIZE);
	memcpy(secrets->receive, okm + (KEY_SIZE - own), KEY_SIZE);
	memcpy(secrets->link, okm + 2 * KEY_SIZE, KEY_SIZE);
	keyscan_made(KEYSCAN_CHAIN, secrets->send, KEY_SIZE);
	keyscan_made(KEYSCAN_CHAIN, secrets->receive, KEY_SIZE);
	keyscan_made(KEYSCAN_LINK, secrets->link, KEY_SIZE);
	keyscan_wiped(KEYSCAN_EPHEMERAL, secrets->ephemeral, KEY_SIZE);
	sodium_memzero(secrets->ephemeral, KEY_SIZE);
	ratchet->version = version;
	ratchet->aes = (uint8_t)aes;
	ratchet->send_counter = 0;
	ratchet->receive_counter = 0;
}

int
ratchet_derive(
    struct ratchet *ratchet, const struct offer *own, const struct offer *peer)
{
	const struct offer *lo = own->side == CHAT_LO ? own : peer;
	const struct offer *hi = own->side == CHAT_LO ? peer : own;
	uint32_t both = own->flags & peer->flags;
	int aes = (both & OFFER_AES) != 0;
	int reset;
	uint8_t info[INFO_SIZE];
	uint8_t dh[KEY_SIZE], okm[OKM_SIZE];
	const uint8_t *salt;

	if (own->version != peer->version || own->side == peer->side ||
	    own->side != ratchet->side)
		return (-1);
	if (aes && !crypto_aead_aes256gcm_is_available())
		return (-1);
	/* -1 when the result is all zero. */
	if (crypto_scalarmult(
		dh, ratchet->secrets->ephemeral, peer->ephemeral) != 0)
		return (-1);
	keyscan_made(KEYSCAN_DH, dh, sizeof(dh));
	reset = ((own->flags | peer->flags) & OFFER_RESET) != 0;
	salt = reset ? zero_link : ratchet->secrets->link;
	memcpy(info, INFO_LABEL, sizeof(INFO_LABEL) - 1);
	offer_signed_bytes(lo, info + sizeof(INFO_LABEL) - 1);
	offer_signed_bytes(hi, info + sizeof(INFO_LABEL) - 1 + OFFER_SIGNED);
	if (both & OFFER_SHA512)
		hkdf_sha512(salt, dh, info, sizeof(info), okm);
	else
		hkdf_sha256(salt, dh, info, sizeof(info), okm);
	ratchet_begin(ratchet, okm, own->version, aes, reset);
	ratchet->sha512 = (both & OFFER_SHA512) != 0;
	keyscan_wiped(KEYSCAN_DH, dh, sizeof(dh));
	sodium_memzero(dh, sizeof(dh));
	sodium_memzero(okm, sizeof(okm));
	return (0);
}

static void
chain_message_key(const uint8_t chain[KEY_SIZE], uint8_t key[KEY_SIZE])
{
	(void)crypto_kdf_derive_from_key(
	    key, KEY_SIZE, KDF_MESSAGE, KDF_CONTEXT, chain);
	keyscan_made(KEYSCAN_MESSAGE, key, KEY_SIZE);
}

static void
chain_step(uint8_t chain[KEY_SIZE])
{
	uint8_t next[KEY_SIZE];

	(void)crypto_kdf_derive_from_key(
	    next, KEY_SIZE, KDF_CHAIN, KDF_CONTEXT, chain);
	keyscan_wiped(KEYSCAN_CHAIN, chain, KEY_SIZE);
	memcpy(chain, next, KEY_SIZE);
	keyscan_made(KEYSCAN_CHAIN, chain, KEY_SIZE);
	sodium_memzero(next, sizeof(next));
}

/* Nonce and additional data of one message. */
static void
message_binding(const struct ratchet *ratchet, uint32_t version, uint8_t side,
    uint64_t counter, uint64_t sequence, uint8_t nonce[AEAD_NONCE],
    uint8_t aad[AAD_SIZE])
{
	struct encoder encoder = { .bytes = aad, .size = AAD_SIZE };
	struct encoder number = { .bytes = nonce, .size = AEAD_NONCE };

	encode_bytes(&encoder, ratchet->handle, KEY_SIZE);
	encode_u32(&encoder, version);
	encode_u8(&encoder, side);
	encode_u64(&encoder, counter);
	encode_u64(&encoder, sequence);
	encode_u32(&number, 0);
	encode_u64(&number, counter);
}

uint64_t
ratchet_seal(struct ratchet *ratchet, uint64_t sequence, const uint8_t *in,
    size_t length, uint8_t *out)
{
	uint64_t counter = ratchet->send_counter;
	uint8_t key[KEY_SIZE], aad[AAD_SIZE];
	struct aead aead = { .aes = ratchet->aes,
		.key = key,
		.aad = aad,
		.aad_length = sizeof(aad) };

	message_binding(ratchet, ratchet->version, ratchet->side, counter,
	    sequence, aead.nonce, aad);
	chain_message_key(ratchet->secrets->send, key);
	aead_seal(&aead, in, length, out);
	chain_step(ratchet->secrets->send);
	ratchet->send_counter++;
	keyscan_wiped(KEYSCAN_MESSAGE, key, sizeof(key));
	sodium_memzero(key, sizeof(key));
	return (counter);
}

/* Open with a copy of chain that is at counter at; the copy comes out one
 * past counter. */
static int
chain_open(const struct ratchet *ratchet, uint8_t chain[KEY_SIZE], uint64_t at,
    uint32_t version, int aes, uint64_t counter, uint64_t sequence,
    const uint8_t *in, size_t length, uint8_t *out)
{
	uint8_t key[KEY_SIZE], aad[AAD_SIZE];
	struct aead aead = {
		.aes = aes, .key = key, .aad = aad, .aad_length = sizeof(aad)
	};
	int status;

	for (; at < counter; at++)
		chain_step(chain);
	message_binding(ratchet, version, ratchet->side ^ 1, counter, sequence,
	    aead.nonce, aad);
	chain_message_key(chain, key);
	status = aead_open(&aead, in, length, out);
	keyscan_wiped(KEYSCAN_MESSAGE, key, sizeof(key));
	sodium_memzero(key, sizeof(key));
	if (status == 0)
		chain_step(chain);
	return (status);
}

enum ratchet_result
ratchet_open(struct ratchet *ratchet, uint32_t version, uint64_t counter,
    uint64_t sequence, const uint8_t *in, size_t length, uint8_t *out)
{
	int present = version == ratchet->version;
	uint8_t *chain =
	    present ? ratchet->secrets->receive : ratchet->secrets->previous;
	uint64_t *at =
	    present ? &ratchet->receive_counter : &ratchet->previous_counter;
	uint8_t copy[KEY_SIZE];
	int status;

	if (ratchet->version == 0)
		return (RATCHET_OLD);
	if (version > ratchet->version)
		return (RATCHET_UNKNOWN);
	if (version == 0 || (!present && version != ratchet->previous_version))
		return (RATCHET_OLD);
	if (counter < *at)
		return (RATCHET_REPLAY);
	if (counter - *at > RATCHET_JUMP)
		return (RATCHET_FAR);
	if (length < RATCHET_TAG)
		return (RATCHET_AEAD);
	memcpy(copy, chain, KEY_SIZE);
	status = chain_open(ratchet, copy, *at, version,
	    present ? ratchet->aes : ratchet->previous_aes, counter, sequence,
	    in, length, out);
	if (status == 0) {
		memcpy(chain, copy, KEY_SIZE);
		*at = counter + 1;
		if (present)
			ratchet_close_previous(ratchet);
	} else {
		keyscan_wiped(KEYSCAN_CHAIN, copy, KEY_SIZE);
		keyscan_made(KEYSCAN_CHAIN, chain, KEY_SIZE);
	}
	sodium_memzero(copy, sizeof(copy));
	return (status == 0 ? RATCHET_OK : RATCHET_AEAD);
}

uint64_t
ratchet_skips(const struct ratchet *ratchet, uint32_t version, uint64_t counter)
{
	uint64_t at;

	if (version == ratchet->version)
		at = ratchet->receive_counter;
	else if (version == ratchet->previous_version)
		at = ratchet->previous_counter;
	else
		return (0);
	return (version != 0 && counter > at ? counter - at : 0);
}

void
ratchet_close_previous(struct ratchet *ratchet)
{
	if (ratchet->previous_version == 0)
		return;
	keyscan_wiped(KEYSCAN_CHAIN, ratchet->secrets->previous, KEY_SIZE);
	sodium_memzero(ratchet->secrets->previous, KEY_SIZE);
	ratchet->previous_version = 0;
}

void
ratchet_close(struct ratchet *ratchet)
{
	ratchet_close_previous(ratchet);
	keyscan_wiped(KEYSCAN_CHAIN, ratchet->secrets->send, KEY_SIZE);
	keyscan_wiped(KEYSCAN_CHAIN, ratchet->secrets->receive, KEY_SIZE);
	sodium_memzero(ratchet->secrets->send, KEY_SIZE);
	sodium_memzero(ratchet->secrets->receive, KEY_SIZE);
	ratchet->version = 0;
	ratchet->send_counter = 0;
	ratchet->receive_counter = 0;
}

void
ratchet_wipe(struct ratchet *ratchet)
{
	if (ratchet->secrets == NULL)
		return;
	ratchet_close(ratchet);
	keyscan_wiped(KEYSCAN_LINK, ratchet->secrets->link, KEY_SIZE);
	keyscan_wiped(KEYSCAN_EPHEMERAL, ratchet->secrets->ephemeral, KEY_SIZE);
	sodium_memzero(ratchet->secrets, sizeof(*ratchet->secrets));
}
