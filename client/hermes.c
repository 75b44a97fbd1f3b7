/* hermes(1): an app on the command line. Options and subcommands. */
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cmd.h"
#include "common/util/clock.h"
#include "common/util/hex.h"

struct command {
	const char *name;
	const char *arguments;
	int minimum;
	int maximum;
	int (*run)(struct app *, int, char **);
};

static const struct command commands[] = { { "keygen", "[FILE]", 0, 1,
					       cmd_keygen },
	{ "id", "", 0, 0, cmd_id }, { "chat", "[PEER]", 0, 1, cmd_chat },
	{ "send", "PEER", 1, 1, cmd_send },
	{ "recv", "[PEER]", 0, 1, cmd_recv },
	{ "ping", "PEER", 1, 1, cmd_ping }, { "find", "APP", 1, 1, cmd_find },
	{ "delete", "PEER", 1, 1, cmd_delete },
	{ "bench", "PEER", 1, 1, cmd_bench } };

enum option_code {
	OPTION_SEED = 256,
	OPTION_CHAT,
	OPTION_PIN,
	OPTION_CA,
	OPTION_REKEY,
	OPTION_REKEY_EVERY,
	OPTION_EXPECT_RESTART,
	OPTION_FOLLOW,
	OPTION_MARKERS,
	OPTION_DELETE,
	OPTION_STAY,
	OPTION_CHECK,
	OPTION_ECHO,
	OPTION_WINDOW,
	OPTION_CHATS,
	OPTION_ANSWERS,
	OPTION_REASON,
	OPTION_HINT,
	OPTION_END_TO_END,
	OPTION_STATE,
	OPTION_VERSION
};

static const struct option options[] = {
	{ "node", required_argument, NULL, 'n' },
	{ "key", required_argument, NULL, 'k' },
	{ "count", required_argument, NULL, 'c' },
	{ "size", required_argument, NULL, 's' },
	{ "interval", required_argument, NULL, 'i' },
	{ "timeout", required_argument, NULL, 't' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "seed", required_argument, NULL, OPTION_SEED },
	{ "chat", required_argument, NULL, OPTION_CHAT },
	{ "pin", required_argument, NULL, OPTION_PIN },
	{ "ca", required_argument, NULL, OPTION_CA },
	{ "rekey", no_argument, NULL, OPTION_REKEY },
	{ "rekey-every", required_argument, NULL, OPTION_REKEY_EVERY },
	{ "expect-restart", no_argument, NULL, OPTION_EXPECT_RESTART },
	{ "follow", no_argument, NULL, OPTION_FOLLOW },
	{ "markers", no_argument, NULL, OPTION_MARKERS },
	{ "delete", no_argument, NULL, OPTION_DELETE },
	{ "stay", no_argument, NULL, OPTION_STAY },
	{ "check", no_argument, NULL, OPTION_CHECK },
	{ "echo", no_argument, NULL, OPTION_ECHO },
	{ "window", required_argument, NULL, OPTION_WINDOW },
	{ "chats", required_argument, NULL, OPTION_CHATS },
	{ "answers", required_argument, NULL, OPTION_ANSWERS },
	{ "reason", required_argument, NULL, OPTION_REASON },
	{ "hint", required_argument, NULL, OPTION_HINT },
	{ "end-to-end", no_argument, NULL, OPTION_END_TO_END },
	{ "state", required_argument, NULL, OPTION_STATE },
	{ "version", no_argument, NULL, OPTION_VERSION }, { NULL, 0, NULL, 0 }
};

static void
usage(void)
{
	size_t i;

	(void)fprintf(stderr, "usage: hermes COMMAND [-n HOST:PORT] "
			      "[-k KEYFILE] [option ...] [argument]\n");
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		(void)fprintf(stderr, "       hermes %s%s%s\n",
		    commands[i].name,
		    commands[i].arguments[0] != '\0' ? " " : "",
		    commands[i].arguments);
	(void)fprintf(stderr, "The options are in hermes(1).\n");
	exit(EXIT_LOCAL);
}

static uint64_t
parse_number(
    const char *option, const char *text, long long minimum, long long maximum)
{
	const char *wrong;
	long long value;

	value = strtonum(text, minimum, maximum, &wrong);
	if (wrong != NULL) {
		print_error("--%s %s: %s", option, text, wrong);
		exit(EXIT_LOCAL);
	}
	return ((uint64_t)value);
}

/* Seconds, with a fraction, as nanoseconds. */
static int64_t
parse_seconds(const char *option, const char *text)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 || !(value >= 0) ||
	    value > 1e6) {
		print_error("--%s %s: not a number of seconds", option, text);
		exit(EXIT_LOCAL);
	}
	return ((int64_t)(value * (double)CLOCK_SECOND));
}

static void
parse_pin(struct app *app, const char *text)
{
	if (hex_decode(app->pin, sizeof(app->pin), text) == -1) {
		print_error("--pin: not 64 hex digits");
		exit(EXIT_LOCAL);
	}
	app->has_pin = 1;
}

/* Options that are a word and a value. */
static void
parse_value(struct app *app, int code)
{
	switch (code) {
	case 'n':
		app->node = optarg;
		break;
	case 'k':
		app->key_path = optarg;
		break;
	case OPTION_SEED:
		app->seed_text = optarg;
		break;
	case OPTION_CHAT:
		app->chat_id = optarg;
		break;
	case OPTION_CA:
		app->ca_path = optarg;
		break;
	case OPTION_REASON:
		app->reason = optarg;
		break;
	case OPTION_HINT:
		app->hint = optarg;
		break;
	case OPTION_STATE:
		app->state_folder = optarg;
		app->end_to_end = 1;
		break;
	case OPTION_PIN:
		parse_pin(app, optarg);
		break;
	case 'i':
		app->interval = parse_seconds("interval", optarg);
		break;
	case 't':
		app->timeout = parse_seconds("timeout", optarg);
		break;
	case 'c':
		app->count = parse_number("count", optarg, 1, LLONG_MAX);
		break;
	case 's':
		app->size = parse_number("size", optarg, 0, 64 << 20);
		break;
	case OPTION_WINDOW:
		app->window = parse_number("window", optarg, 1, 1 << 20);
		break;
	case OPTION_CHATS:
		app->chats = parse_number("chats", optarg, 1, 1 << 20);
		break;
	case OPTION_ANSWERS:
		app->answers = parse_number("answers", optarg, 1, LLONG_MAX);
		break;
	case OPTION_REKEY_EVERY:
		app->rekey_every =
		    parse_number("rekey-every", optarg, 1, LLONG_MAX);
		break;
	default:
		usage();
	}
}

static void
parse_option(struct app *app, int code)
{
	switch (code) {
	case 'q':
		app->quiet = 1;
		break;
	case OPTION_REKEY:
		app->rekey = 1;
		break;
	case OPTION_EXPECT_RESTART:
		app->expect_restart = 1;
		break;
	case OPTION_FOLLOW:
		app->follow = 1;
		break;
	case OPTION_MARKERS:
		app->markers = 1;
		break;
	case OPTION_DELETE:
		app->delete_at_end = 1;
		break;
	case OPTION_STAY:
		app->stay = 1;
		break;
	case OPTION_CHECK:
		app->check = 1;
		break;
	case OPTION_ECHO:
		app->echo = 1;
		break;
	case OPTION_END_TO_END:
		app->end_to_end = 1;
		break;
	case OPTION_VERSION:
		(void)printf("hermes %s\n", HERMES_VERSION);
		exit(EXIT_DONE);
	default:
		parse_value(app, code);
	}
}

/* Run it with its arguments; exits when they are not what it wants. */
static int
run_command(
    const struct command *command, struct app *app, int argc, char *argv[])
{
	uint8_t key[HERMES_KEY_SIZE];

	if (argc < command->minimum) {
		print_error(
		    "%s: %s is missing", command->name, command->arguments);
		usage();
	}
	if (argc > command->maximum) {
		print_error("%s: %s: one argument too many", command->name,
		    argv[command->maximum]);
		usage();
	}
	/* All but a file are ids of apps. */
	if (argc > 0 && command->run != cmd_keygen &&
	    hex_decode(key, sizeof(key), argv[0]) == -1) {
		print_error(
		    "%s: not the id of an app, 64 hexadecimal digits", argv[0]);
		return (EXIT_LOCAL);
	}
	return (command->run(app, argc, argv));
}

/* libevent talks of name servers, and we say that there is no connection. */
static void
be_quiet(int severity, const char *text)
{
	(void)severity;
	(void)text;
}

int
main(int argc, char *argv[])
{
	struct app app;
	size_t i;
	int code;

	memset(&app, 0, sizeof(app));
	app.node = APP_NODE;
	app.chat_id = "hermes";
	app.size = 64;
	app.chats = 1;
	while ((code = getopt_long(
		    argc, argv, "n:k:c:s:i:t:q", options, NULL)) != -1)
		parse_option(&app, code);
	argc -= optind;
	argv += optind;
	if (argc < 1)
		usage();
	event_set_log_callback(be_quiet);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
		print_error("signal: %s", strerror(errno));
		return (EXIT_LOCAL);
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[0], commands[i].name) == 0)
			return (run_command(
			    &commands[i], &app, argc - 1, argv + 1));
	}
	print_error("%s: no such command", argv[0]);
	usage();
}
