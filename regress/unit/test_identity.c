/*
 * keyd's identity: born once, kept sealed, signs only what it may; tickets,
 * names (L17), revocations; TLS keys and certificates.
 */

#define OPENSSL_SUPPRESS_DEPRECATED

#include <arpa/inet.h>
#include <netinet/in.h>

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sodium.h>

#include "common/sign/statement.h"
#include "common/util/hex.h"
#include "common/util/log.h"
#include "keyd/authority.h"
#include "keyd/identity.h"
#include "keyd/secret.h"
#include "keyd/store.h"
#include "keyd/tls.h"
#include "keyd/tls_internal.h"
#include "regress/unit/identity_rig.h"
#include "regress/unit/suite.h"

/* --- identity ----------------------------------------------------------- */

START_TEST(born_once_and_kept)
{
	struct identity before = me;
	struct ipc_identity told = { 0 };
	uint8_t spki[KEY_SIZE], again[KEY_SIZE];

	ck_assert_uint_eq(me.incarnation, 1);
	ck_assert_int_eq(tls_spki(me.secrets->tls_app, spki), 0);
	reload();
	ck_assert_mem_eq(before.node_key, me.node_key, KEY_SIZE);
	ck_assert_uint_eq(me.incarnation, 2);
	ck_assert_int_eq(tls_spki(me.secrets->tls_app, again), 0);
	ck_assert_mem_eq(spki, again, KEY_SIZE);
	ck_assert_int_eq(tls_spki(me.secrets->tls_mesh, again), 0);
	ck_assert_mem_ne(spki, again, KEY_SIZE);
	ck_assert_int_eq(identity_advance(&me, store), 0);
	reload();
	ck_assert_uint_eq(me.incarnation, 4);
	identity_fill(&me, &told);
	ck_assert_uint_eq(told.unlocked, 1);
	ck_assert_uint_eq(told.in_mesh, 0);
	ck_assert_str_eq(told.node_id, "alpha");
	ck_assert_mem_eq(told.node_key, me.node_key, KEY_SIZE);
}
END_TEST

static int
state(uint32_t kind, uint64_t number)
{
	struct ipc_statement statement = {
		.id = 9, .kind = kind, .number = number
	};
	struct ipc_statement_signed answer = { 0 };

	memset(statement.digest, 3, KEY_SIZE);
	identity_state(&me, store, &statement, NOW, &answer);
	ck_assert_uint_eq(answer.id, 9);
	if (answer.ok)
		ck_assert_int_eq(
		    statement_verify((enum statement_kind)kind, "alpha",
			me.node_key, number, statement.digest, answer.signature,
			me.node_key),
		    0);
	return ((int)answer.ok);
}

START_TEST(statements_never_go_back)
{
	ck_assert(state(STATEMENT_DESCRIPTOR, 1));
	ck_assert(state(STATEMENT_DESCRIPTOR, 1));
	ck_assert(state(STATEMENT_ALIVE, 5));
	ck_assert(!state(STATEMENT_ALIVE, 4));
	ck_assert(state(STATEMENT_DESCRIPTOR, 5));
	ck_assert(!state(STATEMENT_DESCRIPTOR, 1));
	ck_assert(state(STATEMENT_PRESENCE, 1000000));
	ck_assert(!state(STATEMENT_PRESENCE, 999999));
	ck_assert(state(STATEMENT_JOIN, 0));
	ck_assert(!state(STATEMENT_JOIN, 1));
	ck_assert(!state(STATEMENT_REVOCATION, 1));
	ck_assert(!state(0, 1));
	ck_assert(!state(77, 1));
	/* L31: a number from which there is no way up. */
	ck_assert(!state(STATEMENT_ALIVE, UINT64_MAX));
	ck_assert(!state(STATEMENT_LEAVE, UINT64_C(1) << 40));
	ck_assert(!state(STATEMENT_PRESENCE, UINT64_MAX));
	reload();
	ck_assert_uint_eq(me.incarnation, 6);
	ck_assert(!state(STATEMENT_PRESENCE, 999999));
	ck_assert(state(STATEMENT_PRESENCE, 1000000));
}
END_TEST

/* L31: they are numbered by the clock, in microseconds, which others have told
 * to be ahead by half a year at most. From where a mesh process gone wrong
 * left them the next one goes on. */
START_TEST(numbers_of_presence_are_not_used_up)
{
	const uint64_t clock = NOW / 1000, far = UINT64_C(1) << 46;
	struct ipc_identity told = { 0 };

	ck_assert(state(STATEMENT_PRESENCE, clock));
	ck_assert(!state(STATEMENT_PRESENCE, UINT64_MAX / 2));
	ck_assert(!state(STATEMENT_PRESENCE, clock + far + 1));
	ck_assert(state(STATEMENT_PRESENCE, clock + 1));
	ck_assert(state(STATEMENT_PRESENCE, clock + far));
	ck_assert(!state(STATEMENT_PRESENCE, clock + far + (1 << 30)));
	identity_fill(&me, &told);
	ck_assert_uint_eq(told.presence, clock + far);
	reload();
	identity_fill(&me, &told);
	ck_assert_uint_eq(told.presence, clock + far);
	ck_assert(!state(STATEMENT_PRESENCE, clock + far - 1));
	ck_assert(state(STATEMENT_PRESENCE, clock + far + 1));
	ck_assert(state(STATEMENT_PRESENCE, clock + far + 2));
}
END_TEST

START_TEST(challenge_binds_listener_and_mesh)
{
	struct ipc_challenge challenge = { .id = 4 };
	struct ipc_challenge_signed answer = { 0 };
	uint8_t spki[KEY_SIZE] = { 8 };
	uint8_t bytes[CHALLENGE_SIGNED_MAX];
	char mesh_id[2 * KEY_SIZE + 1];
	size_t length;

	challenge.nonce[0] = 1;
	identity_challenge(&me, &challenge, spki, &answer);
	length =
	    challenge_signed_bytes(challenge.nonce, "alpha", "", spki, bytes);
	ck_assert_uint_eq(answer.id, 4);
	ck_assert_int_eq(crypto_sign_verify_detached(
			     answer.signature, bytes, length, me.node_key),
	    0);
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	identity_challenge(&me, &challenge, spki, &answer);
	hex_encode(mesh_id, me.certificate.mesh_id, KEY_SIZE);
	length = challenge_signed_bytes(
	    challenge.nonce, "alpha", mesh_id, spki, bytes);
	ck_assert_int_eq(crypto_sign_verify_detached(
			     answer.signature, bytes, length, me.node_key),
	    0);
}
END_TEST

/* --- the mesh ----------------------------------------------------------- */

START_TEST(founding_and_renewing)
{
	uint64_t serial;

	ck_assert_int_eq(identity_found(&me, store, NOW, 30 * DAY), 0);
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), -1);
	ck_assert_int_eq(errno, EEXIST);
	ck_assert_int_eq(
	    certificate_verify(&me.certificate, me.authority_key, NOW), 0);
	serial = me.certificate.serial;
	reload();
	ck_assert_uint_eq(me.in_mesh, 1);
	ck_assert_uint_eq(me.authority, 1);
	ck_assert_int_eq(
	    certificate_verify(&me.certificate, me.authority_key, NOW), 0);
	ck_assert_int_eq(identity_renew(&me, store, NOW + DAY, 30 * DAY), 0);
	ck_assert_int_eq(
	    identity_renew(&me, store, NOW + 25 * DAY, 30 * DAY), 1);
	ck_assert_uint_eq(me.certificate.serial, serial + 1);
	ck_assert_int_eq(certificate_verify(
			     &me.certificate, me.authority_key, NOW + 50 * DAY),
	    0);
}
END_TEST

START_TEST(membership_is_checked)
{
	struct certificate certificate;
	uint8_t authority[KEY_SIZE], other[KEY_SIZE] = { 1 };

	issue(&certificate, authority, "beta", me.node_key);
	allowed(authority);
	ck_assert_int_eq(
	    identity_join(&me, store, &certificate, authority, NOW), -1);
	issue(&certificate, authority, "alpha", other);
	allowed(authority);
	ck_assert_int_eq(
	    identity_join(&me, store, &certificate, authority, NOW), -1);
	issue(&certificate, authority, "alpha", me.node_key);
	certificate.signature[0] ^= 1;
	allowed(authority);
	ck_assert_int_eq(
	    identity_join(&me, store, &certificate, authority, NOW), -1);
	issue(&certificate, authority, "alpha", me.node_key);
	allowed(authority);
	ck_assert_int_eq(
	    identity_join(&me, store, &certificate, authority, NOW + 2 * DAY),
	    -1);
	ck_assert_uint_eq(me.in_mesh, 0);
	ck_assert_int_eq(
	    identity_join(&me, store, &certificate, authority, NOW), 0);
	reload();
	ck_assert_uint_eq(me.in_mesh, 1);
	ck_assert_uint_eq(me.authority, 0);
	/* Nobody is moved to another mesh. */
	issue(&certificate, authority, "alpha", me.node_key);
	allowed(authority);
	ck_assert_int_eq(
	    identity_join(&me, store, &certificate, authority, NOW), -1);
}
END_TEST

START_TEST(l17_a_name_belongs_to_a_key)
{
	struct ipc_ticket_make make = { .lifetime = DAY, .uses = 1 };

	ck_assert_int_eq(
	    authority_make_ticket(&me, store, &make, "x:1", NOW, &ticket), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_NOT_AUTHORITY);
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	make_ticket(2);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	/* The answer was lost: the same again costs nothing. */
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	ck_assert_int_eq(redeem("beta", 3, NOW), REDEEM_NAME_TAKEN);
	ck_assert_int_eq(redeem("alpha", 3, NOW), REDEEM_NAME_TAKEN);
	/* A key has one name. */
	ck_assert_int_eq(redeem("gamma", 2, NOW), REDEEM_NAME_TAKEN);
	ck_assert_int_eq(redeem("Not Valid", 4, NOW), REDEEM_UNKNOWN);
	/* None of the refused used it up; the next one does. */
	ck_assert_int_eq(redeem("gamma", 4, NOW), REDEEM_OK);
	ck_assert_int_eq(redeem("delta", 5, NOW), REDEEM_UNKNOWN);
	ck_assert_int_eq(redeem("gamma", 4, NOW), REDEEM_OK);
	make_ticket(1);
	ck_assert_int_eq(redeem("delta", 5, NOW + 2 * DAY), REDEEM_UNKNOWN);
	reload();
	ck_assert_int_eq(redeem("beta", 3, NOW), REDEEM_NAME_TAKEN);
	/* The same key may rejoin under its name with a new ticket. */
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	ck_assert_int_eq(redeem("delta", 5, NOW), REDEEM_UNKNOWN);
	authority_expire(store, NOW + 2 * DAY);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_UNKNOWN);
}
END_TEST

static int revocations;
static struct ipc_revocation revoked;

static void
count_revocation(const struct ipc_revocation *revocation)
{
	revocations++;
	revoked = *revocation;
}

START_TEST(a_revoked_node_stays_out)
{
	struct ipc_revocation revocation;
	uint8_t at[8], digest[KEY_SIZE];
	int i;

	ck_assert_int_eq(
	    authority_revoke(&me, store, "beta", NOW, &revocation), -1);
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	make_ticket(9);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "gamma", NOW, &revocation), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "alpha", NOW, &revocation), -1);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "beta", NOW, &revocation), 0);
	for (i = 0; i < 8; i++)
		at[i] = (uint8_t)((uint64_t)NOW >> (56 - 8 * i));
	(void)crypto_hash_sha256(digest, at, sizeof(at));
	ck_assert_int_eq(statement_verify(STATEMENT_REVOCATION, "beta",
			     revocation.node_key, revocation.serial, digest,
			     revocation.signature, me.authority_key),
	    0);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_REVOKED);
	ck_assert_int_eq(redeem("other", 2, NOW), REDEEM_REVOKED);
	reload();
	ck_assert_int_eq(
	    authority_revocations(&me, store, count_revocation), 0);
	ck_assert_int_eq(revocations, 1);
	ck_assert_mem_eq(&revoked, &revocation, sizeof(revoked));
	/* Its name goes to the node in its place, its key stays out. */
	ck_assert_int_eq(redeem("beta", 3, NOW), REDEEM_OK);
	ck_assert_int_eq(redeem("beta", 4, NOW), REDEEM_NAME_TAKEN);
	reload();
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_REVOKED);
	ck_assert_int_eq(redeem("other", 2, NOW), REDEEM_REVOKED);
	revocations = 0;
	ck_assert_int_eq(
	    authority_revocations(&me, store, count_revocation), 0);
	ck_assert_int_eq(revocations, 0);
	ck_assert_int_eq(revoked_walk(store, count_revocation), 0);
	ck_assert_int_eq(revocations, 1);
	ck_assert_mem_eq(&revoked, &revocation, sizeof(revoked));
	/* And so again with the next one. */
	ck_assert_int_eq(
	    authority_revoke(&me, store, "beta", NOW, &revocation), 0);
	ck_assert_int_eq(redeem("beta", 3, NOW), REDEEM_REVOKED);
	ck_assert_int_eq(redeem("beta", 5, NOW), REDEEM_OK);
	revocations = 0;
	ck_assert_int_eq(revoked_walk(store, count_revocation), 0);
	ck_assert_int_eq(revocations, 2);
}
END_TEST

static enum redeem_result
admit(const struct config *config, const char *node_id, uint8_t key)
{
	struct ipc_admit question = { .id = 4 };
	struct ipc_redeemed answer = { 0 };

	(void)strlcpy(question.node_id, node_id, NODE_ID_SIZE);
	memset(question.node_key, key, KEY_SIZE);
	authority_admit(&me, store, &question, config, NOW, &answer);
	ck_assert_uint_eq(answer.id, 4);
	if (answer.result == REDEEM_OK)
		ck_assert_int_eq(certificate_verify(&answer.certificate,
				     me.authority_key, NOW),
		    0);
	return ((enum redeem_result)answer.result);
}

/* Name and key, both as the operator wrote them. */
START_TEST(peer_lines_admit)
{
	struct config *config = calloc(1, sizeof(*config));
	struct ipc_revocation revocation;

	config->membership_lifetime = DAY;
	config->peer_count = 2;
	(void)strlcpy(config->peers[0].node_id, "beta", NODE_ID_SIZE);
	memset(config->peers[0].node_key, 2, KEY_SIZE);
	(void)strlcpy(config->peers[1].node_id, "alpha", NODE_ID_SIZE);
	memset(config->peers[1].node_key, 3, KEY_SIZE);
	ck_assert_int_eq(admit(config, "beta", 2), REDEEM_NOT_AUTHORITY);
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	ck_assert_int_eq(admit(config, "gamma", 2), REDEEM_UNKNOWN);
	ck_assert_int_eq(admit(config, "beta", 3), REDEEM_UNKNOWN);
	ck_assert_int_eq(admit(config, "beta", 2), REDEEM_OK);
	ck_assert_int_eq(admit(config, "beta", 2), REDEEM_OK);
	/* This node's own name, whatever the line says. */
	ck_assert_int_eq(admit(config, "alpha", 3), REDEEM_NAME_TAKEN);
	make_ticket(9);
	ck_assert_int_eq(redeem("beta", 7, NOW), REDEEM_NAME_TAKEN);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "beta", NOW, &revocation), 0);
	ck_assert_int_eq(admit(config, "beta", 2), REDEEM_REVOKED);
	config->peer_count = 0;
	ck_assert_int_eq(admit(config, "beta", 2), REDEEM_UNKNOWN);
	free(config);
}
END_TEST

/* A certificate of ours that the backup we are of knows nothing of. */
static void
certificate_of_later(struct ipc_peer *peer, const char *node_id, int seed)
{
	uint8_t key[KEY_SIZE];

	memset(key, seed, sizeof(key));
	(void)strlcpy(peer->endpoint, "x:1", sizeof(peer->endpoint));
	identity_issue(&me, &peer->certificate, node_id, key, NOW + DAY);
}

START_TEST(a_restored_authority_learns_members)
{
	struct ipc_peer peer = { 0 };
	struct ipc_renew renew = { .id = 5 };
	struct ipc_redeemed answer = { 0 };
	struct ipc_revocation revocation;
	uint64_t serial;

	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	make_ticket(9);
	me.serial += 7;
	certificate_of_later(&peer, "beta", 2);
	serial = me.serial;
	me.serial -= 8;
	ck_assert_int_eq(
	    authority_revoke(&me, store, "beta", NOW, &revocation), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(authority_learn(&me, store, &peer.certificate), 0);
	ck_assert_int_eq(authority_learn(&me, store, &peer.certificate), 0);
	reload();
	ck_assert_uint_eq(me.serial, serial);
	/* Its name and its key are taken, and it can be revoked. */
	ck_assert_int_eq(redeem("beta", 3, NOW), REDEEM_NAME_TAKEN);
	ck_assert_int_eq(redeem("gamma", 2, NOW), REDEEM_NAME_TAKEN);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "beta", NOW, &revocation), 0);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_REVOKED);
	/* What it shows again changes nothing. */
	ck_assert_int_eq(authority_learn(&me, store, &peer.certificate), 0);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_REVOKED);
	/* Who wants a membership renewed is learned as well. */
	certificate_of_later(&peer, "gamma", 4);
	renew.certificate = peer.certificate;
	authority_renew(&me, store, &renew, NOW, DAY, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_OK);
	ck_assert_int_eq(redeem("gamma", 5, NOW), REDEEM_NAME_TAKEN);
	/* A name that we know, with a serial that we forgot: it is certified
	 * above that, or it would not take it. */
	me.serial += 7;
	certificate_of_later(&peer, "gamma", 4);
	me.serial -= 8;
	renew.certificate = peer.certificate;
	authority_renew(&me, store, &renew, NOW, DAY, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_OK);
	ck_assert_uint_gt(answer.certificate.serial, peer.certificate.serial);
	/* Never our own name. */
	certificate_of_later(&peer, "alpha", 6);
	ck_assert_int_eq(authority_learn(&me, store, &peer.certificate), 0);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "alpha", NOW, &revocation), -1);
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* Since the backup beta was revoked, and another node has its name: which the
 * members tell in any order. */
START_TEST(a_restored_authority_learns_revocations)
{
	struct ipc_peer peer = { 0 };
	struct ipc_revocation out, revocation;
	int member_first = _i;

	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	make_ticket(9);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	ck_assert_int_eq(authority_revoke(&me, store, "beta", NOW, &out), 0);
	/* As it was before. */
	ck_assert_int_eq(
	    store_delete(store, STORE_NAME, (const uint8_t *)"beta", 4), 0);
	ck_assert_int_eq(store_commit(store, 1), 0);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	certificate_of_later(&peer, "beta", 3);
	if (member_first) {
		ck_assert_int_eq(peers_save(&me, store, &peer, 9, NOW), 0);
		ck_assert_int_eq(
		    authority_learn(&me, store, &peer.certificate), 0);
	}
	out.signature[5] ^= 1;
	ck_assert_int_eq(authority_learn_revocation(&me, store, &out), -1);
	out.signature[5] ^= 1;
	ck_assert_int_eq(authority_learn_revocation(&me, store, &out), 1);
	ck_assert_int_eq(authority_learn_revocation(&me, store, &out), 0);
	if (!member_first)
		ck_assert_int_eq(
		    authority_learn(&me, store, &peer.certificate), 0);
	reload();
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_REVOKED);
	ck_assert_int_eq(redeem("beta", 4, NOW), REDEEM_NAME_TAKEN);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "beta", NOW, &revocation), 0);
	ck_assert_mem_eq(
	    revocation.node_key, peer.certificate.node_key, KEY_SIZE);
	/* One of a node that was neither in it nor is there now. */
	(void)strlcpy(out.node_id, "delta", NODE_ID_SIZE);
	ck_assert_int_eq(authority_learn_revocation(&me, store, &out), -1);
	ck_assert_int_eq(redeem("delta", 2, NOW), REDEEM_REVOKED);
}
END_TEST

/* A member shows what it has and gets what lasts longer. */
START_TEST(memberships_are_renewed)
{
	struct ipc_renew renew = { .id = 5 };
	struct ipc_redeemed answer = { 0 };
	struct ipc_revocation revocation;
	uint8_t key[KEY_SIZE];

	memset(key, 2, sizeof(key));
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	make_ticket(1);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	identity_issue(&me, &renew.certificate, "beta", key, NOW + DAY);
	authority_renew(&me, store, &renew, NOW, 9 * DAY, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_OK);
	ck_assert_uint_eq(answer.id, 5);
	ck_assert_uint_gt(answer.certificate.serial, renew.certificate.serial);
	ck_assert_int_eq(answer.certificate.not_after, NOW + 9 * DAY);
	ck_assert_mem_eq(answer.certificate.node_key, key, KEY_SIZE);
	/* Too late, not ours, not that name's, not any more. */
	authority_renew(&me, store, &renew, NOW + 2 * DAY, DAY, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_UNKNOWN);
	renew.certificate.signature[3] ^= 1;
	authority_renew(&me, store, &renew, NOW, DAY, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_UNKNOWN);
	key[0] = 3;
	identity_issue(&me, &renew.certificate, "beta", key, NOW + DAY);
	authority_renew(&me, store, &renew, NOW, DAY, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_UNKNOWN);
	key[0] = 2;
	identity_issue(&me, &renew.certificate, "beta", key, NOW + DAY);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "beta", NOW, &revocation), 0);
	authority_renew(&me, store, &renew, NOW, DAY, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_REVOKED);
}
END_TEST

static struct ipc_row_ticket listed[4];
static size_t listed_count;

static void
list_ticket(const struct ipc_row_ticket *row)
{
	ck_assert_uint_lt(listed_count, 4);
	listed[listed_count++] = *row;
}

START_TEST(tickets_are_listed_and_revoked)
{
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	make_ticket(3);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	ck_assert_int_eq(authority_tickets(store, 8, list_ticket), 0);
	ck_assert_uint_eq(listed_count, 1);
	ck_assert_uint_eq(listed[0].id, 8);
	ck_assert_uint_eq(listed[0].uses, 3);
	ck_assert_uint_eq(listed[0].uses_left, 2);
	ck_assert_int_eq(listed[0].created_at, NOW);
	ck_assert_int_eq(listed[0].expires_at, ticket.expires_at);
	ck_assert_mem_ne(listed[0].ticket, ticket.secret, TICKET_ID_SIZE);
	ck_assert_int_eq(authority_revoke_ticket(store, listed[0].ticket), 0);
	ck_assert_int_eq(authority_revoke_ticket(store, listed[0].ticket), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(redeem("gamma", 4, NOW), REDEEM_UNKNOWN);
}
END_TEST

static void
count_peer(void *arg, const struct ipc_peer *peer)
{
	ck_assert_str_eq(peer->endpoint, "10.0.0.2:7444");
	++*(int *)arg;
}

START_TEST(peers_are_members_of_our_mesh)
{
	struct ipc_peer peer = { .endpoint = "10.0.0.2:7444" };
	uint8_t key[KEY_SIZE] = { 5 }, authority[KEY_SIZE];
	struct ipc_ticket_make make = { .lifetime = DAY, .uses = 1 };
	int count = 0;

	ck_assert_int_eq(peers_save(&me, store, &peer, 4, NOW), -1);
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	issue(&peer.certificate, authority, "beta", key);
	ck_assert_int_eq(peers_save(&me, store, &peer, 4, NOW), -1);
	identity_issue(&me, &peer.certificate, "beta", key, NOW + DAY);
	ck_assert_int_eq(peers_save(&me, store, &peer, 1, NOW), 0);
	ck_assert_int_eq(peers_save(&me, store, &peer, 1, NOW), 0);
	key[0] = 6;
	identity_issue(&me, &peer.certificate, "gamma", key, NOW + DAY);
	ck_assert_int_eq(peers_save(&me, store, &peer, 1, NOW), -1);
	ck_assert_int_eq(errno, ENOSPC);
	reload();
	ck_assert_int_eq(peers_walk(store, count_peer, &count), 0);
	ck_assert_int_eq(count, 1);
	/* A ticket names those who answer, besides us. */
	make_ticket(1);
	ck_assert_uint_eq(ticket.endpoint_count, 1);
	key[0] = 5;
	memcpy(make.alive[make.alive_count++], key, KEY_SIZE);
	ck_assert_int_eq(
	    authority_make_ticket(&me, store, &make, "x:1", NOW, &ticket), 0);
	ck_assert_uint_eq(ticket.endpoint_count, 2);
	ck_assert_mem_eq(ticket.endpoints[1].node_key, key, KEY_SIZE);
	peer.certificate.node_key[0] = 5;
	ck_assert_int_eq(peers_forget(store, &peer), 0);
	ck_assert_int_eq(peers_walk(store, count_peer, &count), 0);
	ck_assert_int_eq(count, 1);
}
END_TEST

/* --- TLS ---------------------------------------------------------------- */

static X509 *
read_pem(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	ck_assert_ptr_nonnull(x509);
	return (x509);
}

START_TEST(digests_are_signed_with_the_key_asked_for)
{
	struct ipc_sign_digest digest = { .length = 32 };
	struct ipc_signed_digest answer = { 0 };
	EC_KEY *key = tls_key(me.secrets->tls_app);

	memset(digest.digest, 7, 32);
	tls_sign_digest(me.secrets->tls_app, &digest, &answer);
	ck_assert_uint_gt(answer.length, 60);
	ck_assert_int_eq(ECDSA_verify(0, digest.digest, 32, answer.signature,
			     (int)answer.length, key),
	    1);
	tls_sign_digest(me.secrets->tls_mesh, &digest, &answer);
	ck_assert_int_ne(ECDSA_verify(0, digest.digest, 32, answer.signature,
			     (int)answer.length, key),
	    1);
	digest.length = 19;
	tls_sign_digest(me.secrets->tls_app, &digest, &answer);
	ck_assert_uint_eq(answer.length, 0);
	digest.length = UINT64_MAX;
	tls_sign_digest(me.secrets->tls_app, &digest, &answer);
	ck_assert_uint_eq(answer.length, 0);
	EC_KEY_free(key);
}
END_TEST

static void
listen_on(struct config *config, int i, const char *host, const char *name)
{
	struct sockaddr_in *in =
	    (struct sockaddr_in *)&config->listen[LISTEN_APP][i].address;

	in->sin_family = AF_INET;
	ck_assert_int_eq(inet_pton(AF_INET, host, &in->sin_addr), 1);
	config->listen[LISTEN_APP][i].address_length = sizeof(*in);
	(void)strlcpy(
	    config->listen[LISTEN_APP][i].name, name, CONFIG_NAME_SIZE);
}

START_TEST(app_certificate_names_the_listeners_and_stays)
{
	static struct config config;
	static char pem[TLS_PEM_MAX], again[TLS_PEM_MAX];
	X509 *x509;
	char subject[64];

	memset(&config, 0, sizeof(config));
	listen_on(&config, 0, "127.0.0.1", "127.0.0.1:7443");
	listen_on(&config, 1, "192.0.2.5", "hermes.example:7443");
	(void)strlcpy(config.advertise_app, "[2001:db8::1]:7443",
	    sizeof(config.advertise_app));
	ck_assert_int_eq(tls_app_certificate(&me, store, &config, NOW, pem), 0);
	x509 = read_pem(pem);
	ck_assert_int_eq(X509_check_ip_asc(x509, "127.0.0.1", 0), 1);
	ck_assert_int_eq(X509_check_ip_asc(x509, "192.0.2.5", 0), 1);
	ck_assert_int_eq(X509_check_ip_asc(x509, "2001:db8::1", 0), 1);
	ck_assert_int_eq(X509_check_host(x509, "localhost", 0, 0, NULL), 1);
	ck_assert_int_eq(
	    X509_check_host(x509, "hermes.example", 0, 0, NULL), 1);
	ck_assert_int_eq(X509_check_host(x509, "other.example", 0, 0, NULL), 0);
	ck_assert_int_eq(X509_NAME_get_text_by_NID(X509_get_subject_name(x509),
			     NID_commonName, subject, sizeof(subject)),
	    5);
	ck_assert_str_eq(subject, "alpha");
	ck_assert_int_eq(X509_check_ca(x509), 0);
	ck_assert_int_eq(X509_verify(x509, X509_get0_pubkey(x509)), 1);
	X509_free(x509);
	/* The same after a restart, so that clients may pin it. */
	reload();
	ck_assert_int_eq(
	    tls_app_certificate(&me, store, &config, NOW + DAY, again), 0);
	ck_assert_str_eq(pem, again);
	/* A new one when a third of its life is left, or names change. */
	ck_assert_int_eq(
	    tls_app_certificate(&me, store, &config, NOW + 600 * DAY, again),
	    0);
	ck_assert_str_ne(pem, again);
	ck_assert_int_eq(
	    tls_app_certificate(&me, store, &config, NOW + 601 * DAY, pem), 0);
	ck_assert_str_eq(pem, again);
	config.advertise_app[0] = '\0';
	ck_assert_int_eq(
	    tls_app_certificate(&me, store, &config, NOW + 601 * DAY, again),
	    0);
	ck_assert_str_ne(pem, again);
}
END_TEST

START_TEST(mesh_certificate_carries_the_binding)
{
	static char pem[TLS_PEM_MAX];
	struct binding binding;
	uint8_t spki[KEY_SIZE], own[KEY_SIZE], *der;
	X509 *x509;
	int length, i;

	ck_assert_int_eq(tls_spki(me.secrets->tls_mesh, own), 0);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(tls_mesh_certificate(&me, NOW, pem), 0);
		x509 = read_pem(pem);
		der = NULL;
		length = i2d_X509(x509, &der);
		ck_assert_int_eq(
		    binding_from_x509(&binding, spki, der, (size_t)length), 0);
		ck_assert_mem_eq(spki, own, KEY_SIZE);
		ck_assert_str_eq(binding.node_id, "alpha");
		ck_assert_mem_eq(binding.node_key, me.node_key, KEY_SIZE);
		ck_assert_uint_eq(binding.has_certificate, (uint32_t)i);
		if (i == 1)
			ck_assert_int_eq(
			    certificate_verify(
				&binding.certificate, me.authority_key, NOW),
			    0);
		OPENSSL_free(der);
		X509_free(x509);
		if (i == 0)
			ck_assert_int_eq(
			    identity_found(&me, store, NOW, DAY), 0);
	}
}
END_TEST

START_TEST(operators_keys_are_read_if_they_fit)
{
	EC_KEY *key = tls_key(me.secrets->tls_app);
	EVP_PKEY *pkey = EVP_PKEY_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;
	long length;
	uint8_t read[P256_SIZE];

	ck_assert_int_eq(
	    PEM_write_bio_ECPrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	length = BIO_get_mem_data(bio, &pem);
	ck_assert_int_eq(tls_read_key(pem, (size_t)length, read), 0);
	ck_assert_mem_eq(read, me.secrets->tls_app, P256_SIZE);
	ck_assert_int_eq(tls_read_key(pem, (size_t)length / 2, read), -1);
	ck_assert_int_eq(tls_read_key("", 0, read), -1);
	BIO_free(bio);
	EC_KEY_free(key);
	/* Another curve. */
	key = EC_KEY_new_by_curve_name(NID_secp384r1);
	ck_assert_int_eq(EC_KEY_generate_key(key), 1);
	bio = BIO_new(BIO_s_mem());
	ck_assert_int_eq(
	    PEM_write_bio_ECPrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	length = BIO_get_mem_data(bio, &pem);
	ck_assert_int_eq(tls_read_key(pem, (size_t)length, read), -1);
	BIO_free(bio);
	EC_KEY_free(key);
	EVP_PKEY_free(pkey);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("identity");
	TCase *tcase = tcase_create("identity");

	if (sodium_init() == -1)
		return (1);
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, born_once_and_kept);
	tcase_add_test(tcase, statements_never_go_back);
	tcase_add_test(tcase, numbers_of_presence_are_not_used_up);
	tcase_add_test(tcase, challenge_binds_listener_and_mesh);
	tcase_add_test(tcase, founding_and_renewing);
	tcase_add_test(tcase, membership_is_checked);
	tcase_add_test(tcase, l17_a_name_belongs_to_a_key);
	tcase_add_test(tcase, a_revoked_node_stays_out);
	tcase_add_test(tcase, peer_lines_admit);
	tcase_add_test(tcase, memberships_are_renewed);
	tcase_add_test(tcase, a_restored_authority_learns_members);
	tcase_add_loop_test(
	    tcase, a_restored_authority_learns_revocations, 0, 2);
	tcase_add_test(tcase, tickets_are_listed_and_revoked);
	tcase_add_test(tcase, peers_are_members_of_our_mesh);
	tcase_add_test(tcase, digests_are_signed_with_the_key_asked_for);
	tcase_add_test(tcase, app_certificate_names_the_listeners_and_stays);
	tcase_add_test(tcase, mesh_certificate_carries_the_binding);
	tcase_add_test(tcase, operators_keys_are_read_if_they_fit);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
