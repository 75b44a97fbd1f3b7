"""Whole machines for tests: a minimal Debian 12 booted with systemd as its
first process, in namespaces of its own. Needs root, debootstrap and
systemd-nspawn, and says so when they are missing."""

import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from hermes_cli import BUILD
from hermes_node import until
from netns import sh

TOP = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = BUILD.with_name(BUILD.name + "-package")
BOOT = 300  # seconds, on a busy machine
ENVIRONMENT = ("env", "-i", "-C", "/root", "HOME=/root", "TERM=dumb", "LC_ALL=C",
               "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")


def packages():
    """What `make package` makes of this tree: {name: path}."""
    subprocess.run(["make", "-s", "-C", str(TOP), "package",
                    f"BUILD={BUILD}"], check=True, stdout=subprocess.DEVNULL)
    return {path.name.split("_")[0]: path for path in PACKAGES.glob("*.deb")}


def names(field):
    """The packages of a Depends field, the first of alternatives."""
    return {re.match(r"\s*([^\s(|]+)", one).group(1)
            for one in field.split(",")}


def needs(deb):
    """What a package depends on."""
    return names(sh("dpkg-deb", "-f", deb, "Depends"))


def linked():
    """What the programs of this tree are linked with, and systemd: what the
    package has to depend on, known before it is built."""
    run = subprocess.run(
        ["dpkg-shlibdeps", "-O", *(f"-e{BUILD}/{program}" for program in (
            "hermesd", "hermesctl", "hermes"))], cwd=TOP, check=True,
        capture_output=True, text=True)
    return names(run.stdout.split("=", 1)[1]) | {"systemd"}


def base():
    """The root of a minimal Debian with systemd and what the package has to
    depend on, and no more. Kept beside the build folder."""
    include = ",".join(sorted(linked() | {"systemd-sysv"}))
    name = hashlib.sha256(include.encode()).hexdigest()[:12]
    place = PACKAGES / f"base-{name}"
    if not place.exists():
        PACKAGES.mkdir(exist_ok=True)
        for old in PACKAGES.glob("base-*"):
            shutil.rmtree(old)
        making = PACKAGES / f"making-{os.getpid()}"
        subprocess.run(["sh", str(TOP / "etc/debootstrap.sh"), str(making),
                        include], check=True)
        making.rename(place)
    return place


def cgroups(name):
    """A control group for a machine in each hierarchy that systemd uses, so
    that no two machines share one: their folders."""
    return [pathlib.Path(top) / name for top in (
        "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
        if pathlib.Path(top, "cgroup.procs").exists()]


class Machine:
    """One Debian machine. Its changes lie over base and go with it."""

    def __init__(self, name, root):
        assert os.geteuid() == 0, "machines need root"
        self.name = name
        self.netns = f"hermes-{os.getpid()}-{name}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hermes-machine-"))
        for part in ("upper", "work", "root"):
            (self.folder / part).mkdir()
        sh("ip", "netns", "add", self.netns)
        sh("ip", "-n", self.netns, "link", "set", "lo", "up")
        self.cgroups = cgroups(self.netns)
        for group in self.cgroups:
            group.mkdir()
        # The mount is in a namespace that ends with the machine.
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-ec",
             'for group in $5; do echo $$ >$group/cgroup.procs; done; mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,'
             'workdir=$2/work" overlay "$2/root"; exec systemd-nspawn '
             '--quiet --boot --register=no --keep-unit --console=pipe '
             '--directory="$2/root" --machine="$3" --hostname="$3" '
             '--link-journal=no --resolv-conf=off --capability=CAP_IPC_LOCK '
             '--system-call-filter="landlock_create_ruleset '
             'landlock_add_rule landlock_restrict_self" '
             '--network-namespace-path="/run/netns/$4"',
             "machine", str(root), str(self.folder), name, self.netns,
             " ".join(map(str, self.cgroups))],
            stdin=subprocess.DEVNULL, stdout=open(self.folder / "log", "w"),
            stderr=subprocess.STDOUT)
        self.leader = None

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def booted(self):
        """Wait until systemd has done all it has to."""
        def first():
            assert self.process.poll() is None, self.log()[-2000:]
            for child in self.children(self.process.pid):
                if self.comm(child) == "systemd":
                    self.leader = child
            return self.leader
        until(f"{self.name} has a first process", first, BOOT)
        until(f"{self.name} has booted: {self.log()[-500:]}", lambda: self.run(
            "systemctl", "is-system-running").stdout.strip() in
            ("running", "degraded"), BOOT)
        return self

    @staticmethod
    def children(pid):
        try:
            return [int(one) for one in pathlib.Path(
                f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    @staticmethod
    def comm(pid):
        """Its name; empty when it has ended meanwhile."""
        try:
            return pathlib.Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
        except OSError:
            return ""

    def inside(self, *command):
        """What to start so that command runs in there, as root, at home."""
        return ["nsenter", f"--target={self.leader}", "--mount", "--uts",
                "--ipc", "--net", "--pid", "--root",
                *ENVIRONMENT, *map(str, command)]

    def run(self, *command, **options):
        return subprocess.run(self.inside(*command), text=True, timeout=300,
                              capture_output=True, **options)

    def sh(self, line, **options):
        """A line of shell that must succeed; its output."""
        done = self.run("sh", "-c", line, **options)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def put(self, source, place):
        """A file of ours into there; text, or a path to copy."""
        text = source.read_bytes() if isinstance(source, pathlib.Path) \
            else source.encode()
        done = subprocess.run(self.inside("sh", "-c", f'cat >"{place}"'),
                              input=text)
        assert done.returncode == 0, place

    def destroy(self):
        if self.process.poll() is None:
            # SIGKILL to a first process ends all of its namespace.
            for pid in (self.leader, self.process.pid):
                if pid is not None:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
        self.process.wait(60)
        subprocess.run(["ip", "netns", "del", self.netns])
        for group in self.cgroups:
            until(f"{group} empty", lambda g=group: not any(
                (folder / "cgroup.procs").read_text()
                for folder in (g, *g.rglob("*")) if folder.is_dir()))
            for folder in sorted(group.rglob("*"), reverse=True):
                if folder.is_dir():
                    folder.rmdir()
            group.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)


class Pair:
    """Two machines, alpha and beta, on a wire: 192.0.2.1 and 192.0.2.2, each
    the other's way to everywhere else."""

    def __init__(self, root):
        self.machines = []
        try:
            for name in ("alpha", "beta"):
                self.machines.append(Machine(name, root))
            a, b = (machine.netns for machine in self.machines)
            sh("ip", "-n", a, "link", "add", "host0", "type", "veth", "peer",
               "host0", "netns", b)
            for end, netns in enumerate((a, b)):
                sh("ip", "-n", netns, "addr", "add", f"192.0.2.{end + 1}/24",
                   "dev", "host0")
                sh("ip", "-n", netns, "link", "set", "host0", "up")
                sh("ip", "-n", netns, "route", "add", "default", "via",
                   f"192.0.2.{2 - end}")
            for machine in self.machines:
                machine.booted()
        except BaseException:
            self.destroy()
            raise

    def __enter__(self):
        return self.machines

    def __exit__(self, *_):
        self.destroy()

    def destroy(self):
        for machine in self.machines:
            machine.destroy()
