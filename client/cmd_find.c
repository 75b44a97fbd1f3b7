/* hermes find: where an app is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/cmd.h"
#include "common/util/log.h"

static const char *find_app;

static void
find_connected(struct app *app)
{
	if (hermes_find(app->hermes, find_app, app->hint) == -1) {
		print_error("find: %s", strerror(errno));
		app_finish(app, EXIT_NODE);
	}
}

static void
find_found(struct app *app, const char *app_id, const char *node_id,
    const char *status)
{
	char id[LOG_TEXT_SIZE], node[LOG_TEXT_SIZE], word[LOG_TEXT_SIZE];

	(void)printf("%s %s %s\n", log_text(id, app_id, strlen(app_id)),
	    log_text(word, status, strlen(status)),
	    node_id[0] == '\0' ? "-"
			       : log_text(node, node_id, strlen(node_id)));
	app_finish(
	    app, strcmp(status, "unknown") == 0 ? EXIT_ERROR : EXIT_DONE);
}

static const struct app_hooks find_hooks = { .connected = find_connected,
	.found = find_found };

int
cmd_find(struct app *app, int argc, char **argv)
{
	(void)argc;
	find_app = argv[0];
	return (app_run(app, &find_hooks, 0));
}
