import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from hermes_node import Mesh, Node  # noqa: E402


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


@pytest.fixture
def frail():
    """A mesh of two nodes for one test, to be killed at will."""
    with Mesh(2) as two:
        yield two
