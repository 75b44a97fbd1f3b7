/*
 * Inside common/rpc only. What its files share: a TLS transport on a
 * non-blocking socket, the HTTP/2 session above it, the calls on that, and
 * the server that owns many. No other folder includes this.
 */
#ifndef COMMON_RPC_INTERNAL_H
#define COMMON_RPC_INTERNAL_H

#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <nghttp2/nghttp2.h>

#include "common/rpc/rpc.h"
#include "common/util/buffer.h"
#include "common/util/table.h"

#define RPC_NAME_SIZE    80   /* "address port 65535" */
#define RPC_TEXT_MAX     1024 /* bytes of a status message */
#define RPC_FRAME_HEADER 5    /* compressed flag, length */

struct rpc_tls {
	struct tls_config *config;
	struct tls *server; /* NULL for clients */
	enum rpc_verify verify;
	unsigned refs;
};

/* Reassembles gRPC messages from DATA. */
struct rpc_frame_reader {
	struct buffer part; /* of a message not yet whole */
	uint32_t length;    /* of that message */
	uint32_t keep;      /* bytes of part, while it is empty */
	uint8_t header[RPC_FRAME_HEADER];
	uint8_t have; /* header bytes seen */
};

/* TLS on a socket, reads and writes gathered. */
struct rpc_transport {
	struct tls *tls;
	struct buffer in;     /* ciphertext left from last turn */
	struct buffer out;    /* ciphertext not yet written */
	const uint8_t *fresh; /* ciphertext read this turn */
	size_t fresh_length;
	size_t discarded; /* bytes */
	size_t keep;      /* bytes of out, while it is empty */
	unsigned records; /* TLS's, begun since data came */
	unsigned silent;  /* of them without data, before the last data */
	int fd;
	unsigned drained : 1; /* the socket had no more this turn */
	unsigned taken : 1;   /* the library asked for ciphertext */
	unsigned broken : 1;  /* read or write failed */
	unsigned flooded : 1; /* by records without data */
	unsigned settled : 1; /* the kernel has sent what it was given */
	uint64_t *bytes_read;
	uint64_t *bytes_written;
};

enum rpc_state {
	RPC_CONNECTING,
	RPC_HANDSHAKE, /* TLS */
	RPC_PREFACE,   /* TLS done, the peer's SETTINGS awaited */
	RPC_OPEN,
	RPC_DEAD /* cut; memory goes when nobody is inside */
};

TAILQ_HEAD(rpc_stream_list, rpc_stream);

struct rpc_connection {
	TAILQ_ENTRY(rpc_connection) entry; /* server's */
	TAILQ_ENTRY(rpc_connection) entry_unproven;
	TAILQ_ENTRY(rpc_connection) entry_stalled;
	struct event_base *base;
	struct rpc_server *server; /* NULL: client */
	struct rpc_tls *tls;       /* a reference */
	struct rpc_transport transport;
	nghttp2_session *session;
	struct rpc_stream_list streams;
	struct rpc_stream_list graves; /* over, unfreed */
	struct rpc_stream_list ending; /* to be closed */
	struct rpc_limits limits;
	struct rpc_counters *counters;
	struct rpc_counters own_counters; /* clients */
	enum rpc_state state;
	unsigned depth; /* callers inside */
	unsigned stream_count;
	unsigned waiting;          /* streams congested */
	struct rpc_stream *cursor; /* of a walk */
	size_t queued;             /* in streams, bytes */

	unsigned paused : 1;
	unsigned closing : 1;   /* rpc_connection_close() */
	unsigned doomed : 1;    /* flush a GOAWAY, then cut */
	unsigned draining : 1;  /* we sent GOAWAY */
	unsigned drained : 1;   /* the second, final one */
	unsigned lingering : 1; /* all is said; the peer closes */
	unsigned peer_draining : 1;
	unsigned announced : 1; /* opened() or connected() called */
	unsigned awake : 1;     /* wake event is active */
	unsigned waking : 1;    /* inside it */
	unsigned reading : 1;   /* read event is added */
	unsigned stalled : 1;   /* on the server's list of them */
	unsigned unread : 1;    /* read on in the loop's next turn */
	unsigned writing : 1;   /* write event is added */
	unsigned ping_sent : 1;
	unsigned heard : 1;     /* read something since last tick */
	unsigned unproven : 1;  /* on the server's list of them */
	unsigned exempt : 1;    /* from what is counted by source */
	unsigned blameless : 1; /* that it ends is our doing */
	unsigned watched : 1;   /* the watch runs */
	unsigned probed : 1;    /* the kernel asks whether the peer is there */
	unsigned silences;      /* in a row, without a PING */
	unsigned delivered;     /* messages of the last record */

	struct event read_event;
	struct event write_event;
	struct event wake_event;
	struct event timer;
	struct event watch; /* for what comes too slowly */
	int64_t started;
	int64_t idle_since;
	int64_t drain_since;
	int64_t pinged;

	/* What a peer may do now and then; see rate_take(). */
	int64_t resets_due;   /* streams we had to reset */
	int64_t glitches_due; /* frames that carry nothing */
	int64_t calls_due;    /* that are none of ours */
	size_t earned;        /* WINDOW_UPDATEs, by what we sent */
	size_t held;          /* bytes of messages not whole */
	uint64_t sent;        /* bytes of messages that left */
	uint64_t answered;    /* of them, when the peer was last heard */
	uint64_t marked_sent;
	size_t marked_out;     /* what the watch saw waiting */
	enum rpc_abuse glitch; /* the last one */

	const struct rpc_client_callbacks *callbacks; /* client */
	void *arg;
	char *authority;      /* client */
	uint8_t *certificate; /* peer's leaf, DER */
	size_t certificate_length;
	struct sockaddr_storage address;
	char name[RPC_NAME_SIZE];
	uint8_t source[17]; /* family and address, server */
};

struct rpc_stream {
	TAILQ_ENTRY(rpc_stream) entry;
	struct rpc_connection *connection;
	const struct rpc_method *method; /* server */
	const struct rpc_stream_callbacks *callbacks;
	void *arg;
	int32_t id;

	unsigned ending : 1; /* on the list of that name */
	unsigned owned : 1;  /* closed() is due */
	unsigned over : 1;
	unsigned remote_done : 1; /* END_STREAM came */
	unsigned local_done : 1;  /* no more from the owner */
	unsigned headers_sent : 1;
	unsigned trailers_sent : 1;
	unsigned deferred : 1; /* nghttp2 waits for data */
	unsigned waiting : 1;  /* was told it is congested */
	unsigned timed : 1;
	unsigned detached : 1; /* nghttp2 knows it no longer */
	unsigned held : 1;     /* unary: its message is in hold */
	unsigned heading : 1;  /* a header list has begun */
	unsigned marked : 1;   /* the watch saw it unfinished */

	/* What the headers said. */
	unsigned post : 1;
	unsigned te : 1;
	unsigned content : 1;
	unsigned encoded : 1; /* grpc-encoding we do not know */
	unsigned bad_timeout : 1;
	unsigned flooded : 1; /* header list too large */
	unsigned has_status : 1;
	unsigned has_path : 1;
	uint16_t http_status;
	uint32_t header_bytes;
	uint32_t header_fields;
	int64_t timeout; /* ns, 0 none */

	struct buffer out;
	struct rpc_frame_reader in;
	struct buffer hold;
	size_t credit; /* to be given back */
	size_t early;  /* of the part, given back */
	size_t ahead;  /* delivered, given back */
	size_t reserved;
	size_t counted;       /* in connection->held */
	size_t marked_length; /* of what was unfinished */
	uint32_t messages;    /* that came whole */
	uint32_t marked_messages;

	enum rpc_status status;
	char *text; /* owned; status message */
	struct event timer;
};

struct rpc_listener {
	TAILQ_ENTRY(rpc_listener) entry;
	struct rpc_server *server;
	struct event event;
	struct event retry;
	int fd;
};

struct rpc_source { /* connections of one address */
	uint8_t key[17];
	unsigned count;
	unsigned unproven;
};

struct rpc_health_entry;
struct rpc_reflection;
TAILQ_HEAD(rpc_health_list, rpc_health_entry);
TAILQ_HEAD(rpc_listener_list, rpc_listener);
TAILQ_HEAD(rpc_connection_list, rpc_connection);

struct rpc_server {
	struct event_base *base;
	struct rpc_tls *tls;
	struct rpc_limits limits;
	const struct rpc_method *methods;
	size_t method_count;
	struct rpc_server_callbacks callbacks;
	void *arg;
	struct rpc_listener_list listeners;
	struct rpc_connection_list connections;
	struct rpc_connection_list unproven; /* oldest first */
	struct rpc_connection_list stalled;  /* would read if not paused */
	struct event resume;
	struct table sources;
	struct rpc_penalties *penalties;
	struct rpc_counters counters;
	struct rpc_health_list health;
	struct rpc_health_entry *unknown; /* watched, but not set */
	struct rpc_reflection *reflection;
	unsigned unproven_count;
	struct timeval turn; /* of the loop, by its clock */
	unsigned handshakes; /* answered in it */
	size_t held;         /* by all connections */
	unsigned refs;
	unsigned paused : 1;
	unsigned resuming : 1;
	unsigned draining : 1;
	unsigned freed : 1;
};

#include "common/rpc/internal_api.h"

#endif
