/*
 * hermesctl(8): what its files share. The program runs as the user who calls
 * it and talks to the daemon's unix socket; only `init` touches files. It
 * trusts the daemon at the other end, and shows no byte of it raw on a
 * terminal.
 */
#ifndef CONTROL_CTL_H
#define CONTROL_CTL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define CTL_SOCKET  HERMES_RUNDIR "/hermes/hermesd.sock"
#define CTL_TIMEOUT 60 /* seconds; longer than any of the daemon's */

/* Exit codes, as hermesctl(8) lists them. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3,
	CTL_TIMED_OUT = 4,
	CTL_DENIED = 5
};

struct ctl {
	const char *socket;
	int json;    /* print JSON */
	int full;    /* ids whole */
	int timeout; /* seconds; 0: for ever */
	int fd;      /* connected, or -1 */
	int more[2]; /* go along with the next descriptor, or -1 */
	const struct ctl_word *word; /* that is carried out, or NULL */
};

/* --- words (ctl_words.c) ------------------------------------------------- */

/* A keyword that may be shortened. Tables end with a NULL word. */
struct ctl_word {
	const char *word;
	const char *arguments; /* for usage; "" none */
	/* Arguments begin after the word. Returns enum ctl_exit. */
	int (*run)(struct ctl *ctl, int argc, char *argv[]);
	const struct ctl_word *next; /* second words, or NULL */
};

/* The word that arg is or uniquely begins; NULL when it is none or
 * several: *matches says how many. */
const struct ctl_word *ctl_word_find(
    const struct ctl_word *words, const char *arg, size_t *matches);

/* Complain about arg and list what it may be. Returns CTL_USAGE. */
int ctl_word_error(const struct ctl_word *words, const char *arg, FILE *out);

/* --- arguments (ctl_args.c) ---------------------------------------------- */

struct ctl_option {
	const char *name;   /* "--ttl"; "-n"; NULL ends */
	const char **value; /* takes one, or NULL */
	int *flag;          /* set to 1, or NULL */
};

/*
 * Take the options out of argv (-j and --full besides those given), leaving
 * the other arguments at its start. Their number, at least least and at
 * most most; -1 after a complaint.
 */
int ctl_options(struct ctl *ctl, const struct ctl_option *options, int argc,
    char *argv[], int least, int most);

/* "90", "90s", "15m", "1h", "7d" as seconds; -1 for anything else or 0. */
int64_t ctl_duration(const char *text);

/* "a:1", "[::1]:1" as address and port; both hold size bytes. 0 or -1. */
int ctl_address(const char *text, char *address, size_t size, int *port);

/* --- the daemon (ctl_client.c) ------------------------------------------- */

/* Called for every {"row": ...} line; row is borrowed. */
typedef void (*ctl_row)(void *arg, json_t *row);

/*
 * Send a request (its reference is taken) and, unless -1, a descriptor; give
 * rows and "matches" to row; return the last object in *last, or NULL after
 * a complaint. Returns enum ctl_exit: CTL_OK only if the daemon said ok; if
 * not, the daemon's complaint was shown.
 */
int ctl_request(struct ctl *ctl, json_t *request, int fd, ctl_row row,
    void *arg, json_t **last);

/* Wait until the daemon is gone: no process of it has the socket any more, and
 * the parent, which has it last, no other address either. Returns enum
 * ctl_exit. */
int ctl_wait_closed(struct ctl *ctl);

void ctl_disconnect(struct ctl *ctl);

/* "hermesctl: " and a line on standard error. */
void ctl_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* From now on keep the last complaint in text[size] instead, borrowed; with
 * NULL show them again. What the daemon refused is then not printed either. */
void ctl_warn_keep(char *text, size_t size);

/* --- passphrases (ctl_passphrase.c) -------------------------------------- */

/*
 * Read a passphrase from the terminal, where repeat asks for it twice, or the
 * next line of standard input, into a pipe that nobody but keyd reads. The
 * end to be read; -1 after a complaint, with *status to exit with.
 */
int ctl_passphrase(const char *prompt, int repeat, int *status);

/* The same, or, unless path is NULL, that file: opened, not read, and only
 * if none but its owner, who is the caller or root, can. */
int ctl_passphrase_from(const char *path, const char *prompt, int *status);

/* --- output (ctl_table.c) ------------------------------------------------ */

enum ctl_kind {
	CTL_TEXT,
	CTL_ID, /* as text; cut without a mark, to be copied */
	CTL_NUMBER,
	CTL_YES_NO,
	CTL_TIME,   /* RFC 3339, shown to the minute */
	CTL_SECONDS /* as ms, s, ... */
};

struct ctl_column {
	const char *head; /* NULL ends */
	const char *key;
	enum ctl_kind kind;
	size_t width; /* longest shown; 0: any */
};

/* Print an array of objects as aligned columns; whole lifts the widths. */
void ctl_table(
    FILE *out, const struct ctl_column *columns, const json_t *rows, int whole);

/* One value as the table shows it, in text[size]; an array of texts as these,
 * with commas. */
void ctl_cell(char *text, size_t size, const json_t *value, enum ctl_kind kind);

/* Chat ids are anybody's text: make of text nothing but printable ASCII. */
void ctl_clean(char *text);

/* An object on standard output, indented. The reference is not taken. */
void ctl_print_json(const json_t *value);

/* --- commands ------------------------------------------------------------ */

/* Send a request with a descriptor or -1, print the member key of the answer
 * (NULL: none, its message if it has one). Returns enum ctl_exit. */
int ctl_do(struct ctl *ctl, json_t *request, int fd, const char *key);

extern const struct ctl_word ctl_commands[];   /* ctl_commands.c */
extern const struct ctl_word ctl_show_words[]; /* ctl_show.c */
int ctl_show(struct ctl *ctl, int argc, char *argv[]);
int ctl_show_tickets(struct ctl *ctl, int argc, char *argv[]);
int ctl_status(struct ctl *ctl, int argc, char *argv[]);
int ctl_mesh_create(struct ctl *ctl, int argc, char *argv[]);
int ctl_mesh_revoke(struct ctl *ctl, int argc, char *argv[]);
int ctl_ticket(struct ctl *ctl, int argc, char *argv[]);
int ctl_ticket_revoke(struct ctl *ctl, int argc, char *argv[]);
int ctl_join(struct ctl *ctl, int argc, char *argv[]);
int ctl_rekey_tls(struct ctl *ctl);
int ctl_erase(struct ctl *ctl, int argc, char *argv[]);
int ctl_unlock(struct ctl *ctl, int argc, char *argv[]);
int ctl_stop(struct ctl *ctl, int argc, char *argv[]);
int ctl_monitor(struct ctl *ctl, int argc, char *argv[]); /* ctl_monitor.c */
int ctl_top(struct ctl *ctl, int argc, char *argv[]);     /* ctl_top.c */
int ctl_reload(struct ctl *ctl, int argc, char *argv[]);
int ctl_log_brief(struct ctl *ctl, int argc, char *argv[]);
int ctl_log_verbose(struct ctl *ctl, int argc, char *argv[]);
int ctl_complete(struct ctl *ctl, int argc, char *argv[]); /* ctl_complete.c */
int ctl_backup(struct ctl *ctl, int argc, char *argv[]);   /* ctl_backup.c */
int ctl_restore(struct ctl *ctl, int argc, char *argv[]);
int ctl_passphrase_change(struct ctl *ctl, int argc, char *argv[]);
int ctl_rekey(struct ctl *ctl, int argc, char *argv[]); /* ctl_rekey.c */
int ctl_init(struct ctl *ctl, int argc, char *argv[]);  /* ctl_init.c */

#endif
