/*
 * keyd only, in the build of the keyscan test only; see keyscan.h. A record
 * of the journal: u8 1 (made) or 0 (wiped), u8 kind, u16 length, the key,
 * written straight from where the key is, so that the journal itself makes
 * no copy.
 */

#include "keyd/keyscan.h"

#ifdef HERMES_KEYSCAN

#include <sys/uio.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/util/log.h"

static int journal = -1;

static void
keyscan_write(int made, enum keyscan_kind kind, const void *key, size_t length)
{
	struct {
		uint8_t made;
		uint8_t kind;
		uint16_t length;
	} head = { (uint8_t)made, (uint8_t)kind, (uint16_t)length };
	struct iovec parts[2] = { { &head, sizeof(head) },
		{ (void *)(uintptr_t)key, length } };

	if (journal == -1)
		return; /* a unit test */
	if (writev(journal, parts, 2) != (ssize_t)(sizeof(head) + length))
		fatal("keyscan", "error=\"%s\"", strerror(errno));
}

void
keyscan_open(const char *folder)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/keyscan", folder);
	journal = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (journal == -1)
		fatal("keyscan", "path=%s error=\"%s\"", path, strerror(errno));
	keyscan_write(1, KEYSCAN_START, NULL, 0);
}

void
keyscan_made(enum keyscan_kind kind, const void *key, size_t length)
{
	if (!sodium_is_zero(key, length))
		keyscan_write(1, kind, key, length);
}

void
keyscan_wiped(enum keyscan_kind kind, const void *key, size_t length)
{
	if (!sodium_is_zero(key, length))
		keyscan_write(0, kind, key, length);
}

#endif
