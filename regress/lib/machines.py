"""Machines as an operator finds them: each with a network of its own, its own
/etc, /var, /run, /root and installed programs, and a root shell. They are
namespaces of this one; what systemd does there, the tests do."""

import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile

from hermes_cli import BUILD
from hermes_node import START
from hermes_wire import ROOT
from netns import Wire, need_root, sh
from notify import Manager
from screen import TOP, Screen

CONFIG = "/etc/hermes/hermesd.conf"
STORE = "64M"  # the file system under /var/lib/hermes
OVERLAID = ("etc", "var", "run", "root", "usr/local")

# What else an operator types. PIDS is where the machines' shells are known.
SSH = """#!/bin/sh
machine=$1; shift
exec nsenter -t "$(cat {pids}/"$machine")" -m -n -u sh -c "cd /root; $*"
"""


class Machine:
    """One machine at an end of the wires. stage: what the package holds."""

    def __init__(self, wire, end, name, stage, pids):
        self.wire, self.end, self.name = wire, end, name
        self.stage, self.pids = stage, pids
        self.app = f"{wire.address(end)}:7443"
        self.daemon = self.shell = self.folder = None
        self.manager = Manager()
        self.install()

    def install(self):
        """A new, empty machine of this name."""
        self.folder = pathlib.Path(
            tempfile.mkdtemp(prefix=f"hermes-{self.name}-"))
        self.folder.chmod(0o755)
        mounts = []
        for part in OVERLAID:
            over = self.folder / part.replace("/", "-")
            (over / "up").mkdir(parents=True)
            (over / "work").mkdir()
            mounts.append(
                f"mount -t overlay overlay -o lowerdir=/{part},"
                f"upperdir={over}/up,workdir={over}/work /{part}")
        script = "\n".join(mounts + [
            "mkdir -p /var/lib/hermes /var/backups",
            f"mount -t tmpfs -o size={STORE},mode=755 tmpfs "
            "/var/lib/hermes",
            f"hostname {self.name}", "echo up", "exec cat"])
        self.shell = subprocess.Popen(
            self.wire.inside(self.end) + ["unshare", "--mount", "--uts", "sh",
                                          "-ec", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.shell.stdout.readline() == "up\n"
        (self.pids / self.name).write_text(str(self.shell.pid))
        text, status = self.run(f"cp {self.stage}/bin/* /usr/local/bin")
        assert status == 0, text

    def unpack(self):
        """New files in the place of the old ones, while the old programs may
        run."""
        text, status = self.run(
            f"cp -a --remove-destination {self.stage}/usr/local/. /usr/local")
        assert status == 0, text

    def package(self):
        """What the package does: unpack, run its own script, start. The users
        are there already."""
        self.unpack()
        text, status = self.run(f"sh {ROOT}/debian/hermes.postinst configure")
        if status == 0:
            self.restart()
        return text, status

    def command(self, line):
        """The command that runs a line of shell there."""
        return ["nsenter", "-t", str(self.shell.pid), "-m", "-n", "-u", "env",
                "-i", "HOME=/root", "USER=root", "PATH=/usr/local/sbin:"
                "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "bash", "-c",
                f"cd /root && {line}"]

    def run(self, line):
        """What it prints, errors too, as on a terminal; and the status."""
        systemctl = re.fullmatch(
            r"systemctl (start|stop|restart|reload) hermesd", line)
        if systemctl:
            getattr(self, systemctl[1])()
            return "", 0
        if re.fullmatch(r"apt-get install -y \./hermes_\S*\.deb", line):
            return self.package()
        if line.startswith("journalctl -u hermesd"):
            return self.log(), 0
        if line == "hermesctl top":
            return self.top(line)
        run = subprocess.run(self.command(line), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=120,
                             stdin=subprocess.DEVNULL)
        return run.stdout, run.returncode

    def top(self, line):
        """Look until it is drawn, and quit."""
        with Screen(self.command("TERM=xterm " + line), end=TOP) as screen:
            lines = screen.wait("drawn", lambda seen: "q quit" in seen[-1])
            screen.type("q")
            return "\n".join(lines), screen.process.wait(60)

    # --- what systemd does ----------------------------------------------

    def start(self):
        """Until it says that it is ready, as Type=notify is waited for."""
        self.manager.forget()
        variables = " ".join(
            f"{name}={shlex.quote(value)}" for name, value in
            self.manager.environment.items())
        with open(self.folder / "log", "ab") as log:
            self.daemon = subprocess.Popen(
                self.command(f"exec env {variables} hermesd -d -f {CONFIG}"),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self.manager.until(START, READY="1")
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{self.log()[-2000:]}") from None

    def stop(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.terminate()
            assert self.daemon.wait(120) == 0, self.log()[-2000:]

    def restart(self):
        self.stop()
        self.start()

    def reload(self):
        self.daemon.send_signal(signal.SIGHUP)

    def log(self):
        try:
            return (self.folder / "log").read_text(errors="replace")
        except OSError:
            return ""

    # --- what happens ---------------------------------------------------

    def kill(self):
        """The power fails: no process says anything. The machine is gone
        with all it had; install() puts an empty one in its place."""
        if self.daemon is not None and self.daemon.poll() is None:
            family = [self.daemon.pid] + [
                int(pid) for task in pathlib.Path(
                    f"/proc/{self.daemon.pid}/task").glob("*")
                for pid in (task / "children").read_text().split()]
            for sig in (signal.SIGSTOP, signal.SIGKILL):
                for pid in family:
                    try:
                        os.kill(pid, sig)
                    except ProcessLookupError:
                        pass
            self.daemon.wait(60)
        if self.shell is not None:
            self.shell.kill()
            self.shell.wait()
            self.shell.stdin.close()
            self.shell.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fill(self, path):
        """Fill the file system of the store but for three per cent."""
        room = os.path.dirname(path)
        text, status = self.run(
            f"fallocate -l $(($(stat -fc '%a * %S' {shlex.quote(room)}) - "
            f"$(stat -fc '%b * %S' {shlex.quote(room)}) * 3 / 100)) "
            f"{shlex.quote(path)}")
        assert status == 0, text


class Machines:
    """Machines of these names, without Hermes but for its package."""

    def __init__(self, *names):
        need_root()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hermes-machines-"))
        self.wire, self.machines = None, {}
        try:
            stage, pids = self.folder / "stage", self.folder / "pids"
            pids.mkdir()
            subprocess.run(
                ["make", "-s", "-C", str(ROOT), "install", f"BUILD={BUILD}",
                 f"DESTDIR={stage}", "PREFIX=/usr/local"], check=True,
                capture_output=True, timeout=600)
            (stage / "bin").mkdir()
            for name, text in (("ssh", SSH.format(pids=pids)),
                               ("systemd-sysusers", "#!/bin/sh\n")):
                (stage / "bin" / name).write_text(text)
                (stage / "bin" / name).chmod(0o755)
            self.wire = Wire(len(names))
            for inside in self.wire.names:
                sh("ip", "-n", inside, "route", "add", "default", "dev",
                   "wire0")
            for end, name in enumerate(names):
                self.machines[name] = Machine(self.wire, end, name, stage,
                                              pids)
        except BaseException:
            self.destroy()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    def __getitem__(self, name):
        return self.machines[name]

    def destroy(self):
        for machine in self.machines.values():
            machine.kill()
            machine.manager.__exit__()
        if self.wire is not None:
            self.wire.destroy()
        shutil.rmtree(self.folder, ignore_errors=True)
