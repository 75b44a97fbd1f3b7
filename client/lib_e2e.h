/*
 * libhermes. The apps' own end-to-end layer: a Double Ratchet between two
 * apps, under the nodes' ratchet and unknown to them. A pure core: no I/O,
 * randomness comes from outside. The peer's bytes are hostile.
 *
 * Source: M. Marlinspike, T. Perrin, "The Double Ratchet Algorithm" (Signal,
 * revision 1, 2016), with these differences, all because Hermes delivers in
 * order: keys of messages that never came are dropped and not kept, and a
 * header needs no length of the chain before.
 *
 * A session is made of one X25519 key of each app, which the app's identity
 * signed (StartChat). Each such key serves one session:
 *
 *	root, chain = BLAKE2b-512("hermes-e2e-session-v1" || X25519(own, peer)
 *	    || handle || key of the smaller app || key of the larger)
 *
 * The smaller app is Alice of the paper: its first message brings a new
 * ratchet key. The larger one may send before that came: on chain, which both
 * know from the start. Each step of the root is
 *
 *	root, chain = BLAKE2b-512(key = root,
 *	    "hermes-e2e-step-v1" || X25519(own ratchet key, peer's))
 *
 * and each message's key, and the next chain key, BLAKE2b-256(key = chain)
 * over one byte, 1 and 2. A message is
 *
 *	0xe2 || flags || session(8) || ratchet key(32) || BE32(number)
 *	    [|| key(32) || answered key(32) || signature(64)]
 *	    || ChaCha20-Poly1305(plain; key of the message, nonce 0,
 *	       AAD = handle || side of the sender || BE64(sequence) || header)
 *
 * The part in brackets comes (flag 1) until the peer has used the session, so
 * that it can make the same: the signature is the app's over
 * "hermes-e2e-key-v1" || handle || side || key || answered key.
 */
#ifndef CLIENT_LIB_E2E_H
#define CLIENT_LIB_E2E_H

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

#define E2E_ID_SIZE      8
#define E2E_HEADER       (1 + 1 + E2E_ID_SIZE + KEY_SIZE + 4)
#define E2E_ANNOUNCEMENT (KEY_SIZE + KEY_SIZE + SIGNATURE_SIZE)
#define E2E_TAG          16
#define E2E_OVERHEAD     (E2E_HEADER + E2E_ANNOUNCEMENT + E2E_TAG)
/* Numbers a message may be ahead; what was lost was lost by a crash. */
#define E2E_SKIP_MAX     65536

struct e2e_session {
	uint8_t id[E2E_ID_SIZE];
	uint8_t peer_key[KEY_SIZE]; /* the signed one */
	uint8_t root[KEY_SIZE];
	uint8_t send_chain[KEY_SIZE];
	uint8_t receive_chain[KEY_SIZE];
	uint8_t own_secret[KEY_SIZE]; /* ratchet keys */
	uint8_t own_public[KEY_SIZE];
	uint8_t peer_public[KEY_SIZE];
	uint32_t sent;
	uint32_t received;
	uint8_t active;
	uint8_t can_receive;
	uint8_t step_due;  /* the next message brings a new ratchet key */
	uint8_t confirmed; /* the peer has used it */
};

/* One chat of one app. All of it is secret; saved and loaded as it is. */
struct e2e {
	struct chat_key chat;
	uint8_t key_secret[KEY_SIZE]; /* of the next session */
	uint8_t key_public[KEY_SIZE];
	uint8_t answered[KEY_SIZE]; /* the peer's, that ours went with */
	uint8_t key_signature[SIGNATURE_SIZE];
	uint32_t fresh; /* the key is of no session yet */
	struct e2e_session current;
	struct e2e_session previous; /* to open with */
};

enum e2e_result {
	E2E_DONE,
	E2E_KNOWN,    /* nothing to do */
	E2E_NEED_KEY, /* e2e_new_key(), then again; then announce it */
	E2E_LOST,     /* of a session that is not known */
	E2E_BROKEN    /* not what the peer app made, or made for here */
};

void e2e_init(struct e2e *e2e, const struct chat_key *chat);

/*
 * A new key of our own, from 32 random bytes, for the next session. The
 * caller signs the announcement of it with e2e_sign().
 */
void e2e_new_key(struct e2e *e2e, const uint8_t random[KEY_SIZE]);

/*
 * The peer announced key, its signature checked; answers: the key of ours
 * that it goes with (zeros: none). E2E_DONE when a session was made of it.
 */
enum e2e_result e2e_peer_key(struct e2e *e2e, const uint8_t key[KEY_SIZE],
    const uint8_t answers[KEY_SIZE]);

/* Sign our announcement, once a session is made. secret: Ed25519, 64 bytes.*/
void e2e_sign(struct e2e *e2e, const uint8_t *secret);

/* 1 when e2e_seal() may be called. */
int e2e_ready(const struct e2e *e2e);

/*
 * Seal plain[length] as message sequence into out (length + E2E_OVERHEAD).
 * random: 32 bytes, for a new ratchet key. The length of it; *stepped says
 * whether e2e must be saved before it is sent.
 */
size_t e2e_seal(struct e2e *e2e, const uint8_t random[KEY_SIZE],
    uint64_t sequence, const uint8_t *plain, size_t length, uint8_t *out,
    int *stepped);

/*
 * Open sealed[length] in place of out (length bytes). peer_app: its Ed25519
 * key. E2E_DONE; or E2E_NEED_KEY, E2E_LOST, E2E_BROKEN and nothing is changed
 * but that a session may have been made of the announcement in it.
 */
enum e2e_result e2e_open(struct e2e *e2e, const uint8_t peer_app[KEY_SIZE],
    uint64_t sequence, const uint8_t *sealed, size_t length, uint8_t *out,
    size_t *out_length);

/* How many keys of messages that never came opening sealed would step over;
 * 0 too when it is of no session that is known. */
uint32_t e2e_ahead(struct e2e *e2e, const uint8_t *sealed, size_t length);

/*
 * e2e was loaded from a file, which may be older than what was sent since:
 * seal nothing with it any more, only open.
 */
void e2e_loaded(struct e2e *e2e);

#endif
