/*
 * keyd only. The X.509 certificates of this node's TLS keys, self-signed;
 * see tls.h.
 */

#define OPENSSL_SUPPRESS_DEPRECATED

#include <arpa/inet.h>
#include <netinet/in.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sodium.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "keyd/store.h"
#include "keyd/tls.h"
#include "keyd/tls_internal.h"

#define LIFETIME_DAYS  825
#define LIFETIME       ((int64_t)LIFETIME_DAYS * 86400) /* seconds */
#define BACKDATED      3600 /* for clocks that are late */
#define APP_RECORD     "certificate-app"
#define APP_RECORD_MAX 3000

/* --- names -------------------------------------------------------------- */

static int
names_add(GENERAL_NAMES *names, int type, const void *bytes, size_t length)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *string;
	int i;

	string =
	    type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
	if (name == NULL || string == NULL ||
	    ASN1_STRING_set(string, bytes, (int)length) != 1) {
		GENERAL_NAME_free(name);
		ASN1_STRING_free(string);
		return (-1);
	}
	GENERAL_NAME_set0_value(name, type, string);
	for (i = 0; i < sk_GENERAL_NAME_num(names); i++)
		if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(names, i), name) ==
		    0) {
			GENERAL_NAME_free(name);
			return (0);
		}
	if (sk_GENERAL_NAME_push(names, name) == 0) {
		GENERAL_NAME_free(name);
		return (-1);
	}
	return (0);
}

/* A name or address; "localhost" goes with a loopback one. */
static int
names_add_host(GENERAL_NAMES *names, const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;
	int loopback = 0;

	if (inet_pton(AF_INET, host, &v4) == 1) {
		if (v4.s_addr == htonl(INADDR_ANY))
			return (0);
		loopback = (ntohl(v4.s_addr) >> 24) == 127;
		if (names_add(names, GEN_IPADD, &v4, sizeof(v4)) == -1)
			return (-1);
	} else if (inet_pton(AF_INET6, host, &v6) == 1) {
		if (IN6_IS_ADDR_UNSPECIFIED(&v6))
			return (0);
		loopback = IN6_IS_ADDR_LOOPBACK(&v6);
		if (names_add(names, GEN_IPADD, &v6, sizeof(v6)) == -1)
			return (-1);
	} else if (host[0] != '\0' && strcmp(host, "*") != 0)
		return (names_add(names, GEN_DNS, host, strlen(host)));
	if (!loopback)
		return (0);
	return (names_add(names, GEN_DNS, "localhost", strlen("localhost")));
}

/* The host of "host:port" or "[v6]:port". */
static int
names_add_endpoint(GENERAL_NAMES *names, const char *endpoint)
{
	char host[CONFIG_NAME_SIZE + ENDPOINT_SIZE];
	char *end;
	size_t skip = endpoint[0] == '[';

	(void)strlcpy(host, endpoint + skip, sizeof(host));
	end = skip ? strchr(host, ']') : strrchr(host, ':');
	if (end != NULL)
		*end = '\0';
	return (names_add_host(names, host));
}

static int
names_add_address(GENERAL_NAMES *names, const struct config_listener *listener)
{
	char host[INET6_ADDRSTRLEN] = "";
	const struct sockaddr_in *v4 =
	    (const struct sockaddr_in *)&listener->address;
	const struct sockaddr_in6 *v6 =
	    (const struct sockaddr_in6 *)&listener->address;

	if (listener->address.ss_family == AF_INET)
		(void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
	else if (listener->address.ss_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
	return (names_add_host(names, host));
}

static GENERAL_NAMES *
app_names(const struct config *config)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	int i, ok = names != NULL;

	for (i = 0; ok && i < CONFIG_LISTENERS; i++) {
		const struct config_listener *listener =
		    &config->listen[LISTEN_APP][i];

		if (listener->address_length == 0)
			continue;
		ok = names_add_endpoint(names, listener->name) == 0 &&
		     names_add_address(names, listener) == 0;
	}
	if (ok && config->advertise_app[0] != '\0')
		ok = names_add_endpoint(names, config->advertise_app) == 0;
	/* Listening everywhere: at least from here it has a name. */
	if (ok && sk_GENERAL_NAME_num(names) == 0)
		ok = names_add_host(names, "127.0.0.1") == 0 &&
		     names_add_host(names, "::1") == 0;
	if (!ok) {
		GENERAL_NAMES_free(names);
		return (NULL);
	}
	return (names);
}

/* --- certificates ------------------------------------------------------- */

static int
x509_serial(X509 *x509)
{
	uint8_t bytes[16];
	BIGNUM *number;
	int ok;

	randombytes_buf(bytes, sizeof(bytes));
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, full length */
	number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = number != NULL &&
	     BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != NULL;
	BN_free(number);
	return (ok ? 0 : -1);
}

static int
x509_name(X509 *x509, const char *node_id)
{
	X509_NAME *name = X509_get_subject_name(x509);

	if (X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
		(const unsigned char *)node_id, -1, -1, 0) != 1 ||
	    X509_set_issuer_name(x509, name) != 1)
		return (-1);
	return (0);
}

static int
x509_add_text(X509 *x509, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	int ok;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, x509, x509, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ok = extension != NULL && X509_add_ext(x509, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return (ok ? 0 : -1);
}

static int
x509_add_binding(X509 *x509, const struct identity *identity,
    const uint8_t spki_sha256[KEY_SIZE])
{
	struct binding binding = { .zero = 0 };
	uint8_t bytes[BINDING_ENCODED_MAX];
	uint8_t covered[BINDING_SIGNED_MAX];
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *oid = OBJ_txt2obj(BINDING_OID, 1);
	X509_EXTENSION *extension = NULL;
	size_t length;
	int ok;

	memcpy(binding.node_id, identity->node_id, NODE_ID_SIZE);
	memcpy(binding.node_key, identity->node_key, KEY_SIZE);
	binding.has_certificate = identity->in_mesh;
	if (identity->in_mesh)
		binding.certificate = identity->certificate;
	length = binding_signed_bytes(&binding, spki_sha256, covered);
	identity_sign(identity, covered, length, binding.signature);
	length = binding_encode(&binding, bytes);
	ok = value != NULL && oid != NULL &&
	     ASN1_OCTET_STRING_set(value, bytes, (int)length) == 1 &&
	     (extension = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value)) !=
		 NULL &&
	     X509_add_ext(x509, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(oid);
	return (ok ? 0 : -1);
}

static int
x509_times(X509 *x509, int64_t now)
{
	time_t at = (time_t)(now / CLOCK_SECOND);

	if (ASN1_TIME_set(X509_getm_notBefore(x509), at - BACKDATED) == NULL ||
	    ASN1_TIME_set(X509_getm_notAfter(x509), at + (time_t)LIFETIME) ==
		NULL)
		return (-1);
	return (0);
}

/* A certificate of key, signed by it; names or binding or neither. */
static X509 *
x509_make(const struct identity *identity, const uint8_t key[P256_SIZE],
    GENERAL_NAMES *names, int binding, int64_t now)
{
	X509 *x509 = X509_new();
	EVP_PKEY *pkey = EVP_PKEY_new();
	EC_KEY *ec = tls_key(key);
	uint8_t spki[KEY_SIZE];
	int ok = 0;

	if (x509 != NULL && pkey != NULL && ec != NULL &&
	    EVP_PKEY_set1_EC_KEY(pkey, ec) == 1 && tls_spki(key, spki) == 0 &&
	    X509_set_version(x509, 2) == 1 && x509_serial(x509) == 0 &&
	    x509_name(x509, identity->node_id) == 0 &&
	    x509_times(x509, now) == 0 && X509_set_pubkey(x509, pkey) == 1 &&
	    x509_add_text(x509, NID_basic_constraints, "critical,CA:FALSE") ==
		0 &&
	    x509_add_text(x509, NID_key_usage, "critical,digitalSignature") ==
		0 &&
	    x509_add_text(x509, NID_ext_key_usage,
		binding ? "serverAuth,clientAuth" : "serverAuth") == 0 &&
	    x509_add_text(x509, NID_subject_key_identifier, "hash") == 0 &&
	    (names == NULL || X509_add1_ext_i2d(x509, NID_subject_alt_name,
				  names, 0, X509V3_ADD_DEFAULT) == 1) &&
	    (!binding || x509_add_binding(x509, identity, spki) == 0) &&
	    X509_sign(x509, pkey, EVP_sha256()) > 0)
		ok = 1;
	EC_KEY_free(ec);
	EVP_PKEY_free(pkey);
	if (!ok) {
		log_error("certificate_failed", "error=\"%s\"",
		    ERR_reason_error_string(ERR_peek_last_error()));
		ERR_clear_error();
		X509_free(x509);
		return (NULL);
	}
	return (x509);
}

static int
x509_to_pem(X509 *x509, char pem[TLS_PEM_MAX])
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *bytes;
	long length = 0;

	if (bio != NULL && PEM_write_bio_X509(bio, x509) == 1 &&
	    (length = BIO_get_mem_data(bio, &bytes)) > 0 &&
	    length < TLS_PEM_MAX) {
		memcpy(pem, bytes, (size_t)length);
		pem[length] = '\0';
	} else
		length = 0;
	BIO_free(bio);
	return (length > 0 ? 0 : -1);
}

int
tls_mesh_certificate(
    const struct identity *identity, int64_t now, char pem[TLS_PEM_MAX])
{
	X509 *x509 =
	    x509_make(identity, identity->secrets->tls_mesh, NULL, 1, now);
	int result;

	if (x509 == NULL)
		return (-1);
	result = x509_to_pem(x509, pem);
	X509_free(x509);
	return (result);
}

/* --- the one for apps, which clients may have pinned -------------------- */

/* What the certificate depends on. */
static int
app_hash(const struct identity *identity, const GENERAL_NAMES *names,
    uint8_t hash[KEY_SIZE])
{
	crypto_generichash_state state;
	uint8_t spki[KEY_SIZE], *der = NULL;
	int length;

	length = i2d_GENERAL_NAMES((GENERAL_NAMES *)(uintptr_t)names, &der);
	if (length <= 0 || tls_spki(identity->secrets->tls_app, spki) == -1) {
		OPENSSL_free(der);
		return (-1);
	}
	(void)crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
	(void)crypto_generichash_update(&state, der, (size_t)length);
	(void)crypto_generichash_update(&state, spki, sizeof(spki));
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)identity->node_id, NODE_ID_SIZE);
	(void)crypto_generichash_final(&state, hash, KEY_SIZE);
	OPENSSL_free(der);
	return (0);
}

/* The stored certificate when it is for hash and has a third of its life
 * left; else NULL. */
static X509 *
app_stored(struct store *store, const uint8_t hash[KEY_SIZE], int64_t now)
{
	uint8_t record[APP_RECORD_MAX];
	const uint8_t *der = record + KEY_SIZE;
	size_t length;
	X509 *x509;
	time_t renew = (time_t)(now / CLOCK_SECOND + LIFETIME / 3);

	if (store_get(store, STORE_NODE, APP_RECORD, strlen(APP_RECORD), record,
		sizeof(record), &length) != 1 ||
	    length <= KEY_SIZE || memcmp(record, hash, KEY_SIZE) != 0 ||
	    (x509 = d2i_X509(NULL, &der, (long)(length - KEY_SIZE))) == NULL)
		return (NULL);
	if (X509_cmp_time(X509_get0_notAfter(x509), &renew) <= 0) {
		X509_free(x509);
		return (NULL);
	}
	return (x509);
}

static int
app_store(struct store *store, const uint8_t hash[KEY_SIZE], X509 *x509)
{
	uint8_t record[APP_RECORD_MAX], *der = NULL;
	int length = i2d_X509(x509, &der), result = -1;

	if (length > 0 && (size_t)length <= sizeof(record) - KEY_SIZE) {
		memcpy(record, hash, KEY_SIZE);
		memcpy(record + KEY_SIZE, der, (size_t)length);
		result = store_put(store, STORE_NODE, APP_RECORD,
		    strlen(APP_RECORD), record, KEY_SIZE + (size_t)length);
	} else
		errno = EINVAL;
	OPENSSL_free(der);
	return (store_finish(store, result, 1));
}

int
tls_app_certificate(const struct identity *identity, struct store *store,
    const struct config *config, int64_t now, char pem[TLS_PEM_MAX])
{
	GENERAL_NAMES *names = app_names(config);
	uint8_t hash[KEY_SIZE];
	X509 *x509 = NULL;
	int result = -1;

	if (names == NULL || app_hash(identity, names, hash) == -1)
		goto done;
	if ((x509 = app_stored(store, hash, now)) == NULL) {
		x509 = x509_make(
		    identity, identity->secrets->tls_app, names, 0, now);
		if (x509 == NULL || app_store(store, hash, x509) == -1)
			goto done;
	}
	result = x509_to_pem(x509, pem);
done:
	X509_free(x509);
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return (result);
}
