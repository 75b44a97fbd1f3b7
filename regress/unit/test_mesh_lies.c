/*
 * A node that lies to others: strangers, members that speak for others,
 * forged descriptors and presence, frames of other nodes' chats. The test
 * itself is the liar, with a TLS key of its own.
 */
#include "regress/unit/mesh_liar.h"
#include "regress/unit/suite.h"

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
	/* In whatever state: mallory does not answer. */
	UNTIL(node_state_of(a, &liar.node) != 0);
	/* A LEAVE for oneself that nobody signed. */
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__LEAVE, node, 5);
	liar_is_denied();
	nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	liar_close();
}
END_TEST

/* --- who holds the mesh key ---------------------------------------------- */

static void
member_start(struct node *node, const struct node *knows)
{
	if (knows != NULL) {
		node->saved_count = 1;
		(void)strlcpy(
		    node->saved[0].endpoint, knows->endpoint, ENDPOINT_SIZE);
		node->saved[0].certificate = knows->certificate;
	}
	node_start(node);
	UNTIL(node->ready);
	if (knows != NULL)
		UNTIL(node_state_of(node, knows) == NODE_ALIVE);
}

/* A member that knows another one; holds: it says that it has the key. */
static struct node *
member_make(
    unsigned index, const char *name, const struct node *knows, int holds)
{
	struct node *node = node_new(index, name);

	node_certify(node, holds);
	node->liar = holds && index > 0;
	member_start(node, knows);
	return (node);
}

/* The authority, which is away, signed first in its ticket that it is one. The
 * other node in it is asked, 0: and names a liar, 1: and is one. */
START_TEST(a_secret_is_for_the_authority)
{
	struct node *b = member_make(1, "beta", NULL, 0);
	struct node *m = member_make(2, "mallory", b, 1), *also;
	struct node *a = node_new(0, "alpha"), *c = node_new(3, "gamma");
	uint8_t bytes[TICKET_ENCODED_MAX];
	struct ipc_ticket order;
	struct ticket *ticket = &order.ticket;
	size_t length;

	UNTIL(node_state_of(b, m) == NODE_ALIVE);
	(void)strlcpy(a->endpoint, "127.0.0.1:1", sizeof(a->endpoint));
	ticket_make(a, &order);
	also = _i == 0 ? b : m;
	memcpy(ticket->endpoints[1].node_key, also->keys.public, KEY_SIZE);
	(void)strlcpy(
	    ticket->endpoints[1].endpoint, also->endpoint, ENDPOINT_SIZE);
	ticket->endpoint_count = 2;
	length = ticket_signed_bytes(ticket, bytes);
	crypto_sign_detached(
	    ticket->signature, NULL, bytes, length, world.authority.secret);
	node_start(c);
	UNTIL(c->ready && c->floor[STATEMENT_DESCRIPTOR] > 0);
	ipc_send(c->control, IPC_JOIN, &order, NULL, 0);
	UNTIL(c->results > 0);
	ck_assert_uint_eq(c->result.ok, 0);
	ck_assert_uint_eq(b->redeems + m->redeems, 0);
	ck_assert_int_eq(c->in_mesh, 0);
}
END_TEST

/* Whoever says so keeps no member from its renewal. */
START_TEST(all_who_hold_the_key_are_asked)
{
	struct node *a, *m, *b;

	world.membership_lifetime = 120 * CLOCK_SECOND;
	a = member_make(0, "alpha", NULL, 1);
	m = member_make(1, "mallory", a, 1);
	(void)member_make(2, "trudy", a, 1);
	b = node_new(3, "beta");
	node_certify(b, 0);
	cast_certify(&world.authority, b->name, b->keys.public, 4,
	    clock_wall() + 39 * CLOCK_SECOND, &b->certificate);
	member_start(b, m);
	UNTIL(b->certificate.serial > 4);
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

/* Mallory says an AppSync of node_id with one registration, which names at,
 * signed with keys. */
static void
liar_passes_on(const char *node_id, const struct keys *keys, uint64_t sequence,
    const struct attestation *attestation, const char *at)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__AppSync sync = NODEMESH__V1__APP_SYNC__INIT;
	struct Nodemesh__V1__AppRegistration *app;
	uint8_t signature[SIGNATURE_SIZE];

	app = wire_registration_make(attestation, at, "s", 1, 1, 0, NULL, 0);
	sync.node_id = (char *)(uintptr_t)node_id;
	sync.sequence = sequence;
	sync.full = 1;
	sync.apps = &app;
	sync.n_apps = 1;
	cast_sync(&sync, node_id, keys, signature);
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_APP_SYNC;
	message.app_sync = &sync;
	liar_gossip(&message);
	nodemesh__v1__app_registration__free_unpacked(app, NULL);
}

/* The same of mallory's own making. */
static void
liar_sync(const char *node_id, const struct attestation *attestation,
    uint64_t sequence)
{
	liar_passes_on(
	    node_id, &liar.node.keys, sequence, attestation, node_id);
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

/* What trent signed stays good, whatever was changed beside it on the way: its
 * app is not left out of a sync that counts as heard. */
START_TEST(L19_nobody_takes_apps_out)
{
	struct Nodemesh__V1__NodeDescriptor *other;
	struct attestation attestation;
	struct node *a = victim_make(0, "alpha"), *trent = node_new(2, "trent");
	struct ipc_find find = { .id = 1 };
	struct keys app;

	keys_make(&app);
	node_certify(trent, 0);
	UNTIL(node_state_of(a, a) == NODE_ALIVE);
	liar_connect(a, 1);
	liar_call("Gossip");
	other = cast_descriptor(
	    trent->name, &trent->keys, trent->spki, &trent->certificate, 3, 0);
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, other, 3);
	nodemesh__v1__node_descriptor__free_unpacked(other, NULL);
	UNTIL(node_state_of(a, trent) != 0);
	app_attest(&app, trent, &attestation);
	liar_passes_on(trent->name, &trent->keys, 7, &attestation, "mallory");
	liar_passes_on(trent->name, &trent->keys, 7, &attestation, trent->name);
	memcpy(find.app, app.public, KEY_SIZE);
	UNTIL((ipc_send(a->router, IPC_FIND, &find, NULL, 0), turn(),
	    a->found.status == PRESENCE_FOUND));
	ck_assert_str_eq(a->found.node_id, "trent");
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
	tcase_add_loop_test(tcase, a_secret_is_for_the_authority, 0, 2);
	tcase_add_test(tcase, all_who_hold_the_key_are_asked);
	tcase_add_test(tcase, L18_hearsay_does_not_evict);
	tcase_add_test(tcase, L19_nobody_claims_apps_of_others);
	tcase_add_test(tcase, L19_nobody_takes_apps_out);
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
