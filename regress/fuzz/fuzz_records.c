/*
 * Tests only. keyd's records, as a damaged store or another version's has
 * them: all of them load and can be worked with, or none does.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "keyd/authority.h"
#include "keyd/identity.h"
#include "keyd/secret.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_node.h"
#include "regress/fuzz/fuzz_store.h"

static struct node node;
static struct app other;
static uint8_t cold[4096], hot[256], name[64];
static size_t cold_length, hot_length, name_length;

static int
keep(uint8_t *out, size_t *out_length, const uint8_t *data, size_t length)
{
	memcpy(out, data, length);
	*out_length = length;
	return (0);
}

static int
keep_cold(void *arg, const uint8_t *record, size_t length, const uint8_t *data,
    size_t data_length)
{
	(void)arg;
	(void)keep(name, &name_length, record, length);
	return (keep(cold, &cold_length, data, data_length));
}

static int
keep_hot(void *arg, const uint8_t *record, size_t length, const uint8_t *data,
    size_t data_length)
{
	(void)arg;
	(void)record;
	(void)length;
	return (keep(hot, &hot_length, data, data_length));
}

/* A good pair of records, for inputs to change. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct ipc_chat_start start;
	uint8_t peer[KEY_SIZE] = { 9 };

	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(11);
	truth_reset();
	fuzz_store_reset();
	node_init(&node, "one");
	(void)crypto_sign_keypair(other.key, other.secret);
	node_route(&node, 0, "chat", &node.apps[0], &other);
	node_start(&node);
	node_start_fill(
	    &node.routes[0], "one", node.key, "two", peer, 0, 0, &start);
	chats_start(node.chats, &start, NULL, 0);
	FUZZ_CHECK(node_commit(&node) == 0);
	FUZZ_CHECK(store_walk(node.store, STORE_COLD, keep_cold, NULL) == 0);
	FUZZ_CHECK(store_walk(node.store, STORE_HOT, keep_hot, NULL) == 0);
	node_stop(&node);
	return (0);
}

static void
mutate(struct input *input, uint8_t *bytes, size_t *length)
{
	unsigned int n = input_u8(input) % 8;

	while (n-- > 0)
		bytes[input_u16(input) % *length] = input_u8(input);
	if (input_u8(input) == 0xff)
		*length = input_u16(input) % *length;
}

static void
visit_peer(void *arg, const struct ipc_peer *peer)
{
	(void)arg;
	FUZZ_CHECK(memchr(peer->endpoint, '\0', ENDPOINT_SIZE) != NULL);
}

static void
visit_revocation(const struct ipc_revocation *revocation)
{
	FUZZ_CHECK(memchr(revocation->node_id, '\0', NODE_ID_SIZE) != NULL);
}

/* The chats of such a store, if they load. */
static void
try_chats(struct input *input)
{
	uint8_t a[sizeof(cold)], b[sizeof(hot)], tomb[64];
	size_t a_length = cold_length, b_length = hot_length, n;
	const uint8_t *at;

	memcpy(a, cold, sizeof(a));
	memcpy(b, hot, sizeof(b));
	mutate(input, a, &a_length);
	mutate(input, b, &b_length);
	fuzz_store_plant(node.path, STORE_COLD, name, name_length, a, a_length);
	if (input_u8(input) < 0xf0)
		fuzz_store_plant(
		    node.path, STORE_HOT, name, name_length, b, b_length);
	n = input_span(input, input_u8(input) & 0x1f, &at);
	memset(tomb, 1, sizeof(tomb));
	if (n > 0)
		fuzz_store_plant(node.path, STORE_TOMBSTONE, tomb,
		    n & 1 ? KEY_SIZE : n, at, n);
	if (node_load(&node) == -1)
		return;
	/* It loads: then it also works. */
	node_stop(&node);
	node_start(&node);
	chats_report(node.chats);
	chats_show(node.chats, 1);
	node_tick(&node);
	(void)chats_rekey(node.chats, NULL);
	(void)chats_rekey_step(node.chats, SIZE_MAX);
	fuzz_wall += 3700 * CLOCK_SECOND;
	node_tick(&node);
	FUZZ_CHECK(node_commit(&node) == 0);
	node_stop(&node);
	wire_clear(&node.wire);
}

static void
try_identity(struct input *input)
{
	static const char *const names[] = { "identity", "counters", "mesh",
		"authority" };
	struct identity identity;
	enum store_error error;
	struct store *store;
	const uint8_t *at;
	size_t i, n;

	memset(&identity, 0, sizeof(identity));
	for (i = 0; i < 4; i++) {
		n = input_u8(input);
		if (n == 0)
			continue;
		n = input_span(input,
		    n == 0xff   ? 96
		    : n == 0xfe ? 24
		    : n == 0xfd ? KEY_SIZE + CERTIFICATE_ENCODED
		    : n == 0xfc ? KEY_SIZE
				: n,
		    &at);
		fuzz_store_plant(
		    "/two", STORE_NODE, names[i], strlen(names[i]), at, n);
	}
	for (i = 0; i < 3; i++) {
		n = input_span(input, input_u8(input), &at);
		fuzz_store_plant("/two", (enum store_table)(STORE_TICKET + i),
		    "record", 6, at, n);
	}
	FUZZ_CHECK((store = store_open("/two", &error)) != NULL);
	FUZZ_CHECK(store_unlock(store, "pass", 4, 1, 1) == STORE_OK);
	if (identity_load(&identity, store, "two") == 0) {
		(void)peers_walk(store, visit_peer, NULL);
		(void)authority_revocations(&identity, store, visit_revocation);
		authority_expire(store, fuzz_wall);
		identity_wipe(&identity);
	}
	store_close(store);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	fuzz_seed(12);
	fuzz_wall = FUZZ_EPOCH;
	fuzz_store_reset();
	if (input_u8(&input) & 1)
		try_identity(&input);
	else
		try_chats(&input);
	return (0);
}
