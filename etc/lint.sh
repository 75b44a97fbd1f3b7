#!/bin/sh
# Form and faults: clang-format, a clean build with clang, clang-tidy,
# cppcheck, mandoc. Prints what is wrong; exits 0 only if nothing is.
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
trap 'rm -f "$out"' EXIT

sources=$(git ls-files '*.c' '*.h')
code=$(git ls-files '*.c' | grep -v -e '^regress/' )
flags="-std=c11 -D_GNU_SOURCE -DHERMES_VERSION=\"x\" -I. -I$BUILD \
    $(pkg-config --cflags libtls libsodium libevent libnghttp2 \
    libprotobuf-c libbsd-overlay jansson)"

make -s -j2 all >/dev/null || exit 1

# shellcheck disable=SC2086 # lists of files and flags
{
	step clang-format clang-format --dry-run -Werror $sources
	step clang make -s -j2 CC=clang BUILD=build-clang all
	step clang-tidy sh -c 'clang-tidy --quiet "$@" 2>&1 |
	    grep -E "warning:|error:" && exit 1; exit 0' - $code -- $flags
	step cppcheck cppcheck --quiet --error-exitcode=1 --std=c11 \
	    --enable=warning,performance,portability --inline-suppr \
	    --suppressions-list=etc/cppcheck.txt --library=posix \
	    --library=bsd -j 2 -D__linux__ -I. $code
	step "mandoc -Tlint" mandoc -Tlint -Wwarning man/*.[0-9]
	step "function length" sh etc/longest.sh 100 $code
}
exit $bad
