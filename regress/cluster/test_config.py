"""hermesd.conf(5) as an operator meets it: checked, overridden, printed."""

import os
import subprocess

import pytest

from hermes_node import HERMESD


def hermesd(*arguments, environment=None):
    return subprocess.run(
        [HERMESD, *map(str, arguments)], capture_output=True, text=True,
        timeout=60, env={**os.environ, **(environment or {})})


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "hermesd.conf"
    path.write_text('name = "here"\nnode $name\nrekey { after 1h }\n')
    return path


# --- hermesd -n -------------------------------------------------------------

def test_check(conf):
    run = hermesd("-n", "-f", conf)
    assert run.returncode == 0 and "configuration OK" in run.stderr
    conf.write_text("node a\nlimits {\n\tsesions 5\n}\n")
    run = hermesd("-n", "-f", conf)
    assert run.returncode == 1
    assert run.stderr.startswith(f'{conf}:3: unknown keyword "sesions"')


def test_macro(conf):
    printed = hermesd("-n", "-v", "-D", "name=there", "-f", conf).stdout
    assert printed.startswith('node "there"\n')
    run = hermesd("-n", "-D", "name", "-f", conf)
    assert run.returncode == 1 and run.stderr.startswith("-D name: ")


def test_order_is_file_environment_flag(conf):
    def after(*arguments, **environment):
        run = hermesd("-n", "-v", "-f", conf, *arguments,
                      environment=environment)
        assert run.returncode == 0, run.stderr
        return next(line.split()[1] for line in run.stdout.splitlines()
                    if line.startswith("\tafter "))
    assert after() == "1h"
    assert after(HERMES_REKEY_AFTER="2h") == "2h"
    assert after("-o", "rekey_after=3h", HERMES_REKEY_AFTER="2h") == "3h"


def test_unknown_variable_or_key_names_its_place(conf):
    run = hermesd("-n", "-f", conf,
                  environment={"HERMES_SECRET": "opensesame"})
    assert run.returncode == 1
    assert run.stderr.startswith("HERMES_SECRET: unknown variable")
    assert "opensesame" not in run.stderr
    run = hermesd("-n", "-f", conf, "-o", "secret=opensesame")
    assert run.returncode == 1
    assert run.stderr.startswith("-o secret: unknown key")
    assert "opensesame" not in run.stderr


def test_what_is_printed_reads_back(conf, tmp_path):
    first = hermesd("-n", "-v", "-f", conf, "-o", "limits_apps=77").stdout
    assert "\tapps 77\n" in first
    again = tmp_path / "again.conf"
    again.write_text(first)
    assert hermesd("-n", "-v", "-f", again).stdout == first


def test_usage():
    assert hermesd("-x").returncode == 2
    assert hermesd("-n", "extra").returncode == 2
