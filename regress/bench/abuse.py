#!/usr/bin/python3
"""How much of its rate an honest chat keeps while one client attacks: each
attack, on each listener, in one run with and without it, the medians of three
turns. The attacker runs in a process of its own, at most as fast as Python
sends. Prints a table; nothing is judged here.

    BUILD=build /usr/bin/python3 regress/bench/abuse.py [ATTACK ...]
"""

import multiprocessing
import pathlib
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE / "lib"), str(HERE / "conform")]

from h2_attacker import (  # noqa: E402
    CONTINUATION, GONE, HEADERS, Attacker, frame, literal, request)
from hermes_node import Mesh  # noqa: E402
from test_abuse import FLOODS, Honest  # noqa: E402

TURN, TURNS = 1.0, 3


def attack(node, listener, name):
    """One connection after the other, each until it is cut."""
    kind, data = FLOODS.get(name, (None, None))
    while True:
        try:
            with Attacker(node, listener) as attacker:
                if data is None:
                    attacker.send(frame(HEADERS, 0, 1, request()))
                    attacker.flood(lambda i: frame(
                        CONTINUATION, 0, 1, literal("a", "b")))
                else:
                    attacker.flood(data)
        except (OSError, *GONE):
            pass


def rate(honest):
    before, begun = honest.acks, time.monotonic()
    time.sleep(TURN)  # what is measured is a time
    return (honest.acks - before) / (time.monotonic() - begun)


def measure(mesh, honest, listener, name):
    calm, under = [], []
    for _ in range(TURNS):
        calm.append(rate(honest))
        attacker = multiprocessing.get_context("fork").Process(
            target=attack, args=(mesh[0], listener, name), daemon=True)
        attacker.start()
        under.append(rate(honest))
        attacker.terminate()
        attacker.join()
    return statistics.median(calm), statistics.median(under)


def main():
    names = sys.argv[1:] or sorted(FLOODS) + ["continuation"]
    with Mesh(2) as mesh:
        honest = Honest(mesh[0].app, mesh[1].app)
        honest.goes_on()
        print(f"{'attack':24} {'listener':8} {'calm/s':>8} {'under/s':>8} "
              f"{'kept':>6}")
        for name in names:
            for listener in ("app", "mesh"):
                calm, under = measure(mesh, honest, listener, name)
                print(f"{name:24} {listener:8} {calm:8.0f} {under:8.0f} "
                      f"{under / calm:6.0%}", flush=True)
        honest.stop()


if __name__ == "__main__":
    main()
