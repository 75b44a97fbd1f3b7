/*
 * Tests only. Apps of the router under test: their keys, their streams, how
 * they connect. Include once, after played_streams.h.
 */
#ifndef REGRESS_UNIT_ROUTER_APPS_H
#define REGRESS_UNIT_ROUTER_APPS_H

#include <sodium.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "proto/approuter.pb-c.h"
#include "router/session.h"

typedef Approuter__V1__AppFrame Frame;

struct app_player {
	uint8_t key[KEY_SIZE];
	uint8_t secret[64];
	char id[APP_ID_LENGTH + 1];
	struct rpc_stream *stream;
	struct attestation attestation; /* of its last APP_UP */
	int up;
};

static struct app_player alice, bob, carol;
static struct app_player *crowd; /* more of them, for one test */
static size_t crowd_count;

HELPER struct rpc_stream *
stream_open(void)
{
	struct rpc_stream *stream = stream_new();

	PLAYED_CHECK(session_opened(stream, NULL) == RPC_OK);
	return (stream);
}

/* The stream's end, as the event loop would bring it. */
HELPER void
stream_close(struct rpc_stream *stream)
{
	session_closed(stream, RPC_CANCELLED, NULL, stream->arg);
	stream_free(stream);
}

HELPER void
app_say_bytes(struct rpc_stream *stream, const uint8_t *bytes, size_t length)
{
	stream->sent += length;
	session_message(stream, bytes, length, stream->arg);
}

HELPER void
app_say(struct rpc_stream *stream, Frame *frame)
{
	size_t length = approuter__v1__app_frame__get_packed_size(frame);
	uint8_t *bytes = malloc(length + 1);

	(void)approuter__v1__app_frame__pack(frame, bytes);
	app_say_bytes(stream, bytes, length);
	free(bytes);
}

/* The next frame that the app was sent, or NULL; the caller frees it. */
HELPER Frame *
app_hear(struct rpc_stream *stream)
{
	struct written *written = stream_take(stream);
	Frame *frame;

	if (written == NULL)
		return (NULL);
	frame = approuter__v1__app_frame__unpack(
	    NULL, written->length, written->bytes);
	PLAYED_CHECK(frame != NULL);
	written_free(written);
	return (frame);
}

HELPER void
frame_free(Frame *frame)
{
	approuter__v1__app_frame__free_unpacked(frame, NULL);
}

HELPER void
app_make_keys(struct app_player *app, uint8_t seed_byte)
{
	uint8_t seed[32];

	memset(app, 0, sizeof(*app));
	memset(seed, seed_byte, sizeof(seed));
	(void)crypto_sign_seed_keypair(app->key, app->secret, seed);
	hex_encode(app->id, app->key, KEY_SIZE);
}

/* Answer a Challenge on the stream. change: spoil something first. */
HELPER void
app_answer(struct app_player *app, struct rpc_stream *stream,
    const Approuter__V1__Challenge *challenge, int accept_auto,
    void (*change)(Approuter__V1__Connect *))
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__Connect connect = APPROUTER__V1__CONNECT__INIT;
	Approuter__V1__Connect__MetadataEntry entry =
	    APPROUTER__V1__CONNECT__METADATA_ENTRY__INIT;
	Approuter__V1__Connect__MetadataEntry *entries = &entry;
	struct metadata_pair pair = { "accept", 6, "auto", 4 };
	struct attestation attestation = { .kind = ATTESTATION_V2 };
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	uint8_t signature[SIGNATURE_SIZE];
	char accept[] = "accept", word[] = "auto";

	memcpy(attestation.app_key, app->key, KEY_SIZE);
	memcpy(attestation.node_key, challenge->node_public_key.data, KEY_SIZE);
	memcpy(attestation.nonce, challenge->nonce.data, KEY_SIZE);
	(void)strlcpy(attestation.node_id, challenge->node_id,
	    sizeof(attestation.node_id));
	attestation.issued_at = clock_wall();
	attestation.expires_at = attestation.issued_at + 3600 * CLOCK_SECOND;
	metadata_hash(attestation.metadata_hash, &pair, accept_auto ? 1 : 0);
	(void)crypto_sign_detached(signature, NULL, bytes,
	    attestation_signed_bytes(&attestation, bytes), app->secret);
	entry.key = accept;
	entry.value = word;
	if (accept_auto) {
		connect.metadata = &entries;
		connect.n_metadata = 1;
	}
	connect.app_public_key.data = app->key;
	connect.app_public_key.len = KEY_SIZE;
	connect.signature.data = signature;
	connect.signature.len = SIGNATURE_SIZE;
	connect.nonce.data = attestation.nonce;
	connect.nonce.len = KEY_SIZE;
	connect.node_id = attestation.node_id;
	connect.issued_at = attestation.issued_at;
	connect.expires_at = attestation.expires_at;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CONNECT;
	frame.connect = &connect;
	if (change != NULL)
		change(&connect);
	app_say(stream, &frame);
}

/* Answer the Challenge that waits on the stream. */
HELPER void
app_connect_stream(struct app_player *app, struct rpc_stream *stream,
    int accept_auto, void (*change)(Approuter__V1__Connect *))
{
	Frame *frame = app_hear(stream);

	PLAYED_CHECK(
	    frame != NULL &&
	    frame->body_case == APPROUTER__V1__APP_FRAME__BODY_CHALLENGE);
	app_answer(app, stream, frame->challenge, accept_auto, change);
	frame_free(frame);
}

#endif
