/*
 * Test. Which mesh a node joins is the operator's to say: by a ticket or by a
 * peer line. A mesh process that makes an authority of its own gets nowhere,
 * and one that keeps old certificates no further.
 */

#include <errno.h>

#include "common/sign/encode.h"
#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "keyd/allow.h"
#include "regress/unit/identity_rig.h"
#include "regress/unit/suite.h"

#define PLAYED_CHECK(condition) ck_assert(condition)
#include "regress/unit/mesh_cast.h"

/* A mesh of its own, of one node; what it says of itself. */
static struct mesh {
	struct keys authority;
	uint8_t node_key[KEY_SIZE], node_secret[64];
	struct certificate certificate;
	struct ipc_voucher voucher;
	uint8_t body[1024];
	size_t length;
} theirs, false_one;

static struct config config;

static void
certify(const struct mesh *mesh, const char *name,
    const uint8_t node_key[KEY_SIZE], uint64_t serial, struct certificate *out)
{
	cast_certify(&mesh->authority, name, node_key, serial,
	    NOW + DAY - (int64_t)serial, out);
}

/* The descriptor that the node of mesh signs; certificate may lie. */
static void
vouch(struct mesh *mesh, const char *endpoint)
{
	struct encoder e = { .bytes = mesh->body, .size = sizeof(mesh->body) };
	uint8_t encoded[CERTIFICATE_ENCODED], digest[KEY_SIZE];
	uint8_t hash[KEY_SIZE] = { 3 }, bytes[STATEMENT_SIGNED_MAX];
	struct ipc_voucher *voucher = &mesh->voucher;
	size_t length;

	certificate_encode(&mesh->certificate, encoded);
	encode_lp(&e, endpoint, strlen(endpoint));
	encode_lp(&e, "", 0);
	encode_lp(&e, hash, sizeof(hash));
	encode_lp(&e, encoded, sizeof(encoded));
	encode_lp(&e, hash, sizeof(hash));
	encode_u32(&e, 0);
	ck_assert(!e.failed);
	mesh->length = e.length;
	memset(voucher, 0, sizeof(*voucher));
	(void)strlcpy(voucher->node_id, "beta", NODE_ID_SIZE);
	memcpy(voucher->node_key, mesh->node_key, KEY_SIZE);
	voucher->incarnation = 4;
	memcpy(voucher->authority_key, mesh->authority.public, KEY_SIZE);
	(void)crypto_hash_sha256(digest, mesh->body, mesh->length);
	length = statement_signed_bytes(STATEMENT_DESCRIPTOR, "beta",
	    mesh->node_key, voucher->incarnation, digest, bytes);
	(void)crypto_sign_detached(
	    voucher->signature, NULL, bytes, length, mesh->node_secret);
}

static void
mesh_make(struct mesh *mesh)
{
	keys_make(&mesh->authority);
	(void)crypto_sign_keypair(mesh->node_key, mesh->node_secret);
	certify(mesh, "beta", mesh->node_key, 1, &mesh->certificate);
	vouch(mesh, "127.0.0.1:7444");
}

static void
setup_meshes(void)
{
	setup();
	mesh_make(&theirs);
	mesh_make(&false_one);
	memset(&config, 0, sizeof(config));
	config.peer_count = 1;
	(void)strlcpy(config.peers[0].node_id, "beta", NODE_ID_SIZE);
	memcpy(config.peers[0].node_key, theirs.node_key, KEY_SIZE);
}

/* As the mesh process brings it, now. 0, or the errno. */
static int
joins(const struct mesh *mesh, int64_t now)
{
	struct certificate certificate;

	certify(mesh, "alpha", me.node_key, 1, &certificate);
	return (identity_join(
		    &me, store, &certificate, mesh->authority.public, now) == 0
		    ? 0
		    : errno);
}

static int
vouches(const struct mesh *mesh)
{
	return (allow_voucher(&me, &config, &mesh->voucher, mesh->body,
		    mesh->length, NOW) == 0
		    ? 0
		    : errno);
}

/* A ticket of mesh. */
static void
ticket_of(const struct mesh *mesh, struct ticket *out)
{
	uint8_t bytes[TICKET_ENCODED_MAX];
	size_t length;

	memset(out, 0, sizeof(*out));
	mesh_id_make(out->mesh_id, mesh->authority.public);
	memcpy(out->authority, mesh->authority.public, KEY_SIZE);
	out->expires_at = NOW + DAY / 2;
	out->endpoint_count = 1;
	(void)strlcpy(out->endpoints[0].endpoint, "x:1", ENDPOINT_SIZE);
	length = ticket_signed_bytes(out, bytes);
	(void)crypto_sign_detached(
	    out->signature, NULL, bytes, length, mesh->authority.secret);
}

START_TEST(nothing_is_joined_that_nobody_allowed)
{
	ck_assert_int_eq(joins(&theirs, NOW), EPERM);
	/* Not even one whose key is all zero, as is what nobody wrote. */
	ck_assert_int_eq(joins(&false_one, 0), EPERM);
	reload();
	ck_assert_uint_eq(me.in_mesh, 0);
}
END_TEST

START_TEST(a_ticket_is_for_its_mesh_and_its_time)
{
	struct ticket one;

	ticket_of(&theirs, &one);
	one.signature[3] ^= 1;
	ck_assert_int_eq(allow_ticket(&me, &one, NOW), -1);
	one.signature[3] ^= 1;
	ck_assert_int_eq(allow_ticket(&me, &one, NOW + DAY), -1);
	ck_assert_int_eq(joins(&theirs, NOW), EPERM);
	ck_assert_int_eq(allow_ticket(&me, &one, NOW), 0);
	ck_assert_int_eq(joins(&false_one, NOW), EPERM);
	ck_assert_int_eq(joins(&theirs, NOW + DAY / 2 + 1), EPERM);
	ck_assert_int_eq(joins(&theirs, NOW), 0);
	reload();
	ck_assert_mem_eq(me.authority_key, theirs.authority.public, KEY_SIZE);
}
END_TEST

START_TEST(a_ticket_is_forgotten_with_the_process)
{
	struct ticket one;

	ticket_of(&theirs, &one);
	ck_assert_int_eq(allow_ticket(&me, &one, NOW), 0);
	reload();
	ck_assert_int_eq(joins(&theirs, NOW), EPERM);
}
END_TEST

START_TEST(a_listed_node_vouches_for_its_mesh)
{
	ck_assert_int_eq(vouches(&theirs), 0);
	ck_assert_int_eq(joins(&false_one, NOW), EPERM);
	ck_assert_int_eq(joins(&theirs, NOW + 61 * CLOCK_SECOND), EPERM);
	ck_assert_int_eq(joins(&theirs, NOW), 0);
}
END_TEST

START_TEST(nobody_else_vouches)
{
	struct mesh copy;

	/* One that no line names, by key or by name. */
	ck_assert_int_eq(vouches(&false_one), EPERM);
	copy = theirs;
	copy.voucher.node_id[0] = 'c';
	ck_assert_int_eq(vouches(&copy), EPERM);
	/* A listed node's key, certified by an authority made for it, and its
	 * old signature. */
	copy = theirs;
	copy.authority = false_one.authority;
	certify(&copy, "beta", theirs.node_key, 1, &copy.certificate);
	memcpy(copy.node_secret, false_one.node_secret, 64);
	vouch(&copy, "127.0.0.1:7444");
	ck_assert_int_eq(vouches(&copy), EACCES);
	/* What it signed, and another authority. */
	copy = theirs;
	memcpy(
	    copy.voucher.authority_key, false_one.authority.public, KEY_SIZE);
	ck_assert_int_ne(vouches(&copy), 0);
	/* A certificate that lies in another field of what it signed. */
	copy = theirs;
	certify(&false_one, "beta", theirs.node_key, 1, &copy.certificate);
	memcpy(
	    copy.voucher.authority_key, false_one.authority.public, KEY_SIZE);
	ck_assert_int_ne(vouches(&copy), 0);
	copy = theirs;
	memcpy(copy.certificate.node_key, false_one.node_key, KEY_SIZE);
	vouch(&copy, "127.0.0.1:7444");
	ck_assert_int_eq(vouches(&copy), EINVAL);
	ck_assert_int_eq(joins(&theirs, NOW), EPERM);
	ck_assert_int_eq(joins(&false_one, NOW), EPERM);
}
END_TEST

/* Cut short or with a bit changed anywhere, it is nobody's word. */
START_TEST(a_voucher_is_whole_or_none)
{
	struct mesh copy = theirs;

	for (copy.length = 0; copy.length < theirs.length; copy.length++)
		ck_assert_int_ne(vouches(&copy), 0);
	for (size_t i = 0; i < theirs.length; i++) {
		copy.body[i] ^= 0x80;
		ck_assert_int_ne(vouches(&copy), 0);
		copy.body[i] ^= 0x80;
	}
	memset(copy.voucher.node_id, 'x', NODE_ID_SIZE);
	ck_assert_int_eq(vouches(&copy), EINVAL);
	ck_assert_int_eq(joins(&theirs, NOW), EPERM);
}
END_TEST

/* --- which certificate --------------------------------------------------- */

static int
shown(const struct certificate *certificate)
{
	return (identity_join(
	    &me, store, certificate, theirs.authority.public, NOW));
}

/* The authority's older words are good, and somebody may have kept them. */
START_TEST(the_newest_certificate_stays)
{
	struct certificate first, second, third;

	allowed(theirs.authority.public);
	certify(&theirs, "alpha", me.node_key, 7, &first);
	certify(&theirs, "alpha", me.node_key, 9, &second);
	certify(&theirs, "alpha", me.node_key, 9, &third);
	third.not_after++; /* not what was signed, besides */
	ck_assert_int_eq(shown(&first), 0);
	ck_assert_int_eq(shown(&second), 0);
	ck_assert_int_eq(shown(&second), 0);
	ck_assert_int_eq(shown(&first), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(shown(&third), -1);
	ck_assert_uint_eq(me.certificate.serial, 9);
	reload();
	ck_assert_uint_eq(me.certificate.serial, 9);
	ck_assert_int_eq(shown(&first), -1);
	certify(&theirs, "alpha", me.node_key, 10, &third);
	ck_assert_int_eq(shown(&third), 0);
}
END_TEST

static struct ipc_peer kept;

static void
keep_peer(void *arg, const struct ipc_peer *peer)
{
	(void)arg;
	kept = *peer;
}

START_TEST(the_newest_certificate_of_a_peer_stays)
{
	struct certificate own;
	struct ipc_peer peer = { .endpoint = "x:1" };
	static const uint64_t serials[] = { 5, 4, 5, 6, 1 };
	static const uint64_t then[] = { 5, 5, 5, 6, 6 };
	uint8_t key[KEY_SIZE] = { 8 };
	size_t i;

	allowed(theirs.authority.public);
	certify(&theirs, "alpha", me.node_key, 2, &own);
	ck_assert_int_eq(shown(&own), 0);
	for (i = 0; i < 5; i++) {
		certify(&theirs, "beta", key, serials[i], &peer.certificate);
		ck_assert_int_eq(peers_save(&me, store, &peer, 9, NOW), 0);
		ck_assert_int_eq(peers_walk(store, keep_peer, NULL), 0);
		ck_assert_uint_eq(kept.certificate.serial, then[i]);
	}
	/* It moved. */
	certify(&theirs, "beta", key, 6, &peer.certificate);
	(void)strlcpy(peer.endpoint, "y:1", ENDPOINT_SIZE);
	ck_assert_int_eq(peers_save(&me, store, &peer, 9, NOW), 0);
	ck_assert_int_eq(peers_walk(store, keep_peer, NULL), 0);
	ck_assert_str_eq(kept.endpoint, "y:1");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("allow");
	TCase *tcase = tcase_create("allow");

	if (sodium_init() == -1)
		return (1);
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup_meshes, teardown);
	tcase_add_test(tcase, nothing_is_joined_that_nobody_allowed);
	tcase_add_test(tcase, a_ticket_is_for_its_mesh_and_its_time);
	tcase_add_test(tcase, a_ticket_is_forgotten_with_the_process);
	tcase_add_test(tcase, a_listed_node_vouches_for_its_mesh);
	tcase_add_test(tcase, nobody_else_vouches);
	tcase_add_test(tcase, a_voucher_is_whole_or_none);
	tcase_add_test(tcase, the_newest_certificate_stays);
	tcase_add_test(tcase, the_newest_certificate_of_a_peer_stays);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
