#!/bin/sh
# Form and faults: clang-format, a clean build with clang, clang-tidy (with
# clang's static analyzer, see .clang-tidy), gcc's analyzer, cppcheck, mandoc.
# Prints what is wrong; exits 0 only if nothing is.
set -u
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
bad=0

step() { # name, command
	name=$1
	shift
	if "$@" >"$out" 2>&1; then
		echo "ok   $name"
	else
		echo "FAIL $name"
		sed 's/^/    /' "$out" | head -n 60
		bad=1
	fi
}
out=$(mktemp)
found=$(mktemp)
trap 'rm -f "$out" "$found"' EXIT

sources=$(git ls-files '*.c' '*.h' | grep -v ratchet_vectors.h) # generated
code=$(git ls-files '*.c' | grep -v -e '^regress/' )
# A few files at a time: faster on two cores, and clang 14 carries what it
# believes of one file into the next.
tidy() {
	printf '%s\n' $code | xargs -P 2 -n 1 sh -c 'clang-tidy --quiet "$1" \
	    -- -std=c11 -D_GNU_SOURCE "-DHERMES_VERSION=\"x\"" \
	    "-DHERMES_RUNDIR=\"x\"" -I. -I"$0" \
	    $(pkg-config --cflags libbsd-overlay) 2>/dev/null' "$BUILD" \
	    >"$found"
	grep -qE "warning:|error:" "$found" || return 0
	grep -E "warning:|error:" "$found" | sort -u
	return 1
}

# gcc 12 does not see that a buffer with a length has bytes, nor who frees
# what a queue holds: these three kinds are clang's.
analyze() {
	printf '%s\n' $code | xargs -P 2 -n 1 sh -c 'gcc -fanalyzer -O1 \
	    -Wno-analyzer-null-dereference -Wno-analyzer-null-argument \
	    -Wno-analyzer-malloc-leak -std=c11 -D_GNU_SOURCE \
	    "-DHERMES_VERSION=\"x\"" "-DHERMES_RUNDIR=\"x\"" -I. -I"$0" \
	    $(pkg-config --cflags libbsd-overlay) -c -o /dev/null "$1" 2>&1' \
	    "$BUILD" >"$found"
	grep -qE "warning:|error:" "$found" || return 0
	grep -E "warning:|error:" "$found" | sort -u
	return 1
}

make -s -j2 all >/dev/null || exit 1

# shellcheck disable=SC2086 # lists of files and flags
{
	step clang-format clang-format --dry-run -Werror $sources
	step clang make -s -j2 CC=clang BUILD=build-clang all
	step clang-tidy tidy
	step "gcc -fanalyzer" analyze
	step cppcheck cppcheck --quiet --error-exitcode=1 --std=c11 \
	    --enable=warning,performance,portability --inline-suppr \
	    --suppressions-list=etc/cppcheck.txt --library=posix \
	    --library=bsd -j 2 -D__linux__ -I. \
	    '-DTAILQ_FOREACH(v,h,f)=while(((v)=(h)->tqh_first))' \
	    '-DLIST_FOREACH(v,h,f)=while(((v)=(h)->lh_first))' \
	    '-DSTAILQ_FOREACH(v,h,f)=while(((v)=(h)->stqh_first))' \
	    $code
	step "mandoc -Tlint" mandoc -Tlint -Wwarning man/*.[0-9]
	step "function length" sh etc/longest.sh 100 $code
}
exit $bad
