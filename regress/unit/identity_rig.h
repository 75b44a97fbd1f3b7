/*
 * For tests of keyd's identity: a node in a store of its own that goes with
 * the test, tickets of its mesh and who redeems them.
 */
#ifndef REGRESS_UNIT_IDENTITY_RIG_H
#define REGRESS_UNIT_IDENTITY_RIG_H

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <sodium.h>

#include "keyd/authority.h"
#include "keyd/identity.h"
#include "keyd/store.h"
#include "regress/unit/folder.h"

#define NOW (INT64_C(1700000000) * 1000000000)
#define DAY (INT64_C(86400) * 1000000000)

static char folder[PATH_MAX];
static struct store *store;
static struct identity me;

static inline void
load(void)
{
	enum store_error error;

	store = store_open(folder, &error);
	ck_assert_ptr_nonnull(store);
	ck_assert_int_eq(store_unlock(store, "p", 1, crypto_pwhash_OPSLIMIT_MIN,
			     crypto_pwhash_MEMLIMIT_MIN),
	    STORE_OK);
	memset(&me, 0, sizeof(me));
	ck_assert_int_eq(identity_load(&me, store, "alpha"), 0);
}

static inline void
reload(void)
{
	identity_wipe(&me);
	store_close(store);
	load();
}

static inline void
setup(void)
{
	snprintf(folder, sizeof(folder), "/tmp/hermes-identity-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	load();
}

static inline void
teardown(void)
{
	identity_wipe(&me);
	store_close(store);
	folder_remove(folder);
}

/* The operator would join this one's mesh. */
static inline void
allowed(const uint8_t authority[KEY_SIZE])
{
	memcpy(me.allowed, authority, KEY_SIZE);
	me.allowed_until = NOW + 3 * DAY;
}

/* A certificate by another authority. */
static inline void
issue(struct certificate *certificate, uint8_t authority[KEY_SIZE],
    const char *node_id, const uint8_t node_key[KEY_SIZE])
{
	uint8_t secret[64], bytes[CERTIFICATE_SIGNED_MAX];
	size_t length;

	(void)crypto_sign_keypair(authority, secret);
	memset(certificate, 0, sizeof(*certificate));
	mesh_id_make(certificate->mesh_id, authority);
	(void)strlcpy(certificate->node_id, node_id, NODE_ID_SIZE);
	memcpy(certificate->node_key, node_key, KEY_SIZE);
	certificate->serial = 1;
	certificate->not_after = NOW + DAY;
	length = certificate_signed_bytes(certificate, bytes);
	(void)crypto_sign_detached(
	    certificate->signature, NULL, bytes, length, secret);
}

static struct ticket ticket;

static inline void
make_ticket(uint64_t uses)
{
	struct ipc_ticket_make make = { .lifetime = DAY, .uses = uses };

	ck_assert_int_eq(authority_make_ticket(
			     &me, store, &make, "127.0.0.1:7444", NOW, &ticket),
	    0);
	ck_assert_int_eq(ticket_verify(&ticket, NOW), 0);
	ck_assert_str_eq(ticket.endpoints[0].endpoint, "127.0.0.1:7444");
}

static inline enum redeem_result
redeem(const char *node_id, uint8_t key, int64_t now)
{
	struct ipc_redeem question = { .id = 3 };
	struct ipc_redeemed answer = { 0 };

	memcpy(question.secret, ticket.secret, TICKET_SECRET_SIZE);
	(void)strlcpy(question.node_id, node_id, NODE_ID_SIZE);
	memset(question.node_key, key, KEY_SIZE);
	authority_redeem(&me, store, &question, now, 30 * DAY, &answer);
	if (answer.result == REDEEM_OK) {
		ck_assert_int_eq(certificate_verify(&answer.certificate,
				     me.authority_key, now),
		    0);
		ck_assert_str_eq(answer.certificate.node_id, node_id);
		ck_assert_mem_eq(
		    answer.certificate.node_key, question.node_key, KEY_SIZE);
	}
	return ((enum redeem_result)answer.result);
}

#endif
