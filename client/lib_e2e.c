/* libhermes. The Double Ratchet between two apps; see lib_e2e.h. */
#include <sodium.h>
#include <string.h>

#include "client/lib_e2e.h"
#include "common/sign/encode.h"

#define MARK          0xe2
#define FLAG_KEY      1
#define SESSION_LABEL "hermes-e2e-session-v1"
#define STEP_LABEL    "hermes-e2e-step-v1"
#define KEY_LABEL     "hermes-e2e-key-v1"

/* --- keys ---------------------------------------------------------------- */

/* root and a chain, from both halves of a BLAKE2b-512. */
static void
hash_pair(crypto_generichash_state *state, uint8_t root[KEY_SIZE],
    uint8_t chain[KEY_SIZE])
{
	uint8_t both[2 * KEY_SIZE];

	(void)crypto_generichash_final(state, both, sizeof(both));
	memcpy(root, both, KEY_SIZE);
	memcpy(chain, both + KEY_SIZE, KEY_SIZE);
	sodium_memzero(both, sizeof(both));
	sodium_memzero(state, sizeof(*state));
}

/* One step of the root with the two ratchet keys; -1: peer's is no key. */
static int
root_step(struct e2e_session *session, uint8_t chain[KEY_SIZE])
{
	crypto_generichash_state state;
	uint8_t dh[KEY_SIZE];

	if (crypto_scalarmult(dh, session->own_secret, session->peer_public) !=
	    0)
		return (-1);
	(void)crypto_generichash_init(
	    &state, session->root, KEY_SIZE, 2 * KEY_SIZE);
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)STEP_LABEL, sizeof(STEP_LABEL) - 1);
	(void)crypto_generichash_update(&state, dh, sizeof(dh));
	hash_pair(&state, session->root, chain);
	sodium_memzero(dh, sizeof(dh));
	return (0);
}

static void
chain_step(uint8_t chain[KEY_SIZE], uint8_t message_key[KEY_SIZE])
{
	static const uint8_t one = 1, two = 2;
	uint8_t next[KEY_SIZE];

	(void)crypto_generichash(
	    message_key, KEY_SIZE, &one, 1, chain, KEY_SIZE);
	(void)crypto_generichash(next, KEY_SIZE, &two, 1, chain, KEY_SIZE);
	memcpy(chain, next, KEY_SIZE);
	sodium_memzero(next, sizeof(next));
}

/* --- sessions ------------------------------------------------------------ */

void
e2e_init(struct e2e *e2e, const struct chat_key *chat)
{
	sodium_memzero(e2e, sizeof(*e2e));
	e2e->chat = *chat;
}

void
e2e_new_key(struct e2e *e2e, const uint8_t random[KEY_SIZE])
{
	memcpy(e2e->key_secret, random, KEY_SIZE);
	(void)crypto_scalarmult_base(e2e->key_public, e2e->key_secret);
	memset(e2e->answered, 0, KEY_SIZE);
	e2e->fresh = 1;
}

/* Root, first chain and name of the session of our key and peer_key. */
static int
session_derive(const struct e2e *e2e, const uint8_t peer_key[KEY_SIZE],
    struct e2e_session *session, uint8_t chain[KEY_SIZE])
{
	const uint8_t *lo = e2e->key_public, *hi = peer_key;
	crypto_generichash_state state;
	uint8_t dh[KEY_SIZE], name[KEY_SIZE];

	if (crypto_scalarmult(dh, e2e->key_secret, peer_key) != 0)
		return (-1);
	if (e2e->chat.side == CHAT_HI) {
		lo = peer_key;
		hi = e2e->key_public;
	}
	(void)crypto_generichash_init(&state, NULL, 0, 2 * KEY_SIZE);
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)SESSION_LABEL, sizeof(SESSION_LABEL) - 1);
	(void)crypto_generichash_update(&state, dh, sizeof(dh));
	(void)crypto_generichash_update(&state, e2e->chat.handle, KEY_SIZE);
	(void)crypto_generichash_update(&state, lo, KEY_SIZE);
	(void)crypto_generichash_update(&state, hi, KEY_SIZE);
	hash_pair(&state, session->root, chain);
	sodium_memzero(dh, sizeof(dh));
	/* The name shows nothing: it is a hash of public keys. */
	(void)crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
	(void)crypto_generichash_update(&state, lo, KEY_SIZE);
	(void)crypto_generichash_update(&state, hi, KEY_SIZE);
	(void)crypto_generichash_final(&state, name, sizeof(name));
	memcpy(session->id, name, E2E_ID_SIZE);
	return (0);
}

/* The session of our fresh key and the peer's. -1: it is no key. */
static int
session_make(struct e2e *e2e, const uint8_t peer_key[KEY_SIZE])
{
	struct e2e_session session;
	uint8_t chain[KEY_SIZE];

	memset(&session, 0, sizeof(session));
	if (session_derive(e2e, peer_key, &session, chain) == -1)
		return (-1);
	session.active = 1;
	memcpy(session.peer_key, peer_key, KEY_SIZE);
	if (e2e->chat.side == CHAT_LO) {
		memcpy(session.peer_public, peer_key, KEY_SIZE);
		memcpy(session.receive_chain, chain, KEY_SIZE);
		session.can_receive = 1;
		session.step_due = 1;
	} else {
		memcpy(session.own_secret, e2e->key_secret, KEY_SIZE);
		memcpy(session.own_public, e2e->key_public, KEY_SIZE);
		memcpy(session.send_chain, chain, KEY_SIZE);
	}
	if (e2e->current.active)
		e2e->previous = e2e->current;
	e2e->current = session;
	sodium_memzero(&session, sizeof(session));
	sodium_memzero(chain, sizeof(chain));
	sodium_memzero(e2e->key_secret, KEY_SIZE);
	memcpy(e2e->answered, peer_key, KEY_SIZE);
	e2e->fresh = 0;
	return (0);
}

enum e2e_result
e2e_peer_key(struct e2e *e2e, const uint8_t key[KEY_SIZE],
    const uint8_t answers[KEY_SIZE])
{
	const struct e2e_session *current = &e2e->current;
	const struct e2e_session *previous = &e2e->previous;

	if (!sodium_is_zero(answers, KEY_SIZE)) {
		/* Else it goes with a key of ours that we have given up. */
		if (!e2e->fresh ||
		    memcmp(answers, e2e->key_public, KEY_SIZE) != 0)
			return (E2E_KNOWN);
	} else if ((current->active &&
		       memcmp(current->peer_key, key, KEY_SIZE) == 0) ||
		   (previous->active &&
		       memcmp(previous->peer_key, key, KEY_SIZE) == 0))
		return (E2E_KNOWN);
	if (!e2e->fresh)
		return (E2E_NEED_KEY);
	return (session_make(e2e, key) == -1 ? E2E_BROKEN : E2E_DONE);
}

int
e2e_ready(const struct e2e *e2e)
{
	return (e2e->current.active);
}

void
e2e_loaded(struct e2e *e2e)
{
	if (e2e->current.active)
		e2e->previous = e2e->current;
	sodium_memzero(&e2e->current, sizeof(e2e->current));
	sodium_memzero(e2e->key_secret, KEY_SIZE);
	e2e->fresh = 0;
}

/* --- announcements ------------------------------------------------------- */

#define ANNOUNCED_SIZE (sizeof(KEY_LABEL) - 1 + 1 + 3 * KEY_SIZE)

static void
announcement_bytes(const struct e2e *e2e, uint8_t side,
    const uint8_t key[KEY_SIZE], const uint8_t answers[KEY_SIZE],
    uint8_t out[ANNOUNCED_SIZE])
{
	struct encoder e = { .bytes = out, .size = ANNOUNCED_SIZE };

	encode_text(&e, KEY_LABEL);
	encode_bytes(&e, e2e->chat.handle, KEY_SIZE);
	encode_u8(&e, side);
	encode_bytes(&e, key, KEY_SIZE);
	encode_bytes(&e, answers, KEY_SIZE);
}

void
e2e_sign(struct e2e *e2e, const uint8_t *secret)
{
	uint8_t bytes[ANNOUNCED_SIZE];

	announcement_bytes(
	    e2e, e2e->chat.side, e2e->key_public, e2e->answered, bytes);
	(void)crypto_sign_detached(
	    e2e->key_signature, NULL, bytes, sizeof(bytes), secret);
}

/* The announcement in a message of a session that is not known. */
static enum e2e_result
announcement_take(struct e2e *e2e, const uint8_t peer_app[KEY_SIZE],
    const uint8_t announcement[E2E_ANNOUNCEMENT])
{
	const uint8_t *key = announcement;
	const uint8_t *answers = announcement + KEY_SIZE;
	uint8_t bytes[ANNOUNCED_SIZE];

	announcement_bytes(e2e, e2e->chat.side ^ 1, key, answers, bytes);
	if (crypto_sign_verify_detached(announcement + 2 * KEY_SIZE, bytes,
		sizeof(bytes), peer_app) != 0)
		return (E2E_BROKEN);
	return (e2e_peer_key(e2e, key, answers));
}

/* --- messages ------------------------------------------------------------ */

#define HEADER_MAX (E2E_HEADER + E2E_ANNOUNCEMENT)
#define AAD_MAX    (KEY_SIZE + 1 + 8 + HEADER_MAX)

static size_t
message_aad(const struct e2e *e2e, uint8_t side, uint64_t sequence,
    const uint8_t *header, size_t length, uint8_t aad[AAD_MAX])
{
	struct encoder e = { .bytes = aad, .size = AAD_MAX };

	encode_bytes(&e, e2e->chat.handle, KEY_SIZE);
	encode_u8(&e, side);
	encode_u64(&e, sequence);
	encode_bytes(&e, header, length);
	return (e.length);
}

static size_t
header_put(const struct e2e *e2e, uint8_t *out)
{
	const struct e2e_session *session = &e2e->current;
	struct encoder e = { .bytes = out, .size = HEADER_MAX };

	encode_u8(&e, MARK);
	encode_u8(&e, session->confirmed ? 0 : FLAG_KEY);
	encode_bytes(&e, session->id, E2E_ID_SIZE);
	encode_bytes(&e, session->own_public, KEY_SIZE);
	encode_u32(&e, session->sent);
	if (!session->confirmed) {
		encode_bytes(&e, e2e->key_public, KEY_SIZE);
		encode_bytes(&e, e2e->answered, KEY_SIZE);
		encode_bytes(&e, e2e->key_signature, SIGNATURE_SIZE);
	}
	return (e.length);
}

size_t
e2e_seal(struct e2e *e2e, const uint8_t random[KEY_SIZE], uint64_t sequence,
    const uint8_t *plain, size_t length, uint8_t *out, int *stepped)
{
	static const uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	struct e2e_session *session = &e2e->current;
	uint8_t key[KEY_SIZE], aad[AAD_MAX];
	size_t header, aad_length;

	*stepped = session->step_due;
	if (session->step_due) {
		memcpy(session->own_secret, random, KEY_SIZE);
		(void)crypto_scalarmult_base(
		    session->own_public, session->own_secret);
		/* Was found to be a key when it came. */
		(void)root_step(session, session->send_chain);
		session->sent = 0;
		session->step_due = 0;
	}
	header = header_put(e2e, out);
	aad_length =
	    message_aad(e2e, e2e->chat.side, sequence, out, header, aad);
	chain_step(session->send_chain, key);
	session->sent++;
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(out + header, NULL,
	    plain, length, aad, aad_length, NULL, nonce, key);
	sodium_memzero(key, sizeof(key));
	return (header + length + E2E_TAG);
}

/* The key of message number of ratchet key peer, on a copy of the session. */
static enum e2e_result
session_message_key(struct e2e_session *session, const uint8_t peer[KEY_SIZE],
    uint32_t number, uint8_t key[KEY_SIZE])
{
	if (!session->can_receive ||
	    memcmp(session->peer_public, peer, KEY_SIZE) != 0) {
		/* A new key comes after one of ours, never twice in a row. */
		if (session->step_due)
			return (E2E_BROKEN);
		memcpy(session->peer_public, peer, KEY_SIZE);
		if (root_step(session, session->receive_chain) == -1)
			return (E2E_BROKEN);
		session->received = 0;
		session->can_receive = 1;
		session->step_due = 1;
	}
	if (number < session->received ||
	    number - session->received > E2E_SKIP_MAX)
		return (E2E_BROKEN);
	do
		chain_step(session->receive_chain, key);
	while (session->received++ < number);
	return (E2E_DONE);
}

static enum e2e_result
session_open(const struct e2e *e2e, struct e2e_session *session,
    uint64_t sequence, const uint8_t *sealed, size_t length, size_t header,
    uint8_t *out)
{
	static const uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	struct decoder d = { sealed + 2 + E2E_ID_SIZE, KEY_SIZE + 4, 0 };
	uint8_t peer[KEY_SIZE], key[KEY_SIZE], aad[AAD_MAX];
	struct e2e_session copy = *session;
	enum e2e_result result;
	size_t aad_length;

	decode_bytes(&d, peer, KEY_SIZE);
	result = session_message_key(&copy, peer, decode_u32(&d), key);
	if (result != E2E_DONE)
		goto done;
	aad_length =
	    message_aad(e2e, e2e->chat.side ^ 1, sequence, sealed, header, aad);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL,
		sealed + header, length - header, aad, aad_length, nonce,
		key) != 0) {
		result = E2E_BROKEN;
		goto done;
	}
	*session = copy;
	session->confirmed = 1;
done:
	sodium_memzero(&copy, sizeof(copy));
	sodium_memzero(key, sizeof(key));
	return (result);
}

/* The session a message names, or NULL. */
static struct e2e_session *
session_find(struct e2e *e2e, const uint8_t id[E2E_ID_SIZE])
{
	if (e2e->current.active &&
	    memcmp(e2e->current.id, id, E2E_ID_SIZE) == 0)
		return (&e2e->current);
	if (e2e->previous.active &&
	    memcmp(e2e->previous.id, id, E2E_ID_SIZE) == 0)
		return (&e2e->previous);
	return (NULL);
}

uint32_t
e2e_ahead(struct e2e *e2e, const uint8_t *sealed, size_t length)
{
	struct decoder d = { sealed + 2 + E2E_ID_SIZE, KEY_SIZE + 4, 0 };
	struct e2e_session *session;
	uint8_t peer[KEY_SIZE];
	uint32_t number;

	if (length < E2E_HEADER ||
	    (session = session_find(e2e, sealed + 2)) == NULL)
		return (0);
	decode_bytes(&d, peer, KEY_SIZE);
	number = decode_u32(&d);
	if (!session->can_receive ||
	    memcmp(session->peer_public, peer, KEY_SIZE) != 0)
		return (number);
	return (number > session->received ? number - session->received : 0);
}

enum e2e_result
e2e_open(struct e2e *e2e, const uint8_t peer_app[KEY_SIZE], uint64_t sequence,
    const uint8_t *sealed, size_t length, uint8_t *out, size_t *out_length)
{
	struct e2e_session *session;
	enum e2e_result result;
	size_t header = E2E_HEADER;

	if (length < E2E_HEADER + E2E_TAG || sealed[0] != MARK ||
	    (sealed[1] & ~FLAG_KEY) != 0)
		return (E2E_BROKEN);
	if ((sealed[1] & FLAG_KEY) != 0)
		header += E2E_ANNOUNCEMENT;
	if (length < header + E2E_TAG)
		return (E2E_BROKEN);
	session = session_find(e2e, sealed + 2);
	if (session == NULL && header > E2E_HEADER) {
		result = announcement_take(e2e, peer_app, sealed + E2E_HEADER);
		if (result == E2E_NEED_KEY || result == E2E_BROKEN)
			return (result);
		session = session_find(e2e, sealed + 2);
	}
	if (session == NULL)
		return (E2E_LOST);
	result =
	    session_open(e2e, session, sequence, sealed, length, header, out);
	if (result != E2E_DONE)
		return (result);
	*out_length = length - header - E2E_TAG;
	/* Order: after the first of the new one none of the old one comes. */
	if (session == &e2e->current)
		sodium_memzero(&e2e->previous, sizeof(e2e->previous));
	return (E2E_DONE);
}
