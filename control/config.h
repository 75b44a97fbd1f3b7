/*
 * Parent of hermesd, also hermesd -n. The configuration file: read, checked,
 * printed. hermesd.conf(5) is the grammar; control/config_knobs.c the table
 * of what can be set.
 */
#ifndef CONTROL_CONFIG_H
#define CONTROL_CONFIG_H

#include <stdint.h>

#include "common/proc/config.h"

struct buffer;

/* Where a statement was. line 0: nowhere, a default; -1: not in a file, and
 * file is "HERMES_..." or "-o ...". */
struct config_place {
	char file[CONFIG_PATH_SIZE];
	int line;
};

/* What is said besides the file. Lists end with NULL; a list may be NULL. */
struct config_options {
	char *const *macros;      /* "name=value", over those of the file */
	char *const *settings;    /* "key=value", over the environment */
	char *const *environment; /* "NAME=value"; only HERMES_ is looked at */
};

/* A configuration as written, and where each listener and file was named. */
struct config_file {
	struct config config;
	struct config_place listen[LISTEN_KINDS][CONFIG_LISTENERS];
	struct config_place keystore_path;
	struct config_place passphrase;
	struct config_place certificate;
	struct config_place control_socket;
	struct config_place log_to;
};

/* Told each error once: "file:line: message" without a newline. */
typedef void (*config_report)(void *arg, const char *message);

/*
 * Read and check the file at path with what it includes, then the variables
 * and settings of options, which go over it; options may be NULL. All errors
 * are reported, in their order. Host names of listen lines are looked up
 * here. Ports may be 0 and advertised endpoints "" still. 0, or -1 when there
 * was any error; *file is then of no use.
 */
int config_load(const char *path, const struct config_options *options,
    struct config_file *file, config_report report, void *arg);

/*
 * Append the effective configuration in the grammar of the file; read back,
 * it gives the same configuration. 0, or -1 with errno.
 */
int config_print(const struct config *config, struct buffer *out);

/* The same as an object {key: value}, where -o key=value says it again. NULL
 * without memory. The caller's reference. */
struct json_t *config_print_json(const struct config *config);

/* The place as "file:line", or "default". Returns out. */
const char *config_place_text(
    char out[CONFIG_PATH_SIZE + 16], const struct config_place *place);

#endif
