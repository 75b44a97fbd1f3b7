/*
 * router: one app's stream, from its first byte to its last.
 */
#ifndef ROUTER_SESSION_H
#define ROUTER_SESSION_H

#include <sys/queue.h>

#include <event2/event_struct.h>

#include "common/rpc/rpc.h"
#include "router/router.h"

struct app;
struct find;
struct side;

enum session_state {
	SESSION_NEW,  /* waiting for its Connect */
	SESSION_OPEN, /* ConnectAck was sent */
	SESSION_OVER  /* finished by us, trailers on their way */
};

struct session {
	TAILQ_ENTRY(session) entry;
	TAILQ_ENTRY(session) entry_waiting; /* while NEW or half closed */
	struct rpc_stream *stream;
	struct app *app; /* while OPEN */
	enum session_state state;
	uint64_t number; /* never used twice */
	uint8_t nonce[KEY_SIZE];
	int challenged;
	struct attestation attestation;
	char session_id[SESSION_ID_SIZE];
	char address[72];
	int v1;
	int accept_auto;
	int acks_last;          /* one acknowledgement does for many */
	int arrived;            /* it was at another node since it was here */
	int told;               /* to go away, as the node stops */
	int64_t opened_at;      /* monotonic */
	int64_t active_at;      /* monotonic; last frame */
	int64_t half_closed_at; /* monotonic; 0: not */
	int64_t connected_at;   /* wall */
	uint64_t messages_in;
	uint64_t messages_out;
	uint64_t written; /* bytes of messages and acknowledgements */
	size_t owed;      /* bytes to consume by and by */
	unsigned int bad_frames;
	TAILQ_HEAD(, find) find_list; /* unanswered */
	unsigned int finds;
	struct event timer;
	uint8_t *metadata; /* owned, packed Connect */
	size_t metadata_length;
};

void session_init(void);

/* The method and its callbacks, for service.c. */
enum rpc_status session_opened(struct rpc_stream *stream, void *arg);
void session_message(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg);
void session_half_closed(struct rpc_stream *stream, void *arg);
void session_writable_again(struct rpc_stream *stream, void *arg);
void session_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *message, void *arg);

/* keyd signed the challenge of the session of that number. */
void session_challenge_signed(const struct ipc_challenge_signed *signed_);

/* Connect was good: app is its owner from now on (connect.c). */
void session_connect(
    struct session *session, struct span body, struct span correlation);

/* The app is connected to another node, later than here: its session here
 * gets GoAway `moved` and ends. */
void connect_moved(const struct ipc_app_moved *moved);

/* connect.c found the app: the session is one of those that count. */
void session_count_open(struct session *session);

/* Queue an AppFrame. A stream whose output has run full for good (its app
 * asks and never reads) is cancelled. */
void session_send(struct session *session, const struct frame_body *body,
    struct span correlation);

/* Error with code about a chat. */
void session_error(struct session *session, struct span correlation,
    enum hermes_code code, const struct side *side, uint64_t expected,
    int64_t retry_after);
/* A chat as a frame names it; either may be empty, or nonsense. */
struct chat_name {
	struct span chat_id;
	struct span peer;
};

/* The same about what a frame names, chat or not (NULL: no chat). */
void session_error_name(struct session *session, struct span correlation,
    enum hermes_code code, const struct chat_name *name, int64_t retry_after);

#define SESSION_BAD_TARGET                                                     \
	"target_app_id is not the id of an app: 64 lower-case hexadecimal "    \
	"digits"
#define SESSION_BAD_HINT "target_node_hint is not a node id"

/* A frame that breaks the contract: INVALID_FRAME, and the end of the
 * stream when there were too many. what is wrong, for who wrote the app; the
 * chat that it names, or NULL. */
void session_bad_frame(struct session *session, struct span correlation,
    const struct chat_name *name, const char *what);

/* 1 when a message for the app may be written now. When not, and it is
 * open, session_writable_again() will be called. */
int session_writable(struct session *session);

/* Give length bytes back to the app's window, later if it is too fast. */
void session_consume(struct session *session, size_t length);

/* GoAway with reason and the other nodes; grace in ns. */
void session_go_away(
    struct session *session, const char *reason, int64_t grace);

/* End the stream: its app is disconnected at once, closed() comes later. */
void session_finish(
    struct session *session, enum rpc_status status, const char *text);

/* Once a second: idle sessions, attestations that ran out. Of many it looks at
 * a part, so that one may end half a minute late. */
void session_tick(int64_t now);

/* Walk all sessions: NULL starts, NULL ends. */
struct session *session_next(struct session *session);
uint32_t session_count(void); /* open ones */

/* APP_UP for a session, again for all after mesh was restarted. */
void session_announce(const struct session *session);

/* One shared room for bodies: begun, filled and sent without a break. */
extern struct frame_body session_body;

#endif
