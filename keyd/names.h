/*
 * keyd only, of use on the authority: which name was given to which key. See
 * authority.h for what becomes of them.
 */
#ifndef KEYD_NAMES_H
#define KEYD_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "keyd/identity.h"

/* A name that was given to a key. */
struct name_record {
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
	uint8_t ticket[KEY_SIZE]; /* hash of its secret */
	uint64_t serial;
	int64_t revoked_at; /* 0: it is good */
};

/* The record of a name: 1, 0 when there is none, -1. put: in the caller's
 * transaction; 0 or -1. decode: 0 or -1 with errno. */
int name_get(
    struct store *store, const char *node_id, struct name_record *record);
int name_put(struct store *store, const struct name_record *record);
int name_decode(const uint8_t *data, size_t length, struct name_record *record);

/* Whether a name and a key may go together, by what was issued before. */
struct name_search {
	const char *node_id;
	const uint8_t *node_key;
	enum redeem_result result;
	int found;
	struct name_record record; /* of that name */
};

/* REDEEM_OK when name and key may be certified; 0 when the store failed. */
enum redeem_result name_allowed(const struct identity *identity,
    struct store *store, struct name_search *search);

/* The authority's word that the holder of a name is out. */
void name_sign_revocation(const struct identity *identity,
    const struct name_record *record, struct ipc_revocation *revocation);

#endif
