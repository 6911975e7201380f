"""What is measured, in the order of the table of targets."""

from benchmarks.measures.drain import Drain, DrainOnSqlite
from benchmarks.measures.history import History, RelayTick
from benchmarks.measures.memory import Memory
from benchmarks.measures.pickup import ColdPickup, Pickup
from benchmarks.measures.requests import Requests
from benchmarks.measures.scaling import Scaling
from benchmarks.measures.startup import Startup
from benchmarks.measures.steps import Steps

ALL = (Requests, Steps, Drain, DrainOnSqlite, Pickup, ColdPickup, Memory, History, RelayTick, Scaling, Startup)
MEASURES = {measure.name: measure for measure in ALL}
