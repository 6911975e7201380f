"""Plans a new feature: its app, folders, method, path and names."""

import re
import unicodedata
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from sysconfig import get_paths

from django.apps import AppConfig, apps

from ..discovery.attribute_problems import METHODS
from ..discovery.listing import PARTS
from ..exceptions import NumflowError
from ..routing.paths import PARAMETER, joined, meant_parameter, parameters_of, segment_of
from ..text.suggestions import did_you_mean, one_of

#: The characters of a folder's name that are valid in code, in a URL and on a command line.
SEGMENT = re.compile(r"[\w@=\[\]-]+")


class ScaffoldError(NumflowError):
    """The requested feature cannot be written. The message says what to write instead."""


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """The plan of one feature to write."""

    app: AppConfig
    segments: tuple[str, ...]  # the folders below the app's "features"
    method: str  # in capitals
    path: str  # Django's route syntax, without a leading slash

    @property
    def is_implicit(self) -> bool:
        """Return whether the folders define method and path."""
        return self.segments[-1].startswith("@")

    @property
    def root(self) -> str:
        """Return the package to pass to ``feature_urls()``."""
        return f"{self.app.name}.features"

    @property
    def package(self) -> str:
        """Return the dotted name of the feature's folder."""
        return ".".join([self.root, *self.segments])

    @property
    def folder(self) -> Path:
        """Return the feature's folder."""
        return Path(self.app.path, "features", *self.segments)

    @property
    def test_file(self) -> Path:
        """Return the test's path: in the app's package ``tests`` if there is one, else in the app's folder."""
        home = Path(self.app.path)
        name = f"test_{'_'.join(_words(*self.segments)).lower()}.py"
        return home / "tests" / name if (home / "tests" / "__init__.py").is_file() else home / name

    @property
    def test_label(self) -> str:
        """Return the label for ``manage.py test``."""
        return ".".join([self.app.name, *self.test_file.relative_to(self.app.path).with_suffix("").parts])

    @property
    def parameters(self) -> list[str]:
        """Return the names of the route's parameters, from the left."""
        return parameters_of(self.path)

    @property
    def class_name(self) -> str:
        """Return ``CreateOrder`` for create_order, ``PostOrders`` for orders/@post."""
        words = _words(*self.segments[:-1]) if self.is_implicit else _words(self.segments[-1])
        name = "".join(word[0].upper() + word[1:] for word in words)
        return name if _is_usable(name) and not self.is_implicit else f"{self.method.title()}{name}"

    @property
    def verb(self) -> str | None:
        """Return the name of an explicit feature's folder as a function's name, or None if that is not possible."""
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", "_".join(_words(self.segments[-1]))).lower()
        return name if _is_usable(name) and not self.is_implicit else None


def plan(target: str, *, method: str | None = None, path: str | None = None) -> Blueprint:
    """
    Return the blueprint of *target*: an app's label or dotted name, ``/``, and the folders of the feature.

    *method* and *path* are for an explicit feature. If they are None, the method is POST and the path is that of the
    folders. Raise ScaffoldError if *target* cannot be a feature.
    """
    label, _, rest = target.rstrip("/").partition("/")
    app = _app(label)
    segments = tuple(unicodedata.normalize("NFC", segment) for segment in rest.split("/"))
    if not rest:
        raise ScaffoldError(f"{target!r} names no feature; write <app>/<feature>, such as {label}/create_order")
    _check_segments(app, segments)
    if not segments[-1].startswith("@"):
        route = _path_of(segments) if path is None else path.lstrip("/")
        return Blueprint(app=app, segments=segments, method=method or "POST", path=route)
    if method or path is not None:
        raise ScaffoldError(
            f"{segments[-1]!r} takes method and path from its folders; leave out {'--method' if method else '--path'}, "
            "or end with a name without @"
        )
    return Blueprint(app=app, segments=segments, method=_method_of(segments[-1]), path=_path_of(segments[:-1]))


def _app(label: str) -> AppConfig:
    known = {name: config for config in apps.get_app_configs() for name in (config.label, config.name)}
    if label not in known:
        mine = sorted(config.label for config in apps.get_app_configs() if _is_own(config))
        hint = did_you_mean(label, known, otherwise=f"your apps are {', '.join(mine) or 'not there yet'}")
        raise ScaffoldError(f"there is no app {label!r} in INSTALLED_APPS; {hint}")
    app = known[label]
    if not _is_own(app):
        raise ScaffoldError(f"{app.name} is installed in {app.path}; write features into an app of your own")
    if not hasattr(app.module, "__path__"):
        raise ScaffoldError(f"{app.name} is a module, not a package; only a package can have a folder of features")
    return app


def _is_own(app: AppConfig) -> bool:
    """Return whether *app* is the site's own. An upgrade of an installed package would delete the feature."""
    paths = get_paths()
    return app.name != "numflow_django" and not any(
        Path(app.path).is_relative_to(paths[name]) for name in ("purelib", "platlib")
    )


def _check_segments(app: AppConfig, segments: tuple[str, ...]) -> None:
    if segments[0] == "features":
        raise ScaffoldError(f"leave out 'features': write {app.label}/{'/'.join(segments[1:]) or 'create_order'}")
    folder = Path(app.path, "features")
    for index, segment in enumerate(segments, start=1):
        problem = _problem_of(segment, is_last=index == len(segments))
        if problem:
            raise ScaffoldError(problem)
        if segment in PARTS and _is_feature(folder):
            raise ScaffoldError(
                f"{folder} is a feature, and its {segment} cannot contain features; write the new one beside it"
            )
        folder /= segment


def _problem_of(name: str, *, is_last: bool) -> str | None:
    if segment_of(name) is None:
        return f"{name!r} is not a route parameter; {meant_parameter(name)}"
    if "." in name:
        return f"Python cannot import a folder with a dot in its name: {name!r}; write it without"
    if not SEGMENT.fullmatch(name):
        return f"{name!r} is not a valid name for a folder; use letters, digits, _ and -"
    if name.startswith("_") or not _words(name):
        return f"{name!r} is ignored by discovery; begin the name with a letter"
    if name.startswith("@") and not is_last:
        return f"the folder {name!r} is a method and must be the last one"
    return None


def _is_feature(folder: Path) -> bool:
    return folder.name.startswith("@") or (folder / "feature.py").is_file()


def _method_of(name: str) -> str:
    method = name[1:].upper()
    if method not in METHODS:
        raise ScaffoldError(f"{name!r} is not a method; {one_of(name, [f'@{known.lower()}' for known in METHODS])}")
    return method


def _path_of(segments: tuple[str, ...]) -> str:
    return joined(segment_of(name) or name for name in segments)


def _words(*names: str) -> list[str]:
    """Return the words of folders' *names*, without the converters of parameters."""
    plain = " ".join(PARAMETER.sub(r"\g<name>", name) for name in names)
    return [word for word in re.split(r"[\W_]+", plain) if word]


def _is_usable(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name)
