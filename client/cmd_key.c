/* hermes keygen, hermes id. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "client/cmd.h"

int
cmd_keygen(struct app *app, int argc, char **argv)
{
	const char *path = argc > 0 ? argv[0] : app_key_path(app);

	if (path == NULL || hermes_key_create(path, app->seed) == -1) {
		print_error(
		    "%s: %s", path == NULL ? "key" : path, strerror(errno));
		return (EXIT_LOCAL);
	}
	hermes_key_app_id(app->seed, app->own_id);
	sodium_memzero(app->seed, sizeof(app->seed));
	(void)printf("%s\n", app->own_id);
	return (EXIT_DONE);
}

int
cmd_id(struct app *app, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	if (app_identity(app) == -1)
		return (EXIT_LOCAL);
	sodium_memzero(app->seed, sizeof(app->seed));
	(void)printf("%s\n", app->own_id);
	return (EXIT_DONE);
}
