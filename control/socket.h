/*
 * control: hermesctl's socket. A client writes one JSON object a line and
 * reads JSON lines: {"row": ...} any number of times, then one object with
 * "ok". The socket's mode says who may connect; root and the daemon's own
 * user may then do everything, others may only look.
 */
#ifndef CONTROL_SOCKET_H
#define CONTROL_SOCKET_H

#include <jansson.h>

#define SOCKET_CLIENTS 32
#define SOCKET_LINE    8192 /* bytes of a request, a ticket fits */
#define SOCKET_IDLE    60   /* seconds without a request, or stuck */

struct client;
struct command;

/* Serve clients of a bound unix socket, owned from here. 0 or -1. */
int socket_listen(int fd);
void socket_listeners_close(void); /* clients stay */
void socket_close_all(void);       /* clients too, at once */

/* For commands: one line of an answer; the reference to value is taken. */
void client_line(struct client *client, json_t *value);
/* A command that goes on until its client closes: the client is read only to
 * see that. And how many bytes wait for it. */
void client_stream(struct client *client);
size_t client_queued(const struct client *client);
void client_begin(struct client *client, struct command *command);
/* The command is done, its last line written: take the next one. */
void client_done(struct client *client);

#endif
