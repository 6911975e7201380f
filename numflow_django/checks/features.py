"""System checks of the features and their URLs: one small function for each id, each with a hint."""

from collections.abc import Iterator, Sequence
from inspect import getdoc
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name

from ..conf import conf
from ..discovery.registry import load_routes, registry
from ..routing.orphans import features_beside
from ..routing.scan import feature_packages
from ..routing.urlconf import places
from ..text.suggestions import listed


@register("numflow")
def check_features(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E101 to E113: all mistakes in the features' folders, at once; each error class holds its hint."""
    load_routes()  # registers the features that the URLconf routes by hand
    for mistake in registry.mistakes:
        yield Error(str(mistake), hint=" ".join((getdoc(type(mistake)) or "").split()), id=mistake.code)


@register("numflow")
def check_features_beside(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E006: a package of features is empty, but there are features in a folder beside it."""
    load_routes()
    known = [*registry.scanned, *(feature.package for feature in registry)]
    for package in (package for package, labels in registry.scanned.items() if not labels):
        folder, beside = features_beside(package, known)
        if beside:
            yield Error(
                f"{folder} holds no feature, and beside it are {listed([str(each) for each in beside])}.",
                hint=f"Move {listed([each.name for each in beside])} into {folder}.",
                id="numflow.E006",
            )


@register("numflow")
def check_routed(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W205: no URL reaches some features."""
    routed = {view.feature.label for place in places() for view in place.views}
    # A feature with a mistake may have no URL because of that mistake
    for package in feature_packages() if conf.root_urlconf and not registry.mistakes else ():
        missing = [label for label in registry.scanned.get(package, ()) if label not in routed]
        if missing:
            what = f"{len(missing)} features" if len(missing) > 1 else "A feature"
            yield Warning(
                f"{what} of {package} cannot be reached by any URL: {listed(missing)}.",
                hint=f'Add path("", include(feature_urls("{package}"))) to urlpatterns in {conf.root_urlconf}.',
                id="numflow.W205",
            )


@register("numflow")
def check_hidden(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W206: another view answers at the URL of a feature."""
    for place in places():
        rival = place.rival
        if rival:
            yield Warning(
                f"{listed([view.feature.label for view in place.views])} cannot be reached: /{place.route} is "
                f"answered by {rival}, which comes first in the URLconf.",
                hint="Move its include() before the other route, give it a prefix, or change one of the paths.",
                id="numflow.W206",
            )


@register("numflow")
def check_atomic_requests(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W207: ATOMIC_REQUESTS commits another database after the feature's tasks were enqueued."""
    for place in places():
        exempt = getattr(place.callback, "_non_atomic_requests", ())
        for feature in (view.feature for view in place.views if view.feature.tasks):
            for alias in (alias for alias in conf.atomic_requests if alias != feature.using and alias not in exempt):
                yield Warning(
                    f"feature {feature.label}: its async tasks may start before {alias!r} is committed: its "
                    f"transaction is on {feature.using!r}, and ATOMIC_REQUESTS puts one on {alias!r} around it.",
                    hint=f"Add transaction.non_atomic_requests(using={alias!r}) to its decorators.",
                    id="numflow.W207",
                )
