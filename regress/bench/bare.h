/*
 * Tests only. What the programs of `make bench` share that have no Hermes in
 * them: libtls over sockets of the loopback. Whatever goes wrong ends the
 * program.
 */
#ifndef REGRESS_BENCH_BARE_H
#define REGRESS_BENCH_BARE_H

#include <netinet/in.h>

#include <stddef.h>
#include <stdint.h>

struct tls;
struct tls_config;

#define BARE_PIECE (64 * 1024)

/* Room for what is written, of no meaning, and read. */
extern uint8_t bare_piece[BARE_PIECE];

/* Of both ends, from cert.pem and key.pem; see bare_configure(). */
extern struct tls_config *bare_config;

/* Seconds, monotonic. */
double bare_now(void);

/* End the program with the name of what failed, and errno. */
void bare_die(const char *what) __attribute__((noreturn));

/* Make bare_config of the files in folder: TLS 1.3, nobody verified. */
void bare_configure(const char *folder);

/* Write so many bytes; read so many, into bare_piece and forgotten. */
void bare_write(struct tls *tls, const uint8_t *bytes, size_t length);
void bare_read(struct tls *tls, uint64_t length);

/* A socket that listens; address: where. */
int bare_listen(struct sockaddr_in *address);

/* What is written leaves at once. */
void bare_no_delay(int fd);

/* A socket connected to address, without delay. */
int bare_dial(const struct sockaddr_in *address);

/* TLS on a connected socket, after the handshake: the client's end; the end
 * of a server, which is configured. The caller's to free. */
struct tls *bare_call(int fd);
struct tls *bare_take(struct tls *server, int fd);

/* A server with bare_config. The caller's to free. */
struct tls *bare_server(void);

#endif
