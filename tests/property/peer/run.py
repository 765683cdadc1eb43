#!/usr/bin/env python3
"""Asks `bulkheadctl policy test` and the API documents (meaning.py) about random manifests, and compares.

usage: run.py BULKHEADCTL [--scenarios N] [--first SEED] [--questions N] [--keep DIR]

A scenario is a cluster, policies and questions, the same for a seed on every machine. At a difference its files are kept in DIR,
and the exit code is 1.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # nothing is written beside the sources

from manifests import text_of  # noqa: E402
from meaning import Meaning, Packet  # noqa: E402
from scenario import Maker  # noqa: E402


def ask(program, directory, policies_text, cluster_text, questions):
    (directory / "cluster.yaml").write_text(cluster_text)
    (directory / "policies.yaml").write_text(policies_text)
    (directory / "questions.csv").write_text("".join(f"{s},{d},{protocol},{port}\n" for s, d, protocol, port in questions))
    words = ["policy", "test", "--cluster", "cluster.yaml", "--policies", "policies.yaml", "--queries", "questions.csv"]
    return subprocess.run([program, *words], cwd=directory, capture_output=True, text=True, check=False)


def differences(program, seed, count, directory):
    """What was answered otherwise than the documents say, as lines."""
    maker = Maker(random.Random(seed))
    cluster, cluster_objects = maker.cluster()
    objects = maker.policies()
    questions = maker.questions(cluster, count)
    asked = ask(program, directory, text_of(objects, maker.random), text_of(cluster_objects, maker.random), questions)
    if asked.returncode != 0:
        return [f"exit code {asked.returncode}: {asked.stdout[:500]}{asked.stderr[:2000]}"]
    answers = asked.stdout.splitlines()
    if len(answers) != len(questions):
        return [f"{len(questions)} questions, {len(answers)} answers"]
    meaning = Meaning(cluster, objects)
    lines = []
    for (source, destination, protocol, port), answer in zip(questions, answers):
        expected = "allow" if meaning.allows(Packet(meaning.end(source), meaning.end(destination), protocol, port)) else "deny"
        if answer.split(",")[4] != expected:
            lines.append(f"{answer}: expected {expected}")
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--scenarios", type=int, default=40)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    program = str(options.program.resolve())
    failed = 0
    for seed in range(options.first, options.first + options.scenarios):
        with tempfile.TemporaryDirectory() as temporary:
            directory = pathlib.Path(temporary)
            lines = differences(program, seed, options.questions, directory)
            if not lines:
                continue
            failed += 1
            print(f"scenario {seed}: {len(lines)} differences, such as", *lines[:3], sep="\n  ")
            if options.keep:
                kept = options.keep / str(seed)
                kept.mkdir(parents=True, exist_ok=True)
                for file in directory.iterdir():
                    (kept / file.name).write_bytes(file.read_bytes())
    print(f"{options.scenarios} scenarios, {options.scenarios * options.questions} questions, {failed} scenarios differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
