/* A whole app: sends one line to a peer and prints the first answer. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/hermes.h"

static const char *peer, *line;
static void
on_connected(struct hermes *app, const char *session, void *base)
{
	(void)session;
	(void)base;
	if (hermes_chat_start(app, "example", peer, NULL) == NULL)
		exit(1);
}

static void
on_ready(struct hermes_chat *chat, int resumed, void *base)
{
	(void)base;
	if (!resumed && hermes_send(chat, line, strlen(line), NULL) == -1)
		exit(1);
}

static void
on_message(struct hermes_chat *chat, uint64_t sequence, const void *payload,
    size_t length, void *base)
{
	printf("%s %llu %.*s\n", hermes_chat_peer(chat),
	    (unsigned long long)sequence, (int)length, (const char *)payload);
	event_base_loopbreak(base);
}

int
main(int argc, char *argv[])
{
	struct hermes_callbacks callbacks = { .connected = on_connected,
		.ready = on_ready,
		.message = on_message };
	struct hermes_options options;
	struct event_base *base = event_base_new();
	struct hermes *app;
	uint8_t seed[HERMES_KEY_SIZE];
	char error[256];

	if (argc != 5 || base == NULL || hermes_key_load(argv[2], seed) == -1)
		return (1);
	peer = argv[3];
	line = argv[4];
	hermes_options_default(&options);
	options.node = argv[1];
	options.seed = seed;
	app =
	    hermes_new(base, &options, &callbacks, base, error, sizeof(error));
	if (app == NULL || event_base_dispatch(base) == -1)
		return (1);
	hermes_free(app);
	event_base_loop(base, EVLOOP_NONBLOCK); /* the connection closes */
	event_base_free(base);
	return (0);
}
