/*
 * Tests only. keyd as a hostile house and a hostile mesh see it. The input is
 * a script: true messages of every kind, the same with bytes changed, out of
 * order, twice, to the wrong door; bytes that are no message; time, deaths,
 * a store that fails. At the other end of the tielines are a real engine and
 * the frames it makes. fuzz_house.c holds what must stay true.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/ipc/ipc_door.h"
#include "common/proc/proc.h"
#include "keyd/keyd.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_house.h"
#include "regress/fuzz/fuzz_store.h"

#define STEPS     120
#define PEER_NAME "peer"

static struct node peer;
static struct app apps[NODE_APPS]; /* of the house */
static uint8_t house_key[KEY_SIZE];
static struct certificate peer_certificate;

static const char *const chat_ids[NODE_CHATS] = { "a chat", "b", "c", "d" };

/* --- the bytes of a message, some of them changed ----------------------- */

static void
mutate(struct input *input, void *bytes, size_t length)
{
	uint8_t *at = bytes;
	unsigned int n = input_u8(input);
	size_t offset;

	/* Most go as they are. */
	if (n < 0x60 || length == 0)
		return;
	for (n = 1 + (n & 3); n > 0; n--) {
		offset = input_u16(input) % length;
		at[offset] = (uint8_t)(at[offset] ^ (1 + input_u8(input)));
	}
}

/* A change of one number somewhere, to one of those that break things. */
static void
mutate_number(struct input *input, void *bytes, size_t length)
{
	static const uint64_t numbers[] = { 0, 1, UINT64_MAX, INT64_MAX,
		(uint64_t)INT64_MIN, UINT32_MAX, INT32_MAX, 65536 };
	uint8_t choice = input_u8(input);
	size_t offset;

	if (choice < 0xc0 || length < 8)
		return;
	offset = input_u16(input) % (length / 4);
	memcpy((uint8_t *)bytes + offset * 4, &numbers[choice & 7],
	    offset * 4 + 8 <= length && (choice & 8) ? 8 : 4);
}

static void
send_mutated(struct input *input, enum house_door door, enum ipc_type type,
    void *payload, const void *tail, size_t tail_length)
{
	size_t size = ipc_payload_size(type);

	mutate(input, payload, size);
	mutate_number(input, payload, size);
	house_send(door, type, payload, tail, tail_length);
}

/* --- what each neighbour does ------------------------------------------- */

static struct route *
pick(struct input *input)
{
	return (&house_routes[input_u8(input) % (NODE_CHATS + 1)]);
}

static void
do_start(struct input *input)
{
	struct route *picked = pick(input);
	struct route route = *picked;
	struct ipc_chat_start start;
	uint8_t flags = input_u8(input);
	int own = picked == &house_routes[NODE_CHATS];
	const uint8_t *tail;
	size_t length;

	if (own && (flags & 0x20)) {
		route.key.side ^= 1;
		route.local = picked->peer;
		route.peer = picked->local;
	}
	node_start_fill(&route, HOUSE_NAME, house_key,
	    own ? HOUSE_NAME : PEER_NAME, own ? house_key : peer.key,
	    (flags & 0x10) ? route.version + (flags >> 6) : 0, flags & 0x1f,
	    &start);
	start.app_key[0] = flags >> 5;
	length = input_span(input, flags & 0x20 ? 40 : 0, &tail);
	send_mutated(input, DOOR_ROUTER, IPC_CHAT_START, &start, tail, length);
}

static void
do_seal(struct input *input)
{
	struct route *route = pick(input);
	struct ipc_seal seal = { .key = route->key };
	uint8_t payload[NODE_PAYLOAD_MAX], how = input_u8(input);
	size_t length;

	seal.sequence = how & 0x80 ? how & 0x1f : route->next++;
	length = node_payload(&route->key, seal.sequence, payload);
	send_mutated(input, DOOR_ROUTER, IPC_SEAL, &seal, payload, length);
}

static void
do_end(struct input *input)
{
	struct ipc_chat_end end = { .key = pick(input)->key };

	end.status = input_u8(input) % (STATUS_COUNT + 2);
	send_mutated(input, DOOR_ROUTER, IPC_CHAT_END, &end, NULL, 0);
}

static void
do_progress(struct input *input)
{
	struct ipc_chat_progress progress = { .key = pick(input)->key };

	progress.delivered = input_u8(input);
	progress.acked = input_u8(input);
	send_mutated(input, DOOR_ROUTER, IPC_CHAT_PROGRESS, &progress, NULL, 0);
}

/* A frame from a wire to keyd's mesh door. */
static void
to_keyd(struct input *input, struct wire_frame *frame, int own)
{
	const struct route *route;
	const struct app *local;
	enum ipc_type type;

	frame->payload.sealed.key.side ^= 1;
	route = house_find(&frame->payload.sealed.key);
	switch (frame->type) {
	case IPC_SETUP_OUT:
		type = IPC_SETUP_IN;
		memcpy(frame->payload.setup.node, own ? house_key : peer.key,
		    KEY_SIZE);
		if (route == NULL)
			break;
		local = route->peer;
		/* A chat of two of our own: seen from the other side. */
		app_attest(local, own ? HOUSE_NAME : PEER_NAME,
		    own ? house_key : peer.key, fuzz_wall,
		    &frame->payload.setup.peer);
		break;
	case IPC_TEARDOWN_OUT:
		type = IPC_TEARDOWN_IN;
		memcpy(frame->payload.teardown.node, own ? house_key : peer.key,
		    KEY_SIZE);
		break;
	case IPC_SEALED:
		type = IPC_OPEN;
		mutate(input, frame->tail, frame->tail_length);
		break;
	default:
		return;
	}
	send_mutated(input, DOOR_MESH, type, &frame->payload, frame->tail,
	    frame->tail_length);
}

/* Take a frame from a wire: in order, or any; and keep it there, or not. */
static int
take(struct input *input, struct wire *wire, struct wire_frame *frame)
{
	uint8_t how = input_u8(input);
	uint8_t *tail;

	if (wire->count == 0)
		return (0);
	wire_take(wire, how & 0x40 ? how % wire->count : 0, frame);
	if (how & 0x80)
		wire_push(wire, frame->type, &frame->payload, frame->tail,
		    frame->tail_length);
	FUZZ_CHECK((tail = malloc(frame->tail_length + 1)) != NULL);
	memcpy(tail, frame->tail, frame->tail_length);
	free(frame->tail);
	frame->tail = tail;
	return (1);
}

static void
do_carry_in(struct input *input)
{
	struct wire_frame frame;

	if (!take(input, &peer.wire, &frame))
		return;
	to_keyd(input, &frame, 0);
	free(frame.tail);
}

static void
do_carry_out(struct input *input)
{
	struct wire_frame frame;
	struct route *route;
	struct chat_key key;

	if (!take(input, &house_wire, &frame))
		return;
	key = frame.payload.sealed.key;
	key.side ^= 1;
	/* Between two apps of the house it comes back. */
	if (memcmp(key.handle, house_routes[NODE_CHATS].key.handle, KEY_SIZE) ==
	    0)
		to_keyd(input, &frame, 1);
	else if (peer.chats != NULL) {
		route = node_find(&peer, &key);
		mutate(input, &frame.payload, ipc_payload_size(frame.type));
		node_deliver(&peer, &frame, HOUSE_NAME, house_key,
		    route == NULL ? NULL : route->peer);
		(void)node_commit(&peer);
	}
	free(frame.tail);
}

/* Everything on the way arrives, as it should. */
static void
do_carry_all(void)
{
	static const uint8_t nothing[8];
	struct input none = { nothing, 0 };
	int i;

	for (i = 0; i < 64 && house_wire.count + peer.wire.count > 0; i++) {
		do_carry_in(&none);
		do_carry_out(&none);
	}
}

/* --- the other node ----------------------------------------------------- */

static void
do_peer_start(struct input *input)
{
	struct route *route = &peer.routes[input_u8(input) % NODE_CHATS];
	struct ipc_chat_start start;
	uint8_t flags = input_u8(input);

	node_start_fill(route, PEER_NAME, peer.key, HOUSE_NAME, house_key,
	    flags & 0x10 ? flags >> 6 : 0, flags & 0x1f, &start);
	chats_set_now(peer.chats, fuzz_wall);
	chats_start(peer.chats, &start, (const uint8_t *)"startchat", 9);
	(void)node_commit(&peer);
}

static void
do_peer_say(struct input *input)
{
	struct route *route = &peer.routes[input_u8(input) % NODE_CHATS];

	node_say(&peer, route, route->next++);
	(void)node_commit(&peer);
}

static void
do_peer_other(struct input *input)
{
	struct route *route = &peer.routes[input_u8(input) % NODE_CHATS];
	struct ipc_chat_end end = { .key = route->key,
		.status = STATUS_DELETED };

	chats_set_now(peer.chats, fuzz_wall);
	switch (input_u8(input) % 4) {
	case 0:
		(void)chats_rekey(peer.chats, &route->key);
		break;
	case 1:
		chats_end(peer.chats, &end);
		break;
	case 2:
		node_tick(&peer);
		break;
	case 3:
		node_stop(&peer);
		node_start(&peer);
		return;
	}
	(void)node_commit(&peer);
}

/* --- signatures, membership --------------------------------------------- */

static void
do_sign(struct input *input)
{
	struct ipc_sign_digest digest = { .length = 32 };
	struct ipc_challenge challenge = { .id = 1 };
	struct ipc_statement statement = { .id = 2 };

	switch (input_u8(input) % 4) {
	case 0:
		send_mutated(
		    input, DOOR_ROUTER, IPC_SIGN_DIGEST, &digest, NULL, 0);
		break;
	case 1:
		send_mutated(
		    input, DOOR_MESH, IPC_SIGN_DIGEST, &digest, NULL, 0);
		break;
	case 2:
		send_mutated(
		    input, DOOR_ROUTER, IPC_CHALLENGE, &challenge, NULL, 0);
		break;
	case 3:
		statement.kind = input_u8(input) % (STATEMENT_KINDS + 1);
		statement.number = input_u8(input);
		if (statement.number > 0x80)
			statement.number = input_u64(input);
		send_mutated(
		    input, DOOR_MESH, IPC_STATEMENT, &statement, NULL, 0);
		break;
	}
}

static void
do_member(struct input *input)
{
	struct ipc_redeem redeem = { .id = 3 };
	struct ipc_membership membership = { 0 };
	struct ipc_peer saved = { .endpoint = "127.0.0.1:2" };
	struct ipc_renew renew = { .id = 9 };
	struct ipc_revocation revoked = house_revocation;
	struct ipc_voucher voucher = { .node_id = PEER_NAME };
	struct ipc_ticket order = house_ticket;

	switch (input_u8(input) % 8) {
	case 6:
		memcpy(voucher.node_key, peer.key, KEY_SIZE);
		memcpy(voucher.authority_key, house_ticket.ticket.authority,
		    KEY_SIZE);
		send_mutated(input, DOOR_MESH, IPC_VOUCHER, &voucher,
		    &house_redeemed, sizeof(house_redeemed));
		break;
	case 7:
		send_mutated(
		    input, DOOR_CONTROL, IPC_JOIN_ALLOW, &order, NULL, 0);
		break;
	case 0:
		memcpy(redeem.secret, house_ticket.ticket.secret,
		    TICKET_SECRET_SIZE);
		memcpy(redeem.node_id, PEER_NAME, sizeof(PEER_NAME));
		redeem.node_id[0] = (char)('p' + input_u8(input) % 3);
		memcpy(redeem.node_key, peer.key, KEY_SIZE);
		redeem.node_key[0] ^= input_u8(input) & 1;
		send_mutated(input, DOOR_MESH, IPC_REDEEM, &redeem, NULL, 0);
		break;
	case 1:
		membership.certificate = house_redeemed.certificate;
		memcpy(membership.authority_key, house_ticket.ticket.authority,
		    KEY_SIZE);
		send_mutated(
		    input, DOOR_MESH, IPC_MEMBERSHIP, &membership, NULL, 0);
		break;
	case 2:
	case 3:
		saved.certificate = input_u8(input) & 1
					? house_redeemed.certificate
					: peer_certificate;
		send_mutated(input, DOOR_MESH,
		    input_u8(input) & 1 ? IPC_PEER_FORGET : IPC_PEER_SAVE,
		    &saved, NULL, 0);
		break;
	case 4:
		renew.certificate = house_redeemed.certificate;
		send_mutated(input, DOOR_MESH, IPC_RENEW, &renew, NULL, 0);
		break;
	case 5:
		send_mutated(input, DOOR_MESH, IPC_REVOKED, &revoked, NULL, 0);
		break;
	}
}

static void
do_control(struct input *input)
{
	struct ipc_show show = { .id = 4, .what = SHOW_RATCHETS };
	struct ipc_request request = { .id = 5 };
	struct ipc_ticket_make make = {
		.id = 6, .lifetime = 3600 * CLOCK_SECOND, .uses = 2
	};
	struct ipc_revoke revoke = { .id = 7, .node_id = PEER_NAME };
	struct ipc_rekey rekey = { .id = 8, .key = pick(input)->key };
	struct ipc_ticket_revoke ticket = { .id = 10 };

	switch (input_u8(input) % 10) {
	case 0:
		show.what = input_u8(input) & 1 ? SHOW_TICKETS : SHOW_RATCHETS;
		send_mutated(input, DOOR_CONTROL, IPC_SHOW, &show, NULL, 0);
		break;
	case 1:
		send_mutated(
		    input, DOOR_CONTROL, IPC_METRICS_GET, &request, NULL, 0);
		break;
	case 2:
		house_send(DOOR_CONTROL, IPC_MESH_CREATE, &request, NULL, 0);
		break;
	case 3:
		send_mutated(
		    input, DOOR_CONTROL, IPC_TICKET_MAKE, &make, NULL, 0);
		break;
	case 4:
		send_mutated(input, DOOR_CONTROL, IPC_REVOKE, &revoke, NULL, 0);
		break;
	case 5:
		rekey.all = input_u8(input) & 1;
		send_mutated(input, DOOR_CONTROL, IPC_REKEY, &rekey, NULL, 0);
		break;
	case 6:
		house_send(DOOR_CONTROL, IPC_ERASE, &request, NULL, 0);
		break;
	case 9:
		request.value = input_u8(input) & 1;
		send_mutated(
		    input, DOOR_CONTROL, IPC_EVENTS_WANTED, &request, NULL, 0);
		break;
	case 8:
		send_mutated(
		    input, DOOR_CONTROL, IPC_TICKET_REVOKE, &ticket, NULL, 0);
		break;
	case 7: {
		int fds[2];
		const uint8_t *at;
		size_t n = input_span(input, input_u8(input) & 0x3f, &at);

		FUZZ_CHECK(pipe(fds) == 0);
		if (n > 0)
			FUZZ_CHECK(write(fds[1], at, n) == (ssize_t)n);
		(void)close(fds[1]);
		house_send_fd(DOOR_CONTROL, IPC_PASSPHRASE, &request, fds[0]);
		break;
	}
	}
}

/* --- what is no message ------------------------------------------------- */

static void
do_raw(struct input *input)
{
	enum house_door door = (enum house_door)(input_u8(input) % 3);
	const uint8_t *at;
	size_t n = input_span(input, input_u8(input), &at);
	int fds[2];

	if (n > 0 && at[0] == 0xfd) {
		FUZZ_CHECK(pipe(fds) == 0);
		(void)close(fds[1]);
		house_write_fd(door, at, n, fds[0]);
	} else
		house_write(door, at, n);
}

/* A frame of any type and length on any door, with what bytes there are. */
static void
do_frame(struct input *input)
{
	enum house_door door = (enum house_door)(input_u8(input) % 3);
	struct ipc_header header;
	uint8_t how = input_u8(input), *frame;
	size_t length, whole, tail;

	header.type = input_u8(input) % (IPC_TYPE_COUNT + 1);
	header.descriptor = (how & 0xf0) == 0xf0;
	tail = how & 1 ? input_u16(input) : 0;
	length = ipc_payload_size((enum ipc_type)header.type) + tail;
	if (how & 2)
		length += (size_t)(int8_t)input_u8(input);
	if (length > 1024 * 1024)
		length = 0;
	header.length = (uint32_t)length;
	whole = ipc_frame_size(length);
	FUZZ_CHECK((frame = calloc(1, whole)) != NULL);
	memcpy(frame, &header, sizeof(header));
	input_bytes(input, frame + sizeof(header), length < 64 ? length : 64);
	if (how & 4)
		mutate(input, frame, whole);
	house_write(door, frame, how & 8 ? whole / 2 : whole);
	free(frame);
}

/* The largest message the table allows; what comes of it must fit too. */
static void
do_largest(struct input *input)
{
	struct ipc_seal seal = { .key = pick(input)->key };
	struct ipc_sealed sealed = { .key = seal.key };
	size_t length = IPC_TAIL_PAYLOAD - (input_u8(input) & 0x3f);
	uint8_t *tail;

	seal.sequence = house_find(&seal.key)->next++;
	FUZZ_CHECK((tail = calloc(1, length)) != NULL);
	if (input_u8(input) & 1)
		house_send(DOOR_ROUTER, IPC_SEAL, &seal, tail, length);
	else
		house_send(DOOR_MESH, IPC_OPEN, &sealed, tail, length);
	free(tail);
}

/* --- time and chance ---------------------------------------------------- */

static void
do_time(struct input *input)
{
	static const int64_t steps[] = { CLOCK_MS, CLOCK_SECOND,
		5 * CLOCK_SECOND, 11 * CLOCK_SECOND, 31 * CLOCK_SECOND,
		61 * CLOCK_SECOND, 700 * CLOCK_SECOND, 3700 * CLOCK_SECOND };

	/* A minute without a store ends keyd, which is as it should be. */
	fuzz_store_fail(0);
	house_tick();
	fuzz_wall += steps[input_u8(input) % 8];
	house_tick();
}

static void
do_chance(struct input *input)
{
	struct config config = *(proc_config());
	int fds[2];
	const uint8_t *at;
	size_t n;

	switch (input_u8(input) % 6) {
	case 0:
		fuzz_store_fail(1 + input_u8(input) % 3);
		break;
	case 1:
		/* Killed, and started anew. */
		fuzz_store_fail(0);
		house_end(0);
		house_boot("pass");
		break;
	case 2:
		house_reopen((enum house_door)(input_u8(input) % 3));
		break;
	case 3:
		config.rekey.after_messages = input_u8(input);
		house_reload(&config);
		break;
	case 4:
		n = input_span(input, 200, &at);
		FUZZ_CHECK(pipe(fds) == 0);
		if (n > 0)
			FUZZ_CHECK(write(fds[1], at, n) == (ssize_t)n);
		(void)close(fds[1]);
		house_tls_file(fds[0]);
		break;
	case 5:
		do_largest(input);
		break;
	}
}

/* --- the script --------------------------------------------------------- */

static void
step(struct input *input)
{
	int d;

	switch (input_u8(input) % 20) {
	case 0:
		do_raw(input);
		break;
	case 1:
		do_frame(input);
		break;
	case 2:
	case 3:
		do_start(input);
		break;
	case 4:
	case 5:
		do_seal(input);
		break;
	case 6:
		do_end(input);
		break;
	case 7:
		do_progress(input);
		break;
	case 8:
	case 9:
		do_carry_in(input);
		break;
	case 10:
	case 11:
		do_carry_out(input);
		break;
	case 12:
		do_carry_all();
		break;
	case 13:
		do_peer_start(input);
		break;
	case 14:
		do_peer_say(input);
		break;
	case 15:
		do_peer_other(input);
		break;
	case 16:
		do_sign(input);
		break;
	case 17:
		do_member(input);
		break;
	case 18:
		do_control(input);
		break;
	case 19:
		if (input_u8(input) & 1)
			do_time(input);
		else
			do_chance(input);
		break;
	}
	/* The parent starts anew whoever broke the rules. */
	for (d = 0; d < DOOR_COUNT; d++)
		if (!house_up((enum house_door)d))
			house_reopen((enum house_door)d);
}

/* Once: a keyd with an identity, so that each input starts from there. */
static void
prepare(void)
{
	fuzz_quiet();
	fuzz_seed(21);
	fuzz_wall = FUZZ_EPOCH;
	truth_reset();
	house_boot("pass");
	house_end(0);
	fuzz_store_save();
}

static void
set_up(void)
{
	size_t i;

	for (i = 0; i < NODE_APPS; i++)
		(void)crypto_sign_keypair(apps[i].key, apps[i].secret);
	memset(&house_ticket, 0, sizeof(house_ticket));
	memset(&house_redeemed, 0, sizeof(house_redeemed));
	memset(&house_revocation, 0, sizeof(house_revocation));
	memset(&peer_certificate, 0, sizeof(peer_certificate));
	memset(house_routes, 0, sizeof(house_routes));
	node_init(&peer, PEER_NAME);
	for (i = 0; i < NODE_CHATS; i++) {
		struct route *route = &house_routes[i];

		node_route(&peer, i, chat_ids[i], &peer.apps[i & 1],
		    &apps[i >> 1 & 1]);
		*route = peer.routes[i];
		route->local = peer.routes[i].peer;
		route->peer = peer.routes[i].local;
		route->key.side ^= 1;
	}
	house_routes[i].local = &apps[0];
	house_routes[i].peer = &apps[1];
	house_routes[i].next = 1;
	memcpy(house_routes[i].chat_id, "own", 4);
	FUZZ_CHECK(chat_key_make(&house_routes[i].key, "own", apps[0].key,
		       apps[1].key) == 0);
}

/* Chats that are ready, and members, so that scripts need not begin there. */
static void
begin_deep(unsigned int chats)
{
	static const uint8_t create[] = { 0, 2 }, ticket[] = { 0, 3 };
	static const uint8_t redeem[] = { 0, 0, 0 };
	struct input input;
	unsigned int i;

	input = (struct input){ create, sizeof(create) };
	do_control(&input);
	input = (struct input){ ticket, sizeof(ticket) };
	do_control(&input);
	input = (struct input){ redeem, sizeof(redeem) };
	do_member(&input);
	FUZZ_CHECK(house_redeemed.result == REDEEM_OK);
	for (i = 0; i < chats; i++) {
		const uint8_t start[] = { (uint8_t)i, 0 };
		const uint8_t say[] = { (uint8_t)i, 0 };

		input = (struct input){ start, sizeof(start) };
		do_start(&input);
		do_carry_all();
		input = (struct input){ start, sizeof(start) };
		do_peer_start(&input);
		do_carry_all();
		input = (struct input){ say, sizeof(say) };
		do_seal(&input);
		input = (struct input){ say, sizeof(say) };
		do_peer_say(&input);
		do_carry_all();
		FUZZ_CHECK(house_routes[i].ready && peer.routes[i].ready);
		FUZZ_CHECK(house_routes[i].delivered == 1);
		FUZZ_CHECK(peer.routes[i].delivered == 1);
	}
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	prepare();
	return (0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	uint8_t how = input_u8(&input);
	int i;

	fuzz_seed(22);
	fuzz_wall = FUZZ_EPOCH;
	fuzz_store_restore();
	truth_reset();
	set_up();
	house_boot((how & 0x70) == 0x70 ? NULL : "pass");
	memcpy(house_key, keyd.identity.node_key, KEY_SIZE);
	node_start(&peer);
	if ((how & 0x70) != 0x70)
		begin_deep(how & 3);
	for (i = 0; i < STEPS && input.left > 0; i++)
		step(&input);
	house_probe();
	wire_clear(&house_wire);
	wire_clear(&peer.wire);
	node_stop(&peer);
	house_end(how & 4);
	return (0);
}
