/* keyd only. A passphrase becomes a key; see stretch.h. */

#include <errno.h>
#include <string.h>

#include "common/sign/encode.h"
#include "keyd/stretch.h"

/* As hermesd.conf(5) bounds them: a file that says more is no file of ours,
 * and must not take that much time or memory. */
#define OPS_MAX    64
#define MEMORY_MAX (UINT64_C(4) << 30)

void
stretch_head(uint8_t head[STRETCH_HEAD], const char magic[STRETCH_MAGIC],
    uint64_t ops, uint64_t memory)
{
	struct encoder e = { .bytes = head, .size = STRETCH_HEAD };
	uint8_t salt[crypto_pwhash_SALTBYTES];

	randombytes_buf(salt, sizeof(salt));
	encode_bytes(&e, magic, STRETCH_MAGIC);
	encode_u64(&e, ops);
	encode_u64(&e, memory);
	encode_bytes(&e, salt, sizeof(salt));
}

int
stretch_key(const uint8_t head[STRETCH_HEAD], const char magic[STRETCH_MAGIC],
    const char *passphrase, size_t length, uint8_t key[KEY_SIZE])
{
	struct decoder d = { .bytes = head, .length = STRETCH_HEAD };
	char kind[STRETCH_MAGIC];
	uint8_t salt[crypto_pwhash_SALTBYTES];
	uint64_t ops, memory;

	decode_bytes(&d, kind, sizeof(kind));
	ops = decode_u64(&d);
	memory = decode_u64(&d);
	decode_bytes(&d, salt, sizeof(salt));
	if (memcmp(kind, magic, sizeof(kind)) != 0 ||
	    ops < crypto_pwhash_OPSLIMIT_MIN || ops > OPS_MAX ||
	    memory < crypto_pwhash_MEMLIMIT_MIN || memory > MEMORY_MAX) {
		errno = EINVAL;
		return (-1);
	}
	if (crypto_pwhash(key, KEY_SIZE, passphrase, length, salt, ops,
		(size_t)memory, crypto_pwhash_ALG_ARGON2ID13) != 0) {
		errno = ENOMEM;
		return (-1);
	}
	return (0);
}
