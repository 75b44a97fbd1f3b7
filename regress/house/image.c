/* Tests only. See image.h. */

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "regress/house/image.h"

#define SECTOR  512
#define FILES   256
#define NAMES   64
#define PENDING 65536

struct file {
	uint8_t *bytes; /* what is on disk */
	size_t size;
	const struct call *pending[PENDING]; /* not yet synced */
	size_t count;
};

struct name {
	char name[CALLS_NAME];
	int file; /* -1: unused */
};

struct image {
	struct file *files[FILES];
	int numbers[FILES]; /* journal's to ours */
	int file_count;
	struct name now[NAMES]; /* as the process sees it */
	struct name disk[NAMES];
	const struct call *pending[PENDING]; /* of names */
	int pending_file[PENDING];
	size_t count;
};

static const uint8_t *
call_bytes(const struct call *call)
{
	return ((const uint8_t *)(call + 1));
}

static int
name_get(const struct name *names, const char *name)
{
	int i;

	for (i = 0; i < NAMES; i++)
		if (names[i].file != -1 && strcmp(names[i].name, name) == 0)
			return (names[i].file);
	return (-1);
}

static void
name_set(struct name *names, const char *name, int file)
{
	int i;

	for (i = 0; i < NAMES; i++)
		if (names[i].file != -1 && strcmp(names[i].name, name) == 0)
			names[i].file = -1;
	if (file == -1)
		return;
	for (i = 0; i < NAMES; i++)
		if (names[i].file == -1) {
			(void)snprintf(
			    names[i].name, sizeof(names[i].name), "%s", name);
			names[i].file = file;
			return;
		}
	errx(1, "image: too many names");
}

/* --- bytes --------------------------------------------------------------- */

static void
file_resize(struct file *file, size_t size)
{
	if (size > file->size) {
		if ((file->bytes = realloc(file->bytes, size)) == NULL)
			err(1, "image");
		memset(file->bytes + file->size, 0, size - file->size);
	}
	file->size = size;
}

/* One call on all of a file, or on one sector of it. */
static void
file_apply(struct file *file, const struct call *call, size_t from, size_t to)
{
	size_t start = call->offset, end = call->offset + call->length;

	if (call->kind == CALL_TRUNCATE) {
		if (from == 0)
			file_resize(file, call->offset);
		return;
	}
	if (start < from)
		start = from;
	if (end > to)
		end = to;
	if (start >= end)
		return;
	if (end > file->size)
		file_resize(file, end);
	memcpy(file->bytes + start, call_bytes(call) + (start - call->offset),
	    end - start);
}

static void
file_sync(struct file *file)
{
	size_t i;

	for (i = 0; i < file->count; i++)
		file_apply(file, file->pending[i], 0, SIZE_MAX);
	file->count = 0;
}

/* How many of the pending calls a sector has seen: by the file's luck. */
static size_t
sector_luck(size_t count, int luck, size_t common)
{
	switch (luck) {
	case 0:
		return (0);
	case 1:
		return (count);
	case 2:
		return (common);
	case 3:
		return (random() % 2 ? count : 0);
	}
	return ((size_t)random() % (count + 1));
}

static void
file_lose(struct file *file)
{
	size_t i, at, seen, reach = 0, common, count = file->count;
	int luck = (int)(random() % 5);

	common = (size_t)random() % (count + 1);
	for (i = 0; i < count; i++) {
		const struct call *call = file->pending[i];

		/* A new size is as a write of the names' journal: in order. */
		if (call->kind == CALL_TRUNCATE && i < common)
			file_apply(file, call, 0, SIZE_MAX);
		if (call->offset + call->length > reach)
			reach = call->offset + call->length;
	}
	for (at = 0; at < reach; at += SECTOR) {
		seen = sector_luck(count, luck, common);
		for (i = 0; i < seen; i++)
			if (file->pending[i]->kind == CALL_WRITE)
				file_apply(
				    file, file->pending[i], at, at + SECTOR);
	}
	file->count = 0;
}

/* --- names --------------------------------------------------------------- */

static void
names_apply(struct image *image, size_t i)
{
	const struct call *call = image->pending[i];

	switch (call->kind) {
	case CALL_CREATE:
		name_set(image->disk, call->name, image->pending_file[i]);
		break;
	case CALL_RENAME:
		name_set(image->disk, call->name, -1);
		name_set(image->disk, (const char *)call_bytes(call),
		    image->pending_file[i]);
		break;
	case CALL_UNLINK:
		name_set(image->disk, call->name, -1);
		break;
	}
}

/* The first count changes are on disk. */
static void
names_sync(struct image *image, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		names_apply(image, i);
	image->count -= count;
	memmove(image->pending, image->pending + count,
	    image->count * sizeof(image->pending[0]));
	memmove(image->pending_file, image->pending_file + count,
	    image->count * sizeof(image->pending_file[0]));
}

/* A file was synced: so are the changes of names up to its last. */
static void
names_sync_file(struct image *image, int file)
{
	size_t i, count = 0;

	for (i = 0; i < image->count; i++)
		if (image->pending_file[i] == file)
			count = i + 1;
	names_sync(image, count);
}

static void
names_lose(struct image *image, enum image_names names)
{
	size_t i, count = image->count;

	if (names == IMAGE_JOURNALLED) {
		names_sync(image, (size_t)random() % (count + 1));
		return;
	}
	for (i = 0; i < count; i++)
		if (random() % 2)
			names_apply(image, i);
}

/* --- the journal --------------------------------------------------------- */

static int
file_new(struct image *image)
{
	if (image->file_count == FILES)
		errx(1, "image: too many files");
	image->files[image->file_count] = calloc(1, sizeof(struct file));
	if (image->files[image->file_count] == NULL)
		err(1, "image");
	return (image->file_count++);
}

static void
names_change(struct image *image, const struct call *call, int file)
{
	if (image->count == PENDING)
		errx(1, "image: too many changes of names");
	image->pending[image->count] = call;
	image->pending_file[image->count++] = file;
}

static void
replay_name(struct image *image, const struct call *call)
{
	int file = name_get(image->now, call->name);

	switch (call->kind) {
	case CALL_CREATE:
		file = file_new(image);
		image->numbers[call->file % FILES] = file;
		name_set(image->now, call->name, file);
		break;
	case CALL_OPEN:
		if (file == -1)
			errx(1, "image: %s opened, never made", call->name);
		image->numbers[call->file % FILES] = file;
		return;
	case CALL_RENAME:
		name_set(image->now, call->name, -1);
		name_set(image->now, (const char *)call_bytes(call), file);
		break;
	case CALL_UNLINK:
		name_set(image->now, call->name, -1);
		break;
	}
	names_change(image, call, file);
}

static void
replay(struct image *image, const struct call *call, enum image_names names)
{
	struct file *file;
	int number = image->numbers[call->file % FILES];

	switch (call->kind) {
	case CALL_WRITE:
	case CALL_TRUNCATE:
		file = image->files[number];
		if (file->count == PENDING)
			errx(1, "image: too many writes without a sync");
		file->pending[file->count++] = call;
		break;
	case CALL_SYNC:
		file_sync(image->files[number]);
		if (names == IMAGE_JOURNALLED)
			names_sync_file(image, number);
		break;
	case CALL_SYNC_FOLDER:
		names_sync(image, image->count);
		break;
	default:
		replay_name(image, call);
	}
}

static void
write_files(const struct image *image, const char *folder)
{
	char path[700];
	const struct file *file;
	int i, fd;

	for (i = 0; i < NAMES; i++) {
		if (image->disk[i].file == -1)
			continue;
		file = image->files[image->disk[i].file];
		(void)snprintf(
		    path, sizeof(path), "%s/%s", folder, image->disk[i].name);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd == -1 ||
		    (file->size > 0 && write(fd, file->bytes, file->size) !=
					   (ssize_t)file->size) ||
		    close(fd) == -1)
			err(1, "%s", path);
	}
}

void
image_make(const struct calls *calls, const char *folder, enum image_loss loss,
    enum image_names names)
{
	struct image *image = calloc(1, sizeof(*image));
	uint64_t at = 0;
	int i;

	if (image == NULL)
		err(1, "image");
	for (i = 0; i < NAMES; i++)
		image->now[i].file = image->disk[i].file = -1;
	while (at < calls->used) {
		const struct call *call;

		call = (const struct call *)(const void *)(calls->bytes + at);
		replay(image, call, names);
		at += sizeof(*call) + ((call->length + 7) & ~UINT64_C(7));
	}
	if (loss == IMAGE_KEEP)
		names_sync(image, image->count);
	else if (loss == IMAGE_ANY)
		names_lose(image, names);
	for (i = 0; i < image->file_count; i++) {
		if (loss == IMAGE_KEEP)
			file_sync(image->files[i]);
		else if (loss == IMAGE_ANY)
			file_lose(image->files[i]);
	}
	write_files(image, folder);
	for (i = 0; i < image->file_count; i++) {
		free(image->files[i]->bytes);
		free(image->files[i]);
	}
	free(image);
}
