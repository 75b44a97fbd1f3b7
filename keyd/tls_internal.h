/*
 * keyd only. Between tls.c and tls_x509.c.
 */
#ifndef KEYD_TLS_INTERNAL_H
#define KEYD_TLS_INTERNAL_H

#include <stdint.h>

#include <openssl/ec.h>

#include "keyd/identity.h"

/* The key as libcrypto's, public half and all; NULL on failure. The caller
 * frees it, which wipes it. */
EC_KEY *tls_key(const uint8_t key[P256_SIZE]);

#endif
