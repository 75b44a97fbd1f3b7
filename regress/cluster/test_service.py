"""hermesd under a service manager: what it says on NOTIFY_SOCKET, that the
watchdog is fed only while every process answers; and what is installed for
systemd: unit, users, folders."""

import os
import signal

import pytest

from hermes_node import Node, until
from notify import Manager
from test_health import SmallDisk

CHILDREN = ("router", "keyd", "mesh", "control")
WATCHDOG = 0.4  # seconds; asked four times as often


@pytest.fixture(scope="module")
def fed():
    """A node that is watched, and its manager."""
    with Manager(WATCHDOG) as manager, \
            Node("house", environment=manager.environment) as node:
        yield node, manager


def test_ready_status_and_stopping():
    """In this order: it starts, it serves, it stops. Nobody is fed who did
    not ask for it."""
    with Manager() as manager, \
            Node("house", environment=manager.environment) as node:
        assert manager.hear() == {"STATUS": "house starts"}
        assert manager.hear() == {"READY": "1", "STATUS": "house serves"}
        node.process.terminate()
        heard = manager.until(STOPPING="1")
        assert heard[-1]["STATUS"] == "house stops"
        assert not any("WATCHDOG" in one for one in heard)
        assert node.process.wait(60) == 0


def test_fed_while_all_answer(fed):
    _, manager = fed
    for _ in range(5):
        manager.until(WATCHDOG="1")


def reloaded(node, manager):
    """All that is heard from a SIGHUP to the READY=1 after it, whose status
    is the one of now: another is told only when it changes."""
    os.kill(node.process.pid, signal.SIGHUP)
    return manager.until(READY="1")


def known_to_hang(node, manager, *names):
    """They are stopped, and have been asked since: twice in a row, as the
    last answer from before may have come between."""
    manager.forget()
    wanted = ", ".join(f"{name} does not answer" for name in names)
    until(wanted, lambda: all(
        wanted in reloaded(node, manager)[-1]["STATUS"] for _ in range(2)))


@pytest.mark.parametrize("name", CHILDREN)
def test_not_fed_while_a_process_hangs(fed, name):
    """SIGSTOP: the process lives, holds its doors open and does nothing. The
    parent goes on, as its reload shows, but feeds no more; SIGCONT, and it
    does again."""
    node, manager = fed
    pid = node.pids()[name]
    manager.until(WATCHDOG="1")
    os.kill(pid, signal.SIGSTOP)
    try:
        known_to_hang(node, manager, name)
        for _ in range(2):
            for one in reloaded(node, manager):
                assert "WATCHDOG" not in one
        assert not any("WATCHDOG" in one for one in
                       manager.heard_for(2 * WATCHDOG))
    finally:
        os.kill(pid, signal.SIGCONT)
    heard = manager.until(WATCHDOG="1")
    assert any("house serves" in one.get("STATUS", "") for one in heard)
    assert node.pids()[name] == pid
    assert f"process_silent process={name}" in node.log()
    assert f"process_answers process={name}" in node.log()


def test_everybody_who_hangs_is_told(fed):
    """One trouble does not hide another."""
    node, manager = fed
    pids = [node.pids()[name] for name in ("mesh", "router")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        known_to_hang(node, manager, "mesh", "router")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    manager.until(STATUS="house serves")


def test_fed_again_when_a_dead_process_was_started_again(fed):
    node, manager = fed
    manager.until(WATCHDOG="1")
    os.kill(node.pids()["mesh"], signal.SIGKILL)
    manager.until(STATUS="mesh died")
    heard = manager.until(STATUS="house serves")
    assert not any("WATCHDOG" in one for one in heard)
    manager.until(WATCHDOG="1")


def test_watchdog_of_another_process_is_not_ours():
    with Manager(WATCHDOG) as manager, \
            Node("house", environment={**manager.environment,
                                       "WATCHDOG_PID": "1"}) as node:
        manager.until(READY="1")
        os.kill(node.process.pid, signal.SIGTERM)
        assert not any("WATCHDOG" in one for one in
                       manager.until(STOPPING="1"))


def tells(manager, status, **wanted):
    """The status that says this, heard with what is wanted, or next: one who
    is just late with an answer stands before it."""
    heard = manager.until(**wanted)[-1]["STATUS"]
    return heard if status in heard else (
        manager.until(STATUS=status)[-1]["STATUS"])


def test_reload_is_told(fed):
    """RELOADING=1 with its time, then READY=1; a file that is refused shows
    in the status until one is taken."""
    node, manager = fed
    good = node.config.read_text()
    try:
        node.config.write_text(good + "no such word\n")
        os.kill(node.process.pid, signal.SIGHUP)
        reloading = manager.until(RELOADING="1")[-1]
        assert int(reloading["MONOTONIC_USEC"]) > 0
        line = len(good.splitlines()) + 1
        tells(manager, f"configuration refused: {node.config}:{line}: ",
              READY="1")
        manager.until(WATCHDOG="1")
    finally:
        node.config.write_text(good)
    assert node.ctl("reload")["ok"]
    manager.until(RELOADING="1")
    assert tells(manager, "house serves", READY="1") == "house serves"


def test_locked_is_told():
    with Manager(WATCHDOG) as manager:
        node = Node("house", environment=manager.environment)
        try:
            passphrase = (node.config.parent / "passphrase").read_text()
            node.config.write_text("".join(
                line + "\n" for line in node.config.read_text().splitlines()
                if "passphrase file" not in line))
            node.spawn()
            manager.until(STATUS="house is locked: hermesctl unlock")
            node.ctl("unlock", stdin=passphrase)
            manager.until(STATUS="house serves")
        finally:
            node.destroy()


def test_a_store_that_cannot_be_written_is_told():
    """The processes answer, so the node is fed; it says what is wrong, until
    it is no more."""
    with Manager(WATCHDOG) as manager:
        node = Node("house", environment=manager.environment)
        disk = SmallDisk(node)
        try:
            node.start()
            disk.fill(100)
            assert node.ctl_run("mesh", "create").returncode == 1
            manager.until(STATUS="house serves, but its store cannot be "
                          "written")
            manager.until(WATCHDOG="1")
            disk.free()
            heard = {}
            while heard.get("STATUS") != "house serves":
                heard = manager.hear()
                assert heard is not None
        finally:
            node.destroy()
            disk.unmount()
