/*
 * Tests only. A house around a real keyd: this process plays parent, router,
 * mesh and control to a hermesd that runs as keyd, through real doors. Two
 * houses linked to each other carry a tieline between two real keyds. What a
 * hostile router or mesh might say, a test says here.
 */
#ifndef REGRESS_HOUSE_H
#define REGRESS_HOUSE_H

#include <sys/types.h>

#include <stdint.h>

#include "common/ipc/codes.h"
#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/util/table.h"

struct event_base;
struct metric_value;
struct watch;

#define HOUSE_CHATS    131072               /* most chats of a house */
#define HOUSE_PATIENCE (120 * CLOCK_SECOND) /* until a wait is given up */
#define HOUSE_PAYLOAD  32 /* bytes of a message of house_talk() */

/*
 * One side of a chat. The app remembers through everything what it has seen;
 * the rest is the router's and is gone with keyd, as the node stops then.
 */
struct house_chat {
	struct chat_key key;
	char chat_id[CHAT_ID_SIZE + 7];
	uint32_t version;  /* 0: not ready */
	uint32_t ready;    /* CHAT_READY seen since start */
	uint32_t synced;   /* one with resumed or first */
	uint32_t resets;   /* READYs with reset, ever */
	uint64_t accepted; /* sequences given to SEAL */
	uint64_t acked;
	uint64_t delivered; /* in order, once */
	uint64_t repeats;   /* opened again after a retry */
	uint64_t out_of_order;
	uint32_t ended;    /* enum hermes_status */
	uint32_t code;     /* last CHAT_ERROR */
	uint32_t expected; /* of it */
	int progress;      /* in house.progress */
	struct house_chat *progress_next;
	/* The app's. */
	uint64_t seen;  /* last sequence it was given */
	uint64_t twice; /* given to it again */
	uint64_t wrong; /* not what the peer said */
};

struct house {
	struct event_base *base;
	const char *program; /* path of hermesd */
	const char *passphrase;
	const char *log; /* keyd's stderr; NULL: ours */
	struct config config;
	char *const *environment; /* of keyd; NULL: none */
	pid_t pid;                /* 0: not running */
	int status;               /* of waitpid, when it ended */
	struct ipc *parent, *router, *mesh, *control;
	struct ipc_identity identity;
	struct house *peer; /* the other node; may be self */
	int cut;            /* drop what goes to the peer */
	int hold;           /* take up no offer */
	int records_end;
	int ready; /* READY came */
	int shut;  /* SHUT came */
	/* The one app of this house, Ed25519. */
	uint8_t app_key[KEY_SIZE];
	uint8_t app_secret[64];
	struct house_chat *chats; /* [HOUSE_CHATS] */
	size_t chat_count;
	struct table chat_table;
	struct house_chat *progress; /* to be told to keyd */
	uint64_t records;            /* CHAT_RECORDs since start */
	uint64_t opened;             /* messages */
	uint64_t sealed;
	uint64_t bytes_sealed;
	uint64_t readies;         /* CHAT_READYs */
	uint64_t ended;           /* CHAT_ENDEDs */
	struct ipc_result result; /* last one */
	char result_text[256];
	uint64_t rows; /* ROW_RATCHETs */
	/* The last of each, and how many there were. */
	struct ipc_ticket ticket;
	struct ipc_redeemed redeemed;
	struct ipc_statement_signed statement;
	struct ipc_setup setup; /* SETUP_OUT */
	struct ipc_setup_refused refused;
	uint64_t setups, refusals, offers;
	uint64_t signed_digests;      /* of both doors */
	struct metric_value *metrics; /* last METRICS; owned */
	uint64_t metrics_id;
	struct watch *watch; /* sees SEALED; may be NULL */
};

/*
 * Set up a house: config at defaults with cheap Argon2id, keyd's folder at
 * path. Nothing runs yet. app_seed makes the app's identity.
 */
void house_init(struct house *house, struct event_base *base,
    const char *program, const char *node_id, const char *path,
    const char *passphrase, const char *app_seed);

/* The two ends of every tieline from now on. */
void house_link(struct house *a, struct house *b);

/* A presence of the house's app at the house's node, signed. */
void house_attest(const struct house *house, struct attestation *out);

/* Start (or go on with) a chat with the peer's app; ready is awaited by
 * the caller. flags as CHAT_*. The entry, also if it was there. */
struct house_chat *house_chat_start(
    struct house *house, const char *chat_id, uint32_t version, uint32_t flags);
struct house_chat *house_chat_find(
    struct house *house, const struct chat_key *key);
/* The other end of a chat, in the linked house; NULL when it is not there. */
struct house_chat *house_chat_other(
    struct house *house, const struct house_chat *chat);
/* Ask keyd to end the chat. */
void house_chat_end(
    struct house *house, struct house_chat *chat, enum hermes_status status);

/* Seal the next message (or, retry, an accepted one again). */
void house_send(struct house *house, struct house_chat *chat,
    const void *payload, size_t length);
void house_retry(struct house *house, struct house_chat *chat,
    uint64_t sequence, const void *payload, size_t length);

/* Tell keyd what was delivered since the last time, as the router does, once
 * a turn of its loop. */
void house_progress(struct house *house);

/* What the app of house says as number sequence of chat. */
void house_payload(const struct house *house, const struct house_chat *chat,
    uint64_t sequence, uint8_t out[HOUSE_PAYLOAD]);
/* --- house_run.c --------------------------------------------------------- */

/* Run keyd and wait until it is unlocked and has sent all its records. 0, or
 * -1 when it ended instead (status says how). */
int house_start(struct house *house);
/* The control process dies, and another one comes. */
void house_new_control(struct house *house);
/* SIGKILL; what had left keyd before is still taken in. */
void house_kill(struct house *house);
int house_stop(struct house *house); /* SHUTDOWN; exit status */
/* The same with another grace (ns). */
int house_stop_within(struct house *house, int64_t grace);

/* Run the event loop until *flag (of 32 or 64 bits) is at least value, or keyd
 * ended, or 30 s passed. 0, or -1. */
#define house_wait(house, flag, value)                                         \
	house_wait_for(house, flag, sizeof(*(flag)), value)
int house_wait_for(
    struct house *house, const void *flag, size_t size, uint64_t value);
/* Start a chat, or go on with it, and wait until both ends are ready in one
 * epoch. NULL when they do not become so. */
struct house_chat *house_chat_ready(
    struct house *house, const char *chat_id, uint32_t version, uint32_t flags);
/* Say all up to number last, burst at a time, until the other end has them.
 * 0, or -1 when a keyd ended or it took too long. */
int house_talk(struct house *house, struct house_chat *chat, uint64_t last,
    unsigned burst);
/* Wait until keyd has worked off what router and mesh told it, and what it
 * answered is here. 0 or -1. */
int house_settle(struct house *house);
/* Send to control's door and wait until *answered is id. 0, or -1. */
int house_ask(struct house *house, enum ipc_type type, const void *payload,
    const uint64_t *answered, uint64_t id);
/* The operator's erase --now, a mesh of its own, metrics. 0, or -1. */
int house_erase(struct house *house);
int house_mesh_create(struct house *house);
int house_metrics(struct house *house);

/* Give the STORE_PASSPHRASE or OTHER_PASSPHRASE of the next request; NULL:
 * none is given. 0 when keyd has it, or -1. */
int house_give(struct house *house, enum ipc_type type, const char *passphrase);
/*
 * BACKUP or RESTORE of the file fd (given away), or PASSPHRASE_CHANGE (-1),
 * with these passphrases given before; NULL: not given. 0 when it was done;
 * -1 when not: result_text says why.
 */
int house_prove(struct house *house, const char *store, const char *other,
    enum ipc_type type, int fd);

void house_free(struct house *house);

/* The door's handlers; house.c. */
extern ipc_handler house_handlers[IPC_TYPE_COUNT];

#endif
