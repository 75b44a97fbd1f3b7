/*
 * Tests only, of fuzz_peers.c. What nodes say to the mesh process, signed
 * well or not. Include once.
 */
#ifndef REGRESS_FUZZ_PEERS_MOUTHS_H
#define REGRESS_FUZZ_PEERS_MOUTHS_H

typedef struct Nodemesh__V1__GossipMessage Gossip;
typedef struct Nodemesh__V1__MembershipEvent Event;
typedef struct Nodemesh__V1__NodeDescriptor Node;

#define BODY(kind) NODEMESH__V1__GOSSIP_MESSAGE__BODY_##kind

/* --- what the mesh says -------------------------------------------------- */

static void
line_hears(
    struct rpc_connection *line, enum call call, const struct written *written)
{
	Nodemesh__V1__JoinResponse *response;
	Nodemesh__V1__JoinRequest *request;
	Gossip *gossip;
	struct frame frame;

	if (call == CALL_ROUTE) {
		FUZZ_CHECK(
		    frame_read(&frame, written->bytes, written->length) == 0);
	} else if (call == CALL_GOSSIP) {
		gossip = nodemesh__v1__gossip_message__unpack(
		    NULL, written->length, written->bytes);
		FUZZ_CHECK(gossip != NULL);
		if (gossip->body_case == BODY(PING))
			line->ping = gossip->ping->sequence;
		nodemesh__v1__gossip_message__free_unpacked(gossip, NULL);
	} else if (line->dialled != NULL) {
		request = nodemesh__v1__join_request__unpack(
		    NULL, written->length, written->bytes);
		FUZZ_CHECK(request != NULL);
		nodemesh__v1__join_request__free_unpacked(request, NULL);
	} else {
		response = nodemesh__v1__join_response__unpack(
		    NULL, written->length, written->bytes);
		FUZZ_CHECK(response != NULL);
		FUZZ_CHECK(response->certificate.len == 0 || house.asked);
		nodemesh__v1__join_response__free_unpacked(response, NULL);
	}
}

/* --- gossip -------------------------------------------------------------- */

/* Does the house read that stream of the line? */
static int
hears(const struct rpc_connection *line, enum call call)
{
	const struct rpc_stream *stream = line->streams[call];

	return (stream != NULL && !stream->finished && !stream->cancelled);
}

static void
deliver(struct rpc_connection *line, enum call call, const uint8_t *bytes,
    size_t length)
{
	struct rpc_stream *stream = line->streams[call];
	uint8_t *exact;

	if (!hears(line, call))
		return;
	/* Of its exact size, so that a read beyond it is seen. */
	FUZZ_CHECK((exact = malloc(length + 1)) != NULL);
	if (length > 0)
		memcpy(exact + 1, bytes, length);
	stream->sent += length;
	speaking = line->who;
	stream->callbacks->message(stream, exact + 1, length, stream->arg);
	free(exact);
}

static void
deliver_gossip(struct rpc_connection *line, const Gossip *message)
{
	size_t length = nodemesh__v1__gossip_message__get_packed_size(message);
	uint8_t *bytes = malloc(length + 1);

	FUZZ_CHECK(bytes != NULL);
	(void)nodemesh__v1__gossip_message__pack(message, bytes);
	deliver(line, CALL_GOSSIP, bytes, length);
	free(bytes);
}

static uint64_t
any_incarnation(uint8_t byte)
{
	return (byte == 255 ? UINT64_MAX : (uint64_t)byte * byte * byte);
}

/* A descriptor: as its node signs it, changed since, or a bare name. */
static Node *
node_make(struct actor *actor, uint8_t how, uint64_t incarnation)
{
	Node *node = cast_descriptor(actor->name, &actor->keys, actor->spki,
	    &actor->certificate, incarnation, actor == &actors[BETA]);

	if (how & 1) {
		if (actor != &actors[FORGED] && actor != &actors[STRANGER])
			actor->described = 1;
		return (node);
	}
	switch (how >> 1 & 3) {
	case 0:
		node->endpoint[0] = '2';
		break;
	case 1:
		node->signature.len = 0;
		break;
	case 2:
		node->identity_key.data[how >> 3] ^= 1;
		break;
	case 3:
		node->incarnation++;
		break;
	}
	return (node);
}

static Event *
event_make(void)
{
	uint8_t type = input_u8(feed), about = input_u8(feed);
	uint8_t how = input_u8(feed);
	struct actor *actor = &actors[about % ACTORS];
	uint8_t digest[KEY_SIZE], mesh_id[KEY_SIZE];
	Event *event = malloc(sizeof(*event));

	FUZZ_CHECK(event != NULL);
	nodemesh__v1__membership_event__init(event);
	event->type = (Nodemesh__V1__MembershipEvent__Type)(type % 7);
	event->incarnation = any_incarnation(input_u8(feed));
	event->node = node_make(actor, how, event->incarnation);
	event->accuser = strdup(actors[(about >> 3) % ACTORS].name);
	event->signature.data = calloc(1, SIGNATURE_SIZE);
	FUZZ_CHECK(event->accuser != NULL && event->signature.data != NULL);
	event->signature.len = SIGNATURE_SIZE;
	mesh_id_make(mesh_id, authority.public);
	wire_leave_digest(mesh_id, digest);
	if (how & 0x80)
		cast_state(STATEMENT_LEAVE, actor->name, &actor->keys,
		    event->incarnation, digest, event->signature.data);
	return (event);
}

static size_t
events_make(Event *events[4], uint8_t many)
{
	size_t i, count = many % 4;

	for (i = 0; i < count; i++)
		events[i] = event_make();
	return (count);
}

static void
events_free(Event *events[4], size_t count)
{
	while (count > 0)
		nodemesh__v1__membership_event__free_unpacked(
		    events[--count], NULL);
}

static void
say_event(struct rpc_connection *line)
{
	Gossip message = NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	Event *event = event_make();

	message.body_case = BODY(MEMBERSHIP);
	message.membership = event;
	deliver_gossip(line, &message);
	nodemesh__v1__membership_event__free_unpacked(event, NULL);
}

/* Ping, PingReq, Ack and Nack are one layout. */
static void
say_probe(struct rpc_connection *line)
{
	static const int kinds[] = { BODY(PING), BODY(PING_REQ), BODY(ACK),
		BODY(NACK) };
	Gossip message = NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	Nodemesh__V1__Ping ping = NODEMESH__V1__PING__INIT;
	Nodemesh__V1__PingReq ping_req = NODEMESH__V1__PING_REQ__INIT;
	Nodemesh__V1__Ack ack = NODEMESH__V1__ACK__INIT;
	Nodemesh__V1__Nack nack = NODEMESH__V1__NACK__INIT;
	uint8_t what = input_u8(feed), many = input_u8(feed);
	char target[NODE_ID_SIZE];
	Event *events[4];
	size_t count = events_make(events, many);

	(void)strlcpy(target, actors[(what >> 2) % ACTORS].name, NODE_ID_SIZE);
	message.body_case = kinds[what & 3];
	ping.sequence = ping_req.sequence = ack.sequence = nack.sequence =
	    what & 0x80 ? many : line->ping;
	ping.target = ping_req.target = ack.target = nack.target = target;
	ping.updates = ping_req.updates = ack.updates = events;
	ping.n_updates = ping_req.n_updates = ack.n_updates = count;
	switch (what & 3) {
	case 0:
		message.ping = &ping;
		break;
	case 1:
		message.ping_req = &ping_req;
		break;
	case 2:
		message.ack = &ack;
		break;
	case 3:
		message.nack = &nack;
		break;
	}
	deliver_gossip(line, &message);
	events_free(events, count);
}

static void
say_push_pull(struct rpc_connection *line)
{
	Gossip message = NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	Nodemesh__V1__PushPull body = NODEMESH__V1__PUSH_PULL__INIT;
	Nodemesh__V1__AppDigest digests[2], *list[2];
	uint8_t what = input_u8(feed);
	Event *events[4];
	size_t i, count = events_make(events, what);

	for (i = 0; i < 2; i++) {
		nodemesh__v1__app_digest__init(&digests[i]);
		digests[i].node_id =
		    (char *)(uintptr_t)actors[(what >> (2 + 2 * i)) % ACTORS]
			.name;
		digests[i].sequence = any_incarnation(input_u8(feed));
		list[i] = &digests[i];
	}
	body.reply = what >> 7;
	body.members = events;
	body.n_members = count;
	body.apps = list;
	body.n_apps = (what >> 6 & 1) * 2;
	message.body_case = BODY(PUSH_PULL);
	message.push_pull = &body;
	deliver_gossip(line, &message);
	events_free(events, count);
}

static void
say_sync(struct rpc_connection *line)
{
	Gossip message = NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	Nodemesh__V1__AppSync sync = NODEMESH__V1__APP_SYNC__INIT;
	Nodemesh__V1__AppRegistration *list[3];
	uint8_t whose = input_u8(feed), many = input_u8(feed), how;
	struct actor *actor = &actors[whose % ACTORS], *home;
	uint8_t signature[SIGNATURE_SIZE];
	struct attestation attestation;
	size_t i;

	sync.node_id = (char *)(uintptr_t)actor->name;
	sync.sequence = any_incarnation(input_u8(feed));
	sync.full = many >> 2 & 1;
	sync.n_apps = many & 3;
	for (i = 0; i < sync.n_apps; i++) {
		how = input_u8(feed);
		home = how & 0x80 ? &actors[(how >> 2) % ACTORS] : actor;
		cast_attest(&apps[how % APPS], home->name, home->keys.public,
		    &attestation);
		if (how & 0x40)
			attestation.signature[0] ^= 1;
		else if (home == actor)
			actor->claims[how % APPS] = 1;
		list[i] = wire_registration_make(&attestation, actor->name, "s",
		    1, (how >> 4 & 1) + i + 1, how >> 5 & 1, NULL, 0);
		FUZZ_CHECK(list[i] != NULL);
	}
	sync.apps = list;
	cast_sync(&sync, actor->name, &actor->keys, signature);
	if (whose & 0x80)
		signature[0] ^= 1;
	message.body_case = BODY(APP_SYNC);
	message.app_sync = &sync;
	deliver_gossip(line, &message);
	for (i = 0; i < sync.n_apps; i++)
		nodemesh__v1__app_registration__free_unpacked(list[i], NULL);
}

static void
revocation_make(struct actor *actor, int good, struct ipc_revocation *out)
{
	uint8_t digest[KEY_SIZE];
	uint8_t bytes[STATEMENT_SIGNED_MAX];
	size_t length;

	memset(out, 0, sizeof(*out));
	(void)strlcpy(out->node_id, actor->name, NODE_ID_SIZE);
	memcpy(out->node_key, actor->keys.public, KEY_SIZE);
	out->serial = actor->certificate.serial;
	out->revoked_at = clock_wall();
	wire_revocation_digest(out->revoked_at, digest);
	length = statement_signed_bytes(STATEMENT_REVOCATION, actor->name,
	    actor->keys.public, out->serial, digest, bytes);
	crypto_sign_detached(out->signature, NULL, bytes, length,
	    good ? authority.secret : actors[MALLORY].keys.secret);
	if (good)
		actor->revoked = 1;
}

static void
say_revocation(struct rpc_connection *line)
{
	Gossip message = NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	Nodemesh__V1__Revocation body = NODEMESH__V1__REVOCATION__INIT;
	uint8_t what = input_u8(feed);
	struct actor *actor = &actors[what % ACTORS];
	struct ipc_revocation revocation;

	if (!hears(line, CALL_GOSSIP))
		return; /* nobody is revoked by that */
	revocation_make(actor, what >> 7, &revocation);
	body.node_id = revocation.node_id;
	body.identity_key.data = revocation.node_key;
	body.identity_key.len = KEY_SIZE;
	body.serial = revocation.serial;
	body.revoked_at_nanos = revocation.revoked_at;
	body.signature.data = revocation.signature;
	body.signature.len = SIGNATURE_SIZE;
	message.body_case = BODY(REVOCATION);
	message.revocation = &body;
	deliver_gossip(line, &message);
}

static void
say_raw(struct rpc_connection *line, enum call call)
{
	const uint8_t *bytes;
	size_t length = input_span(feed, input_u8(feed), &bytes);

	deliver(line, call, bytes, length);
}

static void
say_gossip(struct rpc_connection *line)
{
	Gossip message = NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	Nodemesh__V1__Heartbeat heartbeat = NODEMESH__V1__HEARTBEAT__INIT;
	uint8_t what = input_u8(feed);

	switch (what % 8) {
	case 0:
	case 1:
		say_event(line);
		break;
	case 2:
		say_probe(line);
		break;
	case 3:
		say_push_pull(line);
		break;
	case 4:
		say_sync(line);
		break;
	case 5:
		say_revocation(line);
		break;
	case 6:
		heartbeat.node_id =
		    (char *)(uintptr_t)actors[(what >> 3) % ACTORS].name;
		message.body_case = BODY(HEARTBEAT);
		message.heartbeat = &heartbeat;
		deliver_gossip(line, &message);
		break;
	case 7:
		say_raw(line, CALL_GOSSIP);
		break;
	}
}

/* --- chats --------------------------------------------------------------- */

static void
deliver_frame(struct rpc_connection *line, const struct frame *frame)
{
	uint8_t *bytes = malloc(frame_bound(frame));

	FUZZ_CHECK(bytes != NULL);
	deliver(line, CALL_ROUTE, bytes, frame_write(frame, bytes));
	free(bytes);
}

static void
say_setup(struct rpc_connection *line, uint8_t what)
{
	struct frame frame = { .body = FRAME_SETUP };
	struct ipc_identity identity = { .unlocked = 1 };
	struct ipc_setup setup;
	uint8_t how = input_u8(feed), *packed;
	struct actor *actor = &actors[line->who], *named = actor;
	int x = what % APPS, y = (what >> 2) % APPS;

	if (x == y)
		return;
	if (how & 1)
		named = &actors[(how >> 1) % ACTORS];
	cast_setup(&setup, "chat", &apps[x], &actor->keys, &apps[y],
	    actors[SELF].keys.public);
	setup.answer = how >> 5 & 1;
	setup.flags = how & 0x40 ? CHAT_RESUME : 0;
	if (how & 0x80)
		setup.offer.signature[0] ^= 1;
	(void)strlcpy(identity.node_id, named->name, NODE_ID_SIZE);
	memcpy(identity.node_key, named->keys.public, KEY_SIZE);
	packed =
	    frame_setup_pack(&setup, NULL, 0, &identity, &frame.setup.length);
	FUZZ_CHECK(packed != NULL);
	frame.setup.bytes = packed;
	if (named == actor)
		actor->setups = 1;
	deliver_frame(line, &frame);
	free(packed);
}

static void
say_route(struct rpc_connection *line)
{
	static const char *const words[] = { "deleted", "RATCHET_DESYNC",
		"UNKNOWN_APP", "no such word" };
	struct frame frame = { .body = FRAME_NONE };
	struct chat_key key;
	uint8_t kind = input_u8(feed), what = input_u8(feed), payload[64];
	int x = what % APPS, y = (what >> 2) % APPS;

	if (kind % 8 < 2) {
		say_setup(line, what);
		return;
	}
	if (kind % 8 == 7) {
		say_raw(line, CALL_ROUTE);
		return;
	}
	if (x == y)
		return;
	FUZZ_CHECK(
	    chat_key_make(&key, "chat", apps[x].public, apps[y].public) == 0);
	frame.body = (enum frame_body)(FRAME_RELAY + kind % 8 - 2);
	frame.handle = key.handle;
	frame.chat_id.bytes = (const uint8_t *)"chat";
	frame.chat_id.length = 4;
	memset(payload, what, sizeof(payload));
	frame.payload.bytes = payload;
	frame.payload.length = sizeof(payload);
	frame.sequence = frame.counter = kind >> 3;
	frame.version = frame.messages = 1 + (what >> 4);
	frame.bytes = any_incarnation(what);
	frame.word.bytes = (const uint8_t *)words[what >> 6];
	frame.word.length = strlen(words[what >> 6]);
	deliver_frame(line, &frame);
}

/* --- Join, as a server and as a client ----------------------------------- */

static void
request_deliver(struct rpc_connection *line, uint8_t how)
{
	Nodemesh__V1__JoinRequest request = NODEMESH__V1__JOIN_REQUEST__INIT;
	struct actor *actor = &actors[line->who];
	uint8_t nonce[KEY_SIZE] = { 7 }, secret[TICKET_SECRET_SIZE] = { 0 };
	uint8_t digest[KEY_SIZE], signature[SIGNATURE_SIZE], *bytes;
	uint8_t encoded[TICKET_ENCODED_MAX];
	struct ticket ticket;
	size_t length;

	if (how & 8)
		memcpy(secret, ticket_secret, sizeof(secret));
	request.node = node_make(actor, how, 5);
	request.nonce.data = nonce;
	request.nonce.len = KEY_SIZE;
	wire_join_digest(secret, nonce, actors[SELF].keys.public, digest);
	cast_state(
	    STATEMENT_JOIN, actor->name, &actor->keys, 0, digest, signature);
	signature[0] ^= how >> 7;
	request.signature.data = signature;
	request.signature.len = SIGNATURE_SIZE;
	request.ticket_secret.data = secret;
	request.ticket_secret.len = how & 8 ? TICKET_SECRET_SIZE : 0;
	if (how & 0x10) {
		cast_ticket(how & 0x20 ? &other_authority : &authority, secret,
		    actors[SELF].keys.public, "127.0.0.1:1", &ticket);
		request.ticket.data = encoded;
		request.ticket.len = ticket_encode(&ticket, encoded);
	}
	/* A member's descriptor need not be good for its own renewal. */
	if (!(how & 0x80) && (how & 1) && (how & 0x30) != 0x30)
		house.asked = 1;
	length = nodemesh__v1__join_request__get_packed_size(&request);
	FUZZ_CHECK((bytes = malloc(length + 1)) != NULL);
	(void)nodemesh__v1__join_request__pack(&request, bytes);
	deliver(line, CALL_JOIN, bytes, length);
	free(bytes);
	nodemesh__v1__node_descriptor__free_unpacked(request.node, NULL);
}

static void
response_deliver(struct rpc_connection *line, uint8_t how)
{
	Nodemesh__V1__JoinResponse response = NODEMESH__V1__JOIN_RESPONSE__INIT;
	struct actor *actor = &actors[line->who];
	Node *list[2];
	struct certificate certificate;
	uint8_t encoded[CERTIFICATE_ENCODED], *bytes;
	size_t length;

	cast_certify(how & 2 ? &other_authority : &authority,
	    actors[how & 4 ? MALLORY : SELF].name,
	    actors[how & 8 ? MALLORY : SELF].keys.public, 9,
	    how & 0x10 ? 1 : FUZZ_EPOCH + YEAR, &certificate);
	certificate_encode(&certificate, encoded);
	list[0] = node_make(actor, 1, 5);
	list[1] = node_make(&actors[LATE], how >> 5, 6);
	response.self = list[0];
	response.membership = list;
	response.n_membership = 2;
	response.authority_key.data =
	    how & 1 ? other_authority.public : authority.public;
	response.authority_key.len = KEY_SIZE;
	response.certificate.data = encoded;
	response.certificate.len = how & 0x80 ? 0 : sizeof(encoded);
	length = nodemesh__v1__join_response__get_packed_size(&response);
	FUZZ_CHECK((bytes = malloc(length + 1)) != NULL);
	(void)nodemesh__v1__join_response__pack(&response, bytes);
	deliver(line, CALL_JOIN, bytes, length);
	free(bytes);
	nodemesh__v1__node_descriptor__free_unpacked(list[0], NULL);
	nodemesh__v1__node_descriptor__free_unpacked(list[1], NULL);
}

static void
say_join(struct rpc_connection *line)
{
	uint8_t what = input_u8(feed);

	if (line->streams[CALL_JOIN] == NULL)
		return;
	/* A unary call has one message either way. */
	if (line->streams[CALL_JOIN]->sent > 0)
		return;
	if (what == 0)
		say_raw(line, CALL_JOIN);
	else if (line->dialled != NULL)
		response_deliver(line, input_u8(feed));
	else
		request_deliver(line, input_u8(feed));
}

#endif
