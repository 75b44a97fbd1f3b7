/*
 * keyd only. Who this node is: its Ed25519 identity, its membership in a
 * mesh, the numbers it has signed, and, on the founding node, the mesh's
 * authority key. All of it lives in the store; no call gives a secret away.
 */
#ifndef KEYD_IDENTITY_H
#define KEYD_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "common/sign/statement.h"

struct store;

#define P256_SIZE 32 /* bytes of a P-256 private key */

struct identity_secrets {
	uint8_t node[64];      /* Ed25519, seed and public key */
	uint8_t authority[64]; /* zero: another node's */
	uint8_t tls_app[P256_SIZE];
	uint8_t tls_mesh[P256_SIZE];
};

struct identity {
	struct identity_secrets *secrets; /* secret.h; NULL: locked */
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
	uint32_t in_mesh;
	uint32_t authority;
	uint8_t authority_key[KEY_SIZE];
	struct certificate certificate;
	uint64_t incarnation;
	uint64_t presence; /* highest number signed */
	uint64_t stored_incarnation, stored_presence; /* no more is signed */
	uint64_t serial; /* last certificate issued */
	uint64_t signed_number[STATEMENT_REVOCATION + 1];
	uint8_t allowed[KEY_SIZE]; /* authority that may be joined ... */
	int64_t allowed_until;     /* ... by wall clock */
};

/*
 * Read the identity from the unlocked store, or make it at the first unlock;
 * the incarnation goes up and is on disk when this returns. node_id comes
 * from the config. 0, or -1 with errno.
 */
int identity_load(
    struct identity *identity, struct store *store, const char *node_id);
void identity_wipe(struct identity *identity);

/* A new incarnation (a new mesh process), on disk. 0, or -1: nothing is signed
 * with it before it can be stored. */
int identity_advance(struct identity *identity, struct store *store);

/* New keys for TLS, on disk; the old ones are gone. 0, or -1 and nothing has
 * changed. */
int identity_rekey_tls(struct identity *identity, struct store *store);

/* Everything of IDENTITY but the hashes of TLS keys. */
void identity_fill(const struct identity *identity, struct ipc_identity *out);

void identity_sign(const struct identity *identity, const uint8_t *bytes,
    size_t length, uint8_t signature[SIGNATURE_SIZE]);
void identity_challenge(const struct identity *identity,
    const struct ipc_challenge *challenge, const uint8_t spki_sha256[KEY_SIZE],
    struct ipc_challenge_signed *out);

/*
 * Sign a statement of this node, unless its kind or number is refused: one
 * that goes back, or up so far that it would use the numbers up. now: ns. A
 * number above all before it is remembered first: on disk at once for an
 * incarnation, with the next commit for presence. What cannot be stored is
 * not signed.
 */
void identity_state(struct identity *identity, struct store *store,
    const struct ipc_statement *statement, int64_t now,
    struct ipc_statement_signed *out);

/*
 * Take up membership after checking it. 0, or -1 with errno: EINVAL (not of
 * this node, of another mesh than ours, or older than ours), EPERM (of one
 * that nobody allowed, see allow.h), EACCES, ETIME, or the store's.
 */
int identity_join(struct identity *identity, struct store *store,
    const struct certificate *certificate,
    const uint8_t authority_key[KEY_SIZE], int64_t now);

/* Found a mesh: make its authority key and certify this node. 0, or -1 with
 * errno EEXIST (already in one) or the store's. */
int identity_found(struct identity *identity, struct store *store, int64_t now,
    int64_t lifetime);

/* The founding node's own certificate: issue it anew when less than a third
 * of lifetime (ns) is left. 1 when it was, 0 when not due, -1. */
int identity_renew(struct identity *identity, struct store *store, int64_t now,
    int64_t lifetime);

/* Fill in mesh, signature and the next serial of a certificate of name and
 * key; counts in memory only (identity_put_counters()). */
void identity_issue(struct identity *identity, struct certificate *certificate,
    const char *node_id, const uint8_t node_key[KEY_SIZE], int64_t not_after);

/*
 * A record of a backup, on its way back to the store: when it is that of the
 * numbers, raise them above all that was signed since.
 */
void identity_skip(
    const uint8_t *name, size_t name_length, uint8_t *data, size_t length);

/* After a backup was put into the open transaction: is there an identity, and
 * will identity_load() take all of it? 1 or 0. */
int identity_is_whole(struct store *store);

/* Put incarnation, presence and serial into the open transaction. 0 or -1. */
int identity_put_counters(const struct identity *identity, struct store *store);

#endif
