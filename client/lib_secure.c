/* libhermes. The end-to-end layer of a chat; see lib_secure.h. */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib_internal.h"
#include "client/lib_secure.h"
#include "common/util/hex.h"
#include "common/util/rate.h"

#define AGAIN_MIN  (5 * CLOCK_SECOND)
#define AGAIN_MAX  (60 * CLOCK_SECOND)

/* Keys of messages that never came, of all chats. */
#define SKIPS      (2 * E2E_SKIP_MAX)
#define SKIPS_IN   (10 * CLOCK_SECOND)

#define FILE_LABEL "hermes-e2e-state-v1"
#define FILE_SIZE                                                              \
	(crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES +             \
	    sizeof(struct e2e))

/* --- the file ------------------------------------------------------------ */

int
secure_folder_check(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		return (-1);
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return (-1);
	}
	if ((st.st_mode & 077) != 0 || st.st_uid != geteuid()) {
		errno = EPERM;
		return (-1);
	}
	return (0);
}

/* Who has the identity's seed can read the file, nobody else. */
static void
file_key(const struct hermes *hermes, uint8_t key[crypto_secretbox_KEYBYTES])
{
	(void)crypto_generichash(key, crypto_secretbox_KEYBYTES,
	    (const uint8_t *)FILE_LABEL, sizeof(FILE_LABEL) - 1, hermes->secret,
	    crypto_sign_SEEDBYTES);
}

/* folder/HANDLE-SIDE; 0 or -1 with errno ENAMETOOLONG. */
static int
file_path(const struct hermes_chat *chat, char *path, size_t size)
{
	char handle[2 * KEY_SIZE + 1];
	int length;

	hex_encode(handle, chat->key.handle, KEY_SIZE);
	length = snprintf(path, size, "%s/%s-%u",
	    chat->hermes->options.state_folder, handle, chat->key.side);
	if (length < 0 || (size_t)length >= size) {
		errno = ENAMETOOLONG;
		return (-1);
	}
	return (0);
}

/* 1 when a state of this chat was read. */
static int
file_load(struct hermes_chat *chat)
{
	struct secure *secure = chat->secure;
	struct e2e *e2e = secure->e2e;
	uint8_t bytes[FILE_SIZE], key[crypto_secretbox_KEYBYTES];
	int good;

	if (pread(secure->fd, bytes, sizeof(bytes), 0) !=
	    (ssize_t)sizeof(bytes))
		return (0);
	file_key(chat->hermes, key);
	good =
	    crypto_secretbox_open_easy((uint8_t *)e2e,
		bytes + crypto_secretbox_NONCEBYTES,
		sizeof(bytes) - crypto_secretbox_NONCEBYTES, bytes, key) == 0 &&
	    memcmp(&e2e->chat, &chat->key, sizeof(chat->key)) == 0;
	sodium_memzero(key, sizeof(key));
	return (good);
}

/*
 * One write of less than a page: a kill leaves the old state or the new one.
 * A loss of power may leave neither, and then a new session is made. It is
 * not worth failing a message for: what cannot be written is only missed
 * after a restart.
 */
static void
file_save(const struct hermes_chat *chat)
{
	const struct secure *secure = chat->secure;
	uint8_t bytes[FILE_SIZE], key[crypto_secretbox_KEYBYTES];
	ssize_t written;

	if (secure->fd == -1)
		return;
	file_key(chat->hermes, key);
	randombytes_buf(bytes, crypto_secretbox_NONCEBYTES);
	(void)crypto_secretbox_easy(bytes + crypto_secretbox_NONCEBYTES,
	    (const uint8_t *)secure->e2e, sizeof(*secure->e2e), bytes, key);
	sodium_memzero(key, sizeof(key));
	written = pwrite(secure->fd, bytes, sizeof(bytes), 0);
	(void)written;
}

static int
file_open(struct hermes_chat *chat)
{
	char path[4096];

	if (chat->hermes->options.state_folder == NULL)
		return (0);
	if (file_path(chat, path, sizeof(path)) == -1)
		return (-1);
	chat->secure->fd =
	    open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return (chat->secure->fd == -1 ? -1 : 0);
}

/* --- telling the app ----------------------------------------------------- */

static void
secure_error(struct hermes_chat *chat, const char *code, const char *message,
    uint64_t sequence)
{
	struct hermes *hermes = chat->hermes;
	struct hermes_error error = { code, message, sequence, 0 };

	if (hermes->callbacks.error != NULL)
		hermes->callbacks.error(hermes, chat, &error, hermes->arg);
}

/* --- keys ---------------------------------------------------------------- */

static void
secure_new_key(struct secure *secure)
{
	uint8_t random[KEY_SIZE];

	randombytes_buf(random, sizeof(random));
	e2e_new_key(secure->e2e, random);
	sodium_memzero(random, sizeof(random));
	secure->announce_due = 1;
}

static void
secure_wait(struct secure *secure)
{
	struct timeval tv = link_timeval(link_jitter(secure->delay));

	if (evtimer_pending(secure->again, NULL))
		return;
	(void)evtimer_add(secure->again, &tv); /* memory was set aside */
	secure->delay *= 2;
	if (secure->delay > AGAIN_MAX)
		secure->delay = AGAIN_MAX;
}

/* Send the key that is due in a rekey, if the node takes one now. */
static int
secure_announce(struct hermes_chat *chat)
{
	struct secure *secure = chat->secure;

	if (!secure->announce_due)
		return (0);
	if (chat->phase != PHASE_READY || chat->hermes->state != LINK_UP) {
		errno = ENOTCONN;
		return (-1);
	}
	if (secure->e2e->fresh)
		secure_wait(secure);
	return (chat_send_start(chat, 0, 1, 0));
}

int
secure_renew(struct hermes_chat *chat)
{
	secure_new_key(chat->secure);
	return (secure_announce(chat));
}

/* No answer to our key: the peer is away, or the answer was lost. */
static void
secure_again(evutil_socket_t fd, short what, void *arg)
{
	struct hermes_chat *chat = arg;
	struct secure *secure = chat->secure;

	(void)fd;
	(void)what;
	if (!secure->e2e->fresh || chat->phase != PHASE_READY)
		return;
	if (!e2e_ready(secure->e2e) && !secure->told) {
		secure->told = 1;
		secure_error(chat, "E2E_UNAVAILABLE",
		    "the peer app has not answered with an end-to-end key", 0);
	}
	/* The same key again would be refused as a replay. */
	(void)secure_renew(chat); /* else at the next ready */
}

int
secure_new(struct hermes_chat *chat)
{
	struct secure *secure;

	if ((secure = calloc(1, sizeof(*secure))) == NULL)
		return (-1);
	chat->secure = secure;
	secure->fd = -1;
	secure->delay = AGAIN_MIN;
	secure->e2e = sodium_malloc(sizeof(*secure->e2e));
	secure->again = evtimer_new(chat->hermes->base, secure_again, chat);
	if (secure->e2e == NULL || secure->again == NULL ||
	    file_open(chat) == -1)
		return (-1);
	if (secure->fd != -1 && file_load(chat))
		e2e_loaded(secure->e2e);
	else
		e2e_init(secure->e2e, &chat->key);
	secure_new_key(secure);
	return (0);
}

void
secure_free(struct hermes_chat *chat, int gone)
{
	struct secure *secure = chat->secure;
	char path[4096];

	if (secure == NULL)
		return;
	if (secure->fd != -1) {
		if (gone) {
			sodium_memzero(secure->e2e, sizeof(*secure->e2e));
			file_save(chat); /* over what it was */
			if (file_path(chat, path, sizeof(path)) == 0)
				(void)unlink(path); /* zeros by now */
		}
		(void)close(secure->fd);
	}
	if (secure->again != NULL)
		event_free(secure->again);
	sodium_free(secure->e2e);
	free(secure);
	chat->secure = NULL;
}

const uint8_t *
secure_key(const struct hermes_chat *chat)
{
	if (chat->secure->keyless)
		return (NULL);
	chat->secure->announce_due = 0;
	return (chat->secure->e2e->key_public);
}

const uint8_t *
secure_salt(const struct hermes_chat *chat, size_t *length)
{
	*length =
	    chat->secure->e2e->fresh || chat->secure->keyless ? 0 : KEY_SIZE;
	return (chat->secure->e2e->answered);
}

/* A session was made: what waited for it goes on. */
static void
secure_made(struct hermes_chat *chat)
{
	struct secure *secure = chat->secure;
	struct hermes *hermes = chat->hermes;

	e2e_sign(secure->e2e, hermes->secret);
	file_save(chat);
	(void)evtimer_del(secure->again); /* not pending is fine */
	secure->delay = AGAIN_MIN;
	secure->told = 0;
	if (secure->ready_due) {
		secure->ready_due = 0;
		if (hermes->callbacks.ready != NULL)
			hermes->callbacks.ready(
			    chat, secure->resumed, hermes->arg);
	}
	chat_pump(chat);
}

void
secure_on_key(struct hermes_chat *chat, const uint8_t *key, const uint8_t *salt,
    size_t salt_length)
{
	static const uint8_t none[KEY_SIZE];
	struct secure *secure = chat->secure;
	enum e2e_result result;

	if (key == NULL) {
		if (!e2e_ready(secure->e2e) && !secure->told) {
			secure->told = 1;
			secure_error(chat, "E2E_UNAVAILABLE",
			    "the peer app has no end-to-end layer", 0);
		}
		return;
	}
	if (salt_length != 0 && salt_length != KEY_SIZE)
		return; /* not of this layer */
	result = e2e_peer_key(secure->e2e, key, salt_length == 0 ? none : salt);
	if (result == E2E_NEED_KEY) {
		secure_new_key(secure);
		result = e2e_peer_key(secure->e2e, key, none);
	}
	if (result == E2E_DONE) {
		secure_made(chat);
		(void)secure_announce(chat); /* else at the next ready */
	}
}

void
secure_on_mismatch(struct hermes_chat *chat)
{
	chat->secure->keyless = 1;
	chat->secure->announce_due = 1;
}

int
secure_on_ready(struct hermes_chat *chat, int resumed)
{
	struct secure *secure = chat->secure;

	secure->keyless = 0;
	secure->resumed = resumed;
	secure->ready_due = !e2e_ready(secure->e2e);
	if (secure->e2e->fresh)
		secure_wait(secure);
	(void)secure_announce(chat); /* else at the next ready */
	return (!secure->ready_due);
}

/* --- messages ------------------------------------------------------------ */

int
secure_can_send(const struct hermes_chat *chat)
{
	return (e2e_ready(chat->secure->e2e));
}

/* A place for size bytes, for the length of one call. */
static uint8_t *
scratch(struct hermes *hermes, size_t size)
{
	uint8_t *bytes;

	if (size <= hermes->scratch_size)
		return (hermes->scratch);
	if ((bytes = realloc(hermes->scratch, size)) == NULL)
		return (NULL);
	hermes->scratch = bytes;
	hermes->scratch_size = size;
	return (bytes);
}

const uint8_t *
secure_seal(struct hermes_chat *chat, uint64_t sequence, const uint8_t *payload,
    size_t *length)
{
	uint8_t random[KEY_SIZE], *out;
	int stepped;

	if ((out = scratch(chat->hermes, *length + E2E_OVERHEAD)) == NULL)
		return (NULL);
	randombytes_buf(random, sizeof(random));
	*length = e2e_seal(chat->secure->e2e, random, sequence, payload,
	    *length, out, &stepped);
	sodium_memzero(random, sizeof(random));
	if (stepped)
		file_save(chat);
	return (out);
}

/* May keys be stepped over for it? Each costs a microsecond before it is known
 * whether the peer sealed it, so all peers together have so many only. */
static int
secure_may_skip(struct hermes_chat *chat, const uint8_t *sealed, size_t length)
{
	uint32_t ahead = e2e_ahead(chat->secure->e2e, sealed, length);

	return (ahead > E2E_SKIP_MAX /* refused for nothing */ ||
		rate_take_many(&chat->hermes->skips_due, clock_monotonic(),
		    ahead, SKIPS, SKIPS_IN, 0) == 0);
}

const uint8_t *
secure_open(struct hermes_chat *chat, uint64_t sequence, const uint8_t *sealed,
    size_t *length)
{
	struct secure *secure = chat->secure;
	int ready = e2e_ready(secure->e2e) && !secure->e2e->fresh;
	enum e2e_result result;
	uint8_t *out;

	if ((out = scratch(chat->hermes, *length + 1)) == NULL)
		return (NULL);
	result = E2E_BROKEN;
	if (secure_may_skip(chat, sealed, *length))
		result = e2e_open(secure->e2e, chat->peer_key, sequence, sealed,
		    *length, out, length);
	if (!ready && e2e_ready(secure->e2e) && !secure->e2e->fresh)
		secure_made(chat);
	if (result == E2E_DONE) {
		file_save(chat);
		return (out);
	}
	if (result == E2E_BROKEN) {
		secure_error(chat, "E2E_BROKEN",
		    "a message that the peer app did not seal for this chat",
		    sequence);
		return (NULL);
	}
	secure_error(chat, "E2E_LOST",
	    "a message of a session whose keys are lost", sequence);
	if (!secure->e2e->fresh && !evtimer_pending(secure->again, NULL))
		(void)secure_renew(chat); /* else at the next ready */
	return (NULL);
}
