/*
 * keyd only. Where libcrypto keeps a private key while it works with it:
 * OpenSSL in a locked heap of its own, once it has one; LibreSSL, which has
 * none, anywhere, but it wipes all numbers that it frees.
 */
#ifndef COMMON_COMPAT_SECURE_BIGNUM_H
#define COMMON_COMPAT_SECURE_BIGNUM_H

#include <openssl/bn.h>
#include <openssl/crypto.h>

#ifdef LIBRESSL_VERSION_NUMBER
#define secure_bignum_new()	 BN_new()
#define secure_bignum_heap(size) 1
#else
/* A number whose copies stay in the locked heap too. NULL: no memory. */
#define secure_bignum_new()	 BN_secure_new()
/* Make the heap, once; size is a power of two. 0: it failed. */
#define secure_bignum_heap(size) CRYPTO_secure_malloc_init((size), 16)
#endif

#endif
