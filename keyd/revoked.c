/*
 * keyd only. Revocations that the mesh told of, kept so that no restart
 * forgets one. See authority.h.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/statement.h"
#include "keyd/authority.h"
#include "keyd/store.h"

#define REVOKED_SIZE (NODE_ID_SIZE + KEY_SIZE + 8 + 8 + SIGNATURE_SIZE)

int
revoked_verify(
    const struct identity *identity, const struct ipc_revocation *revocation)
{
	uint8_t at[8], digest[KEY_SIZE];
	struct encoder e = { .bytes = at, .size = sizeof(at) };

	if (!identity->in_mesh ||
	    memchr(revocation->node_id, '\0', NODE_ID_SIZE) == NULL) {
		errno = EINVAL;
		return (-1);
	}
	encode_u64(&e, (uint64_t)revocation->revoked_at);
	(void)crypto_hash_sha256(digest, at, sizeof(at));
	return (statement_verify(STATEMENT_REVOCATION, revocation->node_id,
	    revocation->node_key, revocation->serial, digest,
	    revocation->signature, identity->authority_key));
}

int
revoked_put(struct store *store, const struct ipc_revocation *revocation)
{
	uint8_t bytes[REVOKED_SIZE];
	struct encoder e = { .bytes = bytes, .size = sizeof(bytes) };

	encode_bytes(&e, revocation->node_id, NODE_ID_SIZE);
	encode_bytes(&e, revocation->node_key, KEY_SIZE);
	encode_u64(&e, revocation->serial);
	encode_u64(&e, (uint64_t)revocation->revoked_at);
	encode_bytes(&e, revocation->signature, SIGNATURE_SIZE);
	return (store_put(store, STORE_REVOKED, revocation->node_key, KEY_SIZE,
	    bytes, e.length));
}

int
revoked_find(struct store *store, const uint8_t node_key[KEY_SIZE])
{
	uint8_t bytes[REVOKED_SIZE];
	size_t length;

	return (store_get(store, STORE_REVOKED, node_key, KEY_SIZE, bytes,
	    sizeof(bytes), &length));
}

int
revoked_save(const struct identity *identity, struct store *store,
    const struct ipc_revocation *revocation)
{
	if (revoked_verify(identity, revocation) == -1)
		return (-1);
	if (revoked_find(store, revocation->node_key) == 1)
		return (0);
	return (store_finish(store, revoked_put(store, revocation), 1) == 0
		    ? 1
		    : -1);
}

static int
visit_revoked(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	void (**visit)(const struct ipc_revocation *) = arg;
	struct decoder d = { .bytes = data, .length = length };
	struct ipc_revocation revocation = { 0 };

	(void)name;
	(void)name_length;
	decode_bytes(&d, revocation.node_id, NODE_ID_SIZE);
	decode_bytes(&d, revocation.node_key, KEY_SIZE);
	revocation.serial = decode_u64(&d);
	revocation.revoked_at = (int64_t)decode_u64(&d);
	decode_bytes(&d, revocation.signature, SIGNATURE_SIZE);
	if (decode_done(&d) == -1) {
		errno = EINVAL;
		return (-1);
	}
	revocation.node_id[NODE_ID_SIZE - 1] = '\0';
	(*visit)(&revocation);
	return (0);
}

int
revoked_walk(
    struct store *store, void (*visit)(const struct ipc_revocation *revocation))
{
	return (store_walk(store, STORE_REVOKED, visit_revoked, &visit));
}
