/*
 * Tests only, of fuzz_peers.c. What its own house tells the mesh process.
 * Include once.
 */
#ifndef REGRESS_FUZZ_PEERS_ORDERS_H
#define REGRESS_FUZZ_PEERS_ORDERS_H

static void
router_speaks(void)
{
	uint8_t what = input_u8(feed), how = input_u8(feed);
	const struct keys *app = &apps[how % APPS];
	struct ipc_app_up up = { .session_id = "session", .connected_at = 1 };
	struct ipc_app name;
	struct ipc_find find = { .id = how };
	struct ipc_relay_ack ack = { .sequence = how };
	struct ipc_credit credit = { .messages = how, .bytes = how };

	memcpy(name.app, app->public, KEY_SIZE);
	memcpy(find.app, app->public, KEY_SIZE);
	if (chat_key_make(&ack.key, "chat", app->public,
		apps[(how >> 2) % APPS].public) == -1 ||
	    proc_ipc(PROCESS_ROUTER) == NULL)
		return;
	credit.key = ack.key;
	switch (what % 7) {
	case 0:
		cast_attest(
		    app, "alpha", actors[SELF].keys.public, &up.attestation);
		from(PROCESS_ROUTER, IPC_APP_UP, &up, NULL, 0);
		break;
	case 1:
		from(PROCESS_ROUTER, IPC_APP_DOWN, &name, NULL, 0);
		break;
	case 2:
		from(PROCESS_ROUTER, IPC_WATCH, &name, NULL, 0);
		break;
	case 3:
		from(PROCESS_ROUTER, IPC_UNWATCH, &name, NULL, 0);
		break;
	case 4:
		from(PROCESS_ROUTER, IPC_FIND, &find, NULL, 0);
		break;
	case 5:
		from(PROCESS_ROUTER, IPC_RELAY_ACK, &ack, NULL, 0);
		break;
	case 6:
		from(PROCESS_ROUTER, IPC_CREDIT, &credit, NULL, 0);
		break;
	}
}

static void
keyd_speaks(void)
{
	uint8_t what = input_u8(feed), how = input_u8(feed);
	int x = how % APPS, y = (how >> 2) % APPS;
	struct actor *actor = &actors[(how >> 4) % ACTORS];
	struct ipc_peer peer = { .endpoint = "127.0.0.1:3" };
	struct ipc_teardown teardown = { .chat_id = "chat" };
	struct ipc_setup_refused refused = { .code = CODE_AUTH_FAILED };
	struct ipc_sealed sealed = { .sequence = what >> 3, .version = 1 };
	struct ipc_revocation revocation;
	struct ipc_setup setup;

	if (x == y)
		return;
	cast_setup(&setup, "chat", &apps[x], &actors[SELF].keys, &apps[y],
	    actor->keys.public);
	sealed.key = teardown.key = refused.key = setup.key;
	memcpy(teardown.node, actor->keys.public, KEY_SIZE);
	memcpy(refused.node, actor->keys.public, KEY_SIZE);
	teardown.status = STATUS_DELETED;
	switch (what % 6) {
	case 0:
		actor->called[y] = 1;
		if (actor == &actors[SELF]) /* its two ends are here */
			actor->called[x] = 1;
		from(PROCESS_KEYD, IPC_SETUP_OUT, &setup, NULL, 0);
		break;
	case 1:
		from(PROCESS_KEYD, IPC_SEALED, &sealed, "sealed bytes", 12);
		break;
	case 2:
		from(PROCESS_KEYD, IPC_TEARDOWN_OUT, &teardown, NULL, 0);
		break;
	case 3:
		from(PROCESS_KEYD, IPC_SETUP_REFUSED, &refused, NULL, 0);
		break;
	case 4:
		if (actor == &actors[FORGED] || actor == &actors[STRANGER])
			break;
		peer.certificate = actor->certificate;
		from(PROCESS_KEYD, IPC_PEER, &peer, NULL, 0);
		break;
	case 5:
		revocation_make(actor, 1, &revocation);
		from(PROCESS_KEYD, IPC_REVOCATION, &revocation, NULL, 0);
		break;
	}
}

static void
control_asks(void)
{
	uint8_t what = input_u8(feed);
	struct ipc_show show = { .id = 9, .what = what >> 2 };
	struct ipc_request request = { .id = 8, .value = 1 };
	struct ipc_ticket order = { .id = 7 };

	switch (what & 3) {
	case 0:
		from(PROCESS_CONTROL, IPC_SHOW, &show, NULL, 0);
		break;
	case 1:
		from(PROCESS_CONTROL, IPC_METRICS_GET, &request, NULL, 0);
		break;
	case 2:
		from(PROCESS_CONTROL, IPC_EVENTS_WANTED, &request, NULL, 0);
		break;
	case 3:
		cast_ticket(&authority, ticket_secret,
		    actors[(what >> 2) % ACTORS].keys.public, "127.0.0.1:4",
		    &order.ticket);
		from(PROCESS_CONTROL, IPC_JOIN, &order, NULL, 0);
		break;
	}
}

static void
house_changes(uint8_t how)
{
	struct ipc *router;

	house.refuses = how & 1;
	house.redeemed = 1 + (how >> 4) % (REDEEM_REVOKED + 1);
	world.doors[PROCESS_KEYD].congested = how >> 1 & 1;
	if (!world.doors[PROCESS_KEYD].congested)
		world.hooks->uncongested(PROCESS_KEYD);
	if ((how & 4) && !(world.down & PROCESS_ROUTER)) {
		world.down |= PROCESS_ROUTER;
		world.hooks->door_down(PROCESS_ROUTER);
	} else if (!(how & 4) && (world.down & PROCESS_ROUTER)) {
		world.down &= ~(unsigned int)PROCESS_ROUTER;
		router = proc_ipc(PROCESS_ROUTER);
		world.hooks->door_up(PROCESS_ROUTER, router);
	}
	if (how & 8)
		world.hooks->shutdown(5 * CLOCK_SECOND);
	if (how & 0x80)
		world.hooks->configured(&world.config, 1);
}

#endif
