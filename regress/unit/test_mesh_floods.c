/*
 * A member that makes others work: small messages of its, as many as it
 * likes, that each want a long answer, a signature or a question to others.
 * What it gets for them is bounded; nobody else pays.
 */
#include "mesh/swim_message.h"
#include "proto/approuter.pb-c.h"
#include "regress/unit/mesh_liar.h"
#include "regress/unit/suite.h"

#define FLOOD       300

#define HEARD(body) liar.heard[NODEMESH__V1__GOSSIP_MESSAGE__BODY_##body]

/* A push-pull that says of the node name how far its presence is. */
static void
liar_digest(const char *name, uint64_t sequence)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__PushPull body = NODEMESH__V1__PUSH_PULL__INIT;
	struct Nodemesh__V1__AppDigest digest = NODEMESH__V1__APP_DIGEST__INIT;
	struct Nodemesh__V1__AppDigest *list = &digest;

	digest.node_id = (char *)(uintptr_t)name;
	digest.sequence = sequence;
	body.reply = 1;
	body.apps = &list;
	body.n_apps = 1;
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_PUSH_PULL;
	message.push_pull = &body;
	liar_gossip(&message);
}

/* What was sent before has been read when this is answered. */
static void
liar_ping(const char *name)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__Ping body = NODEMESH__V1__PING__INIT;
	unsigned before = HEARD(ACK);

	body.sequence = 1;
	body.target = (char *)(uintptr_t)name;
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_PING;
	message.ping = &body;
	liar_gossip(&message);
	UNTIL(HEARD(ACK) > before);
}

/* Mallory is a member that a knows, with a stream of gossip. */
static struct node *
flood_begin(void)
{
	struct Nodemesh__V1__NodeDescriptor *node;
	struct node *a = victim_make(0, "alpha");

	UNTIL(node_state_of(a, a) == NODE_ALIVE);
	liar_connect(a, 1);
	liar_call("Gossip");
	node = liar_descriptor(5);
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, node, 5);
	nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	UNTIL(node_state_of(a, &liar.node) != 0);
	UNTIL(a->floor[STATEMENT_PRESENCE] > 0);
	return (a);
}

/* Of a mesh that is told in parts, what there is of presence is told once. */
START_TEST(test_states_in_parts)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__PushPull body = NODEMESH__V1__PUSH_PULL__INIT;
	struct Nodemesh__V1__NodeDescriptor *node;
	struct certificate certificate;
	char name[NODE_ID_SIZE];
	struct keys keys;
	unsigned i, before;
	size_t digests;

	world.members = 300;
	(void)flood_begin();
	for (i = 0; i < 2 * SWIM_SYNC; i++) {
		keys_make(&keys);
		(void)snprintf(name, sizeof(name), "node-%u", i);
		cast_certify(&world.authority, name, keys.public, 100 + i,
		    clock_wall() + YEAR, &certificate);
		node = cast_descriptor(
		    name, &keys, liar.node.spki, &certificate, 3, 0);
		liar_event(
		    NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, node, 3);
		nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	}
	liar_ping("alpha");
	before = HEARD(PUSH_PULL);
	digests = liar.digests;
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_PUSH_PULL;
	message.push_pull = &body;
	liar_gossip(&message);
	liar_ping("alpha");
	/* a may have a question of its own. */
	ck_assert_uint_ge(HEARD(PUSH_PULL) - before, 3);
	ck_assert_uint_eq(
	    HEARD(PUSH_PULL) - before, 3 * (liar.digests - digests));
	liar_close();
}
END_TEST

/* How much of rate a second, with a burst, there may have been since. */
static unsigned
most_since(int64_t start, unsigned burst, unsigned rate)
{
	return (burst + rate +
		rate * (unsigned)((clock_monotonic() - start) / CLOCK_SECOND));
}

/* The number of a node's presence is its own: who says that it is higher does
 * not drive it to where numbers end, nor have it told all day. */
START_TEST(test_claims_of_our_number)
{
	const uint64_t far = UINT64_C(1) << 45;
	struct node *a = flood_begin();
	struct keys app;
	int64_t start = clock_monotonic();
	unsigned before = a->statements[STATEMENT_PRESENCE], i;
	uint64_t first = a->floor[STATEMENT_PRESENCE];

	for (i = 0; i < FLOOD; i++) {
		liar_digest(
		    "alpha", a->floor[STATEMENT_PRESENCE] + far / 2 - 1000);
		liar_ping("alpha");
	}
	ck_assert_uint_lt(a->floor[STATEMENT_PRESENCE], first + far);
	for (i = 0; i < FLOOD; i++) {
		liar_digest("alpha", a->floor[STATEMENT_PRESENCE] + 1);
		liar_ping("alpha");
	}
	ck_assert_uint_lt(a->statements[STATEMENT_PRESENCE] - before,
	    most_since(start, 8, 4));
	/* It goes on, and is heard. */
	keys_make(&app);
	before = HEARD(APP_SYNC);
	app_up(a, &app);
	UNTIL(HEARD(APP_SYNC) > before);
	liar_close();
}
END_TEST

/* Who says that it knows nothing of us is told all, but not each time. */
START_TEST(test_presence_told_again)
{
	struct node *a = flood_begin();
	int64_t start = clock_monotonic();
	unsigned before = a->statements[STATEMENT_PRESENCE], i;

	for (i = 0; i < FLOOD; i++) {
		liar_digest("nobody", 0);
		liar_ping("alpha");
	}
	ck_assert_uint_gt(a->statements[STATEMENT_PRESENCE], before);
	ck_assert_uint_lt(a->statements[STATEMENT_PRESENCE] - before,
	    most_since(start, 40, 8));
	liar_close();
}
END_TEST

/* An app that looks for apps that are nowhere does not have the whole mesh
 * exchange states for each; it hears an answer to each. */
START_TEST(test_finds_of_nobody)
{
	struct ipc_find find = { .id = 0 };
	struct node *a = flood_begin();
	int64_t start = clock_monotonic();
	unsigned before = HEARD(PUSH_PULL), i;

	for (i = 0; i < FLOOD; i++) {
		find.id = i + 1;
		randombytes_buf(find.app, KEY_SIZE);
		ipc_send(a->router, IPC_FIND, &find, NULL, 0);
	}
	UNTIL(a->founds == FLOOD);
	ck_assert_uint_lt(HEARD(PUSH_PULL) - before, most_since(start, 16, 6));
	liar_close();
}
END_TEST

/* Bytes of memory that a node's process has. */
static size_t
memory_of(const struct node *node)
{
	unsigned long pages = 0;
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)node->pid);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%*u %lu", &pages), 1);
	(void)fclose(file);
	return (pages * 4096);
}

/* What waits for keyd is bounded, whatever frames it comes of. */
START_TEST(test_keyd_does_not_read)
{
	struct frame frame = { .body = FRAME_TEARDOWN };
	struct node *a = flood_begin();
	uint8_t handle[KEY_SIZE];
	size_t before = memory_of(a);
	unsigned i, k;

	liar_call("RouteChat");
	ipc_pause(a->keyd, 1);
	frame.handle = handle;
	for (i = 0; i < 400; i++) {
		for (k = 0; k < 1000 && !rpc_stream_congested(liar.stream);
		     k++) {
			randombytes_buf(handle, sizeof(handle));
			liar_frame(&frame);
		}
		ck_assert_uint_ne(node_state_of(a, a), 0);
		ck_assert_uint_lt(memory_of(a), before + 48 * 1024 * 1024);
	}
	ipc_pause(a->keyd, 0);
	UNTIL(rpc_stream_queued(liar.stream) == 0 && a->teardowns > 0);
	liar_close();
}
END_TEST

/* A set-up of mallory's for an app of a, of an app nobody has heard of. */
static void
liar_setup(const struct node *a, const struct keys *target)
{
	struct frame frame = { .body = FRAME_SETUP };
	struct ipc_identity identity = { .unlocked = 1 };
	struct ipc_setup setup;
	struct keys app;
	uint8_t *packed;

	keys_make(&app);
	setup_make(&setup, "chat", &app, &liar.node, target, a);
	memcpy(identity.node_id, liar.node.name, NODE_ID_SIZE);
	memcpy(identity.node_key, liar.node.keys.public, KEY_SIZE);
	packed =
	    frame_setup_pack(&setup, NULL, 0, &identity, &frame.setup.length);
	ck_assert_ptr_nonnull(packed);
	frame.setup.bytes = packed;
	liar_frame(&frame);
	free(packed);
}

/* Set-ups that wait for a presence leave places for those of others. */
START_TEST(test_places_for_set_ups)
{
	struct node *a = flood_begin();
	struct node *b = victim_make(1, "beta");
	struct ipc_setup early;
	struct keys x, y;

	keys_make(&x);
	keys_make(&y);
	a->saved_count = 1;
	(void)strlcpy(a->saved[0].endpoint, b->endpoint, ENDPOINT_SIZE);
	a->saved[0].certificate = b->certificate;
	keyd_identify(a);
	UNTIL(node_state_of(b, a) == NODE_ALIVE);
	app_up(a, &x);
	app_watch(a, &x);
	UNTIL(a->presence.status == PRESENCE_LOCAL);
	liar_call("RouteChat");
	/* The stream of the two is up, for the word is quick then. */
	setup_make(&early, "first", &y, b, &x, a);
	ipc_send(b->keyd, IPC_SETUP_OUT, &early, NULL, 0);
	UNTIL(b->errors == 1);
	ck_assert_uint_eq(b->error.code, CODE_UNKNOWN_APP);
	while (strcmp(liar.word, "LIMIT_REACHED") != 0) {
		liar_setup(a, &x);
		(void)event_base_loop(world.base, EVLOOP_NONBLOCK);
	}
	setup_make(&early, "second", &y, b, &x, a);
	ipc_send(b->keyd, IPC_SETUP_OUT, &early, NULL, 0);
	UNTIL(b->errors == 2);
	ck_assert_uint_eq(b->error.code, CODE_UNKNOWN_APP);
	liar_close();
}
END_TEST

/* Strangers that call Join all day keep no member from its renewal. */
START_TEST(test_join_by_strangers)
{
	struct node *a = victim_make(0, "alpha");
	int i;

	UNTIL(node_state_of(a, a) == NODE_ALIVE);
	liar_connect(a, 0);
	for (i = 0; liar.status != RPC_RESOURCE_EXHAUSTED; i++) {
		liar_call("Join");
		rpc_stream_half_close(liar.stream);
		UNTIL(liar.closed);
	}
	ck_assert_int_gt(i, 20);
	liar_close();
	liar_connect(a, 1);
	for (i = 0; i < 40; i++) {
		liar_call("Join");
		rpc_stream_half_close(liar.stream);
		UNTIL(liar.closed);
		/* It said nothing; but it might have. */
		ck_assert_int_eq(liar.status, RPC_UNIMPLEMENTED);
	}
	liar_close();
}
END_TEST

/* More connections of mallory's. */
static unsigned more, fewer;

static void
more_connected(struct rpc_connection *connection, void *arg)
{
	(void)connection;
	(void)arg;
	more++;
}

static void
more_gone(struct rpc_connection *connection, void *arg)
{
	(void)connection;
	*(struct rpc_connection **)arg = NULL;
	fewer++;
}

static const struct rpc_client_callbacks more_callbacks = {
	.connected = more_connected, .failed = on_failed, .closed = more_gone
};

/* A member has as many connections as it needs, not all that there are. */
START_TEST(test_connections_of_one_member)
{
	struct rpc_connection *connections[40];
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct node *a = flood_begin();
	struct rpc_limits limits;
	unsigned i;

	rpc_limits_default(&limits);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(strchr(a->endpoint, ':') + 1));
	for (i = 0; i < 40; i++) {
		connections[i] = rpc_connect(world.base, liar.tls, &limits,
		    (struct sockaddr *)&address, "localhost", &more_callbacks,
		    &connections[i]);
		ck_assert_ptr_nonnull(connections[i]);
		UNTIL(more == i + 1);
	}
	/* The oldest go. */
	UNTIL(fewer >= 32 && liar.connection == NULL);
	ck_assert_ptr_nonnull(connections[39]);
	for (i = 0; i < 40; i++)
		if (connections[i] != NULL)
			rpc_connection_close(connections[i]);
	UNTIL(fewer == 40);
	liar_close();
}
END_TEST

/* keyd knows of so many members, whose certificates end then, and who are
 * nowhere. */
static void
known_members(struct node *a, const char *name, unsigned count, int64_t until)
{
	struct ipc_peer known = { .endpoint = "127.0.0.1:1" };
	char text[NODE_ID_SIZE];
	struct keys keys;
	unsigned i;

	for (i = 0; i < count; i++) {
		keys_make(&keys);
		(void)snprintf(text, sizeof(text), "%s-%u", name, i);
		cast_certify(&world.authority, text, keys.public, 100 + i,
		    until, &known.certificate);
		ipc_send(a->keyd, IPC_PEER, &known, NULL, 0);
	}
}

/* Has a a row of that name? */
static int
row_named(struct node *a, const char *name)
{
	unsigned i;

	(void)node_state_of(a, a);
	for (i = 0; i < a->row_count; i++)
		if (strcmp(a->rows[i].node_id, name) == 0)
			return (1);
	return (0);
}

/* Members that are gone make room for those who come, and are forgotten when
 * they are members no more; by keyd as well, which has room for no more. */
START_TEST(test_members_that_are_gone)
{
	struct node *a;

	world.route_grace = 200 * CLOCK_MS;
	a = victim_make(0, "alpha");
	UNTIL(node_state_of(a, a) == NODE_ALIVE);
	known_members(a, "short", 31, clock_wall() + 3 * CLOCK_SECOND);
	known_members(a, "first", 1, clock_wall() + YEAR);
	UNTIL(row_named(a, "first-0"));
	UNTIL(row_named(a, "first-0") && a->row_count == 1 + 1);
	known_members(a, "long", 63, clock_wall() + YEAR);
	UNTIL(row_named(a, "long-62"));
	ck_assert_uint_eq(a->row_count, 1 + 64);
	/* There is no room until one of them is gone. */
	liar_connect(a, 1);
	while (node_state_of(a, &liar.node) == 0) {
		if (liar.stream == NULL)
			liar_call("Gossip");
		(void)event_base_loop(world.base, EVLOOP_NONBLOCK);
	}
	ck_assert_uint_eq(a->row_count, 1 + 64);
	UNTIL(a->forgotten == 31 + 1);
	liar_close();
}
END_TEST

/* A node that starts with a clock far ahead has no members any more, nor is it
 * one: when the clock is right it has to find them again. */
START_TEST(test_members_of_another_time)
{
	struct node *a = node_new(0, "alpha");
	int64_t past = clock_wall() - 10 * CLOCK_SECOND;

	node_certify(a, 0);
	cast_certify(&world.authority, a->name, a->keys.public, 1, past,
	    &a->certificate);
	node_start(a);
	UNTIL(a->ready);
	known_members(a, "old", 3, past);
	UNTIL(row_named(a, "old-2") || a->forgotten > 0);
	ck_assert_uint_eq(a->forgotten, 0);
}
END_TEST

/* An app of contract v1, whose metadata others need, with as much of it as it
 * may have. */
static void
app_up_wordy(struct node *a)
{
	static char value[4000];
	Approuter__V1__Connect connect = APPROUTER__V1__CONNECT__INIT;
	Approuter__V1__Connect__MetadataEntry
	    pair = APPROUTER__V1__CONNECT__METADATA_ENTRY__INIT,
	    *list = &pair;
	struct ipc_app_up up = { .session_id = "session", .connected_at = 1 };
	uint8_t tail[8192];
	struct keys app;

	memset(value, 'x', sizeof(value) - 1);
	pair.value = value;
	connect.metadata = &list;
	connect.n_metadata = 1;
	keys_make(&app);
	app_attest(&app, a, &up.attestation);
	up.attestation.kind = ATTESTATION_V1;
	ipc_send(a->router, IPC_APP_UP, &up, tail,
	    approuter__v1__connect__pack(&connect, tail));
}

/* Apps have no say in whether their node is heard: as many as one machine may
 * have, with all the metadata there may be, are told in what a node takes. */
START_TEST(test_apps_with_much_metadata)
{
	struct node *a = flood_begin();
	struct ipc_find find = { .id = 1 };
	unsigned i, before;

	for (i = 0; i < 1100; i++)
		app_up_wordy(a);
	ipc_send(a->router, IPC_FIND, &find, NULL, 0);
	UNTIL(a->founds > 0);
	/* All of it is signed, and sent before the next is. */
	for (i = 0; i < 2; i++) {
		before = a->statements[STATEMENT_PRESENCE];
		while (a->statements[STATEMENT_PRESENCE] == before) {
			liar_digest("nobody", 0);
			liar_ping("alpha");
		}
	}
	liar_ping("alpha");
	ck_assert_int_eq(liar.closed, 0);
	liar_close();
}
END_TEST

static Suite *
floods_suite(void)
{
	Suite *suite = suite_create("mesh_floods");
	TCase *tcase = tcase_create("floods");

	tcase_set_timeout(tcase, 180);
	tcase_add_checked_fixture(tcase, world_open, world_close);
	tcase_add_test(tcase, test_states_in_parts);
	tcase_add_test(tcase, test_claims_of_our_number);
	tcase_add_test(tcase, test_presence_told_again);
	tcase_add_test(tcase, test_finds_of_nobody);
	tcase_add_test(tcase, test_keyd_does_not_read);
	tcase_add_test(tcase, test_places_for_set_ups);
	tcase_add_test(tcase, test_join_by_strangers);
	tcase_add_test(tcase, test_connections_of_one_member);
	tcase_add_test(tcase, test_members_that_are_gone);
	tcase_add_test(tcase, test_members_of_another_time);
	tcase_add_test(tcase, test_apps_with_much_metadata);
	suite_add_tcase(suite, tcase);
	return (suite);
}

int
main(void)
{
	if (sodium_init() == -1)
		return (1);
	return (suite_run(floods_suite()));
}
