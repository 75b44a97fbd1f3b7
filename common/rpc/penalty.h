/*
 * Router and mesh. Penalties: each failed handshake, failed proof of identity
 * and abuse costs its source time. A source whose times add up to a threshold
 * is not served until they have run out. A source is an IPv4 address (/32) or
 * an IPv6 network (/64). The table has a fixed size; who was not heard of for
 * longest makes room, first among those that owe nothing. Also: how many
 * connections may begin, how much they may send before it is known whose they
 * are, and how many signatures may be checked, before any is; per source and
 * in all.
 */
#ifndef COMMON_RPC_PENALTY_H
#define COMMON_RPC_PENALTY_H

#include <stddef.h>
#include <stdint.h>

struct rpc_connection;
struct rpc_penalties;
struct rpc_server;
struct sockaddr;

#define RPC_PREFIXES    16
#define RPC_SOURCE_SIZE 17 /* family, then 4 or 8 bytes, then zeros */
#define RPC_SOURCE_TEXT 52 /* "2001:db8:0:1::/64" */

enum rpc_offence {
	RPC_OFFENCE_HANDSHAKE,      /* no TLS, or no HTTP/2 in time */
	RPC_OFFENCE_AUTHENTICATION, /* rpc_connection_blame() */
	RPC_OFFENCE_ABUSE,          /* cut with ENHANCE_YOUR_CALM */
	RPC_OFFENCES
};

struct rpc_prefix {
	uint8_t address[16];
	uint8_t family; /* AF_INET, AF_INET6 */
	uint8_t bits;
};

struct rpc_penalty_options {
	int64_t cost[RPC_OFFENCES]; /* ns; 0: none */
	int64_t threshold;          /* ns that keep a source out; 0: never */
	int64_t longest;            /* ns, however much it did */
	uint32_t sources;           /* remembered at most */
	uint32_t verifications;     /* signatures a second; 0 no limit;
				     * and as many made */
	uint32_t verifications_source;
	uint32_t handshakes; /* connections a second; 0 no limit */
	uint32_t handshakes_source;
	struct rpc_prefix exempt[RPC_PREFIXES]; /* from all but the total */
	size_t exempt_count;
	/* A source is kept out from now on, for so long; may be NULL. */
	void (*told)(const char *source, int64_t time);
};

/* A row for operators. */
struct rpc_penalty_row {
	char source[RPC_SOURCE_TEXT];
	int64_t left;      /* ns of penalty, now */
	uint64_t offences; /* since it was last clean */
	uint64_t refused;  /* connections */
	int out;           /* it is kept out */
};

/*
 * Read prefixes, "192.0.2.0/24 2001:db8::/32 127.0.0.1", separated by blanks
 * or commas, into out[RPC_PREFIXES]. How many, or -1 when it cannot be read
 * or there are more.
 */
int rpc_prefixes_read(const char *text, struct rpc_prefix *out);

/* Is the address of that family (4 or 16 bytes) in prefix? */
int rpc_prefix_has(
    const struct rpc_prefix *prefix, int family, const uint8_t *address);

/* NULL with errno ENOMEM. Nothing is punished before configure. */
struct rpc_penalties *rpc_penalties_new(void);
void rpc_penalties_free(struct rpc_penalties *penalties);
/* From now on, for what is in the table too. */
void rpc_penalties_configure(
    struct rpc_penalties *penalties, const struct rpc_penalty_options *options);

/* Add the cost of an offence at now (monotonic ns) to
 * source[RPC_SOURCE_SIZE]. */
void rpc_penalties_add(struct rpc_penalties *penalties, const uint8_t *source,
    enum rpc_offence offence, int64_t now);
/* Is source kept out at now? */
int rpc_penalties_out(
    const struct rpc_penalties *penalties, const uint8_t *source, int64_t now);
/* May a signature of source (NULL: exempt) be checked? Counts it. */
int rpc_penalties_may_verify(
    struct rpc_penalties *penalties, const uint8_t *source, int64_t now);
/* May one be made for it? The same numbers, counted for themselves. */
int rpc_penalties_may_sign(
    struct rpc_penalties *penalties, const uint8_t *source, int64_t now);

/*
 * Count one more connection of source (NULL: exempt) at now, that will want a
 * TLS handshake. 0, or -1: the source had too many. *wait: ns until the next
 * one of anybody should be taken.
 */
int rpc_penalties_handshake(struct rpc_penalties *penalties,
    const uint8_t *source, int64_t now, int64_t *wait);
/* Count length bytes of source at now, from connections that are not known.
 * 0, or -1: they are too many. */
int rpc_penalties_bytes(struct rpc_penalties *penalties, const uint8_t *source,
    size_t length, int64_t now);

/* How many sources are kept out. */
uint64_t rpc_penalties_count(
    const struct rpc_penalties *penalties, int64_t now);
/*
 * Rows of sources with a penalty: start with *cursor = 0. 1, or 0 at the end.
 * Nothing may be added meanwhile.
 */
int rpc_penalties_next(const struct rpc_penalties *penalties, int64_t now,
    size_t *cursor, struct rpc_penalty_row *row);

/* --- inside common/rpc --------------------------------------------------- */

/* The connection did it, if its server has penalties. */
void rpc_penalty_offence(
    struct rpc_connection *connection, enum rpc_offence offence);
/*
 * A connection from address, nothing spent on it yet: is it to be turned away,
 * its source being kept out or too quick? Then it is counted. Fills in source
 * and exempt, and wait as rpc_penalties_handshake() does.
 */
int rpc_penalty_turns_away(struct rpc_server *server,
    const struct sockaddr *address, uint8_t source[RPC_SOURCE_SIZE],
    unsigned *exempt, int64_t *wait);
/* The connection sent length bytes more. -1: too many, it is doomed. */
int rpc_penalty_bytes(struct rpc_connection *connection, size_t length);

#endif
