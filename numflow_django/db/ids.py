"""The ids of runs: UUIDv7, which sort by time and so keep the index of a growing table compact."""

import sys
from uuid import UUID

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    # The package's own UUID class is faster, but Django's UUIDField and the codec need the standard class
    from uuid_utils.compat import uuid7


def new_run_id() -> UUID:
    """Return a new UUIDv7. It is not a secret: knowing it must not grant access to anything."""
    return uuid7()
