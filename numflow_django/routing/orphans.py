"""Finds modules in a tree of features that belong to no feature, so that they would never run."""

from collections.abc import Iterable, Iterator

from django.apps import apps

from ..discovery.attribute_problems import METHODS
from ..discovery.errors import parent_folder
from ..discovery.listing import PARTS, Folder, meant_part
from ..exceptions import InvalidFeature, InvalidRoute
from .paths import meant_parameter, segment_of


def app_for_features(package: str, folder: Folder) -> Iterator[InvalidFeature]:
    """Yield a mistake if *package* is an app, and the features are in a package inside it."""
    inner = folder.folder("features")
    if is_app(package) and inner and inner.holds_features:
        yield InvalidFeature(
            f"the package {package!r}, named by feature_urls() or NUMFLOW['FEATURES'], is an app, and its features lie "
            f"in {inner}; did you mean '{package}.features'?"
        )


def is_app(package: str) -> bool:
    """Return whether *package* is the package of an installed app."""
    return any(config.name == package for config in apps.get_app_configs())


def features_beside(package: str, known: Iterable[str]) -> tuple[Folder | None, list[Folder]]:
    """
    Return the folder of *package*, and, if it holds no features, the folders beside it that do.

    A folder that holds one of the *known* packages is in its right place, and is left out.
    """
    parent, _, leaf = package.rpartition(".")
    home = parent_folder(package)
    folder = home and home.folder(leaf)
    if home is None or folder is None or folder.holds_features:
        return folder, []
    placed = {name.removeprefix(f"{parent}.").partition(".")[0] for name in known if name.startswith(f"{parent}.")}
    return folder, [each for each in home.folders if each.holds_features and each.name not in placed]


def unclaimed(folder: Folder, *, is_root: bool) -> Iterator[InvalidFeature]:
    """Yield a mistake for steps or async tasks in a folder that is not a feature."""
    if folder.name.startswith("@"):
        return  # its name is the mistake
    for child in folder.folders:
        part = meant_part(child.name)
        # The steps of the root may be those of behave, which are not numbered
        is_part = child.name == part and not is_root and not child.holds_features
        is_part = is_part and (part == "steps" or bool(child.modules))
        if part and (is_part or child.holds_numbered):
            meant = "" if child.name == part else f" (rename it to {part})"
            yield InvalidFeature(f"{child}{meant} belongs to no feature: {_needed(folder)}")
            return
    if folder.holds_numbered and not meant_part(folder.name):
        yield InvalidFeature(
            f"{folder} holds numbered modules and is neither the steps nor the async_tasks of a feature; move them "
            f"into {folder.path / 'steps'}, or start their names with _ if they are helpers"
        )


def _needed(folder: Folder) -> str:
    """Return what would make *folder* a feature."""
    if folder.misspelt_feature_file:
        return f"did you mean feature.py by {folder}/{folder.misspelt_feature_file}? Rename it"
    methods = [str(inner) for inner in folder.folders if is_method(inner.name)]
    if methods:
        return f"move it into {' or '.join(methods)}"
    return (
        f"{folder} needs a feature.py with a FeatureView, or the name of its method, such as "
        f"{_meant_method(folder.name)}"
    )


def meant_as_feature(folder: Folder, label: str) -> Iterator[InvalidFeature]:
    """Yield a mistake for a misspelt ``feature.py``, which would be ignored."""
    if folder.misspelt_feature_file:
        yield InvalidFeature(
            f"feature {label}: {folder}/{folder.misspelt_feature_file} would be ignored; did you mean feature.py? "
            "Rename it, or start its name with _ if it is a helper"
        )


def misplaced_modules(feature: Folder, places: Iterable[Folder], label: str) -> Iterator[InvalidFeature]:
    """Yield a mistake for numbered modules in *places* of a feature where they would never run."""
    for place in places:
        meant = None if place is feature else feature.part_meant(place)
        # A folder that is meant to be a missing part has a mistake of its own
        if place.name in PARTS or (meant and feature.folder(meant) is None):
            continue
        if place.holds_numbered:
            yield InvalidFeature(
                f"feature {label}: {place} holds numbered modules, but only those in steps and async_tasks are run; "
                f"move them into {meant or 'steps or async_tasks'}"
            )


def unimportable(folder: Folder, child: Folder) -> InvalidRoute | None:
    """Return the mistake if Python cannot import *child*, a folder in *folder* that holds features."""
    if "." in child.name and child.holds_features:
        if segment_of(child.name) is None:
            return InvalidRoute(f"the folder {child} is not a route parameter; {meant_parameter(child.name)}")
        return InvalidRoute(
            f"{child}: Python cannot import a folder with a dot in its name; rename it, and set path on its features"
        )
    hidden = f"{child.name}.py" in folder.files and not (child.path / "__init__.py").is_file()
    if hidden and child.holds_features:
        return InvalidRoute(
            f"{child.path}.py hides the folder {child} from Python's import; rename the module, or start its name "
            "with _ if it is a helper"
        )
    return None


def is_method(name: str) -> bool:
    """Return whether a folder called *name* is a feature for the method of that name."""
    return name.startswith("@") and name[1:].upper() in METHODS


def _meant_method(name: str) -> str:
    return f"@{name.lower()}" if name.upper() in METHODS else "@post"
