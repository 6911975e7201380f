"""How a worker executes one run: claim, tasks, lease, recovery and relay, without RQ or a request."""
