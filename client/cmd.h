/*
 * hermes(1): what its subcommands share. One process, one app identity, one
 * job; no privileges. Lines from peers are hostile text and are printed with
 * everything but printable characters escaped.
 */
#ifndef CLIENT_CMD_H
#define CLIENT_CMD_H

#include <stddef.h>
#include <stdint.h>

#include "client/hermes.h"

struct event;
struct event_base;

/* Exit codes, documented in hermes(1). */
enum app_exit {
	EXIT_DONE = 0,
	EXIT_LOCAL = 1, /* usage, key file, memory */
	EXIT_NODE = 2,  /* no connection, or it was lost */
	EXIT_ERROR = 3, /* the node answered with an error word */
	EXIT_GONE = 4,  /* the chat ended too early */
	EXIT_TIMEOUT = 5,
	EXIT_VERIFY = 6 /* a message lost, doubled or altered */
};

/* One chat as this command counts it. */
struct app_chat {
	struct app_chat *next;
	struct hermes_chat *chat; /* NULL once it is gone */
	uint64_t first;           /* sequence received first */
	uint64_t sent;
	uint64_t acked;
	uint64_t received;
	uint64_t altered; /* not what was generated */
	int own;          /* asked for by this command */
	int ready_before;
	int done;
};

struct app;

/* What a subcommand adds to the common handling. Any may be NULL. */
struct app_hooks {
	void (*ready)(struct app *, struct app_chat *);
	void (*message)(struct app *, struct app_chat *, uint64_t sequence,
	    const char *payload, size_t length);
	void (*acked)(
	    struct app *, struct app_chat *, uint64_t sequence, int64_t rtt);
	void (*writable)(struct app *, struct app_chat *);
	/* The chat ended; 1 when that is an end the command expected. */
	int (*gone)(struct app *, struct app_chat *);
	void (*connected)(struct app *);
	void (*found)(struct app *, const char *app_id, const char *node_id,
	    const char *status);
	void (*finishing)(struct app *); /* before DONE is printed */
};

struct app {
	/* options */
	const char *node;
	const char *key_path;
	const char *seed_text;
	const char *chat_id;
	const char *reason;
	const char *hint;
	const char *ca_path;
	const char *state_folder;
	uint8_t pin[HERMES_KEY_SIZE];
	int has_pin;
	int rekey;
	uint64_t rekey_every;
	int expect_restart;
	int follow;
	int64_t timeout;  /* ns; 0: none */
	int64_t interval; /* ns between messages */
	int markers;
	int delete_at_end;
	int stay;
	int quiet;
	int check;
	int echo;
	int end_to_end;
	uint64_t window;
	uint64_t count;   /* 0: no end */
	uint64_t answers; /* that send waits for */
	uint64_t size;
	uint64_t chats;
	/* the run */
	struct event_base *base;
	struct hermes *hermes;
	const struct app_hooks *hooks;
	struct app_chat *first;
	struct event *deadline;
	struct event *signals[2];
	char *ca_pem;
	uint8_t seed[HERMES_KEY_SIZE];
	char own_id[HERMES_APP_ID_SIZE];
	int status; /* enum app_exit */
	int connected;
	int finishing;
	int over;
	uint64_t sent;
	uint64_t acked;
	uint64_t received;
	uint64_t duplicates;
	uint64_t gaps;
	uint64_t resent;
};

/* --- hermes_app.c -------------------------------------------------------- */

#define APP_NODE "127.0.0.1:7443" /* where a node listens by default */

/* -k FILE, or ~/.hermes.key; NULL when there is no home. */
const char *app_key_path(const struct app *app);

/* Load the identity named by the options. 0, or -1 and said why. */
int app_identity(struct app *app);

/* The same, but a ~/.hermes.key that is not there is made. */
int app_identity_made(struct app *app);

/*
 * Connect and run until app_finish(); accept_auto: take every chat. The
 * exit code.
 */
int app_run(struct app *app, const struct app_hooks *hooks, int accept_auto);

/*
 * The job is done, with that exit code; --delete ends the chats first. Only
 * the first call counts.
 */
void app_finish(struct app *app, int status);

/* hermes_send() with the SENT marker and --rekey; 0, or -1 with errno. */
int app_send(
    struct app *app, struct app_chat *chat, const void *payload, size_t length);

/* Start (or go on with) the chat --chat with peer. NULL and finished with an
 * error when peer is no app id. */
struct app_chat *app_start_chat(
    struct app *app, const char *chat_id, const char *peer);

/* --- hermes_print.c ------------------------------------------------------ */

/* A line on stdout when --markers is on, flushed at once. */
void print_marker(const struct app *app, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A line on stderr, unless --quiet. */
void print_status(const struct app *app, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A line on stderr. */
void print_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Hostile text made harmless for a line, cut when it is long. Returns out. */
#define PRINT_TEXT_SIZE 256
const char *print_text(char out[PRINT_TEXT_SIZE], const char *text);
/* A peer's line on stdout, made harmless; with its short id or NULL. */
void print_line(const char *peer, const char *text, size_t length);

/* --- hermes_input.c ------------------------------------------------------ */

/*
 * Read lines from stdin. line: one without its newline; it returns -1 to be
 * given the line again after input_resume(). end: no more lines.
 */
struct input;
struct input_callbacks {
	int (*line)(const char *line, size_t length, void *arg);
	void (*end)(void *arg);
};

struct input *input_new(struct event_base *base,
    const struct input_callbacks *callbacks, void *arg);
void input_resume(struct input *input);
void input_free(struct input *input);

/* --- hermes_generate.c --------------------------------------------------- */

/* The test message of that sequence: out[length]. */
void generate_message(uint64_t sequence, char *out, size_t length);
/* 1 when bytes[length] is the test message of that sequence. */
int generate_matches(uint64_t sequence, const char *bytes, size_t length);

/* --- subcommands: the exit code; argv after the name --------------------- */

int cmd_keygen(struct app *app, int argc, char **argv);
int cmd_id(struct app *app, int argc, char **argv);
int cmd_chat(struct app *app, int argc, char **argv);
int cmd_send(struct app *app, int argc, char **argv);
int cmd_recv(struct app *app, int argc, char **argv);
int cmd_ping(struct app *app, int argc, char **argv);
int cmd_find(struct app *app, int argc, char **argv);
int cmd_delete(struct app *app, int argc, char **argv);
int cmd_bench(struct app *app, int argc, char **argv);

#endif
