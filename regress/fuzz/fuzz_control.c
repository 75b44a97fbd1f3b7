/*
 * Tests only. control as a local user, a web page and a hostile router or
 * mesh see it: requests on its socket, HTTP requests, and answers of the
 * other processes with any bytes in them.
 */

#include <sys/socket.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc/ipc_door.h"
#include "common/proc/proc.h"
#include "control/ask.h"
#include "control/control.h"
#include "control/http.h"
#include "control/socket.h"
#include "regress/fuzz/fuzz.h"

#define DOORS     4
#define ANSWERS   64
#define QUESTIONS 16

static struct {
	struct event_base *base;
	struct proc_door doors[DOORS];
	int sinks[DOORS];
	uint64_t ids[QUESTIONS];
	size_t count;
} state;

static const enum process processes[DOORS] = { PROCESS_PARENT, PROCESS_ROUTER,
	PROCESS_KEYD, PROCESS_MESH };

static struct ipc *
door(enum process process)
{
	size_t i;

	for (i = 0; i < DOORS; i++)
		if (processes[i] == process)
			return (state.doors[i].ipc);
	return (NULL);
}

static void
on_nothing(void *arg, const char *reason)
{
	(void)reason;
	((struct proc_door *)arg)->ipc = NULL;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct ipc_callbacks callbacks = { control_handlers, NULL, NULL,
		on_nothing };
	size_t i;
	int fds[2];

	(void)argc;
	(void)argv;
	fuzz_quiet();
	(void)signal(SIGPIPE, SIG_IGN); /* as proc.c does */
	fuzz_seed(10);
	FUZZ_CHECK((state.base = event_base_new()) != NULL);
	for (i = 0; i < DOORS; i++) {
		FUZZ_CHECK(ipc_pair(fds) == 0);
		state.sinks[i] = fds[1];
		state.doors[i].peer = processes[i];
		state.doors[i].ipc = ipc_new(state.base, fds[0],
		    PROCESS_CONTROL, processes[i], &callbacks, &state.doors[i]);
		FUZZ_CHECK(state.doors[i].ipc != NULL);
	}
	return (0);
}

/* What control asked: the ids, to be answered. */
static void
questions(void)
{
	static uint8_t room[65536];
	struct ipc_header header;
	size_t i, at;
	ssize_t n;

	for (i = 0; i < DOORS; i++) {
		n = recv(state.sinks[i], room, sizeof(room), MSG_DONTWAIT);
		for (at = 0; n > 0 && at + sizeof(header) + 8 <= (size_t)n;
		     at += ipc_frame_size(header.length)) {
			memcpy(&header, room + at, sizeof(header));
			if (state.count < QUESTIONS)
				memcpy(&state.ids[state.count++],
				    room + at + sizeof(header), 8);
		}
	}
}

static void
turn(void)
{
	int i;

	for (i = 0; i < 3; i++) {
		(void)event_base_loop(state.base, EVLOOP_NONBLOCK);
		questions();
	}
}

/* A process answers: any message the table lets it send, any bytes. */
static void
answer(struct input *input)
{
	struct ipc_message message = { .fd = -1 };
	struct proc_door *from = &state.doors[input_u8(input) % DOORS];
	const struct ipc_row *row;
	uint8_t what = input_u8(input), fill = input_u8(input), *bytes;
	size_t size;

	message.type = (enum ipc_type)(input_u8(input) % IPC_TYPE_COUNT);
	row = &ipc_rows[message.type];
	if (control_handlers[message.type] == NULL ||
	    !(row->from & (unsigned int)from->peer) || row->descriptor)
		return;
	/* What the parent and keyd say is theirs to say right. */
	if (from->peer == PROCESS_PARENT && message.type != IPC_RESULT)
		return;
	message.tail_length = row->tail > 0 ? what & 63 : 0;
	size = row->size + message.tail_length;
	FUZZ_CHECK((bytes = malloc(size)) != NULL);
	memset(bytes, fill, size);
	input_bytes(input, bytes, size < 40 ? size : 40);
	if (state.count > 0)
		memcpy(bytes, &state.ids[what % state.count], 8);
	message.payload = bytes;
	message.tail = bytes + row->size;
	control_handlers[message.type](from, &message);
	free(bytes);
}

static int
listener(int family, struct sockaddr *address, socklen_t *length)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	FUZZ_CHECK(fd != -1 && bind(fd, address, *length) == 0);
	*length = sizeof(struct sockaddr_storage);
	FUZZ_CHECK(listen(fd, 8) == 0 && getsockname(fd, address, length) == 0);
	return (fd);
}

static void
serve(struct input *input, int http)
{
	static char room[65536];
	struct sockaddr_storage address;
	struct sockaddr_in *in = (struct sockaddr_in *)&address;
	struct sockaddr_un *un = (struct sockaddr_un *)&address;
	socklen_t length = http ? sizeof(*in) : sizeof(sa_family_t);
	const uint8_t *at;
	size_t n, i;
	int fd, client;

	memset(&address, 0, sizeof(address));
	if (http) {
		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else
		un->sun_family = AF_UNIX; /* a name of the system's choice */
	fd = listener(address.ss_family, (struct sockaddr *)&address, &length);
	FUZZ_CHECK((http ? http_listen(fd) : socket_listen(fd)) == 0);
	client = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(client != -1);
	FUZZ_CHECK(connect(client, (struct sockaddr *)&address, length) == 0);
	turn();
	/* Requests end with a NUL; answers follow. */
	n = input->left == 0 ? 0
			     : strnlen((const char *)input->at, input->left);
	n = input_span(input, n, &at);
	(void)send(client, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)input_u8(input);
	turn();
	for (i = 0; i < ANSWERS && input->left > 0; i++) {
		answer(input);
		turn();
		(void)recv(client, room, sizeof(room), MSG_DONTWAIT);
	}
	for (i = 0; i < DOORS; i++)
		ask_lost(processes[i]);
	turn();
	while (recv(client, room, sizeof(room), MSG_DONTWAIT) > 0)
		;
	(void)close(client);
	turn();
	if (http) {
		http_listeners_close();
		http_close_all();
	} else {
		socket_listeners_close();
		socket_close_all();
	}
	turn();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	uint8_t what = input_u8(&input);

	control_init(state.base, door);
	state.count = 0;
	questions();
	state.count = 0;
	control.config.admin_apps = what >> 4 & 1;
	control.config.admin_full_ids = what >> 5 & 1;
	serve(&input, what & 1);
	return (0);
}
