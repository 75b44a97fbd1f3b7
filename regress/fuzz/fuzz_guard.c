/* Tests only. See fuzz_guard.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/proc/proc.h"
#include "keyd/chat.h"
#include "keyd/identity.h"
#include "keyd/keyd.h"
#include "keyd/secret.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_guard.h"

#define ATTEMPTS    256
#define REVOCATIONS 256

struct guard guard;

/* --- what may be signed ------------------------------------------------- */

/* keyd's own time: start, ticks, the parent. */
static int
own_time(void)
{
	return (guard.from == 0 || guard.from == PROCESS_PARENT);
}

static int
signs_with_node(const uint8_t *bytes, size_t length)
{
	const char *text = (const char *)bytes;

#define DOMAIN(name)                                                           \
	(length > sizeof(name) && strncmp(text, name, sizeof(name) - 1) == 0)
	if (DOMAIN("hermes-challenge-v2"))
		return (FROM(ROUTER, CHALLENGE));
	guard.offers += DOMAIN("hermes-offer-v2");
	if (DOMAIN("hermes-offer-v2"))
		return (length == OFFER_SIGNED &&
			(own_time() || FROM(ROUTER, CHAT_START) ||
			    FROM(ROUTER, SEAL) || FROM(MESH, SETUP_IN) ||
			    FROM(MESH, OPEN) || FROM(MESH, TEARDOWN_IN) ||
			    FROM(CONTROL, REKEY)));
	if (DOMAIN("hermes-tls-v1"))
		return (own_time() || FROM(MESH, MEMBERSHIP) ||
			FROM(CONTROL, MESH_CREATE) ||
			FROM(CONTROL, PASSPHRASE));
	if (DOMAIN("hermes-descriptor-v1") || DOMAIN("hermes-alive-v1") ||
	    DOMAIN("hermes-leave-v1") || DOMAIN("hermes-presence-v1") ||
	    DOMAIN("hermes-join-v1"))
		return (FROM(MESH, STATEMENT));
	return (0);
}

/* A revocation is the operator's. When the name goes to another, the same is
 * signed again. */
static int
signs_revocation(const uint8_t *bytes, size_t length)
{
	static uint8_t signed_before[REVOCATIONS][KEY_SIZE];
	static size_t next;
	uint8_t digest[KEY_SIZE];
	size_t i;

	(void)crypto_hash_sha256(digest, bytes, length);
	if (own_time() || FROM(CONTROL, REVOKE) || FROM(CONTROL, PASSPHRASE)) {
		memcpy(signed_before[next], digest, KEY_SIZE);
		next = (next + 1) % REVOCATIONS;
		return (1);
	}
	if (!FROM(MESH, REDEEM) && !FROM(MESH, RENEW))
		return (0);
	for (i = 0; i < REVOCATIONS; i++)
		if (memcmp(signed_before[i], digest, KEY_SIZE) == 0)
			return (1);
	return (0);
}

static int
signs_with_authority(const uint8_t *bytes, size_t length)
{
	const char *text = (const char *)bytes;

	if (DOMAIN("hermes-member-v1"))
		return (own_time() || FROM(MESH, REDEEM) || FROM(MESH, RENEW) ||
			FROM(CONTROL, MESH_CREATE) ||
			FROM(CONTROL, PASSPHRASE));
	if (DOMAIN("hermes-ticket-v1"))
		return (FROM(CONTROL, TICKET_MAKE));
	if (DOMAIN("hermes-revocation-v1"))
		return (signs_revocation(bytes, length));
#undef DOMAIN
	return (0);
}

int __real_crypto_sign_detached(unsigned char *signature,
    unsigned long long *signature_length, const unsigned char *bytes,
    unsigned long long length, const unsigned char *key);
int __wrap_crypto_sign_detached(unsigned char *signature,
    unsigned long long *signature_length, const unsigned char *bytes,
    unsigned long long length, const unsigned char *key);

int
__wrap_crypto_sign_detached(unsigned char *signature,
    unsigned long long *signature_length, const unsigned char *bytes,
    unsigned long long length, const unsigned char *key)
{
	const struct identity_secrets *secrets = keyd.identity.secrets;

	if (secrets != NULL && key == secrets->node)
		FUZZ_CHECK(signs_with_node(bytes, (size_t)length));
	if (secrets != NULL && key == secrets->authority)
		FUZZ_CHECK(signs_with_authority(bytes, (size_t)length));
	return (__real_crypto_sign_detached(
	    signature, signature_length, bytes, length, key));
}

void __real_tls_sign_digest(const uint8_t key[P256_SIZE],
    const struct ipc_sign_digest *digest, struct ipc_signed_digest *out);
void __wrap_tls_sign_digest(const uint8_t key[P256_SIZE],
    const struct ipc_sign_digest *digest, struct ipc_signed_digest *out);

void
__wrap_tls_sign_digest(const uint8_t key[P256_SIZE],
    const struct ipc_sign_digest *digest, struct ipc_signed_digest *out)
{
	FUZZ_CHECK(FROM(ROUTER, SIGN_DIGEST) || FROM(MESH, SIGN_DIGEST));
	if (guard.from == PROCESS_MESH)
		FUZZ_CHECK(key == keyd.identity.secrets->tls_mesh);
	else
		FUZZ_CHECK(key == (keyd.own_key != NULL
					  ? keyd.own_key
					  : keyd.identity.secrets->tls_app));
	__real_tls_sign_digest(key, digest, out);
	FUZZ_CHECK(out->length <= sizeof(out->signature));
}

/* --- no secret leaves --------------------------------------------------- */

static void
secrets_add(
    struct secrets *secrets, const char *name, const uint8_t key[KEY_SIZE])
{
	if (secrets->count == 128 || sodium_is_zero(key, KEY_SIZE))
		return;
	secrets->names[secrets->count] = name;
	memcpy(secrets->keys[secrets->count++], key, KEY_SIZE);
}

void
secrets_collect(struct secrets *secrets)
{
	const struct identity_secrets *identity = keyd.identity.secrets;
	const struct ratchet_secrets *keys;
	struct chat *chat;
	size_t cursor = 0;

	if (identity != NULL) {
		secrets_add(secrets, "node", identity->node);
		secrets_add(secrets, "authority", identity->authority);
		secrets_add(secrets, "tls_app", identity->tls_app);
		secrets_add(secrets, "tls_mesh", identity->tls_mesh);
	}
	if (keyd.own_key != NULL)
		secrets_add(secrets, "own_key", keyd.own_key);
	if (keyd.chats == NULL)
		return;
	while ((chat = table_next(&keyd.chats->table, &cursor)) != NULL) {
		keys = chat->ratchet.secrets;
		secrets_add(secrets, "link", keys->link);
		secrets_add(secrets, "send", keys->send);
		secrets_add(secrets, "receive", keys->receive);
		secrets_add(secrets, "previous", keys->previous);
		secrets_add(secrets, "ephemeral", keys->ephemeral);
	}
}

/* memmem(3) without what a fuzzer learns from that: it would put the key it
 * saw into the next input. */
const uint8_t *
find_quietly(const uint8_t *bytes, size_t length, const void *what, size_t size)
{
	const uint8_t *at = bytes, *end = bytes + length, *key = what;
	uint8_t other;
	size_t j;

	for (; (at = memchr(at, key[0], (size_t)(end - at))) != NULL; at++) {
		if ((size_t)(end - at) < size)
			break;
		other = 0;
		for (j = 0; j < size; j++)
			other |= (uint8_t)(at[j] ^ key[j]);
		if (other == 0)
			return (at);
	}
	return (NULL);
}

void
secrets_absent(
    const struct secrets *secrets, const uint8_t *bytes, size_t length)
{
	const uint8_t *found;
	struct ipc_header header;
	size_t i;

	for (i = 0; i < secrets->count; i++) {
		found = find_quietly(bytes, length, secrets->keys[i], KEY_SIZE);
		if (found == NULL)
			continue;
		memcpy(&header, bytes, sizeof(header));
		(void)fprintf(stderr, "%s at %td, first frame %s\n",
		    secrets->names[i], found - bytes,
		    ipc_type_name((enum ipc_type)header.type));
		FUZZ_CHECK(found == NULL);
	}
}

/* --- rates -------------------------------------------------------------- */

/* When a chat had an attempt; a chat that ended begins anew. */
static struct {
	struct chat_key key;
	int recovery; /* 0: rekey; 1: recovery; 2: begun above a peer's */
	int64_t at;
	int counted;
} attempts[ATTEMPTS];

void
attempts_forget(const struct chat_key *key)
{
	size_t i;

	for (i = 0; i < ATTEMPTS; i++)
		if (memcmp(&attempts[i].key, key, sizeof(*key)) == 0)
			attempts[i].counted = 0;
}

void
attempts_count(
    const struct config_rekey *rekey, const struct chat_key *key, int recovery)
{
	static size_t next;
	size_t i, count = 1;

	for (i = 0; i < ATTEMPTS; i++)
		if (attempts[i].counted && attempts[i].recovery == recovery &&
		    memcmp(&attempts[i].key, key, sizeof(*key)) == 0 &&
		    fuzz_wall >= attempts[i].at &&
		    fuzz_wall - attempts[i].at < rekey->window)
			count++;
	FUZZ_CHECK(count <= rekey->limit);
	attempts[next].key = *key;
	attempts[next].recovery = recovery;
	attempts[next].at = fuzz_wall;
	attempts[next].counted = 1;
	next = (next + 1) % ATTEMPTS;
}

void
attempts_reset(void)
{
	memset(attempts, 0, sizeof(attempts));
}
