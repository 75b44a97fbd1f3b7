"""Five nodes in five network namespaces, 20 apps and 200 chats, and every
fault a network has, one after the other, in the order of this file. Through
all of it each message is counted (L47): it arrives once, in order, or the
test fails. Root only. Environment: NETNS_ROUNDS, how often the faults come
round (1)."""

import datetime
import os
import pathlib
import re
import signal
import time

import pytest

from hermes_node import until
from netns import NAMES, Field, arrived

ROUNDS = int(os.environ.get("NETNS_ROUNDS", "1"))
FROZEN = 30     # seconds that a node stands still
BOUND = 180      # seconds anything may take on a busy machine
GRACE = "1d"    # longer than any fault but the last, however busy we are
AHEAD = 45      # seconds, of regress/cluster/clock.c
EVERY = range(len(NAMES))
ALPHA, BETA, GAMMA, DELTA, EPSILON = EVERY
CONFIG = "mesh {{\n\troute grace {}\n}}\n"

def started(pid):
    """When, by the true clock: fields of proc(5)."""
    ticks = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(
        ")", 1)[1].split()[19])
    boot = re.search(r"^btime (\d+)", pathlib.Path("/proc/stat").read_text(),
                     re.M)
    return int(boot[1]) + ticks / os.sysconf("SC_CLK_TCK")


def settled(field, states):
    """Until every node believes of each what is said, and all at once: a
    busy one may be suspected for a moment."""
    until(f"all see {states}", lambda: all(
        field.states(i) == states for i in EVERY
        if states[NAMES[i]] == "alive"), BOUND)


rounds = pytest.mark.parametrize("number", range(ROUNDS))


@pytest.fixture(scope="module")
def field():
    made = Field(CONFIG.format(GRACE), ahead=(GAMMA,))
    try:
        yield made
    finally:
        made.destroy()


def test_all_chats_of_all_apps_flow(field):
    assert len(field.home) == 20 and len(field.chats) == 200
    until("all ready", lambda: all(
        row["ready"] for row in field.show().values()), BOUND)
    field.say("go")
    field.progress()


def test_clocks_apart(field):
    """One node is 45 s ahead in all its processes, and nobody minds."""
    for row in field.nodes[GAMMA].ctl("status", ok=False)["processes"]:
        since = datetime.datetime.fromisoformat(
            row["since"].replace("Z", "+00:00")).timestamp()
        # The true time of its start, but for roundings.
        assert abs(since - AHEAD - started(row["pid"])) < AHEAD / 3, row
    field.all_alive()
    field.progress((GAMMA, ALPHA))


@rounds
def test_partition_and_heal(field, number):
    left, right = (ALPHA, BETA), (GAMMA, DELTA, EPSILON)
    _, before = field.wire.count()
    field.wire.part(left, right)
    field.wait_states(left, right, ("failed",))
    field.wait_states(right, left, ("failed",))
    for side in (left, right):
        field.wait_states(side, side, ("alive",))
        field.progress(side)
    crossed = field.wire.count([(a, b) for a in left for b in right])
    assert field.wire.count()[1] > before, "the wire did not cut"
    field.wire.heal()
    assert crossed[1] > 0
    field.all_alive()
    field.progress()


@rounds
def test_one_way_only(field, number):
    """alpha hears beta and is not heard: the others speak for both."""
    _, before = field.wire.count([(ALPHA, BETA)])
    field.wire.set(ALPHA, BETA, cut=1)
    for others in ((ALPHA, GAMMA, DELTA, EPSILON),
                   (BETA, GAMMA, DELTA, EPSILON)):
        field.progress(others)
        field.wait_states(others, others, ("alive",))
    assert field.wire.count([(ALPHA, BETA)])[1] > before
    field.wire.heal()
    field.all_alive()
    field.progress()


@rounds
def test_frozen_while_wires_lose_and_delay(field, number):
    """One node stands still for 30 s; meanwhile a fifth of all packets of
    the others is lost, then all come 200 ms later."""
    awake = (ALPHA, BETA, GAMMA, DELTA)
    family = field.nodes[EPSILON].family()
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    try:
        field.wait_states(awake, (EPSILON,), ("failed",))
        field.wire.all(loss=200)
        before = field.wire.count()
        field.progress(awake, BOUND)
        passed, dropped = (now - then for now, then in zip(
            field.wire.count(), before))
        share = dropped / (passed + dropped)
        print(f"lost {dropped} of {passed + dropped} packets")
        assert dropped > 100 and 0.15 < share < 0.25
        field.wire.all(delay=200)
        field.progress(awake, BOUND)
        field.wire.heal()
        field.wait_states(awake, awake, ("alive",))
        until("30 s", lambda: time.monotonic() - start >= FROZEN, FROZEN)
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)
    field.all_alive()
    assert field.nodes[EPSILON].process.poll() is None
    field.progress()


@rounds
def test_cable_out_and_in(field, number):
    """In the middle of messages; and the node is started again while the
    cable is out: whoever is alone keeps calling those it knew."""
    field.wire.unplug(DELTA)
    until("messages under way", lambda: any(
        row["sent"] > row["acked"] for row in field.show().values()
        if field.home[row["peer"]] == DELTA != field.home[row["app"]]))
    rest = tuple(i for i in EVERY if i != DELTA)
    field.wait_states(rest, (DELTA,), ("failed",))
    field.wait_states((DELTA,), rest, ("failed",))
    field.progress((DELTA,))
    field.progress(rest)
    field.nodes[DELTA].sigkill()
    field.nodes[DELTA].spawn()
    until("delta is back and alone", lambda: field.nodes[DELTA].http(
        "/healthz")[0] == 200)
    field.progress((DELTA,))
    assert "alive" not in [state for name, state in
                           field.states(DELTA).items() if name != "delta"]
    field.wire.plug(DELTA)
    field.nodes[DELTA].wait_ready()
    field.all_alive()
    field.progress()


@rounds
def test_killed_and_started_again(field, number):
    field.nodes[BETA].sigkill()
    field.progress(tuple(i for i in EVERY if i != BETA))
    field.nodes[BETA].start()
    field.all_alive()
    field.progress()


def test_every_message_once_and_in_order(field):
    field.say("stop")
    until("all acknowledged and read", lambda: arrived(
        field.show().values()), BOUND)
    rows = field.show()
    assert len(rows) == 2 * len(field.chats)
    total = 0
    for chat, a, b in field.chats:
        for one, other in ((a, b), (b, a)):
            row, peer = rows[one, chat], rows[other, chat]
            assert row["gone"] == "" and row["wrong"] == 0, row
            assert row["gaps"] == 0 and row["sent"] > 0, row
            assert peer["first"] == 1, peer
            assert row["sent"] == row["acked"] == peer["received"], (
                row, peer)
            total += row["sent"]
    print(f"{total} messages, {sum(r['resent'] for r in rows.values())} "
          f"sent again, {sum(r['duplicates'] for r in rows.values())} "
          "doubles dropped by libhermes, "
          f"{sum(r['errors'] for r in rows.values())} errors answered")


def test_lists_agree_on_all_nodes(field):
    every = {(seed, NAMES[i]) for seed, i in field.home.items()}
    settled(field, {name: "alive" for name in NAMES})
    for i in EVERY:
        until(f"{NAMES[i]} lists all apps", lambda: field.apps(i) == every)


def test_no_process_died_unasked(field):
    for node in field.nodes:
        assert node.healthy(), node.ctl("status", ok=False)


def test_gone_for_good(field):
    """After the route grace, made short by a reload, its chats end with the
    right word and no key of them is left; all others go on."""
    rest = tuple(i for i in EVERY if i != EPSILON)
    for i in rest:
        config = field.nodes[i].config
        config.write_text(config.read_text().replace(
            f"route grace {GRACE}", "route grace 2s"))
        field.nodes[i].ctl("reload")
    field.nodes[EPSILON].sigkill()
    mine = {app for app, home in field.home.items() if home == EPSILON}
    field.wait_states(rest, (EPSILON,), ("failed",))

    def ended():
        rows = [row for i in rest for row in field.loads[i].show()]
        return all(row["gone"] == ("route_unavailable" if row["peer"] in mine
                                   else "") for row in rows)
    until("chats with it end", ended)
    ids = {key for key, seed in field.ids.items() if seed in mine}
    settled(field, {name: "failed" if name == "epsilon" else "alive"
                    for name in NAMES})
    for i in rest:
        until("no key left", lambda: not any(
            row["remote_app_id"] in ids
            for row in field.nodes[i].show("ratchets")))
        until("its apps are gone", lambda: field.apps(i) == {
            (seed, NAMES[j]) for seed, j in field.home.items()
            if j != EPSILON})
    for i in rest:
        field.loads[i].say("go")
    field.progress(rest)
    assert all(row["wrong"] == 0 for row in field.show(rest).values())
