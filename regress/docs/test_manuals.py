"""The manuals against the programs, both ways: every option, command, knob,
frame, code and JSON key there is is described, and none that is not."""

import functools
import json
import os
import re
import subprocess

import pytest

import manual
from hermes_cli import BUILD, Cli
from hermes_node import HERMESCTL, START, Mesh, until
from hermes_wire import ROOT

CTL = manual.source("hermesctl.8")
JSON = manual.part(CTL, "JSON")
COMMON = {"--full", "--json"}  # with every command


# --- form -------------------------------------------------------------------

@pytest.mark.parametrize("page", manual.PAGES, ids=lambda page: page.name)
def test_form(page):
    run = subprocess.run(["mandoc", "-Tlint", "-Wwarning", str(page)],
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    text = page.read_text()
    titles = set(manual.titles(text))
    assert {"NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"} <= titles
    assert titles & {"EXIT STATUS", "FILES"}
    # Who is referred to exists.
    ours = {page.name for page in manual.PAGES}
    for name, section in re.findall(r"^\.Xr (\S+) (\d)", text, re.M):
        assert not name.startswith(("hermes", "libhermes")) or \
            f"{name}.{section}" in ours, (name, section)


def test_every_page_is_there():
    assert {page.name for page in manual.PAGES} >= {
        "hermesd.8", "hermesd.conf.5", "hermesctl.8", "hermes.1",
        "hermes-proto.5"}


# --- hermesctl(8) -----------------------------------------------------------

def ctl(*arguments):
    return subprocess.run([HERMESCTL, *arguments], capture_output=True,
                          text=True, timeout=60)


def complete(*arguments):
    return ctl("complete", "--", *arguments).stdout.split("\n")[:-1]


@functools.cache
def commands():
    """{command of one or two words: its options} of the program."""
    found = {}
    for word in complete(""):
        second = [one for one in complete(word, "") if
                  word in ("mesh", "show", "ticket") and one[0] != "-"]
        for one in second:
            found[f"{word} {one}"] = set(complete(word, one, "-")) - COMMON
        if word != "mesh":
            found[word] = set(complete(word, "-")) - COMMON
    return found


def described():
    """The same of the page."""
    found = {}
    for head in manual.headings(manual.part(CTL, "DESCRIPTION")):
        name = manual.words(head)
        if name:
            found[name] = found.get(name, set()) | manual.flags(head)
    # `rekey chat CHAT` and the like: words of one command.
    merged = {}
    for name, options in found.items():
        word = name if name in commands() else name.split()[0]
        merged[word] = merged.get(word, set()) | options
    return merged


def test_hermesctl_commands():
    there, page = commands(), described()
    assert set(there) == set(page)
    for name, options in there.items():
        assert options - {"-", "--"} == page[name] - COMMON - {"--"}, name
    listed = {line.split()[0] for line in ctl().stderr.splitlines()
              if line.startswith("  ") and line[2] != " "}
    assert listed == {name.split()[0] for name in there}


def test_hermesctl_options():
    """Before the command: what getopt(3) is told, what usage says, what the
    page says."""
    accepted = re.search(r'getopt\(argc, argv, "\+?([a-zA-Z:]+)"\)', (
        ROOT / "control/hermesctl.c").read_text())[1]
    letters = {f"-{letter}" for letter in accepted if letter != ":"}
    usage = ctl().stderr.splitlines()[0]
    assert set(re.findall(r"\[(-\w)", usage)) == letters
    assert set(complete("-")) == letters
    synopsis = manual.part(CTL, "SYNOPSIS")
    assert manual.flags(synopsis) == letters
    head = manual.part(CTL, "DESCRIPTION").split(".Ss ")[0]
    assert {flag for line in manual.headings(head)
            for flag in manual.flags(line)} == letters


def test_hermesctl_exit_status():
    text = (ROOT / "control/ctl.h").read_text()
    codes = set(re.findall(r"CTL_\w+ = (\d+)", text))
    assert set(manual.headings(manual.part(CTL, "EXIT STATUS"))) == codes


def test_hermesctl_requests():
    """The commands of the socket, as control's table has them."""
    table = re.findall(r'\{ "([a-z ]+)", [01], command_\w+ \}', (
        ROOT / "control/command.c").read_text())
    text = manual.part(JSON, "The socket", "Ss")
    page = {one for group in re.findall(r"^\.Cm (.*?)(?: [,;.])*$", text, re.M)
            for one in group.split(" , ")} - {"ok"}
    assert set(table) == page


# --- hermesd(8), hermes(1) --------------------------------------------------

def test_hermesd_options():
    accepted = re.search(r'getopt\(argc, argv, "([a-zA-Z:]+)"\)', (
        ROOT / "control/hermesd.c").read_text())[1]
    letters = {f"-{letter}" for letter in accepted if letter != ":"}
    page = manual.source("hermesd.8")
    assert {flag for line in manual.headings(manual.part(page, "DESCRIPTION"))
            for flag in manual.flags(line)} == letters

    def spread(flags):
        return {f"-{letter}" for flag in flags for letter in flag[1:]}
    # -P is hermesd's own, when it executes itself.
    usage = subprocess.run([str(BUILD / "hermesd"), "-?"],
                           capture_output=True, text=True).stderr
    assert spread(re.findall(r"\[(-\w+)", usage)) == letters - {"-P"}
    assert spread(manual.flags(manual.part(page, "SYNOPSIS"))) == \
        letters - {"-P"}


def test_hermes_options_and_commands():
    text = (ROOT / "client/hermes.c").read_text()
    options = {f"--{name}" for name in
               re.findall(r'\{ "([a-z-]+)", (?:no|required)_arg', text)}
    letters = {f"-{letter}" for letter in
               re.findall(r"_argument, NULL, '(.)' \}", text)}
    names = set(re.findall(r'"([a-z]+)",\s*"[^"]*", \d, \d,\s*cmd_', text))
    page = manual.source("hermes.1")
    body = manual.part(page, "DESCRIPTION")
    assert {flag for line in manual.headings(body)
            for flag in manual.flags(line)} == options | letters
    assert {head.split()[1] for head in manual.headings(body)
            if head.startswith("Cm ")} == names
    assert set(re.findall(r"^\.Cm ([a-z]+)$", manual.part(page, "SYNOPSIS"),
                          re.M)) == names
    codes = set(re.findall(r"EXIT_\w+ = (\d+)", (
        ROOT / "client/cmd.h").read_text()))
    assert set(manual.headings(manual.part(page, "EXIT STATUS"))) == codes


# --- hermesd.conf(5) --------------------------------------------------------

def test_knobs():
    """Each row of the table of knobs: its words."""
    table = re.findall(
        r'(?:\.pattern = |\b(?:OTHER|TEXT|CHOICE|COUNT|BYTES|TIME)\(\s*)'
        r'"([a-z0-9 %]+)"', (ROOT / "control/config_knobs.c").read_text())
    there = {" ".join(pattern.replace("%", "").split()) for pattern in table}
    assert len(there) > 40
    documented = set()
    for head in manual.headings(manual.source("hermesd.conf.5")):
        if not head.startswith("Ic ") or head.startswith("Ic include "):
            continue
        # Words stay; arguments, choices and marks go.
        head = re.sub(r"\b(Ar|Cm) \S+( \| \S+)*", "", head)
        documented.add(" ".join(word for word in head.split()
                                if word not in ("Ic", ":", "Ns")))
    assert documented == there


# --- examples ---------------------------------------------------------------
# Those of hermesctl(8) are commands of the runbook, but one.

def literal(page, number=0):
    """A block of EXAMPLES as it is printed."""
    blocks = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$",
                        manual.part(manual.source(page), "EXAMPLES"),
                        re.M | re.S)
    return blocks[number].replace("\\e", "\\").replace("\\(dq", '"')


def test_example_of_hermesd_conf(tmp_path):
    conf = tmp_path / "hermesd.conf"
    conf.write_text(literal("hermesd.conf.5"))
    again = re.search(r"^\.Dl # hermesd (.*)$",
                      manual.source("hermesd.conf.5"), re.M)[1].split()
    for options, name in (([], "paris"), (again, "lyon")):
        run = subprocess.run(
            [str(BUILD / "hermesd"), "-n", "-v", "-f", str(conf), *options],
            capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert f'node "{name}"' in run.stdout


def test_example_of_libhermes(tmp_path):
    """It compiles, within what an app has around it."""
    functions, main = literal("libhermes.3").split(
        "hermes_options_default", 1)
    source = tmp_path / "example.c"
    source.write_text(
        "#include <stdio.h>\n#include <event2/event.h>\n"
        f'#include <hermes.h>\n{functions}'
        "int main(int argc, char *argv[])\n{\n"
        "struct hermes_callbacks callbacks = { .connected = on_connected,"
        " .message = on_message };\n"
        "struct event_base *base = event_base_new();\n"
        "struct hermes_options options;\nstruct hermes *app;\n"
        "char error[256];\nunsigned char seed[32] = { 0 };\n"
        "void *peer = argv[argc - 1];\n"
        f"hermes_options_default{main}"
        "return (app == NULL);\n}\n")
    run = subprocess.run(
        ["cc", "-fsyntax-only", "-Wall", "-Werror", "-I",
         str(ROOT / "client"), str(source)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


# --- hermes-proto(5) --------------------------------------------------------

PROTO = (ROOT / "proto/approuter.proto").read_text()
WIRE = manual.source("hermes-proto.5")


def test_frames_and_fields():
    """Every frame and every field of one has a place on the page, and no
    other has."""
    messages = dict(re.findall(r"^message (\w+) \{\n(.*?)^\}", PROTO,
                               re.M | re.S))
    fields = {name for body in messages.values() for name in
              re.findall(r"^ +[\w<>., ]+? (\w+) = \d+;", body, re.M)}
    bodies = set(re.findall(r"^    \w+ (\w+) = \d+;", messages["AppFrame"],
                            re.M))
    page = {name for group in re.findall(r"^\.(?:It )?Fa (.*)$", WIRE, re.M)
            for name in re.findall(r"\w+", group.split("Frame.")[-1])}
    assert page <= fields, page - fields
    assert fields - bodies - page == set()
    for frame in re.findall(r"^    (\w+) \w+ = \d+;", messages["AppFrame"],
                            re.M):
        assert re.search(rf"\b{frame}\b", WIRE), frame


def test_code_words():
    text = (ROOT / "common/ipc/codes.def").read_text()
    codes = set(re.findall(r"^HERMES_CODE\((\w+)", text, re.M))
    statuses = set(re.findall(r'^HERMES_STATUS\(\w+, "(\w+)"', text, re.M))
    section = manual.part(WIRE, "ERROR CODES")
    assert {head.removeprefix("Er ") for head in
            manual.headings(section)} == codes
    delete = manual.part(WIRE, "DeleteChat and DeleteChatAck", "Ss")
    assert {head.removeprefix("Li ") for head in
            manual.headings(delete)} == statuses


# --- JSON -------------------------------------------------------------------

ANSWER = manual.keys(JSON, "Keys of every answer")
OTHER = manual.keys(JSON, "Keys of the other commands")
APPS, CHATS = ("doc-anna", "doc-bert"), "doc-chat"


@pytest.fixture(scope="module")
def mesh():
    with Mesh(2) as two, \
            Cli("recv", two[1].app, APPS[1], "--chat", CHATS, "--stay",
                Cli.id(APPS[0])), \
            Cli("send", two[0].app, APPS[0], "--chat", CHATS, "--count",
                100000, "--interval", "0.05", Cli.id(APPS[1])) as anna:
        anna.wait("ACKED", 2)
        two[0].ctl("ticket", "--uses", "2")
        yield two


def test_example_of_hermes(mesh, tmp_path):
    """A thousand messages: each line is typed, at a node of this machine, and
    no time is lost."""
    places = {"[2001:db8::2]:7443": mesh[1].app, "192.0.2.1:7443": mesh[0].app,
              "0.01": "0"}
    running, printed = [], {}
    try:
        for line in literal("hermes.1", 1).splitlines():
            if "$ hermes " not in line:
                places[line] = printed[machine]
                continue
            machine, command = line.split("$ hermes ")
            words = [places.get(word, word) for word in command.split()]
            (tmp_path / machine).mkdir(exist_ok=True)
            running.append(subprocess.Popen(
                [str(BUILD / "hermes"), *filter("&".__ne__, words)],
                env={**os.environ, "HOME": str(tmp_path / machine)},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True))
            if words[-1] != "&":
                printed[machine] = running[-1].communicate(
                    timeout=START)[0].strip()
                assert running[-1].returncode == 0, line
        assert len(running) == 4
        assert running[1].wait(START) == 0
    finally:
        for one in running:
            one.kill()
            one.wait()


def shown(node, *what):
    """What `show` answers; a process that is too busy to do so within 3
    seconds is asked again."""
    def looked():
        answer = node.ctl("show", *what, ok=False)
        assert answer["ok"] or answer["error"] == "timeout", answer
        return answer["ok"] and answer
    return until(f"show {what}", looked)


def rows_of(node, what):
    """Rows, when there are some."""
    return until(f"rows of {what}", lambda: shown(node, what)[what])


@pytest.mark.parametrize("what", ["apps", "chats", "nodes", "ratchets",
                                  "sessions", "tickets", "tielines"])
def test_keys_of_rows(mesh, what):
    """Those printed are those described."""
    rows = rows_of(mesh[0], what)
    expected = manual.keys(JSON, f"Keys of {what}")
    assert all(set(row) == expected for row in rows)
    answer = shown(mesh[0], what)
    assert set(answer) - {what} <= ANSWER and {"ok", "count"} <= set(answer)


def test_keys_of_summary_and_status(mesh):
    answer = shown(mesh[0])
    assert set(answer) == {"ok", "summary"}
    assert set(answer["summary"]) == manual.keys(JSON, "Keys of summary")
    answer = mesh[0].ctl("status", ok=False)  # ready or not
    assert set(answer) == manual.keys(JSON, "Keys of status") | {"ok"}
    for process in answer["processes"]:
        assert set(process) == manual.keys(JSON, "Keys of processes")


def test_keys_of_top(mesh):
    lines = mesh[0].ctl_run("top", "-j", "--count", "2").stdout.splitlines()
    last = json.loads(lines[1])
    expected = manual.keys(JSON, "Keys of top")
    assert set(last) == expected - {"message"}
    assert set(last["summary"]) == manual.keys(JSON, "Keys of summary")
    assert set(last["chats"][0]) == manual.keys(JSON, "Keys of chats") | {
        "sent_per_second", "received_per_second"}
    assert set(last["nodes"][0]) == manual.keys(JSON, "Keys of nodes")
    named = set(re.findall(r"[a-z_]{6,}", manual.part(
        JSON, "Keys of top", "Ss")))
    assert set(last["rates"]) <= named


def test_keys_of_monitor(mesh):
    """Events of every kind that can be had here, each with the keys that the
    list of words says."""
    expected = manual.keys(JSON, "Keys of monitor")
    events, seen = [], set()
    watch = subprocess.Popen([HERMESCTL, "-s", mesh[1].socket, "-j",
                              "monitor"], stdout=subprocess.PIPE, text=True)
    try:
        events.append(json.loads(watch.stdout.readline()))
        mesh[1].ctl("rekey", "all", "--wait")
        mesh[1].ctl("erase", "--now")
        mesh[1].kill_process("router")
        wanted = {"watching", "rekey", "erasure", "process_down",
                  "process_up"}
        while not wanted <= seen:
            events.append(json.loads(watch.stdout.readline()))
            seen = {event["event"] for event in events}
    finally:
        watch.kill()
        watch.wait()
    for event in events:
        assert set(event) <= expected and {"time", "event"} <= set(event)
    watching = manual.part(CTL, "Watching", "Ss")
    listed = {word for head in manual.headings(watching) if
              head.startswith("Cm ") for word in head[3:].split(" , ")}
    source = (ROOT / "control/monitor.c").read_text()
    told = set(re.findall(r'\[EVENT_\w+\] = "(\w+)"', source)) | {
        "watching", "lost", "process_up", "process_down", "ready",
        "not_ready"}
    assert listed == told


def test_keys_of_the_other_commands(mesh, tmp_path):
    alpha = mesh[0]
    answers = {
        "ticket": alpha.ctl("ticket"),
        "certificate": alpha.ctl("show", "certificate"),
        "metrics": alpha.ctl("show", "metrics"),
        "config": alpha.ctl("show", "config"),
        "rekey": alpha.ctl("rekey", "all", "--wait"),
        "tls": alpha.ctl("rekey", "tls"),
        "erase": alpha.ctl("erase", "--now"),
        "unlock": alpha.ctl("unlock", stdin="x\n"),
        "reload": alpha.ctl("reload"),
        "backup": alpha.ctl(
            "backup", "--store-passphrase", alpha.config.parent /
            "passphrase", tmp_path / "b", stdin="secret\n"),
        "refused": alpha.ctl("mesh", "create", ok=False),
        "unknown": alpha.ctl("rekey", "no-such", ok=False),
        "usage": alpha.ctl("mesh", "revoke", "UPPER", ok=False),
        "ambiguous": ambiguous(mesh),
        "init": json.loads(ctl("-j", "init", "-n", "json", "-d",
                               str(tmp_path / "node")).stdout),
    }
    # Of `mesh create` only the refusal can be had here.
    used = {"mesh_id", "waiting"}
    for name, answer in answers.items():
        assert isinstance(answer["ok"], bool), name
        assert set(answer) <= ANSWER | OTHER, name
        used |= set(answer)
    assert OTHER <= used
    assert set(answers["refused"]) == {"ok", "error", "message"}
    errors = re.findall(r'#define ERROR_\w+ +"(\w+)"', (
        ROOT / "control/command.h").read_text())
    text = manual.part(JSON, "Keys of every answer", "Ss")
    assert all(re.search(rf"\b{error}\b", text) for error in errors)


def test_json_from_every_command(mesh, tmp_path):
    """With -j each command prints JSON, whether it is done or refused."""
    alpha, beta = mesh.nodes
    own = ["--store-passphrase", str(alpha.config.parent / "passphrase")]
    arguments = {
        "backup": [*own, str(tmp_path / "b")],
        "restore": [*own, "/dev/null"],
        "passphrase": own,
        "erase": ["--now"],
        "init": ["-n", "json", "-d", str(tmp_path / "node")],
        "join": ["nonsense"],
        "mesh join": ["nonsense"],
        "mesh revoke": ["nobody"],
        "rekey": ["tls"],
        "ticket revoke": ["112233445566"],
        "top": ["--count", "1"],
        "log": ["brief"],
    }
    for name in sorted(commands(), key=lambda one: one in ("drain", "stop")):
        if name in ("complete", "monitor"):  # words for shells; lines
            continue
        node = beta if name in ("drain", "stop") else alpha
        run = node.ctl_run("-j", *name.split(), *arguments.get(name, []),
                           stdin="one\n")
        assert isinstance(json.loads(run.stdout)["ok"], bool), (name, run)
        if name in ("drain", "stop"):
            assert beta.process.wait(START) == 0
            beta.start()


def ambiguous(mesh):
    """Two chats whose names begin alike."""
    clis = []
    try:
        for i in range(2):
            anna, bert = f"doc-c{i}", f"doc-d{i}"
            clis.append(Cli("recv", mesh[1].app, bert, "--chat", f"alike-{i}",
                            "--stay", Cli.id(anna)))
            clis.append(Cli("send", mesh[0].app, anna, "--chat",
                            f"alike-{i}", Cli.id(bert)))
            clis[-1].type("one\n")
            clis[-1].wait("ACKED")
        answer = mesh[0].ctl("rekey", "alike-", ok=False)
    finally:
        for cli in clis:
            cli.kill()
    assert {row["chat_id"] for row in answer["matches"]} == {
        "alike-0", "alike-1"}
    return answer


def test_json_is_ascii_and_one_object(mesh):
    """What a chat is called never reaches a terminal raw."""
    run = mesh[0].ctl_run("-j", "show", "chats")
    assert run.stdout.isascii() and json.loads(run.stdout)
    assert os.linesep.join(run.stdout.splitlines()[:1]) == "{"
