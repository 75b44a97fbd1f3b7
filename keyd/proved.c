/*
 * keyd only. What takes more than a place at control's door: to have the
 * node's keys written to a file, to have them replaced, to have the store
 * open to another passphrase. Whoever asks proves that he has the store's
 * own passphrase, each time; a control process that lies gets nothing.
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "keyd/backup.h"
#include "keyd/chats.h"
#include "keyd/keyd.h"
#include "keyd/keyscan.h"
#include "keyd/secret.h"
#include "keyd/store.h"

/* For the next request, unread; -1: none. */
static struct {
	int store; /* the store's */
	int other; /* the backup's, or the store's next one */
} given = { -1, -1 };

static void
give(int *slot, void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;

	if (*slot != -1)
		(void)close(*slot);
	*slot = message->fd;
	keyd_answer(((struct proc_door *)arg)->ipc, request->id, 1, 0, "");
}

void
proved_forget(void)
{
	if (given.store != -1)
		(void)close(given.store);
	if (given.other != -1)
		(void)close(given.other);
	given.store = given.other = -1;
}

void
proved_store_passphrase(void *arg, const struct ipc_message *message)
{
	give(&given.store, arg, message);
}

void
proved_other_passphrase(void *arg, const struct ipc_message *message)
{
	give(&given.other, arg, message);
}

/* Both passphrases are used up. The other one to out, SECRET_MAX bytes, with
 * its length; NULL, or why the request is refused. */
static const char *
prove(char *out, size_t *length)
{
	int store = given.store, other = given.other;
	const char *error;

	given.store = given.other = -1;
	*length = 0;
	if (keyd.chats == NULL)
		error = KEYD_LOCKED;
	else if (store == -1 || other == -1)
		error = "a passphrase is missing";
	else if ((error = unlock_prove(store)) == NULL) {
		*length = unlock_read(other, out);
		if (*length > 0) {
			keyscan_made(KEYSCAN_PASSPHRASE, out, *length);
			return (NULL);
		}
		return ("the passphrase is empty, too long or cannot be read");
	} else
		store = -1; /* closed */
	if (store != -1)
		(void)close(store);
	if (other != -1)
		(void)close(other);
	return (error);
}

/* Prove, then do it with the other passphrase. NULL, or why not. */
static const char *
with_proof(
    const char *(*run)(void *arg, const char *bytes, size_t length), void *arg)
{
	char *bytes = secret_new(SECRET_MAX);
	const char *error = "no memory";
	size_t length;

	if (bytes == NULL)
		return (error);
	if ((error = prove(bytes, &length)) == NULL) {
		error = run(arg, bytes, length);
		keyscan_wiped(KEYSCAN_PASSPHRASE, bytes, length);
	}
	secret_free(bytes, SECRET_MAX);
	return (error);
}

/* --- backups ------------------------------------------------------------- */

struct file_request {
	int fd;
	int force;
	size_t records; /* out */
};

static const char *
backup_run(void *arg, const char *bytes, size_t length)
{
	const struct config_keystore *config = &proc_config()->keystore;
	struct backup_passphrase passphrase = { bytes, length };
	struct file_request *file = arg;

	return (backup_write(file->fd, keyd.store, keyd.identity.node_id,
	    &passphrase, config->argon2_ops, config->argon2_memory,
	    clock_wall(), &file->records));
}

void
proved_backup(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	struct file_request file = { .fd = message->fd };
	const char *error = with_proof(backup_run, &file);

	(void)close(message->fd);
	log_info("backup", "records=%zu error=\"%s\"", file.records,
	    error == NULL ? "" : error);
	keyd_answer(((struct proc_door *)arg)->ipc, request->id, error == NULL,
	    file.records, error == NULL ? "backup written" : error);
}

static const char *
restore_run(void *arg, const char *bytes, size_t length)
{
	struct backup_passphrase passphrase = { bytes, length };
	struct file_request *file = arg;

	/* All that is known is in the store now, and nothing is half done. */
	if (chats_commit(keyd.chats) == -1)
		return (store_failed_text());
	if (!file->force && backup_store_is_new(keyd.store) != 1)
		return ("this node has a mesh or chats already; --force "
			"replaces all it has");
	return (backup_read(file->fd, keyd.store, proc_config()->node_id,
	    &passphrase, &file->records));
}

void
proved_restore(void *arg, const struct ipc_message *message)
{
	const struct ipc_restore *restore = message->payload;
	struct file_request file = { .fd = message->fd,
		.force = restore->force != 0 };
	const char *error = with_proof(restore_run, &file);

	(void)close(message->fd);
	log_warn("restore", "records=%zu error=\"%s\"", file.records,
	    error == NULL ? "" : error);
	if (error == NULL)
		unlock_again();
	keyd_answer(((struct proc_door *)arg)->ipc, restore->id, error == NULL,
	    file.records, error == NULL ? "restored" : error);
}

/* --- another passphrase --------------------------------------------------- */

static const char *
change_run(void *arg, const char *bytes, size_t length)
{
	const struct config_keystore *config = &proc_config()->keystore;
	static char text[256];
	int changed;

	(void)arg;
	changed = store_change_passphrase(keyd.store, bytes, length,
	    config->argon2_ops, config->argon2_memory);
	if (changed == -1) {
		(void)snprintf(text, sizeof(text),
		    "%s; the passphrase is the old one", store_failed_text());
		return (text);
	}
	/* The old one and an old copy of the folder open nothing newer. */
	if (changed == 1 || keyd_erase_now() == -1)
		return ("the passphrase is the new one, but what the old one "
			"opens is destroyed only at the next start");
	return (NULL);
}

void
proved_passphrase_change(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	const char *error = with_proof(change_run, NULL);

	log_warn(
	    "passphrase_change", "error=\"%s\"", error == NULL ? "" : error);
	keyd_answer(((struct proc_door *)arg)->ipc, request->id, error == NULL,
	    0, error == NULL ? "passphrase changed" : error);
}
