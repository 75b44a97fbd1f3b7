/*
 * hermesctl(8): top, the node as it works, on a terminal. Plain VT sequences,
 * the alternate screen; the terminal is given back as it was, whatever ends
 * it. Without the daemon it waits for it to come back.
 */

#include <sys/ioctl.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "common/util/clock.h"
#include "control/ctl.h"
#include "control/ctl_top.h"

#define TOP_TIMEOUT 10 /* seconds for an answer */

static struct {
	struct termios before;
	int changed; /* the terminal is ours */
} terminal;

static volatile sig_atomic_t signals_end, signals_stop;

/* --- asking -------------------------------------------------------------- */

static void
top_collect(void *arg, json_t *row)
{
	/* What sorts and names a row must be there. */
	if (json_is_string(json_object_get(row, "state")) &&
	    (json_is_string(json_object_get(row, "node_id")) ||
		json_is_string(json_object_get(row, "handle"))))
		(void)json_array_append(arg, row);
}

/* One question; its rows or, without, its last object. NULL for no answer,
 * with *status. */
static json_t *
top_ask(struct ctl *ctl, const char *command, const char *what, int *status)
{
	json_t *request, *last, *rows = NULL;

	request = json_pack("{s:s s:s*}", "command", command, "what", what);
	if (what != NULL && strcmp(what, "summary") != 0)
		rows = json_array();
	*status = ctl_request(
	    ctl, request, -1, rows == NULL ? NULL : top_collect, rows, &last);
	if (*status != CTL_OK) {
		json_decref(rows);
		json_decref(last);
		/* A late answer must not be taken for the next one's. */
		ctl_disconnect(ctl);
		return (NULL);
	}
	if (rows == NULL)
		return (last);
	json_decref(last);
	return (rows);
}

/* Fill the sample. Returns CTL_OK, or how the last failure ends a program. */
static int
top_sample_take(struct ctl *ctl, struct top_sample *sample)
{
	json_t *summary;
	int status, failed = CTL_OK;

	memset(sample, 0, sizeof(*sample));
	ctl_warn_keep(sample->failure, sizeof(sample->failure));
	sample->at = clock_monotonic();
	sample->status = top_ask(ctl, "status", NULL, &status);
	if (status == CTL_OK) {
		summary = top_ask(ctl, "show", "summary", &failed);
		sample->summary =
		    json_incref(json_object_get(summary, "summary"));
		json_decref(summary);
		sample->nodes = top_ask(ctl, "show", "nodes", &status);
		failed = status != CTL_OK ? status : failed;
		sample->chats = top_ask(ctl, "show", "chats", &status);
	}
	ctl_warn_keep(NULL, 0);
	return (status != CTL_OK ? status : failed);
}

/* --- the terminal -------------------------------------------------------- */

static void
top_signal(int number)
{
	if (number == SIGTSTP)
		signals_stop = 1;
	else if (number != SIGWINCH)
		signals_end = 1;
}

static void
top_catch(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGTSTP,
		SIGWINCH };
	struct sigaction action;
	size_t i;

	memset(&action, 0, sizeof(action));
	action.sa_handler = top_signal;
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		(void)sigaction(numbers[i], &action, NULL);
}

static int
top_enter(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &terminal.before) == -1)
		return (-1);
	raw = terminal.before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == -1)
		return (-1);
	terminal.changed = 1;
	(void)fputs("\033[?1049h\033[?25l", stdout);
	return (0);
}

static void
top_leave(void)
{
	if (!terminal.changed)
		return;
	terminal.changed = 0;
	(void)fputs("\033[0m\033[?25h\033[?1049l", stdout);
	(void)fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal.before);
}

/* ^Z: give the terminal back, and take it again with fg. */
static void
top_suspend(void)
{
	signals_stop = 0;
	top_leave();
	(void)raise(SIGSTOP);
	(void)top_enter();
}

static void
top_size(struct top_view *view)
{
	struct winsize size;

	view->rows = 24;
	view->columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 &&
	    size.ws_col > 0) {
		view->rows = size.ws_row;
		view->columns = size.ws_col;
	}
}

static void
top_show(struct ctl *ctl, struct top_view *view)
{
	struct tm tm;
	time_t now = time(NULL);
	json_t *all;

	if (ctl->json) {
		all = top_json(view);
		(void)json_dumpf(all, stdout,
		    JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
		(void)putchar('\n');
		json_decref(all);
	} else {
		if (localtime_r(&now, &tm) == NULL ||
		    strftime(
			view->clock, sizeof(view->clock), "%H:%M:%S", &tm) == 0)
			view->clock[0] = '\0';
		top_size(view);
		top_draw(stdout, view);
	}
	(void)fflush(stdout);
}

/*
 * Wait until a time for keys and signals. 1: end; 0: ask again. Only while it
 * waits can a signal come, so that none comes between looking and waiting.
 */
static int
top_wait(struct ctl *ctl, struct top_view *view, int64_t until)
{
	struct pollfd keys = { ctl->json ? -1 : STDIN_FILENO, POLLIN, 0 };
	struct timespec pause;
	sigset_t none;
	int64_t left;
	char key;
	int n;

	(void)sigemptyset(&none);
	while ((left = until - clock_monotonic()) > 0) {
		pause.tv_sec = (time_t)(left / CLOCK_SECOND);
		pause.tv_nsec = (long)(left % CLOCK_SECOND);
		n = ppoll(&keys, 1, &pause, &none);
		if (signals_end || ferror(stdout))
			return (1);
		if (signals_stop)
			top_suspend();
		if (n == -1 && !ctl->json) /* resized, or back again */
			top_show(ctl, view);
		if (n != 1)
			continue;
		if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' ||
		    key == 'Q')
			return (1);
		if (key == ' ')
			return (0);
	}
	return (0);
}

/* Until it is ended, or after count times; 0: for ever. */
static int
top_run(struct ctl *ctl, int64_t interval, long long count)
{
	struct top_view view;
	sigset_t all, before;
	int status;

	memset(&view, 0, sizeof(view));
	view.colour = getenv("NO_COLOR") == NULL;
	(void)sigfillset(&all);
	for (;;) {
		status = top_sample_take(ctl, &view.now);
		if (view.before.at == 0 && view.now.status == NULL) {
			ctl_warn("%s", view.now.failure);
			break;
		}
		if (!ctl->json && !terminal.changed && top_enter() == -1) {
			ctl_warn("terminal: %s", strerror(errno));
			status = CTL_FAILED;
			break;
		}
		top_show(ctl, &view);
		if (--count == 0)
			break;
		(void)sigprocmask(SIG_BLOCK, &all, &before);
		status =
		    signals_end || top_wait(ctl, &view, view.now.at + interval)
			? CTL_OK
			: -1;
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		if (status == CTL_OK)
			break;
		top_sample_free(&view.before);
		view.before = view.now;
	}
	top_sample_free(&view.now);
	top_sample_free(&view.before);
	return (status);
}

int
ctl_top(struct ctl *ctl, int argc, char *argv[])
{
	const char *interval = "1s", *count = "0", *error;
	const struct ctl_option options[] = {
		{ "--interval", &interval, NULL },
		{ "--count", &count, NULL },
		{ NULL, NULL, NULL },
	};
	int64_t seconds;
	long long times;
	int status;

	if (ctl_options(ctl, options, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	if ((seconds = ctl_duration(interval)) == -1 || seconds > 3600) {
		ctl_warn("--interval %s: not a time from 1s to 1h", interval);
		return (CTL_USAGE);
	}
	times = strtonum(count, 0, 1000000000, &error);
	if (error != NULL) {
		ctl_warn("--count %s: %s", count, error);
		return (CTL_USAGE);
	}
	if (!ctl->json && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))) {
		ctl_warn("top draws on a terminal; top -j prints lines");
		return (CTL_USAGE);
	}
	if (ctl->timeout > TOP_TIMEOUT)
		ctl->timeout = TOP_TIMEOUT;
	if (!ctl->json)
		top_catch();
	status = top_run(ctl, seconds * CLOCK_SECOND, times);
	top_leave();
	return (status);
}
