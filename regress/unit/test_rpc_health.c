/*
 * Tests of common/rpc: the health service, asked by strangers for names that
 * they made up.
 */

#include "common/rpc/internal.h"
#include "regress/unit/rpc_fixture.h"
#include "regress/unit/suite.h"

#define WATCHES 60

enum health { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

static void
health_ask(
    struct rig *rig, struct call *call, const char *method, const char *service)
{
	uint8_t request[64] = { 1 << 3 | 2, (uint8_t)strlen(service) };
	char path[64];

	(void)snprintf(path, sizeof(path), "/grpc.health.v1.Health/%s", method);
	call_start(rig, call, path, 0);
	memcpy(request + 2, service, strlen(service));
	ck_assert_int_eq(
	    rpc_stream_send(call->stream, request, 2 + strlen(service)), 0);
	rpc_stream_half_close(call->stream);
}

/* What the last answer said. */
static int
health_said(const struct call *call)
{
	ck_assert_uint_eq(call->last_length, 2);
	return (call->last[1]);
}

static size_t
names_looked_through(const struct rig *rig)
{
	const struct rpc_health_list *list = &rig->server->health;
	/* The entries begin with their links. */
	const TAILQ_ENTRY(rpc_health_entry) * link;
	const void *entry;
	size_t count = 0;

	for (entry = TAILQ_FIRST(list); entry != NULL; entry = link->tqe_next) {
		link = entry;
		count++;
	}
	return (count);
}

/* Each Check and each Watch looks for its name among those that the owner has
 * set, however many others are watched. */
START_TEST(test_names_of_strangers)
{
	struct call calls[WATCHES], check;
	struct rig rig;
	char name[32];
	int i;

	rig_base(&rig);
	rig_up(&rig);
	for (i = 0; i < WATCHES; i++) {
		(void)snprintf(name, sizeof(name), "made.up%d", i);
		health_ask(&rig, &calls[i], "Watch", name);
		WAIT(&rig, calls[i].messages == 1);
		ck_assert_int_eq(health_said(&calls[i]), SERVICE_UNKNOWN);
	}
	ck_assert_uint_eq(names_looked_through(&rig), 1);
	health_ask(&rig, &check, "Check", "made.up7");
	WAIT(&rig, check.closed);
	ck_assert_int_eq(check.status, RPC_NOT_FOUND);
	/* Those who watch what is set after all are told, and no others. */
	rpc_server_set_health(rig.server, "made.up7", 0);
	WAIT(&rig, calls[7].messages == 2);
	ck_assert_int_eq(health_said(&calls[7]), NOT_SERVING);
	rpc_server_set_health(rig.server, "made.up7", 1);
	WAIT(&rig, calls[7].messages == 3);
	ck_assert_int_eq(health_said(&calls[7]), SERVING);
	ck_assert_uint_eq(names_looked_through(&rig), 2);
	rpc_stream_cancel(calls[7].stream);
	rpc_stream_cancel(calls[8].stream);
	WAIT(&rig, calls[7].closed && calls[8].closed);
	rpc_server_set_health(rig.server, "made.up8", 1);
	rpc_server_set_health(rig.server, "made.up7", 0);
	/* All of them end as the server does. */
	rpc_server_drain(rig.server);
	for (i = 0; i < WATCHES; i++) {
		WAIT(&rig, calls[i].closed);
		ck_assert_uint_eq(calls[i].messages, i == 7 ? 3 : 1);
	}
	rig_down(&rig);
}
END_TEST

static Suite *
health_suite(void)
{
	Suite *suite = suite_create("rpc_health");
	TCase *tc = tcase_create("health");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_names_of_strangers);
	suite_add_tcase(suite, tc);
	return (suite);
}

int
main(void)
{
	return (suite_run(health_suite()));
}
