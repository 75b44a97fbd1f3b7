"""Who may do what with hermesctl: real users, made for it, by the kernel's
word on who is at the other end of the socket. Needs root, and says so."""

import grp
import json
import os
import pwd
import re
import shutil
import subprocess

import pytest

from hermes_node import HERMESCTL, HERMESD, Node, until
from hermes_wire import ROOT

GROUP, DAEMON = "_hermes_control", "_hermes_control"
DENIED, UNREACHABLE, TIMED_OUT = 5, 3, 4

# What the socket takes, each as a request.
LOOKING = ["show", "status", "metrics", "monitor"]
# What hermesctl sends for them, and what it prints of looking only.
LOOK = ["show", "show apps", "show certificate", "show chats", "show config",
        "show metrics", "show nodes", "show penalties", "show ratchets", "show sessions",
        "show tickets", "show tielines", "status", "ticket list",
        "top -j --count 1", "show nodes -j"]
CHANGE = ["reload", "stop", "drain", "log verbose", "log brief",
          "mesh create", "mesh revoke one",
          "ticket", "ticket revoke 112233445566", "rekey all", "rekey x",
          "rekey tls", "erase --now"]


@pytest.fixture(scope="module")
def users():
    """Three: in the group, outside it, and one to run a daemon."""
    assert os.geteuid() == 0, "making users needs root"
    names = [f"hermes-{kind}-{os.getpid()}" for kind in
             ("in", "out", "own")]
    try:
        for name in names:
            subprocess.run(["useradd", "--system", "--user-group",
                            "--no-create-home", name], check=True)
        subprocess.run(["usermod", "-aG", GROUP, names[0]], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["userdel", name], capture_output=True)


@pytest.fixture(scope="module")
def node():
    with Node("guarded", defaults="\nkeystore {\n\targon2 ops 1\n"
              "\targon2 memory 1M\n}\n") as one:
        # The programs may lie where others cannot read.
        shutil.copy(HERMESCTL, one.folder / "hermesctl")
        yield one


def run(user, node, *words, stdin=""):
    """As that user, with the groups the system knows of."""
    return subprocess.run(
        ["runuser", "-u", user, "--", node.folder / "hermesctl", "-s",
         node.socket, *words], capture_output=True, text=True, timeout=60,
        input=stdin, cwd=node.folder)


def test_the_socket_is_closed_to_others(node):
    status = os.stat(node.socket)
    assert status.st_mode & 0o777 == 0o660
    assert status.st_uid == 0
    assert status.st_gid == grp.getgrnam(GROUP).gr_gid


@pytest.mark.parametrize("words", LOOK)
def test_the_group_looks(users, node, words):
    """A process that is too busy to answer within 3 seconds is asked again."""
    def looked():
        run_ = run(users[0], node, *words.split())
        return run_.returncode != TIMED_OUT and run_
    assert until(words, looked).returncode == 0


@pytest.mark.parametrize("words", CHANGE)
def test_the_group_changes_nothing(users, node, words):
    run_ = run(users[0], node, *words.split())
    assert run_.returncode == DENIED
    assert run_.stderr == \
        "hermesctl: only root and the daemon's user may do this\n"
    answer = json.loads(run(users[0], node, "-j", *words.split()).stdout)
    assert answer["error"] == "denied"


def test_with_a_passphrase_too(users, node):
    """What sends descriptors is refused all the same, and no file stays."""
    room = node.folder / "room"
    room.mkdir(mode=0o777)
    room.chmod(0o777)
    for words in (["unlock"], ["backup", str(room / "b")],
                  ["passphrase"]):
        assert run(users[0], node, *words,
                   stdin="one\ntwo\n").returncode == DENIED, words
    (room / "b").write_text("x")
    (room / "b").chmod(0o644)
    assert run(users[0], node, "restore", str(room / "b"),
               stdin="one\ntwo\n").returncode == DENIED
    assert [path.name for path in room.iterdir()] == ["b"]


def test_every_request_is_one_or_the_other(users, node):
    """The socket's own table: what only looks is in the list above; each
    other request is refused to the group, whatever program sends it."""
    table = re.findall(r'\{ "([a-z ]+)", ([01]), command_\w+ \}', (
        ROOT / "control/command.c").read_text())
    assert [name for name, changes in table if changes == "0"] == LOOKING
    script = """
import json, socket, sys
one = socket.socket(socket.AF_UNIX)
one.connect(sys.argv[1])
lines = one.makefile()
for name in sys.argv[2:]:
    one.sendall(json.dumps({"command": name}).encode() + b"\\n")
    print(json.loads(lines.readline())["error"])
"""
    others = [name for name, changes in table if changes == "1"]
    assert len(others) > 10
    sent = subprocess.run(
        ["runuser", "-u", users[0], "--", "/usr/bin/python3", "-c", script,
         node.socket, *others], capture_output=True, text=True, timeout=60)
    assert sent.stdout.split() == ["denied"] * len(others), sent.stderr


@pytest.mark.parametrize("words", ["show", "status", "monitor", "reload"])
def test_others_do_not_come_in(users, node, words):
    run_ = run(users[1], node, words)
    assert run_.returncode == DENIED and run_.stdout == ""
    assert "Permission denied: root, the user hermesd runs as and the " \
        "group _hermes_control may use it" in run_.stderr


def test_root_and_the_daemons_user(users, node):
    pid = node.pids()["control"]
    assert os.stat(f"/proc/{pid}").st_uid == pwd.getpwnam(DAEMON).pw_uid
    for user in ("root", DAEMON):
        assert run(user, node, "reload").returncode == 0
        assert run(user, node, "erase", "--now").returncode == 0
    assert node.healthy()


def test_the_owner_of_a_daemon_of_his_own(users):
    """Started by an ordinary user: he may do everything, root too, and
    nobody else comes in, the group neither."""
    member, _, owner = users
    node = Node("owned")
    try:
        for program in (HERMESD, HERMESCTL):
            shutil.copy(program, node.folder)
        subprocess.run(["chown", "-R", owner, node.folder], check=True)
        with open(node.log_path, "ab") as log:
            node.process = subprocess.Popen(
                [str(node.folder / "hermesd"), "-d", "-f",
                 str(node.config)], user=owner, group=owner,
                extra_groups=[], stdout=log, stderr=log)
        node.wait_ready()
        for user, status in ((owner, 0), ("root", 0), (member, DENIED),
                             (users[1], DENIED)):
            assert run(user, node, "reload").returncode == status, user
            assert run(user, node, "show").returncode == status, user
        assert run(owner, node, "stop").returncode == 0
        assert node.process.wait(60) == 0
        until("gone", lambda: run(owner, node, "show").returncode ==
              UNREACHABLE)
    finally:
        node.destroy()
