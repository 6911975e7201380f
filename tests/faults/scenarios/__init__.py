"""The scenarios, in the order of the table."""

from tests.faults.scenarios import edges, holders, kills, outages, poison, recovery, shutdowns, stale_jobs, web

SCENARIOS = sorted(
    [
        scenario
        for module in (web, kills, edges, outages, stale_jobs, holders, poison, shutdowns, recovery)
        for scenario in module.SCENARIOS
    ],
    key=lambda scenario: int(scenario.number),
)
