"""
The benchmarks.

``python -m benchmarks [--quick] [--only drain,pickup] [--contestants ours,rq] [--rounds N] [--runs N]``
"""

import argparse
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.arena import arena
from benchmarks.measure import FULL, QUICK
from benchmarks.measures import MEASURES
from benchmarks.report import Progress, Results, machine, write


def main():
    """Measure; give the exit code: 1 if something was lost, done twice or out of order, whatever the figures."""
    options = arguments()
    # SIGINT too: in the background a shell lets it be ignored
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.default_int_handler)
    progress, results = Progress(), []
    command = f"make bench ARGS={shlex.quote(shlex.join(sys.argv[1:]))}" if sys.argv[1:] else "make bench"
    try:
        with arena() as place:
            for name in options.only:
                results.append(play(MEASURES[name](place, options.scale), options.contestants, progress))
                write(options.json, command, place, results)
            facts, wrong = machine(place), place.wrong
    except KeyboardInterrupt:
        progress("interrupted")
        return 130
    print("\n\n".join([f"`{command}`: {facts}", *(result.table() for result in results)]))
    for problem in wrong:
        print(f"WRONG: {problem}")
    progress(f"all figures: {options.json}")
    return int(bool(wrong))


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures us beside our peers.")
    names = ", ".join(MEASURES)
    parser.add_argument("--quick", action="store_true", help="a look in three minutes, instead of half an hour")
    parser.add_argument("--only", type=_names, default=list(MEASURES), help=f"measures, of {names}")
    parser.add_argument("--contestants", type=_names, help="contestants, as ours,rq; the others have a rest")
    parser.add_argument("--database", choices=("postgres", "sqlite"), help="of the drain; default: both")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--runs", type=int, help="sequences of one drain")
    parser.add_argument("--json", type=Path, default=Path(".bench/results.json"), metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.only) - set(MEASURES):
        parser.error(f"there is no measure {', '.join(sorted(unknown))}; there are {names}")
    if options.database:
        drain = {"postgres": "drain", "sqlite": "drain-sqlite"}
        options.only = [drain[options.database] if name in drain.values() else name for name in options.only]
        options.only = list(dict.fromkeys(options.only))
    given = {name: value for name in ("rounds", "runs") if (value := getattr(options, name))}
    options.scale = replace(QUICK if options.quick else FULL, **given)
    return options


def _names(text):
    return text.split(",")


def play(measure, wanted, progress):
    """Run one measure: in each round every contestant once, and another one first."""
    names = [name for name in measure.contestants if wanted is None or name in wanted] or list(measure.contestants)
    rounds = min(measure.scale.rounds, measure.most_rounds or measure.scale.rounds)
    turns = []
    progress(f"{measure.name}: {measure.title}")
    try:
        measure.prepare()
        for number in range(rounds):
            turns.append({})
            first = number % len(names)
            for name in names[first:] + names[:first]:
                figures = measure.once(name)
                turns[-1] |= figures
                shown = ", ".join(f"{series} {figure:.4g}" for series, figure in figures.items())
                progress(f"{measure.name}, round {number + 1} of {rounds}: {shown} {measure.unit}")
    except Exception as error:
        # The others are still worth measuring; a round that has ended is still worth showing
        measure.arena.wrong.append(f"{measure.name}: {type(error).__name__}: {error}")
        progress(measure.arena.wrong[-1])
        turns = turns[:-1]
    finally:
        measure.end()
    return Results(measure, turns)


if __name__ == "__main__":
    sys.exit(main())
