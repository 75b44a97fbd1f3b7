/*
 * Tests only. resolv.conf and hosts: any bytes are a file that is read, and
 * every address that hosts has for a name is one. The first byte says which
 * file, and the second at which byte of the rest the name that is looked up
 * begins. Nobody is asked over a network.
 */

#include <sys/mman.h>

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "mesh/names.h"
#include "regress/fuzz/fuzz.h"

static struct event_base *base;

struct event_base *
proc_base(void)
{
	return (base);
}

struct evdns_getaddrinfo_request *__wrap_evdns_getaddrinfo(
    struct evdns_base *servers, const char *host, const char *port,
    const struct evutil_addrinfo *hints, evdns_getaddrinfo_cb done, void *arg);

struct evdns_getaddrinfo_request *
__wrap_evdns_getaddrinfo(struct evdns_base *servers, const char *host,
    const char *port, const struct evutil_addrinfo *hints,
    evdns_getaddrinfo_cb done, void *arg)
{
	(void)servers;
	(void)host;
	(void)port;
	(void)hints;
	done(EVUTIL_EAI_NONAME, NULL, arg);
	return (NULL);
}

static void
found(int error, struct evutil_addrinfo *list, void *arg)
{
	const struct evutil_addrinfo *one;

	FUZZ_CHECK((error == 0) == (list != NULL));
	for (one = list; one != NULL; one = one->ai_next) {
		FUZZ_CHECK(
		    one->ai_family == AF_INET || one->ai_family == AF_INET6);
		++*(unsigned int *)arg;
	}
	if (list != NULL)
		evutil_freeaddrinfo(list);
	++*(unsigned int *)arg;
}

static void
look_up(const uint8_t *at, size_t length)
{
	struct evutil_addrinfo hints = { .ai_socktype = SOCK_STREAM };
	unsigned int called = 0;
	char host[256];

	if (length >= sizeof(host))
		length = sizeof(host) - 1;
	memcpy(host, at, length);
	host[length] = '\0';
	host[strcspn(host, " \t\r\n#")] = '\0';
	FUZZ_CHECK(names_lookup(host, "7444", &hints, found, &called) == NULL);
	FUZZ_CHECK(called > 0);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	base = event_base_new();
	FUZZ_CHECK(base != NULL);
	names_setup();
	return (0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ipc_request request = { 0 };
	struct ipc_message message = { .payload = &request };

	if (size < 2)
		return (0);
	request.value = data[0] & 1 ? NAMES_HOSTS : NAMES_RESOLVER;
	message.fd = memfd_create("names", MFD_CLOEXEC);
	FUZZ_CHECK(message.fd != -1);
	FUZZ_CHECK(
	    write(message.fd, data + 2, size - 2) == (ssize_t)(size - 2) &&
	    lseek(message.fd, 0, SEEK_SET) == 0);
	names_on_file(NULL, &message);
	if (data[1] < size - 2)
		look_up(data + 2 + data[1], size - 2 - data[1]);
	return (0);
}
