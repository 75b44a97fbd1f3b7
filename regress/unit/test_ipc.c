/*
 * Test. Doors between honest neighbours: framing, batching, descriptors,
 * congestion, calls, ends.
 */

#include "regress/unit/door.h"
#include "regress/unit/suite.h"

START_TEST(test_short_and_long)
{
	static uint8_t bytes[100000];
	size_t size, tails[] = { 0, 1, 7, 8, 9, 255, 65536 }, i;

	open_raw(PROCESS_ROUTER);
	for (i = 0; i < 7; i++) {
		size = seal_frame(bytes, i + 1, tails[i]);
		put(bytes, size);
		run_until(&t.seen, (unsigned int)i + 1);
		ck_assert_uint_eq(t.tail_length, tails[i]);
		if (tails[i] > 0)
			ck_assert_uint_eq(t.tail[tails[i] - 1], 0xa5);
	}
	ck_assert_ptr_null(t.closed);
	close_all();
}
END_TEST

START_TEST(test_split_at_every_byte)
{
	uint8_t bytes[1024];
	size_t size, at;

	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 21);
	for (at = 1; at < size; at++) {
		(void)seal_frame(bytes, at, 21);
		put(bytes, at);
		run_now();
		ck_assert_uint_eq(t.seen, at - 1);
		put(bytes + at, size - at);
		run_until(&t.seen, (unsigned int)at);
	}
	/* One byte at a time. */
	(void)seal_frame(bytes, at, 21);
	for (at = 0; at < size; at++) {
		put(bytes + at, 1);
		run_now();
	}
	run_until(&t.seen, (unsigned int)size);
	ck_assert_ptr_null(t.closed);
	close_all();
}
END_TEST

START_TEST(test_merged)
{
	uint8_t bytes[8192];
	size_t size = 0;
	int i;

	open_raw(PROCESS_ROUTER);
	for (i = 1; i <= 20; i++)
		size += seal_frame(bytes + size, (uint64_t)i, (size_t)i);
	put(bytes, size);
	run_until(&t.seen, 20);
	ck_assert_uint_eq(t.batches, 1);
	close_all();
}
END_TEST

START_TEST(test_longest)
{
	struct ipc_seal seal = { .sequence = 1 };
	uint8_t *to;

	open_pair();
	to = ipc_send_tail(t.other, IPC_SEAL, &seal, IPC_TAIL_PAYLOAD);
	memset(to, 0x5a, IPC_TAIL_PAYLOAD);
	ck_assert_int_eq(ipc_congested(t.other), 1);
	run_until(&t.seen, 1);
	ck_assert_uint_eq(t.tail_length, IPC_TAIL_PAYLOAD);
	run_until(&t.uncongested, 1);
	ck_assert_int_eq(ipc_congested(t.other), 0);
	ck_assert_uint_eq(ipc_queued(t.other), 0);
	close_all();
}
END_TEST

START_TEST(test_descriptors_pass)
{
	struct ipc_request request = { 0, 0 };
	char text[8];
	int before = fd_count(), fds[2], door[2], i;

	open_raw(PROCESS_CONTROL);
	t.other = ipc_new(t.base, t.raw, PROCESS_CONTROL, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], "1", 1), 1);
	(void)close(fds[1]);
	ipc_send_fd(t.other, IPC_PASSPHRASE, &request, fds[0]);
	ipc_send(t.other, IPC_ERASE, &request, NULL, 0);
	ipc_send_fd(t.other, IPC_PASSPHRASE, &request,
	    open("/dev/null", O_RDONLY | O_CLOEXEC));
	/* ERASE has no handler here: the door closes after the first. */
	run_until_closed();
	ck_assert_str_eq(t.reason, "message nobody handles");
	ck_assert_uint_eq(t.seen, 1);
	ck_assert_int_eq(read(t.fd, text, sizeof(text)), 1);
	ck_assert_int_eq(text[0], '1');
	close_all();
	ck_assert_int_eq(fd_count(), before);

	open_raw(PROCESS_CONTROL);
	t.other = ipc_new(t.base, t.raw, PROCESS_CONTROL, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	for (i = 0; i < 50; i++) {
		ck_assert_int_eq(ipc_pair(door), 0);
		(void)close(door[1]);
		ipc_send_fd(t.other, IPC_PASSPHRASE, &request, door[0]);
	}
	run_until(&t.seen, 50);
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

/* Descriptors that were queued or received but never handled are closed. */
START_TEST(test_descriptors_do_not_leak)
{
	struct ipc_request request = { 0, 0 };
	int before = fd_count();

	open_raw(PROCESS_CONTROL);
	t.other = ipc_new(t.base, t.raw, PROCESS_CONTROL, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	ipc_send_fd(t.other, IPC_PASSPHRASE, &request, dup(0));
	close_all();
	ck_assert_int_eq(fd_count(), before);

	open_raw(PROCESS_CONTROL);
	t.other = ipc_new(t.base, t.raw, PROCESS_CONTROL, PROCESS_KEYD,
	    &router_callbacks, &t.other);
	ipc_send_fd(t.other, IPC_PASSPHRASE, &request, dup(0));
	ipc_flush(t.other);
	ipc_pause(t.door, 1);
	run_now();
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

START_TEST(test_many_batched)
{
	struct ipc_seal seal = { .sequence = 0 };
	uint8_t tail[100] = { 7 };
	int i;

	open_pair();
	for (i = 1; i <= 100000; i++) {
		seal.sequence = (uint64_t)i;
		ipc_send(t.other, IPC_SEAL, &seal, tail, (size_t)i % 100);
	}
	run_until(&t.seen, 100000);
	ck_assert_uint_eq(t.seen, 100000);
	/* Far fewer reads than messages: they travel together. */
	ck_assert_uint_lt(t.batches, 2000);
	ck_assert_ptr_null(t.closed);
	close_all();
}
END_TEST

START_TEST(test_one_write_a_turn)
{
	struct ipc_seal seal = { .sequence = 1 };
	uint8_t bytes[4096];
	int fds[2];

	/* Nothing is written while the turn lasts. */
	open_raw(PROCESS_ROUTER);
	ipc_free(t.door);
	(void)close(t.raw);
	ck_assert_int_eq(ipc_pair(fds), 0);
	t.raw = fds[1];
	t.door = ipc_new(t.base, fds[0], PROCESS_ROUTER, PROCESS_KEYD,
	    &router_callbacks, NULL);
	ipc_send(t.door, IPC_SEAL, &seal, "a", 1);
	ipc_send(t.door, IPC_SEAL, &seal, "b", 1);
	ck_assert_int_eq(recv(t.raw, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	run_now();
	ck_assert_int_eq(recv(t.raw, bytes, sizeof(bytes), MSG_DONTWAIT),
	    2 * (8 + (int)sizeof(seal) + 8));
	close_all();
}
END_TEST

START_TEST(test_cork)
{
	struct ipc_seal seal = { .sequence = 1 };

	open_pair();
	ipc_cork(t.other, 1);
	ipc_send(t.other, IPC_SEAL, &seal, NULL, 0);
	run_now();
	ck_assert_uint_eq(t.seen, 0);
	ipc_flush(t.other);
	seal.sequence = 2;
	ipc_send(t.other, IPC_SEAL, &seal, NULL, 0);
	run_until(&t.seen, 1);
	run_now();
	ck_assert_uint_eq(t.seen, 1);
	ck_assert_uint_gt(ipc_queued(t.other), 0);
	ipc_cork(t.other, 0);
	run_until(&t.seen, 2);
	close_all();
}
END_TEST

/* A flush that does not fit goes on later, and no further. */
START_TEST(test_cork_with_a_full_socket)
{
	struct ipc_seal seal = { .sequence = 1 };

	open_pair();
	ipc_cork(t.other, 1);
	memset(ipc_send_tail(t.other, IPC_SEAL, &seal, 8000000), 1, 8000000);
	ipc_flush(t.other);
	seal.sequence = 2;
	ipc_send(t.other, IPC_SEAL, &seal, NULL, 0);
	run_until(&t.seen, 1);
	run_now();
	ck_assert_uint_eq(t.seen, 1);
	ipc_flush(t.other);
	run_until(&t.seen, 2);
	close_all();
}
END_TEST

START_TEST(test_pause)
{
	struct ipc_seal seal = { .sequence = 0 };
	int i;

	open_pair();
	t.pause_after = 3;
	for (i = 1; i <= 10; i++) {
		seal.sequence = (uint64_t)i;
		ipc_send(t.other, IPC_SEAL, &seal, NULL, 0);
	}
	run_until(&t.seen, 3);
	run_now();
	ck_assert_uint_eq(t.seen, 3);
	ipc_pause(t.door, 0);
	run_until(&t.seen, 10);
	close_all();
}
END_TEST

START_TEST(test_marks)
{
	struct ipc_seal seal = { .sequence = 0 };
	static uint8_t tail[65536];

	open_pair();
	ipc_pause(t.door, 1);
	while (!ipc_congested(t.other)) {
		seal.sequence++;
		ipc_send(t.other, IPC_SEAL, &seal, tail, sizeof(tail));
	}
	ck_assert_uint_ge(ipc_queued(t.other), 4 * 1024 * 1024);
	run_now();
	ck_assert_uint_eq(t.uncongested, 0);
	ck_assert_int_eq(ipc_congested(t.other), 1);
	ipc_pause(t.door, 0);
	run_until(&t.uncongested, 1);
	ck_assert_uint_le(ipc_queued(t.other), 1024 * 1024);
	run_until(&t.seen, (unsigned int)seal.sequence);
	ck_assert_uint_eq(t.uncongested, 1);
	close_all();
}
END_TEST

START_TEST(test_closed_after_last_message)
{
	uint8_t bytes[4096];
	size_t size;

	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 10);
	put(bytes, size);
	put(bytes, size / 2); /* died in the middle of the next */
	(void)close(t.raw);
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	ck_assert_uint_eq(t.seen, 1);
	t.raw = dup(0);
	close_all();
}
END_TEST

/* A neighbour that died while we write: its last words still count. */
START_TEST(test_write_to_the_dead)
{
	struct ipc_signed_digest answer = { 0 };
	uint8_t bytes[4096];
	int i;

	open_raw(PROCESS_ROUTER);
	put(bytes, seal_frame(bytes, 1, 10));
	(void)close(t.raw);
	for (i = 0; i < 3; i++) {
		ipc_send(t.door, IPC_SIGNED_DIGEST, &answer, NULL, 0);
		ipc_flush(t.door);
	}
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	ck_assert_uint_eq(t.seen, 1);
	t.raw = dup(0);
	close_all();
	/* A paused door notices when it writes. */
	open_raw(PROCESS_ROUTER);
	ipc_pause(t.door, 1);
	(void)close(t.raw);
	ipc_send(t.door, IPC_SIGNED_DIGEST, &answer, NULL, 0);
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	t.raw = dup(0);
	close_all();
}
END_TEST

START_TEST(test_free_in_handler)
{
	uint8_t bytes[4096];
	size_t size;
	int before = fd_count();

	open_raw(PROCESS_ROUTER);
	t.free_inside = 1;
	size = seal_frame(bytes, 1, 10);
	size += seal_frame(bytes + size, 2, 10);
	put(bytes, size);
	run_until(&t.seen, 1);
	run_now();
	ck_assert_uint_eq(t.seen, 1);
	ck_assert_ptr_null(t.closed);
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

/*
 * A child plays keyd: answers each SIGN_DIGEST after sending OPENEDs, the
 * first one not before there is a byte in late (unless that is -1), or dies.
 */
static pid_t
keyd_child(const int fds[2], int opened_before, int late, int answers)
{
	struct ipc_signed_digest answer;
	struct ipc_opened opened;
	struct ipc_sign_digest question;
	uint8_t bytes[4096];
	uint64_t sequence = 1;
	pid_t pid = fork();
	int fd, i, stay = answers > 0;

	ck_assert_int_ne(pid, -1);
	if (pid != 0)
		return (pid);
	(void)close(fds[0]);
	fd = t.raw = fds[1];
	while (answers-- > 0) {
		if (recv(fd, bytes,
			sizeof(struct ipc_header) + sizeof(question),
			MSG_WAITALL) <= 0)
			_exit(1);
		memcpy(&question, bytes + sizeof(struct ipc_header),
		    sizeof(question));
		for (i = 0; i < opened_before; i++) {
			memset(&opened, 0, sizeof(opened));
			opened.sequence = sequence++;
			(void)frame(bytes, IPC_OPENED, sizeof(opened), 8, 0);
			memcpy(bytes + 8, &opened, sizeof(opened));
			bytes[8 + sizeof(opened)] = (uint8_t)opened.sequence;
			put(bytes, 8 + sizeof(opened) + 8);
		}
		if (late != -1 && read(late, bytes, 1) != 1)
			_exit(1);
		memset(&answer, 0, sizeof(answer));
		answer.length = 1;
		answer.signature[0] = question.digest[0];
		(void)frame(bytes, IPC_SIGNED_DIGEST, sizeof(answer), 0, 0);
		memcpy(bytes + 8, &answer, sizeof(answer));
		put(bytes, 8 + sizeof(answer));
		late = -1;
	}
	if (stay)
		(void)recv(fd, bytes, 1, 0);
	_exit(0);
}

static pid_t
open_router(int opened_before, int late, int answers)
{
	pid_t pid;
	int fds[2];

	memset(&t, 0, sizeof(t));
	t.fd = -1;
	t.next = 1;
	t.base = event_base_new();
	ck_assert_int_eq(ipc_pair(fds), 0);
	ck_assert_int_eq(fcntl(fds[1], F_SETFL, 0), 0);
	pid = keyd_child(fds, opened_before, late, answers);
	(void)close(fds[1]);
	t.raw = dup(0);
	t.door = ipc_new(t.base, fds[0], PROCESS_ROUTER, PROCESS_KEYD,
	    &router_callbacks, &t.door);
	return (pid);
}

static int
ask(uint8_t what, int timeout_ms)
{
	struct ipc_sign_digest question = { .length = 32 };
	struct ipc_signed_digest answer;

	question.digest[0] = what;
	if (ipc_call(t.door, IPC_SIGN_DIGEST, &question, IPC_SIGNED_DIGEST,
		&answer, timeout_ms) == -1)
		return (-1);
	return (answer.signature[0]);
}

START_TEST(test_call)
{
	pid_t pid = open_router(5, -1, 3);

	ck_assert_int_eq(ask(11, LONG_MS), 11);
	ck_assert_int_eq(ask(22, LONG_MS), 22);
	ck_assert_uint_eq(t.seen, 0); /* in nobody's handler yet */
	run_until(&t.seen, 10);
	ck_assert_int_eq(ask(33, LONG_MS), 33);
	run_until(&t.seen, 15);
	ck_assert_ptr_null(t.closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

START_TEST(test_call_inside_a_handler)
{
	pid_t pid = open_router(4, -1, 13);

	ck_assert_int_eq(ask(200, LONG_MS), 200);
	/* Each of the first 12 messages asks again and brings 4 more. */
	t.call_inside = 12;
	run_until(&t.seen, 52);
	ck_assert_int_eq(t.call_inside, 0);
	ck_assert_ptr_null(t.closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* An answer that comes too late is not taken for the next one. */
START_TEST(test_call_late_answer)
{
	int late[2];
	pid_t pid;

	ck_assert_int_eq(pipe2(late, O_CLOEXEC), 0);
	pid = open_router(0, late[0], 2);
	ck_assert_int_eq(ask(1, 20), -1);
	ck_assert_int_eq(errno, ETIMEDOUT);
	ck_assert_int_eq(write(late[1], "x", 1), 1);
	ck_assert_int_eq(ask(2, LONG_MS), 2);
	run_now();
	ck_assert_ptr_null(t.closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);

	/* Nor for something nobody asked for. */
	pid = open_router(1, late[0], 1);
	ck_assert_int_eq(ask(1, 10), -1);
	run_until(&t.seen, 1);
	ck_assert_int_eq(write(late[1], "x", 1), 1);
	ck_assert_int_eq(ask(2, LONG_MS), -1);
	ck_assert_int_eq(errno, EPIPE);
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	(void)close(late[0]);
	(void)close(late[1]);
}
END_TEST

START_TEST(test_call_dead_neighbour)
{
	pid_t pid = open_router(0, -1, 0);

	ck_assert_int_eq(ask(1, LONG_MS), -1);
	ck_assert_int_eq(errno, EPIPE);
	run_until_closed();
	ck_assert_ptr_eq(t.closed, ipc_reason_closed);
	close_all();
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* Our own bugs end the process, by fatal(): an assertion that fails exits
 * with 1 too. */
static void
misused(void)
{
	_Exit(42);
}

static void
open_misused(void)
{
	open_pair();
	log_set_fatal_hook(misused);
}

START_TEST(test_misuse_not_ours)
{
	struct ipc_seal seal = { .sequence = 1 };

	open_misused();
	ipc_send(t.door, IPC_SEAL, &seal, NULL, 0);
}
END_TEST

START_TEST(test_misuse_tail)
{
	struct ipc_sign_digest question = { .length = 32 };

	open_misused();
	ipc_send(t.other, IPC_SIGN_DIGEST, &question, "x", 1);
}
END_TEST

START_TEST(test_misuse_descriptor)
{
	struct ipc_sign_digest question = { .length = 32 };

	open_misused();
	ipc_send_fd(t.other, IPC_SIGN_DIGEST, &question, dup(0));
}
END_TEST

START_TEST(test_names)
{
	int type;

	ck_assert_str_eq(process_name(PROCESS_KEYD), "keyd");
	ck_assert_str_eq(process_name((enum process)3), "unknown");
	ck_assert_str_eq(ipc_type_name(IPC_SEAL), "SEAL");
	ck_assert_str_eq(ipc_type_name(IPC_TYPE_COUNT), "unknown");
	ck_assert_uint_eq(ipc_payload_size(IPC_SEAL), sizeof(struct ipc_seal));
	ck_assert_uint_eq(ipc_payload_size(IPC_TYPE_COUNT), 0);
	for (type = 1; type < IPC_TYPE_COUNT; type++)
		ck_assert_uint_eq(ipc_payload_size((enum ipc_type)type) % 8, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("ipc");
	TCase *tc = tcase_create("door");

	log_init("test_ipc", LOG_LEVEL_ERROR, 1);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_short_and_long);
	tcase_add_test(tc, test_split_at_every_byte);
	tcase_add_test(tc, test_merged);
	tcase_add_test(tc, test_longest);
	tcase_add_test(tc, test_descriptors_pass);
	tcase_add_test(tc, test_descriptors_do_not_leak);
	tcase_add_test(tc, test_many_batched);
	tcase_add_test(tc, test_one_write_a_turn);
	tcase_add_test(tc, test_cork);
	tcase_add_test(tc, test_cork_with_a_full_socket);
	tcase_add_test(tc, test_pause);
	tcase_add_test(tc, test_marks);
	tcase_add_test(tc, test_closed_after_last_message);
	tcase_add_test(tc, test_write_to_the_dead);
	tcase_add_test(tc, test_free_in_handler);
	tcase_add_test(tc, test_call);
	tcase_add_test(tc, test_call_inside_a_handler);
	tcase_add_test(tc, test_call_late_answer);
	tcase_add_test(tc, test_call_dead_neighbour);
	tcase_add_exit_test(tc, test_misuse_not_ours, 42);
	tcase_add_exit_test(tc, test_misuse_tail, 42);
	tcase_add_exit_test(tc, test_misuse_descriptor, 42);
	tcase_add_test(tc, test_names);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
