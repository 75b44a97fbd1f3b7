/*
 * keyd only, of use on the founding node: tickets, the node names issued
 * against them, revocations. And, on every node, the members to find again
 * after a start. One transaction each, on disk before it is answered.
 */
#ifndef KEYD_AUTHORITY_H
#define KEYD_AUTHORITY_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "keyd/identity.h"

/*
 * Make a ticket that may be used so many times until now + lifetime (ns),
 * naming own (this node's endpoint) and the peers alive. 0, or -1 with errno
 * EPERM (not the authority), EINVAL (no endpoint) or the store's.
 */
int authority_make_ticket(struct identity *identity, struct store *store,
    const struct ipc_ticket_make *make, const char *own, int64_t now,
    struct ticket *ticket);

/* Every ticket as a row, id filled in. 0 or -1. */
int authority_tickets(struct store *store, uint64_t id,
    void (*visit)(const struct ipc_row_ticket *row));

/* Take a ticket back. 0, or -1 with errno ENOENT or the store's. */
int authority_revoke_ticket(
    struct store *store, const uint8_t ticket[TICKET_ID_SIZE]);

/* Count a use of a ticket and certify the node, or say why not. The node
 * that a use was counted for may ask again. */
void authority_redeem(struct identity *identity, struct store *store,
    const struct ipc_redeem *redeem, int64_t now, int64_t lifetime,
    struct ipc_redeemed *out);

/* Certify a node that a peer line of the configuration names, with its key.
 * It may ask again and gets another certificate. */
void authority_admit(struct identity *identity, struct store *store,
    const struct ipc_admit *admit, const struct config *config, int64_t now,
    struct ipc_redeemed *out);

/* Certify a member anew that shows a certificate of ours, in time. */
void authority_renew(struct identity *identity, struct store *store,
    const struct ipc_renew *renew, int64_t now, int64_t lifetime,
    struct ipc_redeemed *out);

/* Revoke a node by name; its key stays out for good, its name is free for
 * another key. 0, or -1 with errno EPERM, ENOENT (no such name),
 * EINVAL (this node itself) or the store's. */
int authority_revoke(struct identity *identity, struct store *store,
    const char *node_id, int64_t now, struct ipc_revocation *revocation);

/* Call visit for every revocation made here. 0 or -1. */
int authority_revocations(struct identity *identity, struct store *store,
    void (*visit)(const struct ipc_revocation *revocation));

/*
 * On the authority, restored perhaps from a backup: a member shows a
 * certificate of ours, which the caller has verified. When its name is not on
 * record it is from now on, and no lower serial is given any more: members take
 * none. 0, or -1 with errno.
 */
int authority_learn(struct identity *identity, struct store *store,
    const struct certificate *shown);

/* The same for a revocation that others remember. 1 when it is new, 0, or -1
 * with errno EACCES (not our word) or the store's. */
int authority_learn_revocation(struct identity *identity, struct store *store,
    const struct ipc_revocation *revocation);

/* Take expired tickets out. */
void authority_expire(struct store *store, int64_t now);

/*
 * Revocations by key: on every node those that other nodes told of, on the
 * authority those whose name another node has now. save: 1 when it is new, 0,
 * or -1 with errno EACCES (not our authority's word) or the store's. verify:
 * 0, or -1 as save. put: unchecked, in the caller's transaction; 0 or -1.
 * find: 1, 0 or -1.
 */
int revoked_verify(
    const struct identity *identity, const struct ipc_revocation *revocation);
int revoked_put(struct store *store, const struct ipc_revocation *revocation);
int revoked_find(struct store *store, const uint8_t node_key[KEY_SIZE]);
int revoked_save(const struct identity *identity, struct store *store,
    const struct ipc_revocation *revocation);
int revoked_walk(struct store *store,
    void (*visit)(const struct ipc_revocation *revocation));

/* A member with a certificate of our mesh; no more than limit. An older one
 * than the one known changes nothing. 0, or -1 with errno. */
int peers_save(const struct identity *identity, struct store *store,
    const struct ipc_peer *peer, size_t limit, int64_t now);
int peers_forget(struct store *store, const struct ipc_peer *peer);
int peers_walk(struct store *store,
    void (*visit)(void *arg, const struct ipc_peer *peer), void *arg);

#endif
