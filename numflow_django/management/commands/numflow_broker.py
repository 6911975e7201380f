"""``manage.py numflow_broker``: the embedded broker for development, where no Redis is installed."""

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from numflow_django.conf import conf
from numflow_django.embedded import EmbeddedBroker, EmbeddedBrokerError

STOP = {signal.SIGINT, signal.SIGTERM}


class Command(BaseCommand):
    """Starts the server that ``rq_queues(BASE_DIR)`` names, or shares the one that runs, until SIGTERM or Ctrl+C."""

    help = "Runs the embedded broker of rq_queues(BASE_DIR), for development, until Ctrl+C."

    def handle(self, *args: Any, **options: Any) -> None:
        """Start, wait, stop."""
        broker = EmbeddedBroker(conf.base_dir)
        sockets = {queue.get("UNIX_SOCKET_PATH") for queue in conf.queues.values()}
        if str(broker.socket_path) not in sockets:
            raise CommandError(
                "No queue of RQ_QUEUES is at the embedded broker. Set RQ_QUEUES = rq_queues(BASE_DIR) in the settings "
                "(from numflow_django.embedded import rq_queues), and unset REDIS_URL."
            )
        # The server's supervisor forks from here and must not inherit the mask, so it is set after the start
        try:
            broker.start()
        except EmbeddedBrokerError as error:
            raise CommandError(str(error)) from error
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
        self.stdout.write(f"The broker is at {broker.socket_path}. Ctrl+C ends it.")
        self.stdout.flush()
        signal.sigwait(STOP)
        broker.stop()
