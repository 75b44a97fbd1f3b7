/*
 * control: the commands of hermesctl, which a client sends as JSON objects;
 * the key "command" names one. hermesctl(8) describes each and its answer.
 */
#ifndef CONTROL_COMMAND_H
#define CONTROL_COMMAND_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "control/ask.h"
#include "control/socket.h"

struct command;

/* Descriptors that may come with a request. */
#define COMMAND_FDS       3

/* What the daemon says in "error" when "ok" is false. */
#define ERROR_USAGE       "usage"       /* not a valid request */
#define ERROR_DENIED      "denied"      /* this user may only look */
#define ERROR_TIMEOUT     "timeout"     /* a process did not answer */
#define ERROR_UNAVAILABLE "unavailable" /* a process is down */
#define ERROR_FAILED      "failed"      /* refused; message says why */
#define ERROR_AMBIGUOUS   "ambiguous"   /* several match */
#define ERROR_NOT_FOUND   "not_found"   /* none matches */

/* What keyd says, too. */
#define COMMAND_LOCKED    "the store is locked: hermesctl unlock"

/*
 * Carry out one line. fds, owned from here, came with it or are -1. A command
 * that runs is announced with client_begin() and ends, now or later, with
 * client_done().
 */
void command_start(struct client *client, const char *line, size_t length,
    const int fds[COMMAND_FDS], int may_change);

/* The client went away: answer nobody. */
void command_cancel(struct command *command);

/* --- for the files that implement commands ------------------------------- */

struct command {
	TAILQ_ENTRY(command) entry; /* of watchers */
	uint64_t lost;              /* events it missed */
	int watches;
	struct client *client;
	json_t *request;
	struct ask *ask;      /* the open question, or NULL */
	int fds[COMMAND_FDS]; /* came with the request, or -1 */
	enum show_what what;
	int full; /* ids whole */
	int cut;  /* rows were missing that it began with */
};

typedef void (*command_run)(struct command *command);

/*
 * Begin a question. command->ask is it, or NULL after the command was failed
 * and freed. done's arg is the command; it calls command_answered() first.
 */
struct ask *command_ask(
    struct command *command, int64_t timeout, ask_done done);
void command_answered(struct command *command);

/* The end of a command, which is freed. result is an object, its reference
 * is taken; "ok" and, if any, "missing" are added. NULL: there was no memory
 * for it, and the client, which would miss it, is closed. */
void command_ok(
    struct command *command, json_t *result, const struct ask_answer *answer);
void command_fail(struct command *command, const char *error,
    const char *format, ...) __attribute__((format(printf, 3, 4)));
/* As command_fail() with the missing processes named. */
void command_fail_missing(
    struct command *command, const struct ask_answer *answer);
/* 1 after the command was failed, as a process did not answer or one refused;
 * else 0. */
int command_refused(struct command *command, const struct ask_answer *answer);
/* Make a descriptor one that cannot make keyd wait for somebody, and that may
 * be read (write 0) or written. 0 or -1. */
int command_check_fd(int fd, int write, int pipe_too);

/* ask_done for commands that end with one RESULT. */
void command_result(void *arg, const struct ask_answer *answer);

/* A member of the request. An integer that is none reads as -1. */
const char *command_string(
    const struct command *command, const char *key); /* NULL: absent */
json_int_t command_integer(
    const struct command *command, const char *key, json_int_t otherwise);
int command_boolean(const struct command *command, const char *key);

/* command_show.c */
void command_show(struct command *command);
void command_status(struct command *command);
void command_metrics(struct command *command);
/* command_change.c */
void command_mesh_create(struct command *command);
void command_mesh_revoke(struct command *command);
void command_ticket(struct command *command);
void command_ticket_revoke(struct command *command);
void command_join(struct command *command);
void command_rekey_tls(struct command *command);
void command_erase(struct command *command);
void command_unlock(struct command *command);
void command_stop(struct command *command);
void command_reload(struct command *command);
void command_log(struct command *command);
/* command_backup.c */
void command_backup(struct command *command);
void command_restore(struct command *command);
void command_passphrase(struct command *command);
/* command_rekey.c */
void command_rekey(struct command *command);

#endif
