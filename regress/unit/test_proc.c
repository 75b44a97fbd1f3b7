/*
 * Test. The frame of a child: this program plays the parent and the
 * neighbours of a real second process that runs proc_run(). What its hooks
 * see comes back as words through a pipe.
 */

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/proc/privileges.h"
#include "common/proc/proc.h"
#include "common/proc/sandbox.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "regress/unit/suite.h"

#define WAIT_NS (120 * CLOCK_SECOND)

static struct {
	struct event_base *base;
	struct ipc *door; /* the parent's to the child */
	pid_t pid;
	int said; /* the child's pipe */
	char text[8192];
	size_t length;
	unsigned int ready;
	unsigned int shut;
	uint64_t broken; /* accused */
	int closed;
} t;

/* --- the child ----------------------------------------------------------- */

static int say_fd = -1;

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vdprintf(say_fd, format, ap);
	va_end(ap);
}

static void
child_configured(const struct config *config, int reload)
{
	/* No ck_ in the child: check(3)'s own file is closed there. */
	say("configured %s %d;",
	    config == proc_config() ? config->node_id : "?", reload);
}

static void
child_door_up(enum process peer, struct ipc *ipc)
{
	say("up %s %d;", process_name(peer), proc_ipc(peer) == ipc);
}

static void
child_door_down(enum process peer)
{
	say("down %s %d;", process_name(peer), proc_ipc(peer) == NULL);
}

static void
child_listener(enum listener_kind kind, uint32_t index, int fd)
{
	say("listener %d %u %d;", (int)kind, index, fcntl(fd, F_GETFD));
	(void)close(fd);
}

static void
child_listeners_close(void)
{
	say("listeners_close;");
}

static void
child_tls_file(int fd)
{
	say("tls_file %d;", fd > 2);
	(void)close(fd);
}

static void
child_prepare(void)
{
	struct rlimit core;

	/* What the sandbox no longer lets anybody ask. */
	(void)getrlimit(RLIMIT_CORE, &core);
	say("prepare dumpable=%d core=%d nnp=%d held=%d;",
	    prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), (int)core.rlim_max,
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), privileges_held());
}

static void
child_go(void)
{
	say("go;");
}

static void
child_shutdown(int64_t grace)
{
	say("shutdown %lld;", (long long)grace);
	proc_done();
}

static void
child_wipe(void)
{
	say("wipe;");
}

/* PRESENCE from mesh: the handler finds something wrong with it. */
static void
child_on_presence(void *arg, const struct ipc_message *message)
{
	struct proc_door *door = arg;

	(void)message;
	say("presence;");
	proc_broken(door->peer, "test");
	/* The door can still be named, and takes what nobody will read. */
	ipc_send(door->ipc, IPC_APP_DOWN, &(struct ipc_app){ { 0 } }, NULL, 0);
	say("after %d;", proc_ipc(PROCESS_MESH) == NULL);
}

/* CHAT_RECORDS_END from keyd: an invariant of our own breaks. */
static void
child_on_records_end(void *arg, const struct ipc_message *message)
{
	(void)arg;
	(void)message;
	fatal("test", "reason=asked");
}

static const ipc_handler child_handlers[IPC_TYPE_COUNT] = {
	[IPC_PRESENCE] = child_on_presence,
	[IPC_CHAT_RECORDS_END] = child_on_records_end
};

static const struct proc_hooks child_hooks = { .handlers = child_handlers,
	.prepare = child_prepare,
	.configured = child_configured,
	.listener = child_listener,
	.listeners_close = child_listeners_close,
	.tls_file = child_tls_file,
	.door_up = child_door_up,
	.door_down = child_door_down,
	.go = child_go,
	.shutdown = child_shutdown,
	.wipe = child_wipe };

static void __attribute__((noreturn))
child_run(enum process self, int door, int said, int keep_root)
{
	const char *what;

	say_fd = fcntl(said, F_DUPFD_CLOEXEC, 100);
	(void)dup2(door, PROC_PARENT_FD);
	for (door = PROC_PARENT_FD + 1; door < 100; door++)
		(void)close(door);
	if (geteuid() == 0 && !keep_root &&
	    privileges_drop(65534, 65534, &what) == -1)
		_exit(99);
	_exit(proc_run(self, &child_hooks));
}

/* --- the parent ---------------------------------------------------------- */

static void
on_ready(void *arg, const struct ipc_message *message)
{
	(void)arg;
	(void)message;
	t.ready++;
}

static void
on_shut(void *arg, const struct ipc_message *message)
{
	(void)arg;
	(void)message;
	t.shut++;
}

static void
on_broken(void *arg, const struct ipc_message *message)
{
	(void)arg;
	t.broken = ((const struct ipc_door *)message->payload)->peer;
}

static void
on_closed(void *arg, const char *reason)
{
	(void)arg;
	(void)reason;
	t.door = NULL;
	t.closed = 1;
}

static const ipc_handler parent_side[IPC_TYPE_COUNT] = {
	[IPC_READY] = on_ready, [IPC_SHUT] = on_shut, [IPC_BROKEN] = on_broken
};

static void
start_as(enum process self, int keep_root)
{
	static const struct ipc_callbacks callbacks = { parent_side, NULL, NULL,
		on_closed };
	int doors[2], said[2];

	memset(&t, 0, sizeof(t));
	ck_assert_int_eq(ipc_pair(doors), 0);
	ck_assert_int_eq(pipe2(said, O_CLOEXEC), 0);
	t.pid = fork();
	ck_assert_int_ne(t.pid, -1);
	if (t.pid == 0)
		child_run(self, doors[1], said[1], keep_root);
	(void)close(doors[1]);
	(void)close(said[1]);
	t.said = said[0];
	ck_assert_int_eq(fcntl(t.said, F_SETFL, O_NONBLOCK), 0);
	t.base = event_base_new();
	t.door =
	    ipc_new(t.base, doors[0], PROCESS_PARENT, self, &callbacks, NULL);
}

static void
turn(void)
{
	ssize_t n;

	(void)event_base_loop(t.base, EVLOOP_NONBLOCK);
	n = read(t.said, t.text + t.length, sizeof(t.text) - t.length - 1);
	if (n > 0)
		t.length += (size_t)n;
	t.text[t.length] = '\0';
}

static void
until_said(const char *words)
{
	int64_t end = clock_monotonic() + WAIT_NS;

	while (turn(), strstr(t.text, words) == NULL) {
		ck_assert_msg(clock_monotonic() < end, "no \"%s\" in \"%s\"",
		    words, t.text);
		(void)poll(NULL, 0, 1);
	}
}

static void
until_set(const unsigned int *counter)
{
	int64_t end = clock_monotonic() + WAIT_NS;

	while (turn(), *counter == 0) {
		ck_assert_msg(clock_monotonic() < end, "waited in vain");
		(void)poll(NULL, 0, 1);
	}
}

/* The child's exit status; what it still had to say is read. */
static int
finish(void)
{
	int64_t end = clock_monotonic() + WAIT_NS;
	int status;

	while (waitpid(t.pid, &status, WNOHANG) == 0) {
		ck_assert_msg(clock_monotonic() < end, "it does not exit");
		turn();
		(void)poll(NULL, 0, 1);
	}
	turn();
	ipc_free(t.door);
	event_base_free(t.base);
	(void)close(t.said);
	ck_assert(WIFEXITED(status));
	return (WEXITSTATUS(status));
}

static void
send_config(const char *node)
{
	static struct config config;

	memset(&config, 0, sizeof(config));
	config.log_level = LOG_LEVEL_ERROR;
	(void)strlcpy(config.node_id, node, sizeof(config.node_id));
	(void)strlcpy(
	    config.keystore.path, "/tmp", sizeof(config.keystore.path));
	ipc_send(t.door, IPC_CONFIG, &config, NULL, 0);
}

/* Give the child a door; our end, a descriptor. */
static int
send_door(enum process peer)
{
	struct ipc_door door = { .peer = (uint64_t)peer };
	int fds[2];

	ck_assert_int_eq(ipc_pair(fds), 0);
	ipc_send_fd(t.door, IPC_DOOR, &door, fds[1]);
	return (fds[0]);
}

static void
send_empty(enum ipc_type type)
{
	struct ipc_empty empty = { 0 };

	ipc_send(t.door, type, &empty, NULL, 0);
}

static void
start(enum process self)
{
	start_as(self, 0);
	send_config("a");
}

/* A frame of zeros on a neighbour's door. */
static void
put_zeros(int fd, enum ipc_type type)
{
	uint8_t bytes[16384] = { 0 };
	struct ipc_header header = { .length = (uint32_t)ipc_payload_size(type),
		.type = (uint16_t)type };
	size_t size;

	memcpy(bytes, &header, sizeof(header));
	size = sizeof(header) + ((header.length + 7) & ~(size_t)7);
	ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* The kernel says that the child is in its sandbox, without a capability. */
static void
has_walls(void)
{
	char path[64], text[8192];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)t.pid);
	ck_assert_int_ne(fd = open(path, O_RDONLY | O_CLOEXEC), -1);
	ck_assert_int_gt(n = read(fd, text, sizeof(text) - 1), 0);
	(void)close(fd);
	text[n] = '\0';
	ck_assert_ptr_nonnull(strstr(text, "\nNoNewPrivs:\t1\n"));
	if (SANDBOX_OPEN)
		return; /* as it should be there */
	ck_assert_ptr_nonnull(strstr(text, "\nSeccomp:\t2\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nCapEff:\t0000000000000000\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nCapPrm:\t0000000000000000\n"));
}

/* --- cases --------------------------------------------------------------- */

START_TEST(test_start_reload_shutdown)
{
	struct ipc_listener listener = { LISTEN_APP, 3 };
	struct ipc_shutdown order = { .grace = 12345 };
	int keyd;

	start(PROCESS_ROUTER);
	keyd = send_door(PROCESS_KEYD);
	ipc_send_fd(t.door, IPC_LISTENER, &listener, dup(0));
	ipc_send_fd(t.door, IPC_TLS_FILE, &(struct ipc_empty){ 0 }, dup(0));
	send_empty(IPC_GO);
	until_set(&t.ready);
	until_said("go;");
	ck_assert_str_eq(t.text, "prepare dumpable=0 core=0 nnp=1 held=0;"
				 "configured a 0;up keyd 1;listener 0 3 1;"
				 "tls_file 1;go;");
	has_walls();
	send_config("b");
	send_empty(IPC_LISTENERS_CLOSE);
	until_said("configured b 1;listeners_close;");
	ipc_send(t.door, IPC_SHUTDOWN, &order, NULL, 0);
	ck_assert_int_eq(finish(), 0);
	ck_assert_uint_eq(t.shut, 1);
	ck_assert_ptr_nonnull(strstr(t.text, "shutdown 12345;wipe;"));
	(void)close(keyd);
}
END_TEST

START_TEST(test_signals_are_the_parents)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE,
		SIGUSR1, SIGUSR2 };
	size_t i;

	start(PROCESS_ROUTER);
	send_empty(IPC_GO);
	until_set(&t.ready);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		ck_assert_int_eq(kill(t.pid, numbers[i]), 0);
	send_config("b");
	until_said("configured b 1;");
	ipc_free(t.door);
	t.door = NULL;
	ck_assert_int_eq(finish(), 1);
}
END_TEST

START_TEST(test_parent_dies)
{
	start(PROCESS_KEYD);
	until_said("configured");
	ipc_free(t.door);
	t.door = NULL;
	ck_assert_int_eq(finish(), 1);
	ck_assert_ptr_nonnull(strstr(t.text, "wipe;"));
}
END_TEST

START_TEST(test_keyd_dies)
{
	int keyd;

	start(PROCESS_MESH);
	keyd = send_door(PROCESS_KEYD);
	until_said("up keyd 1;");
	(void)close(keyd);
	ck_assert_int_eq(finish(), 1);
	ck_assert_ptr_nonnull(strstr(t.text, "wipe;"));
	/* Control has nothing to wipe and answers to the end. */
	start(PROCESS_CONTROL);
	keyd = send_door(PROCESS_KEYD);
	until_said("up keyd 1;");
	(void)close(keyd);
	until_said("down keyd 1;");
	send_empty(IPC_GO);
	until_set(&t.ready);
	ipc_free(t.door);
	t.door = NULL;
	ck_assert_int_eq(finish(), 1);
}
END_TEST

START_TEST(test_neighbour_comes_again)
{
	int mesh, again;

	start(PROCESS_ROUTER);
	mesh = send_door(PROCESS_MESH);
	until_said("up mesh 1;");
	(void)close(mesh);
	until_said("down mesh 1;");
	mesh = send_door(PROCESS_MESH);
	until_said("down mesh 1;up mesh 1;");
	/* A new door before the old one is seen to be closed. */
	again = send_door(PROCESS_MESH);
	until_said("up mesh 1;down mesh 1;up mesh 1;down mesh 1;up mesh 1;");
	ck_assert_uint_eq(t.broken, 0);
	ipc_free(t.door);
	t.door = NULL;
	ck_assert_int_eq(finish(), 1);
	(void)close(mesh);
	(void)close(again);
}
END_TEST

/* The neighbour breaks the table: the parent hears of it. */
START_TEST(test_neighbour_breaks_the_table)
{
	int mesh;

	start(PROCESS_ROUTER);
	mesh = send_door(PROCESS_MESH);
	until_said("up mesh 1;");
	put_zeros(mesh, IPC_OPENED); /* keyd's to send */
	until_said("down mesh 1;");
	while (t.broken == 0)
		turn();
	ck_assert_uint_eq(t.broken, PROCESS_MESH);
	ipc_free(t.door);
	t.door = NULL;
	ck_assert_int_eq(finish(), 1);
	(void)close(mesh);
}
END_TEST

/* What it sends is well formed and wrong: a handler finds out. */
START_TEST(test_proc_broken)
{
	char byte;
	int mesh;

	start(PROCESS_ROUTER);
	mesh = send_door(PROCESS_MESH);
	until_said("up mesh 1;");
	put_zeros(mesh, IPC_PRESENCE);
	put_zeros(mesh, IPC_PRESENCE);
	until_said("presence;after 1;down mesh 1;");
	while (t.broken == 0)
		turn();
	ck_assert_uint_eq(t.broken, PROCESS_MESH);
	/* Its door is closed: data that was queued, then the end. */
	ck_assert_int_eq(fcntl(mesh, F_SETFL, 0), 0);
	while (recv(mesh, &byte, 1, 0) == 1)
		;
	turn();
	ck_assert_ptr_null(strstr(t.text, "after 1;down mesh 1;presence"));
	ipc_free(t.door);
	t.door = NULL;
	ck_assert_int_eq(finish(), 1);
	(void)close(mesh);
}
END_TEST

START_TEST(test_keyd_breaks_the_table)
{
	int keyd;

	start(PROCESS_ROUTER);
	keyd = send_door(PROCESS_KEYD);
	until_said("up keyd 1;");
	put_zeros(keyd, IPC_FOUND); /* mesh's to send */
	ck_assert_int_eq(finish(), 1);
	ck_assert_uint_eq(t.broken, PROCESS_KEYD);
	(void)close(keyd);
}
END_TEST

START_TEST(test_fatal_wipes)
{
	int keyd;

	start(PROCESS_ROUTER);
	keyd = send_door(PROCESS_KEYD);
	until_said("up keyd 1;");
	put_zeros(keyd, IPC_CHAT_RECORDS_END);
	ck_assert_int_eq(finish(), 1);
	ck_assert_ptr_nonnull(strstr(t.text, "wipe;"));
	ck_assert_ptr_eq(strstr(strstr(t.text, "wipe;") + 1, "wipe;"), NULL);
	(void)close(keyd);
}
END_TEST

START_TEST(test_order_is_kept)
{
	int keyd;

	/* A door before the configuration is a bug of the parent. */
	start_as(PROCESS_ROUTER, 0);
	keyd = send_door(PROCESS_KEYD);
	ck_assert_int_eq(finish(), 1);
	(void)close(keyd);
	start(PROCESS_ROUTER);
	keyd = send_door(PROCESS_ROUTER);
	ck_assert_int_eq(finish(), 1);
	(void)close(keyd);
}
END_TEST

START_TEST(test_root_is_refused)
{
	if (geteuid() == 0) {
		start_as(PROCESS_KEYD, 1);
		ck_assert_int_eq(finish(), 1);
		ck_assert_ptr_nonnull(strstr(t.text, "wipe;"));
	} else
		ck_assert_int_eq(privileges_held(), 0);
}
END_TEST

START_TEST(test_drop)
{
	const char *what;
	gid_t groups[8];
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (geteuid() != 0)
			_exit(privileges_held());
		if (privileges_drop(65534, 65534, &what) == -1)
			_exit(2);
		if (getuid() != 65534 || geteuid() != 65534 ||
		    getgid() != 65534 || getgroups(8, groups) != 1 ||
		    groups[0] != 65534)
			_exit(3);
		if (setuid(0) != -1 || setgid(0) != -1)
			_exit(4);
		_exit(privileges_held());
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("proc");
	TCase *tc = tcase_create("child");

	log_init("test_proc", LOG_LEVEL_ERROR, 1);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_start_reload_shutdown);
	tcase_add_test(tc, test_signals_are_the_parents);
	tcase_add_test(tc, test_parent_dies);
	tcase_add_test(tc, test_keyd_dies);
	tcase_add_test(tc, test_neighbour_comes_again);
	tcase_add_test(tc, test_neighbour_breaks_the_table);
	tcase_add_test(tc, test_proc_broken);
	tcase_add_test(tc, test_keyd_breaks_the_table);
	tcase_add_test(tc, test_fatal_wipes);
	tcase_add_test(tc, test_order_is_kept);
	tcase_add_test(tc, test_root_is_refused);
	tcase_add_test(tc, test_drop);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
