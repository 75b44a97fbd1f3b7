"""The Debian package on two machines that boot with systemd: built, checked,
installed, in use by the commands that README.md shows a newcomer, upgraded
over itself, reloaded, watched, removed, purged. In the order of this file:
each test goes on where the one before it ended."""

import concurrent.futures
import json
import re
import subprocess
import threading

import pytest

import machine
from hermes_node import until

README = (machine.TOP / "README.md").read_text()
COMMANDS = 6  # from the package to a chat, on both machines together
PASSPHRASE = "/etc/hermes/passphrase"
CONFIG = "/etc/hermes/hermesd.conf"


def blocks():
    """The blocks of commands of README.md."""
    return re.findall(r"(?:^    .*\n)+", README, re.M)


def shown():
    """[(machine, command)] of the first block of README.md with prompts."""
    found = [re.findall(r"^    (alpha|beta)# +(\S.*)$", block, re.M)
             for block in blocks()]
    return next(one for one in found if one)


@pytest.fixture(scope="module")
def made():
    """The packages and the root for machines, made at the same time."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        root = pool.submit(machine.base)
        return machine.packages(), root.result()


@pytest.fixture(scope="module")
def debs(made):
    return made[0]


@pytest.fixture(scope="module")
def pair(made):
    debs, root = made
    with machine.Pair(root) as machines:
        for one in machines:
            one.put(debs["hermes"], f"/root/{debs['hermes'].name}")
        yield machines


def ctl(host, *words):
    return json.loads(host.sh("hermesctl -j " + " ".join(words)))


def processes(host):
    """As the node says, ready or not: it serves before it has found the other
    one again, and hermesctl's status is that of the node."""
    return json.loads(host.run("hermesctl", "-j", "status").stdout)[
        "processes"]


def node_key(host):
    return ctl(host, "show")["summary"]["node_key"]


def unit(host, *names):
    """Properties of the unit, as systemd has them."""
    text = host.sh("systemctl show hermesd.service " + " ".join(
        f"-p {name}" for name in names))
    return dict(line.split("=", 1) for line in text.splitlines())


def serves(host):
    until(f"{host.name} serves", lambda: unit(
        host, "ActiveState", "StatusText") == {
            "ActiveState": "active", "StatusText": f"{host.name} serves"})


def alive(host, count):
    until(f"{host.name} sees {count}", lambda: sum(
        row["state"] == "alive" for row in ctl(host, "show", "nodes")[
            "nodes"]) == count)


def journal(host):
    """What the node said, so far as the journal has read it."""
    return host.sh("journalctl -u hermesd")


class Chat:
    """hermes chat, as it is typed on a machine; what it prints, as it
    comes."""

    def __init__(self, host, command):
        self.process = subprocess.Popen(
            host.inside("sh", "-c", command), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.text = ""
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.text += line

    def wait(self, pattern):
        return until(f"{pattern} in {self.text}",
                     lambda: re.search(pattern, self.text, re.M))

    def type(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        return self.process.wait(60)


# --- built -----------------------------------------------------------------

def test_lintian_finds_no_error(debs):
    changes = next(machine.PACKAGES.glob("*.changes"))
    found = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", str(changes)],
        capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert not re.search(r"^E:", found.stdout, re.M)


def test_packages_hold_what_they_should(debs):
    """The programs and the unit in one, what developers need in the other,
    nothing in both; and what the programs are linked with is depended on, no
    more, so that the machines below have what is declared."""
    assert machine.needs(debs["hermes"]) == machine.linked()
    assert machine.sh("dpkg-deb", "-f", debs["hermes"], "Version") == \
        machine.sh(machine.BUILD / "hermesd", "-V").split()[1] + "\n"
    assert set(debs) == {"hermes", "hermes-dev", "hermes-dbgsym"}
    lists = {name: set(re.findall(r" \./(\S*[^/\s])$", machine.sh(
        "dpkg", "-c", debs[name]), re.M)) for name in ("hermes",
                                                       "hermes-dev")}
    assert {"usr/sbin/hermesd", "usr/sbin/hermesctl", "usr/bin/hermes",
            "lib/systemd/system/hermesd.service"} <= lists["hermes"]
    assert {"usr/include/hermes.h",
            "usr/share/hermes/proto/approuter.proto"} <= lists["hermes-dev"]
    assert not lists["hermes"] & lists["hermes-dev"]


def test_developers_get_all_that_an_app_is_linked_with(debs, tmp_path):
    """What libhermes.pc names is in packages that hermes-dev depends on."""
    subprocess.run(["dpkg", "-x", str(debs["hermes-dev"]), str(tmp_path)],
                   check=True)
    pc = next(tmp_path.rglob("libhermes.pc")).read_text()
    found = set()
    for name in re.search(r"^Requires: (.*)$", pc, re.M).group(1).split():
        folder = machine.sh("pkg-config", "--variable=pcfiledir",
                            name).strip()
        found.add(machine.sh("dpkg", "-S", f"{folder}/{name}.pc").split(
            ":")[0])
    assert found <= machine.needs(debs["hermes-dev"])


# --- a newcomer ------------------------------------------------------------

def test_newcomer(pair):
    """The commands of README.md, as they stand there, lead to a chat; what
    is in capitals there is what an earlier command printed."""
    hosts = {one.name: one for one in pair}
    commands = shown()
    assert len(commands) <= COMMANDS
    values, chats = {}, []
    for name, command in commands:
        for word, value in values.items():
            command = re.sub(rf"\b{word}\b", value, command)
        if command.startswith("hermes chat"):
            chats.append(Chat(hosts[name], command))
            if len(chats) == 1:
                values["ID"] = chats[0].wait(
                    r"hermes chat ([0-9a-f]{64})").group(1)
            continue
        text = hosts[name].sh(command)
        ticket = re.search(r"hermes1[a-z2-7]+", text)
        if ticket:
            values["TICKET"] = ticket.group(0)
    assert len(chats) == 2, commands
    first, second = chats
    second.type("good evening")
    first.wait(r" good evening$")
    first.type("and to you")
    second.wait(r" and to you$")
    assert [second.end(), first.end()] == [0, 0]
    for host in pair:
        alive(host, 2)


def test_runs_as_the_unit_says(pair):
    """Five processes under five users; the parent may become others and no
    more, the children nothing; each is shut in by Landlock and seccomp;
    keyd's memory is locked; all folders as tmpfiles.d says; only the port
    for nodes is open to others."""
    for host in pair:
        serves(host)
        pids = {p["process"]: p["pid"] for p in processes(host)}
        users = set()
        for name, pid in pids.items():
            status = dict(re.findall(r"^(\w+):\s*(.*)$", host.sh(
                f"cat /proc/{pid}/status"), re.M))
            users.add(status["Uid"].split()[0])
            # CAP_SETGID and CAP_SETUID, and none to gain.
            assert int(status["CapPrm"], 16) == (
                0xc0 if name == "parent" else 0), name
            assert int(status["CapBnd"], 16) == 0, name
            assert status["NoNewPrivs"] == "1"
        assert len(users) == 5
        until("all is told", lambda: "event=ready" in journal(host))
        log = journal(host)
        assert "memory_not_locked" not in log
        shut_in = re.findall(r"(\w+): info: event=sandbox landlock=[1-9]\d* "
                             r"seccomp=kill", log)
        assert set(shut_in) == {"router", "keyd", "mesh", "control"}
        assert host.sh("stat -c %a:%U /var/lib/hermes/keyd "
                       f"{PASSPHRASE}").split() == [
            "700:_hermes_keyd", "600:root"]
        ports = {int(line.split()[1].split(":")[1], 16): line.split()[1][:8]
                 for line in host.sh("cat /proc/net/tcp").splitlines()[1:]
                 if line.split()[3] == "0A"}
        assert ports == {7443: "0100007F", 7444: "00000000",
                         8080: "0100007F"}


# --- an operator -----------------------------------------------------------

def test_reload(pair):
    """systemctl reload fails on a bad file, which changes nothing; a good
    one is taken without a new process."""
    host = pair[0]
    before = processes(host)
    host.sh(f"cp -p {CONFIG} /root/good; echo nonsense >>{CONFIG}")
    assert host.run("systemctl", "reload", "hermesd").returncode != 0
    until("it says why", lambda: f"{CONFIG}:" in journal(host))
    serves(host)
    host.sh(f"cp -p /root/good {CONFIG}; echo log level debug >>{CONFIG}")
    host.sh("systemctl reload hermesd")
    serves(host)
    assert processes(host) == before


def test_upgrade_over_itself(pair):
    """The operator's changes, identity, membership and mesh stay; the
    processes are new."""
    host = pair[0]
    host.sh(f"echo '# mine' >>{CONFIG}")
    key, config = node_key(host), host.sh(f"cat {CONFIG} {PASSPHRASE}")
    pid = unit(host, "MainPID")
    host.sh("dpkg -i ./hermes_*.deb")
    serves(host)
    assert unit(host, "MainPID") != pid
    assert host.sh(f"cat {CONFIG} {PASSPHRASE}") == config
    assert node_key(host) == key
    for one in pair:
        alive(one, 2)


def test_watchdog_starts_the_node_again(pair):
    """A child that hangs: systemd is fed no more and starts the whole node
    again. With less patience than the unit has, and more than a busy machine
    wants."""
    host = pair[0]
    host.sh("mkdir -p /run/systemd/system/hermesd.service.d")
    host.put("[Service]\nWatchdogSec=10\nRestartSec=0\n",
             "/run/systemd/system/hermesd.service.d/test.conf")
    host.sh("systemctl daemon-reload; systemctl restart hermesd")
    serves(host)
    pid = unit(host, "MainPID")
    router = next(p["pid"] for p in processes(host)
                  if p["process"] == "router")
    host.sh(f"kill -STOP {router}")
    until("started again", lambda: unit(host, "NRestarts") == {
        "NRestarts": "1"})
    serves(host)
    assert unit(host, "MainPID") != pid
    until("it says why", lambda: "process_silent process=router" in
          journal(host))
    host.sh("rm -r /run/systemd/system/hermesd.service.d;"
            "systemctl daemon-reload; systemctl restart hermesd")
    serves(host)


def test_passphrase_as_a_sealed_credential(pair):
    """The passphrase leaves /etc/hermes for a credential that only this
    machine can open; without either the node waits for hermesctl unlock."""
    host = pair[1]
    key = node_key(host)
    host.sh(f"""
        install -d -m 700 /etc/credstore.encrypted
        systemd-creds --with-key=host --name=hermes-passphrase encrypt \
            {PASSPHRASE} /etc/credstore.encrypted/hermes-passphrase
        sed -i '/passphrase file/d' {CONFIG}
        mv {PASSPHRASE} /root/passphrase
        systemctl restart hermesd""")
    serves(host)
    assert node_key(host) == key
    host.sh("mv /etc/credstore.encrypted/hermes-passphrase /root/sealed;"
            "systemctl restart hermesd")
    until("locked", lambda: unit(host, "StatusText") == {
        "StatusText": "beta is locked: hermesctl unlock"})
    host.sh("hermesctl unlock </root/passphrase")
    serves(host)
    assert node_key(host) == key


# --- the end ---------------------------------------------------------------

def test_remove_keeps_and_purge_takes_the_state(pair):
    """Removed, nothing runs and all that is the operator's stays; installed
    again it is the same node; purged, nothing is left."""
    host = pair[0]
    key = node_key(host)
    host.sh("apt-get -y remove hermes")
    # Some end while they are looked at.
    running = host.sh("cat /proc/[0-9]*/comm 2>&1 || true").split("\n")
    assert "systemd" in running and "hermesd" not in running
    assert host.run("sh", "-c", "command -v hermesd").returncode != 0
    host.sh(f"test -f {CONFIG} && test -f {PASSPHRASE}"
            " && test -d /var/lib/hermes/keyd")
    host.sh("apt-get -y install ./hermes_*.deb")
    serves(host)
    assert node_key(host) == key
    alive(host, 2)

    host.sh("apt-get -y purge hermes")
    left = host.sh("find / -xdev -ignore_readdir_race "
                   "-name '*hermes*' -not -path '/proc/*' "
                   "-not -path '/root/*' -not -path '/sys/*'")
    assert left.split() == [], left
    assert host.run("dpkg", "-s", "hermes").returncode != 0
    assert "hermesd" not in host.sh("systemctl list-unit-files")


def test_from_source(pair, tmp_path):
    """Where the package was purged, `make install` and the commands that
    README.md shows after it make a node that serves."""
    host = pair[0]
    subprocess.run(["make", "-s", "-C", str(machine.TOP), "install",
                    f"DESTDIR={tmp_path}", f"BUILD={machine.BUILD}"],
                   check=True, capture_output=True)
    archive = subprocess.run(["tar", "-C", str(tmp_path), "-c", "usr"],
                             check=True, capture_output=True).stdout
    subprocess.run(host.inside("tar", "-C", "/", "-x"), input=archive,
                   check=True)
    host.sh("rm -f /root/hermes_*.deb")
    for line in next(one for one in blocks()
                     if "systemd-sysusers" in one).splitlines():
        host.sh(line)
    serves(host)
    assert unit(host, "FragmentPath", "UnitFileState") == {
        "FragmentPath": "/usr/local/lib/systemd/system/hermesd.service",
        "UnitFileState": "enabled"}
