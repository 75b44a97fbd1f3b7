"""Real nodes for tests: made by hermesctl, run as hermesd, killed without
mercy, always cleaned up. Everything lies in a folder of its own under the
temporary directory, on ports of its own."""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from hermes_cli import BUILD

HERMESD = str(BUILD / "hermesd")
HERMESCTL = str(BUILD / "hermesctl")
PORTS = range(10000, 32000)
SLICE = 100  # of them that a process takes together
START = 120  # seconds until a node is ready, on a busy machine
POLL = 0.02  # seconds between looks at a state

# What a test changes of every node: a passphrase that opens at once.
DEFAULTS = """
log level debug
admin apps yes
admin ids full
keystore {
\targon2 ops 1
\targon2 memory 1M
}
"""

# And where it sets none itself, chats wait for a node that starts again on a
# busy machine. Whoever must wait for no route grace waits less than this one.
GRACE = "mesh route grace 10m\n"


def until(what, check, timeout=START):
    """Look until check() is true and return that; AssertionError after
    timeout seconds, with what was awaited."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not in {timeout} s: {what}")
        time.sleep(POLL)


_taken = []  # names, kept until the end


def take(what):
    """Is it ours alone? No other process of tests gets what this one has
    taken, as long as it lives: a name in the abstract namespace."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0hermes-test-{what}")
    except OSError:
        name.close()
        return False
    _taken.append(name)
    return True


def _slices():
    """Every port of slices that are ours alone."""
    while True:
        port = random.SystemRandom().randrange(
            PORTS.start, PORTS.stop - SLICE, SLICE)
        if take(f"ports-{port}"):
            yield from range(port, port + SLICE)


_next = _slices()


def free_ports(count):
    """Ports free just now, each given once, to no other suite either. Not of
    those that the system gives to clients: a node that is started again must
    find its own still free."""
    ports = []
    while len(ports) < count:
        port = next(_next)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return ports


class Node:
    """One hermesd. extra: lines of hermesd.conf(5)."""

    def __init__(self, name, folder=None, extra="", environment=None,
                 defaults=None, addresses=None, prefix=()):
        self.name = name
        self.prefix = list(prefix)  # of the command that starts it
        self.owned = folder is None
        self.folder = pathlib.Path(
            folder or tempfile.mkdtemp(prefix=f"hermes-{name}-"))
        self.folder.chmod(0o755)  # the daemon's users pass through
        self.environment = {**os.environ, **(environment or {})}
        self.app, self.mesh, self.admin = addresses or (
            f"127.0.0.1:{port}" for port in free_ports(3))
        self.config = self.folder / "node" / "hermesd.conf"
        self.socket = str(self.folder / "node" / "hermesd.sock")
        self.log_path = self.folder / "log"
        self.process = None
        self.killed = False
        subprocess.run(
            [HERMESCTL, "init", "-n", name, "-d", str(self.config.parent),
             "-l", self.app, "-m", self.mesh, "-a", self.admin],
            check=True, capture_output=True)
        with open(self.config, "a") as out:
            if defaults is None:
                defaults = DEFAULTS + GRACE * ("route grace" not in extra)
            out.write(defaults + extra)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.destroy()

    # --- life -----------------------------------------------------------

    def spawn(self):
        """Start hermesd and do not wait."""
        assert self.process is None or self.process.poll() is not None
        self.killed = False
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.prefix + [HERMESD, "-d", "-f", str(self.config)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=self.environment)
        return self

    def start(self):
        """Start hermesd and wait until it is ready."""
        self.spawn()
        self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(
                    f"{self.name} ended: {self.process.returncode}\n" +
                    self.log()[-3000:])
            return self.http("/readyz")[0] == 200
        until(f"{self.name} ready; {self.http('/readyz')}", ready)

    def stop(self, timeout=START):
        """SIGTERM; the exit code."""
        if self.process is None:
            return None
        before = len(self.log())
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(timeout)
        assert not self.crashes(before), self.crashes(before)
        return code

    def crashes(self, after=0):
        """Processes that died of a signal and were not killed, as the log
        says after so many characters."""
        return re.findall(r"event=process_died .*signal=(?!9\b).*",
                          self.log()[after:])

    def family(self):
        """Process ids: the parent, then its children."""
        pids, children = [self.process.pid], []
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*"):
            try:
                children += (task / "children").read_text().split()
            except OSError:
                pass
        return pids + [int(pid) for pid in children]

    def sigkill(self):
        """The whole node, all processes, no chance to say anything. Stopped
        first, so that none sees another die."""
        family = self.family()
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            for pid in family:
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
        self.process.wait(START)
        self.killed = True
        until("children gone", lambda: not any(
            os.path.exists(f"/proc/{pid}") and
            state(pid) not in ("Z", "X", "") for pid in family[1:]))

    def pids(self):
        """{process: pid} as the node itself says."""
        status = self.ctl("status", ok=False)
        return {p["process"]: p["pid"] for p in status["processes"]}

    def kill_process(self, name, sig=signal.SIGKILL):
        """SIGKILL one child and wait until another is in its place."""
        pid = self.pids()[name]
        os.kill(pid, sig)
        until(f"{name} started again", lambda: self.pids_or_none(name) not in
              (None, 0, pid))

    def pids_or_none(self, name):
        try:
            return self.pids().get(name)
        except (AssertionError, KeyError, ValueError):
            return None

    def destroy(self):
        """End it and remove every trace."""
        if self.process is not None and self.process.poll() is None:
            try:
                # Only who ends in order writes down which lines ran.
                if "COVERAGE" in os.environ:
                    self.stop(60)
                else:
                    self.sigkill()
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.owned:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except OSError:
            return ""

    # --- questions ------------------------------------------------------

    def ctl_run(self, *arguments, timeout=START, stdin=None):
        """hermesctl as it is: CompletedProcess."""
        return subprocess.run(
            [HERMESCTL, "-s", self.socket, *map(str, arguments)],
            capture_output=True, text=True, timeout=timeout, input=stdin)

    def ctl(self, *arguments, ok=True, stdin=None):
        """hermesctl -j: what it printed, parsed."""
        run = self.ctl_run("-j", *arguments, stdin=stdin)
        assert run.returncode == 0 or not ok, (arguments, run.returncode,
                                               run.stdout, run.stderr)
        assert run.stdout, (arguments, run.returncode, run.stderr)
        return json.loads(run.stdout)

    def show(self, what):
        """Rows of `show what`. The daemon gives its processes 3 seconds to
        answer; who is that busy is asked again."""
        def looked():
            answer = self.ctl("show", what, "--full", ok=False)
            assert answer["ok"] or answer["error"] == "timeout", answer
            return answer["ok"] and answer
        return until(f"{self.name} shows {what}", looked)[what]

    def http(self, path):
        """(status, body) of the admin HTTP; (0, reason) without it."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}",
                                        timeout=START) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metrics(self, *processes):
        """{series: value} of /metrics, once these processes have said theirs:
        in the 3 seconds that the daemon gives it a busy one does not, and
        then they are 0."""
        def said():
            status, text = self.http("/metrics")
            assert status == 200, (status, text)
            found = {name: float(value) for name, value in re.findall(
                r"^([a-z0-9_]+(?:\{[^}]*\})?) (\S+)$", text, re.M)}
            return all(found[f'hermes_process_up{{process="{one}"}}'] == 1
                       for one in processes) and found
        return until(f"metrics of {processes}", said)

    def metric(self, name, *processes):
        """The sum of all series that begin with name, as metrics()."""
        return sum(value for key, value in self.metrics(*processes).items()
                   if key == name or key.startswith(name + "{") or
                   ("{" in name and key.startswith(name)))

    def healthy(self):
        """No process died since the start. One that lives and is too busy to
        answer is asked again."""
        def looked():
            processes = self.ctl("status", ok=False)["processes"]
            return all(p["up"] or p["restarts"] or not p["pid"]
                       for p in processes) and processes
        return all(p["up"] and p["restarts"] == 0 for p in until(
            f"all of {self.name} answer", looked))


def stat(pid):
    """The fields of /proc/PID/stat behind the command: the state is first."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text.rsplit(")", 1)[1].split()


def state(pid):
    """The letter of /proc/PID/stat; empty when there is none."""
    try:
        return stat(pid)[0]
    except (OSError, IndexError):
        return ""


def cpu_seconds(pid):
    """That a process has used so far."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def join(founder, *others):
    """Make a mesh of running nodes and wait until each sees all alive."""
    founder.ctl("mesh", "create")
    for node in others:
        ticket = founder.ctl("ticket", "--ttl", "1h")["ticket"]
        node.ctl("join", ticket)
    nodes = (founder,) + others
    for node in nodes:
        wait_alive(node, len(nodes))


def wait_alive(node, count):
    until(f"{node.name} sees {count} nodes alive", lambda: sum(
        row["state"] == "alive" for row in node.show("nodes")) == count)


class Mesh:
    """Running nodes named alpha, beta, ... joined to one mesh."""

    NAMES = ("alpha", "beta", "gamma", "delta", "epsilon")

    def __init__(self, count=2, extra=""):
        self.nodes = []
        try:
            for name in self.NAMES[:count]:
                self.nodes.append(Node(name, extra=extra))
                self.prepare(self.nodes[-1])
                self.nodes[-1].spawn()
            for node in self.nodes:
                node.wait_ready()
            join(*self.nodes)
        except BaseException:
            for node in self.nodes:
                print(f"--- {node.name}\n{node.log()[-4000:]}")
            self.destroy()
            raise

    def prepare(self, node):
        """What a node needs before it starts."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    def __getitem__(self, index):
        return self.nodes[index]

    def destroy(self):
        for node in self.nodes:
            node.destroy()
