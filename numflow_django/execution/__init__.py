"""One run on a worker: claim, tasks, lease, recovery, relay. It knows neither RQ nor a request."""
