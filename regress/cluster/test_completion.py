"""Completion of hermesctl(8): what `complete` says, and bash and zsh that ask
it, driven as by a hand at a terminal."""

import os
import subprocess

import pytest

from hermes_cli import BUILD, Cli
from hermes_node import HERMESCTL, Mesh
from hermes_wire import ROOT
from screen import Screen

BASH = ROOT / "etc/completion/hermesctl.bash"
ZSH = ROOT / "etc/completion/_hermesctl"
CHAT, EVIL = "comp-chat", "comp-$(touch evil)"


@pytest.fixture(scope="module")
def mesh():
    """Two nodes, and chats of whose names one is no word for a shell."""
    with Mesh(2) as two:
        clis = []
        for chat in (CHAT, EVIL):
            anna, bert = f"comp-a-{chat}", f"comp-b-{chat}"
            clis.append(Cli("recv", two[1].app, bert, "--chat", chat,
                            "--stay", Cli.id(anna)))
            clis.append(Cli("send", two[0].app, anna, "--chat", chat,
                            Cli.id(bert)))
            clis[-1].type("one\n")
            clis[-1].wait("ACKED")
        yield two
        for cli in clis:
            cli.kill()


def complete(*words, node=None):
    socket = ["-s", node.socket] if node else []
    run = subprocess.run([HERMESCTL, "complete", "--", *socket, *words],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and run.stderr == ""
    return run.stdout.split("\n")[:-1]


def commands():
    """The commands and their usage, as hermesctl lists them."""
    run = subprocess.run([HERMESCTL], capture_output=True, text=True)
    return [line.split()[0] for line in run.stderr.splitlines()
            if line.startswith("  ") and line[2] != " "]


@pytest.mark.parametrize("words,expected", [
    (["re"], ["rekey", "reload", "restore"]),
    (["-"], ["-V", "-j", "-s", "-t"]),
    (["-s", ""], []),
    (["mesh", ""], ["create", "join", "revoke"]),
    (["me", "re"], ["revoke"]),
    (["-j", "-t", "3", "show", "t"], ["tickets", "tielines"]),
    (["ticket", "-"], ["--ttl", "--uses", "--full", "--json"]),
    (["ticket", "--ttl", ""], []),
    (["ticket", "--ttl", "1h", "--u"], ["--uses"]),
    (["erase", ""], ["--now"]),
    (["backup", "fi"], []),
    (["nothing", ""], []),
])
def test_words_and_options(words, expected):
    assert complete(*words) == expected


def test_every_command_is_offered():
    assert complete("") == commands()
    assert complete() == commands()


def test_values(mesh):
    assert sorted(complete("mesh", "revoke", "", node=mesh[0])) == [
        "alpha", "beta"]
    assert complete("mesh", "revoke", "b", node=mesh[0]) == ["beta"]
    rekey = complete("rekey", "", node=mesh[0])
    assert set(rekey) == {CHAT, "chat", "app", "all", "tls", "--wait"}
    assert complete("rekey", "chat", "", node=mesh[0]) == [CHAT]
    apps = complete("rekey", "app", "", node=mesh[0])
    assert len(apps) == 4 and all(len(app) == 64 for app in apps)
    mesh[0].ctl("ticket")
    ids = complete("ticket", "revoke", "", node=mesh[0])
    assert set(ids) == {row["ticket_id"] for row in mesh[0].show("tickets")}
    # Without a daemon there is nothing to say, and nothing said.
    assert complete("-s", "/nonexistent", "mesh", "revoke", "") == []


def shell(tmp_path, *command):
    path = f"{BUILD}:{os.environ['PATH']}"
    return Screen(command, columns=120, environment={
        "PATH": path, "HOME": str(tmp_path), "ZDOTDIR": str(tmp_path),
        "PS1": "> ", "INPUTRC": "/dev/null"})


@pytest.fixture(params=["bash", "zsh"])
def prompt(request, tmp_path):
    """A shell at its prompt, with the completion loaded."""
    if request.param == "bash":
        screen = shell(tmp_path, "bash", "--noprofile", "--norc", "-i")
        load = f". {BASH}"
    else:
        screen = shell(tmp_path, "zsh", "-f", "-i")
        load = (f"PS1='> '; fpath=({ZSH.parent} $fpath); autoload -U "
                "compinit; compinit -u -D")
    with screen:
        screen.wait("a shell", lambda lines: any(lines))
        screen.type(f"cd {tmp_path}; {load}; clear; echo loaded\n")
        # And at its prompt: what is typed before comes in front of that.
        screen.wait("loaded", lambda lines: lines[:2] == ["loaded", ">"])
        yield screen


def test_shells(mesh, prompt, tmp_path):
    """Tab after what was begun completes it; twice lists what may come."""
    def typed(text):
        return lambda lines: any(line.rstrip() == f"> {text}"
                                 for line in lines)
    base = f"hermesctl -s {mesh[0].socket}"
    prompt.type("hermesctl mon\t")
    prompt.wait("a command", typed("hermesctl monitor"))
    prompt.type("\x15hermesctl mesh rev\t")
    prompt.wait("a second word", typed("hermesctl mesh revoke"))
    prompt.type(f"\x15{base} mesh revoke be\t")
    prompt.wait("a node", lambda lines: "mesh revoke beta" in
                "".join(lines))
    prompt.type(f"\x15{base} rekey chat \t")
    prompt.wait("a chat", lambda lines: f"rekey chat {CHAT}" in
                "".join(lines))
    prompt.type("\x15hermesctl show c\t\t")
    prompt.wait("both", lambda lines: any(
        line.split() == ["certificate", "chats", "config"] for line in lines))
    (tmp_path / "saved-file").touch()
    prompt.type("\x15hermesctl backup sav\t")
    prompt.wait("a file", typed("hermesctl backup saved-file"))
    assert {path.name for path in tmp_path.iterdir()} <= {
        "saved-file", ".zcompdump"}


def test_the_shells_parse_them():
    for command in (["bash", "-n", BASH], ["zsh", "-n", ZSH]):
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0 and run.stderr == ""


def test_installed(tmp_path):
    """Where bash-completion and zsh look for them."""
    subprocess.run(["make", "-s", "-C", str(ROOT), "install",
                    f"BUILD={BUILD}", f"DESTDIR={tmp_path}", "PREFIX=/usr"],
                   check=True, capture_output=True, timeout=300)
    share = tmp_path / "usr/share"
    assert (share / "bash-completion/completions/hermesctl").read_bytes() \
        == BASH.read_bytes()
    assert (share / "zsh/site-functions/_hermesctl").read_bytes() == \
        ZSH.read_bytes()
