/*
 * keyd only. What libcrypto leaves of private keys in memory. OpenSSL gets an
 * allocator that wipes whatever is freed, and has a locked heap for the
 * numbers of private keys; LibreSSL has neither, but wipes all numbers and
 * strings that it frees.
 */
#ifndef COMMON_COMPAT_SECURE_CRYPTO_H
#define COMMON_COMPAT_SECURE_CRYPTO_H

#include <openssl/bn.h>
#include <openssl/crypto.h>

#ifdef LIBRESSL_VERSION_NUMBER
#define secure_crypto_allocator(new, resize, release)                          \
	((void)(new), (void)(resize), (void)(release), 1)
#define secure_crypto_heap(size) 1
#define secure_crypto_bignum()   BN_new()
#else
/* Before anything else of libcrypto. 0: it was not. */
#define secure_crypto_allocator(new, resize, release)                          \
	CRYPTO_set_mem_functions((new), (resize), (release))
/* Make the locked heap; size is a power of two. 0: it failed. */
#define secure_crypto_heap(size) CRYPTO_secure_malloc_init((size), 16)
/* A number whose copies stay in the locked heap too. NULL: no memory. */
#define secure_crypto_bignum()   BN_secure_new()
#endif

#endif
