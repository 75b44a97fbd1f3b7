/*
 * A node that lies to others: strangers, members that speak for others,
 * forged descriptors and presence, frames of other nodes' chats. The test
 * itself is the liar, with a TLS key of its own.
 */
#include "regress/unit/mesh_fixture.h"

#include "common/rpc/rpc.h"
#include "common/util/hex.h"
#include "mesh/wire_frame.h"
#include "regress/unit/suite.h"

#define SERVICE "/nodemesh.v1.NodeMesh/"

/* Mallory: keys, a connection, one stream. */
static struct {
	struct node node;
	struct rpc_tls *tls;
	struct rpc_connection *connection;
	struct rpc_stream *stream;
	int connected;
	int closed;
	enum rpc_status status;
	struct frame frame; /* the last RouteFrame */
	char word[64];      /* its code */
	unsigned frames;
} liar;

static void
on_connected(struct rpc_connection *connection, void *arg)
{
	(void)connection;
	(void)arg;
	liar.connected = 1;
}

static void
on_failed(struct rpc_connection *connection, const char *error, void *arg)
{
	(void)connection;
	(void)arg;
	ck_abort_msg("no connection: %s", error);
}

static void
on_gone(struct rpc_connection *connection, void *arg)
{
	(void)connection;
	(void)arg;
	liar.connection = NULL;
}

static const struct rpc_client_callbacks client_callbacks = {
	.connected = on_connected, .failed = on_failed, .closed = on_gone
};

static void
on_message(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	size_t n;

	(void)arg;
	rpc_stream_consume(stream, length);
	if (frame_read(&liar.frame, bytes, length) == -1)
		return;
	n = liar.frame.word.length < sizeof(liar.word) - 1
		? liar.frame.word.length
		: sizeof(liar.word) - 1;
	if (n > 0)
		memcpy(liar.word, liar.frame.word.bytes, n);
	liar.word[n] = '\0';
	liar.frames++;
}

static void
on_stream_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *text, void *arg)
{
	(void)stream;
	(void)text;
	(void)arg;
	liar.stream = NULL;
	liar.status = status;
	liar.closed = 1;
}

static const struct rpc_stream_callbacks stream_callbacks = {
	.message = on_message, .closed = on_stream_closed
};

/* Connect to node as one that the authority certified, or not. */
static void
liar_connect(const struct node *node, int member)
{
	struct rpc_tls_options options = { .verify = RPC_VERIFY_PEER_LATER };
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct rpc_limits limits;
	struct binding binding;
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem, *data, *key, error[256];
	long size;

	memset(&liar, 0, sizeof(liar));
	(void)strlcpy(liar.node.name, "mallory", sizeof(liar.node.name));
	keys_make(&liar.node.keys);
	liar.node.tls = EVP_EC_gen("P-256");
	spki_hash(liar.node.tls, liar.node.spki);
	if (member) {
		liar.node.in_mesh = 1;
		certify(&liar.node, 50, &liar.node.certificate);
	}
	binding_make(&liar.node, &binding);
	pem = pem_make(liar.node.tls, &binding);
	ck_assert_int_eq(PEM_write_bio_PrivateKey(
			     bio, liar.node.tls, NULL, NULL, 0, NULL, NULL),
	    1);
	size = BIO_get_mem_data(bio, &data);
	key = strndup(data, (size_t)size);
	BIO_free(bio);
	options.certificate_pem = pem;
	options.certificate_length = strlen(pem);
	options.key_pem = key;
	options.key_length = strlen(key);
	liar.tls = rpc_tls_client(&options, error, sizeof(error));
	ck_assert_msg(liar.tls != NULL, "%s", error);
	free(pem);
	free(key);
	rpc_limits_default(&limits);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port =
	    htons((uint16_t)atoi(strchr(node->endpoint, ':') + 1));
	liar.connection = rpc_connect(world.base, liar.tls, &limits,
	    (struct sockaddr *)&address, "localhost", &client_callbacks, NULL);
	ck_assert_ptr_nonnull(liar.connection);
	UNTIL(liar.connected);
}

static void
liar_call(const char *method)
{
	char path[64];

	if (liar.stream != NULL) {
		rpc_stream_cancel(liar.stream);
		UNTIL(liar.closed);
	}
	liar.closed = 0;
	(void)snprintf(path, sizeof(path), "%s%s", SERVICE, method);
	liar.stream =
	    rpc_call(liar.connection, path, 0, &stream_callbacks, NULL);
	ck_assert_ptr_nonnull(liar.stream);
}

static void
liar_close(void)
{
	if (liar.connection != NULL)
		rpc_connection_close(liar.connection);
	UNTIL(liar.connection == NULL);
	rpc_tls_free(liar.tls);
	EVP_PKEY_free(liar.node.tls);
}

static void
liar_gossip(const struct Nodemesh__V1__GossipMessage *message)
{
	uint8_t *packed;
	size_t length;

	length = nodemesh__v1__gossip_message__get_packed_size(message);
	packed = malloc(length);
	nodemesh__v1__gossip_message__pack(message, packed);
	ck_assert_int_eq(rpc_stream_send(liar.stream, packed, length), 0);
	free(packed);
}

static void
liar_frame(const struct frame *frame)
{
	uint8_t packed[4096];

	ck_assert_uint_le(frame_bound(frame), sizeof(packed));
	ck_assert_int_eq(
	    rpc_stream_send(liar.stream, packed, frame_write(frame, packed)),
	    0);
}

static void
liar_is_denied(void)
{
	UNTIL(liar.closed);
	ck_assert_int_eq(liar.status, RPC_PERMISSION_DENIED);
}

static struct node *
victim_make(unsigned index, const char *name)
{
	struct node *node = node_new(index, name);

	node_certify(node, index == 0);
	node_start(node);
	UNTIL(node->ready);
	return (node);
}

START_TEST(L18_strangers_may_only_join)
{
	struct node *a = victim_make(0, "alpha");

	UNTIL(node_state_of(a, a) == NODE_ALIVE);
	liar_connect(a, 0);
	liar_call("Gossip");
	liar_is_denied();
	liar_call("RouteChat");
	liar_is_denied();
	liar_close();
	/* One certified by an authority of its own is as strange. */
	world.authority.secret[0] ^= 1;
	world.authority.secret[40] ^= 1;
	liar_connect(a, 1);
	liar_call("Gossip");
	liar_is_denied();
	liar_close();
}
END_TEST

/* Mallory's signed descriptor, on the heap. */
static struct Nodemesh__V1__NodeDescriptor *
liar_descriptor(uint64_t incarnation)
{
	return (cast_descriptor(liar.node.name, &liar.node.keys, liar.node.spki,
	    &liar.node.certificate, incarnation, 0));
}

static void
liar_event(Nodemesh__V1__MembershipEvent__Type type,
    struct Nodemesh__V1__NodeDescriptor *node, uint64_t incarnation)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__MembershipEvent event =
	    NODEMESH__V1__MEMBERSHIP_EVENT__INIT;

	event.type = type;
	event.node = node;
	event.incarnation = incarnation;
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_MEMBERSHIP;
	message.membership = &event;
	liar_gossip(&message);
}

START_TEST(L17_L31_nobody_speaks_for_another)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__Heartbeat heartbeat =
	    NODEMESH__V1__HEARTBEAT__INIT;
	struct Nodemesh__V1__NodeDescriptor *node;
	struct node *a = victim_make(0, "alpha");

	UNTIL(node_state_of(a, a) == NODE_ALIVE);
	liar_connect(a, 1);
	liar_call("Gossip");
	heartbeat.node_id = a->name;
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_HEARTBEAT;
	message.heartbeat = &heartbeat;
	liar_gossip(&message);
	liar_is_denied();
	/* A descriptor whose word was changed on the way. */
	liar_call("Gossip");
	node = liar_descriptor(5);
	node->endpoint[0] = '2';
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, node, 5);
	liar_is_denied();
	nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	/* L31: out of range, refused without a word; then a good one. */
	liar_call("Gossip");
	node = liar_descriptor(UINT64_MAX);
	liar_event(
	    NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, node, UINT64_MAX);
	nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	node = liar_descriptor(5);
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, node, 5);
	UNTIL(node_state_of(a, &liar.node) == NODE_ALIVE ||
	      node_state_of(a, &liar.node) == NODE_SUSPECT);
	/* A LEAVE for oneself that nobody signed. */
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__LEAVE, node, 5);
	liar_is_denied();
	nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	liar_close();
}
END_TEST

START_TEST(L18_hearsay_does_not_evict)
{
	struct Nodemesh__V1__NodeDescriptor node =
	    NODEMESH__V1__NODE_DESCRIPTOR__INIT;
	struct node *a = victim_make(0, "alpha");
	struct node *b = victim_make(1, "beta");
	int64_t end;
	unsigned i;

	node_join(b, a); /* it is a member: refused, but they may meet */
	a->saved_count = 1;
	(void)strlcpy(a->saved[0].endpoint, b->endpoint, ENDPOINT_SIZE);
	a->saved[0].certificate = b->certificate;
	keyd_identify(a);
	UNTIL(node_state_of(a, b) == NODE_ALIVE);
	liar_connect(a, 1);
	liar_call("Gossip");
	node.node_id = b->name;
	node.identity_key.data = b->keys.public;
	node.identity_key.len = KEY_SIZE;
	end = clock_monotonic() + 3 * CLOCK_SECOND;
	for (i = 0; clock_monotonic() < end; i++) {
		liar_event(i % 2
			       ? NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__FAIL
			       : NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__SUSPECT,
		    &node, 1000 + i / 50);
		ck_assert_uint_ne(node_state_of(a, b), NODE_FAILED);
	}
	UNTIL(node_state_of(a, b) == NODE_ALIVE);
	liar_close();
}
END_TEST

/* An AppSync of node_id with one registration, signed by mallory. */
static void
liar_sync(const char *node_id, const struct attestation *attestation,
    uint64_t sequence)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__AppSync sync = NODEMESH__V1__APP_SYNC__INIT;
	struct Nodemesh__V1__AppRegistration *app;
	uint8_t signature[SIGNATURE_SIZE];
	char name[NODE_ID_SIZE];

	(void)strlcpy(name, node_id, sizeof(name));
	app = wire_registration_make(attestation, name, "s", 1, 1, 0, NULL, 0);
	sync.node_id = name;
	sync.sequence = sequence;
	sync.full = 1;
	sync.apps = &app;
	sync.n_apps = 1;
	cast_sync(&sync, name, &liar.node.keys, signature);
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_APP_SYNC;
	message.app_sync = &sync;
	liar_gossip(&message);
	nodemesh__v1__app_registration__free_unpacked(app, NULL);
}

START_TEST(L19_nobody_claims_apps_of_others)
{
	struct Nodemesh__V1__NodeDescriptor *node;
	struct attestation attestation;
	struct keys app, own;
	struct node *a = victim_make(0, "alpha");
	struct node *b = victim_make(1, "beta");
	struct ipc_find find = { .id = 1 };

	keys_make(&app);
	keys_make(&own);
	a->saved_count = 1;
	(void)strlcpy(a->saved[0].endpoint, b->endpoint, ENDPOINT_SIZE);
	a->saved[0].certificate = b->certificate;
	keyd_identify(a);
	UNTIL(node_state_of(a, b) == NODE_ALIVE);
	app_up(b, &app);
	app_watch(a, &app);
	UNTIL(a->presence.status == PRESENCE_FOUND);
	liar_connect(a, 1);
	liar_call("Gossip");
	node = liar_descriptor(5);
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, node, 5);
	nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	UNTIL(node_state_of(a, &liar.node) != 0);
	/* b's app under mallory's name: the app's own word is of b. */
	app_attest(&app, b, &attestation);
	liar_sync("mallory", &attestation, 1);
	/* The same with the node's name changed. */
	(void)strlcpy(attestation.node_id, "mallory", NODE_ID_SIZE);
	memcpy(attestation.node_key, liar.node.keys.public, KEY_SIZE);
	liar_sync("mallory", &attestation, 2);
	/* An app that did connect to mallory is seen: the others were too. */
	app_attest(&own, &liar.node, &attestation);
	liar_sync("mallory", &attestation, 3);
	memcpy(find.app, own.public, KEY_SIZE);
	UNTIL((ipc_send(a->router, IPC_FIND, &find, NULL, 0), turn(),
	    a->found.status == PRESENCE_FOUND));
	ck_assert_str_eq(a->found.node_id, "mallory");
	memcpy(find.app, app.public, KEY_SIZE);
	a->founds = 0;
	UNTIL((ipc_send(a->router, IPC_FIND, &find, NULL, 0), turn(),
	    a->founds > 0 && memcmp(a->found.app, app.public, KEY_SIZE) == 0));
	ck_assert_str_eq(a->found.node_id, "beta");
	/* In b's name, under mallory's signature. */
	app_attest(&own, b, &attestation);
	liar_sync("beta", &attestation, UINT64_C(1) << 61);
	liar_is_denied();
	liar_close();
}
END_TEST

START_TEST(L16_frames_of_other_nodes_chats)
{
	struct frame frame = { .body = FRAME_RELAY };
	struct node *a = victim_make(0, "alpha");
	struct node *b = victim_make(1, "beta");
	struct ipc_identity identity = { .unlocked = 1 };
	struct ipc_setup out, back, forged;
	struct keys x, y;
	uint8_t *packed;

	keys_make(&x);
	keys_make(&y);
	a->saved_count = 1;
	(void)strlcpy(a->saved[0].endpoint, b->endpoint, ENDPOINT_SIZE);
	a->saved[0].certificate = b->certificate;
	keyd_identify(a);
	UNTIL(node_state_of(a, b) == NODE_ALIVE);
	app_up(a, &x);
	app_up(b, &y);
	app_watch(a, &y);
	UNTIL(a->presence.status == PRESENCE_FOUND);
	setup_make(&out, "chat", &x, a, &y, b);
	setup_make(&back, "chat", &y, b, &x, a);
	ipc_send(a->keyd, IPC_SETUP_OUT, &out, NULL, 0);
	UNTIL(b->setups == 1);
	ipc_send(b->keyd, IPC_SETUP_OUT, &back, NULL, 0);
	UNTIL(a->setups == 1);
	liar_connect(a, 1);
	liar_call("RouteChat");
	/* Relay, ack, credit, error, teardown for a chat of two others. */
	frame.handle = out.key.handle;
	frame.chat_id.bytes = (const uint8_t *)"chat";
	frame.chat_id.length = 4;
	frame.payload.bytes = (const uint8_t *)"forged";
	frame.payload.length = 6;
	frame.sequence = 1;
	frame.counter = 1;
	frame.version = 1;
	frame.messages = 1;
	frame.word.bytes = (const uint8_t *)"deleted";
	frame.word.length = 7;
	liar_frame(&frame);
	/* As for a chat that there is not: nobody learns of one so. */
	UNTIL(liar.frames == 1);
	ck_assert_str_eq(liar.word, "CHAT_NOT_READY");
	frame.body = FRAME_RELAY_ACK;
	liar_frame(&frame);
	frame.body = FRAME_CREDIT;
	liar_frame(&frame);
	frame.body = FRAME_TEARDOWN;
	liar_frame(&frame);
	frame.word.bytes = (const uint8_t *)"RATCHET_DESYNC";
	frame.word.length = 14;
	frame.body = FRAME_ERROR;
	liar_frame(&frame);
	/* A body this node does not know is answered; so the ones before it
	 * were read. */
	ck_assert_int_eq(rpc_stream_send(liar.stream, "\x4a\x01x", 3), 0);
	UNTIL(liar.frames == 2);
	ck_assert_str_eq(liar.word, "UNSUPPORTED");
	ck_assert_int_eq(rpc_stream_send(liar.stream, "\x1a\x09", 2), 0);
	UNTIL(liar.frames == 3);
	ck_assert_str_eq(liar.word, "INVALID_FRAME");
	/* A set-up in y's name: its signed presence is of another node. */
	setup_make(&forged, "chat", &y, &liar.node, &x, a);
	memcpy(identity.node_id, liar.node.name, NODE_ID_SIZE);
	memcpy(identity.node_key, liar.node.keys.public, KEY_SIZE);
	packed =
	    frame_setup_pack(&forged, NULL, 0, &identity, &frame.setup.length);
	frame.setup.bytes = packed;
	frame.body = FRAME_SETUP;
	frame.correlation.length = 0;
	liar_frame(&frame);
	UNTIL(liar.frames == 4);
	ck_assert_str_eq(liar.word, "UNKNOWN_APP");
	free(packed);
	ck_assert_uint_eq(a->setups, 1);
	ck_assert_uint_eq(a->opens, 0);
	ck_assert_uint_eq(a->acks, 0);
	ck_assert_uint_eq(a->credits, 0);
	ck_assert_uint_eq(a->teardowns, 0);
	ck_assert_uint_eq(a->errors, 0);
	/* One that says it comes from b. */
	memcpy(identity.node_id, b->name, NODE_ID_SIZE);
	memcpy(identity.node_key, b->keys.public, KEY_SIZE);
	packed =
	    frame_setup_pack(&back, NULL, 0, &identity, &frame.setup.length);
	frame.setup.bytes = packed;
	liar_frame(&frame);
	free(packed);
	liar_is_denied();
	ck_assert_uint_eq(a->setups, 1);
	liar_close();
	/* The chat lives. */
	{
		struct ipc_sealed sealed = { .key = back.key,
			.version = 1,
			.sequence = 1,
			.counter = 1 };

		ipc_send(b->keyd, IPC_SEALED, &sealed, "x", 1);
	}
	UNTIL(a->opens == 1);
}
END_TEST

static Suite *
lies_suite(void)
{
	Suite *suite = suite_create("mesh_lies");
	TCase *tcase = tcase_create("lies");

	tcase_set_timeout(tcase, 180);
	tcase_add_checked_fixture(tcase, world_open, world_close);
	tcase_add_test(tcase, L18_strangers_may_only_join);
	tcase_add_test(tcase, L17_L31_nobody_speaks_for_another);
	tcase_add_test(tcase, L18_hearsay_does_not_evict);
	tcase_add_test(tcase, L19_nobody_claims_apps_of_others);
	tcase_add_test(tcase, L16_frames_of_other_nodes_chats);
	suite_add_tcase(suite, tcase);
	return (suite);
}

int
main(void)
{
	if (sodium_init() == -1)
		return (1);
	return (suite_run(lies_suite()));
}
