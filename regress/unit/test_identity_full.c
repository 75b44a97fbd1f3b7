/*
 * keyd's identity and the mesh's authority on a disk without room: what cannot
 * be stored is not signed, not handed out, not counted and not believed, and
 * all of it works when there is room again.
 */

#include <sys/statvfs.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <check.h>
#include <sodium.h>

#include "common/sign/statement.h"
#include "common/util/log.h"
#include "keyd/tls.h"
#include "regress/unit/identity_rig.h"
#include "regress/unit/suite.h"

static int full;

/* Before libc's: what the store asks. */
int
fstatvfs(int fd, struct statvfs *fs)
{
	(void)fd;
	memset(fs, 0, sizeof(*fs));
	fs->f_frsize = 4096;
	fs->f_blocks = 1 << 20;
	fs->f_bavail = full ? 0 : 1 << 19;
	return (0);
}

static void
disk(int is_full)
{
	full = is_full;
	ck_assert_int_eq(store_full(store), is_full); /* looks again */
}

#define REFUSED(call)                                                          \
	do {                                                                   \
		errno = 0;                                                     \
		ck_assert_int_eq(call, -1);                                    \
		ck_assert_int_eq(errno, ENOSPC);                               \
	} while (0)

/* Did keyd sign it? */
static int
state(uint32_t kind, uint64_t number)
{
	static const uint8_t none[SIGNATURE_SIZE];
	struct ipc_statement statement = { .kind = kind, .number = number };
	struct ipc_statement_signed answer = { 0 };

	identity_state(&me, store, &statement, NOW, &answer);
	if (!answer.ok)
		ck_assert_mem_eq(answer.signature, none, SIGNATURE_SIZE);
	return ((int)answer.ok);
}

/* A start after it must find a number at least as high. */
START_TEST(no_number_is_signed_that_is_not_stored)
{
	uint64_t number;

	ck_assert_int_eq(state(STATEMENT_ALIVE, me.incarnation), 1);
	disk(1);
	/* However often, and whatever was asked for before. */
	ck_assert_int_eq(state(STATEMENT_ALIVE, me.incarnation + 1), 0);
	ck_assert_int_eq(state(STATEMENT_ALIVE, me.incarnation + 1), 0);
	ck_assert_int_eq(state(STATEMENT_DESCRIPTOR, me.incarnation + 1), 0);
	ck_assert_int_eq(state(STATEMENT_PRESENCE, 5), 0);
	ck_assert_int_eq(state(STATEMENT_PRESENCE, 5), 0);
	/* What is stored may be said again. */
	ck_assert_int_eq(state(STATEMENT_ALIVE, me.incarnation), 1);
	/* A new mesh process must outdo the last one. */
	REFUSED(identity_advance(&me, store));
	ck_assert_int_eq(state(STATEMENT_DESCRIPTOR, me.incarnation), 0);
	disk(0);
	ck_assert_int_eq(state(STATEMENT_PRESENCE, 5), 1);
	number = me.incarnation;
	ck_assert_int_eq(state(STATEMENT_DESCRIPTOR, number), 1);
	reload();
	ck_assert_uint_gt(me.incarnation, number);
	ck_assert_int_eq(state(STATEMENT_PRESENCE, 4), 0);
}
END_TEST

START_TEST(no_mesh_is_founded)
{
	uint8_t authority[KEY_SIZE], other[KEY_SIZE] = { 7 };
	struct certificate certificate;

	disk(1);
	REFUSED(identity_found(&me, store, NOW, DAY));
	ck_assert_uint_eq(me.in_mesh + me.authority, 0);
	ck_assert(sodium_is_zero(
	    me.secrets->authority, sizeof(me.secrets->authority)));
	issue(&certificate, authority, "alpha", me.node_key);
	allowed(authority);
	REFUSED(identity_join(&me, store, &certificate, authority, NOW));
	ck_assert_uint_eq(me.in_mesh, 0);
	disk(0);
	reload();
	ck_assert_uint_eq(me.in_mesh + me.authority, 0);
	/* Another than the one that could not be kept. */
	issue(&certificate, other, "alpha", me.node_key);
	allowed(other);
	ck_assert_int_eq(
	    identity_join(&me, store, &certificate, other, NOW), 0);
	reload();
	ck_assert_mem_eq(me.authority_key, other, KEY_SIZE);
}
END_TEST

START_TEST(keys_and_certificate_stay)
{
	uint8_t app[KEY_SIZE], now[KEY_SIZE];
	struct certificate before;
	int again;

	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	ck_assert_int_eq(tls_spki(me.secrets->tls_app, app), 0);
	before = me.certificate;
	disk(1);
	REFUSED(identity_rekey_tls(&me, store));
	REFUSED(identity_renew(&me, store, NOW + DAY - 1, DAY));
	for (again = 0; again < 2; again++) {
		ck_assert_int_eq(tls_spki(me.secrets->tls_app, now), 0);
		ck_assert_mem_eq(app, now, KEY_SIZE);
		ck_assert_mem_eq(&before, &me.certificate, sizeof(before));
		disk(0);
		reload();
	}
	ck_assert_int_eq(identity_renew(&me, store, NOW + DAY - 1, DAY), 1);
	ck_assert_uint_gt(me.certificate.serial, before.serial);
	ck_assert_int_eq(identity_rekey_tls(&me, store), 0);
	ck_assert_int_eq(tls_spki(me.secrets->tls_app, now), 0);
	ck_assert_mem_ne(app, now, KEY_SIZE);
}
END_TEST

static struct ipc_row_ticket row;

static void
keep_row(const struct ipc_row_ticket *one)
{
	row = *one;
}

/* A ticket that is given out but not known would be refused; a use that is
 * counted without its certificate would be lost. */
START_TEST(tickets_and_their_uses_are_kept)
{
	struct ipc_ticket_make make = { .lifetime = DAY, .uses = 1 };
	struct ticket none = { 0 };

	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	make_ticket(1);
	disk(1);
	REFUSED(authority_make_ticket(&me, store, &make, "x:1", NOW, &none));
	ck_assert(sodium_is_zero(none.signature, sizeof(none.signature)));
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_UNKNOWN);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_UNKNOWN);
	ck_assert_int_eq(authority_tickets(store, 1, keep_row), 0);
	ck_assert_uint_eq(row.uses_left, 1);
	REFUSED(authority_revoke_ticket(store, row.ticket));
	authority_expire(store, NOW + 2 * DAY);
	disk(0);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	ck_assert_int_eq(redeem("gamma", 3, NOW), REDEEM_UNKNOWN);
}
END_TEST

START_TEST(nobody_is_admitted_or_renewed)
{
	struct config *config = calloc(1, sizeof(*config));
	struct ipc_admit admit = { .node_id = "beta" };
	struct ipc_renew renew = { .id = 5 };
	struct ipc_redeemed answer = { 0 };
	static const struct certificate none;

	config->membership_lifetime = DAY;
	config->peer_count = 1;
	(void)strlcpy(config->peers[0].node_id, "beta", NODE_ID_SIZE);
	memset(config->peers[0].node_key, 2, KEY_SIZE);
	memset(admit.node_key, 2, KEY_SIZE);
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	disk(1);
	authority_admit(&me, store, &admit, config, NOW, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_UNKNOWN);
	disk(0);
	authority_admit(&me, store, &admit, config, NOW, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_OK);
	renew.certificate = answer.certificate;
	memset(&answer, 0, sizeof(answer));
	disk(1);
	authority_renew(&me, store, &renew, NOW, 9 * DAY, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_UNKNOWN);
	ck_assert_mem_eq(&answer.certificate, &none, sizeof(none));
	disk(0);
	authority_renew(&me, store, &renew, NOW, 9 * DAY, &answer);
	ck_assert_uint_eq(answer.result, REDEEM_OK);
	ck_assert_uint_gt(answer.certificate.serial, renew.certificate.serial);
	free(config);
}
END_TEST

static int told;

static void
tell(const struct ipc_revocation *revocation)
{
	(void)revocation;
	told++;
}

/* What is told to the mesh cannot be taken back: only when it is kept. */
START_TEST(nobody_is_revoked_or_learned)
{
	struct ipc_peer peer = { .endpoint = "10.0.0.2:7444" };
	struct ipc_revocation revocation, later;
	uint8_t key[KEY_SIZE];

	memset(key, 2, sizeof(key));
	ck_assert_int_eq(identity_found(&me, store, NOW, DAY), 0);
	make_ticket(9);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	disk(1);
	REFUSED(authority_revoke(&me, store, "beta", NOW, &revocation));
	ck_assert_int_eq(authority_revocations(&me, store, tell), 0);
	ck_assert_int_eq(told, 0);
	identity_issue(&me, &peer.certificate, "beta", key, NOW + DAY);
	REFUSED(peers_save(&me, store, &peer, 9, NOW));
	REFUSED(peers_forget(store, &peer));
	key[0] = 3;
	identity_issue(&me, &peer.certificate, "gamma", key, NOW + DAY);
	REFUSED(authority_learn(&me, store, &peer.certificate));
	disk(0);
	ck_assert_int_eq(redeem("beta", 2, NOW), REDEEM_OK);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "gamma", NOW, &revocation), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(
	    authority_revoke(&me, store, "beta", NOW, &revocation), 0);
	/* Heard of again by one who has lost it, with and without the name. */
	ck_assert_int_eq(redeem("beta", 4, NOW), REDEEM_OK);
	ck_assert_int_eq(authority_revoke(&me, store, "beta", NOW, &later), 0);
	ck_assert_int_eq(store_delete(store, STORE_NAME, "beta", 4), 0);
	ck_assert_int_eq(
	    store_delete(store, STORE_REVOKED, revocation.node_key, KEY_SIZE),
	    0);
	ck_assert_int_eq(store_commit(store, 1), 0);
	disk(1);
	REFUSED(revoked_save(&me, store, &revocation));
	REFUSED(authority_learn_revocation(&me, store, &revocation));
	ck_assert_int_eq(revoked_find(store, revocation.node_key), 0);
	disk(0);
	ck_assert_int_eq(redeem("beta", 4, NOW), REDEEM_OK);
	disk(1);
	REFUSED(authority_learn_revocation(&me, store, &later));
	disk(0);
	ck_assert_int_eq(redeem("beta", 4, NOW), REDEEM_OK);
	ck_assert_int_eq(authority_learn_revocation(&me, store, &later), 1);
	ck_assert_int_eq(redeem("beta", 4, NOW), REDEEM_REVOKED);
	ck_assert_int_eq(
	    authority_learn_revocation(&me, store, &revocation), 1);
	ck_assert_int_eq(redeem("delta", 2, NOW), REDEEM_REVOKED);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("identity_full");
	TCase *tcase = tcase_create("identity_full");

	if (sodium_init() == -1)
		return (1);
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, no_number_is_signed_that_is_not_stored);
	tcase_add_test(tcase, no_mesh_is_founded);
	tcase_add_test(tcase, keys_and_certificate_stay);
	tcase_add_test(tcase, tickets_and_their_uses_are_kept);
	tcase_add_test(tcase, nobody_is_admitted_or_renewed);
	tcase_add_test(tcase, nobody_is_revoked_or_learned);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
