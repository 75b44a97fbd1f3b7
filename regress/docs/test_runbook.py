"""docs/runbook.md, every command of it: typed in order at machines that fail
as each section says, what is printed compared with what it says is seen."""

import re

import pytest

from hermes_node import until
from hermes_wire import ROOT, Identity
from machines import Machines
from netns import Load

RUNBOOK = ROOT / "docs/runbook.md"
PROMPT = re.compile(r"(alpha|beta|gamma|delta)# (.*)")
# Commands that only look: typed again until they show what is expected.
LOOKING = re.compile(r"hermesctl (-j )?(show|status|ticket list|top)|df |ls |"
                     r"journalctl |curl ")


class Block:
    """Commands of one fence: [machine, command, [lines expected]]."""

    def __init__(self, section, number):
        self.section, self.number, self.commands = section, number, []

    def __repr__(self):
        return f"{self.section} {self.number}"


def read(text):
    """The blocks of the runbook, in order; every fence is one."""
    blocks, section, inside = [], None, None
    for line in text.splitlines():
        if line.startswith("```"):
            if inside is None:
                assert line == "```console", line
                number = sum(b.section == section for b in blocks) + 1
                inside = Block(section, number)
                blocks.append(inside)
            else:
                inside = None
        elif inside is not None:
            prompt = PROMPT.fullmatch(line)
            if prompt:
                inside.commands.append((prompt[1], prompt[2], []))
            elif line:
                inside.commands[-1][2].append(line)
        elif line.startswith("## "):
            section = line[3:]
    assert inside is None
    return blocks


BLOCKS = read(RUNBOOK.read_text())


def pattern(line):
    """A line as it is seen: blanks may differ, `...` is anything."""
    words = [r"\S*".join(map(re.escape, word.split("...")))
             if word != "..." else ".*" for word in line.split()]
    return re.compile(r"\s*" + r"\s+".join(words) + r"\s*")


def seen(output, expected):
    """All lines expected are in the output; a table may be sorted anyhow."""
    return all(any(pattern(one).fullmatch(line)
                   for line in output.splitlines()) or one == "..."
               for one in expected)


class World:
    """What happens to the machines, and the apps that use them."""

    def __init__(self):
        self.machines = Machines("alpha", "beta", "gamma", "delta")
        self.loads = []

    def talk(self):
        """An app each at alpha and beta, with a chat that goes on."""
        for name, seed, peer in (("alpha", "ops-a", "ops-b"),
                                 ("beta", "ops-b", "ops-a")):
            machine = self.machines[name]
            load = Load(machine, machine.wire.inside(machine.end))
            self.loads.append(load)
            load.app(seed)
            load.chat(seed, "ops", peer, 50, 0, 100)
            load.say("go")
        self.flows()

    def flows(self):
        """Messages are acknowledged at both ends, after now; none was lost
        or came twice."""
        before = [load.show()[0]["acked"] for load in self.loads]
        until("the chat goes on", lambda: all(
            load.show()[0]["acked"] > count + 1
            for load, count in zip(self.loads, before)))
        assert not any(load.show()[0]["wrong"] for load in self.loads)

    def hush(self):
        for load in self.loads:
            load.end()
        self.loads = []

    def lose(self, name):
        self.machines[name].kill()
        self.machines[name].install()

    def lose_authority(self):
        """Its backup and the passphrase lie elsewhere, and are brought."""
        alpha = self.machines["alpha"]
        self.hush()
        kept = {path: alpha.run(f"base64 -w0 {path}")[0] for path in (
            "/var/backups/hermes-alpha", "/root/backup-passphrase")}
        self.lose("alpha")
        for path, text in kept.items():
            target = f"/root/{path.rsplit('/', 1)[1]}"
            assert alpha.run(f"base64 -d > {target} <<< {text}")[1] == 0

    def destroy(self):
        self.hush()
        self.machines.destroy()

    def before(self, block):
        """What the section is about comes about before its block."""
        wire = self.machines.wire
        happens = {
            "Rotate keys 1": self.talk,
            "Replace a dead node 1": self.machines["gamma"].kill,
            "Restore from a backup 1": self.lose_authority,
            "A full disk 1": lambda: (self.talk(), self.machines["beta"].fill(
                "/var/lib/hermes/core.4711")),
            "A split mesh 1": lambda: (self.hush(), wire.part({0}, {1, 2, 3})),
            "A split mesh 2": wire.heal,
            "Upgrade 1": self.talk,
        }.get(repr(block))
        if happens:
            happens()


@pytest.fixture(scope="module")
def world():
    one = World()
    try:
        yield one
    finally:
        one.destroy()


def follow(machine, command, expected):
    """Type it; what it prints must be what is expected, and 0 its status but
    where `status` says why the node is not ready."""
    last = []

    def typed():
        last[:] = machine.run(command)
        good = last[1] == 0 or "not ready" in expected
        good = good and seen(last[0], expected)
        assert good or LOOKING.match(command)
        return good
    try:
        until("what is expected", typed)
    except AssertionError:
        raise AssertionError(
            f"{machine.name}# {command}\nexit {last[1]}\n{last[0]}\n"
            f"expected: {expected}\n{machine.log()[-3000:]}") from None


def test_every_command(world):
    """One test: each section begins where the one before it ended."""
    for block in BLOCKS:
        world.before(block)
        for name, command, expected in block.commands:
            print(f"{block}: {name}# {command}")
            follow(world.machines[name], command, expected)
        if world.loads:
            world.flows()


SECTIONS = ("Add a node", "Remove a node", "Replace a dead node",
            "Rotate keys", "After an incident: new keys for everything",
            "Restore from a backup", "A full disk", "A split mesh", "Upgrade")


def test_it_has_every_section():
    """Each with symptoms, commands, and what is seen after them."""
    text = RUNBOOK.read_text()
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text,
                               re.M | re.S))
    assert set(SECTIONS) <= set(sections)
    for name in SECTIONS:
        blocks = [block for block in BLOCKS if block.section == name]
        assert blocks and any(expected for block in blocks for _, _, expected
                              in block.commands), name
        assert re.search(r"^\*\*When\.\*\* ", sections[name], re.M), name


def test_no_command_only_in_words():
    """What the text calls a command is in a block too, and so was run."""
    typed = [command for block in BLOCKS for _, command, _ in block.commands]
    text = re.sub(r"^```.*?^```", "", RUNBOOK.read_text(), flags=re.M | re.S)
    for code in re.findall(r"`([^`]+)`", text):
        code = " ".join(code.split())
        if re.match(r"(hermesctl|hermesd|systemctl|apt-get|journalctl) ",
                    code):
            assert any(command.startswith(code) or f"| {code}" in command
                       for command in typed), code
