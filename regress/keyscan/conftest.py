import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
# The build that keeps a journal of keys stands beside the one of the suite.
os.environ.setdefault("RELEASE", os.environ.get("BUILD", "build"))
os.environ["BUILD"] = os.environ.get(
    "KEYSCAN_BUILD", os.environ["RELEASE"].rstrip("/") + "/keyscan")

from hermes_node import Node  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that failed shows what its nodes said."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            for node in getattr(value, "nodes", [value]):
                if isinstance(node, Node):
                    report.sections.append(
                        (f"log of {node.name}", node.log()[-6000:]))
