/*
 * Running the tests of a program, once for all of regress/unit.
 */
#ifndef REGRESS_UNIT_SUITE_H
#define REGRESS_UNIT_SUITE_H

#include <check.h>

/* Run suite, each test in a process of its own unless CK_FORK says no, and
 * print what came of it. What main() returns. */
static inline int
suite_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return (failed == 0 ? 0 : 1);
}

#endif
