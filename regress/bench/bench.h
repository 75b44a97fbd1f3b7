/*
 * Tests only. What the programs of `make bench` that are apps share: the
 * time, and that whatever goes wrong ends the run.
 */
#ifndef REGRESS_BENCH_H
#define REGRESS_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client/hermes.h"

/* Seconds, monotonic. */
static inline double
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

static inline void __attribute__((noreturn))
die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", getprogname(), what, why);
	_exit(1);
}

/* Callbacks of struct hermes_callbacks. */
static inline void
on_error(struct hermes *app, struct hermes_chat *chat,
    const struct hermes_error *error, void *arg)
{
	(void)app;
	(void)chat;
	(void)arg;
	die(error->code, error->message);
}

static inline void
on_gone(struct hermes_chat *chat, const char *status, void *arg)
{
	(void)arg;
	die(hermes_chat_id(chat), status);
}

static inline void
on_disconnected(struct hermes *app, const char *why, int again, void *arg)
{
	(void)again;
	(void)arg;
	die(hermes_app_id(app), why);
}

#endif
