from example_project.shop import catalogue
from numflow_django import Context, async_task


@async_task(max_attempts=5, delay=1)
def drop_catalogue(ctx: Context) -> None:
    """Delete the cached list after COMMIT. Before, another request could store the old price again."""
    catalogue.drop()
