/*
 * keyd only. Tickets, admissions, revocations; see authority.h. A ticket's
 * record is filed under a hash of its secret, so not even an opened store
 * shows one that works.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "keyd/allow.h"
#include "keyd/authority.h"
#include "keyd/names.h"
#include "keyd/store.h"

struct ticket_record {
	int64_t expires_at;
	uint64_t uses; /* left */
	uint64_t made_for;
	int64_t created_at;
};

#define TICKET_SIZE 32

static void
ticket_hash(const uint8_t secret[TICKET_SECRET_SIZE], uint8_t hash[KEY_SIZE])
{
	static const char domain[] = "hermes-ticket-secret-v1";

	(void)crypto_generichash(hash, KEY_SIZE, secret, TICKET_SECRET_SIZE,
	    (const uint8_t *)domain, sizeof(domain) - 1);
}

static int
put_ticket(struct store *store, const uint8_t hash[KEY_SIZE],
    const struct ticket_record *record)
{
	uint8_t bytes[TICKET_SIZE];
	struct encoder e = { .bytes = bytes, .size = sizeof(bytes) };

	encode_u64(&e, (uint64_t)record->expires_at);
	encode_u64(&e, record->uses);
	encode_u64(&e, record->made_for);
	encode_u64(&e, (uint64_t)record->created_at);
	return (
	    store_put(store, STORE_TICKET, hash, KEY_SIZE, bytes, e.length));
}

static int
decode_ticket(const uint8_t *data, size_t length, struct ticket_record *record)
{
	struct decoder d = { .bytes = data, .length = length };

	record->expires_at = (int64_t)decode_u64(&d);
	record->uses = decode_u64(&d);
	record->made_for = decode_u64(&d);
	record->created_at = (int64_t)decode_u64(&d);
	return (decode_done(&d));
}

/* 1, 0 when there is no such ticket, -1. */
static int
get_ticket(struct store *store, const uint8_t hash[KEY_SIZE],
    struct ticket_record *record)
{
	uint8_t bytes[TICKET_SIZE];
	size_t length;
	int found = store_get(
	    store, STORE_TICKET, hash, KEY_SIZE, bytes, sizeof(bytes), &length);

	return (found == 1 && decode_ticket(bytes, length, record) == -1
		    ? -1
		    : found);
}

/* --- tickets ------------------------------------------------------------ */

struct ticket_build {
	const struct ipc_ticket_make *make;
	struct ticket *ticket;
};

static int
ticket_peer_alive(const struct ipc_ticket_make *make, const uint8_t *key)
{
	size_t i;

	for (i = 0; i < make->alive_count && i < TICKET_ENDPOINTS - 1; i++)
		if (memcmp(make->alive[i], key, KEY_SIZE) == 0)
			return (1);
	return (0);
}

static void
ticket_add_peer(void *arg, const struct ipc_peer *peer)
{
	const struct ticket_build *build = arg;
	struct ticket *ticket = build->ticket;
	struct ticket_endpoint *endpoint;

	if (ticket->endpoint_count >= TICKET_ENDPOINTS ||
	    peer->endpoint[0] == '\0' ||
	    !ticket_peer_alive(build->make, peer->certificate.node_key))
		return;
	endpoint = &ticket->endpoints[ticket->endpoint_count++];
	memcpy(endpoint->node_key, peer->certificate.node_key, KEY_SIZE);
	memcpy(endpoint->endpoint, peer->endpoint, ENDPOINT_SIZE);
}

int
authority_make_ticket(struct identity *identity, struct store *store,
    const struct ipc_ticket_make *make, const char *own, int64_t now,
    struct ticket *ticket)
{
	struct ticket_record record = {
		.uses = make->uses, .made_for = make->uses, .created_at = now
	};
	struct ticket_build build = { .make = make, .ticket = ticket };
	uint8_t bytes[TICKET_ENCODED_MAX], hash[KEY_SIZE];
	size_t length;

	if (!identity->authority) {
		errno = EPERM;
		return (-1);
	}
	if (own == NULL || make->uses == 0 || make->lifetime <= 0 ||
	    make->lifetime > INT64_MAX - now) {
		errno = EINVAL;
		return (-1);
	}
	memset(ticket, 0, sizeof(*ticket));
	mesh_id_make(ticket->mesh_id, identity->authority_key);
	memcpy(ticket->authority, identity->authority_key, KEY_SIZE);
	randombytes_buf(ticket->secret, TICKET_SECRET_SIZE);
	/* Whole seconds, so that it reads well. */
	ticket->expires_at = now + make->lifetime;
	ticket->expires_at -= ticket->expires_at % CLOCK_SECOND;
	memcpy(ticket->endpoints[0].node_key, identity->node_key, KEY_SIZE);
	(void)strlcpy(ticket->endpoints[0].endpoint, own, ENDPOINT_SIZE);
	ticket->endpoint_count = 1;
	if (peers_walk(store, ticket_add_peer, &build) == -1)
		return (-1);
	record.expires_at = ticket->expires_at;
	ticket_hash(ticket->secret, hash);
	if (store_finish(store, put_ticket(store, hash, &record), 1) == -1)
		return (-1);
	length = ticket_signed_bytes(ticket, bytes);
	(void)crypto_sign_detached(ticket->signature, NULL, bytes, length,
	    identity->secrets->authority);
	return (0);
}

/* --- the list of tickets ------------------------------------------------ */

struct ticket_walk {
	uint64_t id;
	void (*visit)(const struct ipc_row_ticket *row);
};

static int
visit_ticket(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	const struct ticket_walk *walk = arg;
	struct ticket_record record;
	struct ipc_row_ticket row = { .id = walk->id };

	if (name_length != KEY_SIZE ||
	    decode_ticket(data, length, &record) == -1)
		return (0); /* not this version's; it expires */
	memcpy(row.ticket, name, TICKET_ID_SIZE);
	row.created_at = record.created_at;
	row.expires_at = record.expires_at;
	row.uses = record.made_for;
	row.uses_left = record.uses;
	walk->visit(&row);
	return (0);
}

int
authority_tickets(struct store *store, uint64_t id,
    void (*visit)(const struct ipc_row_ticket *row))
{
	struct ticket_walk walk = { id, visit };

	return (store_walk(store, STORE_TICKET, visit_ticket, &walk));
}

struct ticket_search {
	const uint8_t *ticket;
	uint8_t hash[KEY_SIZE];
	int found;
};

static int
search_ticket(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct ticket_search *search = arg;

	(void)data;
	(void)length;
	if (name_length == KEY_SIZE &&
	    memcmp(name, search->ticket, TICKET_ID_SIZE) == 0) {
		memcpy(search->hash, name, KEY_SIZE);
		search->found = 1;
	}
	return (0);
}

int
authority_revoke_ticket(
    struct store *store, const uint8_t ticket[TICKET_ID_SIZE])
{
	struct ticket_search search = { .ticket = ticket };

	if (store_walk(store, STORE_TICKET, search_ticket, &search) == -1)
		return (-1);
	if (!search.found) {
		errno = ENOENT;
		return (-1);
	}
	return (store_finish(store,
	    store_delete(store, STORE_TICKET, search.hash, KEY_SIZE), 1));
}

struct expiry {
	int64_t now;
	uint8_t hashes[32][KEY_SIZE];
	size_t count;
};

static int
collect_expired(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct expiry *expiry = arg;
	struct ticket_record record;

	if (name_length == KEY_SIZE && expiry->count < 32 &&
	    decode_ticket(data, length, &record) == 0 &&
	    record.expires_at < expiry->now)
		memcpy(expiry->hashes[expiry->count++], name, KEY_SIZE);
	return (0);
}

void
authority_expire(struct store *store, int64_t now)
{
	struct expiry expiry = { .now = now };
	int result;
	size_t i;

	result = store_walk(store, STORE_TICKET, collect_expired, &expiry);
	for (i = 0; i < expiry.count && result == 0; i++)
		result = store_delete(
		    store, STORE_TICKET, expiry.hashes[i], KEY_SIZE);
	if (expiry.count > 0 && store_finish(store, result, 1) == -1)
		log_warn("ticket_expiry_failed", "count=%zu", expiry.count);
}

/* --- members ------------------------------------------------------------ */

/*
 * Certify name and key, which are allowed to go together, in the transaction
 * that the caller began; ticket: hash of its secret, or NULL. The revoked
 * holder that the name had before is remembered by its key. 0 or -1: aborted.
 */
static int
certify(struct identity *identity, struct store *store,
    const struct name_search *search, const uint8_t *ticket, int64_t not_after,
    struct certificate *certificate)
{
	struct name_record record = { .serial = 0 };
	struct ipc_revocation revocation;

	if (search->found && search->record.revoked_at != 0) {
		name_sign_revocation(identity, &search->record, &revocation);
		if (revoked_put(store, &revocation) == -1)
			goto fail;
	}
	identity_issue(identity, certificate, search->node_id, search->node_key,
	    not_after);
	(void)strlcpy(record.node_id, search->node_id, NODE_ID_SIZE);
	memcpy(record.node_key, search->node_key, KEY_SIZE);
	if (ticket != NULL)
		memcpy(record.ticket, ticket, KEY_SIZE);
	record.serial = certificate->serial;
	if (name_put(store, &record) == -1 ||
	    store_finish(store, identity_put_counters(identity, store), 1) ==
		-1)
		goto fail;
	log_info("node_certified", "node=%s serial=%llu", search->node_id,
	    (unsigned long long)certificate->serial);
	return (0);
fail:
	store_abort(store);
	return (-1);
}

void
authority_redeem(struct identity *identity, struct store *store,
    const struct ipc_redeem *redeem, int64_t now, int64_t lifetime,
    struct ipc_redeemed *out)
{
	struct name_search search = { .node_id = redeem->node_id,
		.node_key = redeem->node_key };
	struct ticket_record ticket;
	uint8_t hash[KEY_SIZE];

	out->id = redeem->id;
	out->result = REDEEM_NOT_AUTHORITY;
	if (!identity->authority)
		return;
	out->result = REDEEM_UNKNOWN;
	ticket_hash(redeem->secret, hash);
	if (memchr(redeem->node_id, '\0', NODE_ID_SIZE) == NULL ||
	    !node_id_valid(redeem->node_id, strlen(redeem->node_id)) ||
	    get_ticket(store, hash, &ticket) != 1 || ticket.expires_at < now)
		return;
	out->result = name_allowed(identity, store, &search);
	if (out->result != REDEEM_OK) {
		if (out->result == 0)
			out->result = REDEEM_UNKNOWN;
		return;
	}
	/* The answer to the same use got lost: the use counts once. */
	if (!search.found ||
	    memcmp(search.record.node_key, redeem->node_key, KEY_SIZE) != 0 ||
	    memcmp(search.record.ticket, hash, KEY_SIZE) != 0) {
		out->result = REDEEM_UNKNOWN;
		if (ticket.uses == 0)
			return;
		ticket.uses--;
	}
	out->result = REDEEM_OK;
	if (put_ticket(store, hash, &ticket) == -1) {
		store_abort(store);
		out->result = REDEEM_UNKNOWN;
	} else if (certify(identity, store, &search, hash, now + lifetime,
		       &out->certificate) == -1)
		out->result = REDEEM_UNKNOWN;
}

void
authority_admit(struct identity *identity, struct store *store,
    const struct ipc_admit *admit, const struct config *config, int64_t now,
    struct ipc_redeemed *out)
{
	struct name_search search = { .node_id = admit->node_id,
		.node_key = admit->node_key };

	out->id = admit->id;
	out->result = REDEEM_NOT_AUTHORITY;
	if (!identity->authority)
		return;
	out->result = REDEEM_UNKNOWN;
	if (memchr(admit->node_id, '\0', NODE_ID_SIZE) == NULL ||
	    !allow_listed(config, admit->node_id, admit->node_key))
		return;
	out->result = name_allowed(identity, store, &search);
	if (out->result == 0 ||
	    (out->result == REDEEM_OK && certify(identity, store, &search, NULL,
					     now + config->membership_lifetime,
					     &out->certificate) == -1))
		out->result = REDEEM_UNKNOWN;
}

void
authority_renew(struct identity *identity, struct store *store,
    const struct ipc_renew *renew, int64_t now, int64_t lifetime,
    struct ipc_redeemed *out)
{
	const struct certificate *shown = &renew->certificate;
	struct certificate certificate;
	struct name_record record;

	out->id = renew->id;
	out->result = REDEEM_NOT_AUTHORITY;
	if (!identity->authority)
		return;
	out->result = REDEEM_UNKNOWN;
	if (certificate_verify(shown, identity->authority_key, now) == -1 ||
	    authority_learn(identity, store, shown) == -1 ||
	    name_get(store, shown->node_id, &record) != 1 ||
	    memcmp(record.node_key, shown->node_key, KEY_SIZE) != 0)
		return;
	if (record.revoked_at != 0) {
		out->result = REDEEM_REVOKED;
		return;
	}
	identity_issue(identity, &certificate, shown->node_id, shown->node_key,
	    now + lifetime);
	record.serial = certificate.serial;
	if (name_put(store, &record) == -1 ||
	    store_finish(store, identity_put_counters(identity, store), 1) ==
		-1) {
		store_abort(store);
		return;
	}
	out->result = REDEEM_OK;
	out->certificate = certificate;
	log_info("node_renewed", "node=%s serial=%llu", shown->node_id,
	    (unsigned long long)certificate.serial);
}

/* --- revocations -------------------------------------------------------- */

int
authority_revoke(struct identity *identity, struct store *store,
    const char *node_id, int64_t now, struct ipc_revocation *revocation)
{
	struct name_record record;
	int found;

	if (!identity->authority) {
		errno = EPERM;
		return (-1);
	}
	if (strcmp(node_id, identity->node_id) == 0) {
		errno = EINVAL;
		return (-1);
	}
	found = name_get(store, node_id, &record);
	if (found == 0)
		errno = ENOENT;
	if (found != 1)
		return (-1);
	if (record.revoked_at == 0) {
		record.revoked_at = now;
		if (store_finish(store, name_put(store, &record), 1) == -1)
			return (-1);
	}
	name_sign_revocation(identity, &record, revocation);
	return (0);
}

struct revocation_walk {
	struct identity *identity;
	void (*visit)(const struct ipc_revocation *revocation);
};

static int
visit_revocation(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct revocation_walk *walk = arg;
	struct name_record record;
	struct ipc_revocation revocation;

	(void)name;
	(void)name_length;
	if (name_decode(data, length, &record) == -1)
		return (-1);
	if (record.revoked_at != 0) {
		name_sign_revocation(walk->identity, &record, &revocation);
		walk->visit(&revocation);
	}
	return (0);
}

int
authority_revocations(struct identity *identity, struct store *store,
    void (*visit)(const struct ipc_revocation *revocation))
{
	struct revocation_walk walk = { identity, visit };

	if (!identity->authority)
		return (0);
	return (store_walk(store, STORE_NAME, visit_revocation, &walk));
}
