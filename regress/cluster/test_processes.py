"""The house itself, with a real hermesd: who runs as whom and with what,
what happens when a process dies, how the node stops, what a start and a
reload refuse. hermesd is asked nothing; /proc and the log tell."""

import contextlib
import datetime
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from hermes_node import HERMESD, START, Node, state, until

CHILDREN = ("router", "keyd", "mesh", "control")
ROOT = os.geteuid() == 0


@pytest.fixture
def node():
    with Node("house") as one:
        yield one


def children(parent):
    """{process: pid} of the living children of a parent, by its argv."""
    found = {}
    for pid in pathlib.Path("/proc").iterdir():
        if not pid.name.isdigit():
            continue
        try:
            words = (pid / "cmdline").read_bytes().split(b"\0")
            stat = (pid / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(stat[1]) == parent and stat[0] not in "ZX" and \
                b"-P" in words:
            found[words[words.index(b"-P") + 1].decode()] = int(pid.name)
    return found


def house(node):
    """All of them: who looks at each looks at some."""
    found = children(node.process.pid)
    assert sorted(found) == sorted(CHILDREN)
    return found


def status(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.M))


def descriptors(pid):
    """What each descriptor is. Some are closed while they are looked at: of
    a connection that has just ended, of a file that keyd is done with."""
    found = {}
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(fd.name)] = os.readlink(fd)
    return found


def gone(pid):
    return state(pid) in ("", "Z", "X")


def ended(node, timeout=START):
    """The exit status of a node that ends by itself."""
    return node.process.wait(timeout)


def started(node, process, old):
    return until(f"a new {process}", lambda: children(
        node.process.pid).get(process) not in (None, old) and
        children(node.process.pid)[process])


def change(node, old, new):
    text = node.config.read_text()
    assert old in text
    node.config.write_text(text.replace(old, new))


def reload(node, event):
    """SIGHUP, and wait for another event of that name in the log."""
    before = node.log().count(f"event={event}")
    node.process.send_signal(signal.SIGHUP)
    until(f"event={event}",
          lambda: node.log().count(f"event={event}") > before)


def refused(node):
    """Start and expect it not to; what it said."""
    node.spawn()
    assert node.process.wait(START) == 1
    return node.log()


# --- privileges ------------------------------------------------------------

def test_each_child_has_a_user_and_no_privileges(node):
    pids = house(node)
    uids = set()
    for process, pid in pids.items():
        facts = status(pid)
        assert facts["NoNewPrivs"] == "1"
        for cap in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(facts[cap], 16) == 0, (process, cap)
        ids = set(facts["Uid"].split())
        if ROOT:
            user = pwd.getpwnam(f"_hermes_{process}")
            assert int(facts["CapBnd"], 16) == 0
            assert ids == {str(user.pw_uid)}
            assert set(facts["Gid"].split()) == {str(user.pw_gid)}
            assert facts["Groups"].split() == [str(user.pw_gid)]
        else:
            assert ids == {str(os.geteuid())}
        uids |= ids
    assert len(uids) == (4 if ROOT else 1)
    assert ("privileges_unchanged" in node.log()) == (not ROOT)


def test_no_core_and_no_tracing(node):
    for pid in house(node).values():
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.M)
        # Not dumpable: the kernel gives its /proc files to root.
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0


def test_nothing_unexpected_is_open(node):
    """Doors, listeners, an event queue; keyd also its store. No file of the
    parent, no configuration, no passphrase."""
    kinds = {"socket:", "anon_inode:", "pipe:", "/dev/null",
             "/dev/urandom", "/dev/random", str(node.log_path)}
    for process, pid in house(node).items():
        fds = {number: re.sub(r"\[.*", "", what)  # no numbers of sockets
               for number, what in descriptors(pid).items()}
        assert fds[0] == fds[1] == "/dev/null"
        assert fds[3] == "socket:"
        for what in fds.values():
            inside = process == "keyd" and what.startswith(
                str(node.folder)) and "passphrase" not in what
            assert what in kinds or inside, (process, what)


def test_keyd_has_no_network_socket(node):
    """Only unnamed unix sockets: its four doors and the parent's."""
    inodes = {re.search(r"\[(\d+)\]", what).group(1) for what in
              descriptors(children(node.process.pid)["keyd"]).values()
              if what.startswith("socket:")}
    network = "".join(pathlib.Path(f"/proc/net/{table}").read_text()
                      for table in ("tcp", "tcp6", "udp", "udp6"))
    assert inodes and not any(f" {inode} " in network for inode in inodes)


def test_environment_is_not_inherited():
    with Node("house", environment={"SECRET_WORD": "xyzzy"}) as node:
        for pid in house(node).values():
            environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            assert b"xyzzy" not in environ


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_keyd_folder_is_closed(mode):
    node = Node("house")
    try:
        path = pathlib.Path(re.search(
            r'path "(.*?)"', node.config.read_text()).group(1))
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        node.start()
        facts = path.stat()
        assert facts.st_mode & 0o777 == 0o700
        if ROOT:
            assert facts.st_uid == pwd.getpwnam("_hermes_keyd").pw_uid
    finally:
        node.destroy()


# --- death -----------------------------------------------------------------

@pytest.mark.parametrize("process", ["router", "mesh", "control"])
def test_killed_and_started_again(node, process):
    before = children(node.process.pid)
    os.kill(before[process], signal.SIGKILL)
    started(node, process, before[process])
    node.wait_ready()
    after = children(node.process.pid)
    assert after[process] != before[process]
    assert all(after[one] == before[one] for one in CHILDREN
               if one != process)
    assert f"process_died process={process}" in node.log()


def test_a_child_that_ends_by_itself_is_started_again(node):
    """Not only kills: SIGSEGV as from a bug."""
    before = children(node.process.pid)
    os.kill(before["mesh"], signal.SIGSEGV)
    started(node, "mesh", before["mesh"])
    node.wait_ready()


def test_five_deaths_end_the_node(node):
    pid = children(node.process.pid)["control"]
    for _ in range(4):
        os.kill(pid, signal.SIGKILL)
        pid = started(node, "control", pid)
    os.kill(pid, signal.SIGKILL)
    assert ended(node) == 1
    seconds = [int(n) for n in re.findall(
        r"process_restart process=control seconds=(\d+)", node.log())]
    assert seconds == [1, 2, 4, 8]
    assert "died 5 times" in node.log()


def test_keyd_death_ends_the_node(node):
    pids = children(node.process.pid)
    os.kill(pids["keyd"], signal.SIGKILL)
    assert ended(node) == 1
    until("children gone", lambda: all(gone(pid) for pid in pids.values()))


def test_parent_death_ends_the_children(node):
    pids = children(node.process.pid)
    node.process.kill()
    node.process.wait(START)
    until("children gone", lambda: all(gone(p) for p in pids.values()))
    # And the node starts again in the same place.
    node.start()


def test_signals_to_children_change_nothing(node):
    before = children(node.process.pid)
    for pid in before.values():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
    reload(node, "reloaded")
    node.wait_ready()
    assert children(node.process.pid) == before


# --- stopping --------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(node, number):
    pids = children(node.process.pid)
    node.process.send_signal(number)
    assert ended(node) == 0
    assert all(gone(pid) for pid in pids.values())
    assert "process_died" not in node.log()
    assert not os.path.exists(node.socket)


def test_stop_does_not_wait_for_the_dead():
    """A router that hangs is killed after the drain grace, which each of the
    others has, too; the rest stops in order."""
    with Node("house", extra="mesh { drain grace 5s }\n") as node:
        os.kill(children(node.process.pid)["router"], signal.SIGSTOP)
        node.process.terminate()
        assert ended(node) == 0
        assert "shutdown_late process=router" in node.log()
        assert node.log().count("process_died") == 1


@pytest.mark.parametrize("process", ["router", "mesh", "control"])
def test_stop_tells_of_a_process_that_died_meanwhile(process):
    """Of itself, be it its turn to stop or not: the rest stops in order."""
    with Node("house", extra="mesh { drain grace 10m }\n") as node:
        pids = children(node.process.pid)
        os.kill(pids["router"], signal.SIGSTOP)
        node.process.terminate()
        until("stopping", lambda: "event=stopping" in node.log())
        os.kill(pids[process], signal.SIGKILL)
        until("death seen", lambda: f"process_died process={process}" in
              node.log())
        if process != "router":
            os.kill(pids["router"], signal.SIGCONT)
        assert ended(node) == 3
        assert f"shutdown_unclean process={process}" in node.log()
        for word in ("process_died", "shutdown_unclean"):
            assert node.log().count(f"event={word}") == 1
        assert "shutdown_late" not in node.log()
        assert "event=node_ends" not in node.log()
        assert not os.path.exists(node.socket)
        # keyd closed its store: nothing is left to be done at the next start.
        node.start()


def test_stop_while_a_child_is_being_started_again(node):
    os.kill(children(node.process.pid)["mesh"], signal.SIGKILL)
    until("death seen", lambda: "process_died" in node.log())
    node.process.terminate()
    assert ended(node) == 0


# --- what a start refuses --------------------------------------------------

def line_of(node, text):
    lines = node.config.read_text().splitlines()
    return 1 + next(i for i, line in enumerate(lines) if text in line)


@pytest.fixture
def cold():
    node = Node("house")
    yield node
    node.destroy()


@pytest.mark.parametrize("kind", ["app", "mesh", "admin"])
def test_port_taken(cold, kind):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        old = getattr(cold, kind).rsplit(":", 1)[1]
        change(cold, f"port {old}", f"port {port}")
        log = refused(cold)
    assert f"{cold.config}:{line_of(cold, f'port {port}')}: " in log
    assert "Address already in use" in log


def test_second_hermesd(node):
    again = subprocess.run([HERMESD, "-d", "-f", str(node.config)],
                           capture_output=True, text=True, timeout=START)
    assert again.returncode == 1
    assert "Address already in use" in again.stderr
    node.wait_ready()


def background(node, *options):
    """hermesd without -d, as an operator starts it: until it returns."""
    return subprocess.run([HERMESD, "-f", str(node.config), *options],
                          capture_output=True, text=True, timeout=START)


def test_start_in_the_background(cold):
    """It returns when the node can be worked with, and says how it is."""
    def stopped():
        cold.ctl_run("stop")
        assert cold.ctl_run("status").returncode == 3

    try:
        run = background(cold)
        assert run.returncode == 0 and "locked" not in run.stderr, run.stderr
        refused = cold.ctl("ticket", ok=False)["message"]
        assert refused.startswith("this node is in no mesh: "), refused
        cold.ctl("mesh", "create")  # at once
        stopped()
        (cold.config.parent / "passphrase").write_text("another\n")
        run = background(cold)
        assert run.returncode == 0, run.stderr
        assert run.stderr.endswith("the node is locked: hermesctl unlock\n")
        refused = cold.ctl("ticket", ok=False)["message"]
        assert refused == "the store is locked: hermesctl unlock"
    finally:
        stopped()


def test_start_in_the_background_fails(node):
    """A process that does not start is known by who started the node. With
    -d it says why, and where: the store as the configuration names it."""
    elsewhere = [word for key in ("app", "mesh", "admin") for word in
                 ("-o", f"listen_{key}=127.0.0.1 port 0")] + [
                     "-o", f"control_socket={node.folder}/second.sock"]
    run = background(node, *elsewhere)
    assert run.returncode == 1
    assert "hermesd: the node did not start; its log says why" in run.stderr
    run = background(node, "-d", *elsewhere)
    assert run.returncode == 1
    assert f'path={node.config.parent}/keystore reason="another process has ' \
        'the store open: stop the other hermesd"' in run.stderr
    assert node.healthy()


def test_a_wrong_passphrase_file_is_named(cold):
    passphrase = cold.config.parent / "passphrase"
    passphrase.write_text("first\n")
    cold.start()
    assert cold.stop() == 0
    passphrase.write_text("second\n")
    cold.spawn()
    until("the log says so", lambda: f'event=unlock_failed file="{passphrase}'
          '" reason="wrong passphrase"' in cold.log())


def test_open_passphrase_file(cold):
    path = pathlib.Path(re.search(
        r'passphrase file "(.*?)"', cold.config.read_text()).group(1))
    path.chmod(0o640)
    log = refused(cold)
    line = line_of(cold, 'passphrase file "')
    assert f"{cold.config}:{line}: passphrase file" in log
    assert "mode 0640" in log
    path.chmod(0o600)
    target = path.rename(path.with_suffix(".real"))
    path.symlink_to(target)
    assert "is a symbolic link" in refused(cold)
    path.unlink()
    assert "is not there; make it" in refused(cold)


def test_credential_of_the_service_manager(cold):
    """No passphrase file is named, but systemd gave a credential."""
    line = re.search(r'.*passphrase file "(.*)"\n', cold.config.read_text())
    folder = cold.folder / "credentials"
    folder.mkdir()
    os.rename(line.group(1), folder / "hermes-passphrase")
    change(cold, line.group(0), "")
    cold.environment["CREDENTIALS_DIRECTORY"] = str(folder)
    cold.start()
    # Ready is unlocked. After a reload it still is the same node.
    reload(cold, "reloaded")
    cold.wait_ready()


def test_errors_name_file_and_line(cold):
    with open(cold.config, "a") as out:
        out.write("sesions 5\nrekey { limit 0 }\n")
    count = len(cold.config.read_text().splitlines())
    log = refused(cold)
    assert f'{cold.config}:{count - 1}: unknown keyword "sesions"' in log
    assert f"{cold.config}:{count}: rekey limit" in log
    check = subprocess.run([HERMESD, "-n", "-f", str(cold.config)],
                           capture_output=True, text=True, timeout=START)
    assert check.returncode == 1
    assert check.stderr.count(f"{cold.config}:") == 2


@pytest.mark.skipif(not ROOT, reason="only root changes users")
def test_keystore_of_somebody_else(cold):
    path = pathlib.Path(re.search(
        r'path "(.*?)"', cold.config.read_text()).group(1))
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, 65534, 65534)
    assert "belongs to another user (uid 65534)" in refused(cold)


def test_ordinary_user(cold):
    """Without root: one user, said once, and it works."""
    if not ROOT:
        cold.start()
    else:
        subprocess.run(["chown", "-R", "65534:65534", str(cold.folder)],
                       check=True)
        log = open(cold.log_path, "ab")
        cold.process = subprocess.Popen(
            ["setpriv", "--reuid", "65534", "--regid", "65534",
             "--clear-groups", HERMESD, "-d", "-f", str(cold.config)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        cold.wait_ready()
    assert cold.log().count("privileges_unchanged") == 1
    for pid in house(cold).values():
        facts = status(pid)
        assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == 0
        assert facts["NoNewPrivs"] == "1"
    assert cold.stop() == 0


# --- reload ----------------------------------------------------------------

def test_L45_bad_file_changes_nothing(node):
    before = children(node.process.pid)
    with open(node.config, "a") as out:
        out.write("limits { sessions none }\n")
    reload(node, "reload_refused")
    line = len(node.config.read_text().splitlines())
    assert f"{node.config}:{line}: limits sessions" in node.log()
    node.wait_ready()
    assert children(node.process.pid) == before


def test_L45_listener_that_cannot_be(node):
    """All new sockets are bound before any old one goes."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        with open(node.config, "a") as out:
            out.write("listen app on 127.0.0.1 port "
                      f"{other.getsockname()[1]}\n")
        reload(node, "reload_refused")
    host, port = node.app.rsplit(":", 1)
    socket.create_connection((host, int(port)), 10).close()


def test_reload_of_listeners(node):
    old = node.app.rsplit(":", 1)[1]
    with open(node.config, "a") as out:
        out.write("listen app on 127.0.0.1 port 0\n")
    reload(node, "reloaded")
    new = int(re.findall(
        r'listening kind=app address="127.0.0.1 port (\d+)"',
        node.log())[-1])
    assert new != int(old)
    for port in (new, int(old)):
        socket.create_connection(("127.0.0.1", port), 10).close()
    # And away again, the other one staying.
    change(node, "listen app on 127.0.0.1 port 0\n", "")
    reload(node, "reloaded")

    def closed():
        try:
            socket.create_connection(("127.0.0.1", new), 10).close()
        except ConnectionRefusedError:
            return True
        return False
    until("the port closed", closed)
    socket.create_connection(("127.0.0.1", int(old)), 10).close()


def test_reload_of_what_cannot_change(node):
    change(node, 'node "house"', 'node "other"')
    reload(node, "reload_refused")
    assert "needs a restart" in node.log()


def certificate(folder, days, key=None):
    """A self-signed certificate that ends in days; (certificate, key)."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "house")])
    now = datetime.datetime.utcnow()
    made = x509.CertificateBuilder().subject_name(name).issuer_name(
        name).public_key(key.public_key()).serial_number(
        x509.random_serial_number()).not_valid_before(
        now - datetime.timedelta(days=30)).not_valid_after(
        now + datetime.timedelta(days=days)).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost")]),
        False).sign(key, hashes.SHA256())
    paths = folder / f"{days}.pem", folder / f"{days}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return paths


def test_L45_expired_certificate(cold):
    good, expired = (certificate(cold.folder, days) for days in (30, -1))
    with open(cold.config, "a") as out:
        out.write(f'certificate "{expired[0]}" key "{expired[1]}"\n')
    assert "the certificate has expired" in refused(cold)
    change(cold, str(expired[0]), str(good[0]))
    change(cold, str(expired[1]), str(good[1]))
    cold.start()
    change(cold, str(good[0]), str(expired[0]))
    reload(cold, "reload_refused")
    wrong = certificate(cold.folder, 60, rsa.generate_private_key(
        65537, 2048))
    change(cold, str(expired[0]), str(wrong[0]))
    reload(cold, "reload_refused")
    assert "the key must be ECDSA P-256" in cold.log()
    change(cold, str(wrong[0]), str(good[0]))
    reload(cold, "reloaded")
    cold.wait_ready()
