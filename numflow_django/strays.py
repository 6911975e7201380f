"""What lies in a tree of features and belongs to none of them: modules that nobody would run."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from .exceptions import InvalidFeature, InvalidRoute
from .listing import ALIKE, PARTS, Folder, part_alike
from .options import METHODS
from .paths import parameter_alike, segment_of


def unclaimed(folder: Folder, *, is_root: bool) -> Iterator[InvalidFeature]:
    """Steps or async tasks in a folder that is no feature."""
    if folder.name.startswith("@"):
        return  # its name is the mistake
    for child in folder.folders:
        part = part_alike(child.name)
        # The steps of the root may be those of behave, which are not numbered
        is_part = child.name == part and not is_root and not _holds_features(child)
        is_part = is_part and (part == "steps" or bool(child.modules))
        if part and (is_part or child.holds_numbered):
            meant = "" if child.name == part else f" (rename it to {part})"
            yield InvalidFeature(f"{child}{meant} belongs to no feature: {_needed(folder)}")
            return
    if folder.holds_numbered and not part_alike(folder.name):
        yield InvalidFeature(
            f"{folder} holds numbered modules and is neither the steps nor the async_tasks of a feature; move them "
            f"into {folder.path / 'steps'}, or start their names with _ if they are helpers"
        )


def _needed(folder: Folder) -> str:
    """What would make *folder* a feature."""
    files = {name.lower(): name for name in sorted(folder.files)}
    misspelt = get_close_matches("feature.py", files, 1, ALIKE)
    if misspelt:
        return f"did you mean feature.py by {folder.path / files[misspelt[0]]}? Rename it"
    methods = [str(inner) for inner in folder.folders if is_method(inner.name)]
    if methods:
        return f"move it into {' or '.join(methods)}"
    return (
        f"{folder} needs a feature.py with a FeatureView, or the name of its method, such as "
        f"{_method_alike(folder.name)}"
    )


def _holds_features(folder: Folder) -> bool:
    return any(is_method(inner.name) or "feature.py" in inner.files for inner in (folder, *folder.below()))


def strays(feature: Folder, places: Iterable[Folder], label: str) -> Iterator[InvalidFeature]:
    """Numbered modules in *places* of a feature that nobody would run."""
    for place in places:
        meant = None if place is feature else part_alike(place.name)
        # One that is meant to be a missing part is told as that
        if place.name in PARTS or (meant and feature.folder(meant) is None):
            continue
        if place.holds_numbered:
            yield InvalidFeature(
                f"feature {label}: {place} holds numbered modules, but only those in steps and async_tasks are run; "
                f"move them into {meant or 'steps or async_tasks'}"
            )


def unimportable(folder: Folder, child: Folder) -> InvalidRoute | None:
    """Why Python cannot import *child*, a folder in *folder*, if it holds features."""
    if "." in child.name and _holds_features(child):
        if segment_of(child.name) is None:
            return InvalidRoute(f"the folder {child} is no route parameter; {parameter_alike(child.name)}")
        return InvalidRoute(
            f"{child}: Python cannot import a folder with a dot in its name; rename it, and set path on its features"
        )
    hidden = f"{child.name}.py" in folder.files and not (child.path / "__init__.py").is_file()
    if hidden and _holds_features(child):
        return InvalidRoute(
            f"{child.path}.py hides the folder {child} from Python's import; rename the module, or start its name "
            "with _ if it is a helper"
        )
    return None


def is_method(name: str) -> bool:
    """Whether a folder called *name* is a feature that answers the method of that name."""
    return name.startswith("@") and name[1:].upper() in METHODS


def _method_alike(name: str) -> str:
    return f"@{name.lower()}" if name.upper() in METHODS else "@post"
