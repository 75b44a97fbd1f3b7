/*
 * How many messages a second common/rpc echoes over TLS on the loopback: a
 * server process and a client process, one thread each, one connection.
 * Every message is counted and checked for order; one that is missing or a
 * call that fails makes the program fail.
 *
 * usage: rpc_bench [-c calls] [-n messages a call] [-s bytes] [-w in flight]
 */

#include <sys/resource.h>
#include <sys/wait.h>

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RIG_WITHOUT_CHECK
#include "regress/unit/rpc_fixture.h"

struct load {
	struct call call;
	uint64_t window; /* in flight at most */
	uint64_t total;
};

static void
load_pump(struct load *load)
{
	struct call *call = &load->call;
	uint8_t *to;

	while (call->sent < load->total &&
	       !rpc_stream_congested(call->stream) &&
	       call->sent - call->messages < load->window) {
		if ((to = rpc_stream_reserve(call->stream, call->size)) == NULL)
			err(1, "reserve");
		memcpy(to, &call->sent, sizeof(call->sent));
		rpc_stream_commit(call->stream, call->size);
		if (++call->sent == load->total)
			rpc_stream_half_close(call->stream);
	}
}

static void
load_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	struct load *load = arg;

	call_message(stream, message, length, &load->call);
	if (load->call.sent - load->call.messages <= load->window / 2)
		load_pump(load);
}

static void
load_writable(struct rpc_stream *stream, void *arg)
{
	(void)stream;
	load_pump(arg);
}

static void
load_closed(struct rpc_stream *stream, enum rpc_status status, const char *text,
    void *arg)
{
	struct load *load = arg;

	call_closed(stream, status, text, &load->call);
}

static const struct rpc_stream_callbacks load_callbacks = { load_message, NULL,
	load_writable, load_closed };

static double
cpu_seconds(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return ((double)usage.ru_utime.tv_sec +
		(double)usage.ru_utime.tv_usec / 1e6 +
		(double)usage.ru_stime.tv_sec +
		(double)usage.ru_stime.tv_usec / 1e6);
}

static pid_t
serve(struct rig *rig)
{
	int fd = rig_socket(rig);
	pid_t pid = fork();

	if (pid != 0) {
		close(fd);
		return (pid);
	}
	event_reinit(rig->base);
	rig->server = rpc_server_new(rig->base, rig->server_tls, &rig->limits,
	    rig_methods, RIG_METHODS, NULL, rig);
	rpc_server_listen(rig->server, fd);
	event_base_dispatch(rig->base);
	exit(0);
}

int
main(int argc, char *argv[])
{
	struct rig rig;
	struct load *loads;
	int64_t start;
	double seconds, calls_cpu;
	uint64_t total = 0, n = 1000000, window = 4096;
	size_t size = 256;
	int i, option, calls = 1, failed = 0;
	pid_t pid;

	while ((option = getopt(argc, argv, "c:n:s:w:")) != -1) {
		switch (option) {
		case 'c':
			calls = atoi(optarg);
			break;
		case 'n':
			n = strtoull(optarg, NULL, 10);
			break;
		case 's':
			size = strtoul(optarg, NULL, 10);
			break;
		case 'w':
			window = strtoull(optarg, NULL, 10);
			break;
		default:
			errx(1, "usage: rpc_bench [-c calls] [-n messages] "
				"[-s bytes] [-w in flight]");
		}
	}
	if (size < 8 || calls < 1 ||
	    (loads = calloc((size_t)calls, sizeof(*loads))) == NULL)
		errx(1, "what?");
	rig_base(&rig);
	rig_tls(&rig);
	pid = serve(&rig);
	rig_connect(&rig);
	WAIT(&rig, rig.connected);
	start = clock_monotonic();
	for (i = 0; i < calls; i++) {
		loads[i].window = window;
		loads[i].total = n;
		loads[i].call.size = size;
		loads[i].call.in_order = 1;
		loads[i].call.stream = rpc_call(rig.connection,
		    "/test.Echo/Stream", 0, &load_callbacks, &loads[i]);
		load_pump(&loads[i]);
	}
	for (i = 0; i < calls; i++) {
		while (!loads[i].call.closed)
			event_base_loop(rig.base, EVLOOP_ONCE);
		total += loads[i].call.messages;
		if (loads[i].call.status != RPC_OK ||
		    loads[i].call.messages != n || !loads[i].call.in_order)
			failed++;
	}
	seconds = (double)(clock_monotonic() - start) / 1e9;
	calls_cpu = cpu_seconds(RUSAGE_SELF);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	printf("calls=%d size=%zu window=%llu messages=%llu failed=%d "
	       "seconds=%.2f echoed_per_second=%.0f client_cpu=%.2f "
	       "server_cpu=%.2f\n",
	    calls, size, (unsigned long long)window, (unsigned long long)total,
	    failed, seconds, (double)total / seconds, calls_cpu,
	    cpu_seconds(RUSAGE_CHILDREN));
	free(loads);
	return (failed != 0);
}
