/*
 * keyd only. Which name was given to which key, and what an authority that
 * was restored from a backup learns of those it has given since; see names.h
 * and authority.h.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/statement.h"
#include "common/util/log.h"
#include "keyd/authority.h"
#include "keyd/names.h"
#include "keyd/store.h"

#define NAME_SIZE (NODE_ID_SIZE + 2 * KEY_SIZE + 8 + 8)

int
name_put(struct store *store, const struct name_record *record)
{
	uint8_t bytes[NAME_SIZE];
	struct encoder e = { .bytes = bytes, .size = sizeof(bytes) };

	encode_bytes(&e, record->node_id, NODE_ID_SIZE);
	encode_bytes(&e, record->node_key, KEY_SIZE);
	encode_bytes(&e, record->ticket, KEY_SIZE);
	encode_u64(&e, record->serial);
	encode_u64(&e, (uint64_t)record->revoked_at);
	return (store_put(store, STORE_NAME, record->node_id,
	    strlen(record->node_id), bytes, e.length));
}

int
name_decode(const uint8_t *data, size_t length, struct name_record *record)
{
	struct decoder d = { .bytes = data, .length = length };

	decode_bytes(&d, record->node_id, NODE_ID_SIZE);
	decode_bytes(&d, record->node_key, KEY_SIZE);
	decode_bytes(&d, record->ticket, KEY_SIZE);
	record->serial = decode_u64(&d);
	record->revoked_at = (int64_t)decode_u64(&d);
	record->node_id[NODE_ID_SIZE - 1] = '\0';
	return (decode_done(&d));
}

int
name_get(struct store *store, const char *node_id, struct name_record *record)
{
	uint8_t bytes[NAME_SIZE];
	size_t length;
	int found = store_get(store, STORE_NAME, node_id, strlen(node_id),
	    bytes, sizeof(bytes), &length);

	return (found == 1 && name_decode(bytes, length, record) == -1 ? -1
								       : found);
}

static int
search_name(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct name_search *search = arg;
	struct name_record record;
	int same_name, same_key;

	(void)name;
	(void)name_length;
	if (name_decode(data, length, &record) == -1) {
		errno = EINVAL;
		return (-1);
	}
	same_name = strcmp(record.node_id, search->node_id) == 0;
	same_key = memcmp(record.node_key, search->node_key, KEY_SIZE) == 0;
	if (same_name) {
		search->found = 1;
		search->record = record;
	}
	if (same_key && record.revoked_at != 0)
		search->result = REDEEM_REVOKED;
	else if (same_name && record.revoked_at != 0)
		return (0); /* a dead node's: free for the one in its place */
	else if (same_name != same_key && search->result == REDEEM_OK)
		search->result = REDEEM_NAME_TAKEN;
	return (0);
}

enum redeem_result
name_allowed(const struct identity *identity, struct store *store,
    struct name_search *search)
{
	/* Our own name and key were never issued: they are ours. */
	if (strcmp(search->node_id, identity->node_id) == 0 ||
	    memcmp(search->node_key, identity->node_key, KEY_SIZE) == 0)
		return (REDEEM_NAME_TAKEN);
	/* Revoked, and its name has gone to another since. */
	switch (revoked_find(store, search->node_key)) {
	case 1:
		return (REDEEM_REVOKED);
	case -1:
		return (0);
	}
	search->result = REDEEM_OK;
	if (store_walk(store, STORE_NAME, search_name, search) == -1)
		return (0);
	return (search->result);
}

void
name_sign_revocation(const struct identity *identity,
    const struct name_record *record, struct ipc_revocation *revocation)
{
	uint8_t at[8], digest[KEY_SIZE];
	uint8_t bytes[STATEMENT_SIGNED_MAX];
	struct encoder e = { .bytes = at, .size = sizeof(at) };
	size_t length;

	memset(revocation, 0, sizeof(*revocation));
	memcpy(revocation->node_id, record->node_id, NODE_ID_SIZE);
	memcpy(revocation->node_key, record->node_key, KEY_SIZE);
	revocation->serial = record->serial;
	revocation->revoked_at = record->revoked_at;
	encode_u64(&e, (uint64_t)record->revoked_at);
	(void)crypto_hash_sha256(digest, at, sizeof(at));
	length = statement_signed_bytes(STATEMENT_REVOCATION, record->node_id,
	    record->node_key, record->serial, digest, bytes);
	(void)crypto_sign_detached(revocation->signature, NULL, bytes, length,
	    identity->secrets->authority);
}

/* --- what was done after the backup that this one is of ------------------ */

int
authority_learn(struct identity *identity, struct store *store,
    const struct certificate *shown)
{
	struct name_search search = { .node_id = shown->node_id,
		.node_key = shown->node_key };
	struct name_record record = { .serial = shown->serial };
	struct ipc_revocation revocation;
	enum redeem_result allowed;
	int result;

	if (!identity->authority)
		return (0);
	/* Nearly always: the one we know. */
	result = name_get(store, shown->node_id, &search.record);
	if (result == -1)
		return (-1);
	if (result == 1 &&
	    memcmp(search.record.node_key, shown->node_key, KEY_SIZE) == 0) {
		if (identity->serial >= shown->serial)
			return (0);
		identity->serial = shown->serial;
		return (store_finish(
		    store, identity_put_counters(identity, store), 1));
	}
	allowed = name_allowed(identity, store, &search);
	if (allowed !=
	    REDEEM_OK) /* of another; perhaps its end is told later */
		return (allowed == 0 ? -1 : 0);
	result = 0;
	if (search.found) {
		if (search.record.serial >= shown->serial)
			return (0); /* it had the name before that one */
		name_sign_revocation(identity, &search.record, &revocation);
		result = revoked_put(store, &revocation);
	}
	(void)strlcpy(record.node_id, shown->node_id, NODE_ID_SIZE);
	memcpy(record.node_key, shown->node_key, KEY_SIZE);
	if (identity->serial < shown->serial)
		identity->serial = shown->serial;
	if (result == 0 && (result = name_put(store, &record)) == 0)
		result = identity_put_counters(identity, store);
	if (store_finish(store, result, 1) == -1)
		return (-1);
	log_info("node_learned", "node=%s serial=%llu", record.node_id,
	    (unsigned long long)record.serial);
	return (0);
}

/* The member that has the name of one that is out. */
struct successor {
	const struct ipc_revocation *out;
	struct certificate certificate;
	int found;
};

static void
find_successor(void *arg, const struct ipc_peer *peer)
{
	struct successor *next = arg;

	if (strcmp(peer->certificate.node_id, next->out->node_id) != 0 ||
	    memcmp(peer->certificate.node_key, next->out->node_key, KEY_SIZE) ==
		0 ||
	    (next->found &&
		next->certificate.serial >= peer->certificate.serial))
		return;
	next->certificate = peer->certificate;
	next->found = 1;
}

int
authority_learn_revocation(struct identity *identity, struct store *store,
    const struct ipc_revocation *revocation)
{
	struct successor next = { .out = revocation };
	struct name_record record = { .serial = 0 };
	int found;

	if (revoked_verify(identity, revocation) == -1)
		return (-1);
	found = name_get(store, revocation->node_id, &record);
	if (found == -1)
		return (-1);
	if (found == 0 ||
	    memcmp(record.node_key, revocation->node_key, KEY_SIZE) != 0)
		return (revoked_save(identity, store, revocation));
	if (record.revoked_at != 0)
		return (0);
	record.revoked_at = revocation->revoked_at;
	if (store_finish(store, name_put(store, &record), 1) == -1)
		return (-1);
	/* It is out, whoever has its name. */
	if (peers_walk(store, find_successor, &next) == -1 ||
	    (next.found &&
		authority_learn(identity, store, &next.certificate) == -1))
		log_warn("successor_unread", "node=%s", revocation->node_id);
	return (1);
}
