from example_project.shop import catalogue
from numflow_django import Context, async_task


@async_task(max_attempts=5, delay=1)
def drop_catalogue(ctx: Context) -> None:
    """Drop what the cache has, after COMMIT: dropped before, a request between would store the old price again."""
    catalogue.drop()
