/*
 * keyd only. The node's identity; see identity.h.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/statement.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "keyd/identity.h"
#include "keyd/keyscan.h"
#include "keyd/secret.h"
#include "keyd/store.h"
#include "keyd/tls.h"

/* How far a number may go up at once: a hostile mesh must not use them up
 * (L31), a refutation must be able to overtake. */
#define INCARNATION_STEP (UINT64_C(1) << 21)
#define NUMBER_MAX       (UINT64_MAX / 2)
/* Presence is numbered by the clock, in us, which was ahead at times, or so
 * others say: mesh believes them half a year. Two years. */
#define PRESENCE_AHEAD   (UINT64_C(1) << 46)
#define PRESENCE_STEP    (UINT64_C(1) << 21)
#define SKIP_STEP        (UINT64_C(1) << 20) /* after a restore */

#define NODE_RECORD_SIZE (crypto_sign_SEEDBYTES + 2 * P256_SIZE)
#define MESH_RECORD_SIZE (KEY_SIZE + CERTIFICATE_ENCODED)

static int
put(struct store *store, const char *name, const void *data, size_t length)
{
	return (store_put(store, STORE_NODE, name, strlen(name), data, length));
}

/* 1, 0 when there is none, -1 (errno) also when it is not length long. */
static int
get(struct store *store, const char *name, void *data, size_t length)
{
	size_t found;
	int status = store_get(
	    store, STORE_NODE, name, strlen(name), data, length, &found);

	if (status == 1 && found != length) {
		errno = EINVAL;
		return (-1);
	}
	return (status);
}

/* --- load --------------------------------------------------------------- */

static int
identity_make(struct identity *identity, struct store *store, uint8_t *record)
{
	struct identity_secrets *secrets = identity->secrets;
	struct encoder e = { .bytes = record, .size = NODE_RECORD_SIZE };
	char id[HEX_SHORT_SIZE];

	(void)crypto_sign_keypair(identity->node_key, secrets->node);
	if (tls_make_key(secrets->tls_app) == -1 ||
	    tls_make_key(secrets->tls_mesh) == -1) {
		errno = EIO;
		return (-1);
	}
	/* Ed25519's secret key begins with its seed. */
	encode_bytes(&e, secrets->node, crypto_sign_SEEDBYTES);
	encode_bytes(&e, secrets->tls_app, P256_SIZE);
	encode_bytes(&e, secrets->tls_mesh, P256_SIZE);
	log_info("identity_made", "node=%s key=%s", identity->node_id,
	    hex_short(id, identity->node_key, KEY_SIZE));
	return (put(store, "identity", record, e.length));
}

static int
load_counters(struct identity *identity, struct store *store)
{
	uint8_t bytes[24];
	struct decoder d = { .bytes = bytes, .length = sizeof(bytes) };
	int found = get(store, "counters", bytes, sizeof(bytes));

	if (found == 1) {
		identity->incarnation = decode_u64(&d);
		identity->presence = decode_u64(&d);
		identity->serial = decode_u64(&d);
	}
	return (found == -1 ? -1 : 0);
}

static int
load_mesh(struct identity *identity, struct store *store, uint8_t *scratch)
{
	uint8_t record[MESH_RECORD_SIZE];
	int found;

	found = get(store, "mesh", record, sizeof(record));
	if (found <= 0)
		return (found);
	memcpy(identity->authority_key, record, KEY_SIZE);
	if (certificate_decode(&identity->certificate, record + KEY_SIZE,
		CERTIFICATE_ENCODED) == -1)
		return (-1);
	identity->in_mesh = 1;
	found = get(store, "authority", scratch, crypto_sign_SEEDBYTES);
	if (found == 1) {
		uint8_t public_key[KEY_SIZE];

		(void)crypto_sign_seed_keypair(
		    public_key, identity->secrets->authority, scratch);
		identity->authority = 1;
	}
	return (found == -1 ? -1 : 0);
}

static int
load_node(struct identity *identity, struct store *store, uint8_t *scratch)
{
	struct identity_secrets *secrets = identity->secrets;
	int found;

	found = get(store, "identity", scratch, NODE_RECORD_SIZE);
	if (found == 1) {
		(void)crypto_sign_seed_keypair(
		    identity->node_key, secrets->node, scratch);
		memcpy(secrets->tls_app, scratch + crypto_sign_SEEDBYTES,
		    P256_SIZE);
		memcpy(secrets->tls_mesh,
		    scratch + crypto_sign_SEEDBYTES + P256_SIZE, P256_SIZE);
	} else if (found == 0)
		found = identity_make(identity, store, scratch);
	if (found == -1 || load_counters(identity, store) == -1 ||
	    load_mesh(identity, store, scratch) == -1)
		return (-1);
	identity->incarnation++;
	return (identity_put_counters(identity, store));
}

int
identity_load(
    struct identity *identity, struct store *store, const char *node_id)
{
	uint8_t *scratch = secret_new(SECRET_MAX);
	int result = -1;

	if (scratch == NULL)
		return (-1);
	(void)strlcpy(identity->node_id, node_id, sizeof(identity->node_id));
	identity->secrets = secret_new(sizeof(*identity->secrets));
	if (identity->secrets != NULL)
		result = load_node(identity, store, scratch);
	secret_free(scratch, SECRET_MAX);
	if (store_finish(store, result, 1) == -1) {
		identity_wipe(identity);
		return (-1);
	}
	identity->stored_incarnation = identity->incarnation;
	identity->stored_presence = identity->presence;
	keyscan_made(
	    KEYSCAN_NODE, identity->secrets->node, crypto_sign_SEEDBYTES);
	keyscan_made(KEYSCAN_AUTHORITY, identity->secrets->authority,
	    crypto_sign_SEEDBYTES);
	keyscan_made(KEYSCAN_TLS, identity->secrets->tls_app, P256_SIZE);
	keyscan_made(KEYSCAN_TLS, identity->secrets->tls_mesh, P256_SIZE);
	if (identity->in_mesh &&
	    strcmp(identity->certificate.node_id, node_id) != 0)
		log_warn("node_id_changed", "config=%s certificate=%s", node_id,
		    identity->certificate.node_id);
	return (0);
}

int
identity_is_whole(struct store *store)
{
	struct identity identity = { .secrets = NULL };
	uint8_t *record = secret_new(SECRET_MAX);
	uint8_t spki[KEY_SIZE], public_key[KEY_SIZE];
	int whole = 0;

	identity.secrets = secret_new(sizeof(*identity.secrets));
	if (record != NULL && identity.secrets != NULL &&
	    get(store, "identity", record, NODE_RECORD_SIZE) == 1 &&
	    tls_spki(record + crypto_sign_SEEDBYTES, spki) == 0 &&
	    tls_spki(record + crypto_sign_SEEDBYTES + P256_SIZE, spki) == 0) {
		(void)crypto_sign_seed_keypair(
		    public_key, identity.secrets->node, record);
		whole =
		    load_counters(&identity, store) == 0 &&
		    identity.incarnation <= NUMBER_MAX &&
		    identity.presence <= NUMBER_MAX &&
		    identity.serial <= NUMBER_MAX &&
		    load_mesh(&identity, store, record) == 0 &&
		    (!identity.in_mesh || memcmp(identity.certificate.node_key,
					      public_key, KEY_SIZE) == 0);
	}
	identity_wipe(&identity);
	secret_free(record, SECRET_MAX);
	return (whole);
}

void
identity_wipe(struct identity *identity)
{
	secret_free(identity->secrets, sizeof(*identity->secrets));
	identity->secrets = NULL;
}

int
identity_put_counters(const struct identity *identity, struct store *store)
{
	uint8_t bytes[24];
	struct encoder e = { .bytes = bytes, .size = sizeof(bytes) };

	encode_u64(&e, identity->incarnation);
	encode_u64(&e, identity->presence);
	encode_u64(&e, identity->serial);
	return (put(store, "counters", bytes, e.length));
}

void
identity_skip(
    const uint8_t *name, size_t name_length, uint8_t *data, size_t length)
{
	static const char counters[] = "counters";
	struct decoder d = { .bytes = data, .length = length };
	struct encoder e = { .bytes = data, .size = length };
	uint64_t incarnation, presence, serial;

	if (name_length != sizeof(counters) - 1 || length != 24 ||
	    memcmp(name, counters, name_length) != 0)
		return;
	incarnation = decode_u64(&d);
	presence = decode_u64(&d); /* by the clock: it went on */
	serial = decode_u64(&d);
	encode_u64(&e, incarnation + SKIP_STEP);
	encode_u64(&e, presence);
	encode_u64(&e, serial + SKIP_STEP);
}

static int
counters_store(struct identity *identity, struct store *store, int sync)
{
	if (store_finish(store, identity_put_counters(identity, store), sync) ==
	    -1)
		return (-1);
	identity->stored_incarnation = identity->incarnation;
	identity->stored_presence = identity->presence;
	return (0);
}

int
identity_advance(struct identity *identity, struct store *store)
{
	identity->incarnation++;
	return (counters_store(identity, store, 1));
}

int
identity_rekey_tls(struct identity *identity, struct store *store)
{
	struct identity_secrets *secrets = identity->secrets;
	uint8_t *record = secret_new(SECRET_MAX);
	uint8_t *app, *mesh;
	int result = -1;

	if (record == NULL)
		return (-1);
	app = record + crypto_sign_SEEDBYTES;
	mesh = app + P256_SIZE;
	memcpy(record, secrets->node, crypto_sign_SEEDBYTES);
	if (tls_make_key(app) == 0 && tls_make_key(mesh) == 0)
		result = put(store, "identity", record, NODE_RECORD_SIZE);
	result = store_finish(store, result, 1);
	if (result == 0) {
		keyscan_wiped(KEYSCAN_TLS, secrets->tls_app, P256_SIZE);
		keyscan_wiped(KEYSCAN_TLS, secrets->tls_mesh, P256_SIZE);
		memcpy(secrets->tls_app, app, P256_SIZE);
		memcpy(secrets->tls_mesh, mesh, P256_SIZE);
		keyscan_made(KEYSCAN_TLS, secrets->tls_app, P256_SIZE);
		keyscan_made(KEYSCAN_TLS, secrets->tls_mesh, P256_SIZE);
	}
	secret_free(record, SECRET_MAX);
	return (result);
}

/* --- what others get ---------------------------------------------------- */

void
identity_fill(const struct identity *identity, struct ipc_identity *out)
{
	out->unlocked = identity->secrets != NULL;
	memcpy(out->node_id, identity->node_id, sizeof(out->node_id));
	if (!out->unlocked)
		return;
	out->in_mesh = identity->in_mesh;
	out->authority = identity->authority;
	memcpy(out->node_key, identity->node_key, KEY_SIZE);
	out->incarnation = identity->incarnation;
	out->presence = identity->presence;
	if (!identity->in_mesh)
		return;
	memcpy(out->mesh_id, identity->certificate.mesh_id, KEY_SIZE);
	memcpy(out->authority_key, identity->authority_key, KEY_SIZE);
	out->certificate = identity->certificate;
}

void
identity_sign(const struct identity *identity, const uint8_t *bytes,
    size_t length, uint8_t signature[SIGNATURE_SIZE])
{
	(void)crypto_sign_detached(
	    signature, NULL, bytes, length, identity->secrets->node);
}

void
identity_challenge(const struct identity *identity,
    const struct ipc_challenge *challenge, const uint8_t spki_sha256[KEY_SIZE],
    struct ipc_challenge_signed *out)
{
	char mesh_id[2 * KEY_SIZE + 1] = "";
	uint8_t bytes[CHALLENGE_SIGNED_MAX];
	size_t length;

	if (identity->in_mesh)
		hex_encode(mesh_id, identity->certificate.mesh_id, KEY_SIZE);
	out->id = challenge->id;
	length = challenge_signed_bytes(
	    challenge->nonce, identity->node_id, mesh_id, spki_sha256, bytes);
	identity_sign(identity, bytes, length, out->signature);
}

/* --- statements --------------------------------------------------------- */

static int
presence_allowed(const struct identity *identity, uint64_t number, int64_t now)
{
	return (number >= identity->presence && number <= NUMBER_MAX &&
		(number - identity->presence <= PRESENCE_STEP ||
		    number <= (uint64_t)now / 1000 + PRESENCE_AHEAD));
}

static int
statement_allowed(const struct identity *identity,
    const struct ipc_statement *statement, int64_t now)
{
	uint64_t number = statement->number;

	switch (statement->kind) {
	case STATEMENT_DESCRIPTOR:
	case STATEMENT_ALIVE:
	case STATEMENT_LEAVE:
		return (
		    number >= identity->signed_number[statement->kind] &&
		    number <= NUMBER_MAX &&
		    (number < identity->incarnation ||
			number - identity->incarnation <= INCARNATION_STEP));
	case STATEMENT_PRESENCE:
		return (presence_allowed(identity, number, now));
	case STATEMENT_JOIN:
		return (number == 0);
	}
	return (0);
}

/* Remember the number so that no later start goes below it. */
static int
statement_remember(struct identity *identity, struct store *store,
    const struct ipc_statement *statement)
{
	int presence = statement->kind == STATEMENT_PRESENCE;
	uint64_t *highest =
	    presence ? &identity->presence : &identity->incarnation;
	uint64_t stored =
	    presence ? identity->stored_presence : identity->stored_incarnation;
	uint64_t before = *highest;

	if (statement->number > before)
		*highest = statement->number;
	if (statement->number > stored &&
	    counters_store(identity, store, !presence) == -1) {
		*highest = before;
		return (-1);
	}
	identity->signed_number[statement->kind] = statement->number;
	return (0);
}

void
identity_state(struct identity *identity, struct store *store,
    const struct ipc_statement *statement, int64_t now,
    struct ipc_statement_signed *out)
{
	uint8_t bytes[STATEMENT_SIGNED_MAX];
	const char *refused = NULL;
	size_t length;

	out->id = statement->id;
	if (!statement_allowed(identity, statement, now))
		refused = "not the number of any to be signed now";
	else if (statement_remember(identity, store, statement) == -1)
		refused = store_failed_text();
	if (refused != NULL) {
		log_warn("statement_refused",
		    "kind=%u number=%llu reason=\"%s\"", statement->kind,
		    (unsigned long long)statement->number, refused);
		return;
	}
	length = statement_signed_bytes((enum statement_kind)statement->kind,
	    identity->node_id, identity->node_key, statement->number,
	    statement->digest, bytes);
	identity_sign(identity, bytes, length, out->signature);
	out->ok = 1;
}

/* --- membership --------------------------------------------------------- */

static int
put_mesh(struct store *store, const uint8_t authority_key[KEY_SIZE],
    const struct certificate *certificate)
{
	uint8_t record[MESH_RECORD_SIZE];

	memcpy(record, authority_key, KEY_SIZE);
	certificate_encode(certificate, record + KEY_SIZE);
	return (put(store, "mesh", record, sizeof(record)));
}

int
identity_join(struct identity *identity, struct store *store,
    const struct certificate *certificate,
    const uint8_t authority_key[KEY_SIZE], int64_t now)
{
	if (strncmp(certificate->node_id, identity->node_id, NODE_ID_SIZE) !=
		0 ||
	    memcmp(certificate->node_key, identity->node_key, KEY_SIZE) != 0 ||
	    (identity->in_mesh && memcmp(authority_key, identity->authority_key,
				      KEY_SIZE) != 0)) {
		errno = EINVAL;
		return (-1);
	}
	/* One that was outdone may be shown again, by whoever kept it. */
	if (identity->in_mesh &&
	    certificate->serial <= identity->certificate.serial) {
		errno = EINVAL;
		return (memcmp(certificate, &identity->certificate,
			    sizeof(*certificate)) == 0
			    ? 0
			    : -1);
	}
	if (!identity->in_mesh &&
	    (now > identity->allowed_until ||
		memcmp(authority_key, identity->allowed, KEY_SIZE) != 0)) {
		errno = EPERM;
		return (-1);
	}
	if (certificate_verify(certificate, authority_key, now) == -1)
		return (-1);
	if (store_finish(
		store, put_mesh(store, authority_key, certificate), 1) == -1)
		return (-1);
	memcpy(identity->authority_key, authority_key, KEY_SIZE);
	identity->certificate = *certificate;
	identity->in_mesh = 1;
	return (0);
}

void
identity_issue(struct identity *identity, struct certificate *certificate,
    const char *node_id, const uint8_t node_key[KEY_SIZE], int64_t not_after)
{
	uint8_t bytes[CERTIFICATE_SIGNED_MAX];
	size_t length;

	memset(certificate, 0, sizeof(*certificate));
	mesh_id_make(certificate->mesh_id, identity->authority_key);
	(void)strlcpy(
	    certificate->node_id, node_id, sizeof(certificate->node_id));
	memcpy(certificate->node_key, node_key, KEY_SIZE);
	certificate->serial = ++identity->serial;
	certificate->not_after = not_after;
	length = certificate_signed_bytes(certificate, bytes);
	(void)crypto_sign_detached(certificate->signature, NULL, bytes, length,
	    identity->secrets->authority);
}

int
identity_found(struct identity *identity, struct store *store, int64_t now,
    int64_t lifetime)
{
	struct certificate certificate;
	uint8_t before[KEY_SIZE];

	if (identity->in_mesh) {
		errno = EEXIST;
		return (-1);
	}
	memcpy(before, identity->authority_key, KEY_SIZE);
	(void)crypto_sign_keypair(
	    identity->authority_key, identity->secrets->authority);
	keyscan_made(KEYSCAN_AUTHORITY, identity->secrets->authority,
	    crypto_sign_SEEDBYTES);
	identity_issue(identity, &certificate, identity->node_id,
	    identity->node_key, now + lifetime);
	if (put(store, "authority", identity->secrets->authority,
		crypto_sign_SEEDBYTES) == -1 ||
	    put_mesh(store, identity->authority_key, &certificate) == -1 ||
	    store_finish(store, identity_put_counters(identity, store), 1) ==
		-1) {
		store_abort(store);
		keyscan_wiped(KEYSCAN_AUTHORITY, identity->secrets->authority,
		    crypto_sign_SEEDBYTES);
		sodium_memzero(identity->secrets->authority,
		    sizeof(identity->secrets->authority));
		memcpy(identity->authority_key, before, KEY_SIZE);
		return (-1);
	}
	identity->certificate = certificate;
	identity->in_mesh = identity->authority = 1;
	return (0);
}

int
identity_renew(struct identity *identity, struct store *store, int64_t now,
    int64_t lifetime)
{
	struct certificate certificate;

	if (!identity->authority ||
	    identity->certificate.not_after - now > lifetime / 3)
		return (0);
	identity_issue(identity, &certificate, identity->node_id,
	    identity->node_key, now + lifetime);
	if (put_mesh(store, identity->authority_key, &certificate) == -1 ||
	    store_finish(store, identity_put_counters(identity, store), 1) ==
		-1) {
		store_abort(store);
		return (-1);
	}
	identity->certificate = certificate;
	return (1);
}
