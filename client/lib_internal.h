/*
 * libhermes, inside: one struct hermes, its link to the node and its chats.
 * lib_hermes.c makes and frees; lib_link.c connects and connects again;
 * lib_session.c speaks to the node; lib_chat.c keeps chats; lib_queue.c keeps
 * messages; lib_frame.c packs and unpacks; lib_key.c holds the identity;
 * lib_secure.c and lib_e2e.c are the end-to-end layer.
 */
#ifndef CLIENT_LIB_INTERNAL_H
#define CLIENT_LIB_INTERNAL_H

#include <event2/event.h>
#include <netinet/in.h>

#include "client/hermes.h"
#include "client/lib_queue.h"
#include "client/lib_secure.h"
#include "common/ipc/codes.h"
#include "common/rpc/rpc.h"
#include "common/sign/ids.h"
#include "common/util/buffer.h"
#include "common/util/clock.h"
#include "common/util/table.h"
#include "proto/approuter.pb-c.h"

#define LIB_HOST_SIZE         256
#define LIB_PORT_SIZE         16
#define LIB_GREETING_TIMEOUT  (15 * CLOCK_SECOND)
#define LIB_ATTESTATION_LIFE  (INT64_C(12) * 3600 * CLOCK_SECOND)
#define LIB_ATTESTATION_RENEW (INT64_C(9) * 3600 * CLOCK_SECOND)
#define LIB_FLIGHT_BYTES      (1024 * 1024)
#define LIB_SILENCE           3   /* heartbeats until the node is gone */
#define LIB_NODES             16  /* others that are remembered */
#define LIB_OVER              256 /* chats that ended that are remembered */
#define LIB_OFFERS            64  /* of peers, that are not taken up */

/* --- a link: one attempt to be connected --------------------------------- */

enum link_state {
	LINK_DOWN, /* waiting for the back-off to pass */
	LINK_RESOLVING,
	LINK_CONNECTING, /* TCP, TLS, HTTP/2 */
	LINK_CHALLENGE,  /* waiting for the node's */
	LINK_GREETING,   /* Connect is sent */
	LINK_UP
};

/*
 * Outlives its struct hermes when that is freed or gives the attempt up:
 * hermes is NULL from then on, and the link frees itself with its connection.
 */
struct link {
	struct hermes *hermes;
	struct rpc_connection *connection;
	struct rpc_stream *stream;
	char error[160];
};

/* --- chats --------------------------------------------------------------- */

enum chat_phase {
	PHASE_OFFERED,  /* the peer asked, we did not */
	PHASE_IDLE,     /* wanted; StartChat is due */
	PHASE_STARTING, /* StartChat is sent */
	PHASE_READY,
	PHASE_GONE
};

/* Once the node has ended a chat that is over for the app: another begins, or
 * the app will have none. */
enum over_then { OVER_NOT, OVER_BEGINS, OVER_ENDS };

struct hermes_chat {
	struct chat_key key; /* in hermes->chats */
	struct hermes *hermes;
	void *arg;
	struct hermes_chat *next; /* hermes->first */
	struct hermes_chat **back;
	char id[CHAT_ID_SIZE];
	char peer[HERMES_APP_ID_SIZE];
	uint8_t peer_key[KEY_SIZE]; /* Ed25519 */
	enum chat_phase phase;
	int asked; /* for by the app */
	int ever_ready;
	int fresh;             /* ask for it as a new one */
	enum over_then over;   /* what the node has of it is: over_end() */
	uint64_t start_serial; /* of its last StartChat */
	int has_public_key;
	uint8_t public_key[KEY_SIZE]; /* X25519 */
	struct secure *secure;        /* NULL without end_to_end */
	uint32_t version;
	uint8_t instance[INSTANCE_SIZE]; /* as the node says; 0: not known */
	struct event *retry;             /* StartChat or messages */
	int64_t retry_delay;
	int64_t start_deadline; /* monotonic; 0: not set */
	/* sending */
	struct kept_queue kept;
	uint64_t written;      /* highest on this stream */
	uint64_t resent_below; /* written before: a resend */
	uint64_t rewound;      /* OUT_OF_SEQUENCE obeyed for */
	size_t flight_bytes;   /* written, not acked */
	int hold;              /* until retry or an ack */
	int blocked;           /* EAGAIN was answered */
	/* receiving */
	uint64_t next_receive;   /* 0: not known yet */
	struct kept_queue early; /* came before it was ready */
	size_t early_bytes;
	struct hermes_progress progress; /* counters only */
};

/* --- other nodes --------------------------------------------------------- */

struct known_node {
	char endpoint[ENDPOINT_SIZE];
	uint8_t key[KEY_SIZE];
};

/* --- the app ------------------------------------------------------------- */

struct hermes {
	struct event_base *base;
	struct hermes_options options; /* texts owned */
	struct hermes_callbacks callbacks;
	void *arg;
	struct rpc_tls *tls;
	struct rpc_limits limits;
	uint8_t *secret; /* sodium_malloc, Ed25519 */
	uint8_t public_key[KEY_SIZE];
	char app_id[HERMES_APP_ID_SIZE];
	char host[LIB_HOST_SIZE];
	char port[LIB_PORT_SIZE];
	struct evdns_base *dns; /* made when first needed */
	struct evdns_getaddrinfo_request *lookup;
	/* the node, as proven */
	int node_known;
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
	size_t max_message;
	size_t window;
	/* other nodes, to follow to */
	struct known_node nodes[LIB_NODES];
	size_t node_count;
	size_t node_next;  /* to try */
	int failures;      /* of this node, in a row */
	int was_connected; /* ever, to the node of last_key */
	uint8_t last_key[KEY_SIZE];
	int arrives; /* at another node than before */
	/* the link */
	enum link_state state;
	struct link *link;
	struct event *timer; /* back-off, greeting limit */
	struct event *beat;
	int64_t backoff;
	int heard;        /* a frame since the last heartbeat */
	int64_t heard_at; /* monotonic; of the last heartbeat with heard */
	int64_t renew_at; /* monotonic */
	int final;        /* never connect again */
	/* chats */
	struct table chats; /* of struct chat_key */
	struct hermes_chat *first;
	struct hermes_chat *recent; /* last one looked up */
	struct hermes_chat *turn;   /* the first that waits to write */
	struct over *over;          /* LIB_OVER of them, or NULL */
	size_t over_next;
	uint64_t serial; /* of correlation ids */
	uint8_t *arena;  /* for unpacking */
	size_t arena_size;
	size_t arena_used;
	int64_t skips_due; /* see rate.h */
	uint8_t *scratch;  /* a message sealed or opened */
	size_t scratch_size;
};

/* lib_link.c */
int link_parse_node(
    const char *node, char host[LIB_HOST_SIZE], char port[LIB_PORT_SIZE]);
void link_start(struct hermes *hermes);
/* Leave the node for the reason why, and come again after the back-off. */
void link_break(struct hermes *hermes, const char *why);
void link_abandon(struct hermes *hermes);
void link_up(struct hermes *hermes); /* ConnectAck came */
struct timeval link_timeval(int64_t ns);
/* delay, give or take half, so that apps do not come back in step. */
int64_t link_jitter(int64_t delay);

/* lib_follow.c: from node to node. */
/* What the node, which proved itself, says of others. */
void follow_learn(
    struct hermes *hermes, Approuter__V1__NodeHint **nodes, size_t count);
/* Connect goes to the node that proved itself. 1 when that is another than
 * the one before, or it was so and none has settled us since. */
int follow_arrives(struct hermes *hermes);
/* The node took us in. */
void follow_arrived(struct hermes *hermes);
/* It has answered a StartChat, so what it knew before it has forgotten; until
 * then it may have died with that undone. */
void follow_settled(struct hermes *hermes);
/* No connection: the next attempt is for another node, if that failed once
 * already. */
void follow_failed(struct hermes *hermes);
/* Leave for another node, now. 0, or -1: none is known. */
int follow_next(struct hermes *hermes);

/* lib_session.c */
void session_frame(struct hermes *hermes, const uint8_t *bytes, size_t length);
void session_beat(evutil_socket_t fd, short what, void *arg);

/* lib_chat.c */
struct hermes_chat *chat_new(
    struct hermes *hermes, const char *chat_id, const char *peer);
void chat_free(struct hermes_chat *chat);
struct hermes_chat *chat_find(
    struct hermes *hermes, const char *chat_id, const char *peer);
void chat_all_up(struct hermes *hermes);
void chat_all_down(struct hermes *hermes);
void chat_all_pump(struct hermes *hermes);
/* Send StartChat. 0, or -1 with errno. */
int chat_send_start(
    struct hermes_chat *chat, uint32_t version, int rekey, int resume);
void chat_start(struct hermes_chat *chat);
void chat_pump(struct hermes_chat *chat);
void chat_gone(struct hermes_chat *chat, const char *status);

/* Give the app what came before the chat was ready. */
void chat_give_early(struct hermes_chat *chat);
void chat_retry_after(struct hermes_chat *chat, int64_t delay);
/* StartChat again after delay, but the longer the more often: the node has
 * told all of many chats the same. */
void chat_start_after(struct hermes_chat *chat, int64_t delay);
void chat_rewind(struct hermes_chat *chat, uint64_t written);

/* lib_over.c: chats that have ended for the app. */
/* This one has. Without memory it is not remembered. */
void over_note(struct hermes_chat *chat);
/* Has one of the chat's name ended that had this instance? 1 or 0. */
int over_is(
    const struct hermes_chat *chat, const uint8_t instance[INSTANCE_SIZE]);
/* The node has one for us that has ended: let it end there, too. */
void over_end(struct hermes_chat *chat);
/* It has: begin ours. */
void over_ended(struct hermes_chat *chat);
/* The node did not end it, and says why; retry_after in ns, 0: not said. */
void over_refused(
    struct hermes_chat *chat, enum hermes_code code, int64_t retry_after);

/* lib_receive.c: frames of the node about chats. */
void chat_on_start(
    struct hermes *hermes, const Approuter__V1__StartChat *frame);
void chat_on_start_ack(
    struct hermes *hermes, const Approuter__V1__StartChatAck *frame);
void chat_on_message(struct hermes *hermes, const char *chat_id,
    const char *peer, uint64_t sequence, const void *payload, size_t length);
void chat_on_ack(struct hermes *hermes, const char *chat_id, const char *peer,
    uint64_t through);
void chat_on_delete_ack(struct hermes *hermes, const char *correlation,
    const Approuter__V1__DeleteChatAck *frame);
void chat_on_status(
    struct hermes *hermes, const Approuter__V1__ChatStatus *frame);
void chat_on_error(struct hermes *hermes, const char *correlation,
    const Approuter__V1__Error *frame);

/* lib_frame.c */
/* Queue a frame on the stream. 0, or -1 with errno ENOTCONN or ENOMEM. */
int frame_send(struct hermes *hermes, Approuter__V1__AppFrame *frame);
/* NULL when it is not an AppFrame; valid until frame_done(). */
Approuter__V1__AppFrame *frame_unpack(
    struct hermes *hermes, const uint8_t *bytes, size_t length);
void frame_done(struct hermes *hermes, Approuter__V1__AppFrame *frame);

#endif
