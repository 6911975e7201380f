"""The settings of the processes that the end-to-end tests start: the tests' own, on other servers."""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import database

_PACKAGE = os.environ["E2E_PACKAGE"]

DATABASES = {"default": {**database("default"), "NAME": os.environ["E2E_DATABASE"]}}
RQ_QUEUES = json.loads(os.environ["E2E_QUEUES"])
NUMFLOW = {"FEATURES": ["tests.market.features", f"{_PACKAGE}.features"]} | json.loads(
    os.environ.get("E2E_NUMFLOW", "{}")
)
ROOT_URLCONF = f"{_PACKAGE}.urls"
