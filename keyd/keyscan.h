/*
 * keyd only. For the test that looks for keys in memory and on disk
 * (regress/keyscan): a build with HERMES_KEYSCAN tells a journal of every key
 * that keyd makes or derives and of every one it is about to wipe. In any
 * other build these calls are nothing.
 */
#ifndef KEYD_KEYSCAN_H
#define KEYD_KEYSCAN_H

#include <stddef.h>

enum keyscan_kind {
	KEYSCAN_START, /* a new keyd; no bytes */
	KEYSCAN_NODE,  /* seed of the identity */
	KEYSCAN_AUTHORITY,
	KEYSCAN_TLS,
	KEYSCAN_EPHEMERAL,
	KEYSCAN_DH,
	KEYSCAN_PRK, /* root of an epoch */
	KEYSCAN_LINK,
	KEYSCAN_CHAIN,
	KEYSCAN_MESSAGE,
	KEYSCAN_STORE,
	KEYSCAN_NAMES, /* hashes the names of records */
	KEYSCAN_WRAPPING,
	KEYSCAN_PASSPHRASE
};

#ifdef HERMES_KEYSCAN

/* Open the journal in keyd's folder: what "keyscan" there names. It must
 * exist; without it, and on any error, keyd does not start. */
void keyscan_open(const char *folder);

/* These length bytes are a key from now on; will be none in a moment. Zero
 * bytes are no key. */
void keyscan_made(enum keyscan_kind kind, const void *key, size_t length);
void keyscan_wiped(enum keyscan_kind kind, const void *key, size_t length);

#else

#define keyscan_open(folder)             ((void)0)
#define keyscan_made(kind, key, length)  ((void)0)
#define keyscan_wiped(kind, key, length) ((void)0)

#endif

#endif
