/*
 * control: the admin HTTP server, which is libevent's evhttp with bounds
 * around it. Read-only: GET and HEAD, one request a connection, no request
 * body is ever looked at, every size and time is bounded. It knows nothing of
 * Hermes; http_pages.c answers.
 */
#ifndef CONTROL_HTTP_H
#define CONTROL_HTTP_H

#include <stddef.h>

#define HTTP_CONNECTIONS 64   /* more wait until one of these goes */
#define HTTP_REQUEST     8192 /* bytes of request line and headers; of a body */
#define HTTP_SECONDS     15   /* from accept to the last byte */

struct http;

/*
 * Serve clients of a bound TCP socket, owned from here. A connection to a
 * loopback address believes only a Host that is one too, so that no web page
 * can reach it through a name of its own that resolves to 127.0.0.1. 0 or -1.
 */
int http_listen(int fd);
void http_listeners_close(void); /* requests being answered go on */
void http_close_all(void);

/* Answer with this Content-Security-Policy, a static text; without it, none
 * of the answer may be shown by a browser as more than text. */
void http_policy(struct http *http, const char *policy);

/* Answer and close; only the first answer counts. The body is copied, or for
 * HEAD only counted. */
void http_answer(struct http *http, int status, const char *type,
    const void *body, size_t length);

/* The question of http was answered: nothing to cancel any more. */
void http_asked(struct http *http);

/* --- http_pages.c -------------------------------------------------------- */

/* Answer path with http_answer(), now or later; in the latter case the
 * question is returned, to be cancelled if the connection goes. */
struct ask *http_page(struct http *http, const char *path);

/* --- page.c -------------------------------------------------------------- */

/* Answer with the status page. */
void page_status(struct http *http);

#endif
