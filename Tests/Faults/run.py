"""Runs the faults of this folder on a built program and prints one row for each.

    python3 Tests/Faults/run.py PROGRAM [NAMES…] [--times 3] [--long] [--list]

NAMES are parts of case names, numbers or groups (files). Exit status 1: a case failed.

Each case runs `--times` times, and each run must pass. Only bars of time are forgiving, since
whatever else the machine does counts against them: one run of up to three has to keep them.
"""

import argparse
import importlib
import os
import subprocess
import sys
import time

import harness

GROUPS = ["model_files", "hostile_text", "wire", "parameters", "scheduling", "process",
          "isolation"]
#: Programs of this folder that stand alone: argument PROGRAM, exit status.
ALONE = ["smuggling", "failnth", "log_sinks"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--long", action="store_true", help="minutes where seconds are the default")
    parser.add_argument("--list", action="store_true", help="name the cases, run nothing")
    options = parser.parse_args()
    options.program = os.path.abspath(options.program)
    rows = []
    for group in GROUPS:
        if not os.path.exists(os.path.join(os.path.dirname(__file__) or ".", group + ".py")):
            continue
        known = len(harness.cases)
        importlib.import_module(group)
        for case in harness.cases[known:]:
            if wanted(options.names, group, case.number, case.name):
                if options.list:
                    print(f"{case.number:>6} {group}.{case.name}: {case.title}")
                else:
                    rows.append(run(options, case))
    for name in ALONE:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        if os.path.exists(path) and wanted(options.names, name, "-", name) and not options.list:
            rows.append(run_alone(options, name, path))
    if options.list:
        return 0
    failed = [name for name, is_good in rows if not is_good]
    print(f"\n{len(rows) - len(failed)} of {len(rows)} pass"
          + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def wanted(names, group, number, name):
    return not names or any(
        part == number or part == group or (not part.isdigit() and part in name)
        for part in names)


def run(options, case):
    """Runs a case as often as wanted and prints its row."""
    failure, best, runs, in_time, worst = "", None, 0, False, []
    start = time.monotonic()
    while True:
        result = harness.Trial(options.program, case, options.long).run()
        runs += 1
        worst.append(f"{result.worst_ms:.0f}" + (
            f" ({result.waited_ms:.0f})" if result.worst_ms >= harness.BAR_MS else ""))
        if result.failure and not result.is_late:
            failure, best = result.failure, result
            break
        in_time = in_time or not result.is_late
        if best is None or (result.is_late, result.worst_ms) < (best.is_late, best.worst_ms):
            best = result
        if runs >= options.times and (in_time or runs >= 3):
            break
    if not failure and not in_time:
        failure = best.failure
    show(case, best, failure, worst, time.monotonic() - start)
    return case.name, not failure


def show(case, result, failure, worst, seconds):
    memory = f"{result.start:.0f}/{result.peak:.0f}/{result.after:.0f}" if result.peak else "-"
    ready = " ".join(worst) if result.peak else "-"
    verdict = f"FAIL {failure}" if failure else "pass"
    print(f"| {case.number} | {case.name}: {case.title} | {result.outcome} | {ready} | {memory} "
          f"| {len(worst)}× {seconds:.0f} s, load {os.getloadavg()[0]:.1f} | {verdict} |",
          flush=True)


def run_alone(options, name, path):
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, path, options.program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace")
    lines = done.stdout.strip().splitlines()
    last = lines[-1] if lines else ""
    verdict = "pass" if done.returncode == 0 else f"FAIL exit {done.returncode}"
    print(f"| - | {name} | {last} | - | - | 1× {time.monotonic() - start:.0f} s | {verdict} |",
          flush=True)
    return name, done.returncode == 0


if __name__ == "__main__":
    print("| case | what | outcome | readyz max ms | RSS start/peak/after MiB | runs | verdict |")
    print("|---|---|---|---|---|---|---|", flush=True)
    sys.exit(main())
