"""
The ceilings: what a bare Python loop on psycopg reaches, with no ORM, no queue and no library in between.

``python -m benchmarks.site.bare <contestant>``
"""

import json
import os
import sys
import time

import psycopg

from benchmarks.site.work import TASKS, perform

CLAIM = """
UPDATE site_barerun SET state = 'running' WHERE id = (
    SELECT id FROM site_barerun WHERE state = 'pending' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, key
"""
WRITE = "INSERT INTO site_barelog (run_id, number, finished_at) VALUES (%s, %s, now())"
FINISH = "UPDATE site_barerun SET state = 'succeeded' WHERE id = %s"

#: By contestant: whether each task is written down, and ``synchronous_commit``.
LOOPS = {"bare-5": (True, "on"), "bare-5-async": (True, "off"), "bare-2": (False, "on")}


def main(contestant):
    """Run whatever is pending, for ever; each statement is a transaction."""
    writes, commit = LOOPS[contestant]
    where = json.loads(os.environ["BENCH_DATABASE"])
    with psycopg.connect(
        host=where["HOST"],
        port=where["PORT"],
        user=where["USER"],
        dbname=where["NAME"],
        options=f"-c synchronous_commit={commit}",
        autocommit=True,
    ) as connection:
        while True:
            claimed = connection.execute(CLAIM).fetchone()
            if claimed is None:
                time.sleep(0.005)
                continue
            for number in range(TASKS):
                perform(claimed[1], number)
                if writes:
                    connection.execute(WRITE, (claimed[0], number))
            connection.execute(FINISH, (claimed[0],))


if __name__ == "__main__":
    main(sys.argv[1])
