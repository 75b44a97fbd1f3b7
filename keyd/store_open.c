/*
 * keyd only, as its own user, in its own folder. Opening and closing the
 * sealed store, and saying what is wrong with it; see store.h. The environment
 * is private to the process (no shared region, no locks inside): flock(2) on
 * the file "lock" keeps others out, whatever way the last owner died.
 */

#include <sys/file.h>
#include <sys/stat.h>

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util/log.h"
#include "keyd/pages.h"
#include "keyd/seal.h"
#include "keyd/secret.h"
#include "keyd/store.h"
#include "keyd/store_internal.h"

#define STORE_FILE    PAGES_DATABASE
/* A fifth of what 100,000 chats are on disk; their counters. Berkeley DB takes
 * a quarter more than it is told. */
#define CACHE_SIZE    (32 * 1024 * 1024)
/* What is over a quarter of a page goes to one of its own: the cold record of
 * a chat, up to 1.4 KB, must not. */
#define PAGE_SIZE     8192
#define LOG_FILE_SIZE (4 * 1024 * 1024)

/* --- what is wrong ------------------------------------------------------ */

enum store_error
store_error_of(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return (STORE_NO_ROOM);
	case EROFS:
		return (STORE_READ_ONLY);
	case EPROTONOSUPPORT:
		return (STORE_VERSION);
	case 0:
	case EACCES:
	case EINVAL:
		return (STORE_DAMAGED);
	}
	return (STORE_SYSTEM);
}

const char *
store_error_text(enum store_error error)
{
	static char text[128];

	switch (error) {
	case STORE_OK:
		return ("no error");
	case STORE_FOLDER:
		return ("the folder or a file in it is missing, another "
			"user's, or open to others (mode 0700 wanted)");
	case STORE_BUSY:
		return ("another process has the store open: stop the "
			"other hermesd");
	case STORE_PASSPHRASE:
		return ("wrong passphrase");
	case STORE_DAMAGED:
		return ("the store is damaged: put a backup back");
	case STORE_NO_ROOM:
		return ("no room on its disk, or no quota: nothing is lost; "
			"make room beside it, delete nothing in it");
	case STORE_READ_ONLY:
		return ("its file system is read-only: mount it for writing");
	case STORE_VERSION:
		return ("another version of hermesd wrote it: start that one, "
			"nothing is damaged");
	case STORE_SYSTEM:
		break;
	}
	(void)snprintf(
	    text, sizeof(text), "the system refused: %s", strerror(errno));
	return (text);
}

const char *
store_failed_text(void)
{
	enum store_error why = store_error_of(errno);
	static char text[192];

	/* It was opened: what a call for it says is not that. */
	(void)snprintf(text, sizeof(text), "the store failed: %s",
	    store_error_text(why == STORE_DAMAGED ? STORE_SYSTEM : why));
	return (text);
}

static void
store_message(const DB_ENV *env, const char *prefix, const char *text)
{
	char safe[LOG_TEXT_SIZE];

	(void)env;
	(void)prefix;
	log_warn(
	    "store_message", "text=\"%s\"", log_text(safe, text, strlen(text)));
}

/* Once it has given up, Berkeley DB says no more than that: the cause is told
 * here, before. Its own codes are negative. */
static void
store_event(DB_ENV *env, uint32_t event, void *info)
{
	struct store *store = env->app_private;
	const int *error = info;

	if (event == DB_EVENT_PANIC && !store->broken) {
		store->broken = 1;
		store->why = error != NULL && *error > 0 ? *error : 0;
	}
}

int
store_check(struct store *store, const char *call, int status)
{
	if (status == 0)
		return (0);
	if (status == DB_RUNRECOVERY)
		store->broken = 1;
	if (status == DB_RUNRECOVERY && store->why != 0)
		status = store->why;
	log_error(
	    "store_failed", "call=%s error=\"%s\"", call, db_strerror(status));
	errno = status > 0 ? status : EINVAL;
	return (-1);
}

/* --- open and close ----------------------------------------------------- */

/* Of errno, while no record has been looked at. */
static enum store_error
open_error(void)
{
	return (errno == EACCES || errno == EPERM ? STORE_FOLDER
						  : store_error_of(errno));
}

static enum store_error
folder_open(struct store *store, const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == -1 && errno != EEXIST)
		return (STORE_FOLDER);
	store->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->folder == -1 || fstat(store->folder, &st) == -1)
		return (STORE_FOLDER);
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return (STORE_FOLDER);
	store->lock = openat(store->folder, "lock",
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (store->lock == -1)
		return (open_error());
	if (flock(store->lock, LOCK_EX | LOCK_NB) == -1)
		return (errno == EWOULDBLOCK ? STORE_BUSY : STORE_SYSTEM);
	return (STORE_OK);
}

static int
database_open(struct store *store, const char *path)
{
	int status;

	if (pages_recover(store->folder) == -1 || pages_hook() == -1)
		return (store_check(store, "pages", errno));
	if ((status = db_env_create(&store->env, 0)) != 0)
		return (store_check(store, "db_env_create", status));
	store->env->set_errcall(store->env, store_message);
	store->env->app_private = store;
	if ((status = store->env->set_event_notify(store->env, store_event)) !=
		0 ||
	    (status = store->env->set_cachesize(
		 store->env, 0, CACHE_SIZE, 1)) != 0 ||
	    (status = store->env->set_lg_max(store->env, LOG_FILE_SIZE)) != 0 ||
	    (status = store->env->log_set_config(
		 store->env, DB_LOG_AUTO_REMOVE, 1)) != 0)
		return (store_check(store, "set", status));
	status = store->env->open(store->env, path,
	    DB_CREATE | DB_INIT_LOG | DB_INIT_MPOOL | DB_INIT_TXN | DB_PRIVATE |
		DB_RECOVER,
	    0600);
	if (status != 0)
		return (store_check(store, "env_open", status));
	if ((status = db_create(&store->db, store->env, 0)) != 0)
		return (store_check(store, "db_create", status));
	/* Of a new store; an old one keeps its own. */
	if ((status = store->db->set_pagesize(store->db, PAGE_SIZE)) != 0)
		return (store_check(store, "set_pagesize", status));
	status = store->db->open(store->db, NULL, STORE_FILE, NULL, DB_BTREE,
	    DB_CREATE | DB_AUTO_COMMIT, 0600);
	return (store_check(store, "db_open", status));
}

struct store *
store_open(const char *path, enum store_error *error)
{
	struct store *store = calloc(1, sizeof(*store));
	int saved;

	*error = STORE_SYSTEM;
	if (store == NULL)
		return (NULL);
	store->folder = store->lock = -1;
	if ((store->plain = secret_new(SECRET_MAX)) != NULL &&
	    (*error = folder_open(store, path)) == STORE_OK) {
		if (database_open(store, path) == 0)
			return (store);
		*error = open_error();
	}
	saved = errno;
	store_close(store);
	errno = saved;
	return (NULL);
}

static int
store_empty(struct store *store)
{
	DBT key = { 0 }, data = { 0 };
	DBC *cursor;
	int status;

	if (store->db->cursor(store->db, NULL, &cursor, 0) != 0)
		return (0);
	status = cursor->get(cursor, &key, &data, DB_FIRST);
	(void)cursor->close(cursor);
	return (status == DB_NOTFOUND);
}

/* Have there been records, as far as the mark tells? */
static int
store_was_used(struct store *store)
{
	struct stat st;

	store->marked =
	    fstatat(store->folder, STORE_MARK, &st, AT_SYMLINK_NOFOLLOW) == 0;
	return (store->marked);
}

void
store_mark(struct store *store)
{
	int fd = openat(store->folder, STORE_MARK,
	    O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd == -1 || close(fd) == -1 || fsync(store->folder) == -1)
		log_warn("store_not_marked", "error=\"%s\"", strerror(errno));
	else
		store->marked = 1;
}

enum store_error
store_unlock(struct store *store, const char *passphrase, size_t length,
    uint64_t ops, uint64_t memory)
{
	int exists;

	/* Another try, when there was no room for what comes after. */
	seal_close(store->seal);
	store->seal = NULL;
	if (seal_recover(store->folder) == -1 ||
	    (exists = seal_exists(store->folder)) == -1)
		return (open_error());
	/* Records without a keyring, a keyring without records: somebody took
	 * the other away. */
	if (store_was_used(store) ? exists == 0 || store_empty(store)
				  : exists == 0 && !store_empty(store))
		return (STORE_DAMAGED);
	if (exists == 0) {
		if (seal_create(
			store->folder, passphrase, length, ops, memory) == -1)
			return (open_error());
	}
	store->seal = seal_open(store->folder, passphrase, length);
	if (store->seal == NULL)
		return (
		    errno == EACCES ? STORE_PASSPHRASE : store_error_of(errno));
	store->rotating = seal_rotating(store->seal);
	return (STORE_OK);
}

int
store_prove(struct store *store, const char *passphrase, size_t length)
{
	return (seal_prove(store->seal, passphrase, length));
}

int
store_change_passphrase(struct store *store, const char *passphrase,
    size_t length, uint64_t ops, uint64_t memory)
{
	return (seal_change(
	    store->seal, store->folder, passphrase, length, ops, memory));
}

void
store_close(struct store *store)
{
	if (store == NULL)
		return;
	store_abort(store);
	if (store->db != NULL)
		(void)store_check(
		    store, "db_close", store->db->close(store->db, 0));
	if (store->env != NULL)
		(void)store_check(
		    store, "env_close", store->env->close(store->env, 0));
	seal_close(store->seal);
	secret_free(store->plain, SECRET_MAX);
	if (store->lock != -1)
		(void)close(store->lock); /* gives up the lock */
	if (store->folder != -1)
		(void)close(store->folder);
	free(store);
}
