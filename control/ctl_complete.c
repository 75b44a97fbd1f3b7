/*
 * hermesctl(8): complete, what may come next on a command line, for shells.
 * The tables of words and their usage say it; values are asked of the daemon.
 * Chat ids are anybody's text: what a shell might read as more than a word is
 * left out.
 */

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "control/ctl.h"

#define COMPLETE_TIMEOUT 2 /* seconds: somebody waits at a prompt */
#define COMPLETE_TOKEN   64

struct complete {
	struct ctl *ctl;
	const char *begun;    /* what must be completed */
	const char *previous; /* the argument before it, or NULL */
};

static void
complete_print(const struct complete *complete, const char *word)
{
	if (strncmp(word, complete->begun, strlen(complete->begun)) == 0)
		(void)puts(word);
}

/* --- values -------------------------------------------------------------- */

struct complete_rows {
	const struct complete *complete;
	const char *key;
};

static void
complete_row(void *arg, json_t *row)
{
	const struct complete_rows *rows = arg;
	const char *text = json_string_value(json_object_get(row, rows->key));
	const char *c;

	if (text == NULL || *text == '\0' || *text == '-')
		return;
	for (c = text; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && strchr("-._", *c) == NULL)
			return;
	complete_print(rows->complete, text);
}

/* The values of a kind that the daemon knows; of others none. */
static void
complete_value(const struct complete *complete, const char *kind)
{
	static const struct {
		const char *kind, *what, *key;
	} kinds[] = {
		{ "NODE", "nodes", "node_id" },
		{ "CHAT", "ratchets", "chat_id" },
		{ "APP", "apps", "app_id" },
		{ "TICKET-ID", "tickets", "ticket_id" },
	};
	struct complete_rows rows = { complete, NULL };
	char unheard[8];
	json_t *last;
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kind, kinds[i].kind) != 0)
			continue;
		rows.key = kinds[i].key;
		ctl_warn_keep(unheard, sizeof(unheard));
		(void)ctl_request(complete->ctl,
		    json_pack("{s:s s:s s:b}", "command", "show", "what",
			kinds[i].what, "full", 1),
		    -1, complete_row, &rows, &last);
		ctl_warn_keep(NULL, 0);
		json_decref(last);
	}
}

/* --- usage --------------------------------------------------------------- */

/*
 * The next token of a usage; *bound is 1 when nothing but a blank was before
 * it, so that it may be a value of the token before. NULL at the end.
 */
static const char *
complete_token(const char *usage, char token[COMPLETE_TOKEN], int *bound)
{
	size_t before = strspn(usage, " \n{}[]|.");
	size_t length = strcspn(usage + before, " \n{}[]|");

	*bound = before == 1 && usage[0] == ' ';
	usage += before;
	if (length == 0 || length >= COMPLETE_TOKEN)
		return (NULL);
	memcpy(token, usage, length);
	token[length] = '\0';
	return (usage + length);
}

static int
complete_is_value(const char *token)
{
	return (isupper((unsigned char)token[0]));
}

/* What may follow the previous argument by this usage. */
static void
complete_usage(
    const struct complete *complete, const char *usage, int options_only)
{
	char token[COMPLETE_TOKEN], last[COMPLETE_TOKEN] = "";
	const char *rest;
	int bound;

	/* A word or an option that takes a value: nothing but that. */
	for (rest = usage; complete->previous != NULL &&
			   (rest = complete_token(rest, token, &bound)) != NULL;
	     (void)strlcpy(last, token, sizeof(last)))
		if (bound && complete_is_value(token) &&
		    strcmp(last, complete->previous) == 0) {
			complete_value(complete, token);
			return;
		}
	last[0] = '\0';
	for (rest = usage; (rest = complete_token(rest, token, &bound)) != NULL;
	     (void)strlcpy(last, token, sizeof(last)))
		if (complete_is_value(token)) {
			/* Not the value of an option or a word. */
			if (!options_only && (last[0] == '\0' || !bound))
				complete_value(complete, token);
		} else if (token[0] == '-' || !options_only)
			complete_print(complete, token);
	if (complete->begun[0] == '-') {
		complete_print(complete, "--full");
		complete_print(complete, "--json");
	}
}

static void
complete_words(const struct complete *complete, const struct ctl_word *words)
{
	for (; words->word != NULL; words++)
		complete_print(complete, words->word);
}

/* Step over the options before the command; their number of arguments. */
static int
complete_globals(struct ctl *ctl, int argc, char *argv[])
{
	int i;

	for (i = 0; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "-s") != 0 && strcmp(argv[i], "-t") != 0)
			continue;
		if (++i < argc && argv[i - 1][1] == 's')
			ctl->socket = argv[i];
	}
	return (i);
}

/*
 * The arguments are the command line after "hermesctl"; the last, which may
 * be empty, is to be completed.
 */
int
ctl_complete(struct ctl *ctl, int argc, char *argv[])
{
	struct complete complete = { ctl, "", NULL };
	const struct ctl_word *word;
	size_t matches;
	int i;

	if (argc > 0 && strcmp(argv[0], "--") == 0) {
		argc--;
		argv++;
	}
	if (argc > 0)
		complete.begun = argv[--argc];
	if (ctl->timeout > COMPLETE_TIMEOUT)
		ctl->timeout = COMPLETE_TIMEOUT;
	i = complete_globals(ctl, argc, argv);
	if (i > argc)
		return (CTL_OK); /* the value of -s or -t */
	if (i == argc) {
		if (complete.begun[0] == '-')
			(void)printf("-V\n-j\n-s\n-t\n");
		else
			complete_words(&complete, ctl_commands);
		return (CTL_OK);
	}
	word = ctl_word_find(ctl_commands, argv[i++], &matches);
	if (word != NULL && word->next != NULL && i == argc) {
		complete_words(&complete, word->next);
		complete_usage(&complete, word->arguments, 1);
		return (CTL_OK);
	}
	if (word != NULL && word->next != NULL && argv[i][0] != '-')
		word = ctl_word_find(word->next, argv[i++], &matches);
	if (i < argc)
		complete.previous = argv[argc - 1];
	if (word != NULL)
		complete_usage(&complete, word->arguments, word->next != NULL);
	return (CTL_OK);
}
