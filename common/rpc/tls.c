/*
 * Any process with a network socket. TLS settings of servers and clients,
 * made once and shared by connections: TLS 1.2 or 1.3, ALPN h2, keys here or
 * behind the signer.
 */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <tls.h>

#include "common/rpc/internal.h"

/* In the library's symbols, not in its header. */
void tls_config_use_fake_private_key(struct tls_config *);

static void
tls_reason(char *error, size_t size, const char *what, const char *why)
{
	(void)snprintf(
	    error, size, "%s: %s", what, why == NULL ? "out of memory" : why);
}

static int
tls_set_identity(
    struct tls_config *config, const struct rpc_tls_options *options)
{
	const uint8_t *certificate;

	certificate = (const uint8_t *)options->certificate_pem;
	if (options->key_pem != NULL)
		return (tls_config_set_keypair_mem(config, certificate,
		    options->certificate_length,
		    (const uint8_t *)options->key_pem, options->key_length));
	tls_config_use_fake_private_key(config);
	return (tls_config_set_cert_mem(
	    config, certificate, options->certificate_length));
}

/*
 * Without a CA the library would read the system's for a store it then does
 * not look at; a sandboxed process cannot. Give it our own certificate.
 */
static int
tls_set_verify(struct tls_config *config, const struct rpc_tls_options *options,
    int server)
{
	if (options->verify == RPC_VERIFY_CA)
		return (tls_config_set_ca_mem(config,
		    (const uint8_t *)options->ca_pem, options->ca_length));
	tls_config_insecure_noverifycert(config);
	tls_config_insecure_noverifyname(config);
	tls_config_insecure_noverifytime(config);
	if (options->certificate_pem != NULL &&
	    tls_config_set_ca_mem(config,
		(const uint8_t *)options->certificate_pem,
		options->certificate_length) == -1)
		return (-1);
	if (server && options->verify == RPC_VERIFY_PEER_LATER)
		tls_config_verify_client(config);
	return (0);
}

/*
 * A connection that has nothing to say keeps no record's worth of room for
 * either direction: 34 KiB. libtls does not let us at its SSL, the library
 * below it does while it makes one.
 */
static void
tls_release_buffers(void *parent, void *data, CRYPTO_EX_DATA *extra, int index,
    long argl, void *argp)
{
	(void)data;
	(void)extra;
	(void)index;
	(void)argl;
	(void)argp;
	(void)SSL_set_mode(parent, SSL_MODE_RELEASE_BUFFERS);
	(void)SSL_set_num_tickets(parent, 0);
}

static void
tls_save_memory(void)
{
	static int done;

	if (done)
		return;
	done = 1;
	/* At worst it is as it was. */
	(void)SSL_get_ex_new_index(0, NULL, tls_release_buffers, NULL, NULL);
}

static int
tls_set_up(
    struct rpc_tls *tls, const struct rpc_tls_options *options, int server)
{
	struct tls_config *config = tls->config;
	uint32_t protocols = TLS_PROTOCOL_TLSv1_3;

	if (options->verify != RPC_VERIFY_PEER_LATER)
		protocols |= TLS_PROTOCOL_TLSv1_2;
	if (tls_config_set_protocols(config, protocols) == -1 ||
	    tls_config_set_alpn(config, "h2") == -1)
		return (-1);
	if (options->certificate_pem != NULL &&
	    tls_set_identity(config, options) == -1)
		return (-1);
	if (tls_set_verify(config, options, server) == -1)
		return (-1);
	/* No tickets: a resumed session has no certificate to be judged. */
	return (0);
}

static const char *
tls_check_options(const struct rpc_tls_options *options, int server)
{
	if (server && options->certificate_pem == NULL)
		return ("a server needs a certificate");
	if (server && options->verify == RPC_VERIFY_CA)
		return ("a server does not verify against a CA");
	if (options->verify == RPC_VERIFY_CA && options->ca_pem == NULL)
		return ("no CA certificate");
	if (options->verify == RPC_VERIFY_PEER_LATER &&
	    options->certificate_pem == NULL)
		return ("mutual TLS needs a certificate");
	if (options->certificate_pem != NULL && options->key_pem == NULL &&
	    !rpc_signer_set())
		return ("neither a key nor a signer");
	return (NULL);
}

static struct rpc_tls *
tls_make(
    const struct rpc_tls_options *options, int server, char *error, size_t size)
{
	struct rpc_tls *tls;
	struct tls *trial;
	const char *wrong;

	if ((wrong = tls_check_options(options, server)) != NULL) {
		tls_reason(error, size, "tls", wrong);
		return (NULL);
	}
	tls_save_memory();
	if ((tls = calloc(1, sizeof(*tls))) == NULL ||
	    (tls->config = tls_config_new()) == NULL) {
		free(tls);
		tls_reason(error, size, "tls", NULL);
		return (NULL);
	}
	tls->refs = 1;
	tls->verify = options->verify;
	if (tls_set_up(tls, options, server) == -1) {
		tls_reason(error, size, "tls", tls_config_error(tls->config));
		rpc_tls_free(tls);
		return (NULL);
	}
	/* A client's configuration is looked at when it connects. */
	trial = server ? tls_server() : tls_client();
	if (trial == NULL || tls_configure(trial, tls->config) == -1) {
		tls_reason(error, size, "tls",
		    trial == NULL ? NULL : tls_error(trial));
		tls_free(trial);
		rpc_tls_free(tls);
		return (NULL);
	}
	if (server)
		tls->server = trial;
	else
		tls_free(trial);
	return (tls);
}

struct rpc_tls *
rpc_tls_server(const struct rpc_tls_options *options, char *error, size_t size)
{
	return (tls_make(options, 1, error, size));
}

struct rpc_tls *
rpc_tls_client(const struct rpc_tls_options *options, char *error, size_t size)
{
	return (tls_make(options, 0, error, size));
}

struct rpc_tls *
rpc_tls_ref(struct rpc_tls *tls)
{
	tls->refs++;
	return (tls);
}

void
rpc_tls_free(struct rpc_tls *tls)
{
	if (tls == NULL || --tls->refs > 0)
		return;
	tls_free(tls->server);
	tls_config_free(tls->config);
	free(tls);
}

/* Seconds since the epoch, in UTC and the Gregorian calendar. timegm(3) would
 * look for a time zone, which is not to be had in here. */
static int64_t
tls_seconds(const struct tm *tm)
{
	/* Years begin in March, so that the odd day comes last. */
	int64_t year = 1900 + tm->tm_year - (tm->tm_mon < 2);
	int64_t month = (tm->tm_mon + 10) % 12;
	int64_t days = year * 365 + year / 4 - year / 100 + year / 400 +
		       (month * 153 + 2) / 5 + tm->tm_mday - 1;

	return (((days - 719468) * 24 + tm->tm_hour) * 3600 + tm->tm_min * 60 +
		tm->tm_sec);
}

int64_t
rpc_certificate_end(const void *pem, size_t length)
{
	X509 *certificate = NULL;
	struct tm tm;
	int64_t end = 0;
	BIO *bio;

	/* Whoever comes first must not look for a configuration of its own. */
	(void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	bio = length > INT_MAX ? NULL : BIO_new_mem_buf(pem, (int)length);
	if (bio != NULL)
		certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	memset(&tm, 0, sizeof(tm));
	if (certificate != NULL &&
	    ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1)
		end = tls_seconds(&tm);
	X509_free(certificate);
	BIO_free(bio);
	return (end < 0 ? 0 : end);
}
