/*
 * Parent of hermesd. Peers of hermesd.conf(5): nodes of a fixed installation,
 * each known by name, address and identity key instead of by a ticket.
 */

#include <string.h>

#include <sodium.h>

#include "common/util/buffer.h"
#include "common/util/hex.h"
#include "control/config_parse.h"

/* Read the three values. 0, or -1 reported. */
static int
peer_read(struct config_parser *parser, const struct config_word *const *values,
    struct config_peer *peer)
{
	const char *name = values[0]->text, *address = values[1]->text;
	int line = values[0]->line;

	memset(peer, 0, sizeof(*peer));
	if (!node_id_valid(name, strlen(name))) {
		config_error(parser, line,
		    "peer: \"%s\" is no node name: 1 to %d of a-z, 0-9 and -",
		    name, NODE_ID_SIZE - 1);
		return (-1);
	}
	(void)strlcpy(peer->node_id, name, sizeof(peer->node_id));
	if (address[0] == '\0' || !config_endpoint_valid(address) ||
	    strlcpy(peer->endpoint, address, sizeof(peer->endpoint)) >=
		sizeof(peer->endpoint)) {
		config_error(parser, line,
		    "peer %s: \"%s\" is not " CONFIG_ENDPOINT_FORM, name,
		    address);
		return (-1);
	}
	if (hex_decode(peer->node_key, KEY_SIZE, values[2]->text) == -1 ||
	    crypto_core_ed25519_is_valid_point(peer->node_key) != 1) {
		config_error(parser, line,
		    "peer %s: the key is not the 64 hexadecimal digits of an "
		    "identity key",
		    name);
		return (-1);
	}
	return (0);
}

int
config_set_peer(struct config_parser *parser, const struct knob *knob,
    const struct config_word *const *values)
{
	struct config *config = &parser->file->config;
	struct config_peer peer;
	uint32_t i;

	(void)knob;
	if (values == NULL) {
		memset(config->peers, 0, sizeof(config->peers));
		config->peer_count = 0;
		return (0);
	}
	if (peer_read(parser, values, &peer) == -1)
		return (-1);
	for (i = 0; i < config->peer_count; i++)
		if (strcmp(config->peers[i].node_id, peer.node_id) == 0 ||
		    memcmp(config->peers[i].node_key, peer.node_key,
			KEY_SIZE) == 0) {
			config_error(parser, values[0]->line,
			    "peer %s: a peer of that name or key is there "
			    "already",
			    peer.node_id);
			return (-1);
		}
	if (config->peer_count == CONFIG_PEERS) {
		config_error(parser, values[0]->line, "more than %d peers",
		    CONFIG_PEERS);
		return (-1);
	}
	config->peers[config->peer_count++] = peer;
	return (0);
}

int
config_print_peer(const struct knob *knob, const struct config *config,
    size_t index, struct buffer *out)
{
	const struct config_peer *peer;
	char key[2 * KEY_SIZE + 1];

	(void)knob;
	if (index >= config->peer_count)
		return (0);
	peer = &config->peers[index];
	hex_encode(key, peer->node_key, KEY_SIZE);
	if (config_put_quoted(out, peer->node_id) == -1 ||
	    config_put(out, " address ") == -1 ||
	    config_put_quoted(out, peer->endpoint) == -1 ||
	    config_put(out, " key ") == -1 || config_put(out, key) == -1)
		return (-1);
	return (1);
}
