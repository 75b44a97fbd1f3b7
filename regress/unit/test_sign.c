/*
 * What is signed and how it is encoded: the vector of the contract, round
 * trips, every truncation, trailing bytes, wrong signatures, times, names.
 */

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sodium.h>

#include "common/sign/attestation.h"
#include "common/sign/certificate.h"
#include "common/sign/encode.h"
#include "common/sign/offer.h"
#include "common/sign/statement.h"
#include "common/sign/ticket.h"
#include "common/util/hex.h"
#include "regress/unit/suite.h"

#define NOW    INT64_C(1800000000000000000)
#define SECOND INT64_C(1000000000)
#define HOUR   (INT64_C(3600) * SECOND)

struct key {
	uint8_t public[KEY_SIZE];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
};

static struct key
key_of(const char *name)
{
	struct key key;
	uint8_t seed[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(seed, (const uint8_t *)name, strlen(name));
	(void)crypto_sign_seed_keypair(key.public, key.secret, seed);
	return (key);
}

static void
sign(uint8_t signature[SIGNATURE_SIZE], const uint8_t *bytes, size_t length,
    const struct key *key)
{
	(void)crypto_sign_detached(signature, NULL, bytes, length, key->secret);
}

static void
assert_hex(const uint8_t *bytes, size_t length, const char *expected)
{
	char text[1024];

	ck_assert_uint_lt(2 * length, sizeof(text));
	hex_encode(text, bytes, length);
	ck_assert_str_eq(text, expected);
}

/* --- the cursors --------------------------------------------------------- */

START_TEST(encode_layout)
{
	uint8_t out[32];
	struct encoder encoder = { out, sizeof(out), 0, 0 };

	encode_u8(&encoder, 0xab);
	encode_u32(&encoder, 0x01020304);
	encode_u64(&encoder, UINT64_C(0x1112131415161718));
	encode_lp(&encoder, "hi", 2);
	encode_text(&encoder, "x");
	ck_assert_int_eq(encoder.failed, 0);
	assert_hex(out, encoder.length,
	    "ab010203041112131415161718000000026869"
	    "78");
}
END_TEST

START_TEST(encode_overrun)
{
	uint8_t out[8] = { 0 };
	struct encoder encoder = { out, 7, 0, 0 };

	encode_u32(&encoder, 1);
	encode_u32(&encoder, 2); /* one too many */
	ck_assert_int_eq(encoder.failed, 1);
	ck_assert_uint_eq(encoder.length, 4);
	encode_u8(&encoder, 3); /* stays failed */
	ck_assert_uint_eq(encoder.length, 4);
	ck_assert_uint_eq(out[4], 0);
}
END_TEST

START_TEST(decode_strict)
{
	const uint8_t bytes[] = "\0\0\0\2hi";
	const uint8_t nul[] = "\0\0\0\2h\0";
	struct decoder decoder = { bytes, 6, 0 };
	char text[3];

	decode_lp_text(&decoder, text, sizeof(text));
	ck_assert_str_eq(text, "hi");
	ck_assert_int_eq(decode_done(&decoder), 0);

	decoder = (struct decoder){ bytes, 6, 0 };
	decode_lp_text(&decoder, text, 2); /* no room for the NUL */
	ck_assert_int_eq(decode_done(&decoder), -1);

	decoder = (struct decoder){ nul, 6, 0 };
	decode_lp_text(&decoder, text, sizeof(text));
	ck_assert_int_eq(decode_done(&decoder), -1);
	ck_assert_str_eq(text, "");

	decoder = (struct decoder){ bytes, 3, 0 };
	ck_assert_uint_eq(decode_u64(&decoder), 0);
	ck_assert_int_eq(decoder.failed, 1);
	ck_assert_uint_eq(decode_u8(&decoder), 0); /* stays failed */
	ck_assert_int_eq(decode_done(&decoder), -1);
}
END_TEST

/* --- names --------------------------------------------------------------- */

START_TEST(node_ids)
{
	char longest[64];

	memset(longest, 'a', sizeof(longest));
	ck_assert(node_id_valid("a", 1));
	ck_assert(node_id_valid("node-7", 6));
	ck_assert(node_id_valid(longest, 63));
	ck_assert(!node_id_valid(longest, 64));
	ck_assert(!node_id_valid("", 0));
	ck_assert(!node_id_valid("Node", 4));
	ck_assert(!node_id_valid("a_b", 3));
	ck_assert(!node_id_valid("a\0b", 3));
	ck_assert(!node_id_valid("\xc3\xa4", 2));
}
END_TEST

START_TEST(chat_ids)
{
	static const struct {
		const char *text;
		size_t length;
		int valid;
	} cases[] = {
		{ "x", 1, 1 },
		{ "", 0, 0 },
		{ "a b", 3, 1 },
		{ "a\tb", 3, 0 },
		{ "a\0b", 3, 0 },
		{ "a\x7f", 2, 0 },
		{ "\xc3\xa4", 2, 1 },
		{ "\xe2\x82\xac", 3, 1 },
		{ "\xf0\x9f\x99\x82", 4, 1 },
		{ "\xf4\x8f\xbf\xbf", 4, 1 }, /* U+10FFFF */
		{ "\xf4\x90\x80\x80", 4, 0 }, /* one more */
		{ "\xf5\x80\x80\x80", 4, 0 },
		{ "\xc3", 1, 0 },
		{ "\xe2\x82", 2, 0 },
		{ "\x80", 1, 0 },
		{ "\xc0\xaf", 2, 0 },
		{ "\xc1\xbf", 2, 0 }, /* overlong */
		{ "\xe0\x80\xaf", 3, 0 },
		{ "\xe0\x9f\xbf", 3, 0 },
		{ "\xf0\x80\x80\xaf", 4, 0 },
		{ "\xf0\x8f\xbf\xbf", 4, 0 },
		{ "\xed\xa0\x80", 3, 0 },
		{ "\xed\xbf\xbf", 3, 0 },
		{ "\xed\x9f\xbf", 3, 1 },
		{ "\xee\x80\x80", 3, 1 },
		{ "\xc2\x80", 2, 0 },
		{ "\xc2\x9f", 2, 0 }, /* C1 */
		{ "\xc2\xa0", 2, 1 },
		{ "a\xc3(", 3, 0 },
		{ "\xff", 1, 0 },
	};
	char text[129];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(chat_id_valid(cases[i].text, cases[i].length) ==
				  cases[i].valid,
		    "case %zu", i);
	memset(text, 'a', sizeof(text));
	ck_assert(chat_id_valid(text, 128));
	ck_assert(!chat_id_valid(text, 129));
	memcpy(text + 126, "\xe2\x82\xac", 3); /* cut inside a character */
	ck_assert(!chat_id_valid(text, 128));
}
END_TEST

START_TEST(chat_keys)
{
	struct key a = key_of("a"), b = key_of("b");
	struct chat_key of_a, of_b, other;
	int a_low = memcmp(a.public, b.public, KEY_SIZE) < 0;

	ck_assert_int_eq(chat_key_make(&of_a, "c", a.public, b.public), 0);
	ck_assert_int_eq(chat_key_make(&of_b, "c", b.public, a.public), 0);
	ck_assert_mem_eq(of_a.handle, of_b.handle, KEY_SIZE);
	ck_assert_int_eq(of_a.side, a_low ? CHAT_LO : CHAT_HI);
	ck_assert_int_eq(of_b.side, a_low ? CHAT_HI : CHAT_LO);
	ck_assert_int_eq(chat_key_make(&other, "d", a.public, b.public), 0);
	ck_assert_mem_ne(of_a.handle, other.handle, KEY_SIZE);
	ck_assert_int_eq(chat_key_make(&other, "c", a.public, a.public), -1);
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* --- attestations -------------------------------------------------------- */

static struct attestation
attestation_of(const struct key *app, const struct key *node)
{
	struct attestation attestation;
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	size_t length;

	memset(&attestation, 0, sizeof(attestation));
	attestation.kind = ATTESTATION_V2;
	memcpy(attestation.app_key, app->public, KEY_SIZE);
	memcpy(attestation.node_key, node->public, KEY_SIZE);
	memset(attestation.nonce, 7, KEY_SIZE);
	(void)strcpy(attestation.node_id, "node-1");
	attestation.issued_at = NOW;
	attestation.expires_at = NOW + HOUR;
	metadata_hash(attestation.metadata_hash, NULL, 0);
	length = attestation_signed_bytes(&attestation, bytes);
	ck_assert_uint_eq(length, 17 + 36 + 36 + 10 + 16 + 36);
	sign(attestation.signature, bytes, length, app);
	return (attestation);
}

START_TEST(attestation_metadata)
{
	struct metadata_pair pairs[] = {
		{ "b", 1, "2", 1 },
		{ "ab", 2, "1", 1 },
		{ "a", 1, "", 0 },
	};
	struct metadata_pair shifted[] = { { "a", 1, "ab1b2", 5 } };
	static const uint8_t canonical[] =
	    "\0\0\0\1a\0\0\0\0"
	    "\0\0\0\2ab\0\0\0\0011\0\0\0\1b\0\0\0\0012";
	uint8_t hash[KEY_SIZE], expected[KEY_SIZE];
	uint8_t v1[64];

	metadata_hash(hash, pairs, 3);
	(void)crypto_hash_sha256(expected, canonical, sizeof(canonical) - 1);
	ck_assert_mem_eq(hash, expected, KEY_SIZE);
	metadata_hash(hash, shifted, 1);
	ck_assert_mem_ne(hash, expected, KEY_SIZE);
	metadata_hash(hash, NULL, 0);
	assert_hex(hash, KEY_SIZE,
	    "e3b0c44298fc1c149afbf4c8996fb924"
	    "27ae41e4649b934ca495991b7852b855");

	pairs[0] = (struct metadata_pair){ "b", 1, "2", 1 };
	pairs[1] = (struct metadata_pair){ "a", 1, "1", 1 };
	ck_assert_uint_eq(
	    attestation_v1_bytes(v1, sizeof(v1), "node", pairs, 2), 8);
	ck_assert_mem_eq(v1, "nodea1b2", 8);
	ck_assert_uint_eq(attestation_v1_bytes(v1, 7, "node", pairs, 2), 0);
}
END_TEST

START_TEST(attestation_times)
{
	struct key app = key_of("app"), node = key_of("node");
	struct attestation a = attestation_of(&app, &node);
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	static const struct {
		int64_t issued;
		int64_t expires;
		int good;
	} cases[] = {
		{ 0, HOUR, 1 },
		{ 60 * SECOND, HOUR, 1 }, /* skew */
		{ 60 * SECOND + 1, HOUR, 0 },
		{ -HOUR, -60 * SECOND, 1 },
		{ -HOUR, -60 * SECOND - 1, 0 },
		{ 0, 24 * HOUR, 1 },
		{ 0, 24 * HOUR + 1, 0 },
		{ 5, 5, 0 },
		{ 5, 4, 0 },
		{ INT64_MIN, INT64_MAX - NOW, 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		a.issued_at =
		    (int64_t)((uint64_t)NOW + (uint64_t)cases[i].issued);
		a.expires_at = NOW + cases[i].expires;
		sign(a.signature, bytes, attestation_signed_bytes(&a, bytes),
		    &app);
		errno = 0;
		ck_assert_msg(
		    attestation_verify(&a, NOW) == (cases[i].good ? 0 : -1),
		    "case %zu", i);
		ck_assert_int_eq(errno, cases[i].good ? 0 : ETIME);
	}
}
END_TEST

START_TEST(attestation_forms)
{
	struct key app = key_of("app"), node = key_of("node");
	struct attestation a = attestation_of(&app, &node), b;
	uint8_t bytes[ATTESTATION_ENCODED + 1];
	size_t i;

	memset(bytes, 0, sizeof(bytes));
	attestation_encode(&a, bytes);
	ck_assert_int_eq(attestation_decode(&b, bytes, ATTESTATION_ENCODED), 0);
	ck_assert_mem_eq(&a, &b, sizeof(a));
	ck_assert_int_eq(attestation_verify(&b, NOW), 0);
	for (i = 0; i < ATTESTATION_ENCODED; i++)
		ck_assert_int_eq(attestation_decode(&b, bytes, i), -1);
	ck_assert_int_eq(attestation_decode(&b, bytes, sizeof(bytes)), -1);
	ck_assert_int_eq(errno, EINVAL);
	for (i = 0; i < ATTESTATION_ENCODED; i++) { /* any bit of it */
		bytes[i] ^= 1;
		ck_assert(
		    i == 0 ||
		    attestation_decode(&b, bytes, ATTESTATION_ENCODED) == -1 ||
		    attestation_verify(&b, NOW) == -1);
		bytes[i] ^= 1;
	}
	bytes[0] = 3;
	ck_assert_int_eq(
	    attestation_decode(&b, bytes, ATTESTATION_ENCODED), -1);
	bytes[0] = 2;
	bytes[97 + 40] = 'x'; /* after the NUL of node_id */
	ck_assert_int_eq(
	    attestation_decode(&b, bytes, ATTESTATION_ENCODED), -1);
}
END_TEST

/* L06: a Connect bound to node, nonce, key and time cannot be replayed. */
START_TEST(L06_connect_replay)
{
	struct key app = key_of("app"), node = key_of("node");
	struct key other = key_of("other");
	struct attestation a = attestation_of(&app, &node), b = a;

	ck_assert_int_eq(attestation_verify(&a, NOW), 0);
	memcpy(b.node_key, other.public, KEY_SIZE); /* another node */
	ck_assert_int_eq(attestation_verify(&b, NOW), -1);
	ck_assert_int_eq(errno, EACCES);
	b = a;
	b.nonce[0] ^= 1; /* another stream */
	ck_assert_int_eq(attestation_verify(&b, NOW), -1);
	b = a;
	memcpy(b.app_key, other.public, KEY_SIZE); /* another app */
	ck_assert_int_eq(attestation_verify(&b, NOW), -1);
	b = a;
	b.expires_at += HOUR; /* for longer */
	ck_assert_int_eq(attestation_verify(&b, NOW), -1);
	ck_assert_int_eq(attestation_verify(&a, NOW + 2 * HOUR), -1);
	ck_assert_int_eq(errno, ETIME); /* later */
	b = a;
	memset(b.node_id, 'a', sizeof(b.node_id)); /* no NUL */
	ck_assert_int_eq(attestation_verify(&b, NOW), -1);
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* L06: the node proves itself with a nonce and under a domain of its own. */
START_TEST(L06_challenge)
{
	uint8_t nonce[KEY_SIZE] = { 1 }, spki[KEY_SIZE] = { 2 };
	uint8_t out[CHALLENGE_SIGNED_MAX], expected[CHALLENGE_SIGNED_MAX];
	struct encoder encoder = { expected, sizeof(expected), 0, 0 };
	size_t length;

	length = challenge_signed_bytes(nonce, "n", "", spki, out);
	encode_text(&encoder, "hermes-challenge-v2");
	encode_lp(&encoder, nonce, KEY_SIZE);
	encode_lp(&encoder, "n", 1);
	encode_lp(&encoder, "", 0);
	encode_lp(&encoder, spki, KEY_SIZE);
	ck_assert_uint_eq(length, encoder.length);
	ck_assert_mem_eq(out, expected, length);
}
END_TEST

/* --- certificates and bindings ------------------------------------------- */

static struct certificate
certificate_of(const struct key *authority, const struct key *node)
{
	struct certificate certificate;
	uint8_t bytes[CERTIFICATE_SIGNED_MAX];

	memset(&certificate, 0, sizeof(certificate));
	mesh_id_make(certificate.mesh_id, authority->public);
	(void)strcpy(certificate.node_id, "node-1");
	memcpy(certificate.node_key, node->public, KEY_SIZE);
	certificate.serial = 7;
	certificate.not_after = NOW + HOUR;
	sign(certificate.signature, bytes,
	    certificate_signed_bytes(&certificate, bytes), authority);
	return (certificate);
}

START_TEST(certificates)
{
	struct key mesh = key_of("mesh"), node = key_of("node");
	struct certificate a = certificate_of(&mesh, &node), b;
	uint8_t bytes[CERTIFICATE_ENCODED + 1] = { 0 };
	size_t i;

	certificate_encode(&a, bytes);
	ck_assert_int_eq(certificate_decode(&b, bytes, CERTIFICATE_ENCODED), 0);
	ck_assert_mem_eq(&a, &b, sizeof(a));
	ck_assert_int_eq(certificate_verify(&b, mesh.public, NOW), 0);
	ck_assert_int_eq(certificate_verify(&b, node.public, NOW), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(certificate_verify(&b, mesh.public, NOW + HOUR), -1);
	ck_assert_int_eq(errno, ETIME);
	b.serial++;
	ck_assert_int_eq(certificate_verify(&b, mesh.public, NOW), -1);
	ck_assert_int_eq(errno, EACCES);
	for (i = 0; i < CERTIFICATE_ENCODED; i++)
		ck_assert_int_eq(certificate_decode(&b, bytes, i), -1);
	ck_assert_int_eq(certificate_decode(&b, bytes, sizeof(bytes)), -1);
	for (i = 0; i < CERTIFICATE_ENCODED; i++) {
		bytes[i] ^= 1;
		ck_assert(
		    certificate_decode(&b, bytes, CERTIFICATE_ENCODED) == -1 ||
		    certificate_verify(&b, mesh.public, NOW) == -1);
		bytes[i] ^= 1;
	}
}
END_TEST

static int
add_extension(X509 *x509, const uint8_t *bytes, size_t length)
{
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *object = OBJ_txt2obj(BINDING_OID, 1);
	X509_EXTENSION *extension;
	int ok;

	ck_assert_int_eq(ASN1_OCTET_STRING_set(value, bytes, (int)length), 1);
	extension = X509_EXTENSION_create_by_OBJ(NULL, object, 0, value);
	ok = X509_add_ext(x509, extension, -1);
	X509_EXTENSION_free(extension);
	ASN1_OBJECT_free(object);
	ASN1_OCTET_STRING_free(value);
	return (ok);
}

/* A self-signed certificate of key with copies extensions of value. */
static size_t
x509_make(EVP_PKEY *key, const uint8_t *value, size_t length, int copies,
    uint8_t **der)
{
	X509 *x509 = X509_new();
	int size;

	(void)X509_set_version(x509, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(x509), 0);
	(void)X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
	(void)X509_set_pubkey(x509, key);
	while (copies-- > 0)
		ck_assert_int_eq(add_extension(x509, value, length), 1);
	ck_assert_int_gt(X509_sign(x509, key, EVP_sha256()), 0);
	*der = NULL;
	size = i2d_X509(x509, der);
	ck_assert_int_gt(size, 0);
	X509_free(x509);
	return ((size_t)size);
}

static void
key_spki(EVP_PKEY *key, uint8_t hash[KEY_SIZE])
{
	uint8_t *der = NULL;
	int length = i2d_PUBKEY(key, &der);

	ck_assert_int_gt(length, 0);
	(void)crypto_hash_sha256(hash, der, (size_t)length);
	OPENSSL_free(der);
}

static struct binding
binding_of(const struct key *node, const uint8_t spki[KEY_SIZE])
{
	struct binding binding;
	struct key mesh = key_of("mesh");
	uint8_t bytes[BINDING_SIGNED_MAX];

	memset(&binding, 0, sizeof(binding));
	(void)strcpy(binding.node_id, "node-1");
	memcpy(binding.node_key, node->public, KEY_SIZE);
	binding.has_certificate = 1;
	binding.certificate = certificate_of(&mesh, node);
	sign(binding.signature, bytes,
	    binding_signed_bytes(&binding, spki, bytes), node);
	return (binding);
}

START_TEST(bindings)
{
	struct key node = key_of("node");
	uint8_t spki[KEY_SIZE] = { 9 };
	struct binding a = binding_of(&node, spki), b;
	uint8_t bytes[BINDING_ENCODED_MAX + 1] = { 0 };
	size_t length, i;
	int has;

	for (has = 0; has < 2; has++) {
		if ((a.has_certificate = (uint32_t)has) == 0)
			memset(&a.certificate, 0, sizeof(a.certificate));
		else
			a = binding_of(&node, spki);
		memset(bytes, 0, sizeof(bytes));
		length = binding_encode(&a, bytes);
		ck_assert_int_eq(binding_decode(&b, bytes, length), 0);
		ck_assert_mem_eq(&a, &b, sizeof(a));
		for (i = 0; i < length; i++)
			ck_assert_int_eq(binding_decode(&b, bytes, i), -1);
		ck_assert_int_eq(binding_decode(&b, bytes, length + 1), -1);
	}
	bytes[10 + 32 + 64] = 2; /* has_certificate */
	ck_assert_int_eq(binding_decode(&b, bytes, length), -1);
}
END_TEST

START_TEST(binding_x509)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *thief = EVP_EC_gen("P-256");
	struct key node = key_of("node");
	struct binding a, b;
	uint8_t spki[KEY_SIZE], read[KEY_SIZE], *der;
	uint8_t bytes[BINDING_ENCODED_MAX];
	size_t length, i;

	key_spki(key, spki);
	a = binding_of(&node, spki);
	length = x509_make(key, bytes, binding_encode(&a, bytes), 1, &der);
	ck_assert_int_eq(binding_from_x509(&b, read, der, length), 0);
	ck_assert_mem_eq(&a, &b, sizeof(a));
	ck_assert_mem_eq(read, spki, KEY_SIZE);
	for (i = 0; i < length; i++)
		ck_assert_int_eq(binding_from_x509(&b, read, der, i), -1);
	der = realloc(der, length + 1);
	ck_assert_ptr_nonnull(der);
	der[length] = 0;
	ck_assert_int_eq(binding_from_x509(&b, read, der, length + 1), -1);
	ck_assert_int_eq(errno, EINVAL);
	free(der);
	/* No binding, two of them, somebody else's key, another's mesh. */
	length = x509_make(key, bytes, 0, 0, &der);
	ck_assert_int_eq(binding_from_x509(&b, read, der, length), -1);
	ck_assert_int_eq(errno, EINVAL);
	free(der);
	length = x509_make(key, bytes, binding_encode(&a, bytes), 2, &der);
	ck_assert_int_eq(binding_from_x509(&b, read, der, length), -1);
	ck_assert_int_eq(errno, EINVAL);
	free(der);
	length = x509_make(thief, bytes, binding_encode(&a, bytes), 1, &der);
	ck_assert_int_eq(binding_from_x509(&b, read, der, length), -1);
	ck_assert_int_eq(errno, EACCES);
	free(der);
	(void)strcpy(a.certificate.node_id, "node-2");
	length = x509_make(key, bytes, binding_encode(&a, bytes), 1, &der);
	ck_assert_int_eq(binding_from_x509(&b, read, der, length), -1);
	ck_assert_int_eq(errno, EINVAL);
	free(der);
	EVP_PKEY_free(key);
	EVP_PKEY_free(thief);
}
END_TEST

/* --- tickets ------------------------------------------------------------- */

static struct ticket
ticket_of(const struct key *authority, uint32_t endpoints)
{
	struct ticket ticket;
	uint8_t bytes[TICKET_ENCODED_MAX];
	uint32_t i;

	memset(&ticket, 0, sizeof(ticket));
	mesh_id_make(ticket.mesh_id, authority->public);
	memcpy(ticket.authority, authority->public, KEY_SIZE);
	memset(ticket.secret, 0x5a, sizeof(ticket.secret));
	ticket.expires_at = NOW + HOUR;
	ticket.endpoint_count = endpoints;
	for (i = 0; i < endpoints; i++) {
		memset(ticket.endpoints[i].node_key, (int)i, KEY_SIZE);
		memset(ticket.endpoints[i].endpoint, 'h', ENDPOINT_SIZE - 1);
		ticket.endpoints[i].endpoint[60] = ':';
	}
	sign(ticket.signature, bytes, ticket_signed_bytes(&ticket, bytes),
	    authority);
	return (ticket);
}

START_TEST(tickets)
{
	struct key mesh = key_of("mesh"), other = key_of("other");
	struct ticket a = ticket_of(&mesh, TICKET_ENDPOINTS), b;
	uint8_t bytes[TICKET_ENCODED_MAX + 1] = { 0 };
	size_t length, i;

	length = ticket_encode(&a, bytes);
	ck_assert_uint_eq(length, 92 + 16 * 163 + 64);
	ck_assert_int_eq(ticket_decode(&b, bytes, length), 0);
	ck_assert_mem_eq(&a, &b, sizeof(a));
	ck_assert_int_eq(ticket_verify(&b, NOW), 0);
	for (i = 0; i < length; i++)
		ck_assert_int_eq(ticket_decode(&b, bytes, i), -1);
	ck_assert_int_eq(ticket_decode(&b, bytes, length + 1), -1);
	bytes[91] = 17; /* endpoint_count */
	ck_assert_int_eq(ticket_decode(&b, bytes, length), -1);

	ck_assert_int_eq(ticket_verify(&a, NOW + HOUR), -1);
	ck_assert_int_eq(errno, ETIME);
	b = a;
	b.secret[0] ^= 1;
	ck_assert_int_eq(ticket_verify(&b, NOW), -1);
	ck_assert_int_eq(errno, EACCES);
	b = a;
	memcpy(b.authority, other.public, KEY_SIZE);
	ck_assert_int_eq(ticket_verify(&b, NOW), -1);
	ck_assert_int_eq(errno, EINVAL);
	b = ticket_of(&mesh, 0);
	ck_assert_int_eq(ticket_verify(&b, NOW), -1);
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(ticket_texts)
{
	struct key mesh = key_of("mesh");
	char text[TICKET_TEXT_MAX + 8], padded[TICKET_TEXT_MAX + 16];
	struct ticket a, b;
	uint32_t n;
	size_t i, length;

	for (n = 1; n <= TICKET_ENDPOINTS; n++) {
		a = ticket_of(&mesh, n);
		ticket_to_text(&a, text);
		ck_assert_int_eq(strncmp(text, "hermes1", 7), 0);
		ck_assert_int_eq(ticket_from_text(&b, text), 0);
		ck_assert_mem_eq(&a, &b, sizeof(a));
	}
	a = ticket_of(&mesh, 2);
	ticket_to_text(&a, text);
	length = strlen(text);
	(void)snprintf(padded, sizeof(padded), " \n%s\n", text);
	for (i = 0; padded[i] != '\0'; i++)
		if (padded[i] >= 'a' && padded[i] <= 'z')
			padded[i] = (char)(padded[i] - 'a' + 'A');
	ck_assert_int_eq(ticket_from_text(&b, padded), 0);
	ck_assert_mem_eq(&a, &b, sizeof(a));
	for (i = 0; i < length; i++) {
		char kept = text[i];

		text[i] = '\0'; /* cut */
		ck_assert_int_eq(ticket_from_text(&b, text), -1);
		ck_assert_int_eq(errno, EINVAL);
		text[i] = i % 2 ? '1' : ' '; /* no digit */
		ck_assert(kept == text[i] || (i == 0 && text[i] == ' ') ||
			  ticket_from_text(&b, text) == -1);
		text[i] = kept;
	}
	(void)strcpy(text + length, "a"); /* one digit more */
	ck_assert_int_eq(ticket_from_text(&b, text), -1);
	ck_assert_int_eq(ticket_from_text(&b, ""), -1);
	ck_assert_int_eq(ticket_from_text(&b, "hermes1"), -1);
}
END_TEST

/* --- offers and statements ----------------------------------------------- */

static struct offer
offer_of(const struct key *node, enum chat_side side)
{
	struct offer offer;
	struct key other = key_of("other");
	uint8_t bytes[OFFER_SIGNED];

	memset(&offer, 0, sizeof(offer));
	memset(offer.handle, 1, KEY_SIZE);
	offer.version = 1;
	offer.flags = OFFER_AES;
	offer.side = side;
	memset(offer.app_lo, 2, KEY_SIZE);
	memset(offer.app_hi, 3, KEY_SIZE);
	memcpy(side == CHAT_LO ? offer.node_lo : offer.node_hi, node->public,
	    KEY_SIZE);
	memcpy(side == CHAT_LO ? offer.node_hi : offer.node_lo, other.public,
	    KEY_SIZE);
	memset(offer.ephemeral, 4, KEY_SIZE);
	offer.generation = 5;
	memset(offer.instance, 6, INSTANCE_SIZE);
	offer_signed_bytes(&offer, bytes);
	sign(offer.signature, bytes, sizeof(bytes), node);
	return (offer);
}

START_TEST(offers)
{
	struct key node = key_of("node");
	struct offer a, b;
	uint8_t bytes[OFFER_ENCODED + 1] = { 0 };
	size_t i;
	int side;

	for (side = CHAT_LO; side <= CHAT_HI; side++) {
		a = offer_of(&node, (enum chat_side)side);
		offer_encode(&a, bytes);
		ck_assert_int_eq(offer_decode(&b, bytes, OFFER_ENCODED), 0);
		ck_assert_mem_eq(&a, &b, sizeof(a));
		ck_assert_int_eq(offer_verify(&b), 0);
		for (i = 0; i < OFFER_ENCODED; i++) {
			ck_assert_int_eq(offer_decode(&b, bytes, i), -1);
			bytes[i] ^= 1;
			ck_assert(
			    offer_decode(&b, bytes, OFFER_ENCODED) == -1 ||
			    offer_verify(&b) == -1);
			bytes[i] ^= 1;
		}
		ck_assert_int_eq(offer_decode(&b, bytes, sizeof(bytes)), -1);
	}
	b = a;
	b.version = 0;
	ck_assert_int_eq(offer_verify(&b), -1);
	ck_assert_int_eq(errno, EINVAL);
	b = a;
	b.flags = 8;
	ck_assert_int_eq(offer_verify(&b), -1);
	ck_assert_int_eq(errno, EINVAL);
	b = a;
	memcpy(b.app_hi, b.app_lo, KEY_SIZE);
	ck_assert_int_eq(offer_verify(&b), -1);
	ck_assert_int_eq(errno, EINVAL);
	b = a;
	b.side = CHAT_LO; /* signed by the other side's node */
	ck_assert_int_eq(offer_verify(&b), -1);
	ck_assert_int_eq(errno, EACCES);
}
END_TEST

/* A signature of one kind is none of another. */
START_TEST(statements)
{
	struct key node = key_of("node"), other = key_of("other");
	uint8_t digest[KEY_SIZE] = { 1 }, wrong[KEY_SIZE] = { 2 };
	uint8_t bytes[STATEMENT_SIGNED_MAX];
	uint8_t signature[SIGNATURE_SIZE];
	size_t length;
	int kind, as;

	for (kind = STATEMENT_DESCRIPTOR; kind < STATEMENT_KINDS; kind++) {
		length = statement_signed_bytes((enum statement_kind)kind,
		    "node-1", node.public, 3, digest, bytes);
		ck_assert_uint_gt(length, 0);
		sign(signature, bytes, length, &node);
		for (as = 0; as <= STATEMENT_KINDS; as++)
			ck_assert_int_eq(
			    statement_verify((enum statement_kind)as, "node-1",
				node.public, 3, digest, signature, node.public),
			    as == kind ? 0 : -1);
		ck_assert_int_eq(
		    statement_verify((enum statement_kind)kind, "node-1",
			node.public, 4, digest, signature, node.public),
		    -1);
		ck_assert_int_eq(
		    statement_verify((enum statement_kind)kind, "node-2",
			node.public, 3, digest, signature, node.public),
		    -1);
		ck_assert_int_eq(
		    statement_verify((enum statement_kind)kind, "node-1",
			node.public, 3, wrong, signature, node.public),
		    -1);
		ck_assert_int_eq(
		    statement_verify((enum statement_kind)kind, "node-1",
			node.public, 3, digest, signature, other.public),
		    -1);
		ck_assert_int_eq(errno, EACCES);
	}
	ck_assert_uint_eq(statement_signed_bytes(STATEMENT_KINDS, "n",
			      node.public, 0, digest, bytes),
	    0);
}
END_TEST

START_TEST(start_chat_vector)
{
	struct key sender = key_of("mockapp-sender");
	struct key receiver = key_of("mockapp-receiver");
	uint8_t private[32], public[KEY_SIZE], hash[KEY_SIZE];
	char source[65], target[65];
	uint8_t out[512];
	struct start_chat_fields fields = {
		.chat_id = "integration-chat",
		.source_app_id = source,
		.target_app_id = target,
		.public_key = public,
	};
	size_t length, i;

	assert_hex(sender.public, KEY_SIZE,
	    "274d94e1e82c4d4803beae1e5da8f154"
	    "9e43a3564fb00ea1fec3ed11fa41fb25");
	assert_hex(receiver.public, KEY_SIZE,
	    "1a070f07ee938ec8865cb5e38da1ce"
	    "515511d4ff4059b6ba5cc5030d06f42272");
	memset(private, 0x11, sizeof(private));
	ck_assert_int_eq(crypto_scalarmult_base(public, private), 0);
	assert_hex(public, KEY_SIZE,
	    "7b4e909bbe7ffe44c465a220037d608e"
	    "e35897d31ef972f07f74892cb0f73f13");
	hex_encode(source, sender.public, KEY_SIZE);
	hex_encode(target, receiver.public, KEY_SIZE);
	length = start_chat_signed_bytes(&fields, out, sizeof(out));
	ck_assert_uint_eq(length, 206);
	(void)crypto_hash_sha256(hash, out, length);
	assert_hex(hash, KEY_SIZE,
	    "93b21d4b98e47e7205add94997321ff1"
	    "b18d92234c5e96ba6bf079b390227f4b");
	for (i = 0; i < 206; i++)
		ck_assert_uint_eq(start_chat_signed_bytes(&fields, out, i), 0);
	ck_assert_uint_eq(start_chat_signed_bytes(&fields, out, 206), 206);
	fields.version = 1; /* the same as 0 */
	fields.info = (const uint8_t *)"hermes-chat-session";
	fields.info_length = 19;
	length = start_chat_signed_bytes(&fields, out, sizeof(out));
	(void)crypto_hash_sha256(public, out, length);
	ck_assert_uint_eq(length, 206);
	fields.rekey = 5; /* any true is 01 */
	fields.salt = (const uint8_t *)"salt";
	fields.salt_length = 4;
	length = start_chat_signed_bytes(&fields, out, sizeof(out));
	ck_assert_uint_eq(length, 210);
	ck_assert_uint_eq(out[209], 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sign");
	TCase *tcase = tcase_create("sign");

	if (sodium_init() == -1)
		return (1);
	tcase_add_test(tcase, encode_layout);
	tcase_add_test(tcase, encode_overrun);
	tcase_add_test(tcase, decode_strict);
	tcase_add_test(tcase, node_ids);
	tcase_add_test(tcase, chat_ids);
	tcase_add_test(tcase, chat_keys);
	tcase_add_test(tcase, attestation_metadata);
	tcase_add_test(tcase, attestation_times);
	tcase_add_test(tcase, attestation_forms);
	tcase_add_test(tcase, L06_connect_replay);
	tcase_add_test(tcase, L06_challenge);
	tcase_add_test(tcase, certificates);
	tcase_add_test(tcase, bindings);
	tcase_add_test(tcase, binding_x509);
	tcase_add_test(tcase, tickets);
	tcase_add_test(tcase, ticket_texts);
	tcase_add_test(tcase, offers);
	tcase_add_test(tcase, statements);
	tcase_add_test(tcase, start_chat_vector);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
