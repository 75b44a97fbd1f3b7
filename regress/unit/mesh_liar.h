/*
 * Test, of mesh_fixture.h. A node that lies to others: the test itself, with
 * a TLS key of its own, as a stranger or a member. Include once.
 */
#ifndef REGRESS_UNIT_MESH_LIAR_H
#define REGRESS_UNIT_MESH_LIAR_H

#include "regress/unit/mesh_fixture.h"

#include "common/rpc/rpc.h"
#include "mesh/wire_frame.h"

#ifndef HELPER
#define HELPER static __attribute__((unused))
#endif

#define LIAR_SERVICE "/nodemesh.v1.NodeMesh/"

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
	int gossips;        /* the stream is one of gossip */
	unsigned heard[16]; /* GossipMessages, by their body */
	size_t digests;     /* in those that were push-pulls */
} liar;

/* Count a GossipMessage. */
static void
liar_hears(const uint8_t *bytes, size_t length)
{
	struct Nodemesh__V1__GossipMessage *message;

	message = nodemesh__v1__gossip_message__unpack(NULL, length, bytes);
	ck_assert_ptr_nonnull(message);
	ck_assert_uint_lt(message->body_case, 16);
	liar.heard[message->body_case]++;
	if (message->body_case == NODEMESH__V1__GOSSIP_MESSAGE__BODY_PUSH_PULL)
		liar.digests += message->push_pull->n_apps;
	nodemesh__v1__gossip_message__free_unpacked(message, NULL);
}

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
	if (liar.gossips) {
		liar_hears(bytes, length);
		return;
	}
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
HELPER void
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

HELPER void
liar_call(const char *method)
{
	char path[64];

	if (liar.stream != NULL) {
		rpc_stream_cancel(liar.stream);
		UNTIL(liar.closed);
	}
	liar.closed = 0;
	liar.gossips = strcmp(method, "Gossip") == 0;
	(void)snprintf(path, sizeof(path), "%s%s", LIAR_SERVICE, method);
	liar.stream =
	    rpc_call(liar.connection, path, 0, &stream_callbacks, NULL);
	ck_assert_ptr_nonnull(liar.stream);
}

HELPER void
liar_close(void)
{
	if (liar.connection != NULL)
		rpc_connection_close(liar.connection);
	UNTIL(liar.connection == NULL);
	rpc_tls_free(liar.tls);
	EVP_PKEY_free(liar.node.tls);
}

HELPER void
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

HELPER void
liar_frame(const struct frame *frame)
{
	uint8_t packed[4096];

	ck_assert_uint_le(frame_bound(frame), sizeof(packed));
	ck_assert_int_eq(
	    rpc_stream_send(liar.stream, packed, frame_write(frame, packed)),
	    0);
}

HELPER void
liar_is_denied(void)
{
	UNTIL(liar.closed);
	ck_assert_int_eq(liar.status, RPC_PERMISSION_DENIED);
}

HELPER struct node *
victim_make(unsigned index, const char *name)
{
	struct node *node = node_new(index, name);

	node_certify(node, index == 0);
	node_start(node);
	UNTIL(node->ready);
	return (node);
}

/* Mallory's signed descriptor, on the heap. */
HELPER struct Nodemesh__V1__NodeDescriptor *
liar_descriptor(uint64_t incarnation)
{
	return (cast_descriptor(liar.node.name, &liar.node.keys, liar.node.spki,
	    &liar.node.certificate, incarnation, 0));
}

HELPER void
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

#endif
