"""What the figures of make bench are worth (L50): what went wrong is in none
of them, and each says what it is of."""

import json
import os
import pathlib
import signal
import subprocess
import sys

from hermes_node import Mesh, state, until

BENCH = pathlib.Path(__file__).resolve().parents[1] / "bench"
PROGRAM = pathlib.Path(os.environ.get("BUILD", "build")).resolve() / \
    "regress" / "bench" / "hermes_bench"
UNLIMITED = "limits {\n\tmessages per second 0\n}\n"


class Bench:
    """hermes_bench with one chat between two nodes, asked for its rounds."""

    def __init__(self, mesh, size=256):
        self.process = subprocess.Popen(
            [PROGRAM, mesh[0].app, mesh[1].app, "1", "1", str(size), "0",
             "bursts"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def ask(self, messages):
        self.process.stdin.write(f"{messages} 0\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def end(self):
        """Its status, and what it said besides the figures."""
        _, error = self.process.communicate(timeout=120)
        return self.process.returncode, error


def test_L50_what_arrived_is_counted():
    with Mesh(2, extra=UNLIMITED) as mesh:
        bench = Bench(mesh)
        assert json.loads(bench.ask(3000))["rate"] > 0
        assert bench.end() == (0, "")


def test_L50_no_figure_of_messages_that_are_refused():
    with Mesh(2, extra=UNLIMITED) as mesh:
        bench = Bench(mesh, size=2 * 1024 * 1024)
        assert bench.ask(10) == ""
        status, error = bench.end()
        assert status == 1 and "send" in error


def test_L50_no_figure_when_nobody_receives():
    with Mesh(2, extra=UNLIMITED) as mesh:
        bench = Bench(mesh)
        assert bench.ask(100) != ""
        pid = bench.process.pid
        receiver, = pathlib.Path(
            f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        os.kill(int(receiver), signal.SIGKILL)
        until("the receiver is dead", lambda: state(int(receiver)) in "XZ")
        assert bench.ask(100) == ""
        assert bench.end() == (1, "hermes_bench: receiver: ended early\n")


def test_L50_a_figure_says_what_it_is_of(tmp_path):
    table = tmp_path / "table.json"
    out = subprocess.run(
        [sys.executable, BENCH / "bench.py", "--only", "one", "--messages",
         "2000", "--json", table], capture_output=True, text=True,
        check=False, timeout=300)
    assert out.returncode == 0, out.stderr
    rows = json.loads(table.read_text(encoding="ascii"))
    assert [row["work"] for row in rows] == [
        "acknowledged messages, 1 chat, 256 B", "message and ack, p50",
        "message and ack, p99",
        "message and ack, busy poll 1ms, p50",
        "message and ack, busy poll 1ms, p99",
        "ten wake-ups in a chain, nothing else, p50",
        "ten wake-ups in a chain, nothing else, p99"]
    for row in rows:
        assert list(row) == ["work", "figure", "unit", "against", "ratio",
                             "aim", "met"]
        assert row["figure"] > 0 and row["ratio"] > 0
    for process in ("parent", "router", "keyd", "mesh", "control"):
        assert f"{process} " in out.stdout
    assert "safe against SIGKILL" in out.stdout
    assert "Errors end the run" in " ".join(out.stdout.split())
