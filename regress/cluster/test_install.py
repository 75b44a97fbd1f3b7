"""make install and uninstall into a scratch root, against the manifest
installed.txt; and what systemd makes of the files: the unit verified and
weighed, users and folders made. Nothing of this machine is changed."""

import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest

from hermes_cli import BUILD
from hermes_node import Node, until

TOP = pathlib.Path(__file__).resolve().parents[2]
MANIFEST = pathlib.Path(__file__).with_name("installed.txt")
EXPOSED = 2.0  # at most, of 10
UNIT = "usr/local/lib/systemd/system/hermesd.service"


def make(target, root, **places):
    subprocess.run(
        ["make", "-s", "-C", str(TOP), target, f"DESTDIR={root}",
         f"BUILD={BUILD}", *(f"{k}={v}" for k, v in places.items())],
        check=True, capture_output=True, text=True)


def files(root):
    """["mode /place"] of every file, sorted."""
    return sorted(f"{stat.S_IMODE(path.stat().st_mode):o} "
                  f"/{path.relative_to(root)}"
                  for path in pathlib.Path(root).rglob("*")
                  if not path.is_dir())


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root in which `make install` was run, with what systemd's tools
    look for."""
    place = tmp_path_factory.mktemp("installed")
    make("install", place)
    return place


def test_installed_is_the_manifest(root):
    assert files(root) == MANIFEST.read_text().splitlines()


def test_uninstall_leaves_nothing(tmp_path):
    """No file, no folder of ours; and nothing of others is taken."""
    make("install", tmp_path)
    other = tmp_path / "usr/local/share/man/man8/other.8"
    other.write_text("kept\n")
    make("uninstall", tmp_path)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [
        other]
    assert [path for path in tmp_path.rglob("*hermes*")] == []


def test_places_follow_the_prefix(tmp_path):
    """With another prefix nothing lies elsewhere, and the unit starts the
    program there."""
    make("install", tmp_path, PREFIX="/usr", LIBDIR="/usr/lib/x")
    assert not (tmp_path / "usr/local").exists()
    assert (tmp_path / "usr/lib/x/libhermes.a").exists()
    unit = (tmp_path / "usr/lib/systemd/system/hermesd.service").read_text()
    assert "ExecStart=/usr/sbin/hermesd " in unit
    assert "/usr/local" not in unit


def test_programs_run_where_they_are_installed(root):
    for program in ("sbin/hermesd", "bin/hermes"):
        option = "-V" if program.endswith("d") else "--version"
        assert re.match(r"hermesd? \d", run(
            str(root / "usr/local" / program), option).stdout)


# --- systemd ---------------------------------------------------------------

def verify(root):
    """systemd-analyze verify on the unit in root, with this machine's units
    beside it."""
    units = root / "lib/systemd/system"
    if not units.exists():
        shutil.copytree("/lib/systemd/system", units, symlinks=True)
        (root / "bin").mkdir()
        shutil.copy("/bin/sh", root / "bin/sh")
    return run("systemd-analyze", "verify", "--man=no", f"--root={root}",
               "hermesd.service")


def test_unit_is_clean(tmp_path):
    """systemd-analyze verify has nothing to say, and would have."""
    make("install", tmp_path)
    found = verify(tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    unit = tmp_path / UNIT
    unit.write_text(unit.read_text().replace("WatchdogSec=", "Watchdog="))
    assert "hermesd.service" in verify(tmp_path).stderr


def test_unit_is_hardened():
    """systemd-analyze security gives at most 2.0."""
    found = run("systemd-analyze", "security", "--offline=true",
                "--no-pager", str(TOP / "etc/hermesd.service"))
    level = re.search(r"Overall exposure level for hermesd.service: ([\d.]+)",
                      found.stdout)
    assert level and float(level.group(1)) <= EXPOSED, found.stdout[-300:]


def test_unit_says_what_it_must():
    unit = (TOP / "etc/hermesd.service").read_text().splitlines()
    for line in ("Type=notify", "WatchdogSec=60", "LimitCORE=0",
                 "LoadCredentialEncrypted=hermes-passphrase"):
        assert line in unit


def test_users_and_folders(tmp_path):
    """systemd-sysusers makes the four users, no two the same, none that can
    log in; systemd-tmpfiles the folders, keyd's its own and closed."""
    make("install", tmp_path)
    (tmp_path / "etc").mkdir()
    made = run("systemd-sysusers", f"--root={tmp_path}")
    assert made.returncode == 0, made.stderr
    users = dict()
    for line in (tmp_path / "etc/passwd").read_text().splitlines():
        name, _, uid, gid, _, home, shell = line.split(":")
        if name.startswith("_hermes_"):
            users[name] = (int(uid), int(gid))
            assert shell.endswith("nologin") and int(uid) != 0
    assert sorted(users) == [f"_hermes_{name}" for name in (
        "control", "keyd", "mesh", "router")]
    assert len(set(users.values())) == 4

    made = run("systemd-tmpfiles", "--create", f"--root={tmp_path}",
               "hermes.conf")
    assert made.returncode == 0, made.stderr
    for place, mode, owner in (
            ("run/hermes", 0o755, (0, 0)), ("etc/hermes", 0o755, (0, 0)),
            ("var/lib/hermes", 0o755, (0, 0)),
            ("var/lib/hermes/keyd", 0o700, users["_hermes_keyd"])):
        found = os.stat(tmp_path / place)
        assert (stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)) \
            == (mode, owner), place


# --- OpenBSD ---------------------------------------------------------------

# Of rc.subr(8), what its manual page promises to a script: the flags are
# set, rc_cmd calls the functions of the script or its own.
RC_SUBR = """
daemon_flags="-f $CONFIG"
rc_start() { ${daemon} ${daemon_flags}; }
rc_reload() { pkill -HUP -xf "$pexp"; }
rc_check() { pgrep -xf "$pexp" >/dev/null; }
rc_cmd() {
\tcase $1 in
\tstart) rc_pre && rc_start ;;
\t*) rc_$1 ;;
\tesac
}
"""


@pytest.fixture
def rc(tmp_path):
    """Run the script of rc.d(8) as rcctl(8) does: rc(word). A node that is
    not started belongs to it."""
    (tmp_path / "rc.subr").write_text(RC_SUBR)
    text = (TOP / "etc/rc.d/hermesd").read_text()
    for old, new in (("/etc/rc.d/rc.subr", tmp_path / "rc.subr"),
                     ("/usr/local/sbin/hermesd", BUILD / "hermesd"),
                     ("/var/run/hermes", tmp_path / "run")):
        assert old in text
        text = text.replace(old, str(new))
    script = tmp_path / "hermesd"
    script.write_text(text)
    node = Node("rc")

    def call(word):
        return subprocess.run(
            ["mksh", str(script), word], capture_output=True, text=True,
            timeout=120, env={**os.environ, "CONFIG": str(node.config)})
    call.node = node
    yield call
    if rc_running(call):
        node.ctl("stop")
    node.destroy()


def rc_running(rc):
    return rc("check").returncode == 0


def test_rc_script(rc):
    """start goes to the background and is found by its arguments, also for
    reload; with a bad file configtest and start fail and name the line."""
    node = rc.node
    assert not rc_running(rc)
    assert rc("start").returncode == 0
    until("serving", lambda: node.http("/readyz")[0] == 200)
    assert rc_running(rc)
    good = node.config.read_text()
    wrong = f"{node.config}:{len(good.splitlines()) + 1}:"
    node.config.write_text(good + "nonsense\n")
    for word in ("configtest", "start"):
        done = rc(word)
        assert done.returncode != 0 and wrong in done.stderr, word
    assert node.http("/mesh/apps")[0] == 200
    node.config.write_text(good.replace("admin apps yes", "admin apps no"))
    assert rc("configtest").returncode == 0
    assert rc("reload").returncode == 0
    until("reloaded", lambda: node.http("/mesh/apps")[0] == 404)
