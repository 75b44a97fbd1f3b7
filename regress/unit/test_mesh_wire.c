/*
 * The wire of the mesh: frames by hand against protobuf-c both ways, hostile
 * frames, canonical bytes of statements, set-ups with a StartChat folded in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>
#include <sodium.h>

#include "common/sign/statement.h"
#include "common/util/hex.h"
#include "mesh/wire.h"
#include "mesh/wire_frame.h"
#include "proto/approuter.pb-c.h"
#include "regress/unit/suite.h"

#define DAY (INT64_C(86400) * 1000000000)

struct identity {
	uint8_t key[KEY_SIZE];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
};

static void
identity_make(struct identity *identity, uint8_t seed_byte)
{
	uint8_t seed[crypto_sign_SEEDBYTES];

	memset(seed, seed_byte, sizeof(seed));
	crypto_sign_seed_keypair(identity->key, identity->secret, seed);
}

static void
statement_sign(const struct identity *signer, enum statement_kind kind,
    const char *node_id, const uint8_t node_key[KEY_SIZE], uint64_t number,
    const uint8_t digest[KEY_SIZE], uint8_t signature[SIGNATURE_SIZE])
{
	uint8_t bytes[STATEMENT_SIGNED_MAX];
	size_t length;

	length = statement_signed_bytes(
	    kind, node_id, node_key, number, digest, bytes);
	crypto_sign_detached(signature, NULL, bytes, length, signer->secret);
}

static void
identity_certify(const struct identity *authority, const struct identity *node,
    const char *node_id, struct certificate *certificate)
{
	uint8_t bytes[CERTIFICATE_SIGNED_MAX];
	size_t length;

	memset(certificate, 0, sizeof(*certificate));
	mesh_id_make(certificate->mesh_id, authority->key);
	strlcpy(certificate->node_id, node_id, NODE_ID_SIZE);
	memcpy(certificate->node_key, node->key, KEY_SIZE);
	certificate->serial = 7;
	certificate->not_after = DAY;
	length = certificate_signed_bytes(certificate, bytes);
	crypto_sign_detached(
	    certificate->signature, NULL, bytes, length, authority->secret);
}

/* --- frames -------------------------------------------------------------- */

static void
relay_sample(struct frame *frame, const uint8_t *handle, const uint8_t *payload,
    size_t length)
{
	memset(frame, 0, sizeof(*frame));
	frame->body = FRAME_RELAY;
	frame->handle = handle;
	frame->chat_id.bytes = (const uint8_t *)"chat-1";
	frame->chat_id.length = 6;
	frame->payload.bytes = payload;
	frame->payload.length = length;
	frame->sequence = UINT64_C(1) << 40;
	frame->counter = 127;
	frame->version = UINT32_MAX;
}

START_TEST(relay_equals_protobuf)
{
	static const size_t sizes[] = { 0, 1, 100, 127, 128, 16383, 16384,
		300000 };
	static uint8_t payload[300000];
	struct Nodemesh__V1__RouteFrame *wire;
	struct frame frame, back;
	uint8_t handle[KEY_SIZE], *bytes, *again;
	size_t length, i;

	randombytes_buf(handle, sizeof(handle));
	randombytes_buf(payload, sizeof(payload));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		relay_sample(&frame, handle, payload, sizes[i]);
		bytes = malloc(frame_bound(&frame));
		length = frame_write(&frame, bytes);
		ck_assert_uint_le(length, frame_bound(&frame));
		wire = nodemesh__v1__route_frame__unpack(NULL, length, bytes);
		ck_assert_ptr_nonnull(wire);
		ck_assert_int_eq(wire->body_case,
		    NODEMESH__V1__ROUTE_FRAME__BODY_RELAY_MESSAGE);
		ck_assert_str_eq(wire->relay_message->chat_id, "chat-1");
		ck_assert_uint_eq(wire->relay_message->payload.len, sizes[i]);
		ck_assert_uint_eq(
		    wire->relay_message->sequence, frame.sequence);
		ck_assert_uint_eq(wire->relay_message->counter, 127);
		ck_assert_uint_eq(wire->relay_message->key_version, UINT32_MAX);
		ck_assert_mem_eq(
		    wire->relay_message->handle.data, handle, KEY_SIZE);
		/* And the other way round. */
		ck_assert_uint_eq(
		    nodemesh__v1__route_frame__get_packed_size(wire), length);
		again = malloc(length);
		nodemesh__v1__route_frame__pack(wire, again);
		ck_assert_int_eq(frame_read(&back, again, length), 0);
		ck_assert_int_eq(back.body, FRAME_RELAY);
		ck_assert_uint_eq(back.payload.length, sizes[i]);
		if (sizes[i] > 0)
			ck_assert_mem_eq(back.payload.bytes, payload, sizes[i]);
		ck_assert_mem_eq(back.handle, handle, KEY_SIZE);
		ck_assert_uint_eq(back.sequence, frame.sequence);
		ck_assert_uint_eq(back.counter, frame.counter);
		ck_assert_uint_eq(back.version, frame.version);
		nodemesh__v1__route_frame__free_unpacked(wire, NULL);
		free(bytes);
		free(again);
	}
}
END_TEST

START_TEST(other_frames_equal_protobuf)
{
	struct Nodemesh__V1__RouteFrame *wire;
	struct frame frame = { 0 }, back;
	uint8_t handle[KEY_SIZE], bytes[512];
	size_t length;

	memset(handle, 0x5a, sizeof(handle));
	frame.handle = handle;
	frame.chat_id.bytes = (const uint8_t *)"c";
	frame.chat_id.length = 1;
	frame.correlation.bytes = (const uint8_t *)"corr";
	frame.correlation.length = 4;
	frame.word.bytes = (const uint8_t *)"LIMIT_REACHED";
	frame.word.length = 13;
	frame.retry_after = 1500000000;
	frame.body = FRAME_ERROR;
	length = frame_write(&frame, bytes);
	wire = nodemesh__v1__route_frame__unpack(NULL, length, bytes);
	ck_assert_ptr_nonnull(wire);
	ck_assert_str_eq(wire->correlation_id, "corr");
	ck_assert_str_eq(wire->error->code, "LIMIT_REACHED");
	ck_assert_str_eq(wire->error->chat_id, "c");
	ck_assert_int_eq(wire->error->retry_after_nanos, 1500000000);
	nodemesh__v1__route_frame__free_unpacked(wire, NULL);

	frame.body = FRAME_TEARDOWN;
	frame.version = 3;
	frame.instance = handle;
	length = frame_write(&frame, bytes);
	ck_assert_uint_le(length, frame_bound(&frame));
	wire = nodemesh__v1__route_frame__unpack(NULL, length, bytes);
	ck_assert_ptr_nonnull(wire);
	ck_assert_str_eq(wire->teardown_tieline->reason, "LIMIT_REACHED");
	ck_assert_uint_eq(wire->teardown_tieline->key_version, 3);
	ck_assert_uint_eq(wire->teardown_tieline->instance.len, INSTANCE_SIZE);
	ck_assert_int_eq(frame_read(&back, bytes, length), 0);
	ck_assert_mem_eq(back.instance, handle, INSTANCE_SIZE);
	/* Half of one is none. */
	wire->teardown_tieline->instance.len = INSTANCE_SIZE / 2;
	length = nodemesh__v1__route_frame__pack(wire, bytes);
	ck_assert_int_eq(frame_read(&back, bytes, length), -1);
	nodemesh__v1__route_frame__free_unpacked(wire, NULL);
	frame.instance = NULL;

	frame.body = FRAME_RELAY_ACK;
	frame.sequence = 99;
	length = frame_write(&frame, bytes);
	wire = nodemesh__v1__route_frame__unpack(NULL, length, bytes);
	ck_assert_ptr_nonnull(wire);
	ck_assert_uint_eq(wire->relay_ack->sequence, 99);
	ck_assert_uint_eq(wire->relay_ack->handle.len, KEY_SIZE);
	nodemesh__v1__route_frame__free_unpacked(wire, NULL);
	ck_assert_int_eq(frame_read(&back, bytes, length), 0);
	ck_assert_int_eq(back.body, FRAME_RELAY_ACK);
	ck_assert_uint_eq(back.sequence, 99);

	frame.body = FRAME_CREDIT;
	frame.messages = 256;
	frame.bytes = UINT64_C(1) << 33;
	length = frame_write(&frame, bytes);
	wire = nodemesh__v1__route_frame__unpack(NULL, length, bytes);
	ck_assert_ptr_nonnull(wire);
	ck_assert_uint_eq(wire->credit->messages, 256);
	ck_assert_uint_eq(wire->credit->bytes, UINT64_C(1) << 33);
	nodemesh__v1__route_frame__free_unpacked(wire, NULL);
}
END_TEST

START_TEST(hostile_frames_are_refused)
{
	struct frame frame, back;
	uint8_t handle[KEY_SIZE] = { 1 }, payload[40] = { 2 }, bytes[256];
	size_t length, i;
	static const struct {
		size_t length;
		uint8_t bytes[16];
	} broken[] = {
		{ 1, { 0x1a } },       /* no length */
		{ 2, { 0x1a, 0x05 } }, /* past the end */
		{ 2, { 0x00, 0x00 } }, /* field 0 */
		{ 1, { 0x1b } },       /* group */
		{ 11, { 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			  0xff, 0x01 } }, /* length 2^64 - 1 */
		{ 12, { 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			  0xff, 0xff, 0x01 } },          /* varint too long */
		{ 5, { 0x1a, 0x03, 0x22, 0x01, 0x00 } }, /* handle of 1 */
		{ 4, { 0x1a, 0x02, 0x12, 0x09 } },       /* payload past end */
	};

	for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		errno = 0;
		ck_assert_int_eq(
		    frame_read(&back, broken[i].bytes, broken[i].length), -1);
		ck_assert_int_eq(errno, EINVAL);
	}
	/* Every truncation of a good one, read from a block of that size. */
	relay_sample(&frame, handle, payload, sizeof(payload));
	length = frame_write(&frame, bytes);
	for (i = 0; i < length; i++) {
		uint8_t *cut = malloc(i + 1);

		memcpy(cut, bytes, i);
		ck_assert(frame_read(&back, cut, i) == -1 || i == 0);
		free(cut);
	}
	/* Unknown fields are skipped, an unknown body is none. */
	ck_assert_int_eq(frame_read(&back, (const uint8_t *)"\x4a\x01x", 3), 0);
	ck_assert_int_eq(back.body, FRAME_NONE);
	memcpy(bytes + length, "\x4a\x01x\x50\x07", 5);
	ck_assert_int_eq(frame_read(&back, bytes, length + 5), 0);
	ck_assert_int_eq(back.body, FRAME_RELAY);
}
END_TEST

START_TEST(random_frames_do_no_harm)
{
	struct frame frame, back;
	uint8_t handle[KEY_SIZE] = { 1 }, payload[64] = { 2 };
	uint8_t bytes[256], mutant[256];
	size_t length, i;

	relay_sample(&frame, handle, payload, sizeof(payload));
	length = frame_write(&frame, bytes);
	for (i = 0; i < 200000; i++) {
		struct Nodemesh__V1__RouteFrame *wire;

		memcpy(mutant, bytes, length);
		mutant[randombytes_uniform((uint32_t)length)] =
		    (uint8_t)randombytes_random();
		mutant[randombytes_uniform(12)] = (uint8_t)randombytes_random();
		if (frame_read(&back, mutant, length) == -1 ||
		    back.body != FRAME_RELAY)
			continue;
		/* What we took as one, protobuf-c reads alike. */
		wire = nodemesh__v1__route_frame__unpack(NULL, length, mutant);
		if (wire == NULL)
			continue;
		if (wire->body_case ==
		    NODEMESH__V1__ROUTE_FRAME__BODY_RELAY_MESSAGE) {
			ck_assert_uint_eq(
			    wire->relay_message->sequence, back.sequence);
			ck_assert_uint_eq(wire->relay_message->payload.len,
			    back.payload.length);
		}
		nodemesh__v1__route_frame__free_unpacked(wire, NULL);
	}
}
END_TEST

/* --- descriptors --------------------------------------------------------- */

static struct Nodemesh__V1__NodeDescriptor *
descriptor_sample(const struct identity *authority, const struct identity *node,
    uint64_t incarnation)
{
	struct ipc_identity identity = { .unlocked = 1, .in_mesh = 1 };
	struct Nodemesh__V1__NodeDescriptor *descriptor;
	uint8_t digest[KEY_SIZE];

	strlcpy(identity.node_id, "alpha", sizeof(identity.node_id));
	memcpy(identity.node_key, node->key, KEY_SIZE);
	memset(identity.mesh_spki, 0x33, KEY_SIZE);
	identity_certify(authority, node, "alpha", &identity.certificate);
	descriptor = wire_descriptor_own(
	    &identity, incarnation, "127.0.0.1:4433", "127.0.0.1:4430");
	ck_assert_ptr_nonnull(descriptor);
	wire_descriptor_digest(descriptor, digest);
	statement_sign(node, STATEMENT_DESCRIPTOR, "alpha", node->key,
	    incarnation, digest, descriptor->signature.data);
	return (descriptor);
}

static int
descriptor_check(const struct Nodemesh__V1__NodeDescriptor *node,
    const uint8_t *authority, int64_t now)
{
	struct descriptor read;

	if (wire_descriptor_read(&read, node) == -1)
		return (-1);
	return (wire_descriptor_verify(&read, node, authority, now));
}

START_TEST(descriptor_holds_only_as_signed)
{
	struct identity authority, node, other;
	struct Nodemesh__V1__NodeDescriptor *descriptor;
	struct descriptor read;

	identity_make(&authority, 1);
	identity_make(&node, 2);
	identity_make(&other, 3);
	descriptor = descriptor_sample(&authority, &node, 5);
	ck_assert_int_eq(wire_descriptor_read(&read, descriptor), 0);
	ck_assert_str_eq(read.endpoint, "127.0.0.1:4433");
	ck_assert_str_eq(read.app_endpoint, "127.0.0.1:4430");
	ck_assert_uint_eq(read.incarnation, 5);
	ck_assert_int_eq(descriptor_check(descriptor, authority.key, 1), 0);
	/* Another mesh, an expired certificate. */
	ck_assert_int_eq(descriptor_check(descriptor, other.key, 1), -1);
	ck_assert_int_eq(
	    descriptor_check(descriptor, authority.key, 2 * DAY), -1);
	ck_assert_int_eq(errno, ETIME);
	/* Whatever is changed, the signature is broken (L17, L31). */
	descriptor->incarnation = 6;
	ck_assert_int_eq(descriptor_check(descriptor, authority.key, 1), -1);
	ck_assert_int_eq(errno, EACCES);
	descriptor->incarnation = 5;
	descriptor->endpoint[0] = '2';
	ck_assert_int_eq(descriptor_check(descriptor, authority.key, 1), -1);
	descriptor->endpoint[0] = '1';
	descriptor->metadata[0]->value[0] = '9';
	ck_assert_int_eq(descriptor_check(descriptor, authority.key, 1), -1);
	descriptor->metadata[0]->value[0] = '1';
	descriptor->tls_spki_sha256.data[0] ^= 1;
	ck_assert_int_eq(descriptor_check(descriptor, authority.key, 1), -1);
	descriptor->tls_spki_sha256.data[0] ^= 1;
	descriptor->capabilities[0][0] ^= 1;
	ck_assert_int_eq(descriptor_check(descriptor, authority.key, 1), -1);
	descriptor->capabilities[0][0] ^= 1;
	/* A certificate of another node does not lend its name. */
	memcpy(descriptor->identity_key.data, other.key, KEY_SIZE);
	ck_assert_int_eq(descriptor_check(descriptor, authority.key, 1), -1);
	memcpy(descriptor->identity_key.data, node.key, KEY_SIZE);
	ck_assert_int_eq(descriptor_check(descriptor, authority.key, 1), 0);
	nodemesh__v1__node_descriptor__free_unpacked(descriptor, NULL);
}
END_TEST

START_TEST(descriptor_form_is_checked)
{
	struct identity authority, node;
	struct Nodemesh__V1__NodeDescriptor *descriptor;
	struct descriptor read;
	char *kept, long_text[300];
	size_t length;

	identity_make(&authority, 1);
	identity_make(&node, 2);
	descriptor = descriptor_sample(&authority, &node, 5);
	kept = descriptor->node_id;
	descriptor->node_id = (char *)(uintptr_t) "Not A Name";
	ck_assert_int_eq(wire_descriptor_read(&read, descriptor), -1);
	descriptor->node_id = kept;
	kept = descriptor->endpoint;
	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	descriptor->endpoint = long_text;
	ck_assert_int_eq(wire_descriptor_read(&read, descriptor), -1);
	descriptor->endpoint = (char *)(uintptr_t) "bad\nhost:1";
	ck_assert_int_eq(wire_descriptor_read(&read, descriptor), -1);
	descriptor->endpoint = kept;
	length = descriptor->certificate.len;
	descriptor->certificate.len = 10;
	ck_assert_int_eq(wire_descriptor_read(&read, descriptor), -1);
	descriptor->certificate.len = length;
	ck_assert_int_eq(wire_descriptor_read(&read, descriptor), 0);
	nodemesh__v1__node_descriptor__free_unpacked(descriptor, NULL);
}
END_TEST

/* --- presence ------------------------------------------------------------ */

static void
attestation_sample(const struct identity *app, const struct identity *node,
    struct attestation *attestation)
{
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	size_t length;

	memset(attestation, 0, sizeof(*attestation));
	attestation->kind = ATTESTATION_V2;
	memcpy(attestation->app_key, app->key, KEY_SIZE);
	memcpy(attestation->node_key, node->key, KEY_SIZE);
	strlcpy(attestation->node_id, "alpha", NODE_ID_SIZE);
	attestation->issued_at = DAY;
	attestation->expires_at = DAY + 1000;
	length = attestation_signed_bytes(attestation, bytes);
	crypto_sign_detached(
	    attestation->signature, NULL, bytes, length, app->secret);
}

static int
registration_check(const struct Nodemesh__V1__AppRegistration *app,
    const uint8_t node_key[KEY_SIZE], int compat_v1, int64_t now,
    struct attestation *attestation)
{
	if (wire_registration_read(app, node_key, attestation) == -1)
		return (-1);
	return (wire_registration_verify(app, attestation, compat_v1, now));
}

START_TEST(registration_names_its_node)
{
	struct identity app, node, thief;
	struct attestation attestation, read;
	struct Nodemesh__V1__AppRegistration *registration;

	identity_make(&app, 1);
	identity_make(&node, 2);
	identity_make(&thief, 3);
	attestation_sample(&app, &node, &attestation);
	registration = wire_registration_make(
	    &attestation, "alpha", "s", 1, 2, 0, NULL, 0);
	ck_assert_ptr_nonnull(registration);
	ck_assert_int_eq(
	    registration_check(registration, node.key, 0, DAY, &read), 0);
	ck_assert_mem_eq(read.app_key, app.key, KEY_SIZE);
	/* L19: a node claims an app of another. */
	ck_assert_int_eq(
	    registration_check(registration, thief.key, 0, DAY, &read), -1);
	ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(
	    registration_check(registration, node.key, 0, 3 * DAY, &read), -1);
	ck_assert_int_eq(errno, ETIME);
	registration->attestation.data[100] ^= 1;
	ck_assert_int_eq(
	    registration_check(registration, node.key, 0, DAY, &read), -1);
	registration->attestation.data[100] ^= 1;
	hex_encode(registration->app_id, thief.key, KEY_SIZE);
	ck_assert_int_eq(
	    registration_check(registration, node.key, 0, DAY, &read), -1);
	nodemesh__v1__app_registration__free_unpacked(registration, NULL);
}
END_TEST

START_TEST(registration_v1_only_when_allowed)
{
	struct Nodemesh__V1__AppRegistration__MetadataEntry entry =
	    NODEMESH__V1__APP_REGISTRATION__METADATA_ENTRY__INIT;
	struct Nodemesh__V1__AppRegistration__MetadataEntry *list = &entry;
	struct metadata_pair pair = { "role", 4, "echo", 4 };
	struct identity app, node;
	struct attestation attestation = { .kind = ATTESTATION_V1 }, read;
	struct Nodemesh__V1__AppRegistration *registration;
	uint8_t bytes[256];
	size_t length;

	identity_make(&app, 1);
	identity_make(&node, 2);
	memcpy(attestation.app_key, app.key, KEY_SIZE);
	memcpy(attestation.node_key, node.key, KEY_SIZE);
	strlcpy(attestation.node_id, "alpha", NODE_ID_SIZE);
	length = attestation_v1_bytes(bytes, sizeof(bytes), "alpha", &pair, 1);
	crypto_sign_detached(
	    attestation.signature, NULL, bytes, length, app.secret);
	entry.key = (char *)(uintptr_t) "role";
	entry.value = (char *)(uintptr_t) "echo";
	registration = wire_registration_make(
	    &attestation, "alpha", "s", 1, 2, 0, &list, 1);
	ck_assert_ptr_nonnull(registration);
	ck_assert_int_eq(
	    registration_check(registration, node.key, 1, DAY, &read), 0);
	ck_assert_int_eq(
	    registration_check(registration, node.key, 0, DAY, &read), -1);
	registration->metadata[0]->value[0] = 'E';
	ck_assert_int_eq(
	    registration_check(registration, node.key, 1, DAY, &read), -1);
	nodemesh__v1__app_registration__free_unpacked(registration, NULL);
}
END_TEST

START_TEST(presence_digest_covers_everything)
{
	struct identity app, node;
	struct attestation attestation;
	struct Nodemesh__V1__AppSync sync = NODEMESH__V1__APP_SYNC__INIT;
	struct Nodemesh__V1__AppRegistration *registration;
	uint8_t before[KEY_SIZE], after[KEY_SIZE];

	identity_make(&app, 1);
	identity_make(&node, 2);
	attestation_sample(&app, &node, &attestation);
	registration = wire_registration_make(
	    &attestation, "alpha", "s", 1, 2, 0, NULL, 0);
	sync.apps = &registration;
	sync.n_apps = 1;
	wire_presence_digest(&sync, before);
	sync.full = 1;
	wire_presence_digest(&sync, after);
	ck_assert_mem_ne(before, after, KEY_SIZE);
	sync.full = 0;
	registration->departed = 1;
	wire_presence_digest(&sync, after);
	ck_assert_mem_ne(before, after, KEY_SIZE);
	registration->departed = 0;
	registration->session_id[0] = 't';
	wire_presence_digest(&sync, after);
	ck_assert_mem_ne(before, after, KEY_SIZE);
	registration->session_id[0] = 's';
	registration->sequence++;
	wire_presence_digest(&sync, after);
	ck_assert_mem_ne(before, after, KEY_SIZE);
	registration->sequence--;
	sync.n_apps = 0;
	wire_presence_digest(&sync, after);
	ck_assert_mem_ne(before, after, KEY_SIZE);
	sync.n_apps = 1;
	wire_presence_digest(&sync, after);
	ck_assert_mem_eq(before, after, KEY_SIZE);
	nodemesh__v1__app_registration__free_unpacked(registration, NULL);
}
END_TEST

/* --- set-ups ------------------------------------------------------------- */

static void
setup_sample(struct ipc_setup *setup, const struct identity *source,
    const struct identity *target, const struct identity *here,
    const struct identity *there)
{
	struct offer *offer = &setup->offer;
	int lo;

	memset(setup, 0, sizeof(*setup));
	strlcpy(setup->chat_id, "integration-chat", CHAT_ID_SIZE);
	ck_assert_int_eq(chat_key_make(&setup->key, setup->chat_id, source->key,
			     target->key),
	    0);
	lo = setup->key.side == CHAT_LO;
	memcpy(offer->handle, setup->key.handle, KEY_SIZE);
	offer->version = 4;
	offer->side = setup->key.side;
	memcpy(lo ? offer->app_lo : offer->app_hi, source->key, KEY_SIZE);
	memcpy(lo ? offer->app_hi : offer->app_lo, target->key, KEY_SIZE);
	memcpy(lo ? offer->node_lo : offer->node_hi, here->key, KEY_SIZE);
	memcpy(lo ? offer->node_hi : offer->node_lo, there->key, KEY_SIZE);
	memset(offer->ephemeral, 9, KEY_SIZE);
	memcpy(setup->node, there->key, KEY_SIZE);
}

START_TEST(setup_goes_round)
{
	struct Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT,
					*back;
	struct Approuter__V1__StartChat__MetadataEntry entry =
	    APPROUTER__V1__START_CHAT__METADATA_ENTRY__INIT;
	struct Approuter__V1__StartChat__MetadataEntry *entries = &entry;
	struct identity source, target, here, there;
	struct ipc_identity identity = { .unlocked = 1 };
	struct ipc_setup out, in;
	struct frame_text packed;
	uint8_t key[KEY_SIZE] = { 4 }, tail[1024], from[KEY_SIZE];
	uint8_t to[KEY_SIZE], *bytes, *tail_back;
	char source_id[APP_ID_LENGTH + 1], target_id[APP_ID_LENGTH + 1];
	size_t length, tail_length;

	identity_make(&source, 1);
	identity_make(&target, 2);
	identity_make(&here, 3);
	identity_make(&there, 4);
	strlcpy(identity.node_id, "alpha", sizeof(identity.node_id));
	memcpy(identity.node_key, here.key, KEY_SIZE);
	setup_sample(&out, &source, &target, &here, &there);
	hex_encode(source_id, source.key, KEY_SIZE);
	hex_encode(target_id, target.key, KEY_SIZE);
	start.chat_id = out.chat_id;
	start.local_ephemeral_public_key.data = key;
	start.local_ephemeral_public_key.len = sizeof(key);
	start.source_app_id = source_id;
	start.target_app_id = target_id;
	start.key_version = 0;
	start.rekey = 1;
	entry.key = (char *)(uintptr_t) "topic";
	entry.value = (char *)(uintptr_t) "weather";
	start.metadata = &entries;
	start.n_metadata = 1;
	tail_length = approuter__v1__start_chat__pack(&start, tail);
	bytes = frame_setup_pack(&out, tail, tail_length, &identity, &length);
	ck_assert_ptr_nonnull(bytes);
	packed.bytes = bytes;
	packed.length = length;
	ck_assert_int_eq(frame_setup_read(&packed, "alpha", here.key, &in, from,
			     to, &tail_back, &tail_length),
	    0);
	ck_assert_mem_eq(from, source.key, KEY_SIZE);
	ck_assert_mem_eq(to, target.key, KEY_SIZE);
	ck_assert_mem_eq(in.key.handle, out.key.handle, KEY_SIZE);
	ck_assert_uint_eq(in.key.side, out.key.side ^ 1);
	ck_assert_mem_eq(&in.offer, &out.offer, sizeof(in.offer));
	ck_assert_mem_eq(in.node, here.key, KEY_SIZE);
	ck_assert_uint_eq(in.answer, 0);
	ck_assert_uint_eq(in.flags, CHAT_REKEY);
	back = approuter__v1__start_chat__unpack(NULL, tail_length, tail_back);
	ck_assert_ptr_nonnull(back);
	ck_assert_str_eq(back->source_app_id, source_id);
	ck_assert_str_eq(back->metadata[0]->value, "weather");
	/* As signed: version 0 stays 0. */
	ck_assert_uint_eq(back->key_version, 0);
	ck_assert_int_eq(back->rekey, 1);
	approuter__v1__start_chat__free_unpacked(back, NULL);
	free(tail_back);
	/* L16: the same frame from another node. */
	ck_assert_int_eq(frame_setup_read(&packed, "alpha", there.key, &in,
			     from, to, &tail_back, &tail_length),
	    -1);
	ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(frame_setup_read(&packed, "beta", here.key, &in, from,
			     to, &tail_back, &tail_length),
	    -1);
	ck_assert_int_eq(errno, EACCES);
	free(bytes);
}
END_TEST

START_TEST(setup_resume_has_no_tail)
{
	struct identity source, target, here, there;
	struct ipc_identity identity = { .unlocked = 1 };
	struct ipc_setup out, in;
	struct frame_text packed;
	uint8_t from[KEY_SIZE], to[KEY_SIZE], *bytes, *tail;
	size_t length, tail_length, i;

	identity_make(&source, 2);
	identity_make(&target, 1);
	identity_make(&here, 3);
	identity_make(&there, 4);
	strlcpy(identity.node_id, "alpha", sizeof(identity.node_id));
	memcpy(identity.node_key, here.key, KEY_SIZE);
	setup_sample(&out, &source, &target, &here, &there);
	out.delivered = 17;
	out.acked = 16;
	out.answer = 1;
	memset(out.instance, 5, INSTANCE_SIZE);
	bytes = frame_setup_pack(&out, NULL, 0, &identity, &length);
	ck_assert_ptr_nonnull(bytes);
	packed.bytes = bytes;
	packed.length = length;
	ck_assert_int_eq(frame_setup_read(&packed, "alpha", here.key, &in, from,
			     to, &tail, &tail_length),
	    0);
	ck_assert_ptr_null(tail);
	ck_assert_uint_eq(in.delivered, 17);
	ck_assert_uint_eq(in.acked, 16);
	ck_assert_uint_eq(in.answer, 1);
	ck_assert_mem_eq(in.instance, out.instance, INSTANCE_SIZE);
	ck_assert_uint_eq(in.flags, 0);
	/* An offer of another chat, or side, does not pass for this one. */
	for (i = 0; i < length; i++) {
		uint8_t *cut = malloc(i + 1);

		memcpy(cut, bytes, i);
		packed.bytes = cut;
		packed.length = i;
		if (frame_setup_read(&packed, "alpha", here.key, &in, from, to,
			&tail, &tail_length) == 0)
			free(tail);
		free(cut);
	}
	free(bytes);
	out.answer = 0;
	out.flags = CHAT_RESUME;
	bytes = frame_setup_pack(&out, NULL, 0, &identity, &length);
	packed.bytes = bytes;
	packed.length = length;
	ck_assert_int_eq(frame_setup_read(&packed, "alpha", here.key, &in, from,
			     to, &tail, &tail_length),
	    0);
	ck_assert_ptr_null(tail);
	ck_assert_uint_eq(in.flags, CHAT_RESUME);
	ck_assert_uint_eq(in.answer, 0);
	free(bytes);
	out.chat_id[0] = 'X';
	bytes = frame_setup_pack(&out, NULL, 0, &identity, &length);
	packed.bytes = bytes;
	packed.length = length;
	ck_assert_int_eq(frame_setup_read(&packed, "alpha", here.key, &in, from,
			     to, &tail, &tail_length),
	    -1);
	ck_assert_int_eq(errno, EINVAL);
	free(bytes);
}
END_TEST

static Suite *
wire_suite(void)
{
	Suite *suite = suite_create("mesh_wire");
	TCase *tcase = tcase_create("wire");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, relay_equals_protobuf);
	tcase_add_test(tcase, other_frames_equal_protobuf);
	tcase_add_test(tcase, hostile_frames_are_refused);
	tcase_add_test(tcase, random_frames_do_no_harm);
	tcase_add_test(tcase, descriptor_holds_only_as_signed);
	tcase_add_test(tcase, descriptor_form_is_checked);
	tcase_add_test(tcase, registration_names_its_node);
	tcase_add_test(tcase, registration_v1_only_when_allowed);
	tcase_add_test(tcase, presence_digest_covers_everything);
	tcase_add_test(tcase, setup_goes_round);
	tcase_add_test(tcase, setup_resume_has_no_tail);
	suite_add_tcase(suite, tcase);
	return (suite);
}

int
main(void)
{
	if (sodium_init() == -1)
		return (1);
	return (suite_run(wire_suite()));
}
