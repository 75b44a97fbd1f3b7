/* libhermes. Make, ask and free; what an app calls and no network does. */
#include <errno.h>
#include <event2/dns.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_internal.h"
#include "common/util/hex.h"

void
hermes_options_default(struct hermes_options *options)
{
	memset(options, 0, sizeof(*options));
	options->reconnect = 1;
	options->start_timeout = 30 * CLOCK_SECOND;
	options->heartbeat = 15 * CLOCK_SECOND;
	options->backoff_min = 100 * CLOCK_MS;
	options->backoff_max = 5 * CLOCK_SECOND;
}

/* One more pair; there is room. 0 or -1. */
static int
metadata_add(struct hermes_options *to, const char *key, const char *value)
{
	struct hermes_pair *pair =
	    (struct hermes_pair *)(uintptr_t)to->metadata;

	pair += to->metadata_count++;
	pair->key = strdup(key);
	pair->value = strdup(value);
	return (pair->key == NULL || pair->value == NULL ? -1 : 0);
}

/* Copy the pairs but for what libhermes says itself, and add that. */
static int
metadata_copy(struct hermes_options *to, const struct hermes_options *from)
{
	const struct hermes_pair *pair;
	size_t i;

	to->metadata_count = 0;
	to->metadata = calloc(from->metadata_count + 2, sizeof(*pair));
	if (to->metadata == NULL)
		return (-1);
	for (i = 0; i < from->metadata_count; i++) {
		pair = &from->metadata[i];
		if (strcmp(pair->key, "accept") == 0)
			to->accept_auto = strcmp(pair->value, "auto") == 0;
		else if (strcmp(pair->key, "acks") != 0 &&
			 metadata_add(to, pair->key, pair->value) == -1)
			return (-1);
	}
	if (metadata_add(to, "acks", "last") == -1)
		return (-1);
	/* With a layer of our own we accept, with a key, not the node. */
	if (to->accept_auto && !to->end_to_end)
		return (metadata_add(to, "accept", "auto"));
	return (0);
}

static void
metadata_free(struct hermes_options *options)
{
	size_t i;

	for (i = 0; i < options->metadata_count; i++) {
		free((char *)(uintptr_t)options->metadata[i].key);
		free((char *)(uintptr_t)options->metadata[i].value);
	}
	free((void *)(uintptr_t)options->metadata);
}

static int
hermes_make_tls(struct hermes *hermes, char *error, size_t size)
{
	struct rpc_tls_options options;

	memset(&options, 0, sizeof(options));
	options.verify = RPC_VERIFY_NONE;
	if (hermes->options.ca_pem != NULL) {
		options.verify = RPC_VERIFY_CA;
		options.ca_pem = hermes->options.ca_pem;
		options.ca_length = hermes->options.ca_length;
	}
	if ((hermes->tls = rpc_tls_client(&options, error, size)) == NULL) {
		errno = EINVAL;
		return (-1);
	}
	rpc_limits_default(&hermes->limits);
	/* The node's limit is learnt later; its frames are not larger. */
	hermes->limits.max_message = 64 * 1024 * 1024;
	/* The node sends as much of a chat; an app has one connection. */
	hermes->limits.stream_window = 1024 * 1024;
	hermes->limits.keep = 2 * 1024 * 1024;
	return (0);
}

static int
hermes_fill(struct hermes *hermes, const struct hermes_options *options)
{
	hermes->options = *options;
	hermes->options.ca_pem = NULL;
	hermes->options.node = NULL; /* host and port have it */
	hermes->options.seed = NULL;
	hermes->options.node_key = NULL;
	hermes->options.state_folder = NULL;
	if (options->state_folder != NULL &&
	    (hermes->options.state_folder = strdup(options->state_folder)) ==
		NULL)
		return (-1);
	if (metadata_copy(&hermes->options, options) == -1)
		return (-1);
	hermes->options.ca_pem = options->ca_pem;
	if (options->node_key != NULL) {
		memcpy(hermes->node_key, options->node_key, KEY_SIZE);
		hermes->node_known = 1;
	}
	if ((hermes->secret = sodium_malloc(crypto_sign_SECRETKEYBYTES)) ==
	    NULL)
		return (-1);
	(void)crypto_sign_seed_keypair(
	    hermes->public_key, hermes->secret, options->seed);
	hex_encode(hermes->app_id, hermes->public_key, KEY_SIZE);
	hermes->backoff = options->backoff_min;
	return (0);
}

struct hermes *
hermes_new(struct event_base *base, const struct hermes_options *options,
    const struct hermes_callbacks *callbacks, void *arg, char *error,
    size_t size)
{
	struct hermes *hermes;
	int saved;

	(void)snprintf(error, size, "out of memory");
	if (sodium_init() == -1 ||
	    (hermes = calloc(1, sizeof(*hermes))) == NULL)
		return (NULL);
	table_init(&hermes->chats, sizeof(struct chat_key));
	hermes->base = base;
	hermes->callbacks = *callbacks;
	hermes->arg = arg;
	if (options->node == NULL || options->seed == NULL) {
		(void)snprintf(error, size, "node or seed is missing");
		errno = EINVAL;
		goto fail;
	}
	if (link_parse_node(options->node, hermes->host, hermes->port) == -1) {
		(void)snprintf(error, size, "%s: not host:port", options->node);
		errno = EINVAL;
		goto fail;
	}
	if (options->state_folder != NULL &&
	    secure_folder_check(options->state_folder) == -1) {
		(void)snprintf(error, size, "%s: %s", options->state_folder,
		    errno == EPERM ? "must be yours, with mode 0700"
				   : strerror(errno));
		goto fail;
	}
	if (hermes_fill(hermes, options) == -1 ||
	    hermes_make_tls(hermes, error, size) == -1)
		goto fail;
	hermes->options.ca_pem = NULL; /* not ours, and used up */
	hermes->timer = evtimer_new(base, NULL, NULL);
	hermes->beat = event_new(base, -1, EV_PERSIST, session_beat, hermes);
	if (hermes->timer == NULL || hermes->beat == NULL)
		goto fail;
	link_start(hermes);
	return (hermes);
fail:
	saved = errno;
	hermes_free(hermes);
	errno = saved;
	return (NULL);
}

void
hermes_free(struct hermes *hermes)
{
	if (hermes == NULL)
		return;
	link_abandon(hermes);
	while (hermes->first != NULL)
		chat_free(hermes->first);
	table_free(&hermes->chats);
	if (hermes->dns != NULL)
		evdns_base_free(hermes->dns, 0);
	if (hermes->timer != NULL)
		event_free(hermes->timer);
	if (hermes->beat != NULL)
		event_free(hermes->beat);
	rpc_tls_free(hermes->tls);
	metadata_free(&hermes->options);
	free((char *)(uintptr_t)hermes->options.state_folder);
	free(hermes->scratch);
	free(hermes->over);
	sodium_free(hermes->secret);
	free(hermes->arena);
	free(hermes);
}

int
hermes_set_node(
    struct hermes *hermes, const char *node, const uint8_t *node_key)
{
	char host[LIB_HOST_SIZE], port[LIB_PORT_SIZE];

	if (link_parse_node(node, host, port) == -1)
		return (-1);
	memcpy(hermes->host, host, sizeof(host));
	memcpy(hermes->port, port, sizeof(port));
	hermes->node_known = node_key != NULL;
	if (node_key != NULL)
		memcpy(hermes->node_key, node_key, KEY_SIZE);
	hermes->node_id[0] = '\0';
	hermes->final = 0;
	link_break(hermes, "moving to another node");
	return (0);
}

const char *
hermes_app_id(const struct hermes *hermes)
{
	return (hermes->app_id);
}

const char *
hermes_node_id(const struct hermes *hermes)
{
	return (hermes->node_id);
}

const uint8_t *
hermes_node_key(const struct hermes *hermes)
{
	return (hermes->node_known ? hermes->node_key : NULL);
}

size_t
hermes_max_message(const struct hermes *hermes)
{
	if (!hermes->options.end_to_end || hermes->max_message < E2E_OVERHEAD)
		return (hermes->max_message);
	return (hermes->max_message - E2E_OVERHEAD);
}
