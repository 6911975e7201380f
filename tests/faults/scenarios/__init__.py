"""The scenarios, in the order of the table."""

from tests.faults.scenarios import doorbells, edges, holders, kills, outages, poison, recovery, shutdowns, web

SCENARIOS = sorted(
    [
        scenario
        for module in (web, kills, edges, outages, doorbells, holders, poison, shutdowns, recovery)
        for scenario in module.SCENARIOS
    ],
    key=lambda scenario: int(scenario.number),
)
