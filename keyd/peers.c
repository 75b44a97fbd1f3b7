/*
 * keyd only. Members to find again after a start: what the mesh process
 * learns, kept for it in the store. See authority.h.
 */

#include <errno.h>
#include <string.h>

#include "keyd/authority.h"
#include "keyd/store.h"

#define PEER_RECORD_SIZE (ENDPOINT_SIZE + CERTIFICATE_ENCODED)

struct peer_walk {
	void (*visit)(void *arg, const struct ipc_peer *peer);
	void *arg;
	size_t count;
};

static int
visit_peer(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct peer_walk *walk = arg;
	struct ipc_peer peer = { 0 };

	(void)name;
	(void)name_length;
	walk->count++;
	if (walk->visit == NULL)
		return (0);
	if (length != PEER_RECORD_SIZE ||
	    certificate_decode(&peer.certificate, data + ENDPOINT_SIZE,
		CERTIFICATE_ENCODED) == -1) {
		errno = EINVAL;
		return (-1);
	}
	memcpy(peer.endpoint, data, ENDPOINT_SIZE);
	peer.endpoint[ENDPOINT_SIZE - 1] = '\0';
	walk->visit(walk->arg, &peer);
	return (0);
}

int
peers_walk(struct store *store,
    void (*visit)(void *arg, const struct ipc_peer *peer), void *arg)
{
	struct peer_walk walk = { .visit = visit, .arg = arg };

	return (store_walk(store, STORE_PEER, visit_peer, &walk));
}

/* Than that of the record. */
static int
is_older(const struct certificate *certificate,
    const uint8_t record[PEER_RECORD_SIZE])
{
	struct certificate known;

	return (certificate_decode(
		    &known, record + ENDPOINT_SIZE, CERTIFICATE_ENCODED) == 0 &&
		certificate->serial < known.serial);
}

int
peers_save(const struct identity *identity, struct store *store,
    const struct ipc_peer *peer, size_t limit, int64_t now)
{
	struct peer_walk walk = { .visit = NULL };
	uint8_t record[PEER_RECORD_SIZE] = { 0 };
	uint8_t before[PEER_RECORD_SIZE];
	size_t length;
	int known;

	if (!identity->in_mesh ||
	    memchr(peer->endpoint, '\0', ENDPOINT_SIZE) == NULL) {
		errno = EINVAL;
		return (-1);
	}
	if (certificate_verify(
		&peer->certificate, identity->authority_key, now) == -1)
		return (-1);
	memcpy(record, peer->endpoint, strlen(peer->endpoint));
	certificate_encode(&peer->certificate, record + ENDPOINT_SIZE);
	known = store_get(store, STORE_PEER, peer->certificate.node_key,
	    KEY_SIZE, before, sizeof(before), &length);
	if (known == 1 && length == sizeof(record) &&
	    (memcmp(before, record, sizeof(record)) == 0 ||
		is_older(&peer->certificate, before)))
		return (0);
	if (known == 0 &&
	    store_walk(store, STORE_PEER, visit_peer, &walk) == 0 &&
	    walk.count >= limit) {
		errno = ENOSPC;
		return (-1);
	}
	/* Losing one with the power costs a look-up in the mesh. */
	return (store_finish(store,
	    store_put(store, STORE_PEER, peer->certificate.node_key, KEY_SIZE,
		record, sizeof(record)),
	    0));
}

int
peers_forget(struct store *store, const struct ipc_peer *peer)
{
	return (store_finish(store,
	    store_delete(
		store, STORE_PEER, peer->certificate.node_key, KEY_SIZE),
	    0));
}
