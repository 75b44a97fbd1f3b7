/*
 * The mesh process against its neighbours: joining, membership, presence,
 * chats' frames, restarts, and nodes that lie.
 */
#include "regress/unit/mesh_fixture.h"
#include "regress/unit/suite.h"

/* Two members that know each other. */
static void
pair_make(struct node **a, struct node **b)
{
	*a = node_new(0, "alpha");
	*b = node_new(1, "beta");
	node_certify(*a, 1);
	node_start(*a);
	node_start(*b);
	UNTIL((*a)->ready && (*b)->ready);
	node_join(*b, *a);
	ck_assert_msg((*b)->result.ok == 1, "join: %s", (*b)->result_text);
	UNTIL(node_state_of(*a, *b) == NODE_ALIVE);
	UNTIL(node_state_of(*b, *a) == NODE_ALIVE);
}

START_TEST(join_and_know)
{
	struct node *a, *b;

	pair_make(&a, &b);
	ck_assert_int_eq(b->in_mesh, 1);
	/* Each is remembered by the other's keyd. */
	UNTIL(a->saved_count == 1 && b->saved_count == 1);
	ck_assert_str_eq(a->saved[0].endpoint, b->endpoint);
	/* Joining twice is refused with a reason. */
	node_join(b, a);
	ck_assert_uint_eq(b->result.ok, 0);
	ck_assert_ptr_nonnull(strstr(b->result_text, "already"));
}
END_TEST

START_TEST(join_is_refused)
{
	struct node *a, *b, *c;
	struct ipc_ticket order;
	unsigned results;

	a = node_new(0, "alpha");
	b = node_new(1, "alpha"); /* L17: the same name */
	c = node_new(2, "gamma");
	node_certify(a, 1);
	node_start(a);
	node_start(b);
	node_start(c);
	UNTIL(a->ready && b->ready && c->ready);
	node_join(b, a);
	ck_assert_uint_eq(b->result.ok, 0);
	ck_assert_ptr_nonnull(strstr(b->result_text, "name"));
	/* A node in no mesh has none to offer, and the ticket's key must be
	 * the one met. */
	ticket_make(a, &order);
	(void)strlcpy(
	    order.ticket.endpoints[0].endpoint, c->endpoint, ENDPOINT_SIZE);
	{
		uint8_t bytes[TICKET_ENCODED_MAX];
		size_t length = ticket_signed_bytes(&order.ticket, bytes);

		crypto_sign_detached(order.ticket.signature, NULL, bytes,
		    length, world.authority.secret);
	}
	results = b->results;
	ipc_send(b->control, IPC_JOIN, &order, NULL, 0);
	UNTIL(b->results > results);
	ck_assert_uint_eq(b->result.ok, 0);
	/* A forged ticket is not even tried. */
	order.ticket.expires_at++;
	results = b->results;
	ipc_send(b->control, IPC_JOIN, &order, NULL, 0);
	UNTIL(b->results > results);
	ck_assert_uint_eq(b->result.ok, 0);
	/* Used up. */
	world.secret[0] ^= 1;
	ticket_make(a, &order);
	world.secret[0] ^= 1;
	results = c->results;
	ipc_send(c->control, IPC_JOIN, &order, NULL, 0);
	UNTIL(c->results > results);
	ck_assert_uint_eq(c->result.ok, 0);
	ck_assert_ptr_nonnull(strstr(c->result_text, "unknown, used up"));
	ck_assert_int_eq(c->in_mesh, 0);
}
END_TEST

/* keyd signed more than the clock says now: the first number asked for is the
 * next one. */
START_TEST(presence_goes_on_where_it_was)
{
	struct node *a = node_new(0, "alpha"), *b = node_new(1, "beta");
	uint64_t far = (uint64_t)clock_wall() / 1000 + (UINT64_C(1) << 46);
	struct keys app;

	keys_make(&app);
	a->floor[STATEMENT_PRESENCE] = far;
	node_certify(a, 1);
	node_start(a);
	node_start(b);
	UNTIL(a->ready && b->ready);
	node_join(b, a);
	app_watch(b, &app);
	app_up(a, &app);
	UNTIL(b->presence.status == PRESENCE_FOUND);
	ck_assert_uint_gt(a->floor[STATEMENT_PRESENCE], far);
	ck_assert_uint_le(a->floor[STATEMENT_PRESENCE],
	    far + a->statements[STATEMENT_PRESENCE] + 1);
}
END_TEST

START_TEST(presence_travels)
{
	struct node *a, *b;
	struct ipc_find find = { .id = 5 };
	struct keys app, nobody;

	keys_make(&app);
	keys_make(&nobody);
	pair_make(&a, &b);
	/* L37: nobody knows it, and it is not "local". */
	memcpy(find.app, nobody.public, KEY_SIZE);
	ipc_send(b->router, IPC_FIND, &find, NULL, 0);
	UNTIL(b->founds == 1);
	ck_assert_uint_eq(b->found.id, 5);
	ck_assert_uint_eq(b->found.status, PRESENCE_UNKNOWN);
	app_watch(b, &app);
	UNTIL(b->presences == 1);
	ck_assert_uint_eq(b->presence.status, PRESENCE_UNKNOWN);
	app_up(a, &app);
	UNTIL(b->presences == 2);
	ck_assert_uint_eq(b->presence.status, PRESENCE_FOUND);
	ck_assert_uint_eq(b->presence.reachable, 1);
	ck_assert_str_eq(b->presence.node_id, "alpha");
	ck_assert_mem_eq(
	    b->presence.attestation.node_key, a->keys.public, KEY_SIZE);
	/* Found at once by one that asks right after (no wait for gossip). */
	memcpy(find.app, app.public, KEY_SIZE);
	ipc_send(a->router, IPC_FIND, &find, NULL, 0);
	UNTIL(a->founds == 1);
	ck_assert_uint_eq(a->found.status, PRESENCE_LOCAL);
	ipc_send(b->router, IPC_FIND, &find, NULL, 0);
	UNTIL(b->founds == 2);
	ck_assert_uint_eq(b->found.status, PRESENCE_FOUND);
	/* L36: the departure travels, and so does the move. */
	app_down(a, &app);
	UNTIL(b->presence.status == PRESENCE_UNKNOWN);
	app_up(a, &app);
	UNTIL(b->presence.status == PRESENCE_FOUND);
	app_up(b, &app);
	UNTIL(b->presence.status == PRESENCE_LOCAL);
	memset(&a->found, 0, sizeof(a->found));
	UNTIL((ipc_send(a->router, IPC_FIND, &find, NULL, 0), turn(),
	    a->found.status == PRESENCE_FOUND));
	/* The session it left is told of, by what it signed last. */
	UNTIL(a->moves == 1);
	ck_assert_mem_eq(a->moved.app, app.public, KEY_SIZE);
	ck_assert_int_gt(a->moved.issued_at, 0);
	ck_assert_uint_eq(b->moves, 0);
}
END_TEST

static void
chat_seal(struct node *node, const struct ipc_setup *setup, uint64_t sequence,
    size_t length)
{
	struct ipc_sealed sealed = { .key = setup->key, .version = 1 };
	static uint8_t payload[65536];

	sealed.sequence = sequence;
	sealed.counter = sequence;
	ipc_send(node->keyd, IPC_SEALED, &sealed, payload, length);
}

/* Both keyds have said their offers; the tieline is there both ways. */
static void
chat_make(struct node *a, const struct keys *x, struct node *b,
    const struct keys *y, struct ipc_setup *out, struct ipc_setup *back)
{
	unsigned setups;

	app_up(a, x);
	app_up(b, y);
	app_watch(a, y);
	UNTIL(a->presence.status == PRESENCE_FOUND);
	setup_make(out, "chat", x, a, y, b);
	setup_make(back, "chat", y, b, x, a);
	setups = b->setups;
	ipc_send(a->keyd, IPC_SETUP_OUT, out, NULL, 0);
	UNTIL(b->setups > setups);
	ck_assert_mem_eq(b->setup.node, a->keys.public, KEY_SIZE);
	ck_assert_mem_eq(b->setup.peer.app_key, x->public, KEY_SIZE);
	ck_assert_mem_eq(b->setup.peer.node_key, a->keys.public, KEY_SIZE);
	ck_assert_uint_eq(b->setup.key.side, back->key.side);
	ck_assert_int_eq(offer_verify(&b->setup.offer), 0);
	back->answer = 1;
	setups = a->setups;
	ipc_send(b->keyd, IPC_SETUP_OUT, back, NULL, 0);
	UNTIL(a->setups > setups);
	ck_assert_uint_eq(a->setup.answer, 1);
}

START_TEST(chat_frames)
{
	struct node *a, *b;
	struct keys x, y;
	struct ipc_setup out, back;
	struct ipc_relay_ack ack = { .sequence = 0 };
	struct ipc_credit credit = { .messages = 256, .bytes = 1000 };
	struct ipc_teardown teardown = { .status = STATUS_DELETED };
	uint64_t i;

	keys_make(&x);
	keys_make(&y);
	pair_make(&a, &b);
	chat_make(a, &x, b, &y, &out, &back);
	for (i = 1; i <= 5000; i++)
		chat_seal(a, &out, i, i % 600);
	UNTIL(b->opens == 5000);
	ck_assert_uint_eq(b->misordered, 0);
	ck_assert_mem_eq(&b->open.key, &back.key, sizeof(back.key));
	ck_assert_uint_eq(b->open_length, 5000 % 600);
	chat_seal(b, &back, 1, 65536);
	UNTIL(a->opens == 1);
	ck_assert_uint_eq(a->open_length, 65536);
	ack.key = back.key;
	for (i = 1; i <= 5000; i++) {
		ack.sequence = i;
		ipc_send(b->router, IPC_RELAY_ACK, &ack, NULL, 0);
	}
	UNTIL(a->ack.sequence == 5000);
	ck_assert_mem_eq(&a->ack.key, &out.key, sizeof(out.key));
	/* Many acks became few. */
	ck_assert_uint_lt(a->acks, 2500);
	credit.key = back.key;
	ipc_send(b->router, IPC_CREDIT, &credit, NULL, 0);
	UNTIL(a->credits == 1);
	ck_assert_uint_eq(a->credit.messages, 256);
	ck_assert_uint_eq(a->credit.bytes, 1000);
	teardown.key = out.key;
	memcpy(teardown.node, b->keys.public, KEY_SIZE);
	memcpy(teardown.chat_id, out.chat_id, sizeof(out.chat_id));
	teardown.version = 1;
	ipc_send(a->keyd, IPC_TEARDOWN_OUT, &teardown, NULL, 0);
	UNTIL(b->teardowns == 1);
	ck_assert_mem_eq(&b->teardown.key, &back.key, sizeof(back.key));
	ck_assert_uint_eq(b->teardown.status, STATUS_DELETED);
	ck_assert_str_eq(b->teardown.chat_id, "chat");
}
END_TEST

START_TEST(chat_both_start_at_once)
{
	struct node *a, *b;
	struct keys x, y;
	struct ipc_setup out, back;
	uint64_t i;

	keys_make(&x);
	keys_make(&y);
	pair_make(&a, &b);
	app_up(a, &x);
	app_up(b, &y);
	setup_make(&out, "chat", &x, a, &y, b);
	setup_make(&back, "chat", &y, b, &x, a);
	ipc_send(a->keyd, IPC_SETUP_OUT, &out, NULL, 0);
	ipc_send(b->keyd, IPC_SETUP_OUT, &back, NULL, 0);
	UNTIL(a->setups > 0 && b->setups > 0);
	/* Streams settle; what is sent at an UP comes through in order. */
	UNTIL(a->ups[1] > 0 && b->ups[0] > 0);
	for (i = 1; i <= 1000; i++) {
		chat_seal(a, &out, i, 100);
		chat_seal(b, &back, i, 100);
	}
	for (i = 1001; a->open.sequence < 1000 || b->open.sequence < 1000;
	     i++) {
		chat_seal(a, &out, i, 100);
		chat_seal(b, &back, i, 100);
		turn();
		ck_assert_uint_lt(i, 100000);
	}
	/* Some may be lost at the change of streams; none overtakes. */
	ck_assert_uint_le(a->misordered, 1);
	ck_assert_uint_le(b->misordered, 1);
}
END_TEST

START_TEST(mesh_process_dies_and_resumes)
{
	struct node *a, *b;
	struct keys x, y;
	struct ipc_setup out, back;
	unsigned ups, downs, presences;

	keys_make(&x);
	keys_make(&y);
	pair_make(&a, &b);
	chat_make(a, &x, b, &y, &out, &back);
	ups = a->ups[1];
	downs = a->downs[1];
	node_kill(b);
	UNTIL(a->downs[1] > downs);
	/* The same node, its mesh process new: nothing else is told. */
	presences = a->presences;
	node_start(b);
	app_up(b, &y);
	UNTIL(a->ups[1] > ups);
	UNTIL(b->ups[0] > 0);
	UNTIL(a->presences > presences && a->presence.reachable);
	out.flags = CHAT_RESUME;
	b->setups = 0;
	UNTIL((ipc_send(a->keyd, IPC_SETUP_OUT, &out, NULL, 0), turn(),
	    b->setups > 0));
	ck_assert_uint_ne(b->setup.flags & CHAT_RESUME, 0);
	a->setups = 0;
	ipc_send(b->keyd, IPC_SETUP_OUT, &back, NULL, 0);
	UNTIL(a->setups > 0);
	b->opens = 0;
	chat_seal(a, &out, 1, 10);
	UNTIL(b->opens == 1);
	/* And a restart of the whole node, under a higher incarnation. */
	node_kill(b);
	b->incarnation += 1000;
	node_start(b);
	UNTIL(node_state_of(a, b) == NODE_ALIVE &&
	      node_state_of(b, a) == NODE_ALIVE);
	app_up(b, &y);
	app_watch(b, &x);
	UNTIL(b->presence.status == PRESENCE_FOUND);
}
END_TEST

START_TEST(local_chat_outside_a_mesh)
{
	struct node *a;
	struct keys x, y;
	struct ipc_setup out, back;
	struct ipc_relay_ack ack = { .sequence = 3 };
	struct ipc_teardown teardown = { .status = STATUS_DELETED };

	keys_make(&x);
	keys_make(&y);
	a = node_new(0, "alone");
	node_start(a);
	UNTIL(a->ready && a->ups[0] == 1);
	app_up(a, &x);
	app_watch(a, &x);
	UNTIL(a->presence.status == PRESENCE_LOCAL);
	setup_make(&out, "chat", &x, a, &y, a);
	setup_make(&back, "chat", &y, a, &x, a);
	/* The other app is not there. */
	ipc_send(a->keyd, IPC_SETUP_OUT, &out, NULL, 0);
	UNTIL(a->errors == 1);
	ck_assert_uint_eq(a->error.code, CODE_TARGET_NOT_FOUND);
	ck_assert_mem_eq(&a->error.key, &out.key, sizeof(out.key));
	app_up(a, &y);
	app_watch(a, &y);
	UNTIL(memcmp(a->presence.app, y.public, KEY_SIZE) == 0 &&
	      a->presence.status == PRESENCE_LOCAL);
	ipc_send(a->keyd, IPC_SETUP_OUT, &out, NULL, 0);
	UNTIL(a->setups == 1);
	ck_assert_mem_eq(&a->setup.key, &back.key, sizeof(back.key));
	ck_assert_mem_eq(a->setup.peer.app_key, x.public, KEY_SIZE);
	ipc_send(a->keyd, IPC_SETUP_OUT, &back, NULL, 0);
	UNTIL(a->setups == 2);
	ck_assert_mem_eq(&a->setup.key, &out.key, sizeof(out.key));
	chat_seal(a, &out, 1, 33);
	UNTIL(a->opens == 1);
	ck_assert_mem_eq(&a->open.key, &back.key, sizeof(back.key));
	ck_assert_uint_eq(a->open_length, 33);
	ack.key = back.key;
	ipc_send(a->router, IPC_RELAY_ACK, &ack, NULL, 0);
	UNTIL(a->acks == 1);
	ck_assert_mem_eq(&a->ack.key, &out.key, sizeof(out.key));
	teardown.key = out.key;
	memcpy(teardown.node, a->keys.public, KEY_SIZE);
	memcpy(teardown.chat_id, out.chat_id, sizeof(out.chat_id));
	ipc_send(a->keyd, IPC_TEARDOWN_OUT, &teardown, NULL, 0);
	UNTIL(a->teardowns == 1);
	ck_assert_mem_eq(&a->teardown.key, &back.key, sizeof(back.key));
}
END_TEST

static int
all_alive(unsigned count)
{
	unsigned i, j;

	for (i = 0; i < count; i++)
		for (j = 0; j < count; j++)
			if (node_state_of(&world.nodes[i], &world.nodes[j]) !=
			    NODE_ALIVE)
				return (0);
	return (1);
}

START_TEST(five_come_and_go)
{
	static const char *const names[] = { "n0", "n1", "n2", "n3", "n4" };
	struct node *n = world.nodes;
	struct keys app;
	unsigned i;

	keys_make(&app);
	world.route_grace = CLOCK_SECOND;
	for (i = 0; i < 5; i++)
		(void)node_new(i, names[i]);
	node_certify(&n[0], 1);
	for (i = 0; i < 5; i++)
		node_start(&n[i]);
	UNTIL(
	    n[0].ready && n[1].ready && n[2].ready && n[3].ready && n[4].ready);
	for (i = 1; i < 5; i++) {
		node_join(&n[i], &n[0]);
		ck_assert_msg(n[i].result.ok == 1, "%s", n[i].result_text);
	}
	UNTIL(all_alive(5));
	app_up(&n[4], &app);
	for (i = 0; i < 4; i++) {
		app_watch(&n[i], &app);
		UNTIL(n[i].presence.status == PRESENCE_FOUND &&
		      n[i].presence.reachable);
	}
	/* One dies; the others find out, and its chats and apps end. */
	node_kill(&n[4]);
	for (i = 0; i < 4; i++) {
		UNTIL(node_state_of(&n[i], &n[4]) == NODE_FAILED);
		UNTIL(n[i].ended[4] > 0);
		UNTIL(n[i].presence.status == PRESENCE_UNKNOWN);
	}
	/* One says good-bye: no suspicion needed. */
	node_stop(&n[3]);
	for (i = 0; i < 3; i++)
		UNTIL(node_state_of(&n[i], &n[3]) == NODE_LEFT);
	/* Both come back by themselves, from what their keyds remember. */
	n[3].incarnation++;
	n[4].incarnation++;
	node_start(&n[3]);
	node_start(&n[4]);
	UNTIL(all_alive(5));
	app_up(&n[4], &app);
	for (i = 0; i < 4; i++)
		if (i != 3)
			UNTIL(n[i].presence.status == PRESENCE_FOUND);
}
END_TEST

/* A node that stands still for long is given up, and comes back with its
 * chats when it goes on. */
START_TEST(partition_heals)
{
	struct node *n = world.nodes;
	struct ipc_setup out, back;
	struct keys x, y;
	unsigned i;

	keys_make(&x);
	keys_make(&y);
	for (i = 0; i < 3; i++)
		(void)node_new(i, i == 0 ? "one" : i == 1 ? "two" : "three");
	node_certify(&n[0], 1);
	for (i = 0; i < 3; i++)
		node_start(&n[i]);
	UNTIL(n[0].ready && n[1].ready && n[2].ready);
	node_join(&n[1], &n[0]);
	node_join(&n[2], &n[0]);
	UNTIL(all_alive(3));
	chat_make(&n[0], &x, &n[2], &y, &out, &back);
	ck_assert_int_eq(kill(n[2].pid, SIGSTOP), 0);
	UNTIL(node_state_of(&n[0], &n[2]) == NODE_FAILED);
	UNTIL(node_state_of(&n[1], &n[2]) == NODE_FAILED);
	UNTIL(!n[0].presence.reachable);
	ck_assert_uint_eq(n[0].presence.status, PRESENCE_FOUND);
	ck_assert_uint_eq(n[0].ended[2], 0);
	ck_assert_int_eq(kill(n[2].pid, SIGCONT), 0);
	UNTIL(all_alive(3));
	UNTIL(
	    n[0].presence.status == PRESENCE_FOUND && n[0].presence.reachable);
	/* The chat's road is open again, both ways. */
	n[0].opens = n[2].opens = 0;
	UNTIL((chat_seal(&n[0], &out, 1, 1), turn(), n[2].opens > 0));
	UNTIL((chat_seal(&n[2], &back, 1, 1), turn(), n[0].opens > 0));
}
END_TEST

/* The router of a new mesh process may speak before keyd does. */
START_TEST(apps_before_identity)
{
	struct node *a = node_new(0, "alpha");
	struct keys app, gone;

	keys_make(&app);
	keys_make(&gone);
	node_certify(a, 1);
	a->mute = 1;
	node_start(a);
	UNTIL(a->ready);
	app_up(a, &app);
	app_up(a, &gone);
	app_down(a, &gone);
	app_watch(a, &app);
	(void)node_state_of(a, a); /* some turns go by */
	keyd_identify(a);
	UNTIL(a->presence.status == PRESENCE_LOCAL);
	app_watch(a, &gone);
	UNTIL(memcmp(a->presence.app, gone.public, KEY_SIZE) == 0);
	ck_assert_uint_eq(a->presence.status, PRESENCE_UNKNOWN);
}
END_TEST

/* As the parent gives it what hosts(5) says. */
static void
give_hosts(struct node *node, const char *text)
{
	struct ipc_request request = { .value = NAMES_HOSTS };
	FILE *file = tmpfile();

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	rewind(file); /* and flush */
	ipc_send_fd(node->parent, IPC_NAMES_FILE, &request, dup(fileno(file)));
	fclose(file);
}

/* A name in an endpoint is looked up. */
START_TEST(endpoint_by_name)
{
	struct node *a = node_new(0, "alpha"), *b = node_new(1, "beta");
	struct ipc_ticket order;
	uint8_t bytes[TICKET_ENCODED_MAX];
	size_t length;

	node_certify(a, 1);
	node_start(a);
	node_start(b);
	UNTIL(a->ready && b->ready);
	ticket_make(a, &order);
	(void)snprintf(order.ticket.endpoints[0].endpoint, ENDPOINT_SIZE,
	    "alpha.test%s", strchr(a->endpoint, ':'));
	give_hosts(b,
	    "# 127.0.0.1 alpha.test\n\n \t\r\n127.0.0.1\nx alpha.test\n"
	    "127.0.0.1 alpha.test.not not.alpha.test\n"
	    "\t127.0.0.1\t first ALPHA.test#alpha");
	length = ticket_signed_bytes(&order.ticket, bytes);
	crypto_sign_detached(order.ticket.signature, NULL, bytes, length,
	    world.authority.secret);
	UNTIL(b->floor[STATEMENT_DESCRIPTOR] > 0);
	ipc_send(b->control, IPC_JOIN, &order, NULL, 0);
	UNTIL(b->results == 1);
	ck_assert_msg(b->result.ok == 1, "%s", b->result_text);
}
END_TEST

START_TEST(revoked_is_out)
{
	struct node *a, *b;
	struct ipc_revocation revocation = { .serial = 101 };
	uint8_t bytes[STATEMENT_SIGNED_MAX], digest[KEY_SIZE];
	struct keys app;
	size_t length;

	keys_make(&app);
	pair_make(&a, &b);
	app_up(b, &app);
	app_watch(a, &app);
	UNTIL(a->presence.status == PRESENCE_FOUND);
	memcpy(revocation.node_id, b->name, NODE_ID_SIZE);
	memcpy(revocation.node_key, b->keys.public, KEY_SIZE);
	revocation.revoked_at = 12345;
	wire_revocation_digest(revocation.revoked_at, digest);
	length = statement_signed_bytes(
	    STATEMENT_REVOCATION, b->name, b->keys.public, 101, digest, bytes);
	crypto_sign_detached(
	    revocation.signature, NULL, bytes, length, world.authority.secret);
	ipc_send(a->keyd, IPC_REVOCATION, &revocation, NULL, 0);
	UNTIL(node_state_of(a, b) == NODE_REVOKED);
	UNTIL(a->presence.status == PRESENCE_UNKNOWN);
	UNTIL(a->ended[1] > 0 && a->saved_count == 0);
	/* Its new process does not get in again. */
	node_kill(b);
	b->incarnation++;
	node_start(b);
	UNTIL(b->ready);
	ck_assert_uint_eq(node_state_of(a, b), NODE_REVOKED);
}
END_TEST

static Suite *
process_suite(void)
{
	Suite *suite = suite_create("mesh_process");
	TCase *tcase = tcase_create("process");

	tcase_set_timeout(tcase, 180);
	tcase_add_checked_fixture(tcase, world_open, world_close);
	tcase_add_test(tcase, join_and_know);
	tcase_add_test(tcase, join_is_refused);
	tcase_add_test(tcase, presence_goes_on_where_it_was);
	tcase_add_test(tcase, presence_travels);
	tcase_add_test(tcase, chat_frames);
	tcase_add_test(tcase, chat_both_start_at_once);
	tcase_add_test(tcase, mesh_process_dies_and_resumes);
	tcase_add_test(tcase, local_chat_outside_a_mesh);
	tcase_add_test(tcase, five_come_and_go);
	tcase_add_test(tcase, partition_heals);
	tcase_add_test(tcase, apps_before_identity);
	tcase_add_test(tcase, endpoint_by_name);
	tcase_add_test(tcase, revoked_is_out);
	suite_add_tcase(suite, tcase);
	return (suite);
}

int
main(void)
{
	if (sodium_init() == -1)
		return (1);
	return (suite_run(process_suite()));
}
