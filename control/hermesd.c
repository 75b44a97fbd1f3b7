/*
 * hermesd(8): the main of all five processes. Started by the operator it is
 * the parent; started by the parent, with -P, a child.
 */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/proc/proc.h"
#include "common/util/buffer.h"
#include "control/config.h"
#include "control/parent.h"

#define HERMESD_CONFIG "/etc/hermes/hermesd.conf"

static void __attribute__((noreturn)) usage(void)
{
	(void)fprintf(stderr, "usage: hermesd [-dnVv] [-D macro=value] "
			      "[-f file] [-o key=value]\n");
	exit(2);
}

static int
child_main(const char *name)
{
	if (strcmp(name, "router") == 0)
		return (router_main());
	if (strcmp(name, "keyd") == 0)
		return (keyd_main());
	if (strcmp(name, "mesh") == 0)
		return (mesh_main());
	if (strcmp(name, "control") == 0)
		return (control_main());
	usage();
}

static void
report_plainly(void *arg, const char *message)
{
	(void)arg;
	(void)fprintf(stderr, "%s\n", message);
}

/* -n: check the file, and print what it comes to when verbose. */
static int
check_config(
    const char *path, const struct config_options *options, int verbose)
{
	static struct config_file file;
	struct buffer out;

	if (config_load(path, options, &file, report_plainly, NULL) == -1)
		return (1);
	if (!verbose) {
		(void)fprintf(stderr, "configuration OK\n");
		return (0);
	}
	buffer_init(&out);
	if (config_print(&file.config, &out) == -1 ||
	    fwrite(buffer_bytes(&out), 1, buffer_length(&out), stdout) !=
		buffer_length(&out) ||
	    fflush(stdout) == EOF)
		err(1, "stdout");
	buffer_free(&out);
	return (0);
}

int
main(int argc, char *argv[])
{
	const char *path = HERMESD_CONFIG, *child = NULL;
	static char **macros, **settings; /* for good */
	struct config_options options = { NULL, NULL, environ };
	size_t macro_count = 0, setting_count = 0;
	int c, foreground = 0, check = 0, verbose = 0;

	/* No more of them than arguments. */
	macros = calloc((size_t)argc + 1, sizeof(*macros));
	settings = calloc((size_t)argc + 1, sizeof(*settings));
	if (macros == NULL || settings == NULL)
		err(1, NULL);
	options.macros = macros;
	options.settings = settings;
	while ((c = getopt(argc, argv, "dD:f:no:P:vV")) != -1)
		switch (c) {
		case 'D':
			macros[macro_count++] = optarg;
			break;
		case 'd':
			foreground = 1;
			break;
		case 'f':
			path = optarg;
			break;
		case 'n':
			check = 1;
			break;
		case 'o':
			settings[setting_count++] = optarg;
			break;
		case 'P':
			child = optarg;
			break;
		case 'v':
			verbose = 1;
			break;
		case 'V':
			(void)printf("hermesd %s\n", HERMES_VERSION);
			return (0);
		default:
			usage();
		}
	if (optind != argc)
		usage();
	if (child != NULL) {
		proc_set_log(foreground, verbose);
		return (child_main(child));
	}
	if (check)
		return (check_config(path, &options, verbose));
	return (parent_run(path, &options, argv[0], foreground, verbose));
}
