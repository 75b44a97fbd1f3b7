/*
 * router: chats as this node has them. A struct side is one side of one
 * chat, that of an app which is, was or will be connected here.
 */
#ifndef ROUTER_CHATS_H
#define ROUTER_CHATS_H

#include <sys/queue.h>

#include "common/util/table.h"
#include "router/chat.h"
#include "router/session.h"

TAILQ_HEAD(side_list, side);
TAILQ_HEAD(app_list, app);

/* A node that peers are on, to find their chats when its tieline breaks. */
struct link {
	uint8_t node_key[KEY_SIZE];
	TAILQ_HEAD(, peer) peers;
	struct side_list line; /* sides that wait to be resumed */
	unsigned int resuming; /* sides that are */
};

/* An app at the other end of chats, and where the mesh says it is. */
struct peer {
	uint8_t key[KEY_SIZE];
	char hex[APP_ID_LENGTH + 1];
	struct link *link; /* NULL: node not known */
	TAILQ_ENTRY(peer) link_entry;
	struct side_list sides;
	int watched;  /* WATCH is in force */
	int answered; /* presence is news, not a gap */
	int present;  /* known and reachable */
	int busy;     /* its sides are walked */
	struct ipc_presence presence;
};

/* A local app; lives while it is connected or has chats. */
struct app {
	uint8_t key[KEY_SIZE];
	struct session *session; /* NULL: not connected */
	int replaced;            /* its next session is here */
	int busy;
	struct side_list sides;
	struct side_list blocked;        /* wait for the stream */
	struct side_list unwritten;      /* the lowest mark_offset first */
	struct app_list *unwritten_list; /* written.c's, if any */
	TAILQ_ENTRY(app) unwritten_entry;
	struct table by_id; /* id_hash: first of a ring of sides */
	uint32_t taken;     /* sides that it took up */
	uint32_t offers;    /* sides that it did not */
	size_t kept;        /* memory of its messages */
	int64_t frames_due; /* rate limits, see rate.h */
	int64_t starts_due;
};

enum ask_kind { ASK_FIRST, ASK_RESUME, ASK_REKEY };

/* A StartChat that is not answered yet. */
struct ask {
	enum ask_kind kind;
	uint64_t session; /* 0: no app waits for it */
	struct correlation correlation;
	int sent;       /* CHAT_START was */
	uint32_t flags; /* CHAT_* */
	uint32_t version;
	uint32_t from_version;
	uint64_t next_send; /* where the app says it stands; 0: not said */
	uint64_t next_receive;
	uint8_t instance[INSTANCE_SIZE]; /* and in which chat; 0: not said */
	uint8_t app_key[KEY_SIZE];
	char hint[NODE_ID_SIZE];
	int64_t asked_at; /* monotonic */
	size_t tail_length;
	uint8_t tail[];
};

/* A DeleteChat that is not answered yet. */
struct deletion {
	uint64_t session;
	struct correlation correlation;
	int64_t asked_at;
};

/* The peer app's StartChat, kept until its app was told. */
struct offer_tail {
	size_t length;
	uint8_t bytes[];
};

/* Most chats are idle: what is here, there is of each of them. */
struct side {
	struct chat_key key;
	uint64_t id_hash;
	struct side *same_next, *same_prev;
	struct app *app;
	struct peer *peer;
	TAILQ_ENTRY(side) app_entry;
	TAILQ_ENTRY(side) peer_entry;
	TAILQ_ENTRY(side) dirty_entry;
	TAILQ_ENTRY(side) blocked_entry;
	TAILQ_ENTRY(side) waiting_entry;
	TAILQ_ENTRY(side) unwritten_entry;
	TAILQ_ENTRY(side) line_entry;
	TAILQ_ENTRY(side) lagging_entry;
	uint8_t instance[INSTANCE_SIZE]; /* 0: no epoch yet */
	uint64_t mark_sequence;          /* delivered, once the stream sent */
	uint64_t mark_offset;            /* this many bytes */
	uint8_t dirty;
	uint8_t unwritten; /* on the app's list of them */
	uint8_t lagging;   /* keyd is told by and by */
	uint8_t blocked;
	uint8_t waiting; /* start_tick() looks at it */
	uint8_t taken;   /* the app took it up */
	uint8_t known;   /* keyd has heard of it */
	uint8_t ending;  /* CHAT_END was sent */
	uint8_t left;    /* so, without a word to anybody */
	uint8_t told_away;
	uint8_t accepted;         /* for the app, which has not said so yet */
	uint8_t anew;             /* so, and nobody had it before */
	uint8_t reset_untold;     /* its keys began anew, unheard by the app */
	uint8_t in_line;          /* in peer->link->line */
	uint8_t resuming;         /* counted in peer->link->resuming */
	uint8_t tries;            /* resumes in vain */
	uint32_t offer_version;   /* last CHAT_OFFER; 0: none */
	uint64_t offer_hash;      /* of what the app was told */
	uint64_t offer_session;   /* and in which session */
	struct offer_tail *offer; /* NULL: none to tell */
	struct ask *ask;
	struct deletion *deletion;
	int64_t resume_at; /* monotonic; 0: not due */
	size_t kept;       /* counted in app->kept */
	struct chat_core core;
	char chat_id[]; /* CHAT_ID_SIZE at most */
};

/* --- chats.c: tables ----------------------------------------------------- */

void sides_init(void);

struct app *app_find(const uint8_t key[KEY_SIZE]);
struct app *app_make(const uint8_t key[KEY_SIZE]); /* NULL: memory */
void app_release(struct app *app); /* free it if nothing needs it */

/* A session of the app opened; session was its session and is over. */
void app_connected(struct app *app, struct session *session);
void app_disconnected(struct app *app, struct session *session);

/* 1 while something the connected app asked for may still be answered. */
int app_waits(const struct app *app);

/* 64 lower-case hex digits. 0 or -1. */
int app_id_read(uint8_t key[KEY_SIZE], struct span text);

struct side *side_find(const struct chat_key *key);
/* A new side in state none; NULL when there is no memory. chat_id is valid,
 * local and peer differ. */
struct side *side_make(const uint8_t local[KEY_SIZE],
    const uint8_t peer[KEY_SIZE], const char *chat_id);
void side_drop(struct side *side);  /* forget it; may free its app */
void side_renew(struct side *side); /* as side_make(), but for the ask */

/* The app takes it up: it counts against chats_per_app. 0, or -1: limit. */
int side_take(struct side *side);
void side_taken(struct side *side); /* whatever the limit is */

/* 1 once an epoch was in force. */
int side_established(const struct side *side);

/* The app's chat of that id, and peer if not empty. CODE_NONE,
 * CODE_CHAT_NOT_FOUND or CODE_AMBIGUOUS_CHAT. */
enum hermes_code side_lookup(
    struct app *app, struct span chat_id, struct span peer, struct side **side);

/* Count what its messages take of memory, after any change of them. */
void side_account(struct side *side);

/*
 * May so many bytes more be kept for app? An app has at most as much as all
 * apps leave free of limits.kept_messages: the first half of it, the second a
 * third, n of them each 1/(n + 1), and whoever has least always some; the sum
 * is never more (Choudhury and Hahne's dynamic thresholds, 1998).
 */
int app_may_keep(const struct app *app, size_t bytes);
size_t apps_kept(void); /* of all */

struct side *side_next(size_t *cursor); /* all, from *cursor = 0 */
size_t side_count(void);

/* ChatStatus to the app, if it is connected. */
void side_tell(struct side *side, const char *status, struct span correlation);

/* --- peers.c ------------------------------------------------------------- */

void peers_init(void);
struct peer *peer_make(const uint8_t key[KEY_SIZE]);
struct peer *peer_get(const uint8_t key[KEY_SIZE]); /* NULL: none */
struct link *link_get(const uint8_t node_key[KEY_SIZE]);
void peer_release(struct peer *peer); /* free it if unused */
void peer_watch(struct peer *peer);
void peer_set_node(struct peer *peer, const uint8_t node_key[KEY_SIZE]);
void peer_presence(const struct ipc_presence *presence);
void peer_tieline(const struct ipc_tieline *tieline, int up);
void peers_mesh_up(void);
void peers_mesh_down(void);

/* --- start.c: set-up ----------------------------------------------------- */

void start_from_app(struct session *session, struct frame_start_chat *start,
    struct span correlation, int64_t now);
/* The chat that the app left here is forgotten: it may come anew. */
void start_again(struct side *side);
/* Ask again, from where the app stands, which is ahead of all we know. */
void start_skip(struct side *side);
/* Accept the peer's offer for an app that said accept=auto. */
void start_auto(struct side *side);
/* Go on with the ask, now that something about the peer is known. */
void start_try(struct side *side);
/* Make both ends compare (CHAT_RESUME), if both apps are there. */
void start_resume(struct side *side);
void start_forget(struct side *side); /* drop the ask */
void start_tieline_up(struct side *side);
void start_presence(struct side *side, int was_present, int moved);
void start_schedule(struct side *side, int64_t at);
void start_tick(int64_t now);

/* --- resume.c: few resumes at a time ------------------------------------- */

#define RESUMES_AT_ONCE 64 /* not answered, with one node */

/* 1: resume it now; 0: it is in line, start_resume() comes by itself. */
int resume_may(struct side *side);
/* Its app speaks: it need not wait in line. */
void resume_hurry(struct side *side);
/* Its resume is answered, given up, or not wanted any more. */
void resume_over(struct side *side);
/* All of the peer's: it is not on that node any more. */
void resume_leave_link(struct peer *peer);

/* --- ready.c: what keyd says --------------------------------------------- */

void ready_record(const struct ipc_chat_record *record);
void ready_came(const struct ipc_chat_ready *ready);
/* Answer the ask with what the app's node and the peer's have agreed on. */
void ready_repeat(struct side *side);
void ready_wanted(const struct ipc_chat_wanted *wanted);
void ready_offer(const struct ipc_chat_offer *offer, const uint8_t *tail,
    size_t tail_length);
/* CHAT_ERROR (from_keyd), ROUTE_ERROR. */
void ready_error(const struct ipc_chat_code *code, int from_keyd);
/* Tell a connected app of the offer that waits for it. */
void ready_tell_offer(struct side *side);

/* --- flow.c: messages ---------------------------------------------------- */

void flow_from_app(struct session *session,
    const struct frame_chat_message *message, struct span correlation,
    int64_t now);
void flow_opened(
    const struct ipc_opened *opened, const uint8_t *payload, size_t length);
void flow_relay_ack(const struct ipc_relay_ack *ack);
void flow_credit(const struct ipc_credit *credit);
/* Do all that can be done for the side now; later, with the batch. */
void flow_pump(struct side *side);
void flow_mark(struct side *side);
void flow_forget(struct side *side);
void flow_leave(struct side *side);            /* it waits for no stream */
void flow_reset_told(const struct side *side); /* the app, of CHAT_READY's */
void flow_flush(void);
void flow_init(void);
void flow_writable(struct app *app); /* its stream takes more again */

/* --- written.c: what the kernel has not got ------------------------------ */

void written_init(void);
/* Count what has left this process; look again later while there is more. */
void written_check(struct side *side);
void written_forget(struct side *side); /* it waits for that no more */

/* --- end.c --------------------------------------------------------------- */

/* Tell who watches of a chat: event's names are filled in. */
void chat_event(struct ipc_event *event, const struct side *side);

void end_from_app(struct session *session,
    const struct frame_delete_chat *delete_chat, struct span correlation,
    int64_t now);
/* The app was elsewhere: forget what it left here, and what peers offered it
 * meanwhile, for it is out of date. keyd offers again what is not. */
void end_left(struct app *app);
/* Ask keyd to end it. */
void end_ask(struct side *side, enum hermes_status status);
void end_ended(const struct ipc_chat_end *end);
/* keyd has no such chat to seal for: tell the app, forget it. */
void end_failed(struct side *side);

#endif
