#!/bin/sh
# Two nodes on loopback from nothing, two apps chatting across them through a
# rekey and the death of a whole node. Every message is counted both ways.
# Exit 0 only if each arrived once and in order and all keys are gone at the
# end. Cleans up after itself in any case.
set -eu
cd "$(dirname "$0")/.."
BUILD=$(cd "${BUILD:-build}" && pwd)
if [ "$(id -u)" -ne 0 ]; then	# the processes of a node change their user
	exec sudo env BUILD="$BUILD" sh "$0" "$@"
fi
COUNT=300
KILL_AT=150
dir=$(mktemp -d "${TMPDIR:-/tmp}/hermes-demo.XXXXXX")
chmod 755 "$dir"
begun=$(date +%s)
pids=

family() { # pid: it and its children
	echo "$1"
	cat "/proc/$1/task/"*/children 2>/dev/null || true
}

cleanup() {
	status=$?
	trap - EXIT INT TERM
	for pid in $pids; do
		# shellcheck disable=SC2046 # a list of process ids
		kill -KILL $(family "$pid") 2>/dev/null || true
	done
	if [ "$status" -ne 0 ]; then
		echo
		echo "FAILED. The end of each log:"
		for log in "$dir"/*.log "$dir"/*.out "$dir"/*.err; do
			[ -s "$log" ] || continue
			echo "--- $(basename "$log")"
			tail -n 15 "$log"
		done
	fi
	wait 2>/dev/null || true
	rm -rf "$dir"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }

# Look until the rest of the arguments succeed as a command.
await() { # seconds, what, command ...
	tries=$(($1 * 20))
	what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || fail "$what did not happen"
		sleep 0.05
	done
}

ctl() { # node, command ...
	node=$1
	shift
	"$BUILD/hermesctl" -s "$dir/$node/hermesd.sock" "$@"
}

start() { # node
	"$BUILD/hermesd" -d -f "$dir/$1/hermesd.conf" >>"$dir/$1.log" 2>&1 &
	eval "$1=$!"
	pids="$pids $!"
	await 30 "$1 being ready" ctl "$1" status
}

alive() { # node, how many it is to see
	[ "$(ctl "$1" -j show nodes | grep -c '"state": "alive"')" -eq "$2" ]
}

reached() { # marker, count, app
	[ "$(grep -c "^$1\( \|$\)" "$dir/$3.out")" -ge "$2" ]
}

number() { # name, app: a number of the DONE line
	sed -n "s/^DONE .*\<$1=\([0-9]*\).*/\1/p" "$dir/$2.out"
}

# Sequences 1 to COUNT, each once, in this order, and nothing else.
counted() { # marker, app
	sed -n "s/^$1 //p" "$dir/$2.out" >"$dir/seen"
	seq "$COUNT" | cmp -s - "$dir/seen" ||
	    fail "$2: $1 is not 1..$COUNT once and in order"
}

set -- $(python3 -c '
import socket
s = [socket.socket() for _ in range(6)]
for one in s:
	one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in s))')
alpha_app=127.0.0.1:$1
beta_app=127.0.0.1:$4

say "Two nodes from nothing: alpha founds a mesh, beta joins with a ticket"
"$BUILD/hermesctl" init -n alpha -d "$dir/alpha" -l "$alpha_app" \
    -m "127.0.0.1:$2" -a "127.0.0.1:$3" >/dev/null
"$BUILD/hermesctl" init -n beta -d "$dir/beta" -l "$beta_app" \
    -m "127.0.0.1:$5" -a "127.0.0.1:$6" >/dev/null
start alpha
start beta
ctl alpha mesh create | head -n 1
ticket=$(ctl alpha ticket --ttl 1h)
echo "ticket: $(printf %.40s "$ticket")..."
ctl beta join "$ticket"
await 30 "alpha seeing beta" alive alpha 2
await 30 "beta seeing alpha" alive beta 2
ctl alpha show nodes

say "Two apps, one on each node; each makes its own key"
anna=$("$BUILD/hermes" keygen "$dir/anna.key")
bert=$("$BUILD/hermes" keygen "$dir/bert.key")
echo "anna $anna"
echo "bert $bert"

say "Anna sends $COUNT messages to Bert, who sends each one back"
"$BUILD/hermes" recv -n "$beta_app" -k "$dir/bert.key" --chat demo \
    --check --echo --stay -c "$COUNT" --expect-restart --markers -t 50 \
    "$anna" >"$dir/bert.out" 2>"$dir/bert.err" &
bert_pid=$!
pids="$pids $bert_pid"
"$BUILD/hermes" send -n "$alpha_app" -k "$dir/anna.key" --chat demo \
    --check --answers "$COUNT" -c "$COUNT" -i 0.02 --expect-restart \
    --markers --delete -t 50 \
    "$bert" >"$dir/anna.out" 2>"$dir/anna.err" &
anna_pid=$!
pids="$pids $anna_pid"
await 30 "the chat" reached READY 1 anna
grep READY "$dir/anna.out"
await 30 "traffic" reached ACKED 50 anna
ctl alpha show chats

say "The operator forces new keys while messages fly"
ctl alpha rekey all
await 20 "Anna hearing of new keys" reached REKEYED 1 anna
await 20 "Bert hearing of new keys" reached REKEYED 1 bert
echo "anna: $(grep REKEYED "$dir/anna.out" | tail -n 1);" \
    "bert: $(grep REKEYED "$dir/bert.out" | tail -n 1)"
ctl beta show ratchets

await 30 "more traffic" reached ACKED "$KILL_AT" anna
say "SIGKILL to every process of beta, with messages on their way"
# shellcheck disable=SC2046,SC2154 # a list; beta is set by start
kill -KILL $(family "$beta")
await 20 "Bert losing his node" reached DISCONNECTED 1 bert
await 30 "Anna hearing of it" reached PEER_AWAY 1 anna
echo "anna: PEER_AWAY after $(grep -c ACKED "$dir/anna.out") of" \
    "$COUNT acknowledged; bert: DISCONNECTED"

say "beta starts again; the chat goes on at the next sequence"
before=$(grep -c '^RECEIVED' "$dir/bert.out")
start beta
await 30 "the chat going on" reached RESUMED 1 bert
echo "bert: $(grep RESUMED "$dir/bert.out" | tail -n 1)"
await 30 "a message after it" reached RECEIVED $((before + 1)) bert
echo "bert: $(grep '^RECEIVED' "$dir/bert.out" | sed -n "$((before + 1))p")" \
    "is the first after it"

say "All messages arrive, then Anna deletes the chat"
status=0
wait "$anna_pid" || status=$?
[ "$status" -eq 0 ] || fail "anna ended with $status"
wait "$bert_pid" || status=$?
[ "$status" -eq 0 ] || fail "bert ended with $status"
echo "anna: $(grep DELETED "$dir/anna.out"), $(grep DONE "$dir/anna.out")"
echo "bert: $(grep DELETED "$dir/bert.out"), $(grep DONE "$dir/bert.out")"
for app in anna bert; do
	counted SENT "$app"
	counted RECEIVED "$app"
	[ "$(number gaps "$app")" -eq 0 ] || fail "$app has gaps"
done
counted ACKED anna

say "No key is left on either node"
for node in alpha beta; do
	rows=$(ctl "$node" -j show ratchets | grep -c '"chat_id"' || true)
	[ "$rows" -eq 0 ] || fail "$node still has $rows ratchets"
	echo "$node: show ratchets is empty"
done

say "Passed: $COUNT messages each way, each once and in order, in \
$(($(date +%s) - begun)) s"
