/*
 * What libtls alone does between two processes on the loopback, for `make
 * bench` to compare with: bytes of one stream, bytes of three in a chain of
 * four processes, as from app to node to node to app, or handshakes one after
 * another. Prints one JSON object {"rates": [...]}: bytes or handshakes a
 * second. Or what the ciphers cost alone, with no socket and no other process:
 * {"tls": [...], "aead": [...]}, nanoseconds of CPU for each byte written and
 * read, or sealed and opened.
 *
 *	stream_bench bytes FOLDER BYTES ROUNDS
 *	stream_bench chain FOLDER BYTES ROUNDS
 *	stream_bench handshakes FOLDER COUNT ROUNDS
 *	stream_bench ciphers FOLDER BYTES ROUNDS
 *
 * FOLDER has cert.pem and key.pem.
 */

#include <sys/socket.h>
#include <sys/wait.h>

#include <netinet/in.h>

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>
#include <tls.h>

#include "keyd/aead.h"
#include "regress/bench/bare.h"

#define RELAYS 2 /* of a chain */

/* --- the other processes ------------------------------------------------- */

/* Read so many bytes, write them on and bring the answer back, again. */
static void
relay(struct tls *tls, struct tls *next, uint64_t bytes)
{
	uint64_t left;
	ssize_t n;

	for (;;) {
		for (left = bytes; left > 0; left -= (uint64_t)n) {
			n = tls_read(tls, bare_piece,
			    left < BARE_PIECE ? left : BARE_PIECE);
			if (n <= 0)
				bare_die("tls_read");
			bare_write(next, bare_piece, (size_t)n);
		}
		bare_read(next, 1);
		bare_write(tls, bare_piece, 1);
	}
}

/* Take connections; of bytes > 0 read so many and answer one, again; or relay
 * the first to the next. */
static void
serve(int listener, uint64_t bytes, struct tls *next)
{
	struct tls *server = bare_server(), *tls;
	int fd;

	while ((fd = accept(listener, NULL, NULL)) != -1) {
		tls = bare_take(server, fd);
		if (next != NULL)
			relay(tls, next, bytes);
		if (bytes == 0)
			bare_write(tls, bare_piece, 1);
		while (bytes > 0) {
			bare_read(tls, bytes);
			bare_write(tls, bare_piece, 1);
		}
		tls_free(tls);
		(void)close(fd);
	}
	bare_die("accept");
}

/* --- this one ------------------------------------------------------------ */

static struct tls *
call(const struct sockaddr_in *address, int *fd)
{
	*fd = bare_dial(address);
	return (bare_call(*fd));
}

/* A process that serves; address is where, and where a relay calls. */
static pid_t
serve_apart(struct sockaddr_in *address, uint64_t bytes, int relays)
{
	struct sockaddr_in next = *address;
	int fd, listener = bare_listen(address);
	pid_t child;

	if ((child = fork()) == -1)
		bare_die("fork");
	if (child == 0)
		serve(listener, bytes, relays ? call(&next, &fd) : NULL);
	return (child);
}

static double
stream(struct tls *tls, uint64_t bytes)
{
	double start = bare_now();
	uint64_t sent;

	for (sent = 0; sent < bytes; sent += BARE_PIECE)
		bare_write(tls, bare_piece, BARE_PIECE);
	bare_read(tls, 1);
	return ((double)bytes / (bare_now() - start));
}

static double
handshakes(const struct sockaddr_in *address, uint64_t count)
{
	double start = bare_now();
	struct tls *tls;
	uint64_t i;
	int fd;

	for (i = 0; i < count; i++) {
		tls = call(address, &fd);
		bare_read(tls, 1);
		tls_free(tls);
		(void)close(fd);
	}
	return ((double)count / (bare_now() - start));
}

/* --- ciphers alone -------------------------------------------------------- */

static uint64_t
cpu(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

/* One way: what is written and not yet read. */
struct way {
	uint8_t bytes[2 * BARE_PIECE];
	size_t start, end;
};

/* A side writes to the second and reads from the first. */
static ssize_t
way_read(struct tls *tls, void *to, size_t length, void *arg)
{
	struct way *way = ((struct way **)arg)[0];

	(void)tls;
	if (length > way->end - way->start)
		length = way->end - way->start;
	if (length == 0)
		return (TLS_WANT_POLLIN);
	memcpy(to, way->bytes + way->start, length);
	way->start += length;
	if (way->start == way->end)
		way->start = way->end = 0;
	return ((ssize_t)length);
}

static ssize_t
way_write(struct tls *tls, const void *from, size_t length, void *arg)
{
	struct way *way = ((struct way **)arg)[1];

	(void)tls;
	if (length > sizeof(way->bytes) - way->end)
		return (TLS_WANT_POLLOUT);
	memcpy(way->bytes + way->end, from, length);
	way->end += length;
	return ((ssize_t)length);
}

static double
tls_alone(uint64_t bytes)
{
	static struct way there, back;
	struct way *left[] = { &back, &there }, *right[] = { &there, &back };
	struct tls *client = tls_client(), *server = tls_server(), *other;
	uint64_t start, sent;
	int a = TLS_WANT_POLLIN, b = TLS_WANT_POLLIN;

	/* The last round left tickets. */
	there.start = there.end = back.start = back.end = 0;
	if (tls_configure(client, bare_config) == -1 ||
	    tls_configure(server, bare_config) == -1 ||
	    tls_connect_cbs(client, way_read, way_write, left, "localhost") ==
		-1 ||
	    tls_accept_cbs(server, &other, way_read, way_write, right) == -1)
		bare_die("tls");
	while (a != 0 || b != 0) {
		if (a != 0)
			a = tls_handshake(client);
		if (b != 0)
			b = tls_handshake(other);
		if (a == -1 || b == -1)
			bare_die("tls_handshake");
	}
	start = cpu();
	for (sent = 0; sent < bytes; sent += BARE_PIECE) {
		bare_write(client, bare_piece, BARE_PIECE);
		bare_read(other, BARE_PIECE);
	}
	start = cpu() - start;
	tls_free(client);
	tls_free(other);
	tls_free(server);
	return ((double)start / (double)bytes);
}

static double
aead_alone(uint64_t bytes)
{
	static uint8_t out[BARE_PIECE + AEAD_TAG];
	uint8_t key[KEY_SIZE] = { 1 };
	struct aead aead = { .aes = crypto_aead_aes256gcm_is_available(),
		.key = key };
	uint64_t start = cpu(), sent;

	for (sent = 0; sent < bytes; sent += BARE_PIECE) {
		aead_seal(&aead, bare_piece, BARE_PIECE, out);
		if (aead_open(&aead, out, sizeof(out), bare_piece) == -1)
			bare_die("aead_open");
	}
	return ((double)(cpu() - start) / (double)bytes);
}

static void
ciphers(const char *name, double (*alone)(uint64_t), uint64_t bytes, int rounds)
{
	int i;

	printf("\"%s\": [", name);
	for (i = 0; i < rounds; i++)
		printf("%s%.4f", i == 0 ? "" : ", ", alone(bytes));
	printf("]");
}

int
main(int argc, char **argv)
{
	struct sockaddr_in address = { 0 };
	uint64_t count;
	int bytes, fd, i, rounds, servers = 1;
	struct tls *tls = NULL;
	pid_t children[1 + RELAYS];

	if (argc != 5) {
		fprintf(stderr,
		    "usage: stream_bench bytes|chain|handshakes|ciphers "
		    "FOLDER COUNT ROUNDS\n");
		return (2);
	}
	if (strcmp(argv[1], "chain") == 0)
		servers += RELAYS;
	bytes = servers > 1 || strcmp(argv[1], "bytes") == 0;
	count = strtoull(argv[3], NULL, 10);
	if (strcmp(argv[1], "handshakes") != 0)
		count -= count % BARE_PIECE;
	rounds = (int)strtol(argv[4], NULL, 10);
	bare_configure(argv[2]);
	if (strcmp(argv[1], "ciphers") == 0) {
		if (sodium_init() == -1)
			return (1);
		printf("{");
		ciphers("tls", tls_alone, count, rounds);
		printf(", ");
		ciphers("aead", aead_alone, count, rounds);
		printf("}\n");
		return (0);
	}
	if (count == 0)
		return (2);
	for (i = 0; i < servers; i++)
		children[i] = serve_apart(&address, bytes ? count : 0, i > 0);
	if (bytes)
		tls = call(&address, &fd);
	printf("{\"rates\": [");
	for (i = 0; i < rounds; i++)
		printf("%s%.1f", i == 0 ? "" : ", ",
		    bytes ? stream(tls, count) : handshakes(&address, count));
	printf("]}\n");
	for (i = 0; i < servers; i++) {
		(void)kill(children[i], SIGKILL);
		(void)waitpid(children[i], NULL, 0);
	}
	return (0);
}
