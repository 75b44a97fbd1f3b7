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

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"

struct event_base;

#define HOUSE_CHATS	131072	/* most chats of a house */

/* One side of a chat, as the router of the house sees it. */
struct house_chat {
	struct chat_key		 key;
	char			 chat_id[CHAT_ID_SIZE + 7];
	uint32_t		 version;	/* 0: not ready */
	uint32_t		 ready;		/* CHAT_READY seen since start */
	uint64_t		 accepted;	/* sequences given to SEAL */
	uint64_t		 acked;
	uint64_t		 delivered;	/* in order, once */
	uint64_t		 repeats;	/* opened again after a retry */
	uint64_t		 out_of_order;
	uint32_t		 ended;		/* enum hermes_status */
	uint32_t		 code;		/* last CHAT_ERROR */
};

struct house {
	struct event_base	*base;
	const char		*program;	/* path of hermesd */
	const char		*passphrase;
	struct config		 config;
	char *const		*environment;	/* of keyd; NULL: ours */
	pid_t			 pid;		/* 0: not running */
	int			 status;	/* of waitpid, when it ended */
	struct ipc		*parent, *router, *mesh, *control;
	struct ipc_identity	 identity;
	struct house		*peer;		/* the other node; may be self */
	int			 cut;		/* drop what goes to the peer */
	int			 records_end;
	int			 ready;		/* READY came */
	int			 shut;		/* SHUT came */
	/* The one app of this house, Ed25519. */
	uint8_t			 app_key[KEY_SIZE];
	uint8_t			 app_secret[64];
	struct house_chat	*chats;		/* [HOUSE_CHATS] */
	size_t			 chat_count;
	uint64_t		 records;	/* CHAT_RECORDs since start */
	uint64_t		 opened;	/* messages */
	uint64_t		 sealed;
	uint64_t		 bytes_sealed;
	struct ipc_result	 result;	/* last one */
	uint64_t		 rows;		/* ROW_RATCHETs */
	/* Called for each SEALED of this keyd; may be NULL. */
	void			(*watch_sealed)(struct house *,
				    const struct ipc_sealed *);
};

/*
 * Set up a house: config at defaults with cheap Argon2id, keyd's folder at
 * path. Nothing runs yet. app_seed makes the app's identity.
 */
void	house_init(struct house *house, struct event_base *base,
	    const char *program, const char *node_id, const char *path,
	    const char *passphrase, const char *app_seed);

/* Run keyd and wait until it is unlocked and has sent all its records. 0, or
 * -1 when it ended instead (status says how). */
int	house_start(struct house *house);

/* The two ends of every tieline from now on. */
void	house_link(struct house *a, struct house *b);

void	house_kill(struct house *house);	/* SIGKILL, reap, doors gone */
int	house_stop(struct house *house);	/* SHUTDOWN; exit status */

/* Run the event loop until *flag is at least value, or keyd ended, or 30 s
 * passed. 0, or -1. */
int	house_wait(struct house *house, const uint64_t *flag, uint64_t value);
int	house_wait32(struct house *house, const uint32_t *flag,
	    uint32_t value);

/* A presence of the house's app at the house's node, signed. */
void	house_attest(const struct house *house, struct attestation *out);

/* Start (or go on with) a chat with the peer's app; ready is awaited by
 * the caller. flags as CHAT_*. The entry, also if it was there. */
struct house_chat *house_chat_start(struct house *house, const char *chat_id,
	    uint32_t version, uint32_t flags);
struct house_chat *house_chat_find(struct house *house,
	    const struct chat_key *key);

/* Seal the next message (or, retry, an accepted one again). */
void	house_send(struct house *house, struct house_chat *chat,
	    const void *payload, size_t length);
void	house_retry(struct house *house, struct house_chat *chat,
	    uint64_t sequence, const void *payload, size_t length);

void	house_free(struct house *house);

#endif
