/*
 * The mesh process and its streams to another node. What waits for a trunk is
 * sent when there is one, and neither then nor when it is given up is memory
 * of it kept, as there may be thousands of nodes. Nothing is sent on a stream
 * that is gone.
 */

#include <string.h>

#include <check.h>

#include "mesh/gossip.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/wire_frame.h"
#include "regress/unit/rpc_fixture.h"
#include "regress/unit/suite.h"

#define COUNT 100

static const struct trunk_owner nobody;
static const uint8_t handle[KEY_SIZE] = { 1 };
static const uint8_t bytes[500];

static void
peer_play(struct peer *peer)
{
	memset(peer, 0, sizeof(*peer));
	peer->state = NODE_ALIVE;
	TAILQ_INIT(&peer->trunks);
	buffer_init(&peer->outbox);
	route_init(&peer->route);
}

static int
set_up_send(struct peer *peer)
{
	struct frame frame = { .body = FRAME_SETUP, .handle = handle };

	frame.setup.bytes = bytes;
	frame.setup.length = sizeof(bytes);
	return (route_send(peer, &frame, 1));
}

static void
set_ups_wait(struct peer *peer)
{
	int i;

	for (i = 0; i < COUNT; i++)
		ck_assert_int_eq(set_up_send(peer), -1);
	ck_assert_uint_eq(peer->route.waiting_count, COUNT);
	ck_assert_uint_ge(peer->route.waiting.size, COUNT * sizeof(bytes));
}

static void
trunk_play(struct trunk *trunk, struct peer *peer, struct rig *rig)
{
	rig_base(rig);
	rig_up(rig);
	memset(trunk, 0, sizeof(*trunk));
	trunk->connection = rig->connection;
	trunk->peer = peer;
	trunk->owner = &nobody;
	peer_trunk_came(peer, trunk);
}

START_TEST(set_ups_given_up)
{
	static struct peer peer;

	peer_play(&peer);
	set_ups_wait(&peer);
	route_ended(&peer);
	ck_assert_uint_eq(peer.route.waiting_count, 0);
	ck_assert_ptr_null(peer.route.waiting.data);
}
END_TEST

START_TEST(sent_when_there_is_a_trunk)
{
	static struct peer peer;
	static struct trunk trunk;
	struct rig rig;
	int i;

	peer_play(&peer);
	set_ups_wait(&peer);
	for (i = 0; i < COUNT; i++)
		gossip_send_raw(&peer, bytes, sizeof(bytes));
	ck_assert_uint_ge(buffer_length(&peer.outbox), COUNT * sizeof(bytes));

	trunk_play(&trunk, &peer, &rig);
	gossip_trunk_up(&peer, &trunk);
	ck_assert_uint_ge(
	    rpc_stream_queued(trunk.gossip), COUNT * sizeof(bytes));
	ck_assert_ptr_null(peer.outbox.data);

	route_trunk_up(&peer);
	ck_assert_ptr_nonnull(peer.route.active);
	ck_assert_uint_ge(rpc_stream_queued(peer.route.active->stream),
	    COUNT * sizeof(bytes));
	ck_assert_uint_eq(peer.route.waiting_count, 0);
	ck_assert_ptr_null(peer.route.waiting.data);
	rig_down(&rig);
}
END_TEST

/* A node that stops has closed its streams; keyd does not know yet. */
START_TEST(a_node_that_stops_sends_on_none_that_is_gone)
{
	static struct peer peer;
	static struct trunk trunk;
	struct rig rig;

	peer_play(&peer);
	trunk_play(&trunk, &peer, &rig);
	peer_want(&peer, WANT_ROUTE);
	route_trunk_up(&peer);
	ck_assert_int_eq(set_up_send(&peer), 0);
	mesh.stopping = 1;
	route_close_all();
	rpc_connection_close(rig.connection);
	WAIT(&rig, rig.connection == NULL);
	ck_assert_ptr_null(peer.route.active);
	ck_assert_int_eq(set_up_send(&peer), -1);
	rig_down(&rig);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("route");
	TCase *tcase = tcase_create("route");

	tcase_add_test(tcase, set_ups_given_up);
	tcase_add_test(tcase, sent_when_there_is_a_trunk);
	tcase_add_test(tcase, a_node_that_stops_sends_on_none_that_is_gone);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
