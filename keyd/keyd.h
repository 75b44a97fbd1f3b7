/* keyd only. What the files of the process itself share. */
#ifndef KEYD_KEYD_H
#define KEYD_KEYD_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "keyd/identity.h"
#include "keyd/store.h"
#include "keyd/tls.h"

struct chats;
struct event;

#define ERASE_ASKED 8

/* To operators who ask for what needs the store. */
#define KEYD_LOCKED "the store is locked: hermesctl unlock"

/* An operator's request, answered by a rotation begun after it. */
struct keyd_asked {
	uint64_t id;       /* of the request */
	uint64_t rotation; /* 0: nobody */
};

/* At the store's passphrase, by whomever. */
struct keyd_guesses {
	unsigned int wrong; /* since the last right one */
	int64_t until;      /* monotonic; none is tried before */
};

/* The one state of the process. */
struct keyd {
	struct store *store;
	struct identity identity;
	struct chats *chats; /* NULL: locked */
	uint8_t *own_key;    /* the operator's; NULL: none */
	uint8_t app_spki[KEY_SIZE];
	uint8_t mesh_spki[KEY_SIZE];
	char app_pem[TLS_PEM_MAX]; /* "" with own_key */
	char mesh_pem[TLS_PEM_MAX];
	char folder[CONFIG_PATH_SIZE];        /* the store, to operators */
	struct event *tick;                   /* once a second */
	struct event *erase;                  /* next step of a rotation */
	struct event *turn;                   /* others had theirs */
	struct event *rekey;                  /* the next of all chats */
	int64_t erase_at;                     /* monotonic; 0: nothing erased */
	uint64_t rotations;                   /* begun */
	struct keyd_asked asked[ERASE_ASKED]; /* who waits for one */
	struct keyd_guesses guesses;
	int64_t failing_since; /* monotonic; 0: commits work */
	int timed;             /* chats know the time of this batch */
	int64_t turn_at;       /* monotonic; 0: nothing costly in this batch */
	unsigned waiting;      /* doors (enum process) not read this turn */
	unsigned ticks;
	unsigned set_ups;     /* of chats, since the last commit */
	int no_new_chats;     /* as control said */
	int certificates_due; /* they could not be made, or kept */
	int had_mesh;         /* a mesh process came before */
};

extern struct keyd keyd;

/* --- handlers.c --------------------------------------------------------- */

extern const ipc_handler keyd_handlers[IPC_TYPE_COUNT];

/* The end of a request of an operator, with a line of text. */
void keyd_answer(
    struct ipc *ipc, uint64_t id, int ok, uint64_t count, const char *text);

/* --- keyd.c ------------------------------------------------------------- */

/* Write what changed, then let the doors send. */
void keyd_commit(void);

/* For operators who watch: this node did that. */
void keyd_event(enum event_kind kind);

/* Stop reading from those whose messages cannot be worked through now, go on
 * with the others. After a message that said much: at the end of a batch it
 * is done anyway. */
void keyd_pause(void);

/* A message of peer took as long as a signature, or a write to disk. When
 * many did, the rest of what is at that door waits for the other doors. */
void keyd_costly(enum process peer);

/* chats_rekey() was asked for all: do it while others are served. */
void keyd_rekey(void);

/* Something that should not stay on disk was erased. */
void keyd_erased(void);
/* Destroy the store key now, with all it opened. 0 or -1. */
int keyd_erase_now(void);
/* The same while others are served; control is answered in the end. */
void keyd_erase_asked(uint64_t id);

/* --- unlock.c: passphrase, certificates, who this node is --------------- */

/* Read a passphrase from fd (closed here) and open the store with it. NULL,
 * or why not; *why is STORE_OK when the store was not to blame. */
const char *unlock_with(int fd, enum store_error *why);

/* Read a passphrase from fd (closed here) to out, SECRET_MAX bytes, without
 * its line end. Its length, or 0: empty, too long or unreadable. */
size_t unlock_read(int fd, char *out);

/*
 * Read a passphrase from fd (closed here): is it the one of the open store?
 * NULL, or why not. After some wrong ones, here or at unlock_with(), none is
 * tried for a while: 1 s, doubling to 64 s.
 */
const char *unlock_prove(int fd);

/* The store was replaced by a backup: be who it says. Router and mesh begin
 * anew. Ends the process when that fails. */
void unlock_again(void);

/* Make the certificates that are due. 0; or -1, and those that there were
 * stay until keyd's tick makes them. */
int unlock_certificates(void);

/* Tell a neighbour, or all that are there, who this node is. */
void unlock_tell(enum process peer);
void unlock_tell_all(void);
/* What router or mesh gets besides, once a door: chats; peers. */
void unlock_tell_more(enum process peer);

/* The operator's TLS key, from its file (closed here). */
void unlock_own_key(int fd);

/* --- proved.c: what only who has the store's passphrase may ask ---------- */

/* Who gave passphrases is gone: those that no request used are closed. */
void proved_forget(void);

void proved_store_passphrase(void *arg, const struct ipc_message *message);
void proved_other_passphrase(void *arg, const struct ipc_message *message);
void proved_backup(void *arg, const struct ipc_message *message);
void proved_restore(void *arg, const struct ipc_message *message);
void proved_passphrase_change(void *arg, const struct ipc_message *message);

#endif
