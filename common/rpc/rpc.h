/*
 * Any process that speaks to the network, and libhermes. gRPC over HTTP/2
 * over TLS on libevent: server and client, unary and streaming. It knows
 * nothing of Hermes and trusts no byte it reads.
 *
 * Everything runs in one thread on one event_base. Callbacks are never made
 * from inside the call that caused them, except where said. Output is
 * gathered and written once per turn of the event loop.
 */
#ifndef COMMON_RPC_RPC_H
#define COMMON_RPC_RPC_H

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct tls;
struct sockaddr;

/* https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
enum rpc_status {
	RPC_OK = 0,
	RPC_CANCELLED = 1,
	RPC_UNKNOWN = 2,
	RPC_INVALID_ARGUMENT = 3,
	RPC_DEADLINE_EXCEEDED = 4,
	RPC_NOT_FOUND = 5,
	RPC_ALREADY_EXISTS = 6,
	RPC_PERMISSION_DENIED = 7,
	RPC_RESOURCE_EXHAUSTED = 8,
	RPC_FAILED_PRECONDITION = 9,
	RPC_ABORTED = 10,
	RPC_OUT_OF_RANGE = 11,
	RPC_UNIMPLEMENTED = 12,
	RPC_INTERNAL = 13,
	RPC_UNAVAILABLE = 14,
	RPC_DATA_LOSS = 15,
	RPC_UNAUTHENTICATED = 16
};

struct rpc_tls; /* certificate, signer, verification; see below */
struct rpc_server;
struct rpc_connection; /* one TLS connection, either side */
struct rpc_stream;     /* one call on a connection, either side */

/* --- TLS ----------------------------------------------------------------- */

/*
 * Sign digest with the private key of this process's one ECDSA P-256
 * identity, which lives elsewhere. Writes a DER ECDSA-Sig-Value to signature
 * (room for 80 bytes) and its length. 0, or -1: the handshake fails. Called
 * synchronously inside a handshake, so the answer must come in bounded time.
 */
typedef int (*rpc_sign)(void *arg, const uint8_t *digest, size_t digest_length,
    uint8_t *signature, size_t *signature_length);

/*
 * Forward every EC signature of this process to sign. Once a process, before
 * any rpc_tls is made.
 */
void rpc_tls_set_signer(rpc_sign sign, void *arg);

enum rpc_verify {
	/* Ask for no client certificate / accept any server certificate. */
	RPC_VERIFY_NONE,
	/*
	 * Both sides must present a certificate; any self-signed one passes
	 * here and the caller judges rpc_connection_certificate(). TLS 1.3.
	 */
	RPC_VERIFY_PEER_LATER,
	/* Client only: verify against ca_pem and the server name. */
	RPC_VERIFY_CA
};

struct rpc_tls_options {
	const char *certificate_pem; /* chain; NULL: present none */
	size_t certificate_length;
	const char *key_pem; /* NULL: sign through the signer */
	size_t key_length;
	enum rpc_verify verify;
	const char *ca_pem; /* for RPC_VERIFY_CA */
	size_t ca_length;
};

/*
 * Make the TLS settings of a server or of clients (TLS 1.2 and 1.3, or 1.3
 * only with RPC_VERIFY_PEER_LATER; ALPN h2). Copies what it is given. NULL
 * on failure, with a reason in error (size bytes). Connections and servers
 * keep what they use: it may be freed as soon as it was handed over.
 */
struct rpc_tls *rpc_tls_server(
    const struct rpc_tls_options *options, char *error, size_t size);
struct rpc_tls *rpc_tls_client(
    const struct rpc_tls_options *options, char *error, size_t size);
void rpc_tls_free(struct rpc_tls *tls);

/* When the first certificate of a PEM ends, in seconds since the epoch; 0
 * when there is none in it, or it does not say. */
int64_t rpc_certificate_end(const void *pem, size_t length);

/* --- limits, the same for both sides ------------------------------------- */

struct rpc_limits {
	uint32_t max_connections;     /* server: in all */
	uint32_t max_unproven;        /* server: nobody knows who */
	uint32_t max_unproven_source; /* of them, one source */
	uint32_t max_per_source;      /* server: one source */
	uint32_t max_streams;         /* a connection */
	uint32_t stream_window;       /* bytes the peer may send */
	uint32_t connection_window;   /* unconsumed, per stream/all */
	uint32_t max_message;         /* bytes of one gRPC message */
	uint32_t max_header_bytes;    /* +32 a field, RFC 7541 4.1 */
	uint32_t max_header_fields;
	uint32_t unproven_message; /* max_message until
						   rpc_connection_prove(); 0:
						   TLS is proof enough */
	uint32_t unproven_held;    /* max_held of such a
						   connection */
	size_t max_held;           /* server: bytes of messages
						   not yet whole, in all */
	uint32_t max_output;       /* bytes queued on a connection
						   before it is congested */
	uint32_t keep;             /* bytes of a buffer that is kept
						   while it is empty */
	int64_t handshake_timeout; /* ns, to finish TLS and the
						   HTTP/2 preface */
	int64_t idle_timeout;      /* ns without a stream; 0 no */
	int64_t keepalive;         /* ns of silence before a
						   PING, and for its answer;
						   0 no. Where nothing was sent
						   since the peer was heard,
						   the kernel asks its kernel
						   instead, and of ten such
						   silences one has a PING */
	int64_t slow_timeout;      /* ns for a header list to be
						   whole, and to look whether
						   a message comes */
	uint32_t slow_rate;        /* bytes a second of one that
						   takes longer */
};

/*
 * What a peer was cut for, or a call ended: the name (a metric's label) is
 * the second column.
 */
#define RPC_ABUSES(X)                                                          \
	X(RESET, "reset")               /* it resets its own streams */        \
	X(PROVOKED, "provoked_reset")   /* it makes us reset them */           \
	X(STREAMS, "streams")           /* more than may be open */            \
	X(CONTINUATION, "continuation") /* a header list without end */        \
	X(HEADERS, "headers")           /* too many, too large */              \
	X(SETTINGS, "settings")                                                \
	X(PING, "ping")                                                        \
	X(PRIORITY, "priority")                                                \
	X(WINDOW_UPDATE, "window_update") /* for nothing that was sent */      \
	X(EMPTY_DATA, "empty_data")                                            \
	X(OTHER, "other")     /* frames, TLS records that say nothing */       \
	X(BYTES, "bytes")     /* more than who is not known may send */        \
	X(STALLED, "stalled") /* it opens no window */                         \
	X(CALL, "call")       /* no gRPC, or no such method */                 \
	X(MESSAGE, "message") /* too large, compressed, broken */              \
	X(SLOW_HEADERS, "slow_headers")                                        \
	X(SLOW_BODY, "slow_body")                                              \
	X(MEMORY, "memory")             /* too much that is not whole */       \
	X(DISPLACED, "displaced")       /* oldest that is not proven */        \
	X(VERIFICATION, "verification") /* too many signatures to check */     \
	X(SIGNATURE, "signature")       /* too many that do not hold */        \
	X(HANDSHAKES, "handshakes")     /* too many of its source */           \
	X(PENALTY, "penalty")           /* its source is kept out */

enum rpc_abuse {
#define RPC_ABUSE_WORD(id, name) RPC_ABUSE_##id,
	RPC_ABUSES(RPC_ABUSE_WORD)
#undef RPC_ABUSE_WORD
	    RPC_ABUSE_KINDS
};

/* Sane defaults, to be changed field by field. */
void rpc_limits_default(struct rpc_limits *limits);

/* Counters, for metrics. All since start but the first two. */
struct rpc_counters {
	uint64_t connections_open;
	uint64_t streams_open;
	uint64_t connections_total;
	uint64_t handshake_failures;
	uint64_t protocol_errors; /* HTTP/2 or gRPC broken */
	uint64_t abuse;           /* cut by a limit */
	uint64_t refused;         /* over max_connections &c. */
	uint64_t abuses[RPC_ABUSE_KINDS];
	uint64_t bytes_read;
	uint64_t bytes_written;
};

/* --- streams ------------------------------------------------------------- */

/*
 * What a stream tells its owner; arg is what rpc_stream_set_arg() gave.
 * message: one whole gRPC message, not owned, valid during the call. It
 *     stays counted against the peer's window until rpc_stream_consume()
 *     (but not on unary methods, where that does nothing).
 * finished: the peer sent all it will (server: half close; client: the
 *     trailers follow in closed).
 * writable: rpc_stream_congested() has become false again.
 * closed: the stream is over, for whatever reason, and freed when this
 *     returns; status and message are the peer's trailers (client) or
 *     RPC_CANCELLED and the like when the connection broke. Called exactly
 *     once for each stream, also after rpc_stream_finish(); but not for one
 *     that opened() did not want.
 * Any may be NULL but closed.
 */
struct rpc_stream_callbacks {
	void (*message)(
	    struct rpc_stream *, const uint8_t *, size_t, void *arg);
	void (*finished)(struct rpc_stream *, void *arg);
	void (*writable)(struct rpc_stream *, void *arg);
	void (*closed)(struct rpc_stream *, enum rpc_status,
	    const char *message, void *arg);
};

void rpc_stream_set_arg(struct rpc_stream *stream, void *arg);
void *rpc_stream_arg(const struct rpc_stream *stream);
struct rpc_connection *rpc_stream_connection(const struct rpc_stream *stream);

/*
 * Queue one message. 0, or -1 with errno: EPIPE when the stream is half
 * closed or over, ENOMEM. Never blocks; a caller that may send much looks at
 * rpc_stream_congested().
 */
int rpc_stream_send(
    struct rpc_stream *stream, const void *message, size_t length);

/*
 * The same without a copy of a finished message: reserve room for at most
 * length bytes, write the message there, then say how long it became
 * (<= length). Nothing else may be called on the stream between the two.
 */
uint8_t *rpc_stream_reserve(struct rpc_stream *stream, size_t length);
void rpc_stream_commit(struct rpc_stream *stream, size_t length);

/* Bytes accepted by rpc_stream_send() not yet handed to the TLS layer. */
size_t rpc_stream_queued(const struct rpc_stream *stream);

/*
 * Bytes of the stream, and of others before them, that have not left this
 * machine: in this process, or in the kernel because the peer takes no more.
 * (The kernel drops those when this process has died and the peer speaks.) On
 * other systems than Linux, which do not tell, those in this process.
 */
size_t rpc_stream_unsent(const struct rpc_stream *stream);

/* 1 while more than limits.max_output bytes wait on the connection, or more
 * than the peer's window allows wait on the stream. */
int rpc_stream_congested(const struct rpc_stream *stream);

/* Give length bytes of received messages back to the peer's window. */
void rpc_stream_consume(struct rpc_stream *stream, size_t length);

/* Server: send trailers after what is queued. closed() follows. message is
 * copied and percent-encoded; NULL for none. */
void rpc_stream_finish(
    struct rpc_stream *stream, enum rpc_status status, const char *message);

/* Client: no more messages from us. */
void rpc_stream_half_close(struct rpc_stream *stream);

/* Either: RST_STREAM CANCEL now; closed() follows. */
void rpc_stream_cancel(struct rpc_stream *stream);

/* --- server -------------------------------------------------------------- */

/*
 * One method. opened is called when a call's headers have come; it sets the
 * stream's arg and callbacks are those named here. Returning RPC_OK lets the
 * call go on, anything else ends it with that status and no more callbacks;
 * to give a reason too, call rpc_stream_finish() and return RPC_OK. unary:
 * message is called exactly once, the owner answers with one send and a
 * finish. A call without or with a second message ends UNIMPLEMENTED unseen.
 */
struct rpc_method {
	const char *path; /* "/package.Service/Method" */
	int unary;
	enum rpc_status (*opened)(struct rpc_stream *, void *server_arg);
	struct rpc_stream_callbacks callbacks;
};

/* A connection came (TLS done) or went; either may be NULL. A new one is
 * refused when opened returns -1, and closed is not called for it. */
struct rpc_server_callbacks {
	int (*opened)(struct rpc_connection *, void *server_arg);
	void (*closed)(struct rpc_connection *, void *server_arg);
};

/*
 * Serve methods (methods[count], must stay valid) on listening sockets added
 * with rpc_server_listen(). tls and limits may be replaced, for new
 * connections. NULL with errno on failure.
 */
struct rpc_server *rpc_server_new(struct event_base *base, struct rpc_tls *tls,
    const struct rpc_limits *limits, const struct rpc_method *methods,
    size_t count, const struct rpc_server_callbacks *callbacks, void *arg);
int rpc_server_listen(struct rpc_server *server, int fd); /* owns fd */
void rpc_server_unlisten(struct rpc_server *server);      /* close all sockets;
						   connections stay */
void rpc_server_set_tls(struct rpc_server *server, struct rpc_tls *tls);
void rpc_server_set_limits(
    struct rpc_server *server, const struct rpc_limits *limits);

/*
 * Share penalties (may be NULL) with other servers of the process: sources
 * under one are not served. They must outlive the server.
 */
struct rpc_penalties;
void rpc_server_set_penalties(
    struct rpc_server *server, struct rpc_penalties *penalties);

/* Stop reading from all connections (1), or go on (0). What was read before,
 * at most a TLS record a connection, is still delivered. */
void rpc_server_pause(struct rpc_server *server, int pause);

/* GOAWAY on every connection that there is: streams go on, and new ones come
 * on other connections. */
void rpc_server_drain_connections(struct rpc_server *server);

/*
 * Stop accepting and send GOAWAY on every connection; streams go on.
 * rpc_server_free() then cuts what is left: closed() is called, from inside
 * it, for each stream and connection. Both may be called in any callback.
 */
void rpc_server_drain(struct rpc_server *server);
void rpc_server_free(struct rpc_server *server);
void rpc_server_counters(
    const struct rpc_server *server, struct rpc_counters *counters);

/*
 * Standard services, answered inside: grpc.health.v1.Health (Check, Watch)
 * and server reflection (v1, v1alpha). "" is serving until said otherwise.
 */
void rpc_server_set_health(struct rpc_server *server, const char *service,
    int serving); /* "" is the server as a whole */

struct rpc_descriptor {
	const uint8_t *set; /* serialized FileDescriptorSet, stays valid */
	size_t length;
};
int rpc_server_enable_reflection(struct rpc_server *server,
    const struct rpc_descriptor *descriptors, size_t count);

/* --- client -------------------------------------------------------------- */

/*
 * connected: TLS and HTTP/2 are up. failed: never came up; error says why
 * and the connection is freed when it returns. closed: was up, is gone;
 * freed when it returns, after closed() of its streams. One of failed and
 * closed is called, once. draining: the peer sent GOAWAY; open no more.
 */
struct rpc_client_callbacks {
	void (*connected)(struct rpc_connection *, void *arg);
	void (*failed)(struct rpc_connection *, const char *error, void *arg);
	void (*draining)(struct rpc_connection *, void *arg);
	void (*closed)(struct rpc_connection *, void *arg);
};

/*
 * Connect to a numeric address, or take over a connected or connecting
 * non-blocking socket fd (owned). name is what the certificate is verified
 * for (RPC_VERIFY_CA) and the :authority. NULL with errno at once, or a
 * callback later.
 */
struct rpc_connection *rpc_connect(struct event_base *base, struct rpc_tls *tls,
    const struct rpc_limits *limits, const struct sockaddr *address,
    const char *name, const struct rpc_client_callbacks *callbacks, void *arg);
struct rpc_connection *rpc_connect_fd(struct event_base *base,
    struct rpc_tls *tls, const struct rpc_limits *limits, int fd,
    const char *name, const struct rpc_client_callbacks *callbacks, void *arg);

/*
 * Start a call. deadline is in ns from now, 0 for none; sent as grpc-timeout
 * and enforced here. callbacks must stay valid. NULL with errno: ENOTCONN
 * when the connection is draining or not up, EAGAIN when it has as many calls
 * as limits.max_streams or the peer allow, ENOMEM.
 */
struct rpc_stream *rpc_call(struct rpc_connection *connection, const char *path,
    int64_t deadline, const struct rpc_stream_callbacks *callbacks, void *arg);

/* --- connections, either side -------------------------------------------- */

void rpc_connection_set_arg(struct rpc_connection *connection, void *arg);
void *rpc_connection_arg(const struct rpc_connection *connection);

/* The peer's leaf certificate, DER, not owned; NULL when it has none. */
const uint8_t *rpc_connection_certificate(
    const struct rpc_connection *connection, size_t *length);

/* SHA-256 of the peer's SubjectPublicKeyInfo, taken from the certificate each
 * time. 0, or -1 without one. */
int rpc_connection_peer_spki(
    const struct rpc_connection *connection, uint8_t hash[32]);

/* Take messages of up to max bytes from now on, if that is more than so far:
 * a smaller limit would end streams that are open. */
void rpc_connection_allow(struct rpc_connection *connection, uint32_t max);

/* "192.0.2.1 port 4433", for logs; valid as long as the connection. */
const char *rpc_connection_name(const struct rpc_connection *connection);
const struct sockaddr *rpc_connection_address(
    const struct rpc_connection *connection);

/*
 * Server, with limits.unproven_message: its owner knows who the peer is. That
 * lasts until no call is open on it.
 */
void rpc_connection_prove(struct rpc_connection *connection);

/*
 * Server: may a signature be checked for this peer now? 1 or 0, and then it
 * is counted. Without penalties always 1.
 */
int rpc_connection_may_verify(struct rpc_connection *connection);

/*
 * Server: may one be made for it now, before it is known who it is? As above;
 * who goes on asking is cut.
 */
int rpc_connection_may_sign(struct rpc_connection *connection);

/* Server: it could not prove who it is. Its source pays for that, and the
 * connection is cut when the source is to be kept out. */
void rpc_connection_blame(struct rpc_connection *connection);

/* Cut it for an abuse that its owner has found; the source of one that a
 * server accepted pays for it. */
void rpc_connection_expel(
    struct rpc_connection *connection, enum rpc_abuse kind);

/* Stop reading from this connection (1), or go on (0). */
void rpc_connection_pause(struct rpc_connection *connection, int pause);

/* GOAWAY, let streams end, close. What to call after rpc_stream_finish(). */
void rpc_connection_drain(struct rpc_connection *connection);

/* Cut now, unsent output is lost; closed() callbacks follow from the event
 * loop. */
void rpc_connection_close(struct rpc_connection *connection);

#endif
