#!/bin/sh
# Install the Debian packages that etc/debian-packages.txt names and that are
# missing, and make the users that hermesd's processes run as.
set -eu
cd "$(dirname "$0")/.."

missing=
for package in $(sed 's/#.*//' etc/debian-packages.txt); do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" \
	    2>/dev/null || true)
	[ "$status" = installed ] || missing="$missing $package"
done

root=
if [ "$(id -u)" -ne 0 ]; then
	root=sudo
fi

if [ -n "$missing" ]; then
	echo "deps: installing$missing"
	$root apt-get update -q
	# shellcheck disable=SC2086 # a list of package names
	$root env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -q --no-install-recommends $missing
fi

for user in _hermes_router _hermes_keyd _hermes_mesh _hermes_control; do
	if ! id "$user" >/dev/null 2>&1; then
		echo "deps: making user $user"
		$root useradd --system --user-group --no-create-home \
		    --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
	fi
done
