#!/bin/sh
# etc/package.sh FOLDER: the Debian packages, built by dpkg-buildpackage(1)
# from a copy of this tree, so that it stays clean, into FOLDER.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$1"
out=$(cd "$1" && pwd)
rm -rf "$out/hermes" "$out"/*.deb "$out"/*.dsc "$out"/*.changes
mkdir "$out/hermes"
tar -c --exclude=./build --exclude='./build-*' --exclude=./.git \
    --exclude=__pycache__ --exclude=.pytest_cache . | tar -C "$out/hermes" -x
cd "$out/hermes"
dpkg-buildpackage --build=full -uc -us -j2 >"$out/log" 2>&1 || {
	tail -n 40 "$out/log" >&2
	exit 1
}
rm -rf "$out/hermes"
ls "$out"/*.deb
