"""The registry of this process: every feature by its label, and the mistakes found in the features."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from threading import RLock
from typing import Any

from django.apps import apps
from django.db import router

from ..conf import conf
from ..exceptions import DuplicateFeature, FeatureConfigurationError, InvalidFeature, InvalidFeatures
from ..text.suggestions import did_you_mean
from .attribute_problems import feature_problems, package_problem, problems
from .attributes import DeclaredAttributes, FeatureAttributes
from .errors import ConfigurationErrors
from .label import label_of, label_of_class, package_of
from .modules import Module, find_steps, find_tasks
from .policy import TaskPolicy, policy_of

#: Seconds that RQ's time limit for a run's job allows beyond the tasks' limits, for claiming and recording.
JOB_MARGIN = 60


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature as the code declares it."""

    label: str  # "shop.create_order"; stored in run rows
    package: str  # dotted package of its folder
    declared_in: str  # module and class, for messages
    steps: tuple[Module, ...]
    tasks: tuple[Module, ...]
    declared: DeclaredAttributes
    mistakes: tuple[FeatureConfigurationError, ...] = ()  # a feature with mistakes answers no request

    @property
    def using(self) -> str:
        """Return the alias of the database of its transaction and of its run rows."""
        return self.declared.using

    @property
    def queue(self) -> str:
        """Return the name of the RQ queue of its runs."""
        return self.declared.queue or conf.QUEUE

    @property
    def atomic(self) -> bool:
        """Return whether its steps run in a transaction."""
        return self.declared.atomic

    @property
    def task_names(self) -> list[str]:
        """Return the names of the async tasks, in order, without their numbers."""
        return [task.name for task in self.tasks]

    @property
    def job_timeout(self) -> int:
        """Return the seconds that an RQ job of this feature may take: all tasks one after another, and a margin."""
        return int(sum(policy_of(task.function).seconds for task in self.tasks)) + JOB_MARGIN

    @property
    def start_after(self) -> float:
        """Return the seconds that a new run waits before its first task."""
        return policy_of(self.tasks[0].function).start_after if self.tasks else 0

    def task(self, name: str) -> Module | None:
        """Return the async task called *name*, or None if the code has no such task."""
        return next((task for task in self.tasks if task.name == name), None)

    def policy(self, task: Module) -> TaskPolicy:
        """Return the rules of one of its tasks."""
        return policy_of(task.function)


class Registry:
    """All features of one process."""

    def __init__(self) -> None:
        self._features: dict[str, Feature] = {}
        self._by_class: dict[str, Feature] = {}  # by module and class; if two features have one label, both are here
        self._lock = RLock()
        self.scanned: dict[str, tuple[str, ...]] = {}  # package of features -> the labels of those in it
        self.mistakes: ConfigurationErrors = []
        self.checks_will_report = False  # True: the checks of a management command are about to show the mistakes

    def register(
        self,
        view: type[FeatureAttributes],
        *,
        package: str | None = None,
        mistakes: Iterable[FeatureConfigurationError] = (),
    ) -> Feature:
        """
        Inspect a FeatureView class once, keep its facts and return them.

        *package* is the folder's package; by default the package of the module that defines the class. *mistakes* are
        those of its folder. All mistakes are collected in :attr:`mistakes`; :meth:`raise_mistakes` raises them.
        """
        key = f"{view.__module__}.{view.__qualname__}"
        with self._lock:
            if key not in self._by_class:
                found: ConfigurationErrors = [*mistakes]
                feature = _build_feature(view, key, package, found)
                self._keep(feature, key, found)
            return self._by_class[key]

    def _keep(self, feature: Feature, key: str, mistakes: ConfigurationErrors) -> None:
        first = self._features.setdefault(feature.label, feature)
        if first is not feature:
            mistakes.append(
                DuplicateFeature(
                    f"two features are called {feature.label!r}: {first.declared_in} and {feature.declared_in}; "
                    "rename one of them"
                )
            )
        self._by_class[key] = replace(feature, mistakes=tuple(mistakes))
        self.mistakes += mistakes

    def find(self, label: str) -> Feature | None:
        """Return the feature called *label*, or None. The URLconf, once loaded, adds those that it routes by hand."""
        if label not in self._features:
            load_routes()
        return self._features.get(label)

    def hint_for(self, label: str) -> str:
        """Return the end of a message about the unknown *label*: the feature that may be meant, or where to look."""
        labels = [feature.label for feature in self]
        return did_you_mean(label, labels, otherwise="manage.py check shows what is wrong with the features")

    def exchange(self, feature: Feature) -> Feature:
        """Put *feature* in the place of the feature with the same label, and return the old one."""
        with self._lock:
            replaced, self._features[feature.label] = self._features[feature.label], feature
        return replaced

    def forget(self, package: str) -> None:
        """Forget the features whose folder is *package*. A new registration reads the folder again."""
        with self._lock:
            for known in (self._features, self._by_class):
                for key in [key for key, feature in known.items() if feature.package == package]:
                    del known[key]

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """For tests: forget at the end of the block the features and the mistakes that it has added."""
        features, by_class = self._features.copy(), self._by_class.copy()
        scanned, mistakes = self.scanned.copy(), self.mistakes.copy()
        try:
            yield
        finally:
            self._features, self._by_class = features, by_class
            self.scanned, self.mistakes = scanned, mistakes

    def __iter__(self) -> Iterator[Feature]:
        return iter(sorted(self._features.values(), key=lambda feature: feature.label))

    def databases(self) -> Iterator[str]:
        """Yield the aliases of databases that may hold run rows, "default" first; without those that have no ENGINE."""
        known = self._aliases()
        yield from known
        load_routes()
        yield from (alias for alias in self._aliases() if alias not in known)

    def _aliases(self) -> list[str]:
        used = [feature.using for feature in self._features.values() if feature.tasks]
        aliases = [alias for alias in conf.usable_databases if alias in used or _may_hold_old_runs(alias)]
        return sorted(aliases, key=lambda alias: (alias != "default", alias))

    def note(self, mistake: FeatureConfigurationError) -> None:
        """Record a mistake once, even if it is found more than once."""
        if str(mistake) not in map(str, self.mistakes):
            self.mistakes.append(mistake)

    def raise_mistakes(self) -> None:
        """Raise InvalidFeatures if there are mistakes, unless the system checks will show them."""
        if self.mistakes and not self.checks_will_report:
            raise InvalidFeatures(self.mistakes)


registry = Registry()


def _may_hold_old_runs(alias: str) -> bool:
    """Return whether the database may hold runs of features that this code no longer has."""
    if alias != "default":
        return False
    return not conf.has_routers or router.allow_migrate_model(alias, apps.get_model("numflow_django", "FeatureRun"))


def load_routes() -> None:
    """Import the URLconf, which registers the features that it routes with as_view()."""
    if conf.root_urlconf:
        import_module(conf.root_urlconf)


def _build_feature(
    view: type[FeatureAttributes], key: str, package: str | None, mistakes: ConfigurationErrors
) -> Feature:
    home = package or package_of(view.__module__)
    label = label_of(home) if view.__module__ == f"{home}.feature" or package else label_of_class(view)
    where = f"feature {label}: {getattr(sys.modules.get(view.__module__), '__file__', None) or key}"
    mistakes += [InvalidFeature(f"{where}: {problem}") for problem in problems(view, home)]
    feature = Feature(
        label=label,
        package=home,
        declared_in=key,
        steps=_steps(view.steps, home, label, mistakes),
        tasks=_tasks(view.async_tasks, home, label, mistakes),
        declared=DeclaredAttributes(view),
    )
    mistakes += [InvalidFeature(f"{where}: {problem}") for problem in feature_problems(feature)]
    return feature


def _steps(declared: Any, home: str, label: str, mistakes: ConfigurationErrors) -> tuple[Module, ...]:
    if package_problem("steps", declared, home):
        return ()  # problems() has already reported the wrong package
    return find_steps(declared or f"{home}.steps", label, mistakes)


def _tasks(declared: Any, home: str, label: str, mistakes: ConfigurationErrors) -> tuple[Module, ...]:
    if package_problem("async_tasks", declared, home):
        return ()  # problems() has already reported the wrong package
    return find_tasks(declared or f"{home}.async_tasks", label, mistakes, required=declared is not None)
