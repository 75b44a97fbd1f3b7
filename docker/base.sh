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
mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++)
	if ($i ~ /^http/) { print $i; exit } }
	$1 == "URIs:" { print $2; exit }' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
    /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
debootstrap --variant=minbase bookworm "$root/fs" "$mirror" >/dev/null
rm -f "$root/fs/etc/apt/sources.list"
cp -r /etc/apt/sources.list* "$root/fs/etc/apt/"
rm -rf "$root"/fs/var/cache/apt/archives/*.deb
tar -C "$root/fs" -c . | docker import - debian:bookworm-slim >/dev/null
echo "docker: made debian:bookworm-slim"
