/*
 * Penalties of sources (common/rpc/penalty.c) by themselves: what an offence
 * costs, who is kept out and for how long, who makes room for whom, and what
 * a source, and all of them, may have of handshakes, signatures and bytes.
 */

#include <sys/socket.h>
#include <netinet/in.h>

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "common/rpc/internal.h"
#include "common/rpc/penalty.h"
#include "common/util/clock.h"
#include "regress/unit/suite.h"

#define S   CLOCK_SECOND
#define NOW (1000 * S)

static struct rpc_penalties *penalties;
static struct rpc_penalty_options options;
static int tellings;
static char told_source[RPC_SOURCE_TEXT];
static int64_t told_time;

static void
told(const char *source, int64_t time)
{
	tellings++;
	(void)strlcpy(told_source, source, sizeof(told_source));
	told_time = time;
}

static void
configure(void)
{
	rpc_penalties_configure(penalties, &options);
}

static void
setup(void)
{
	penalties = rpc_penalties_new();
	ck_assert_ptr_nonnull(penalties);
	memset(&options, 0, sizeof(options));
	options.cost[RPC_OFFENCE_HANDSHAKE] = 5 * S;
	options.cost[RPC_OFFENCE_AUTHENTICATION] = 20 * S;
	options.threshold = 60 * S;
	options.longest = 100 * S;
	options.sources = 8;
	options.told = told;
	configure();
	tellings = 0;
}

static void
teardown(void)
{
	rpc_penalties_free(penalties);
}

/* 192.0.2.i */
static const uint8_t *
source(int i)
{
	static uint8_t sources[256][RPC_SOURCE_SIZE];

	sources[i][0] = AF_INET;
	memcpy(sources[i] + 1, "\xc0\0\x02", 3);
	sources[i][4] = (uint8_t)i;
	return (sources[i]);
}

static void
offend(int i, enum rpc_offence offence, int64_t now)
{
	rpc_penalties_add(penalties, source(i), offence, now);
}

/* The row of 192.0.2.i; 0 when it has none. */
static int
row_of(int i, int64_t now, struct rpc_penalty_row *row)
{
	char name[RPC_SOURCE_TEXT];
	size_t cursor = 0;
	int found = 0;
	struct rpc_penalty_row any;

	(void)snprintf(name, sizeof(name), "192.0.2.%d/32", i);
	while (rpc_penalties_next(penalties, now, &cursor, &any))
		if (strcmp(any.source, name) == 0) {
			*row = any;
			found++;
		}
	ck_assert_int_le(found, 1);
	return (found);
}

START_TEST(offences_add_up_to_the_threshold)
{
	struct rpc_penalty_row row;

	offend(1, RPC_OFFENCE_AUTHENTICATION, NOW);
	offend(1, RPC_OFFENCE_AUTHENTICATION, NOW);
	offend(1, RPC_OFFENCE_ABUSE, NOW); /* costs nothing here */
	ck_assert_int_eq(rpc_penalties_out(penalties, source(1), NOW), 0);
	ck_assert_int_eq(row_of(1, NOW + 10 * S, &row), 1);
	ck_assert_int_eq(row.left, 30 * S);
	ck_assert_uint_eq(row.offences, 2);
	ck_assert_int_eq(row.out, 0);
	ck_assert_uint_eq(rpc_penalties_count(penalties, NOW), 0);
	ck_assert_int_eq(tellings, 0);
	/* Exactly there is out, until all of it has run out. */
	offend(1, RPC_OFFENCE_AUTHENTICATION, NOW);
	ck_assert_int_eq(tellings, 1);
	ck_assert_str_eq(told_source, "192.0.2.1/32");
	ck_assert_int_eq(told_time, 60 * S);
	ck_assert_uint_eq(rpc_penalties_count(penalties, NOW), 1);
	ck_assert_int_eq(row_of(1, NOW, &row), 1);
	ck_assert_int_eq(row.out, 1);
	ck_assert_int_eq(
	    rpc_penalties_out(penalties, source(1), NOW + 60 * S - 1), 1);
	ck_assert_int_eq(
	    rpc_penalties_out(penalties, source(1), NOW + 60 * S), 0);
	ck_assert_int_eq(row_of(1, NOW + 60 * S, &row), 0);
	ck_assert_uint_eq(rpc_penalties_count(penalties, NOW + 60 * S), 0);
	/* Said once; nobody else is out. */
	offend(1, RPC_OFFENCE_HANDSHAKE, NOW);
	ck_assert_int_eq(tellings, 1);
	ck_assert_int_eq(rpc_penalties_out(penalties, source(2), NOW), 0);
}
END_TEST

START_TEST(what_ran_out_is_forgiven)
{
	struct rpc_penalty_row row;
	int i;

	for (i = 0; i < 3; i++)
		offend(1, RPC_OFFENCE_AUTHENTICATION, NOW);
	offend(1, RPC_OFFENCE_HANDSHAKE, NOW + 60 * S);
	ck_assert_int_eq(
	    rpc_penalties_out(penalties, source(1), NOW + 60 * S), 0);
	ck_assert_int_eq(row_of(1, NOW + 60 * S, &row), 1);
	ck_assert_uint_eq(row.offences, 1);
	ck_assert_int_eq(row.left, 5 * S);
	ck_assert_int_eq(row.out, 0);
	/* And told anew, when it does it again. */
	for (i = 0; i < 3; i++)
		offend(1, RPC_OFFENCE_AUTHENTICATION, NOW + 60 * S);
	ck_assert_int_eq(tellings, 2);
	ck_assert_int_eq(told_time, 65 * S);
}
END_TEST

START_TEST(a_penalty_has_a_longest)
{
	struct rpc_penalty_row row;
	int i;

	for (i = 0; i < 50; i++)
		offend(1, RPC_OFFENCE_AUTHENTICATION, NOW + S);
	ck_assert_int_eq(row_of(1, NOW + S, &row), 1);
	ck_assert_int_eq(row.left, 100 * S);
	ck_assert_uint_eq(row.offences, 50);
}
END_TEST

START_TEST(none_without_a_threshold)
{
	struct rpc_penalty_row row;
	int i;

	for (i = 0; i < 3; i++)
		offend(1, RPC_OFFENCE_AUTHENTICATION, NOW);
	ck_assert_int_eq(rpc_penalties_out(penalties, source(1), NOW), 1);
	options.threshold = 0;
	configure();
	ck_assert_int_eq(rpc_penalties_out(penalties, source(1), NOW), 0);
	offend(2, RPC_OFFENCE_AUTHENTICATION, NOW);
	ck_assert_int_eq(row_of(2, NOW, &row), 0);
}
END_TEST

/* The longest silent one that owes nothing goes first, then the longest
 * silent one at all. */
START_TEST(who_makes_room)
{
	struct rpc_penalty_row row;
	int64_t wait;

	options.sources = 2;
	options.handshakes_source = 1;
	configure();
#define SHAKE(i) rpc_penalties_handshake(penalties, source(i), NOW, &wait)
	ck_assert_int_eq(SHAKE(1), 0);
	ck_assert_int_eq(SHAKE(2), 0);
	ck_assert_int_eq(SHAKE(1), -1); /* known, and heard of last */
	ck_assert_int_eq(SHAKE(3), 0);  /* for 2 */
	ck_assert_int_eq(SHAKE(1), -1);
	ck_assert_int_eq(SHAKE(2), 0); /* for 3 */
	ck_assert_int_eq(SHAKE(1), -1);
	/* Who owes stays. */
	offend(2, RPC_OFFENCE_HANDSHAKE, NOW);
	ck_assert_int_eq(SHAKE(3), 0); /* for 1 */
	ck_assert_int_eq(SHAKE(4), 0); /* for 3 */
	ck_assert_int_eq(row_of(2, NOW, &row), 1);
	offend(4, RPC_OFFENCE_HANDSHAKE, NOW);
	offend(2, RPC_OFFENCE_HANDSHAKE, NOW);
	ck_assert_int_eq(SHAKE(5), 0); /* for 4 */
	ck_assert_int_eq(row_of(4, NOW, &row), 0);
	ck_assert_int_eq(row_of(2, NOW, &row), 1);
	ck_assert_uint_eq(row.offences, 2);
	/* Who owed, and does no more, is as the others. */
	ck_assert_int_eq(
	    rpc_penalties_handshake(penalties, source(6), NOW + 10 * S, &wait),
	    0); /* for 5 */
	ck_assert_int_eq(
	    rpc_penalties_handshake(penalties, source(6), NOW + 10 * S, &wait),
	    -1);
	ck_assert_int_eq(row_of(2, NOW, &row), 0);
	ck_assert_int_eq(
	    rpc_penalties_handshake(penalties, source(7), NOW + 10 * S, &wait),
	    0); /* for 2 */
	ck_assert_int_eq(
	    rpc_penalties_handshake(penalties, source(6), NOW + 10 * S, &wait),
	    -1);
	options.sources = 0;
	configure();
	ck_assert_int_eq(
	    rpc_penalties_handshake(penalties, source(6), NOW + 10 * S, &wait),
	    0);
	ck_assert_int_eq(
	    rpc_penalties_handshake(penalties, source(6), NOW + 10 * S, &wait),
	    0);
#undef SHAKE
}
END_TEST

START_TEST(handshakes)
{
	int64_t wait;
	int i;

	options.handshakes = 10;
	options.handshakes_source = 4;
	configure();
	for (i = 0; i < 4; i++) {
		ck_assert_int_eq(
		    rpc_penalties_handshake(penalties, source(1), NOW, &wait),
		    0);
		ck_assert_int_eq(wait, 0);
	}
	ck_assert_int_eq(
	    rpc_penalties_handshake(penalties, source(1), NOW, &wait), -1);
	ck_assert_int_eq(wait, 0);
	ck_assert_int_eq(
	    rpc_penalties_handshake(penalties, source(1), NOW + S / 4, &wait),
	    0);
	/* All together: taken, but later ones wait. Who is exempt counts. */
	for (i = 0; i < 6; i++) {
		ck_assert_int_eq(
		    rpc_penalties_handshake(penalties, NULL, NOW, &wait), 0);
		ck_assert_int_eq(wait, i < 5 ? 0 : S / 10);
	}
	ck_assert_int_eq(
	    rpc_penalties_handshake(penalties, source(2), NOW, &wait), 0);
	ck_assert_int_eq(wait, 2 * S / 10);
}
END_TEST

START_TEST(signatures)
{
	int i;

	options.verifications = 10;
	options.verifications_source = 4;
	configure();
	for (i = 0; i < 4; i++)
		ck_assert(rpc_penalties_may_verify(penalties, source(1), NOW));
	ck_assert(!rpc_penalties_may_verify(penalties, source(1), NOW));
	/* Those that are made have numbers of their own. */
	for (i = 0; i < 4; i++)
		ck_assert(rpc_penalties_may_sign(penalties, source(1), NOW));
	ck_assert(!rpc_penalties_may_sign(penalties, source(1), NOW));
	ck_assert(rpc_penalties_may_verify(penalties, source(1), NOW + S / 4));
	/* All together. */
	for (i = 0; i < 5; i++)
		ck_assert(rpc_penalties_may_verify(penalties, NULL, NOW));
	ck_assert(!rpc_penalties_may_verify(penalties, NULL, NOW));
	ck_assert(!rpc_penalties_may_verify(penalties, source(2), NOW));
	ck_assert(rpc_penalties_may_sign(penalties, source(2), NOW));
	ck_assert(rpc_penalties_may_verify(penalties, NULL, NOW + S / 2));
	options.verifications_source = options.verifications = 0;
	configure();
	for (i = 0; i < 100; i++)
		ck_assert(rpc_penalties_may_verify(penalties, source(1), NOW));
}
END_TEST

/* 8 MiB in 10 s, however large the pieces that are read at once. */
START_TEST(bytes_of_strangers)
{
	int64_t now = NOW;
	int i;

	for (i = 0; i < 128; i++)
		ck_assert_int_eq(rpc_penalties_bytes(penalties, source(1),
				     i % 2 ? 65536 : 1 << 20, now),
		    0);
	ck_assert_int_eq(
	    rpc_penalties_bytes(penalties, source(1), 65536, now), -1);
	ck_assert_int_eq(rpc_penalties_bytes(penalties, source(1), 1, now), -1);
	ck_assert_int_eq(
	    rpc_penalties_bytes(penalties, source(2), 65536, now), 0);
	now += 10 * S / 128;
	ck_assert_int_eq(
	    rpc_penalties_bytes(penalties, source(1), 65536, now), 0);
	ck_assert_int_eq(rpc_penalties_bytes(penalties, source(1), 1, now), -1);
	/* Nobody is counted where none are remembered. */
	options.sources = 0;
	configure();
	ck_assert_int_eq(rpc_penalties_bytes(penalties, source(1), 1, now), 0);
}
END_TEST

/* --- connections --------------------------------------------------------- */

static struct sockaddr_storage
address_of(const char *text)
{
	struct sockaddr_storage address = { 0 };
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;
	struct sockaddr_in *in4 = (struct sockaddr_in *)&address;

	if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1)
		in6->sin6_family = AF_INET6;
	else if (inet_pton(AF_INET, text, &in4->sin_addr) == 1)
		in4->sin_family = AF_INET;
	else
		address.ss_family = AF_UNIX;
	return (address);
}

/* A connection from that address; what is said of it. */
static int
turned_away(struct rpc_server *server, const char *text, unsigned *exempt)
{
	struct sockaddr_storage address = address_of(text);
	uint8_t from[RPC_SOURCE_SIZE];
	int64_t wait = -1;
	int away = rpc_penalty_turns_away(
	    server, (struct sockaddr *)&address, from, exempt, &wait);

	ck_assert_int_eq(wait, 0);
	return (away);
}

START_TEST(who_is_turned_away)
{
	struct rpc_server *server = calloc(1, sizeof(*server));
	int64_t now = clock_monotonic();
	struct rpc_penalty_row row;
	unsigned exempt;
	int i;

	ck_assert_ptr_nonnull(server);
	/* Without penalties nobody is. */
	ck_assert_int_eq(turned_away(server, "192.0.2.1", &exempt), 0);
	server->penalties = penalties;
	options.exempt_count = (size_t)rpc_prefixes_read(
	    "192.0.2.128/25, 2001:db8:1::/48", options.exempt);
	ck_assert_uint_eq(options.exempt_count, 2);
	options.threshold = options.longest = 3600 * S;
	options.cost[RPC_OFFENCE_ABUSE] = 3600 * S;
	configure();
	for (i = 0; i < 2; i++)
		offend(1 + 199 * i, RPC_OFFENCE_ABUSE, now);
	ck_assert_int_eq(turned_away(server, "192.0.2.1", &exempt), 1);
	ck_assert_uint_eq(exempt, 0);
	ck_assert_int_eq(turned_away(server, "::ffff:192.0.2.1", &exempt), 1);
	ck_assert_uint_eq(server->counters.abuses[RPC_ABUSE_PENALTY], 2);
	ck_assert_int_eq(row_of(1, now, &row), 1);
	ck_assert_uint_eq(row.refused, 2);
	ck_assert_int_eq(turned_away(server, "192.0.2.2", &exempt), 0);
	ck_assert_uint_eq(exempt, 0);
	/* Exempt are prefixes of both families, and who is local. */
	ck_assert_int_eq(turned_away(server, "192.0.2.200", &exempt), 0);
	ck_assert_uint_eq(exempt, 1);
	ck_assert_int_eq(turned_away(server, "::ffff:192.0.2.200", &exempt), 0);
	ck_assert_uint_eq(exempt, 1);
	ck_assert_int_eq(turned_away(server, "2001:db8:1:2::3", &exempt), 0);
	ck_assert_uint_eq(exempt, 1);
	ck_assert_int_eq(turned_away(server, "2001:db8:2::3", &exempt), 0);
	ck_assert_uint_eq(exempt, 0);
	ck_assert_int_eq(turned_away(server, "local", &exempt), 0);
	ck_assert_uint_eq(exempt, 1);
	/* Too quick: one in 3,600 s would be the next, but for a burst. */
	options.handshakes_source = 1;
	configure();
	ck_assert_int_eq(turned_away(server, "2001:db8:3::1", &exempt), 0);
	ck_assert_int_eq(turned_away(server, "192.0.2.200", &exempt), 0);
	ck_assert_int_eq(turned_away(server, "192.0.2.200", &exempt), 0);
	ck_assert_uint_eq(server->counters.abuses[RPC_ABUSE_HANDSHAKES], 0);
	/* A /64 is one source, whatever its hosts are; under load the second
	 * may be gone by, so look for one of many. */
	for (i = 0; i < 1000; i++)
		if (turned_away(server, "2001:db8:3::2", &exempt))
			break;
	ck_assert_int_lt(i, 1000);
	ck_assert_uint_eq(server->counters.abuses[RPC_ABUSE_HANDSHAKES], 1);
	free(server);
}
END_TEST

/* What one connection costs its source, unless it is exempt, or known. */
START_TEST(what_a_connection_costs)
{
	struct rpc_connection *connection = calloc(1, sizeof(*connection));
	struct rpc_server *server = calloc(1, sizeof(*server));
	struct rpc_penalty_row row;
	int64_t now = clock_monotonic();
	size_t cursor;
	int i;

	ck_assert(connection != NULL && server != NULL);
	connection->counters = &server->counters;
	connection->state = RPC_DEAD; /* so that no session is needed */
	memcpy(connection->source, source(1), RPC_SOURCE_SIZE);
	options.verifications_source = 1;
	options.threshold = options.longest = 3600 * S;
	options.cost[RPC_OFFENCE_AUTHENTICATION] = 1800 * S;
	configure();
#define MANY(call, limit)                                                      \
	for (i = 0; i < (limit) && (call); i++)                                \
		;
	/* A client's; a server's without penalties; one that is exempt. */
	for (int kind = 0; kind < 3; kind++) {
		connection->server = kind == 0 ? NULL : server;
		server->penalties = kind == 2 ? penalties : NULL;
		connection->exempt = kind == 2;
		MANY(rpc_connection_may_verify(connection), 1000);
		ck_assert_int_eq(i, 1000);
		MANY(rpc_connection_may_sign(connection), 1000);
		ck_assert_int_eq(i, 1000);
		for (i = 0; i < 3; i++)
			rpc_connection_blame(connection);
	}
	ck_assert_uint_eq(server->counters.abuses[RPC_ABUSE_VERIFICATION], 0);
	cursor = 0;
	ck_assert_int_eq(rpc_penalties_next(penalties, now, &cursor, &row), 0);
	connection->exempt = 0;
	MANY(rpc_connection_may_verify(connection), 1000);
	ck_assert_int_lt(i, 1000);
	ck_assert_uint_eq(server->counters.abuses[RPC_ABUSE_VERIFICATION], 1);
	MANY(rpc_connection_may_sign(connection), 1000);
	ck_assert_int_lt(i, 1000);
	ck_assert_uint_eq(server->counters.abuses[RPC_ABUSE_VERIFICATION], 2);
	ck_assert_int_ne(connection->calls_due, 0);
	/* Bytes: not of one that is known. */
	MANY(rpc_penalty_bytes(connection, 65536) == 0, 10000);
	ck_assert_int_eq(i, 10000);
	connection->unproven = 1;
	MANY(rpc_penalty_bytes(connection, 65536) == 0, 10000);
	ck_assert_int_lt(i, 10000);
	connection->exempt = 1;
	MANY(rpc_penalty_bytes(connection, 65536) == 0, 10000);
	ck_assert_int_eq(i, 10000);
	connection->exempt = 0;
	/* Who is to blame has paid once it is kept out. */
	rpc_connection_blame(connection);
	ck_assert_int_eq(connection->blameless, 0);
	ck_assert_int_eq(row_of(1, now, &row), 1);
	ck_assert_uint_eq(row.offences, 1);
	connection->unproven = 0;
	rpc_connection_blame(connection);
	rpc_connection_blame(connection);
	ck_assert(rpc_penalties_out(penalties, source(1), now));
	ck_assert_int_eq(connection->blameless, 0);
	connection->unproven = 1;
	rpc_connection_blame(connection);
	ck_assert_int_eq(connection->blameless, 1);
#undef MANY
	free(connection);
	free(server);
}
END_TEST

START_TEST(names_of_sources)
{
	struct sockaddr_storage address = address_of("2001:db8:0:1:2:3:4:5");
	uint8_t from[RPC_SOURCE_SIZE];
	struct rpc_penalty_row row;
	size_t cursor = 0;

	rpc_peer_source((struct sockaddr *)&address, from);
	rpc_penalties_add(penalties, from, RPC_OFFENCE_HANDSHAKE, NOW);
	ck_assert_int_eq(rpc_penalties_next(penalties, NOW, &cursor, &row), 1);
	ck_assert_str_eq(row.source, "2001:db8:0:1::/64");
	ck_assert_int_eq(rpc_penalties_next(penalties, NOW, &cursor, &row), 0);
}
END_TEST

START_TEST(prefixes)
{
	static const struct {
		const char *prefix, *address;
		int family, has;
	} cases[] = {
		{ "192.0.2.128/25", "192.0.2.128", AF_INET, 1 },
		{ "192.0.2.128/25", "192.0.2.127", AF_INET, 0 },
		{ "192.0.2.0/23", "192.0.3.255", AF_INET, 1 },
		{ "192.0.2.0/23", "192.0.4.0", AF_INET, 0 },
		{ "192.0.2.7", "192.0.2.7", AF_INET, 1 },
		{ "192.0.2.7", "192.0.2.6", AF_INET, 0 },
		{ "0.0.0.0/0", "203.0.113.9", AF_INET, 1 },
		{ "::/0", "203.0.113.9", AF_INET, 0 },
		{ "2001:db8::/33", "2001:db8:7fff::1", AF_INET6, 1 },
		{ "2001:db8::/33", "2001:db8:8000::1", AF_INET6, 0 },
	};
	static const char *const bad[] = { "192.0.2.1/33", "192.0.2.1/-1",
		"192.0.2.1/", "192.0.2.1/x", "192.0.2", "2001:db8::/129",
		"here", "1.1.1.1 2.2.2.2/x" };
	struct rpc_prefix list[RPC_PREFIXES];
	uint8_t address[16];
	char text[400] = "";
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(rpc_prefixes_read(cases[i].prefix, list), 1);
		ck_assert_int_eq(
		    inet_pton(cases[i].family, cases[i].address, address), 1);
		ck_assert_msg(rpc_prefix_has(&list[0], cases[i].family,
				  address) == cases[i].has,
		    "%s in %s", cases[i].address, cases[i].prefix);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(
		    rpc_prefixes_read(bad[i], list) == -1, "%s", bad[i]);
	ck_assert_int_eq(rpc_prefixes_read(" ,\t", list), 0);
	for (i = 0; i < RPC_PREFIXES; i++)
		(void)strlcat(text, ",10.0.0.1 ", sizeof(text));
	ck_assert_int_eq(rpc_prefixes_read(text, list), RPC_PREFIXES);
	(void)strlcat(text, "10.0.0.1", sizeof(text));
	ck_assert_int_eq(rpc_prefixes_read(text, list), -1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("penalty");
	TCase *tcase = tcase_create("penalty");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, offences_add_up_to_the_threshold);
	tcase_add_test(tcase, what_ran_out_is_forgiven);
	tcase_add_test(tcase, a_penalty_has_a_longest);
	tcase_add_test(tcase, none_without_a_threshold);
	tcase_add_test(tcase, who_makes_room);
	tcase_add_test(tcase, handshakes);
	tcase_add_test(tcase, signatures);
	tcase_add_test(tcase, bytes_of_strangers);
	tcase_add_test(tcase, who_is_turned_away);
	tcase_add_test(tcase, what_a_connection_costs);
	tcase_add_test(tcase, names_of_sources);
	tcase_add_test(tcase, prefixes);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
