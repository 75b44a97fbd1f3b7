#!/bin/sh
# Make the image debian:bookworm-slim when the engine has none and no
# registry can be asked: a minimal Debian 12 by debootstrap(8), with the
# package sources of this machine. Starts a Docker engine if none runs.
set -eu

if ! docker info >/dev/null 2>&1; then
	echo "docker: starting an engine"
	nohup dockerd >/var/log/hermes-dockerd.log 2>&1 &
	tries=0
	until docker info >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ "$tries" -gt 60 ]; then
			echo "docker: no engine came up:" >&2
			tail /var/log/hermes-dockerd.log >&2
			exit 1
		fi
		sleep 1
	done
fi

docker image inspect debian:bookworm-slim >/dev/null 2>&1 && exit 0
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
sh "$(dirname "$0")/../etc/debootstrap.sh" "$root/fs"
tar -C "$root/fs" -c . | docker import - debian:bookworm-slim >/dev/null
echo "docker: made debian:bookworm-slim"
