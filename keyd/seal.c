/*
 * keyd only, as its own user, in its own folder. Store key and keyring file;
 * see seal.h. The file, in sectors of 512 bytes so that a torn write of one
 * leaves the others whole:
 *
 *	0	magic, Argon2id ops and memory, salt, wrapped name key
 *	1, 2	number of the store key (0: vacant), nonce, wrapped store key
 *
 * Wrapped: XChaCha20-Poly1305 under the key Argon2id gives; the additional
 * data is the head of sector 0 and the number.
 *
 * Another passphrase means another file, as all three sectors change. It is
 * made as "keyring.new"; then the old one becomes "keyring.old", the new one
 * "keyring", and the old one, which the old passphrase opens, is destroyed in
 * place. seal_recover() finishes what was cut off, or takes it back.
 */

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "keyd/file.h"
#include "keyd/keyscan.h"
#include "keyd/seal.h"
#include "keyd/secret.h"
#include "keyd/stretch.h"

#define SEAL_TEMPORARY "keyring.new"
#define SEAL_OLD       "keyring.old"
#define SEAL_MAGIC     "hermes-keyring1" /* with its NUL 16 bytes */
#define SEAL_FORMAT    1
#define SECTOR         512
#define NONCE_SIZE     crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define NONCES         64 /* drawn at a time */
#define TAG_SIZE       crypto_aead_xchacha20poly1305_ietf_ABYTES
#define WRAPPED_SIZE   (NONCE_SIZE + KEY_SIZE + TAG_SIZE)

struct seal_secrets {
	uint8_t wrapping[KEY_SIZE];
	uint8_t names[KEY_SIZE];
	uint8_t store[2][KEY_SIZE];
};

struct seal {
	int fd; /* the keyring, locked */
	uint8_t head[STRETCH_HEAD];
	uint64_t numbers[2]; /* of the slots; 0: vacant */
	int newest;          /* slot */
	struct seal_secrets *secrets;
};

static void
wrap(const uint8_t wrapping[KEY_SIZE], const uint8_t head[STRETCH_HEAD],
    uint64_t number, const uint8_t key[KEY_SIZE], uint8_t out[WRAPPED_SIZE])
{
	uint8_t aad[STRETCH_HEAD + 8];
	struct encoder encoder = { .bytes = aad, .size = sizeof(aad) };

	encode_bytes(&encoder, head, STRETCH_HEAD);
	encode_u64(&encoder, number);
	randombytes_buf(out, NONCE_SIZE);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE_SIZE, NULL,
	    key, KEY_SIZE, aad, sizeof(aad), NULL, out, wrapping);
}

static int
unwrap(const uint8_t wrapping[KEY_SIZE], const uint8_t head[STRETCH_HEAD],
    uint64_t number, const uint8_t in[WRAPPED_SIZE], uint8_t key[KEY_SIZE])
{
	uint8_t aad[STRETCH_HEAD + 8];
	struct encoder encoder = { .bytes = aad, .size = sizeof(aad) };

	encode_bytes(&encoder, head, STRETCH_HEAD);
	encode_u64(&encoder, number);
	return (crypto_aead_xchacha20poly1305_ietf_decrypt(key, NULL, NULL,
	    in + NONCE_SIZE, KEY_SIZE + TAG_SIZE, aad, sizeof(aad), in,
	    wrapping));
}

int
seal_exists(int folder)
{
	struct stat st;

	if (fstatat(folder, SEAL_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return (1);
	return (errno == ENOENT ? 0 : -1);
}

/* Write the temporary file to disk. It open, or -1. */
static int
temporary_write(int folder, const uint8_t *file, size_t length)
{
	int fd;

	fd = openat(folder, SEAL_TEMPORARY,
	    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1)
		return (-1);
	if (file_write(fd, 0, file, length) == 0 && fsync(fd) == 0)
		return (fd);
	(void)close(fd);
	return (-1);
}

/* Put the finished file in place, folder and all on disk. */
static int
create_file(int folder, const uint8_t *file, size_t length)
{
	int fd = temporary_write(folder, file, length);

	if (fd == -1 || close(fd) == -1 ||
	    renameat(folder, SEAL_TEMPORARY, folder, SEAL_FILE) == -1)
		return (-1);
	return (fsync(folder));
}

/* A slot's sector: the store key of that number, wrapped. */
static void
make_slot(const uint8_t wrapping[KEY_SIZE], const uint8_t head[STRETCH_HEAD],
    uint64_t number, const uint8_t key[KEY_SIZE], uint8_t *sector)
{
	struct encoder encoder = { .bytes = sector, .size = 8 };

	encode_u64(&encoder, number);
	wrap(wrapping, head, number, key, sector + 8);
}

int
seal_create(int folder, const char *passphrase, size_t length, uint64_t ops,
    uint64_t memory)
{
	struct seal_secrets *secrets = secret_new(sizeof(*secrets));
	uint8_t file[3 * SECTOR] = { 0 };
	int result = -1;

	if (secrets == NULL)
		return (-1);
	stretch_head(file, SEAL_MAGIC, ops, memory);
	if (stretch_key(
		file, SEAL_MAGIC, passphrase, length, secrets->wrapping) == -1)
		goto done;
	randombytes_buf(secrets->names, KEY_SIZE);
	randombytes_buf(secrets->store[0], KEY_SIZE);
	wrap(secrets->wrapping, file, 0, secrets->names, file + STRETCH_HEAD);
	make_slot(secrets->wrapping, file, 1, secrets->store[0], file + SECTOR);
	result = create_file(folder, file, sizeof(file));
done:
	secret_free(secrets, sizeof(*secrets));
	return (result);
}

/* Read the slots; a slot that does not unwrap is vacant. */
static int
open_slots(struct seal *seal, const uint8_t *file)
{
	int i;

	seal->newest = -1;
	for (i = 0; i < 2; i++) {
		const uint8_t *sector = file + (size_t)(1 + i) * SECTOR;
		struct decoder decoder = { .bytes = sector, .length = 8 };
		uint64_t number = decode_u64(&decoder);

		if (number == 0 ||
		    unwrap(seal->secrets->wrapping, seal->head, number,
			sector + 8, seal->secrets->store[i]) != 0)
			continue;
		keyscan_made(KEYSCAN_STORE, seal->secrets->store[i], KEY_SIZE);
		seal->numbers[i] = number;
		if (seal->newest == -1 || number > seal->numbers[seal->newest])
			seal->newest = i;
	}
	return (seal->newest == -1 ? -1 : 0);
}

struct seal *
seal_open(int folder, const char *passphrase, size_t length)
{
	struct seal *seal = calloc(1, sizeof(*seal));
	uint8_t file[3 * SECTOR];
	int saved;

	if (seal == NULL)
		return (NULL);
	seal->fd = openat(folder, SEAL_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (seal->fd == -1 ||
	    (seal->secrets = secret_new(sizeof(*seal->secrets))) == NULL ||
	    file_read(seal->fd, 0, file, sizeof(file)) == -1)
		goto failed;
	memcpy(seal->head, file, STRETCH_HEAD);
	if (stretch_key(seal->head, SEAL_MAGIC, passphrase, length,
		seal->secrets->wrapping) == -1)
		goto failed;
	keyscan_made(KEYSCAN_WRAPPING, seal->secrets->wrapping, KEY_SIZE);
	if (unwrap(seal->secrets->wrapping, seal->head, 0, file + STRETCH_HEAD,
		seal->secrets->names) != 0) {
		errno = EACCES;
		goto failed;
	}
	keyscan_made(KEYSCAN_NAMES, seal->secrets->names, KEY_SIZE);
	if (open_slots(seal, file) == -1) {
		errno = EINVAL;
		goto failed;
	}
	return (seal);
failed:
	saved = errno;
	seal_close(seal);
	errno = saved;
	return (NULL);
}

void
seal_close(struct seal *seal)
{
	if (seal == NULL)
		return;
	if (seal->fd != -1)
		(void)close(seal->fd); /* every write was synced */
	if (seal->secrets != NULL)
		keyscan_wiped(
		    KEYSCAN_WRAPPING, seal->secrets->wrapping, KEY_SIZE);
	secret_free(seal->secrets, sizeof(*seal->secrets));
	free(seal);
}

void
seal_name(const struct seal *seal, uint8_t table, const void *name,
    size_t length, uint8_t key[KEY_SIZE])
{
	crypto_generichash_state state;

	(void)crypto_generichash_init(
	    &state, seal->secrets->names, KEY_SIZE, KEY_SIZE);
	(void)crypto_generichash_update(&state, &table, 1);
	(void)crypto_generichash_update(&state, name, length);
	(void)crypto_generichash_final(&state, key, KEY_SIZE);
}

static void
record_aad(
    uint8_t table, const uint8_t key[KEY_SIZE], uint8_t aad[1 + KEY_SIZE + 4])
{
	struct encoder encoder = { .bytes = aad, .size = 1 + KEY_SIZE + 4 };

	encode_u8(&encoder, table);
	encode_bytes(&encoder, key, KEY_SIZE);
	encode_u32(&encoder, SEAL_FORMAT);
}

/* A random nonce. They are no secret, and drawn many at a time: a record is
 * sealed for every chat of a batch. */
static void
record_nonce(uint8_t out[NONCE_SIZE])
{
	static uint8_t drawn[NONCES][NONCE_SIZE];
	static size_t left;

	if (left == 0) {
		randombytes_buf(drawn, sizeof(drawn));
		left = NONCES;
	}
	memcpy(out, drawn[--left], NONCE_SIZE);
}

void
seal_record(const struct seal *seal, uint8_t table, const uint8_t key[KEY_SIZE],
    const uint8_t *plain, size_t length, uint8_t *out)
{
	struct encoder encoder = { .bytes = out, .size = 8 };
	uint8_t aad[1 + KEY_SIZE + 4];

	record_aad(table, key, aad);
	encode_u64(&encoder, seal->numbers[seal->newest]);
	record_nonce(out + 8);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(out + 8 + NONCE_SIZE,
	    NULL, plain, length, aad, sizeof(aad), NULL, out + 8,
	    seal->secrets->store[seal->newest]);
}

static uint64_t
record_number(const uint8_t *sealed)
{
	struct decoder decoder = { .bytes = sealed, .length = 8 };

	return (decode_u64(&decoder));
}

int
seal_open_record(const struct seal *seal, uint8_t table,
    const uint8_t key[KEY_SIZE], const uint8_t *sealed, size_t length,
    uint8_t *plain)
{
	uint8_t aad[1 + KEY_SIZE + 4];
	int i;

	record_aad(table, key, aad);
	for (i = 0; i < 2 && length >= SEAL_OVERHEAD; i++)
		if (seal->numbers[i] != 0 &&
		    seal->numbers[i] == record_number(sealed) &&
		    crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL,
			NULL, sealed + 8 + NONCE_SIZE, length - 8 - NONCE_SIZE,
			aad, sizeof(aad), sealed + 8,
			seal->secrets->store[i]) == 0)
			return (0);
	errno = EACCES;
	return (-1);
}

int
seal_is_current(const struct seal *seal, const uint8_t *sealed, size_t length)
{
	return (length >= SEAL_OVERHEAD &&
		record_number(sealed) == seal->numbers[seal->newest]);
}

int
seal_rotating(const struct seal *seal)
{
	return (seal->numbers[0] != 0 && seal->numbers[1] != 0);
}

int
seal_rotate_begin(struct seal *seal)
{
	int slot = seal->newest ^ 1;
	uint64_t number = seal->numbers[seal->newest] + 1;
	uint8_t sector[SECTOR] = { 0 };

	if (seal_rotating(seal))
		return (0);
	randombytes_buf(seal->secrets->store[slot], KEY_SIZE);
	keyscan_made(KEYSCAN_STORE, seal->secrets->store[slot], KEY_SIZE);
	make_slot(seal->secrets->wrapping, seal->head, number,
	    seal->secrets->store[slot], sector);
	if (file_write(seal->fd, (off_t)(1 + slot) * SECTOR, sector,
		sizeof(sector)) == -1 ||
	    fsync(seal->fd) == -1) {
		keyscan_wiped(
		    KEYSCAN_STORE, seal->secrets->store[slot], KEY_SIZE);
		sodium_memzero(seal->secrets->store[slot], KEY_SIZE);
		return (-1);
	}
	seal->numbers[slot] = number;
	seal->newest = slot;
	return (0);
}

int
seal_rotate_end(struct seal *seal)
{
	int slot = seal->newest ^ 1;
	uint8_t sector[SECTOR];

	if (!seal_rotating(seal))
		return (0);
	/* Noise first, so that no block layer drops it as a hole. */
	randombytes_buf(sector, sizeof(sector));
	memset(sector, 0, 8);
	if (file_write(seal->fd, (off_t)(1 + slot) * SECTOR, sector,
		sizeof(sector)) == -1 ||
	    fsync(seal->fd) == -1)
		return (-1);
	seal->numbers[slot] = 0;
	keyscan_wiped(KEYSCAN_STORE, seal->secrets->store[slot], KEY_SIZE);
	sodium_memzero(seal->secrets->store[slot], KEY_SIZE);
	return (0);
}

/* --- another passphrase -------------------------------------------------- */

int
seal_prove(const struct seal *seal, const char *passphrase, size_t length)
{
	uint8_t *wrapping = secret_new(KEY_SIZE);
	int result = -1;

	if (wrapping == NULL)
		return (-1);
	if (stretch_key(seal->head, SEAL_MAGIC, passphrase, length, wrapping) ==
	    0) {
		keyscan_made(KEYSCAN_WRAPPING, wrapping, KEY_SIZE);
		result = sodium_memcmp(
			     wrapping, seal->secrets->wrapping, KEY_SIZE) == 0;
		if (!result)
			keyscan_wiped(KEYSCAN_WRAPPING, wrapping, KEY_SIZE);
	}
	secret_free(wrapping, KEY_SIZE);
	return (result);
}

/* Overwrite a keyring and take its name away. 0 or -1. */
static int
destroy(int folder, const char *name, int fd)
{
	uint8_t noise[3 * SECTOR];

	randombytes_buf(noise, sizeof(noise));
	if (file_write(fd, 0, noise, sizeof(noise)) == -1 || fsync(fd) == -1 ||
	    unlinkat(folder, name, 0) == -1)
		return (-1);
	return (fsync(folder));
}

/* The same for one that nobody has open; none is no error. */
static int
destroy_name(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int result;

	if (fd == -1)
		return (errno == ENOENT ? 0 : -1);
	result = destroy(folder, name, fd);
	(void)close(fd);
	return (result);
}

int
seal_recover(int folder)
{
	int exists = seal_exists(folder);

	if (exists == -1)
		return (-1);
	if (exists == 0 &&
	    renameat(folder, SEAL_OLD, folder, SEAL_FILE) == -1 &&
	    errno != ENOENT)
		return (-1);
	if (exists == 0 && fsync(folder) == -1)
		return (-1);
	return (destroy_name(folder, SEAL_TEMPORARY) == -1 ||
			destroy_name(folder, SEAL_OLD) == -1
		    ? -1
		    : 0);
}

/* Everything wrapped under another passphrase. 0 or -1. */
static int
rewrap(const struct seal *seal, const char *passphrase, size_t length,
    uint64_t ops, uint64_t memory, uint8_t wrapping[KEY_SIZE], uint8_t *file)
{
	int i;

	stretch_head(file, SEAL_MAGIC, ops, memory);
	if (stretch_key(file, SEAL_MAGIC, passphrase, length, wrapping) == -1)
		return (-1);
	wrap(wrapping, file, 0, seal->secrets->names, file + STRETCH_HEAD);
	for (i = 0; i < 2; i++)
		if (seal->numbers[i] != 0)
			make_slot(wrapping, file, seal->numbers[i],
			    seal->secrets->store[i],
			    file + (size_t)(1 + i) * SECTOR);
	return (0);
}

/* The temporary file becomes the keyring. 0, or -1 and it did not. */
static int
replace(int folder)
{
	if (renameat(folder, SEAL_FILE, folder, SEAL_OLD) == -1)
		return (-1);
	if (fsync(folder) == 0 &&
	    renameat(folder, SEAL_TEMPORARY, folder, SEAL_FILE) == 0)
		return (0);
	(void)renameat(folder, SEAL_OLD, folder, SEAL_FILE);
	return (-1);
}

int
seal_change(struct seal *seal, int folder, const char *passphrase,
    size_t length, uint64_t ops, uint64_t memory)
{
	uint8_t *wrapping = secret_new(KEY_SIZE);
	uint8_t file[3 * SECTOR] = { 0 };
	int fd = -1, old = seal->fd, result = -1;

	if (wrapping == NULL)
		return (-1);
	if (rewrap(seal, passphrase, length, ops, memory, wrapping, file) ==
		-1 ||
	    (fd = temporary_write(folder, file, sizeof(file))) == -1 ||
	    replace(folder) == -1) {
		if (fd != -1)
			(void)close(fd);
		(void)destroy_name(folder, SEAL_TEMPORARY);
		goto done;
	}
	/* From here on the new passphrase is the one. */
	keyscan_wiped(KEYSCAN_WRAPPING, seal->secrets->wrapping, KEY_SIZE);
	memcpy(seal->secrets->wrapping, wrapping, KEY_SIZE);
	keyscan_made(KEYSCAN_WRAPPING, seal->secrets->wrapping, KEY_SIZE);
	memcpy(seal->head, file, STRETCH_HEAD);
	seal->fd = fd;
	result =
	    fsync(folder) == 0 && destroy(folder, SEAL_OLD, old) == 0 ? 0 : 1;
	(void)close(old);
done:
	secret_free(wrapping, KEY_SIZE);
	return (result);
}
