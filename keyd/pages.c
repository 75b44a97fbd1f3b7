/*
 * keyd only, as its own user, in its own folder. Pages of the database on
 * their way to disk; see pages.h. The side file: magic, number of pages,
 * BLAKE2b-256 of the rest; then for each page its offset, its length and its
 * bytes. What it holds is sealed, as all in the database.
 */

#include <sys/stat.h>

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/util/log.h"
#include "common/util/table.h"
#include "keyd/file.h"
#include "keyd/pages.h"

#define PAGES_MAGIC "hermes-pages-v1" /* with its NUL 16 bytes */
#define HEAD_SIZE   (16 + 8 + crypto_generichash_BYTES)
#define ENTRY_SIZE  (8 + 8)
#define PAGE_MAX    65536
#define HELD_MAX    512 /* pages, before they are written early */
#define DESCRIPTORS 1024
#define PATH_SIZE   1024

struct page {
	uint64_t offset;
	uint64_t length;
	uint8_t bytes[];
};

/* One database that is open. */
struct pages {
	struct pages *next;
	char path[PATH_SIZE];
	int users; /* descriptors */
	int side;
	struct table held; /* offset: struct page */
};

static struct {
	struct pages *first;
	struct pages *of[DESCRIPTORS];
	char made_in[PATH_SIZE]; /* folder of a file made; "" synced */
} open_files;

static void
entry_head(uint64_t offset, uint64_t length, uint8_t out[ENTRY_SIZE])
{
	struct encoder e = { .bytes = out, .size = ENTRY_SIZE };

	encode_u64(&e, offset);
	encode_u64(&e, length);
}

/* --- writing ------------------------------------------------------------ */

static struct pages *
pages_of(int fd)
{
	return (fd < 0 || fd >= DESCRIPTORS ? NULL : open_files.of[fd]);
}

static void
held_drop(struct pages *pages)
{
	struct page *page;
	size_t cursor = 0;

	while ((page = table_next(&pages->held, &cursor)) != NULL) {
		(void)table_remove(&pages->held, &page->offset);
		free(page);
	}
}

/* All held pages to the side file. */
static int
side_write(const struct pages *pages)
{
	struct encoder e = { .size = HEAD_SIZE };
	const struct page *page;
	size_t cursor = 0, size = HEAD_SIZE, at = HEAD_SIZE;
	uint8_t *file;
	int result = -1;

	while ((page = table_next(&pages->held, &cursor)) != NULL)
		size += ENTRY_SIZE + page->length;
	if ((file = malloc(size)) == NULL)
		return (-1);
	cursor = 0;
	while ((page = table_next(&pages->held, &cursor)) != NULL) {
		entry_head(page->offset, page->length, file + at);
		memcpy(file + at + ENTRY_SIZE, page->bytes, page->length);
		at += ENTRY_SIZE + page->length;
	}
	e.bytes = file;
	encode_bytes(&e, PAGES_MAGIC, 16);
	encode_u64(&e, pages->held.count);
	(void)crypto_generichash(file + 24, crypto_generichash_BYTES,
	    file + HEAD_SIZE, size - HEAD_SIZE, NULL, 0);
	if (file_write(pages->side, 0, file, size) == 0)
		result = fdatasync(pages->side);
	free(file);
	return (result);
}

/* All held pages to their places, safely. */
static int
pages_flush(struct pages *pages, int fd)
{
	const struct page *page;
	size_t cursor = 0;

	if (pages->held.count == 0)
		return (fdatasync(fd));
	if (side_write(pages) == -1)
		return (-1);
	while ((page = table_next(&pages->held, &cursor)) != NULL)
		if (file_write(fd, (off_t)page->offset, page->bytes,
			page->length) == -1)
			return (-1);
	if (fdatasync(fd) == -1)
		return (-1);
	held_drop(pages);
	return (0);
}

/* --- what Berkeley DB calls --------------------------------------------- */

static struct pages *
pages_open(const char *path)
{
	struct pages *pages;
	char side[PATH_SIZE + sizeof(PAGES_SIDE)];

	for (pages = open_files.first; pages != NULL; pages = pages->next)
		if (strcmp(pages->path, path) == 0)
			return (pages);
	if ((pages = calloc(1, sizeof(*pages))) == NULL)
		return (NULL);
	table_init(&pages->held, sizeof(uint64_t));
	(void)strlcpy(side, path, sizeof(side));
	(void)strlcpy(side + strlen(path) - strlen(PAGES_DATABASE), PAGES_SIDE,
	    sizeof(PAGES_SIDE));
	pages->side =
	    open(side, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (pages->side == -1 ||
	    strlcpy(pages->path, path, sizeof(pages->path)) >=
		sizeof(pages->path)) {
		if (pages->side != -1)
			(void)close(pages->side);
		free(pages);
		return (NULL);
	}
	pages->next = open_files.first;
	open_files.first = pages;
	return (pages);
}

static void
pages_close(struct pages *pages)
{
	struct pages **link = &open_files.first;

	while (*link != pages)
		link = &(*link)->next;
	*link = pages->next;
	held_drop(pages);
	table_free(&pages->held);
	(void)close(pages->side);
	free(pages);
}

/* Berkeley DB syncs files that it makes, but never their names. */
static void
made(const char *path)
{
	char *slash;

	if (strlcpy(open_files.made_in, path, PATH_SIZE) >= PATH_SIZE ||
	    (slash = strrchr(open_files.made_in, '/')) == NULL)
		(void)strlcpy(open_files.made_in, ".", PATH_SIZE);
	else
		*slash = '\0';
}

static int
made_sync(void)
{
	int fd, result;

	if (open_files.made_in[0] == '\0')
		return (0);
	fd = open(open_files.made_in, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return (-1);
	result = fsync(fd);
	(void)close(fd);
	if (result == 0)
		open_files.made_in[0] = '\0';
	return (result);
}

static int
is_database(const char *path)
{
	const char *base = strrchr(path, '/');

	return (strcmp(base == NULL ? path : base + 1, PAGES_DATABASE) == 0);
}

static int
hook_open(const char *path, int flags, ...)
{
	struct pages *pages;
	va_list ap;
	mode_t mode;
	int fd;

	va_start(ap, flags);
	mode = (mode_t)va_arg(ap, int);
	va_end(ap);
	fd = open(path, flags, mode);
	if (fd != -1 && (flags & O_CREAT))
		made(path);
	if (fd == -1 || !is_database(path))
		return (fd);
	if (fd >= DESCRIPTORS || (pages = pages_open(path)) == NULL) {
		(void)close(fd);
		errno = EMFILE;
		return (-1);
	}
	pages->users++;
	open_files.of[fd] = pages;
	/* Berkeley DB reads the first page by itself. */
	if (pages->held.count > 0 && (flags & O_ACCMODE) == O_RDWR)
		(void)pages_flush(pages, fd);
	return (fd);
}

/* Of this, of a sync and of a truncation it wants the errno as the result. */
static int
hook_close(int fd)
{
	struct pages *pages = pages_of(fd);
	int error = 0;

	if (pages != NULL) {
		open_files.of[fd] = NULL;
		if (--pages->users == 0) {
			if (pages->held.count > 0 &&
			    pages_flush(pages, fd) == -1)
				error = errno;
			pages_close(pages);
		}
	}
	return (close(fd) == -1 ? errno : error);
}

static ssize_t
hook_pread(int fd, void *bytes, size_t length, off_t offset)
{
	struct pages *pages = pages_of(fd);
	uint64_t at = (uint64_t)offset;
	const struct page *page;

	if (pages == NULL || pages->held.count == 0)
		return (pread(fd, bytes, length, offset));
	page = table_get(&pages->held, &at);
	if (page == NULL)
		return (pread(fd, bytes, length, offset));
	if (length > page->length)
		length = page->length;
	memcpy(bytes, page->bytes, length);
	return ((ssize_t)length);
}

static ssize_t
hook_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
	struct pages *pages = pages_of(fd);
	uint64_t at = (uint64_t)offset;
	struct page *page;

	if (pages == NULL)
		return (pwrite(fd, bytes, length, offset));
	if (length > PAGE_MAX) {
		errno = EINVAL;
		return (-1);
	}
	page = table_get(&pages->held, &at);
	if (page != NULL && page->length != length) {
		errno = EINVAL;
		return (-1);
	}
	if (page == NULL) {
		if (pages->held.count >= HELD_MAX &&
		    pages_flush(pages, fd) == -1)
			return (-1);
		if ((page = malloc(sizeof(*page) + length)) == NULL)
			return (-1);
		page->offset = at;
		page->length = length;
		if (table_put(&pages->held, &page->offset, page) == -1) {
			free(page);
			return (-1);
		}
	}
	memcpy(page->bytes, bytes, length);
	return ((ssize_t)length);
}

static int
hook_fsync(int fd)
{
	struct pages *pages = pages_of(fd);

	if ((pages == NULL ? fdatasync(fd) : pages_flush(pages, fd)) == -1 ||
	    made_sync() == -1)
		return (errno);
	return (0);
}

static int
hook_ftruncate(int fd, off_t length)
{
	struct pages *pages = pages_of(fd);

	if ((pages != NULL && pages_flush(pages, fd) == -1) ||
	    ftruncate(fd, length) == -1)
		return (errno);
	return (0);
}

int
pages_hook(void)
{
	return (db_env_set_func_open(hook_open) == 0 &&
			db_env_set_func_close(hook_close) == 0 &&
			db_env_set_func_pread(hook_pread) == 0 &&
			db_env_set_func_pwrite(hook_pwrite) == 0 &&
			db_env_set_func_fsync(hook_fsync) == 0 &&
			db_env_set_func_ftruncate(hook_ftruncate) == 0
		    ? 0
		    : -1);
}

/* --- after a crash ------------------------------------------------------ */

/* Is the side file whole? Its number of pages, or 0. */
static uint64_t
side_check(int side, uint8_t *bytes)
{
	crypto_generichash_state state;
	uint8_t head[HEAD_SIZE], entry[ENTRY_SIZE];
	uint8_t hash[crypto_generichash_BYTES];
	struct decoder d = { .bytes = head, .length = sizeof(head) };
	char magic[16];
	uint64_t count, i, length;
	off_t at = HEAD_SIZE;

	if (file_read(side, 0, head, sizeof(head)) == -1)
		return (0);
	decode_bytes(&d, magic, sizeof(magic));
	count = decode_u64(&d);
	if (memcmp(magic, PAGES_MAGIC, sizeof(magic)) != 0)
		return (0);
	(void)crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	for (i = 0; i < count; i++) {
		struct decoder ed = { .bytes = entry, .length = ENTRY_SIZE };

		if (file_read(side, at, entry, ENTRY_SIZE) == -1)
			return (0);
		(void)decode_u64(&ed);
		length = decode_u64(&ed);
		if (length > PAGE_MAX ||
		    file_read(side, at + ENTRY_SIZE, bytes, length) == -1)
			return (0);
		(void)crypto_generichash_update(&state, entry, ENTRY_SIZE);
		(void)crypto_generichash_update(&state, bytes, length);
		at += ENTRY_SIZE + (off_t)length;
	}
	(void)crypto_generichash_final(&state, hash, sizeof(hash));
	return (memcmp(hash, head + 24, sizeof(hash)) == 0 ? count : 0);
}

/* Put count pages in place. */
static int
side_apply(int side, int database, uint64_t count, uint8_t *bytes)
{
	uint8_t entry[ENTRY_SIZE];
	uint64_t offset, length;
	off_t at = HEAD_SIZE;

	for (; count > 0; count--) {
		struct decoder d = { .bytes = entry, .length = ENTRY_SIZE };

		if (file_read(side, at, entry, ENTRY_SIZE) == -1)
			return (-1);
		offset = decode_u64(&d);
		length = decode_u64(&d);
		if (length > PAGE_MAX ||
		    file_read(side, at + ENTRY_SIZE, bytes, length) == -1 ||
		    file_write(database, (off_t)offset, bytes, length) == -1)
			return (-1);
		at += ENTRY_SIZE + (off_t)length;
	}
	return (fdatasync(database));
}

int
pages_recover(int folder)
{
	uint8_t *bytes = malloc(PAGE_MAX);
	int side, database = -1, result = -1, saved;
	uint64_t count;

	if (bytes == NULL)
		return (-1);
	side = openat(folder, PAGES_SIDE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (side == -1) {
		result = errno == ENOENT ? 0 : -1;
		goto done;
	}
	database =
	    openat(folder, PAGES_DATABASE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (database == -1 && errno != ENOENT)
		goto done;
	count = database == -1 ? 0 : side_check(side, bytes);
	if (count > 0 && side_apply(side, database, count, bytes) == -1)
		goto done;
	/* In place they are: once is enough. */
	result = ftruncate(side, 0);
done:
	saved = errno;
	free(bytes);
	if (side != -1)
		(void)close(side);
	if (database != -1)
		(void)close(database);
	errno = saved;
	return (result);
}
