/*
 * keyd only. From a passphrase to a node that can say who it is: unlocking
 * the store, loading identity and chats, making certificates, telling the
 * neighbours.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "keyd/authority.h"
#include "keyd/chats.h"
#include "keyd/keyd.h"
#include "keyd/keyscan.h"
#include "keyd/secret.h"
#include "keyd/store.h"

#define READ_TIMEOUT CLOCK_SECOND /* for a pipe that is not yet written */
#define GUESSES      3            /* wrong ones before the first wait */
#define GUESS_WAIT   CLOCK_SECOND /* doubles with each wrong one ... */
#define GUESS_SHIFT  6            /* ... so often */

/* --- what the chat engine is given -------------------------------------- */

static void
give_message(void *arg, enum process to, enum ipc_type type,
    const void *payload, const void *tail, size_t tail_length)
{
	struct ipc *ipc = proc_ipc(to);

	(void)arg;
	if (ipc != NULL)
		ipc_send(ipc, type, payload, tail, tail_length);
}

static uint8_t *
give_tail(void *arg, enum process to, enum ipc_type type, const void *payload,
    size_t tail_length)
{
	struct ipc *ipc = proc_ipc(to);

	(void)arg;
	if (ipc == NULL)
		return (NULL);
	return (ipc_send_tail(ipc, type, payload, tail_length));
}

static void
give_signature(void *arg, const uint8_t *bytes, size_t length,
    uint8_t signature[SIGNATURE_SIZE])
{
	(void)arg;
	identity_sign(&keyd.identity, bytes, length, signature);
}

static void
give_random(void *arg, void *bytes, size_t length)
{
	(void)arg;
	randombytes_buf(bytes, length);
}

static const struct chats_io chats_io = {
	.send = give_message,
	.send_tail = give_tail,
	.sign = give_signature,
	.random = give_random,
};

/* --- reading secrets ---------------------------------------------------- */

/* Read all of a file or pipe, at most size bytes, into locked memory, within
 * a bounded time: whoever passed it may not write to it, or not end it. The
 * length, or -1. */
static ssize_t
read_secret(int fd, char *out, size_t size)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	int64_t end = clock_monotonic() + READ_TIMEOUT;
	int64_t left;
	size_t length = 0;
	ssize_t n;

	while (length < size) {
		if ((left = end - clock_monotonic()) <= 0)
			return (-1);
		if (poll(&wait, 1, (int)(left / CLOCK_MS) + 1) != 1)
			continue;
		n = read(fd, out + length, size - length);
		if (n == 0)
			return ((ssize_t)length);
		if (n > 0)
			length += (size_t)n;
		else if (errno != EINTR && errno != EAGAIN)
			return (-1);
	}
	return (-1);
}

void
unlock_own_key(int fd)
{
	char *pem = secret_new(SECRET_MAX);
	uint8_t *key = secret_new(P256_SIZE);
	ssize_t length;

	if (pem == NULL || key == NULL)
		fatal("memory", "what=key");
	length = read_secret(fd, pem, SECRET_MAX);
	(void)close(fd);
	if (length <= 0 || tls_read_key(pem, (size_t)length, key) == -1) {
		secret_free(pem, SECRET_MAX);
		secret_free(key, P256_SIZE);
		log_error("certificate_key_refused", "file=\"%s\" want=%s",
		    proc_config()->certificate_key,
		    "\"a PEM with a P-256 key\"");
		return;
	}
	secret_free(pem, SECRET_MAX);
	if (keyd.own_key != NULL)
		keyscan_wiped(KEYSCAN_TLS, keyd.own_key, P256_SIZE);
	secret_free(keyd.own_key, P256_SIZE);
	keyd.own_key = key;
	keyscan_made(KEYSCAN_TLS, keyd.own_key, P256_SIZE);
	/* After a reload; at start nothing is unlocked yet. */
	if (keyd.chats != NULL && unlock_certificates() == 0)
		unlock_tell_all();
}

/* --- guessing ----------------------------------------------------------- */

/* Whoever guesses passphrases, at whatever door, waits. NULL, or that it is
 * too early for another one. */
static const char *
guess_early(void)
{
	static char text[80];
	int64_t left = keyd.guesses.until - clock_monotonic();

	if (left <= 0)
		return (NULL);
	(void)snprintf(text, sizeof(text),
	    "too many wrong passphrases: none is tried for %lld seconds",
	    (long long)(left / CLOCK_SECOND) + 1);
	return (text);
}

static void
guessed(int right)
{
	unsigned int over;

	keyd.guesses.wrong = right ? 0 : keyd.guesses.wrong + 1;
	keyd.guesses.until = 0;
	if (keyd.guesses.wrong < GUESSES)
		return;
	over = keyd.guesses.wrong - GUESSES;
	keyd.guesses.until =
	    clock_monotonic() +
	    (GUESS_WAIT << (over < GUESS_SHIFT ? over : GUESS_SHIFT));
}

const char *
unlock_prove(int fd)
{
	char *passphrase = secret_new(SECRET_MAX);
	const char *error = guess_early();
	size_t length = 0;
	int right;

	if (passphrase == NULL || error != NULL)
		(void)close(fd);
	else
		length = unlock_read(fd, passphrase);
	if (length > 0) {
		keyscan_made(KEYSCAN_PASSPHRASE, passphrase, length);
		right = store_prove(keyd.store, passphrase, length);
		keyscan_wiped(KEYSCAN_PASSPHRASE, passphrase, length);
		if (right != -1)
			guessed(right);
		if (right != 1)
			error = right == 0 ? "the passphrase of the store is "
					     "wrong"
					   : "no memory";
	} else if (error == NULL && passphrase == NULL)
		error = "no memory";
	else if (error == NULL) {
		guessed(0); /* reading it may have taken long */
		error = "the passphrase of the store is empty, too long or "
			"cannot be read";
	}
	secret_free(passphrase, SECRET_MAX);
	return (error);
}

/* --- unlocking ---------------------------------------------------------- */

static void
shun(const struct ipc_revocation *revocation)
{
	chats_shun(keyd.chats, revocation->node_key);
}

/* As locked as before; of errno. */
static enum store_error
unlock_failed(void)
{
	enum store_error why = store_error_of(errno);
	int saved = errno;

	chats_free(keyd.chats);
	keyd.chats = NULL;
	identity_wipe(&keyd.identity);
	errno = saved;
	return (why);
}

static enum store_error
unlock_load(void)
{
	if (identity_load(&keyd.identity, keyd.store, proc_config()->node_id) ==
	    -1)
		return (unlock_failed());
	keyd.chats = chats_new(&chats_io, keyd.store, proc_config(),
	    keyd.identity.node_key, keyd.identity.incarnation, clock_wall());
	/* A revocation is stored before the chats end: they may not have. */
	if (keyd.chats == NULL ||
	    authority_revocations(&keyd.identity, keyd.store, shun) == -1 ||
	    revoked_walk(keyd.store, shun) == -1)
		return (unlock_failed());
	chats_end_shunned(keyd.chats);
	chats_no_new(keyd.chats, keyd.no_new_chats);
	return (STORE_OK);
}

static enum store_error
unlock_store(const char *passphrase, size_t length)
{
	const struct config_keystore *config = &proc_config()->keystore;
	enum store_error error;

	error = store_unlock(keyd.store, passphrase, length, config->argon2_ops,
	    config->argon2_memory);
	if (error == STORE_OK || error == STORE_PASSPHRASE)
		guessed(error == STORE_OK);
	return (error == STORE_OK ? unlock_load() : error);
}

size_t
unlock_read(int fd, char *out)
{
	ssize_t length = read_secret(fd, out, SECRET_MAX);

	(void)close(fd);
	/* One line end, as editors and echo leave it. */
	if (length > 0 && out[length - 1] == '\n')
		length--;
	if (length > 0 && out[length - 1] == '\r')
		length--;
	return (length > 0 ? (size_t)length : 0);
}

const char *
unlock_with(int fd, enum store_error *why)
{
	char *passphrase = secret_new(SECRET_MAX);
	const char *error = NULL;
	size_t length = 0;

	*why = STORE_OK;
	/* What is not needed is not waited for. */
	if (passphrase == NULL)
		error = "no memory";
	else if (keyd.chats != NULL)
		error = "already unlocked";
	else
		error = guess_early();
	if (error != NULL)
		(void)close(fd);
	else if ((length = unlock_read(fd, passphrase)) == 0)
		error = "the passphrase is empty, too long or cannot be read";
	else {
		keyscan_made(KEYSCAN_PASSPHRASE, passphrase, length);
		if ((*why = unlock_store(passphrase, length)) != STORE_OK)
			error = store_error_text(*why);
		keyscan_wiped(KEYSCAN_PASSPHRASE, passphrase, length);
	}
	secret_free(passphrase, SECRET_MAX);
	if (error != NULL)
		return (error);
	if (identity_renew(&keyd.identity, keyd.store, clock_wall(),
		proc_config()->membership_lifetime) == -1 ||
	    unlock_certificates() == -1)
		fatal("certificates", "reason=\"cannot make or store them\"");
	log_info("unlocked", "node=%s incarnation=%llu chats=%zu",
	    keyd.identity.node_id,
	    (unsigned long long)keyd.identity.incarnation,
	    chats_count(keyd.chats));
	/* The last keyd may have died before it erased what was to go. */
	keyd_erased();
	unlock_tell_all();
	unlock_tell_more(PROCESS_ROUTER);
	unlock_tell_more(PROCESS_MESH);
	return (NULL);
}

void
unlock_again(void)
{
	chats_free(keyd.chats);
	keyd.chats = NULL;
	identity_wipe(&keyd.identity);
	memset(&keyd.identity, 0, sizeof(keyd.identity));
	if (unlock_load() != STORE_OK ||
	    identity_renew(&keyd.identity, keyd.store, clock_wall(),
		proc_config()->membership_lifetime) == -1 ||
	    unlock_certificates() == -1)
		fatal("restore", "reason=\"the store does not open again\"");
	if (keyd_erase_now() == -1)
		log_warn("erasure_incomplete", "what=\"before the restore\"");
	/* They know another node; new ones will be told of this one. */
	proc_broken(PROCESS_ROUTER, "the store was restored");
	proc_broken(PROCESS_MESH, "the store was restored");
	unlock_tell(PROCESS_CONTROL);
}

int
unlock_certificates(void)
{
	const struct identity *identity = &keyd.identity;
	int64_t now = clock_wall();
	char app_pem[TLS_PEM_MAX] = "";

	keyd.certificates_due = 1;
	if (tls_spki(keyd.own_key != NULL ? keyd.own_key
					  : identity->secrets->tls_app,
		keyd.app_spki) == -1 ||
	    tls_spki(identity->secrets->tls_mesh, keyd.mesh_spki) == -1)
		return (-1);
	if (keyd.own_key == NULL && tls_app_certificate(identity, keyd.store,
					proc_config(), now, app_pem) == -1)
		return (-1);
	if (tls_mesh_certificate(identity, now, keyd.mesh_pem) == -1)
		return (-1);
	(void)strlcpy(keyd.app_pem, app_pem, sizeof(keyd.app_pem));
	keyd.certificates_due = 0;
	return (0);
}

/* --- telling ------------------------------------------------------------ */

static void
tell_certificate(struct ipc *ipc, enum tls_role role, const char *pem)
{
	struct ipc_tls_certificate certificate = { .role = role };

	if (pem[0] != '\0')
		ipc_send(
		    ipc, IPC_TLS_CERTIFICATE, &certificate, pem, strlen(pem));
}

void
unlock_tell(enum process peer)
{
	struct ipc *ipc = proc_ipc(peer);
	struct ipc_identity message = { .unlocked = 0 };

	if (ipc == NULL)
		return;
	(void)strlcpy(
	    message.node_id, proc_config()->node_id, sizeof(message.node_id));
	if (keyd.chats != NULL) {
		identity_fill(&keyd.identity, &message);
		memcpy(message.app_spki, keyd.app_spki, KEY_SIZE);
		memcpy(message.mesh_spki, keyd.mesh_spki, KEY_SIZE);
		if (peer == PROCESS_MESH)
			tell_certificate(ipc, TLS_MESH, keyd.mesh_pem);
		else
			tell_certificate(ipc, TLS_APP, keyd.app_pem);
	}
	ipc_send(ipc, IPC_IDENTITY, &message, NULL, 0);
}

static void
tell_peer(void *arg, const struct ipc_peer *peer)
{
	ipc_send(arg, IPC_PEER, peer, NULL, 0);
}

static void
tell_revocation(const struct ipc_revocation *revocation)
{
	ipc_send(proc_ipc(PROCESS_MESH), IPC_REVOCATION, revocation, NULL, 0);
}

/* What a neighbour that has just come gets besides. */
void
unlock_tell_more(enum process peer)
{
	if (keyd.chats == NULL || proc_ipc(peer) == NULL)
		return;
	if (peer == PROCESS_ROUTER)
		chats_report(keyd.chats);
	if (peer == PROCESS_MESH &&
	    (authority_revocations(
		 &keyd.identity, keyd.store, tell_revocation) == -1 ||
		revoked_walk(keyd.store, tell_revocation) == -1 ||
		peers_walk(keyd.store, tell_peer, proc_ipc(peer)) == -1))
		log_warn("peers_unread", "error=\"%s\"", strerror(errno));
}

void
unlock_tell_all(void)
{
	static const enum process peers[] = { PROCESS_ROUTER, PROCESS_MESH,
		PROCESS_CONTROL };
	size_t i;

	for (i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
		unlock_tell(peers[i]);
}
