/*
 * Any process with a network socket. Who the peer of a connection is: its
 * address, its certificate, that certificate's key. Trusts no byte; judges
 * nothing but ALPN.
 */

#include <arpa/inet.h>
#include <netinet/in.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <tls.h>

#include "common/rpc/internal.h"

void
rpc_peer_source(const struct sockaddr *address, uint8_t source[17])
{
	const struct sockaddr_in *in4 = (const void *)address;
	const struct sockaddr_in6 *in6 = (const void *)address;

	memset(source, 0, 17);
	source[0] = (uint8_t)address->sa_family;
	if (address->sa_family == AF_INET)
		memcpy(source + 1, &in4->sin_addr, 4);
	else if (address->sa_family == AF_INET6 &&
		 IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		source[0] = AF_INET;
		memcpy(source + 1, in6->sin6_addr.s6_addr + 12, 4);
	} else if (address->sa_family == AF_INET6)
		/* One site has a /64 at least: that is one source. */
		memcpy(source + 1, &in6->sin6_addr, 8);
}

void
rpc_peer_set_address(struct rpc_connection *connection,
    const struct sockaddr *address, socklen_t length)
{
	const struct sockaddr_in *in4;
	const struct sockaddr_in6 *in6;
	char host[INET6_ADDRSTRLEN] = "?";
	unsigned port;

	if (length > sizeof(connection->address))
		length = sizeof(connection->address);
	memcpy(&connection->address, address, length);
	if (address->sa_family == AF_INET) {
		in4 = (const struct sockaddr_in *)&connection->address;
		(void)inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
		port = ntohs(in4->sin_port);
	} else if (address->sa_family == AF_INET6) {
		in6 = (const struct sockaddr_in6 *)&connection->address;
		(void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		port = ntohs(in6->sin6_port);
	} else {
		(void)snprintf(
		    connection->name, sizeof(connection->name), "local");
		return;
	}
	(void)snprintf(connection->name, sizeof(connection->name), "%s port %u",
	    host, port);
}

/*
 * Keep the leaf, in DER. TLS has parsed it, and whoever wants to know what it
 * says does so again: it costs too much to do it for everybody.
 */
static int
peer_take_certificate(struct rpc_connection *connection)
{
	char *name = NULL, *header = NULL;
	const uint8_t *pem;
	size_t length;
	long size = 0;
	BIO *bio;

	pem = tls_peer_cert_chain_pem(connection->transport.tls, &length);
	if (pem == NULL || length == 0)
		return (0);
	if (length > INT32_MAX ||
	    (bio = BIO_new_mem_buf(pem, (int)length)) == NULL)
		return (-1);
	if (PEM_read_bio(bio, &name, &header, &connection->certificate, &size))
		connection->certificate_length = (size_t)size;
	OPENSSL_free(name);
	OPENSSL_free(header);
	BIO_free(bio);
	ERR_clear_error();
	return (connection->certificate != NULL ? 0 : -1);
}

const char *
rpc_peer_check(struct rpc_connection *connection)
{
	const char *alpn;

	alpn = tls_conn_alpn_selected(connection->transport.tls);
	if (alpn == NULL || strcmp(alpn, "h2") != 0)
		return ("no HTTP/2 by ALPN");
	if (peer_take_certificate(connection) == -1)
		return ("unreadable certificate");
	if (connection->tls->verify == RPC_VERIFY_PEER_LATER &&
	    connection->certificate == NULL)
		return ("no certificate");
	return (NULL);
}

const uint8_t *
rpc_connection_certificate(
    const struct rpc_connection *connection, size_t *length)
{
	*length = connection->certificate_length;
	return (connection->certificate);
}

int
rpc_connection_peer_spki(
    const struct rpc_connection *connection, uint8_t hash[32])
{
	const uint8_t *der = connection->certificate;
	uint8_t *key = NULL;
	X509 *leaf;
	int length = -1;

	if (der == NULL)
		return (-1);
	leaf = d2i_X509(NULL, &der, (long)connection->certificate_length);
	if (leaf != NULL)
		length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &key);
	if (length > 0)
		SHA256(key, (size_t)length, hash);
	OPENSSL_free(key);
	X509_free(leaf);
	ERR_clear_error();
	return (length > 0 ? 0 : -1);
}
