"""The log of real nodes: its forms, its places, its limit, and that the
manual knows every event."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from hermes_cli import Cli
from hermes_node import DEFAULTS, HERMESD, Node, until

TOP = pathlib.Path(__file__).resolve().parents[2]
CALL = re.compile(r'\b(?:log_(?:debug|info|warn|error)|fatal)\(\s*"([^"]*)"')


def test_manual_lists_every_event():
    code = set()
    for folder in ("common", "control", "keyd", "mesh", "router"):
        for path in (TOP / folder).rglob("*.c"):
            code |= set(CALL.findall(path.read_text()))
    text = (TOP / "man/hermesd.8").read_text()
    section = text[text.index(".Sh LOG\n"):]
    section = section[:section.index(".Sh ENVIRONMENT")]
    manual = re.findall(r"^\.It Li (\S+)$", section, re.M)
    assert len(code) > 100
    assert code - set(manual) == set(), "not in hermesd(8)"
    assert set(manual) - code == set(), "only in hermesd(8)"
    assert len(manual) == len(set(manual))


def test_what_may_have_blanks_is_quoted():
    """An errno as text, which a field without quotes would be cut at."""
    lines = 0
    for folder in ("common", "control", "keyd", "mesh", "router"):
        for path in (TOP / folder).rglob("*.c"):
            text = path.read_text()
            for found in re.finditer(CALL.pattern + r"[^;]*;", text):
                if "strerror(" in found[0] or "_error_string(" in found[0]:
                    lines += 1
                    assert not re.search(r"(error|reason|why)=%s", found[0]), (
                        path, found[0])
    assert lines > 30


# --- form -------------------------------------------------------------------

def test_json():
    with Node("json", extra="log format json\n") as node:
        with Cli("recv", node.app, "log-anna") as anna:
            anna.wait("CONNECTED")
            until("session logged", lambda: '"session_open"' in node.log())
        # Of the last line a part may be there.
        lines = node.log().rpartition("\n")[0].splitlines()
        # The first lines are written before the configuration is read.
        start = next(i for i, line in enumerate(lines) if line[:1] == "{")
        seen = set()
        for line in lines[start:]:
            if line[:1] != "{":
                assert "event=" in line  # a child before its configuration
                continue
            event = json.loads(line)
            assert {"time", "process", "level", "event"} <= set(event)
            seen.add((event["process"], event["event"]))
        assert ("parent", "ready") in seen
        assert ("router", "session_open") in seen
        # Changed while the node runs.
        node.config.write_text(node.config.read_text().replace(
            "log format json", "log format text"))
        node.ctl("reload")
        until("as text", lambda: "parent: info: event=reloaded"
              in node.log())


def test_verbose_and_brief():
    with Node("loud", defaults=DEFAULTS.replace(
            "log level debug", "log level warn")) as node:
        def level():
            return node.ctl("show", "config")["config"]["log_level"]
        until("quiet", lambda: level() == "warn")
        assert "debug: " not in node.log()
        node.ctl("log", "verbose")
        until("loud", lambda: level() == "debug")
        with Cli("recv", node.app, "log-bert") as bert:
            bert.wait("CONNECTED")
        until("told", lambda: "router: info: event=session_open"
              in node.log())
        node.ctl("reload")  # does not end it
        until("still loud", lambda: level() == "debug")
        node.ctl("log", "brief")
        until("quiet again", lambda: level() == "warn")
        mark = len(node.log())
        with Cli("recv", node.app, "log-carl") as carl:
            carl.wait("CONNECTED")
            until("in", lambda: len(node.show("sessions")) == 1)
        assert "session_open" not in node.log()[mark:]


def test_nothing_secret():
    with Node("silent") as node:
        secret = (node.config.parent / "passphrase").read_text().strip()
        with Cli("recv", node.app, "log-dora", "--chat", "quiet", "--stay",
                 Cli.id("log-emil")) as dora, \
             Cli("send", node.app, "log-emil", "--chat", "quiet",
                 Cli.id("log-dora")) as emil:
            emil.type("payload-that-nobody-logs\n")
            emil.wait("ACKED", 1)
            dora.wait("CONNECTED")
        text = node.log()
        assert secret not in text
        assert "payload-that-nobody-logs" not in text
        # Ids are shortened.
        assert Cli.id("log-dora") not in text
        assert Cli.id("log-dora")[:12] in text


def test_limit():
    """A client that is refused again and again writes few lines."""
    with Node("flooded", extra="log limit 3\n") as node:
        began = time.monotonic()
        for _ in range(30):
            node.ctl("log", "verbose")
        # They may fall into one more window of ten seconds than that took.
        windows = int(time.monotonic() - began) // 10 + 2
        lines = re.findall(r'event=hermesctl command="log"', node.log())
        assert 3 <= len(lines) <= 6 * windows, node.log()


# --- place ------------------------------------------------------------------

class Listener:
    """A datagram socket as syslogd or the journal has it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        os.chmod(path, 0o666)
        self.lines = []
        # As a syslogd reads: at once.
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            while data := self.socket.recv(65536):
                self.lines.append(data.decode())
        except OSError:
            pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def places():
    """A folder that is /dev/log and the journal of the nodes started with
    the prefix, in a mount namespace of theirs."""
    assert os.geteuid() == 0, "mount namespaces need root"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hermes-log-"))
    (folder / "dev").mkdir()
    (folder / "run/systemd/journal").mkdir(parents=True)
    script = folder / "enter.sh"
    script.write_text(f"""set -e
for f in null zero random urandom tty; do
\t: >{folder}/dev/$f
\tmount --bind /dev/$f {folder}/dev/$f
done
mount --rbind {folder}/dev /dev
mount --bind {folder}/run /run
exec "$@"
""")
    folder.chmod(0o755)
    yield folder, ("unshare", "-m", "--propagation", "private", "sh",
                   str(script))
    shutil.rmtree(folder, ignore_errors=True)


def test_journal(places):
    folder, prefix = places
    journal = Listener(folder / "run/systemd/journal/socket")
    with Node("journal", extra="log to journal\n", prefix=prefix) as node:
        until("in the journal", lambda: any(
            "HERMES_EVENT=ready\n" in text for text in journal.lines))
        for text in journal.lines:
            fields = dict(line.split("=", 1) for line in text.splitlines())
            assert fields["SYSLOG_IDENTIFIER"] == "hermesd"
            assert 0 < int(fields["PRIORITY"]) < 8
            assert f"event={fields['HERMES_EVENT']}" in fields["MESSAGE"]
        with Cli("recv", node.app, "log-gina") as gina:
            gina.wait("CONNECTED")
            until("also of those who cannot reach it", lambda: any(
                "HERMES_EVENT=session_open\n" in text
                for text in journal.lines))
        assert node.healthy()


def test_syslog_and_its_restart(places):
    """In the background, as rc.d starts it; and a syslogd that was started
    anew is found at the next reload, by processes that cannot reach it."""
    folder, prefix = places
    path = folder / "dev/log"
    first = Listener(path)
    node = Node("backgr", prefix=prefix)
    try:
        subprocess.run(
            [*prefix, HERMESD, "-f", str(node.config)], check=True,
            timeout=60, capture_output=True)
        until("told", lambda: any(
            re.fullmatch(r"<30>\w{3} [ \d]\d [\d:]{8} hermesd\[\d+\]: "
                         r"parent: event=ready .*", line)
            for line in first.lines))
        assert any("router: event=" in line for line in first.lines)
        first.close()
        path.unlink()
        second = Listener(path)
        node.ctl("reload")
        with Cli("recv", node.app, "log-fred") as fred:
            fred.wait("CONNECTED")
            until("the new one hears", lambda: any(
                "router: event=session_open" in line
                for line in second.lines))
    finally:
        node.ctl_run("stop")
        node.destroy()


def refused(node, *arguments):
    run = subprocess.run(
        [HERMESD, *arguments, "-f", str(node.config)], capture_output=True,
        text=True, timeout=60)
    assert run.returncode == 1
    return run.stderr


def test_a_place_that_is_not_there():
    line = "log to journal\n"
    node = Node("nowhere", extra=line)
    try:
        count = node.config.read_text().count("\n")
        assert (f"{node.config}:{count}: log to journal: no systemd-journald"
                in refused(node, "-d"))
        node.config.write_text(node.config.read_text().replace(
            line, "log to stderr\n"))
        assert (f"{node.config}:{count}: log to stderr: only in the "
                "foreground" in refused(node))
    finally:
        node.destroy()
