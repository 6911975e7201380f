"""
The fault suite.

``python -m tests.faults [--database postgres|sqlite|mariadb] [--seed N] [--short] [--only 3,7] [--keep]``
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time

from tests.faults.report import Progress, Row, say, table
from tests.faults.servers import DATABASES, servers


def main():
    """Run the scenarios; give the exit code."""
    options = arguments()
    # SIGINT too: in the background a shell lets it be ignored
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.default_int_handler)
    title = f"seed {options.seed}, {options.database}, {'short' if options.short else 'full'}"
    say(title)
    rows = []
    try:
        with servers(options.database) as (folder, redis, base):
            prepare(redis, base)
            rows = play(options, folder, redis, base)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    print(f"\n{title}\n\n{table(rows)}")  # noqa: T201 - a command
    return int(any(row.wrong for row in rows))


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Kills what can be killed, and counts.")
    parser.add_argument("--database", choices=DATABASES, default="postgres")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--short", action="store_true", help="a few minutes instead of half an hour")
    parser.add_argument("--only", type=lambda text: text.split(","), help="numbers of scenarios, as 3,7")
    parser.add_argument("--keep", metavar="FOLDER", help="copy the logs of scenarios that failed to this folder")
    return parser.parse_args()


def prepare(redis, base):
    """Make this process one of the site's, and the tables."""
    os.environ.pop("FAULTS_FOLDER", None)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.faults.site.settings",
        "FAULTS_DATABASE": json.dumps(base.settings),
        "FAULTS_REDIS_PORT": str(redis.port),
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)


def play(options, folder, redis, base):
    """Run one scenario after another."""
    from tests.faults.scenarios import SCENARIOS
    from tests.faults.scene import Scene

    rows, progress = [], Progress()
    for scenario in SCENARIOS:
        if (options.only and scenario.number not in options.only) or base.vendor not in scenario.databases:
            continue
        progress.begin(f"{scenario.number} {scenario.fault}")
        row = Row(number=scenario.number, fault=scenario.fault, size="", wanted=scenario.wanted)
        began, home = time.monotonic(), folder / f"scenario-{scenario.number}"
        seed = f"{options.seed}-{scenario.number}"
        scene = Scene(folder=home, redis=redis, base=base, seed=seed, short=options.short, progress=progress)
        try:
            with scene:
                row.size, row.found = scenario.play(scene)
        except Exception as error:
            scene.wrong.append(f"{type(error).__name__}: {error}")
        row.wrong, row.seconds = scene.wrong, time.monotonic() - began
        if row.wrong and options.keep:
            shutil.copytree(home, f"{options.keep}/scenario-{scenario.number}", dirs_exist_ok=True)
        rows.append(row)
        progress.end(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
