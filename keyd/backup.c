/*
 * keyd only. Writing and reading a backup; see backup.h. The file comes from
 * an operator and may be anything: nothing of it is used that its seal does
 * not cover, and nothing is kept before its end was seen.
 */

#include <sys/stat.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/util/buffer.h"
#include "keyd/backup.h"
#include "keyd/keyscan.h"
#include "keyd/secret.h"
#include "keyd/store.h"
#include "keyd/stretch.h"

#define BACKUP_MAGIC  "hermes-backup1\0" /* with its NULs 16 bytes */
#define BACKUP_FORMAT 1
#define STREAM_HEADER crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define OVERHEAD      crypto_secretstream_xchacha20poly1305_ABYTES
#define TAG_FINAL     crypto_secretstream_xchacha20poly1305_TAG_FINAL
#define PLAIN_MAX     (1 + 2 + STORE_RECORD_MAX)

_Static_assert(PLAIN_MAX <= SECRET_MAX, "a record fits a slot");

struct backup_secrets {
	uint8_t key[crypto_secretstream_xchacha20poly1305_KEYBYTES];
	crypto_secretstream_xchacha20poly1305_state stream;
};

struct backup {
	int fd;
	struct store *store;
	struct backup_secrets *secrets;
	uint8_t *plain; /* PLAIN_MAX bytes, locked */
	uint8_t head[STRETCH_HEAD];
	uint64_t records;
	enum store_table table; /* walked */
	const char *error;      /* worse than errno says */
};

static const enum store_table tables[] = { STORE_NODE, STORE_TICKET, STORE_NAME,
	STORE_PEER, STORE_REVOKED };
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static const char wrong_file[] = "this is not a backup of a node";
static const char wrong_key[] =
    "the passphrase is wrong, or the beginning of the backup is damaged";
static const char damaged[] = "the backup is damaged";
static const char cut_short[] = "the backup is cut short";
static const char no_memory[] = "no memory";

static int
backup_begin(struct backup *backup, int fd, struct store *store)
{
	memset(backup, 0, sizeof(*backup));
	backup->fd = fd;
	backup->store = store;
	backup->secrets = secret_new(sizeof(*backup->secrets));
	backup->plain = secret_new(SECRET_MAX);
	return (backup->secrets != NULL && backup->plain != NULL ? 0 : -1);
}

static void
backup_end(struct backup *backup)
{
	if (backup->secrets != NULL)
		keyscan_wiped(KEYSCAN_WRAPPING, backup->secrets->key,
		    sizeof(backup->secrets->key));
	secret_free(backup->secrets, sizeof(*backup->secrets));
	secret_free(backup->plain, SECRET_MAX);
}

/* The key, with the parameters in the header. NULL, or why not. */
static const char *
backup_stretch(
    struct backup *backup, const struct backup_passphrase *passphrase)
{
	if (stretch_key(backup->head, BACKUP_MAGIC, passphrase->bytes,
		passphrase->length, backup->secrets->key) == -1)
		return (errno == ENOMEM ? no_memory : wrong_file);
	keyscan_made(KEYSCAN_WRAPPING, backup->secrets->key,
	    sizeof(backup->secrets->key));
	return (NULL);
}

/* --- writing ------------------------------------------------------------ */

static int
write_all(int fd, const uint8_t *bytes, size_t length)
{
	ssize_t n;

	while (length > 0) {
		n = write(fd, bytes, length);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return (-1);
		bytes += n;
		length -= (size_t)n;
	}
	return (0);
}

/* Seal length bytes of backup->plain as the next frame. */
static int
write_frame(struct backup *backup, size_t length, uint8_t tag)
{
	uint8_t frame[4 + PLAIN_MAX + OVERHEAD];
	struct encoder e = { .bytes = frame, .size = 4 };

	encode_u32(&e, (uint32_t)(length + OVERHEAD));
	(void)crypto_secretstream_xchacha20poly1305_push(
	    &backup->secrets->stream, frame + 4, NULL, backup->plain, length,
	    backup->head, STRETCH_HEAD, tag);
	sodium_memzero(backup->plain, length);
	return (write_all(backup->fd, frame, 4 + length + OVERHEAD));
}

static int
write_record(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct backup *backup = arg;
	struct encoder e = { .bytes = backup->plain, .size = PLAIN_MAX };

	encode_u8(&e, (uint8_t)backup->table);
	encode_u8(&e, (uint8_t)(name_length >> 8));
	encode_u8(&e, (uint8_t)name_length);
	encode_bytes(&e, name, name_length);
	encode_bytes(&e, data, length);
	backup->records++;
	if (write_frame(backup, e.length, 0) == 0)
		return (0);
	backup->error = strerror(errno);
	return (-1);
}

/* Header and first frame. NULL, or why not. */
static const char *
write_head(struct backup *backup, const char *node_id,
    const struct backup_passphrase *passphrase, uint64_t ops, uint64_t memory,
    int64_t now)
{
	struct encoder e = { .bytes = backup->plain, .size = PLAIN_MAX };
	uint8_t stream[STREAM_HEADER];
	char name[NODE_ID_SIZE] = "";
	const char *error;

	stretch_head(backup->head, BACKUP_MAGIC, ops, memory);
	if ((error = backup_stretch(backup, passphrase)) != NULL)
		return (error);
	(void)crypto_secretstream_xchacha20poly1305_init_push(
	    &backup->secrets->stream, stream, backup->secrets->key);
	(void)strlcpy(name, node_id, sizeof(name));
	encode_u32(&e, BACKUP_FORMAT);
	encode_bytes(&e, name, sizeof(name));
	encode_u64(&e, (uint64_t)now);
	if (write_all(backup->fd, backup->head, STRETCH_HEAD) == -1 ||
	    write_all(backup->fd, stream, sizeof(stream)) == -1 ||
	    write_frame(backup, e.length, 0) == -1)
		return (strerror(errno));
	return (NULL);
}

static const char *
write_tables(struct backup *backup)
{
	struct encoder e = { .bytes = backup->plain, .size = PLAIN_MAX };
	size_t i;

	for (i = 0; i < TABLES; i++) {
		backup->table = tables[i];
		if (store_walk(
			backup->store, tables[i], write_record, backup) == -1)
			return (backup->error != NULL ? backup->error
						      : store_failed_text());
	}
	encode_u64(&e, backup->records);
	if (write_frame(backup, e.length, TAG_FINAL) == -1 ||
	    fsync(backup->fd) == -1)
		return (strerror(errno));
	return (NULL);
}

const char *
backup_write(int fd, struct store *store, const char *node_id,
    const struct backup_passphrase *passphrase, uint64_t ops, uint64_t memory,
    int64_t now, size_t *records)
{
	struct backup backup;
	struct stat st;
	const char *error = no_memory;

	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || st.st_size != 0)
		return ("the file is not an empty one");
	if (backup_begin(&backup, fd, store) == 0 &&
	    (error = write_head(
		 &backup, node_id, passphrase, ops, memory, now)) == NULL)
		error = write_tables(&backup);
	*records = (size_t)backup.records;
	backup_end(&backup);
	return (error);
}

/* --- reading ------------------------------------------------------------ */

/* 1, 0 at the end of the file, -1 when it ends too early or cannot be read. */
static int
read_all(int fd, uint8_t *bytes, size_t length)
{
	size_t have = 0;
	ssize_t n;

	while (have < length) {
		n = read(fd, bytes + have, length - have);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 || (n == 0 && have > 0))
			return (-1);
		if (n == 0)
			return (0);
		have += (size_t)n;
	}
	return (1);
}

/* Open the next frame into backup->plain. NULL, or what is wrong. */
static const char *
read_frame(struct backup *backup, size_t *length, uint8_t *tag)
{
	uint8_t frame[PLAIN_MAX + OVERHEAD], size[4];
	struct decoder d = { .bytes = size, .length = sizeof(size) };
	unsigned long long plain;
	size_t sealed;

	if (read_all(backup->fd, size, sizeof(size)) != 1)
		return (cut_short);
	sealed = decode_u32(&d);
	if (sealed < OVERHEAD || sealed > sizeof(frame))
		return (damaged);
	if (read_all(backup->fd, frame, sealed) != 1)
		return (cut_short);
	if (crypto_secretstream_xchacha20poly1305_pull(&backup->secrets->stream,
		backup->plain, &plain, tag, frame, sealed, backup->head,
		STRETCH_HEAD) != 0)
		return (damaged);
	*length = (size_t)plain;
	return (NULL);
}

/* Header and first frame: is it of this node? NULL, or why not. */
static const char *
read_head(struct backup *backup, const char *node_id,
    const struct backup_passphrase *passphrase)
{
	struct decoder d = { .bytes = backup->plain };
	uint8_t stream[STREAM_HEADER], tag;
	char name[NODE_ID_SIZE];
	static char other[64 + NODE_ID_SIZE];
	const char *error;

	if (read_all(backup->fd, backup->head, STRETCH_HEAD) != 1 ||
	    memcmp(backup->head, BACKUP_MAGIC, STRETCH_MAGIC) != 0)
		return (wrong_file);
	if ((error = backup_stretch(backup, passphrase)) != NULL)
		return (error);
	if (read_all(backup->fd, stream, sizeof(stream)) != 1)
		return (cut_short);
	if (crypto_secretstream_xchacha20poly1305_init_pull(
		&backup->secrets->stream, stream, backup->secrets->key) != 0)
		return (wrong_key);
	if ((error = read_frame(backup, &d.length, &tag)) != NULL)
		return (error == damaged ? wrong_key : error);
	if (decode_u32(&d) != BACKUP_FORMAT)
		return ("the backup is of another version of Hermes");
	decode_bytes(&d, name, sizeof(name));
	(void)decode_u64(&d);
	if (decode_done(&d) == -1 || tag != 0 ||
	    memchr(name, '\0', sizeof(name)) == NULL)
		return (damaged);
	if (strcmp(name, node_id) != 0) {
		(void)strlcpy(
		    other, "the backup is of the node ", sizeof(other));
		(void)strlcat(other, name, sizeof(other));
		return (other);
	}
	return (NULL);
}

static int
table_is_kept(uint8_t table)
{
	size_t i;

	for (i = 0; i < TABLES; i++)
		if (table == tables[i])
			return (1);
	return (0);
}

/* Put the record in backup->plain. NULL, or why not. */
static const char *
read_record(struct backup *backup, size_t length)
{
	uint8_t *plain = backup->plain, *data;
	size_t name_length;

	if (length < 3 || !table_is_kept(plain[0]))
		return (damaged);
	name_length = (size_t)plain[1] << 8 | plain[2];
	if (name_length > length - 3)
		return (damaged);
	data = plain + 3 + name_length;
	length -= 3 + name_length;
	if (plain[0] == STORE_NODE)
		identity_skip(plain + 3, name_length, data, length);
	backup->records++;
	return (store_put(backup->store, (enum store_table)plain[0], plain + 3,
		    name_length, data, length) == -1
		    ? store_failed_text()
		    : NULL);
}

static const char *
read_records(struct backup *backup)
{
	struct decoder d = { .bytes = backup->plain };
	uint8_t tag = 0, more;
	const char *error;
	size_t length;

	for (;;) {
		if ((error = read_frame(backup, &length, &tag)) != NULL)
			return (error);
		if (tag == TAG_FINAL)
			break;
		if (tag != 0)
			return (damaged);
		if ((error = read_record(backup, length)) != NULL)
			return (error);
	}
	d.length = length;
	if (decode_u64(&d) != backup->records || decode_done(&d) == -1 ||
	    read_all(backup->fd, &more, 1) != 0)
		return (damaged);
	return (NULL);
}

/* --- what was there before ---------------------------------------------- */

static int
collect_name(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	uint16_t size = (uint16_t)name_length;

	(void)data;
	(void)length;
	if (buffer_append(arg, &size, sizeof(size)) == -1 ||
	    buffer_append(arg, name, name_length) == -1)
		return (-1);
	return (0);
}

static int
clear_table(struct store *store, enum store_table table)
{
	struct buffer names;
	const uint8_t *at;
	uint16_t size;
	int result;

	/* A walk must not change what it walks over. */
	buffer_init(&names);
	result = store_walk(store, table, collect_name, &names);
	while (result == 0 && buffer_length(&names) > 0) {
		at = buffer_bytes(&names);
		memcpy(&size, at, sizeof(size));
		result = store_delete(store, table, at + sizeof(size), size);
		buffer_consume(&names, sizeof(size) + size);
	}
	buffer_free(&names);
	return (result);
}

static int
clear_all(struct store *store)
{
	int table;

	for (table = STORE_NODE; table <= STORE_REVOKED; table++)
		if (clear_table(store, (enum store_table)table) == -1)
			return (-1);
	return (0);
}

static int
find_any(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	static const char mesh[] = "mesh";
	int *found = arg;

	(void)data;
	(void)length;
	/* Of the node's own records only membership counts. */
	if (*found != STORE_NODE || (name_length == sizeof(mesh) - 1 &&
					memcmp(name, mesh, name_length) == 0))
		*found = 0;
	return (*found == 0 ? -1 : 0);
}

int
backup_store_is_new(struct store *store)
{
	int table, found;

	for (table = STORE_NODE; table <= STORE_REVOKED; table++) {
		found = table;
		if (store_walk(
			store, (enum store_table)table, find_any, &found) == -1)
			return (found == 0 ? 0 : -1);
	}
	return (1);
}

const char *
backup_read(int fd, struct store *store, const char *node_id,
    const struct backup_passphrase *passphrase, size_t *records)
{
	struct backup backup;
	struct stat st;
	const char *error = no_memory;

	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		return (wrong_file);
	if (backup_begin(&backup, fd, store) == 0 &&
	    (error = read_head(&backup, node_id, passphrase)) == NULL) {
		error = clear_all(store) == -1 ? store_failed_text()
					       : read_records(&backup);
		if (error == NULL && !identity_is_whole(store))
			error = damaged;
		if (error == NULL && store_commit(store, 1) == -1)
			error = store_failed_text();
		if (error != NULL)
			store_abort(store);
	}
	*records = (size_t)backup.records;
	backup_end(&backup);
	return (error);
}
