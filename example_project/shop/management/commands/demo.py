"""``manage.py demo``: the example project, running in one terminal."""

import json
import threading
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.urls import reverse

from example_project.shop.demo.interrupt import Interrupt, Interrupted
from example_project.shop.demo.order import PATH, OrderFailed, example_order, send
from example_project.shop.demo.port import HOST, PortTaken, ports_to_try
from example_project.shop.demo.seed import LOGIN, PASSWORD, seed
from example_project.shop.demo.site import Site, SiteError
from example_project.shop.demo.tree import draw
from numflow_django.embedded import EmbeddedBrokerError
from numflow_django.models import FeatureRun, RunState

ENDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.ROLLED_BACK)


class Command(BaseCommand):
    """Start the site, send an order, and show its run."""

    help = "Starts a broker, a web server and a worker, posts one order and shows its run. Ctrl+C ends it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare --once and --port."""
        parser.add_argument("--once", action="store_true", help="End when the order's tasks have ended.")
        parser.add_argument("--port", type=int, help="The web server's port. Default: 8000, or else a free one.")

    def handle(self, *, once: bool, port: int | None, **options: Any) -> None:
        """Run the demo until Ctrl+C or SIGTERM or, with *once*, until its end."""
        self.lock = threading.Lock()
        try:
            self.play(ports_to_try(port), once)
        except (Interrupted, KeyboardInterrupt):
            if once:
                raise CommandError("The demo was interrupted.") from None
            self.write("\nThe demo has ended.")
        except (EmbeddedBrokerError, OrderFailed, PortTaken, SiteError) as error:
            raise CommandError(str(error)) from error

    def play(self, ports: list[int], once: bool) -> None:
        """Prepare the data, start the site, show one order, and keep running unless *once* is set."""
        interrupt = Interrupt()
        self.write(f"Preparing {settings.DEMO_DIR}: database, products, login")
        call_command("migrate", verbosity=0)
        seed()
        with Site(ports, self.write, interrupt) as site:
            run = self.show_order(site, "" if once else "Ctrl+C ends it")
            if not once:
                site.stay()
        if run.state != RunState.SUCCEEDED:
            raise CommandError(f"The run has ended as {run.state}: {run.reason}")

    def show_order(self, site: Site, farewell: str) -> FeatureRun:
        """Post an order, wait for its tasks, draw its run, and return the run."""
        order = example_order()
        answer = send(order, site.port)
        runs = FeatureRun.objects.filter(pk=answer.run_id)
        site.wait_until(runs.filter(state__in=ENDED).exists, "the order's tasks have ended")
        run = runs.get()
        exchange = f"POST {PATH} {json.dumps(order)}\n{answer.status} {answer.text}"
        tree = draw(run, answer, self.style)
        self.write(f"\n{exchange}\n\n{tree}\n\n{self.directions(run, site.port)}\n{farewell}")
        return run

    def directions(self, run: FeatureRun, port: int) -> str:
        """Return where to look further."""
        page = reverse("admin:numflow_django_featurerun_change", args=[run.pk])
        return (
            f"The run:  http://{HOST}:{port}{page}\n"
            f"Login:    {LOGIN}, password {PASSWORD}\n"
            f"Mail:     {settings.MAIL_DIR}"
        )

    def write(self, text: str) -> None:
        """Print *text* in one piece, because the threads of the processes print too."""
        with self.lock:
            self.stdout.write(text)
            self.stdout.flush()
