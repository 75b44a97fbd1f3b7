/*
 * Tests only. A backup that somebody hands to an operator: any bytes, or
 * frames of any content sealed as they should be and harmed afterwards.
 * Either all of it is taken, and is a node that starts, or nothing is.
 */

#include <sys/mman.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "keyd/backup.h"
#include "keyd/tls.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_store.h"

#define SECRET    "word"
#define HEAD_SIZE (16 + 8 + 8 + crypto_pwhash_SALTBYTES)
#define FRAME_MAX 4000
#define FILE_MAX  (256 * 1024)
#define PATH      "node"

static const struct backup_passphrase secret = { SECRET, 4 };
static struct store *store;
static uint8_t file[FILE_MAX];
static uint64_t taken; /* backups */

int __wrap_crypto_pwhash(unsigned char *out, unsigned long long length,
    const char *passphrase, unsigned long long passphrase_length,
    const unsigned char *salt, unsigned long long ops, size_t memory,
    int algorithm);

/* As good as Argon2id here, and what the header may ask of it is bounded. */
int
__wrap_crypto_pwhash(unsigned char *out, unsigned long long length,
    const char *passphrase, unsigned long long passphrase_length,
    const unsigned char *salt, unsigned long long ops, size_t memory,
    int algorithm)
{
	FUZZ_CHECK(ops >= 1 && ops <= 64);
	FUZZ_CHECK(memory >= 8192 && memory <= UINT64_C(4) << 30);
	FUZZ_CHECK(algorithm == crypto_pwhash_ALG_ARGON2ID13);
	FUZZ_CHECK(passphrase_length == secret.length);
	(void)passphrase;
	return (crypto_generichash(
	    out, (size_t)length, salt, crypto_pwhash_SALTBYTES, NULL, 0));
}

/* --- the store ----------------------------------------------------------- */

struct sum {
	size_t records;
	uint8_t hash[32]; /* of all records, whatever their order */
};

static int
sum_record(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct sum *sum = arg;
	crypto_generichash_state state;
	uint8_t hash[32];
	size_t i;

	(void)crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	(void)crypto_generichash_update(
	    &state, (const uint8_t *)&name_length, sizeof(name_length));
	(void)crypto_generichash_update(&state, name, name_length);
	(void)crypto_generichash_update(&state, data, length);
	(void)crypto_generichash_final(&state, hash, sizeof(hash));
	for (i = 0; i < sizeof(hash); i++)
		sum->hash[i] ^= hash[i];
	sum->records++;
	return (0);
}

static struct sum
sum_table(enum store_table table)
{
	struct sum sum;

	memset(&sum, 0, sizeof(sum));
	FUZZ_CHECK(store_walk(store, table, sum_record, &sum) == 0);
	return (sum);
}

static struct sum
sum_all(void)
{
	struct sum all, one;
	size_t i;
	int table;

	memset(&all, 0, sizeof(all));
	for (table = STORE_NODE; table <= STORE_REVOKED; table++) {
		one = sum_table((enum store_table)table);
		all.records += one.records;
		for (i = 0; i < sizeof(all.hash); i++)
			all.hash[i] ^= one.hash[i] + (uint8_t)table;
	}
	return (all);
}

/* --- files --------------------------------------------------------------- */

struct writer {
	crypto_secretstream_xchacha20poly1305_state stream;
	uint64_t records;
	size_t length;
};

static void
write_head(struct writer *writer, struct input *input, uint8_t how)
{
	struct encoder head = { .bytes = file, .size = HEAD_SIZE };
	uint8_t key[32];

	encode_bytes(&head, "hermes-backup1\0", 16);
	encode_u64(&head, how & 1 ? input_u64(input) : 1);
	encode_u64(&head, how & 1 ? input_u64(input) : 8192);
	memset(file + head.length, 7, crypto_pwhash_SALTBYTES);
	(void)crypto_generichash(key, sizeof(key), file + head.length,
	    crypto_pwhash_SALTBYTES, NULL, 0);
	(void)crypto_secretstream_xchacha20poly1305_init_push(
	    &writer->stream, file + HEAD_SIZE, key);
	writer->length =
	    HEAD_SIZE + crypto_secretstream_xchacha20poly1305_HEADERBYTES;
}

static void
write_frame(
    struct writer *writer, const uint8_t *plain, size_t length, uint8_t tag)
{
	struct encoder size = { .bytes = file + writer->length, .size = 4 };
	size_t sealed = length + crypto_secretstream_xchacha20poly1305_ABYTES;

	if (writer->length + 4 + sealed > sizeof(file))
		return;
	encode_u32(&size, (uint32_t)sealed);
	(void)crypto_secretstream_xchacha20poly1305_push(&writer->stream,
	    file + writer->length + 4, NULL, plain, length, file, HEAD_SIZE,
	    tag);
	writer->length += 4 + sealed;
}

static void
write_first(struct writer *writer)
{
	uint8_t plain[4 + NODE_ID_SIZE + 8] = { 0 };
	struct encoder e = { .bytes = plain, .size = sizeof(plain) };

	encode_u32(&e, 1);
	memcpy(plain + 4, "node", 4);
	write_frame(writer, plain, sizeof(plain), 0);
}

/* A record as keyd writes it: a known name for how, else the input's. */
static void
write_record(struct writer *writer, struct input *input, uint8_t how)
{
	static const char *const names[] = { "identity", "counters", "mesh",
		"authority", "app certificate" };
	static const uint16_t sizes[] = { 96, 24, 0, 32, 0 };
	uint8_t plain[FRAME_MAX] = { 0 };
	const char *name = names[how % 5];
	size_t length = 3 + strlen(name), more = sizes[how % 5];

	plain[0] = STORE_NODE;
	plain[2] = (uint8_t)strlen(name);
	memcpy(plain + 3, name, strlen(name));
	if (more == 0 || (how & 64))
		more = input_u16(input) % 512;
	input_bytes(input, plain + length, more);
	if (how % 5 == 0 && !(how & 64))
		memset(plain + length + 32, 1, 64); /* two P-256 keys */
	writer->records++;
	write_frame(writer, plain, length + more, 0);
}

static void
write_some(struct writer *writer, struct input *input)
{
	uint8_t plain[FRAME_MAX], what = input_u8(input), tag;
	const uint8_t *at;
	size_t length;

	if (what < 160) {
		write_record(writer, input, what);
		return;
	}
	length = input_u16(input) % FRAME_MAX;
	tag = what < 240 ? 0 : (uint8_t)(what & 3);
	length = input_span(input, length, &at);
	if (length > 0)
		memcpy(plain, at, length);
	writer->records++;
	write_frame(writer, plain, length, tag);
}

static size_t
write_sealed(struct input *input)
{
	struct writer writer = { .records = 0 };
	uint8_t how = input_u8(input), end[8];
	struct encoder e = { .bytes = end, .size = sizeof(end) };
	size_t frames = input_u8(input) % 12, harm;

	write_head(&writer, input, how);
	if (!(how & 2))
		write_first(&writer);
	while (frames-- > 0)
		write_some(&writer, input);
	encode_u64(&e, writer.records + (how & 4 ? 1 : 0));
	if (!(how & 8))
		write_frame(&writer, end, sizeof(end),
		    crypto_secretstream_xchacha20poly1305_TAG_FINAL);
	for (harm = how >> 6; harm > 0; harm--)
		file[input_u32(input) % writer.length] ^= input_u8(input);
	if (how & 16)
		writer.length = input_u32(input) % writer.length;
	return (writer.length);
}

/* --- the target ---------------------------------------------------------- */

/* What was restored starts. */
static void
starts(size_t records)
{
	struct identity identity;
	uint8_t spki[KEY_SIZE];

	FUZZ_CHECK(sum_all().records <= records);
	FUZZ_CHECK(sum_table(STORE_COLD).records == 0);
	FUZZ_CHECK(sum_table(STORE_HOT).records == 0);
	FUZZ_CHECK(sum_table(STORE_TOMBSTONE).records == 0);
	memset(&identity, 0, sizeof(identity));
	FUZZ_CHECK(identity_load(&identity, store, "node") == 0);
	FUZZ_CHECK(tls_spki(identity.secrets->tls_app, spki) == 0);
	FUZZ_CHECK(tls_spki(identity.secrets->tls_mesh, spki) == 0);
	identity_wipe(&identity);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	enum store_error error;
	struct sum before, after;
	size_t length, records;
	int fd = memfd_create("backup", 0);

	fuzz_seed(5);
	if (input_u8(&input) & 1) {
		length = input.left < sizeof(file) ? input.left : sizeof(file);
		input_bytes(&input, file, length);
	} else
		length = write_sealed(&input);
	FUZZ_CHECK(fd != -1 && write(fd, file, length) == (ssize_t)length &&
		   lseek(fd, 0, SEEK_SET) == 0);
	fuzz_store_reset();
	fuzz_store_plant(PATH, STORE_COLD, "chat", 4, "one", 3);
	fuzz_store_plant(PATH, STORE_NODE, "counters", 8, "two", 3);
	FUZZ_CHECK((store = store_open(PATH, &error)) != NULL);
	FUZZ_CHECK(store_unlock(store, "pass", 4, 1, 8192) == STORE_OK);
	before = sum_all();
	if (backup_read(fd, store, "node", &secret, &records) == NULL) {
		taken++;
		starts(records);
	} else {
		after = sum_all();
		FUZZ_CHECK(memcmp(&before, &after, sizeof(before)) == 0);
	}
	store_close(store);
	(void)close(fd);
	return (0);
}

/* A test of the test: a good backup is taken. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* Sealed; one frame; an identity of 32 bytes. */
	static const uint8_t good[4 + 32] = { 0, 0, 1, 0, 1, 2, 3 };

	(void)argc;
	(void)argv;
	fuzz_quiet();
	(void)LLVMFuzzerTestOneInput(good, sizeof(good));
	FUZZ_CHECK(taken == 1);
	return (0);
}
