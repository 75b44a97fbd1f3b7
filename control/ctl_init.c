/*
 * hermesctl(8): init. Makes what a new node needs before its daemon starts:
 * folders, a random passphrase, a configuration with comments. It writes new
 * files only; what exists is left alone and named.
 */

#include <sys/stat.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/sign/ids.h"
#include "common/util/hex.h"
#include "control/ctl.h"

#define INIT_ADDRESS   128
#define INIT_KEYD_USER "_hermes_keyd" /* owns the key store */

struct init {
	char node[NODE_ID_SIZE];
	char config[PATH_MAX];
	char keystore[PATH_MAX];
	char passphrase[PATH_MAX];
	char socket[PATH_MAX];
	char addresses[3][INIT_ADDRESS]; /* app, mesh, admin */
	int ports[3];                    /* 0: no admin listener */
};

/* --- what to write ------------------------------------------------------- */

/* The first label of the host's name, as far as it can be a node id. */
static void
init_host_name(char node[NODE_ID_SIZE])
{
	char name[256];
	size_t i, length = 0;

	if (gethostname(name, sizeof(name)) == -1)
		name[0] = '\0';
	name[sizeof(name) - 1] = '\0';
	for (i = 0;
	     name[i] != '\0' && name[i] != '.' && length < NODE_ID_SIZE - 1;
	     i++) {
		name[i] = (char)tolower((unsigned char)name[i]);
		if (node_id_valid(&name[i], 1))
			node[length++] = name[i];
	}
	node[length] = '\0';
	if (!node_id_valid(node, length))
		(void)strlcpy(node, "node", NODE_ID_SIZE);
}

/* The paths: below dir, or the system's when it is NULL. 0 or -1. */
static int
init_paths(struct init *init, const char *dir)
{
	static const char *const names[] = { "hermesd.conf", "keystore",
		"passphrase", "hermesd.sock" };
	char *const paths[] = { init->config, init->keystore, init->passphrase,
		init->socket };
	static const char *const system_paths[] = { "/etc/hermes/hermesd.conf",
		"/var/lib/hermes/keyd", "/etc/hermes/passphrase", CTL_SOCKET };
	char whole[PATH_MAX];
	size_t i;
	int n;

	if (dir != NULL && mkdir(dir, 0755) == -1 && errno != EEXIST) {
		ctl_warn("%s: %s", dir, strerror(errno));
		return (-1);
	}
	if (dir != NULL && realpath(dir, whole) == NULL) {
		ctl_warn("%s: %s", dir, strerror(errno));
		return (-1);
	}
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (dir == NULL)
			n = snprintf(paths[i], PATH_MAX, "%s", system_paths[i]);
		else
			n = snprintf(
			    paths[i], PATH_MAX, "%s/%s", whole, names[i]);
		if (n < 0 || n >= PATH_MAX ||
		    strpbrk(paths[i], "\"\n\\$") != NULL) {
			ctl_warn("%s: no path for a configuration", whole);
			return (-1);
		}
	}
	return (0);
}

static int
init_options(struct init *init, struct ctl *ctl, int argc, char *argv[])
{
	const char *node = NULL, *dir = NULL;
	const char *listen[3] = { "127.0.0.1:7443", "127.0.0.1:7444",
		"127.0.0.1:8080" };
	const struct ctl_option options[] = {
		{ "-n", &node, NULL },
		{ "-d", &dir, NULL },
		{ "-l", &listen[0], NULL },
		{ "-m", &listen[1], NULL },
		{ "-a", &listen[2], NULL },
		{ NULL, NULL, NULL },
	};
	static const char letters[3] = { 'l', 'm', 'a' };
	int i;

	if (ctl_options(ctl, options, argc, argv, 0, 0) == -1)
		return (-1);
	if (node == NULL)
		init_host_name(init->node);
	else if (!node_id_valid(node, strlen(node))) {
		ctl_warn(
		    "-n %s: a node is called by 1 to 63 of a-z, 0-9, -", node);
		return (-1);
	} else
		(void)strlcpy(init->node, node, sizeof(init->node));
	for (i = 0; i < 3; i++)
		if (i == 2 && strcmp(listen[i], "none") == 0)
			init->ports[i] = 0;
		else if (ctl_address(listen[i], init->addresses[i],
			     INIT_ADDRESS, &init->ports[i]) == -1) {
			ctl_warn(
			    "-%c %s: not address:port", letters[i], listen[i]);
			return (-1);
		}
	return (init_paths(init, dir));
}

static void
init_write_listen(FILE *out, const struct init *init, int i)
{
	static const char *const kinds[] = { "app", "mesh", "admin" };
	const char *quote;

	quote = strchr(init->addresses[i], ':') != NULL ? "\"" : "";
	(void)fprintf(out, "listen %s on %s%s%s port %d\n", kinds[i], quote,
	    init->addresses[i], quote, init->ports[i]);
}

static void
init_write_config(FILE *out, const struct init *init)
{
	(void)fprintf(out,
	    "# hermesd.conf(5), made by `hermesctl init`. Check it with\n"
	    "# `hermesd -n -f %s`.\n\n"
	    "# The name of this node, unique in its mesh. It cannot change\n"
	    "# once the node is a member.\n"
	    "node \"%s\"\n\n"
	    "# Where apps connect (gRPC over TLS).\n",
	    init->config, init->node);
	init_write_listen(out, init, 0);
	(void)fprintf(out,
	    "\n# Where other nodes connect. They must be able to reach it.\n");
	init_write_listen(out, init, 1);
	(void)fprintf(out,
	    "\n# Health, metrics and state over HTTP, read-only. Leave it on\n"
	    "# this machine unless a firewall says who may look.\n");
	if (init->ports[2] != 0)
		init_write_listen(out, init, 2);
	else
		(void)fprintf(out, "# listen admin on 127.0.0.1 port 8080\n");
	(void)fprintf(out,
	    "\n# hermesctl(8) talks to the daemon here.\n"
	    "control socket \"%s\"\n\n"
	    "# keyd's sealed store. Without the passphrase file nothing in\n"
	    "# it can be read: keep a copy in a safe place. Without the line\n"
	    "# the node waits for `hermesctl unlock` at every start.\n"
	    "keystore {\n"
	    "\tpath \"%s\"\n"
	    "\tpassphrase file \"%s\"\n"
	    "}\n",
	    init->socket, init->keystore, init->passphrase);
}

/* --- writing it ---------------------------------------------------------- */

/* Make the folder that path lies in. 0, or -1 after a complaint. */
static int
init_parent(const char *path, mode_t mode)
{
	char folder[PATH_MAX];
	char *slash;

	(void)strlcpy(folder, path, sizeof(folder));
	if ((slash = strrchr(folder, '/')) == NULL || slash == folder)
		return (0);
	*slash = '\0';
	if (mkdir(folder, mode) == 0 || errno == EEXIST)
		return (0);
	ctl_warn("%s: %s", folder, strerror(errno));
	return (-1);
}

/* A new file of this mode, by way of nothing that existed before. NULL
 * after a complaint. */
static FILE *
init_create(const char *path, mode_t mode)
{
	int fd = open(
	    path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	FILE *file = fd == -1 ? NULL : fdopen(fd, "w");

	if (file == NULL) {
		ctl_warn("%s: %s", path, strerror(errno));
		if (fd != -1)
			close(fd);
	}
	return (file);
}

static int
init_finish(FILE *file, const char *path)
{
	int bad = fflush(file) == EOF || fsync(fileno(file)) == -1;

	if (fclose(file) == EOF || bad) {
		ctl_warn("%s: %s", path, strerror(errno));
		(void)unlink(path);
		return (-1);
	}
	return (0);
}

/* keyd's folder, its own when we may give it away. */
static int
init_keystore(const struct init *init)
{
	/* cppcheck-suppress getpwnamCalled ; there is one thread */
	const struct passwd *user = getpwnam(INIT_KEYD_USER);

	if (init_parent(init->keystore, 0755) == -1)
		return (-1);
	if (mkdir(init->keystore, 0700) == -1 && errno != EEXIST) {
		ctl_warn("%s: %s", init->keystore, strerror(errno));
		return (-1);
	}
	if (geteuid() == 0 && user != NULL &&
	    chown(init->keystore, user->pw_uid, user->pw_gid) == -1) {
		ctl_warn("%s: %s", init->keystore, strerror(errno));
		return (-1);
	}
	if (chmod(init->keystore, 0700) == -1) {
		ctl_warn("%s: %s", init->keystore, strerror(errno));
		return (-1);
	}
	return (0);
}

static int
init_passphrase(const struct init *init)
{
	uint8_t secret[32];
	char text[2 * sizeof(secret) + 1];
	FILE *file;

	if ((file = init_create(init->passphrase, 0600)) == NULL)
		return (-1);
	/* Not buffered: no copy stays in a stdio buffer. */
	(void)setvbuf(file, NULL, _IONBF, 0);
	randombytes_buf(secret, sizeof(secret));
	hex_encode(text, secret, sizeof(secret));
	text[sizeof(text) - 1] = '\n';
	(void)fwrite(text, 1, sizeof(text), file);
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(text, sizeof(text));
	return (init_finish(file, init->passphrase));
}

static int
init_config(const struct init *init)
{
	FILE *file = init_create(init->config, 0644);

	if (file == NULL)
		return (-1);
	init_write_config(file, init);
	return (init_finish(file, init->config));
}

/* Where the socket will be; the group may pass. */
static int
init_socket(const struct init *init)
{
	return (init_parent(init->socket, 0755));
}

static void
init_report(const struct ctl *ctl, const struct init *init)
{
	/* What is in the system's places its service manager starts. */
	int own = strcmp(init->socket, CTL_SOCKET) != 0;
	const char *start = own ? "hermesd -f "
			    : access("/run/systemd/system", F_OK) == 0
				? "systemctl enable --now hermesd"
				: "hermesd";
	const char *option = own ? " -s " : "";
	const char *socket = own ? init->socket : "";
	json_t *made;

	if (ctl->json) {
		made = json_pack("{s:b s:s s:s s:s s:s s:s}", "ok", 1, "node",
		    init->node, "config", init->config, "keystore",
		    init->keystore, "passphrase_file", init->passphrase,
		    "socket", init->socket);
		ctl_print_json(made);
		json_decref(made);
		return;
	}
	(void)printf(
	    "made %s\n     %s\n     %s\n\n"
	    "next: %s%s\n"
	    "then: hermesctl%s%s mesh create    (the first node of a mesh)\n"
	    "  or: hermesctl%s%s join TICKET    (TICKET: from a member's "
	    "`hermesctl ticket`)\n",
	    init->config, init->keystore, init->passphrase, start,
	    own ? init->config : "", option, socket, option, socket);
}

int
ctl_init(struct ctl *ctl, int argc, char *argv[])
{
	struct init init;
	struct stat st;

	memset(&init, 0, sizeof(init));
	if (init_options(&init, ctl, argc, argv) == -1)
		return (CTL_USAGE);
	if (sodium_init() == -1) {
		ctl_warn("no random numbers");
		return (CTL_FAILED);
	}
	/* keyd's user must come through the folders. */
	(void)umask(022);
	/* All or nothing: the configuration is written last. */
	if (lstat(init.config, &st) == 0 || lstat(init.passphrase, &st) == 0) {
		ctl_warn("%s: exists already; nothing was changed",
		    lstat(init.config, &st) == 0 ? init.config
						 : init.passphrase);
		return (CTL_FAILED);
	}
	if (init_parent(init.config, 0755) == -1 ||
	    init_keystore(&init) == -1 || init_socket(&init) == -1 ||
	    init_passphrase(&init) == -1)
		return (CTL_FAILED);
	if (init_config(&init) == -1) {
		(void)unlink(init.passphrase);
		return (CTL_FAILED);
	}
	init_report(ctl, &init);
	return (CTL_OK);
}
