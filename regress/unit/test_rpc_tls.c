/* Tests of common/rpc: TLS, identities, the signer, admission, limits. */

#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "common/rpc/internal.h"
#include "regress/unit/rpc_fixture.h"
#include "regress/unit/suite.h"

struct signer {
	EVP_PKEY *key;
	int count;
	int broken;
};

static int
test_sign(void *arg, const uint8_t *digest, size_t digest_length,
    uint8_t *signature, size_t *signature_length)
{
	struct signer *signer = arg;
	EVP_PKEY_CTX *context;
	int rv = -1;

	signer->count++;
	if (signer->broken)
		return (-1);
	context = EVP_PKEY_CTX_new(signer->key, NULL);
	if (EVP_PKEY_sign_init(context) == 1 &&
	    EVP_PKEY_sign(context, signature, signature_length, digest,
		digest_length) == 1)
		rv = 0;
	EVP_PKEY_CTX_free(context);
	return (rv);
}

static struct rpc_tls *
test_tls(const struct identity *identity, enum rpc_verify verify, int server,
    int with_key)
{
	struct rpc_tls_options options;
	struct rpc_tls *tls;
	char error[128] = "";

	memset(&options, 0, sizeof(options));
	if (identity != NULL)
		rig_options(identity, &options);
	if (!with_key)
		options.key_pem = NULL;
	options.verify = verify;
	tls = server ? rpc_tls_server(&options, error, sizeof(error))
		     : rpc_tls_client(&options, error, sizeof(error));
	ck_assert_msg(tls != NULL, "%s", error);
	return (tls);
}

static void
test_echo(struct rig *rig)
{
	struct call call;

	call_start(rig, &call, "/test.Echo/Unary", 0);
	ck_assert_int_eq(rpc_stream_send(call.stream, "hello", 5), 0);
	rpc_stream_half_close(call.stream);
	WAIT(rig, call.closed);
	ck_assert_int_eq(call.status, RPC_OK);
	ck_assert_uint_eq(call.messages, 1);
}

static struct rpc_counters
test_counters(const struct rig *rig)
{
	struct rpc_counters counters;

	rpc_server_counters(rig->server, &counters);
	return (counters);
}

/* The key is elsewhere, on the server's side. */
START_TEST(test_signer_server)
{
	struct rig rig;
	struct signer signer;
	uint8_t spki[32];

	memset(&signer, 0, sizeof(signer));
	rig_base(&rig);
	signer.key = rig.identity.pkey;
	rpc_tls_set_signer(test_sign, &signer);
	rig.server_tls = test_tls(&rig.identity, RPC_VERIFY_NONE, 1, 0);
	rig.client_tls = test_tls(NULL, RPC_VERIFY_NONE, 0, 0);
	rig_serve(&rig);
	rig_connect(&rig);
	WAIT(&rig, rig.connected || rig.failed);
	ck_assert_msg(rig.connected, "%s", rig.error);
	ck_assert_int_eq(signer.count, 1);
	ck_assert_int_eq(rpc_connection_peer_spki(rig.connection, spki), 0);
	ck_assert_mem_eq(spki, rig.identity.spki, 32);
	ck_assert_int_eq(rpc_connection_peer_spki(rig.peer, spki), -1);
	test_echo(&rig);
	rig_down(&rig);
}
END_TEST

/* A signer that fails or lies ends the handshake and nothing else. */
START_TEST(test_signer_fails)
{
	struct rig rig;
	struct identity other;
	struct signer signer;

	memset(&signer, 0, sizeof(signer));
	rig_base(&rig);
	identity_make(&other, "other");
	signer.key = _i == 0 ? rig.identity.pkey : other.pkey;
	signer.broken = _i == 0;
	rpc_tls_set_signer(test_sign, &signer);
	rig.server_tls = test_tls(&rig.identity, RPC_VERIFY_NONE, 1, 0);
	rig.client_tls = test_tls(NULL, RPC_VERIFY_NONE, 0, 0);
	rig_serve(&rig);
	rig_connect(&rig);
	WAIT(&rig, rig.failed);
	ck_assert_int_eq(signer.count, 1);
	WAIT(&rig, test_counters(&rig).handshake_failures == 1);
	ck_assert_uint_eq(test_counters(&rig).connections_open, 0);
	signer.key = rig.identity.pkey;
	signer.broken = 0;
	rig_connect(&rig);
	WAIT(&rig, rig.connected);
	test_echo(&rig);
	rig_down(&rig);
	identity_free(&other);
}
END_TEST

/* Mutual TLS: any self-signed certificate passes, each side sees the key. */
START_TEST(test_mutual)
{
	struct rig rig;
	struct identity client;
	struct signer signer;
	uint8_t spki[32];
	const uint8_t *der;
	size_t length;
	X509 *x;

	memset(&signer, 0, sizeof(signer));
	rig_base(&rig);
	identity_make(&client, "client");
	/* Once the server's key is elsewhere, once the client's. */
	signer.key = _i == 0 ? rig.identity.pkey : client.pkey;
	rpc_tls_set_signer(test_sign, &signer);
	rig.server_tls =
	    test_tls(&rig.identity, RPC_VERIFY_PEER_LATER, 1, _i == 1);
	rig.client_tls = test_tls(&client, RPC_VERIFY_PEER_LATER, 0, _i == 0);
	rig_serve(&rig);
	rig_connect(&rig);
	WAIT(&rig, rig.connected || rig.failed);
	ck_assert_msg(rig.connected, "%s", rig.error);
	ck_assert_int_eq(signer.count, 1);
	ck_assert_int_eq(rpc_connection_peer_spki(rig.connection, spki), 0);
	ck_assert_mem_eq(spki, rig.identity.spki, 32);
	ck_assert_int_eq(rpc_connection_peer_spki(rig.peer, spki), 0);
	ck_assert_mem_eq(spki, client.spki, 32);
	der = rpc_connection_certificate(rig.peer, &length);
	x = d2i_X509(NULL, &der, (long)length);
	ck_assert_ptr_nonnull(x);
	ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(x), client.pkey), 1);
	X509_free(x);
	test_echo(&rig);
	rig_down(&rig);
	identity_free(&client);
}
END_TEST

/* Without a certificate there is no mutual TLS. */
START_TEST(test_mutual_without)
{
	struct rig rig;

	rig_base(&rig);
	rig.server_tls = test_tls(&rig.identity, RPC_VERIFY_PEER_LATER, 1, 1);
	rig.client_tls = test_tls(NULL, RPC_VERIFY_NONE, 0, 0);
	rig_serve(&rig);
	rig_connect(&rig);
	WAIT(&rig, rig.failed);
	ck_assert_int_eq(rig.connected, 0);
	WAIT(&rig, rig.server_opened == 0);
	rig_down(&rig);
}
END_TEST

/* A certificate of another key than the one it signs with. */
START_TEST(test_mutual_stolen_certificate)
{
	struct rig rig;
	struct identity client, victim;
	struct signer signer;

	memset(&signer, 0, sizeof(signer));
	rig_base(&rig);
	identity_make(&client, "client");
	identity_make(&victim, "victim");
	signer.key = client.pkey;
	rpc_tls_set_signer(test_sign, &signer);
	rig.server_tls = test_tls(&rig.identity, RPC_VERIFY_PEER_LATER, 1, 1);
	rig.client_tls = test_tls(&victim, RPC_VERIFY_PEER_LATER, 0, 0);
	rig_serve(&rig);
	rig_connect(&rig);
	WAIT(&rig, rig.failed);
	ck_assert_int_eq(signer.count, 1);
	ck_assert_int_eq(rig.server_opened, 0);
	rig_down(&rig);
	identity_free(&client);
	identity_free(&victim);
}
END_TEST

START_TEST(test_verify_ca)
{
	struct rig rig;
	struct identity other;
	struct rpc_tls_options options;
	char error[128];

	rig_base(&rig);
	identity_make(&other, "localhost");
	rig.server_tls = test_tls(&rig.identity, RPC_VERIFY_NONE, 1, 1);
	rig_serve(&rig);
	memset(&options, 0, sizeof(options));
	options.verify = RPC_VERIFY_CA;
	options.ca_pem = _i == 1 ? other.certificate : rig.identity.certificate;
	options.ca_length = strlen(options.ca_pem);
	rig.client_tls = rpc_tls_client(&options, error, sizeof(error));
	ck_assert_ptr_nonnull(rig.client_tls);
	rig.connection = rpc_connect(rig.base, rig.client_tls, &rig.limits,
	    (struct sockaddr *)&rig.address,
	    _i == 2   ? "elsewhere"
	    : _i == 3 ? "127.0.0.1"
		      : "localhost",
	    &rig_client_callbacks, &rig);
	WAIT(&rig, rig.connected || rig.failed);
	ck_assert_int_eq(rig.connected, _i == 0 || _i == 3);
	if (rig.failed)
		ck_assert_str_ne(rig.error, "");
	rig_down(&rig);
	identity_free(&other);
}
END_TEST

START_TEST(test_options)
{
	struct identity identity;
	struct rpc_tls_options options;
	char error[128];

	identity_make(&identity, "x");
	memset(&options, 0, sizeof(options));
	ck_assert_ptr_null(rpc_tls_server(&options, error, sizeof(error)));
	ck_assert_str_ne(error, "");
	rig_options(&identity, &options);
	options.key_pem = NULL;
	ck_assert_ptr_null(rpc_tls_server(&options, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "signer"));
	rig_options(&identity, &options);
	options.certificate_pem = "garbage";
	options.certificate_length = 7;
	ck_assert_ptr_null(rpc_tls_server(&options, error, sizeof(error)));
	memset(&options, 0, sizeof(options));
	options.verify = RPC_VERIFY_PEER_LATER;
	ck_assert_ptr_null(rpc_tls_client(&options, error, sizeof(error)));
	identity_free(&identity);
}
END_TEST

/* --- admission ----------------------------------------------------------- */

START_TEST(test_refused)
{
	struct rig rig;

	rig_base(&rig);
	rig.refuse = 1;
	rig_tls(&rig);
	rig_serve(&rig);
	rig_connect(&rig);
	WAIT(&rig, rig.failed);
	ck_assert_int_eq(rig.connected, 0);
	ck_assert_int_eq(rig.server_closed, 0);
	ck_assert_uint_eq(test_counters(&rig).refused, 1);
	rig_down(&rig);
}
END_TEST

static int
test_dial(struct rig *rig)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(
	    connect(fd, (struct sockaddr *)&rig->address, sizeof(rig->address)),
	    0);
	return (fd);
}

/* By address and in all: the newest is refused. */
START_TEST(test_connection_limits)
{
	struct rig rig;
	int fds[6], i;

	rig_base(&rig);
	if (_i == 0)
		rig.limits.max_per_source = 4;
	else
		rig.limits.max_connections = 4;
	rig_tls(&rig);
	rig_serve(&rig);
	for (i = 0; i < 6; i++)
		fds[i] = test_dial(&rig);
	WAIT(&rig, test_counters(&rig).refused == 2);
	ck_assert_uint_eq(test_counters(&rig).connections_open, 4);
	close(fds[0]);
	WAIT(&rig, test_counters(&rig).connections_open == 3);
	rig_connect(&rig);
	WAIT(&rig, rig.connected);
	test_echo(&rig);
	for (i = 1; i < 6; i++)
		close(fds[i]);
	WAIT(&rig, test_counters(&rig).connections_open == 1);
	rig_down(&rig);
}
END_TEST

static int
test_is_closed(int fd)
{
	char byte;

	return (recv(fd, &byte, 1, MSG_DONTWAIT) != -1 || errno == ECONNRESET);
}

/* Of those that are nobody's, of one source and in all, the oldest goes. */
START_TEST(test_oldest_unproven_goes)
{
	struct rig rig;
	int fds[6], i;

	rig_base(&rig);
	if (_i == 0)
		rig.limits.max_unproven_source = 4;
	else
		rig.limits.max_unproven = 4;
	rig_tls(&rig);
	rig_serve(&rig);
	for (i = 0; i < 6; i++) {
		fds[i] = test_dial(&rig);
		WAIT(&rig,
		    test_counters(&rig).connections_total == (uint64_t)i + 1);
	}
	ck_assert_uint_eq(test_counters(&rig).connections_open, 4);
	ck_assert_uint_eq(test_counters(&rig).abuses[RPC_ABUSE_DISPLACED], 2);
	WAIT(&rig, test_is_closed(fds[0]) && test_is_closed(fds[1]));
	for (i = 2; i < 6; i++)
		ck_assert_int_eq(test_is_closed(fds[i]), 0);
	/* Who gets through takes no place of theirs. */
	rig_connect(&rig);
	WAIT(&rig, rig.connected);
	test_echo(&rig);
	WAIT(&rig, test_is_closed(fds[2]));
	ck_assert_int_eq(test_is_closed(fds[3]), 0);
	for (i = 0; i < 6; i++)
		close(fds[i]);
	WAIT(&rig, test_counters(&rig).connections_open == 1);
	rig_down(&rig);
}
END_TEST

/* Those who say nothing, or nothing more after TLS, go. */
START_TEST(test_handshake_timeout)
{
	struct rig rig;
	int fd;

	rig_base(&rig);
	rig.limits.handshake_timeout = 100 * CLOCK_MS;
	rig_tls(&rig);
	rig_serve(&rig);
	fd = test_dial(&rig);
	WAIT(&rig, test_counters(&rig).connections_total == 1);
	WAIT(&rig, test_counters(&rig).handshake_failures == 1);
	ck_assert_uint_eq(test_counters(&rig).connections_open, 0);
	close(fd);
	rig_down(&rig);
}
END_TEST

START_TEST(test_no_listener)
{
	struct rig rig;
	int fd;

	rig_base(&rig);
	rig_tls(&rig);
	rig_serve(&rig);
	fd = rig_socket(&rig);
	close(fd);
	rig_connect(&rig);
	WAIT(&rig, rig.failed);
	ck_assert_str_ne(rig.error, "");
	rig_down(&rig);
}
END_TEST

/* A socket that somebody else has connected. */
START_TEST(test_connect_fd)
{
	struct rig rig;

	rig_base(&rig);
	rig_tls(&rig);
	rig_serve(&rig);
	rig.connection = rpc_connect_fd(rig.base, rig.client_tls, &rig.limits,
	    test_dial(&rig), "localhost", &rig_client_callbacks, &rig);
	ck_assert_ptr_nonnull(rig.connection);
	WAIT(&rig, rig.connected);
	ck_assert_ptr_nonnull(
	    strstr(rpc_connection_name(rig.connection), "127.0.0.1 port "));
	ck_assert_int_eq(rpc_connection_address(rig.peer)->sa_family, AF_INET);
	test_echo(&rig);
	rig_down(&rig);
}
END_TEST

/* Freed in the middle of everything, from outside. */
START_TEST(test_free_early)
{
	struct rig rig;
	struct call call;
	int i;

	rig_base(&rig);
	rig_tls(&rig);
	rig_serve(&rig);
	rig_connect(&rig);
	for (i = 0; i < _i * 3; i++)
		event_base_loop(rig.base, EVLOOP_ONCE);
	memset(&call, 0, sizeof(call));
	if (rig.connected) {
		call_start(&rig, &call, "/test.Echo/Sink", 0);
		for (i = 0; i < _i; i++)
			event_base_loop(rig.base, EVLOOP_ONCE);
	}
	rpc_tls_free(rig.server_tls);
	rig.server_tls = NULL;
	rpc_server_free(rig.server);
	rig.server = NULL;
	WAIT(&rig, rig.failed || rig.closed);
	rig_down(&rig);
}
END_TEST

/* New settings for new connections, the old ones live on. */
START_TEST(test_set_tls)
{
	struct rig rig;
	struct identity renewed;
	struct rpc_tls *old;
	struct rpc_connection *first;
	uint8_t spki[32];

	rig_base(&rig);
	rig_up(&rig);
	identity_make(&renewed, "localhost");
	old = rig.server_tls;
	rig.server_tls = test_tls(&renewed, RPC_VERIFY_NONE, 1, 1);
	rpc_server_set_tls(rig.server, rig.server_tls);
	rpc_tls_free(old);
	test_echo(&rig);
	first = rig.connection;
	rig_connect(&rig);
	WAIT(&rig, rig.connected == 2);
	ck_assert_int_eq(rpc_connection_peer_spki(rig.connection, spki), 0);
	ck_assert_mem_eq(spki, renewed.spki, 32);
	test_echo(&rig);
	rpc_connection_close(first);
	WAIT(&rig, rig.closed == 1);
	rig_down(&rig);
	identity_free(&renewed);
}
END_TEST

/* --- what an idle connection costs --------------------------------------- */

#define IDLE_COUNT 200
#if defined(__SANITIZE_ADDRESS__) /* keeps what is freed for a while */
#define IDLE_MAX (1024 * 1024)
#else
#define IDLE_MAX (40 * 1024)
#endif

/* Bytes of this process that are its own and in memory. */
static size_t
idle_own_memory(void)
{
	unsigned long size, resident, shared;
	FILE *statm = fopen("/proc/self/statm", "r");

	ck_assert_ptr_nonnull(statm);
	ck_assert_int_eq(
	    fscanf(statm, "%lu %lu %lu", &size, &resident, &shared), 3);
	(void)fclose(statm);
	return ((size_t)(resident - shared) * (size_t)getpagesize());
}

/* Another process: connections that each make a call and then say nothing. */
static void
idle_client(struct rig *rig, int count, int done)
{
	int i;

	event_free(rig->alarm);
	rig->base = event_base_new();
	rig->alarm = event_new(rig->base, -1, EV_PERSIST, rig_alarm, NULL);
	(void)event_add(rig->alarm, &(struct timeval){ 0, 1000 });
	for (i = 0; i < count; i++) {
		rig->connected = 0;
		rig_connect(rig);
		WAIT(rig, rig->connected);
		test_echo(rig);
	}
	ck_assert_int_eq(write(done, "d", 1), 1);
	(void)event_base_dispatch(rig->base);
	_exit(1);
}

START_TEST(test_idle_memory)
{
	struct rig rig;
	size_t before, each;
	pid_t child[2];
	int i, done[2];
	char byte;

	ck_assert_int_eq(pipe2(done, O_NONBLOCK), 0);
	rig_base(&rig);
	rig_tls(&rig);
	rig_serve(&rig);
	/* The first few bring in what there is once. */
	for (i = 0; i < 2; i++) {
		before = idle_own_memory();
		if ((child[i] = fork()) == 0)
			idle_client(&rig, i == 0 ? 10 : IDLE_COUNT, done[1]);
		ck_assert_int_ne(child[i], -1);
		WAIT(&rig, read(done[0], &byte, 1) == 1);
		rig_settle(&rig);
	}
	each = (idle_own_memory() - before) / IDLE_COUNT;
	ck_assert_uint_le(each, IDLE_MAX);
	for (i = 0; i < 2; i++) {
		(void)kill(child[i], SIGKILL);
		(void)waitpid(child[i], NULL, 0);
	}
	WAIT(&rig, rig.server_closed == 10 + IDLE_COUNT);
	rig_down(&rig);
	(void)close(done[0]);
	(void)close(done[1]);
}
END_TEST

static Suite *
rpc_suite(void)
{
	Suite *suite = suite_create("rpc_tls");
	TCase *tc = tcase_create("tls");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_signer_server);
	tcase_add_loop_test(tc, test_signer_fails, 0, 2);
	tcase_add_loop_test(tc, test_mutual, 0, 2);
	tcase_add_test(tc, test_mutual_without);
	tcase_add_test(tc, test_mutual_stolen_certificate);
	tcase_add_loop_test(tc, test_verify_ca, 0, 4);
	tcase_add_test(tc, test_options);
	tcase_add_test(tc, test_refused);
	tcase_add_loop_test(tc, test_connection_limits, 0, 2);
	tcase_add_loop_test(tc, test_oldest_unproven_goes, 0, 2);
	tcase_add_test(tc, test_handshake_timeout);
	tcase_add_test(tc, test_no_listener);
	tcase_add_test(tc, test_connect_fd);
	tcase_add_loop_test(tc, test_free_early, 0, 8);
	tcase_add_test(tc, test_set_tls);
	tcase_add_test(tc, test_idle_memory);
	suite_add_tcase(suite, tc);
	return (suite);
}

int
main(void)
{
	return (suite_run(rpc_suite()));
}
