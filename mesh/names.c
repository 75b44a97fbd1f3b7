/*
 * mesh, unprivileged. Names of nodes; see names.h. The two files are the
 * operator's and come from the parent: they are read here, where nothing can be
 * opened, and the last good copy counts. What name servers answer is hostile,
 * and libevent's to read.
 */

#include <sys/socket.h>
#include <sys/stat.h>

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/util/log.h"
#include "mesh/names.h"

#define FILE_MAX   (1024 * 1024) /* bytes of either file */
#define SEARCH_MAX 32            /* domains */
#define BLANK      " \t\r"

static struct {
	struct evdns_base *servers;
	char *hosts;      /* the file's text, or NULL */
	char domain[256]; /* of this host, or "" */
} names;

/* --- resolv.conf ---------------------------------------------------------- */

static char *
next_word(char **line)
{
	char *word;

	while ((word = strsep(line, BLANK)) != NULL && word[0] == '\0')
		;
	return (word);
}

/* The last line counts. libevent takes each domain before those it has. */
static void
resolver_search(char *line, size_t most)
{
	char *domains[SEARCH_MAX], *word;
	size_t count = 0;

	while (count < most && (word = next_word(&line)) != NULL)
		domains[count++] = word;
	evdns_base_search_clear(names.servers);
	while (count > 0)
		evdns_base_search_add(names.servers, domains[--count]);
}

static void
resolver_options(char *line)
{
	char *word, *value;

	while ((word = next_word(&line)) != NULL) {
		value = strchr(word, ':');
		(void)evdns_base_set_option(
		    names.servers, word, value == NULL ? "" : value + 1);
	}
}

/* One line, which is taken apart. */
static void
resolver_line(char *line)
{
	char *what = strsep(&line, BLANK), *word;

	if (what == NULL)
		return;
	if (strcmp(what, "search") == 0)
		resolver_search(line, SEARCH_MAX);
	else if (strcmp(what, "domain") == 0)
		resolver_search(line, 1);
	else if (strcmp(what, "options") == 0)
		resolver_options(line);
	else if (strcmp(what, "nameserver") == 0 &&
		 (word = next_word(&line)) != NULL)
		(void)evdns_base_nameserver_ip_add(names.servers, word);
}

/* text is taken apart. Questions that are out go to the new servers. */
static void
resolver_read(char *text)
{
	/* What libevent begins with: no option of the last file stays. */
	char standard[] = "ndots:1 timeout:5 attempts:3 max-timeouts:3 "
			  "max-inflight:64 randomize-case:1 "
			  "initial-probe-timeout:10 "
			  "getaddrinfo-allow-skew:3";
	struct evdns_base *servers = names.servers;
	char *line;

	(void)evdns_base_clear_nameservers_and_suspend(servers);
	evdns_base_search_clear(servers);
	resolver_options(standard);
	if (names.domain[0] != '\0')
		evdns_base_search_add(servers, names.domain);
	while ((line = strsep(&text, "\n")) != NULL) {
		line[strcspn(line, "#;")] = '\0';
		resolver_line(line + strspn(line, BLANK));
	}
	if (evdns_base_count_nameservers(servers) == 0)
		(void)evdns_base_nameserver_ip_add(servers, "127.0.0.1");
	(void)evdns_base_resume(servers);
}

/* --- hosts ---------------------------------------------------------------- */

/* Does the line, of length bytes, name host? Its address, cut to size. */
static int
hosts_line(const char *line, size_t length, const char *host, char *address,
    size_t size)
{
	const char *end = line + length, *word;
	size_t name = strlen(host), n = 0;
	int first = 1;

	for (; line < end; line += n) {
		line += strspn(line, BLANK);
		n = strcspn(line, BLANK "\n#");
		word = line;
		if (line >= end || n == 0)
			return (0);
		if (first && n >= size)
			return (0);
		if (first) {
			memcpy(address, word, n);
			address[n] = '\0';
			first = 0;
		} else if (n == name && strncasecmp(word, host, n) == 0)
			return (1);
	}
	return (0);
}

/* Every address that hosts has for the name, in its order; NULL: none. */
static struct evutil_addrinfo *
hosts_find(
    const char *host, const char *port, const struct evutil_addrinfo *wanted)
{
	struct evutil_addrinfo hints = *wanted, *list = NULL, *more;
	struct evutil_addrinfo **last = &list;
	const char *line = names.hosts;
	char address[128];
	size_t length;

	hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	for (; line != NULL && *line != '\0'; line += length) {
		length = strcspn(line, "\n");
		if (hosts_line(line, length, host, address, sizeof(address)) &&
		    getaddrinfo(address, port, &hints, &more) == 0) {
			*last = more;
			while (*last != NULL)
				last = &(*last)->ai_next;
		}
		if (line[length] == '\n')
			length++;
	}
	return (list);
}

/* --- both ----------------------------------------------------------------- */

void
names_setup(void)
{
	char name[256];
	const char *dot;

	if (names.servers != NULL ||
	    (names.servers = evdns_base_new(proc_base(), 0)) == NULL)
		return;
	if (gethostname(name, sizeof(name) - 1) == 0) {
		name[sizeof(name) - 1] = '\0';
		if ((dot = strchr(name, '.')) != NULL)
			(void)strlcpy(
			    names.domain, dot + 1, sizeof(names.domain));
	}
	(void)evdns_base_nameserver_ip_add(names.servers, "127.0.0.1");
}

/* All of a file, with a NUL; NULL when it is not to be had. */
static char *
file_read_text(int fd)
{
	struct stat st;
	size_t length = 0;
	ssize_t n;
	char *text;

	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    st.st_size > FILE_MAX ||
	    (text = malloc((size_t)st.st_size + 1)) == NULL)
		return (NULL);
	while (length < (size_t)st.st_size &&
	       (n = read(fd, text + length, (size_t)st.st_size - length)) > 0)
		length += (size_t)n;
	text[length] = '\0';
	return (text);
}

void
names_on_file(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	char *text = file_read_text(message->fd);

	(void)arg;
	(void)close(message->fd);
	if (text == NULL || names.servers == NULL) {
		log_warn("names_unread",
		    "file=%s reason=\"no file, or larger than 1 MiB\"",
		    request->value == NAMES_HOSTS ? "/etc/hosts"
						  : "/etc/resolv.conf");
		free(text);
		return;
	}
	if (request->value == NAMES_HOSTS) {
		free(names.hosts);
		names.hosts = text;
		return;
	}
	resolver_read(text);
	free(text);
}

void *
names_lookup(const char *host, const char *port,
    const struct evutil_addrinfo *hints, evdns_getaddrinfo_cb done, void *arg)
{
	struct evutil_addrinfo *list = hosts_find(host, port, hints);

	if (list == NULL && names.servers != NULL)
		return (evdns_getaddrinfo(
		    names.servers, host, port, hints, done, arg));
	done(list == NULL ? EVUTIL_EAI_FAIL : 0, list, arg);
	return (NULL);
}

void
names_cancel(void *lookup)
{
	evdns_getaddrinfo_cancel(lookup);
}
