/*
 * The effective configuration, as the parent read it and every process gets
 * it: plain data of fixed width, no pointer, no secret. hermesd.conf(5)
 * documents each knob; control/parse.y sets them, config_default() gives the
 * defaults.
 */
#ifndef COMMON_PROC_CONFIG_H
#define COMMON_PROC_CONFIG_H

#include <sys/socket.h>

#include <limits.h>
#include <stdint.h>

#include "common/sign/ids.h"

#define CONFIG_LISTENERS 8 /* of each kind */
#define CONFIG_PATH_SIZE 256
#define CONFIG_NAME_SIZE 128
#define CONFIG_PEERS     64 /* nodes that need no ticket */

enum listener_kind {
	LISTEN_APP,     /* AppRouter, gRPC over TLS: router */
	LISTEN_MESH,    /* NodeMesh, gRPC over TLS: mesh */
	LISTEN_ADMIN,   /* read-only HTTP: control */
	LISTEN_CONTROL, /* hermesctl's unix socket: control */
	LISTEN_KINDS
};

/* auto: stderr in the foreground, else syslog; the rest as log_target. */
enum config_log_to {
	CONFIG_LOG_AUTO,
	CONFIG_LOG_STDERR,
	CONFIG_LOG_SYSLOG,
	CONFIG_LOG_JOURNAL
};

#define CONFIG_EXEMPT_SIZE 512

struct config_listener {
	struct sockaddr_storage address;
	uint32_t address_length; /* 0: slot unused */
	uint32_t zero;
	char name[CONFIG_NAME_SIZE]; /* as written */
};

struct config_limits {
	uint32_t sessions;        /* apps connected */
	uint32_t unauthenticated; /* app connections before ack */
	uint32_t unauthenticated_source;
	uint32_t per_source; /* connections an address */
	uint32_t handshakes; /* a second; 0 no limit */
	uint32_t handshakes_source;
	uint32_t verifications; /* signatures of strangers a second; 0 */
	uint32_t verifications_source;
	uint32_t zero;
	uint32_t chats_per_app;
	uint32_t messages_per_second;  /* an app; 0: no limit */
	uint32_t starts_per_minute;    /* StartChat, an app */
	uint32_t message_size;         /* bytes of payload */
	uint32_t metadata_size;        /* bytes, keys and values */
	uint32_t chat_window_messages; /* unacknowledged, a chat */
	uint32_t chat_window_bytes;
	uint64_t kept_messages;  /* bytes, of all apps */
	uint32_t members;        /* nodes of the mesh */
	uint32_t apps;           /* in the directory */
	int64_t connect_timeout; /* ns */
	int64_t session_idle;    /* ns; 0: never */
};

/* What sources pay for what they do. */
struct config_penalty {
	int64_t handshake; /* ns; 0: nothing */
	int64_t authentication;
	int64_t abuse;
	int64_t threshold; /* ns; 0: nobody is kept out */
	int64_t longest;   /* ns */
	uint32_t sources;  /* remembered */
	uint32_t zero;
	char exempt[CONFIG_EXEMPT_SIZE]; /* prefixes, or "none" */
};

struct config_rekey {
	int64_t after_time;      /* ns; 0: not by age */
	uint64_t after_messages; /* 0: not by count */
	uint32_t limit;          /* attempts in the window */
	uint32_t hkdf_sha512;
	int64_t window;       /* ns */
	int64_t key_lifetime; /* ns; 0: for ever */
	int64_t grace;        /* ns the previous epoch opens */
};

struct config_keystore {
	char path[CONFIG_PATH_SIZE];       /* folder of keyd */
	char passphrase[CONFIG_PATH_SIZE]; /* file; "" unlock */
	uint64_t argon2_ops;
	uint64_t argon2_memory; /* bytes */
	int64_t erase_interval; /* ns */
	int64_t chat_idle;      /* ns after which a chat expires */
};

/* Another node of a fixed installation, as the operator knows it. */
struct config_peer {
	char node_id[NODE_ID_SIZE];
	char endpoint[ENDPOINT_SIZE]; /* "host:port" */
	uint8_t node_key[KEY_SIZE];   /* its identity */
};

struct config {
	char node_id[NODE_ID_SIZE];
	struct config_listener listen[LISTEN_KINDS][CONFIG_LISTENERS];
	char advertise_mesh[ENDPOINT_SIZE];
	char advertise_app[ENDPOINT_SIZE];
	struct config_limits limits;
	struct config_penalty penalty;
	struct config_rekey rekey;
	struct config_keystore keystore;
	int64_t route_grace;         /* ns */
	int64_t drain_grace;         /* ns */
	int64_t membership_lifetime; /* ns */
	int64_t busy_poll;           /* ns; 0: not at all */
	uint32_t app_compat_v1;
	uint32_t admin_apps; /* /mesh/apps is served */
	uint32_t admin_full_ids;
	uint32_t log_level;        /* enum log_level */
	uint32_t log_format;       /* enum log_format */
	uint32_t log_to;           /* enum config_log_to */
	uint32_t log_limit;        /* lines in 10 s; 0: no limit */
	uint32_t own_certificate;  /* operator's, for apps */
	uint32_t sandbox_log;      /* violations are only logged */
	uint32_t mesh_connections; /* dialled and kept */
	uint32_t peer_count;
	struct config_peer peers[CONFIG_PEERS];
	char control_socket[CONFIG_PATH_SIZE];
	char certificate[CONFIG_PATH_SIZE];
	char certificate_key[CONFIG_PATH_SIZE];
};

/* Every knob at its default; node_id empty, no listener. */
void config_default(struct config *config);

#endif
