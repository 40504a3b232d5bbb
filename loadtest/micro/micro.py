#!/usr/bin/python3
"""Prints, for each step of a redirect, ns and instructions per call, beside the stored ones.

    loadtest/micro/micro.py build/bench_micro [--update]

Instructions are counted by callgrind, so they depend on the compiler and its libraries and neither
on the machine nor on what else runs; the baseline (baseline.txt) is that of CI, Debian 12's gcc.
What has grown by more than 10 % is said in the last lines; nothing fails. --update stores what
was counted.
"""

import os
import re
import subprocess
import sys
import tempfile

BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baseline.txt")
ROUNDS = 4
GROWN = 1.10


def count(binary, step):
    """Instructions of one call."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=counted",
             f"--callgrind-out-file={folder}/out", binary, step, str(ROUNDS)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with open(f"{folder}/out", encoding="utf-8", errors="replace") as file:
            totals = re.findall(r"^(?:totals|summary): (\d+)", file.read(), re.MULTILINE)
    return int(totals[-1]) / int(done.stdout)


def read_baseline():
    """{step: instructions}"""
    try:
        with open(BASELINE, encoding="utf-8") as file:
            pairs = (line.split() for line in file if line.strip() and not line.startswith("#"))
            return {step: float(value) for step, value in pairs}
    except FileNotFoundError:
        return {}


def write_baseline(counted):
    """The opposite."""
    with open(BASELINE, "w", encoding="utf-8") as file:
        file.write(
            "# Instructions per call, gcc 12 of Debian 12, x86-64: make bench-micro UPDATE=1\n")
        file.writelines(f"{step} {value:.1f}\n" for step, value in counted.items())


def main():
    """See above."""
    binary = os.path.abspath(sys.argv[1])
    timed = dict(line.split() for line in subprocess.run(
        [binary], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines())
    stored = read_baseline()
    counted = {step: count(binary, step) for step in timed}
    print(f"{'step':<18} {'ns':>8} {'instructions':>13} {'stored':>9}")
    for step, value in counted.items():
        before = stored.get(step)
        change = f"{before:>9.0f} {(value / before - 1) * 100:+6.1f} %" if before else "      new"
        print(f"{step:<18} {float(timed[step]):>8.1f} {value:>13.0f} {change}")
    for step in sorted(set(stored) - set(counted)):
        print(f"{step}: stored, and gone")
    for step, value in counted.items():
        if step in stored and value > stored[step] * GROWN:
            print(f"GREW by more than 10 %: {step}, {stored[step]:.0f} → {value:.0f} "
                  "instructions")
    if "--update" in sys.argv[2:]:
        write_baseline(counted)


if __name__ == "__main__":
    main()
