/*
 * Tests only. What nodes send each other, as the mesh reads it: RouteFrames,
 * set-ups, descriptors, registrations, gossip.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "mesh/unpack.h"
#include "mesh/wire.h"
#include "mesh/wire_frame.h"
#include "regress/fuzz/fuzz.h"

#define NOW INT64_C(1700000000000000000)

static const uint8_t node_key[KEY_SIZE] = { 1, 2, 3 };

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(6);
	return (0);
}

static void
try_setup(const struct frame_text *packed)
{
	struct ipc_identity identity = { .unlocked = 1, .node_id = "one" };
	struct ipc_setup setup, again;
	struct frame_text text;
	uint8_t source[KEY_SIZE], target[KEY_SIZE], *tail = NULL, *out;
	size_t length = 0, size;

	memset(&setup, 0, sizeof(setup));
	if (frame_setup_read(packed, "one", node_key, &setup, source, target,
		&tail, &length) == -1)
		return;
	FUZZ_CHECK(length <= 16384);
	FUZZ_CHECK(memchr(setup.chat_id, '\0', CHAT_ID_SIZE) != NULL);
	FUZZ_CHECK(setup.key.side <= CHAT_HI);
	memcpy(identity.node_key, node_key, KEY_SIZE);
	/* Back again: the same to those who read it. */
	setup.key.side ^= 1;
	out = frame_setup_pack(&setup, tail, length, &identity, &size);
	free(tail);
	if (out == NULL)
		return;
	text.bytes = out;
	text.length = size;
	setup.key.side ^= 1;
	memset(&again, 0, sizeof(again));
	if (frame_setup_read(&text, "one", node_key, &again, source, target,
		&tail, &length) == 0) {
		FUZZ_CHECK(memcmp(&again.offer, &setup.offer,
			       sizeof(setup.offer)) == 0);
		FUZZ_CHECK(strcmp(again.chat_id, setup.chat_id) == 0);
		free(tail);
	}
	free(out);
}

static void
try_frame(const uint8_t *bytes, size_t length)
{
	struct frame frame, again;
	uint8_t *out;
	size_t size;

	if (frame_read(&frame, bytes, length) == -1)
		return;
	if (frame.body == FRAME_SETUP)
		try_setup(&frame.setup);
	if (frame.body == FRAME_NONE || frame.body == FRAME_SETUP)
		return;
	FUZZ_CHECK((out = malloc(frame_bound(&frame))) != NULL);
	size = frame_write(&frame, out);
	FUZZ_CHECK(size > 0 && size <= frame_bound(&frame));
	FUZZ_CHECK(frame_read(&again, out, size) == 0);
	FUZZ_CHECK(again.body == frame.body);
	FUZZ_CHECK(again.payload.length == frame.payload.length);
	FUZZ_CHECK(again.sequence == frame.sequence);
	FUZZ_CHECK(again.counter == frame.counter);
	FUZZ_CHECK(again.version == frame.version);
	free(out);
}

static void
try_descriptor(const Nodemesh__V1__NodeDescriptor *node)
{
	Nodemesh__V1__NodeDescriptor *copy;
	struct descriptor read;
	uint8_t digest[KEY_SIZE];

	if (node == NULL || wire_descriptor_read(&read, node) == -1)
		return;
	FUZZ_CHECK(node_id_valid(read.node_id, strlen(read.node_id)));
	FUZZ_CHECK(memchr(read.endpoint, '\0', ENDPOINT_SIZE) != NULL);
	wire_descriptor_digest(node, digest);
	(void)wire_descriptor_verify(&read, node, NULL, NOW);
	(void)wire_descriptor_verify(&read, node, node_key, NOW);
	if ((copy = wire_descriptor_copy(node)) != NULL)
		nodemesh__v1__node_descriptor__free_unpacked(copy, NULL);
}

static void
try_sync(const Nodemesh__V1__AppSync *sync)
{
	struct attestation attestation;
	uint8_t digest[KEY_SIZE];
	size_t i;

	if (sync == NULL)
		return;
	wire_presence_digest(sync, digest);
	for (i = 0; i < sync->n_apps; i++) {
		if (wire_registration_read(
			sync->apps[i], node_key, &attestation) == -1)
			continue;
		(void)wire_registration_verify(
		    sync->apps[i], &attestation, 0, NOW);
		(void)wire_registration_verify(
		    sync->apps[i], &attestation, 1, NOW);
	}
}

static void
try_gossip(const uint8_t *bytes, size_t length)
{
	Nodemesh__V1__GossipMessage *message;

	message = unpack_bounded(
	    &nodemesh__v1__gossip_message__descriptor, bytes, length);
	if (message == NULL)
		return;
	if (message->body_case == NODEMESH__V1__GOSSIP_MESSAGE__BODY_MEMBERSHIP)
		try_descriptor(message->membership->node);
	if (message->body_case == NODEMESH__V1__GOSSIP_MESSAGE__BODY_APP_SYNC)
		try_sync(message->app_sync);
	nodemesh__v1__gossip_message__free_unpacked(message, NULL);
}

static void
try_join(const uint8_t *bytes, size_t length)
{
	Nodemesh__V1__NodeDescriptor *node;
	char text[ENDPOINT_SIZE], *copy;
	uint8_t key[KEY_SIZE];

	node = nodemesh__v1__node_descriptor__unpack(NULL, length, bytes);
	if (node != NULL) {
		try_descriptor(node);
		nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	}
	FUZZ_CHECK((copy = malloc(length + 1)) != NULL);
	if (length > 0)
		memcpy(copy, bytes, length);
	copy[length] = '\0';
	if (wire_text(text, sizeof(text), copy) == 0)
		FUZZ_CHECK(strlen(text) < sizeof(text));
	(void)wire_app_key(copy, key);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_text text = { data, size };

	if (size == 0)
		return (0);
	text.bytes++;
	text.length--;
	switch (data[0] % 4) {
	case 0:
		try_frame(text.bytes, text.length);
		break;
	case 1:
		try_setup(&text);
		break;
	case 2:
		try_gossip(text.bytes, text.length);
		break;
	case 3:
		try_join(text.bytes, text.length);
		break;
	}
	return (0);
}
