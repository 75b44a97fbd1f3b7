/*
 * The searcher of the keyscan test, root. It looks for keys at every byte of
 * memory or of files, or of what files become when opened with other keys:
 *
 *	scan PATTERNS mem PID ...	all readable memory of stopped processes
 *	scan PATTERNS file PATH ...
 *	scan PATTERNS open KEYS PATH ...
 *
 * PATTERNS holds records of u16 length, bytes (host order). Any 16 bytes at a
 * multiple of 8 of a pattern count, also in the forms that SHA-2, HMAC and
 * big numbers give a key: words swapped, pads added, byte for byte reversed.
 * KEYS holds keys of 32 bytes each; every offset of a file is taken for the
 * nonce of an XChaCha20-Poly1305 box and decrypted, tag or no tag.
 *
 * Output: "hit TARGET OFFSET PATTERN FORM" (numbers from 0; the offset in hex)
 * and for each target "end TARGET BYTES".
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#define WINDOW          16
#define STRIDE          8
#define CHUNK           (1 << 20)
#define FILTER_BITS     23
#define NAME_MAX_LENGTH 256  /* of a record, when it opens */
#define OPEN_MAX        3600 /* bytes of a record */
#define OPEN_HEAD       64

enum form {
	FORM_PLAIN,
	FORM_SWAPPED,
	FORM_INNER,
	FORM_INNER_SWAPPED,
	FORM_OUTER,
	FORM_OUTER_SWAPPED,
	FORM_REVERSED,
	FORM_COUNT
};

struct window {
	uint8_t bytes[WINDOW];
	uint32_t pattern;
	uint32_t form;
};

static struct window *windows;
static size_t window_count, window_size;
static uint32_t *slots; /* index of a window + 1 */
static size_t slot_mask;
static uint8_t filter[1 << (FILTER_BITS - 3)];

static uint64_t
load(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return (value);
}

static uint64_t
mix(uint64_t value)
{
	return (value * UINT64_C(0x9e3779b97f4a7c15));
}

/* --- what is looked for -------------------------------------------------- */

static void
window_add(const uint8_t *bytes, uint32_t pattern, uint32_t form)
{
	if (window_count == window_size) {
		window_size = window_size > 0 ? 2 * window_size : 4096;
		windows = reallocarray(windows, window_size, sizeof(*windows));
		if (windows == NULL)
			err(2, "memory");
	}
	memcpy(windows[window_count].bytes, bytes, WINDOW);
	windows[window_count].pattern = pattern;
	windows[window_count++].form = form;
}

static void
pattern_add(const uint8_t *bytes, size_t length, uint32_t pattern)
{
	static const uint8_t pads[] = { 0, 0, 0x36, 0x36, 0x5c, 0x5c, 0 };
	uint8_t changed[UINT16_MAX];
	size_t i;
	uint32_t form;

	for (form = 0; form < FORM_COUNT; form++) {
		for (i = 0; i < length; i++)
			changed[i] = bytes[i] ^ pads[form];
		if (form == FORM_REVERSED)
			for (i = 0; i < length; i++)
				changed[i] = bytes[length - 1 - i];
		if (form == FORM_SWAPPED || form == FORM_INNER_SWAPPED ||
		    form == FORM_OUTER_SWAPPED)
			for (i = 0; i + 4 <= length; i++)
				changed[i] =
				    bytes[(i & ~(size_t)3) + 3 - (i & 3)] ^
				    pads[form];
		for (i = 0; i + WINDOW <= length; i += STRIDE)
			window_add(changed + i, pattern, form);
	}
}

static void
patterns_read(const char *path)
{
	FILE *file = fopen(path, "r");
	uint8_t bytes[UINT16_MAX];
	uint16_t length;
	uint32_t pattern = 0;

	if (file == NULL)
		err(2, "%s", path);
	while (fread(&length, sizeof(length), 1, file) == 1) {
		if (fread(bytes, 1, length, file) != length || length < WINDOW)
			errx(2, "%s: pattern %u", path, pattern);
		pattern_add(bytes, length, pattern++);
	}
	(void)fclose(file);
}

static void
windows_index(void)
{
	size_t size = 1024, i, at;
	uint64_t hash;

	while (size < 2 * window_count)
		size *= 2;
	slot_mask = size - 1;
	if ((slots = calloc(size, sizeof(*slots))) == NULL)
		err(2, "memory");
	for (i = 0; i < window_count; i++) {
		hash = mix(load(windows[i].bytes));
		filter[hash >> (64 - FILTER_BITS + 3)] |=
		    (uint8_t)(1 << (hash >> (64 - FILTER_BITS) & 7));
		for (at = (size_t)hash & slot_mask; slots[at] != 0;
		     at = (at + 1) & slot_mask)
			;
		slots[at] = (uint32_t)i + 1;
	}
}

/* --- looking --------------------------------------------------------------- */

static void
report(const char *target, uint64_t base, const uint8_t *at, uint64_t hash)
{
	size_t slot;
	const struct window *window;

	for (slot = (size_t)hash & slot_mask; slots[slot] != 0;
	     slot = (slot + 1) & slot_mask) {
		window = &windows[slots[slot] - 1];
		if (memcmp(window->bytes, at, WINDOW) == 0)
			printf("hit %s %" PRIx64 " %u %u\n", target, base,
			    window->pattern, window->form);
	}
}

/* Look at every byte that begins a window; base names the first. */
static void
search(const char *target, uint64_t base, const uint8_t *bytes, size_t length)
{
	uint64_t value, hash;
	size_t i;

	for (i = 0; i + WINDOW <= length; i++) {
		if ((value = load(bytes + i)) == 0)
			continue;
		hash = mix(value);
		if (filter[hash >> (64 - FILTER_BITS + 3)] &
		    1 << (hash >> (64 - FILTER_BITS) & 7))
			report(target, base + i, bytes + i, hash);
	}
}

static uint64_t
search_mapping(
    const char *target, int fd, uint64_t from, uint64_t to, uint8_t *buffer)
{
	uint64_t at = from, got = 0;
	size_t kept = 0, want;
	ssize_t n;

	while (at < to) {
		want = to - at < CHUNK ? (size_t)(to - at) : CHUNK;
		n = pread(fd, buffer + kept, want, (off_t)at);
		if (n <= 0)
			break;
		search(target, at - kept, buffer, kept + (size_t)n);
		at += (uint64_t)n;
		got += (uint64_t)n;
		/* What may begin here and end in the next chunk. */
		want = kept + (size_t)n;
		kept = want < WINDOW - 1 ? want : WINDOW - 1;
		memmove(buffer, buffer + want - kept, kept);
	}
	return (got);
}

static void
search_process(const char *pid)
{
	char path[64], line[512];
	uint8_t *buffer = malloc(CHUNK + WINDOW);
	uint64_t from, to, got = 0;
	FILE *maps;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%s/mem", pid);
	if (buffer == NULL || (fd = open(path, O_RDONLY)) == -1)
		err(2, "%s", path);
	(void)snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	if ((maps = fopen(path, "r")) == NULL)
		err(2, "%s", path);
	while (fgets(line, sizeof(line), maps) != NULL) {
		char permission[8];

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to,
			permission) != 3)
			errx(2, "%s: %s", path, line);
		if (permission[0] != 'r' || strstr(line, "[v") != NULL)
			continue; /* [vvar], [vsyscall]: the kernel's */
		if (search_mapping(pid, fd, from, to, buffer) != to - from)
			errx(2, "unread: %s %s", pid, line);
		got += to - from;
	}
	(void)fclose(maps);
	(void)close(fd);
	free(buffer);
	printf("end %s %" PRIu64 "\n", pid, got);
}

static uint8_t *
file_read(const char *path, size_t *length)
{
	FILE *file = fopen(path, "r");
	uint8_t *bytes = NULL;
	size_t size = 0, n;

	*length = 0;
	if (file == NULL)
		err(2, "%s", path);
	do {
		size += CHUNK;
		if ((bytes = realloc(bytes, size)) == NULL)
			err(2, "memory");
		n = fread(bytes + *length, 1, size - *length, file);
		*length += n;
	} while (n == CHUNK);
	if (ferror(file))
		err(2, "%s", path);
	(void)fclose(file);
	return (bytes);
}

static void
search_file(const char *path)
{
	size_t length;
	uint8_t *bytes = file_read(path, &length);

	search(path, 0, bytes, length);
	printf("end %s %zu\n", path, length);
	free(bytes);
}

/* Take every offset for a nonce and look at what the rest becomes: all of it
 * when it begins like a record, else its first bytes (a wrapped key). */
static void
search_opened(const char *path, const uint8_t *keys, size_t key_count)
{
	const size_t nonce = crypto_stream_xchacha20_NONCEBYTES;
	size_t length, at, left, key;
	uint8_t *bytes = file_read(path, &length);
	uint8_t plain[OPEN_MAX];

	for (at = 0; at + nonce + WINDOW <= length; at++) {
		if (load(bytes + at) == 0)
			continue; /* no nonce, in 2^64 */
		for (key = 0; key < key_count; key++) {
			left = length - at - nonce;
			if (left > OPEN_HEAD)
				left = OPEN_HEAD;
			/* Block 0 is for the tag. */
			(void)crypto_stream_xchacha20_xor_ic(plain,
			    bytes + at + nonce, left, bytes + at, 1,
			    keys + 32 * key);
			if ((plain[0] << 8 | plain[1]) <= NAME_MAX_LENGTH) {
				left = length - at - nonce;
				if (left > OPEN_MAX)
					left = OPEN_MAX;
				(void)crypto_stream_xchacha20_xor_ic(plain,
				    bytes + at + nonce, left, bytes + at, 1,
				    keys + 32 * key);
			}
			search(path, at, plain, left);
		}
	}
	printf("end %s %zu\n", path, length);
	free(bytes);
}

int
main(int argc, char **argv)
{
	uint8_t *keys = NULL;
	size_t length = 0;
	int i = 3;

	if (argc < 3 || sodium_init() == -1)
		errx(2, "usage: scan PATTERNS mem|file|open ...");
	patterns_read(argv[1]);
	windows_index();
	if (strcmp(argv[2], "open") == 0 && argc > 3) {
		keys = file_read(argv[i++], &length);
		if (length == 0 || length % 32 != 0)
			errx(2, "%s: not keys", argv[3]);
	}
	for (; i < argc; i++) {
		if (strcmp(argv[2], "mem") == 0)
			search_process(argv[i]);
		else if (keys != NULL)
			search_opened(argv[i], keys, length / 32);
		else
			search_file(argv[i]);
	}
	return (0);
}
