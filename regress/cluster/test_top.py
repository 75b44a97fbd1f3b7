"""hermesctl top on real terminals: what the screen shows, at every size, and
that the terminal is given back as it was."""

import json
import os
import re
import signal
import subprocess

import pytest

from hermes_cli import Cli
from hermes_node import HERMESCTL, START, Mesh, Node, state, until
from screen import TOP, Screen

USAGE = 2


def top(node, *arguments, **how):
    return Screen([HERMESCTL, "-s", node.socket, "top", *arguments], end=TOP,
                  **how)


@pytest.fixture(scope="module")
def mesh():
    """Two nodes, a chat with messages all the time."""
    with Mesh(2) as two, \
            Cli("recv", two[1].app, "top-b", "--chat", "busy-chat",
                "--stay", Cli.id("top-a")), \
            Cli("send", two[0].app, "top-a", "--chat", "busy-chat",
                "--count", 1000000, "--interval", "0.02",
                Cli.id("top-b")) as anna:
        anna.wait("ACKED", 2)
        yield two


def chat_line(lines):
    return next((line for line in lines if line.startswith("busy-chat ")), "")


def busy(lines):
    """The chat's row, with a rate that is not 0."""
    found = re.search(r" (\d+\.\d) +(\d+\.\d)$", chat_line(lines))
    return found and float(found[1]) > 0


def test_80x24(mesh):
    def well(lines):
        """With rates, and nobody suspected."""
        return busy(lines) and lines[1] == "ready" and \
            "2 alive, 0 suspect" in lines[2]
    with top(mesh[0]) as screen:
        lines = screen.wait("rates", well)
        print("\n".join(lines))
        assert len(lines) == 24 and max(map(len, lines)) <= 80
        assert re.match(r"alpha  mesh [0-9a-f]{12} \(authority\)  up since "
                        r"\d{4}-\d\d-\d\d \d\d:\d\d  \d\d:\d\d:\d\d$",
                        lines[0])
        assert lines[1] == "ready"
        assert re.match(r"nodes +2 alive, 0 suspect, 0 failed +apps 1 here, "
                        r"2 in the mesh$", lines[2])
        assert re.match(r"messages +[1-9]\S*/s from apps", lines[3])
        assert re.match(r"rekeys +\d+, \d+\.\d/s +errors \d+ +restarts 0 +"
                        r"disk \d+%$", lines[4])
        assert lines[6].split() == "NODE STATE RTT SEEN APPS ENDPOINT".split()
        assert lines[7].split()[:2] == ["alpha", "alive"]
        assert lines[8].split()[:2] == ["beta", "alive"]
        assert lines[8].endswith(mesh[1].mesh)
        assert lines[10].split()[-3:] == ["KEY", "SENT/S", "RCVD/S"]
        assert lines[11].split()[0] == "busy-chat"
        assert lines[11].split()[3:5] == ["beta", "ready"]
        assert lines[23].startswith("q quit")
        # The bars are as wide as the terminal, the cursor is away.
        with screen.lock:
            assert all(screen.screen.buffer[6][x].reverse for x in range(80))
            assert screen.screen.cursor.hidden
        key = int(lines[11].split()[5])
        mesh[0].ctl("rekey", "busy-chat", "--wait")
        screen.wait("the new key", lambda seen: chat_line(seen).split()[5:6]
                    == [str(key + 1)])
        screen.type("q")
        assert screen.exit() == 0


@pytest.mark.parametrize("columns,rows", [(132, 50), (100, 12), (40, 24),
                                          (20, 5), (1, 1), (600, 100)])
def test_other_sizes(mesh, columns, rows):
    """Started at that size, and resized to it: the same picture."""
    def drawn(lines):
        if rows < 10:  # room for the head only
            return lines[0].startswith("alpha"[:columns])
        return lines[-1].startswith("q quit   space"[:columns])
    with top(mesh[0], columns=columns, rows=rows) as screen:
        first = screen.wait("drawn", drawn)
        assert len(first) == rows and max(map(len, first)) <= columns
        assert rows < 12 or chat_line(first)
        screen.type("q")
        assert screen.exit() == 0
    with top(mesh[0], "--interval", "1h") as screen:
        screen.wait("drawn", chat_line)
        screen.resize(columns, rows)
        again = screen.wait("drawn again, at once", drawn)
        assert [line[:8] for line in again] == [line[:8] for line in first]
        screen.type("q")
        assert screen.exit() == 0


def test_trouble_is_on_top(mesh):
    """A node that hangs is the first row; the node itself says why it is not
    ready."""
    with Node("gamma") as gamma, top(mesh[0]) as screen:
        gamma.ctl("join", mesh[0].ctl("ticket")["ticket"])
        screen.wait("it is there", lambda lines: lines[2].startswith(
            "nodes     3 alive"))
        gamma.sigkill()
        screen.wait("first, failed", lambda lines: [
            line.split()[:2] for line in lines[7:10]] == [
                ["gamma", "failed"], ["alpha", "alive"], ["beta", "alive"]])
        with screen.lock:
            assert screen.screen.buffer[7][0].fg == "red"
        mesh[0].ctl("mesh", "revoke", "gamma")
        screen.wait("gone", lambda lines: "1 failed" not in lines[2])
        screen.type("Q")
        assert screen.exit() == 0


def test_without_colour(mesh):
    with top(mesh[0], environment={"NO_COLOR": "1"}) as screen:
        screen.wait("drawn", chat_line)
        screen.type("q")
        assert screen.exit() == 0
        assert not re.search(rb"\x1b\[\d+(;\d+)*m", screen.raw.replace(
            b"\x1b[0m", b""))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT,
                                    signal.SIGHUP])
def test_signals_give_the_terminal_back(mesh, number):
    with top(mesh[0]) as screen:
        screen.wait("drawn", chat_line)
        screen.signal(number)
        assert screen.exit() == 0
    with top(mesh[0], "--count", "2") as screen:
        assert screen.exit() == 0


def test_suspend_and_go_on(mesh):
    """^Z gives the terminal back; fg draws again."""
    with top(mesh[0]) as screen:
        screen.wait("drawn", chat_line)
        screen.type("\x1a")
        until("stopped", lambda: state(screen.process.pid) == "T")
        until("left", lambda: screen.raw.endswith(b"\x1b[?1049l"))
        screen.signal(signal.SIGCONT)
        until("back", lambda: screen.raw.count(b"\x1b[?1049h") == 2)
        until("drawn", lambda: b"busy-chat" in screen.raw.rpartition(
            b"\x1b[?1049h")[2])
        screen.type("\x03")
        assert screen.exit() == 0


def test_the_daemon_goes_and_comes_back():
    with Node("alone") as node, top(node) as screen:
        screen.wait("in no mesh", lambda lines: lines[0].startswith(
            "alone  mesh -  up since") and lines[1] == "ready")
        os.kill(node.pids()["keyd"], signal.SIGSTOP)
        screen.wait("who hangs", lambda lines: re.match(
            "NOT READY: keyd not answering", lines[1]))
        node.sigkill()
        screen.wait("no answer", lambda lines: lines[1].startswith(
            "NO ANSWER: "))
        node.start()
        screen.wait("back", lambda lines: lines[1] == "ready")
        screen.type("q")
        assert screen.exit() == 0


def test_json_lines(mesh):
    run = mesh[0].ctl_run("top", "-j", "--count", "3", "--full")
    assert run.returncode == 0
    samples = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(samples) == 3
    assert samples[0]["interval_seconds"] == 0
    last = samples[-1]
    assert last["ok"] and last["interval_seconds"] >= 1
    assert len(last["chats"][0]["local_app_id"]) == 64


def test_json_lines_of_what_moves(mesh):
    """Until there is a second in which something did, and nobody was
    suspected."""
    def moved(sample):
        return sample["ready"] and sample["rates"]["messages_sent"] > 0 and \
            sample["chats"][0]["sent_per_second"] > 0 and \
            [row["node_id"] for row in sample["nodes"]][:2] == [
                "alpha", "beta"]
    with subprocess.Popen(
            [HERMESCTL, "-s", mesh[0].socket, "top", "-j"],
            stdout=subprocess.PIPE, text=True) as run:
        samples = [json.loads(run.stdout.readline())]
        while not moved(samples[-1]) and len(samples) < START:
            samples.append(json.loads(run.stdout.readline()))
        run.kill()
    last = samples[-1]
    assert moved(last), last
    assert last["rates"]["message_bytes"] > last["rates"]["messages_sent"]
    assert last["summary"]["messages_sent"] > samples[0]["summary"][
        "messages_sent"]


def test_wrong_usage(mesh):
    run = subprocess.run([HERMESCTL, "-s", mesh[0].socket, "top"],
                         capture_output=True, text=True,
                         stdin=subprocess.DEVNULL, timeout=60)
    assert run.returncode == USAGE and "terminal" in run.stderr
    for words in ("top --interval 2h", "top --interval x", "top --count -1",
                  "top more"):
        assert mesh[0].ctl_run(*words.split()).returncode == USAGE
    with Screen([HERMESCTL, "-s", "/nonexistent", "top"]) as screen:
        assert screen.process.wait(60) == 3
