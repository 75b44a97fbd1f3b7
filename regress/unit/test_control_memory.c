/*
 * control: an allocation that fails, each in turn, of all that one command
 * makes. The client hears all, an error, or that nothing more will come: it
 * never waits for what is lost.
 */

#include <event2/event.h>

#include "regress/unit/control_fixture.h"
#include "regress/unit/suite.h"

static struct {
	int on;
	unsigned int left; /* until one fails */
	int hit;
} fault;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);

static int
fails(void)
{
	if (!fault.on || fault.hit || fault.left-- > 0)
		return (0);
	fault.hit = 1;
	errno = ENOMEM;
	return (1);
}

/* What this program calls (ld --wrap), jansson and libevent too. */
void *
__wrap_malloc(size_t size)
{
	return (fails() ? NULL : __real_malloc(size));
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return (fails() ? NULL : __real_calloc(count, size));
}

void *
__wrap_realloc(void *at, size_t size)
{
	return (fails() ? NULL : __real_realloc(at, size));
}

/* As fixture_read(), of whom only control has faults. What came, or NULL:
 * the end came before it. */
static char *
answer_read(int fd, const char *until_text)
{
	static char got[65536];
	int64_t until = clock_monotonic() + BOUND;
	size_t length = 0;
	ssize_t n;

	for (;;) {
		ck_assert_msg(clock_monotonic() < until,
		    "waits, allocation hit %d", fault.hit);
		fault.on = 1;
		(void)event_base_loop(fixture.base, EVLOOP_NONBLOCK);
		fault.on = 0;
		(void)event_base_loop(fixture.others, EVLOOP_NONBLOCK);
		n = recv(
		    fd, got + length, sizeof(got) - 1 - length, MSG_DONTWAIT);
		if (n == 0 || (n == -1 && errno == ECONNRESET))
			return (NULL);
		if (n == -1)
			continue;
		length += (size_t)n;
		got[length] = '\0';
		if (strstr(got, until_text) != NULL)
			return (got);
	}
}

/* Ask; allocation number left fails. NULL: the end instead of an answer. */
static char *
ask_with_fault(const char *line, const char *until_text, unsigned int left)
{
	static const enum process all[] = { PROCESS_PARENT, PROCESS_ROUTER,
		PROCESS_KEYD, PROCESS_MESH };
	int fd = fixture_connect(0);
	char *text;
	size_t i;

	fault.left = left;
	fault.hit = 0;
	ck_assert_int_eq(
	    send(fd, line, strlen(line), 0), (ssize_t)strlen(line));
	text = answer_read(fd, until_text);
	close(fd);
	fixture_turn();
	/* A door without memory is a broken one. */
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (fixture_door(all[i]) == NULL)
			fake_start(all[i]);
	return (text);
}

static const struct {
	const char *line;
	const char *last; /* of a whole answer */
	int same;         /* each time */
} asks[] = {
	{ "{\"command\":\"status\"}\n", "\"ok\":", 1 },
	{ "{\"command\":\"show\"}\n", "\"ok\":", 1 },
	{ "{\"command\":\"show\",\"what\":\"nodes\"}\n", "\"ok\":", 1 },
	{ "{\"command\":\"show\",\"what\":\"ratchets\"}\n", "\"ok\":", 1 },
	{ "{\"command\":\"show\",\"what\":\"config\"}\n", "\"ok\":", 1 },
	{ "{\"command\":\"metrics\"}\n", "\"ok\":", 0 },
	{ "{\"command\":\"ticket\"}\n", "\"ok\":", 1 },
	{ "{\"command\":\"erase\"}\n", "\"ok\":", 1 },
	{ "{\"command\":\"rekey\",\"all\":true}\n", "\"ok\":", 1 },
	{ "{\"command\":\"monitor\"}\n", "}\n", 0 },
};
#define ASKS (sizeof(asks) / sizeof(asks[0]))

START_TEST(test_memory)
{
	const char *line = asks[_i].line;
	unsigned int left, ended = 0;
	char *whole, *text;

	whole = ask_with_fault(line, asks[_i].last, UINT_MAX);
	ck_assert_ptr_nonnull(whole);
	whole = strdup(whole);
	for (left = 0;; left++) {
		text = ask_with_fault(line, asks[_i].last, left);
		if (!fault.hit)
			break;
		ended += text == NULL;
		if (text == NULL || !asks[_i].same ||
		    strcmp(text, whole) == 0 || strstr(text, "\"cut\":") ||
		    strstr(text, "\"missing\":"))
			continue;
		ck_assert_msg(strstr(text, "\"ok\":false,\"error\":") != NULL,
		    "allocation %u: %s", left, text);
	}
	/* And all is as before. */
	ck_assert_ptr_nonnull(text);
	if (asks[_i].same)
		ck_assert_str_eq(text, whole);
	ck_assert_uint_gt(left, 10);
	ck_assert_uint_gt(ended, 0);
	free(whole);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("control_memory");
	TCase *tests = tcase_create("control_memory");

	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
	json_set_alloc_funcs(__wrap_malloc, free);
	tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, test_memory, 0, (int)ASKS);
	suite_add_tcase(suite, tests);
	return (suite_run(suite));
}
