/*
 * libhermes. The talk with the node: its Challenge is checked against the key
 * it is known by and the certificate of this very connection, then Connect,
 * heartbeats, FindApp, GoAway. The node is hostile until the Challenge holds.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_internal.h"
#include "common/frame/frames.h"
#include "common/sign/attestation.h"
#include "common/sign/statement.h"

/* Metadata as protobuf-c wants it; entries[count] and list[count]. */
static void
connect_metadata(const struct hermes_options *options,
    Approuter__V1__Connect__MetadataEntry *entries,
    Approuter__V1__Connect__MetadataEntry **list)
{
	size_t i;

	for (i = 0; i < options->metadata_count; i++) {
		approuter__v1__connect__metadata_entry__init(&entries[i]);
		entries[i].key = (char *)(uintptr_t)options->metadata[i].key;
		entries[i].value =
		    (char *)(uintptr_t)options->metadata[i].value;
		list[i] = &entries[i];
	}
}

/* Fill in and sign the presence attestation for this node. 0 or -1. */
static int
connect_sign(struct hermes *hermes, const uint8_t nonce[KEY_SIZE],
    struct attestation *attestation)
{
	const struct hermes_options *options = &hermes->options;
	struct metadata_pair *pairs;
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	size_t i, length;

	memset(attestation, 0, sizeof(*attestation));
	pairs = calloc(options->metadata_count + 1, sizeof(*pairs));
	if (pairs == NULL)
		return (-1);
	for (i = 0; i < options->metadata_count; i++) {
		pairs[i].key = options->metadata[i].key;
		pairs[i].key_length = strlen(pairs[i].key);
		pairs[i].value = options->metadata[i].value;
		pairs[i].value_length = strlen(pairs[i].value);
	}
	metadata_hash(
	    attestation->metadata_hash, pairs, options->metadata_count);
	free(pairs);
	attestation->kind = ATTESTATION_V2;
	memcpy(attestation->app_key, hermes->public_key, KEY_SIZE);
	memcpy(attestation->node_key, hermes->node_key, KEY_SIZE);
	memcpy(attestation->nonce, nonce, KEY_SIZE);
	memcpy(attestation->node_id, hermes->node_id, NODE_ID_SIZE);
	attestation->issued_at = clock_wall();
	attestation->expires_at = attestation->issued_at + LIB_ATTESTATION_LIFE;
	length = attestation_signed_bytes(attestation, bytes);
	return (crypto_sign_detached(
	    attestation->signature, NULL, bytes, length, hermes->secret));
}

static void
session_connect(struct hermes *hermes, const uint8_t nonce[KEY_SIZE])
{
	const struct hermes_options *options = &hermes->options;
	Approuter__V1__Connect__MetadataEntry *entries, **list;
	Approuter__V1__AppFrame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__Connect connect = APPROUTER__V1__CONNECT__INIT;
	struct attestation attestation;

	entries = calloc(options->metadata_count + 1, sizeof(*entries));
	list = calloc(options->metadata_count + 1, sizeof(void *));
	if (entries == NULL || list == NULL ||
	    connect_sign(hermes, nonce, &attestation) == -1) {
		link_break(hermes, "out of memory");
		goto done;
	}
	connect_metadata(options, entries, list);
	connect.app_public_key.data = hermes->public_key;
	connect.app_public_key.len = KEY_SIZE;
	connect.signature.data = attestation.signature;
	connect.signature.len = SIGNATURE_SIZE;
	connect.node_id = hermes->node_id;
	connect.n_metadata = options->metadata_count;
	connect.metadata = list;
	connect.nonce.data = attestation.nonce;
	connect.nonce.len = KEY_SIZE;
	connect.issued_at = attestation.issued_at;
	connect.expires_at = attestation.expires_at;
	connect.arrived = follow_arrives(hermes);
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CONNECT;
	frame.connect = &connect;
	if (frame_send(hermes, &frame) == -1)
		link_break(hermes, "cannot send Connect");
	else
		hermes->state = LINK_GREETING;
done:
	free(entries);
	free(list);
}

/*
 * Does the node hold the key it shows, for this connection? The key is the
 * pinned one, or the one it showed first. NULL, or what is wrong.
 */
static const char *
challenge_check(
    const struct hermes *hermes, const Approuter__V1__Challenge *challenge)
{
	uint8_t spki[KEY_SIZE], bytes[CHALLENGE_SIGNED_MAX];
	size_t length;

	if (challenge->nonce.len != KEY_SIZE ||
	    challenge->node_public_key.len != KEY_SIZE ||
	    challenge->signature.len != SIGNATURE_SIZE ||
	    !node_id_valid(challenge->node_id, strlen(challenge->node_id)) ||
	    strlen(challenge->mesh_id) > 2 * KEY_SIZE)
		return ("malformed Challenge");
	if (hermes->node_known &&
	    sodium_memcmp(hermes->node_key, challenge->node_public_key.data,
		KEY_SIZE) != 0)
		return ("the node has another key than expected");
	if (rpc_connection_peer_spki(hermes->link->connection, spki) == -1)
		return ("the node shows no certificate");
	length = challenge_signed_bytes(challenge->nonce.data,
	    challenge->node_id, challenge->mesh_id, spki, bytes);
	if (crypto_sign_verify_detached(challenge->signature.data, bytes,
		length, challenge->node_public_key.data) != 0)
		return ("the node does not prove its key");
	return (NULL);
}

static void
session_on_challenge(
    struct hermes *hermes, const Approuter__V1__Challenge *challenge)
{
	const char *wrong;

	if ((wrong = challenge_check(hermes, challenge)) != NULL) {
		link_break(hermes, wrong);
		return;
	}
	hermes->node_known = 1;
	memcpy(hermes->node_key, challenge->node_public_key.data, KEY_SIZE);
	memset(hermes->node_id, 0, sizeof(hermes->node_id));
	memcpy(hermes->node_id, challenge->node_id, strlen(challenge->node_id));
	session_connect(hermes, challenge->nonce.data);
}

static void
session_on_connect_ack(
    struct hermes *hermes, const Approuter__V1__ConnectAck *ack)
{
	hermes->max_message = ack->max_message_size;
	hermes->window = ack->chat_window == 0 ? 1 : ack->chat_window;
	if (hermes->options.window != 0 &&
	    hermes->options.window < hermes->window)
		hermes->window = hermes->options.window;
	hermes->renew_at = clock_monotonic() + LIB_ATTESTATION_RENEW;
	follow_learn(hermes, ack->nodes, ack->n_nodes);
	follow_arrived(hermes);
	link_up(hermes);
	if (hermes->callbacks.connected != NULL)
		hermes->callbacks.connected(
		    hermes, ack->assigned_session_id, hermes->arg);
	if (hermes->state == LINK_UP)
		chat_all_up(hermes);
}

static void
go_away_tell(struct hermes *hermes, const Approuter__V1__GoAway *frame)
{
	struct hermes_node *nodes;
	size_t i;

	if (hermes->callbacks.go_away == NULL)
		return;
	nodes = calloc(frame->n_nodes + 1, sizeof(*nodes));
	if (nodes == NULL)
		return;
	for (i = 0; i < frame->n_nodes; i++) {
		nodes[i].node_id = frame->nodes[i]->node_id;
		nodes[i].endpoint = frame->nodes[i]->endpoint;
		if (frame->nodes[i]->node_public_key.len == KEY_SIZE)
			nodes[i].node_key =
			    frame->nodes[i]->node_public_key.data;
	}
	hermes->callbacks.go_away(
	    hermes, frame->reason, nodes, frame->n_nodes, hermes->arg);
	free(nodes);
}

static void
session_on_go_away(struct hermes *hermes, const Approuter__V1__GoAway *frame)
{
	/* Two of one identity would throw each other out for ever. */
	if (strcmp(frame->reason, "replaced") == 0 ||
	    strcmp(frame->reason, "moved") == 0)
		hermes->final = 1;
	go_away_tell(hermes, frame);
	if (strcmp(frame->reason, "shutdown") != 0 || hermes->final ||
	    hermes->state != LINK_UP)
		return;
	follow_learn(hermes, frame->nodes, frame->n_nodes);
	(void)follow_next(hermes);
}

static void
session_on_found(
    struct hermes *hermes, const Approuter__V1__FindAppResult *frame)
{
	if (hermes->callbacks.found != NULL)
		hermes->callbacks.found(hermes, frame->target_app_id,
		    frame->node_id, frame->status, hermes->arg);
}

/* 1, or 0 when it does not fit. */
static int
span_copy(char *to, size_t size, struct span span)
{
	if (span.length >= size)
		return (0);
	if (span.length > 0)
		memcpy(to, span.bytes, span.length);
	to[span.length] = '\0';
	return (1);
}

static void
session_up_frame(struct hermes *hermes, Approuter__V1__AppFrame *frame)
{
	switch (frame->body_case) {
	case APPROUTER__V1__APP_FRAME__BODY_START_CHAT:
		chat_on_start(hermes, frame->start_chat);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_START_CHAT_ACK:
		chat_on_start_ack(hermes, frame->start_chat_ack);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_DELETE_CHAT_ACK:
		chat_on_delete_ack(
		    hermes, frame->correlation_id, frame->delete_chat_ack);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_CHAT_STATUS:
		chat_on_status(hermes, frame->chat_status);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_ERROR:
		chat_on_error(hermes, frame->correlation_id, frame->error);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_FIND_APP_RESULT:
		session_on_found(hermes, frame->find_app_result);
		break;
	case APPROUTER__V1__APP_FRAME__BODY_GO_AWAY:
		session_on_go_away(hermes, frame->go_away);
		break;
	default:
		break; /* a heartbeat, or from a newer node */
	}
}

/* 1 when it was a message or an acknowledgement, which come by the hundred
 * thousand: these are read where they lie. */
static int
session_message_frame(
    struct hermes *hermes, const uint8_t *bytes, size_t length)
{
	struct frame frame;
	struct frame_chat_message message;
	char chat_id[CHAT_ID_SIZE], peer[HERMES_APP_ID_SIZE];

	if (frame_parse(&frame, bytes, length) == -1)
		return (0);
	switch (frame.field) {
	case FRAME_CHAT_MESSAGE:
		if (frame_read_chat_message(&message, frame.body) == -1)
			return (0);
		break;
	case FRAME_CHAT_MESSAGE_ACK:
		if (frame_read_chat_ack(&message, frame.body) == -1)
			return (0);
		break;
	default:
		return (0);
	}
	/* Longer ids are no chat's. */
	if (!span_copy(chat_id, sizeof(chat_id), message.chat_id) ||
	    !span_copy(peer, sizeof(peer), message.peer))
		return (1);
	if (frame.field == FRAME_CHAT_MESSAGE)
		chat_on_message(hermes, chat_id, peer, message.sequence,
		    message.payload.bytes, message.payload.length);
	else
		chat_on_ack(hermes, chat_id, peer, message.sequence);
	return (1);
}

void
session_frame(struct hermes *hermes, const uint8_t *bytes, size_t length)
{
	Approuter__V1__AppFrame *frame;

	if (hermes->state == LINK_UP &&
	    session_message_frame(hermes, bytes, length))
		return;
	if ((frame = frame_unpack(hermes, bytes, length)) == NULL) {
		link_break(hermes, "the node sent a broken frame");
		return;
	}
	if (hermes->state == LINK_UP)
		session_up_frame(hermes, frame);
	else if (hermes->state == LINK_CHALLENGE &&
		 frame->body_case == APPROUTER__V1__APP_FRAME__BODY_CHALLENGE)
		session_on_challenge(hermes, frame->challenge);
	else if (hermes->state == LINK_GREETING &&
		 frame->body_case == APPROUTER__V1__APP_FRAME__BODY_CONNECT_ACK)
		session_on_connect_ack(hermes, frame->connect_ack);
	else if (frame->body_case == APPROUTER__V1__APP_FRAME__BODY_GO_AWAY)
		session_on_go_away(hermes, frame->go_away);
	frame_done(hermes, frame);
}

/* Each heartbeat interval: is the node there, is the attestation fresh? */
void
session_beat(evutil_socket_t fd, short what, void *arg)
{
	struct hermes *hermes = arg;
	Approuter__V1__AppFrame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__Heartbeat beat = APPROUTER__V1__HEARTBEAT__INIT;
	int64_t now = clock_monotonic();

	(void)fd;
	(void)what;
	if (hermes->state != LINK_UP)
		return;
	if (hermes->heard)
		hermes->heard_at = now;
	hermes->heard = 0;
	if (now - hermes->heard_at > LIB_SILENCE * hermes->options.heartbeat) {
		link_break(hermes, "the node has gone silent");
		return;
	}
	if (now > hermes->renew_at) {
		link_break(hermes, "renewing the attestation");
		return;
	}
	beat.timestamp_nanos = clock_wall();
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_HEARTBEAT;
	frame.heartbeat = &beat;
	if (frame_send(hermes, &frame) == -1)
		link_break(hermes, "cannot send a heartbeat");
}

int
hermes_find(struct hermes *hermes, const char *app_id, const char *node_hint)
{
	Approuter__V1__AppFrame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__FindApp find = APPROUTER__V1__FIND_APP__INIT;
	char correlation[32];

	if (hermes->state != LINK_UP) {
		errno = ENOTCONN;
		return (-1);
	}
	(void)snprintf(correlation, sizeof(correlation), "f%llu",
	    (unsigned long long)++hermes->serial);
	frame.correlation_id = correlation;
	find.target_app_id = (char *)(uintptr_t)app_id;
	if (node_hint != NULL)
		find.target_node_hint = (char *)(uintptr_t)node_hint;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_FIND_APP;
	frame.find_app = &find;
	return (frame_send(hermes, &frame));
}
