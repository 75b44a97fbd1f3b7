/*
 * Router and mesh. Penalties: each failed handshake, failed proof of identity
 * and abuse costs its source time. A source whose times add up to a threshold
 * is not served until they have run out. A source is an IPv4 address (/32) or
 * an IPv6 network (/64). The table has a fixed size; who was not heard of for
 * longest makes room. Also: how many signatures may be checked, per source
 * and in all, before any is.
 */
#ifndef COMMON_RPC_PENALTY_H
#define COMMON_RPC_PENALTY_H

#include <stddef.h>
#include <stdint.h>

struct rpc_connection;
struct rpc_penalties;

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
	uint32_t verifications;     /* signatures a second; 0 no limit */
	uint32_t verifications_source;
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
/* Is this new connection's source kept out? Also finds out whether it is
 * exempt. */
int rpc_penalty_keeps_out(struct rpc_connection *connection);

#endif
