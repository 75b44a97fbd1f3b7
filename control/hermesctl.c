/*
 * hermesctl(8): the operator's program. It runs with the rights of who calls
 * it; the daemon decides by uid what it may do. Here: the global options.
 */

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/ctl.h"

static int
usage(void)
{
	(void)fprintf(stderr, "usage: hermesctl [-j] [-V] [-s socket] "
			      "[-t seconds] command [argument ...]\n");
	(void)ctl_word_error(ctl_commands, "", stderr);
	return (CTL_USAGE);
}

/* Find the command by its words and run it. */
static int
run(struct ctl *ctl, int argc, char *argv[])
{
	const struct ctl_word *word, *second;
	size_t matches;

	word = ctl_word_find(ctl_commands, argv[0], &matches);
	if (word == NULL)
		return (ctl_word_error(ctl_commands, argv[0], stderr));
	argc--;
	argv++;
	if (word->next != NULL && argc > 0 && argv[0][0] != '-') {
		second = ctl_word_find(word->next, argv[0], &matches);
		if (second == NULL)
			return (ctl_word_error(word->next, argv[0], stderr));
		word = second;
		argc--;
		argv++;
	}
	if (word->run == NULL)
		return (ctl_word_error(word->next, "", stderr));
	ctl->word = word;
	return (word->run(ctl, argc, argv));
}

int
main(int argc, char *argv[])
{
	struct ctl ctl = { CTL_SOCKET, 0, 0, CTL_TIMEOUT, -1, { -1, -1 },
		NULL };
	const char *error;
	int option, status;

	(void)signal(SIGPIPE, SIG_IGN);
	while ((option = getopt(argc, argv, "+js:t:V")) != -1)
		switch (option) {
		case 'j':
			ctl.json = 1;
			break;
		case 's':
			ctl.socket = optarg;
			break;
		case 't':
			ctl.timeout = (int)strtonum(optarg, 1, 86400, &error);
			if (error != NULL) {
				ctl_warn("-t %s: %s", optarg, error);
				return (CTL_USAGE);
			}
			break;
		case 'V':
			(void)printf("hermesctl %s\n", HERMES_VERSION);
			return (CTL_OK);
		default:
			return (usage());
		}
	if (optind >= argc)
		return (usage());
	status = run(&ctl, argc - optind, argv + optind);
	ctl_disconnect(&ctl);
	if (fflush(stdout) == EOF || ferror(stdout)) {
		ctl_warn("standard output failed");
		return (status == CTL_OK ? CTL_FAILED : status);
	}
	return (status);
}
