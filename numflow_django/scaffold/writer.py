"""Writes new files, either all of them or none."""

import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class Creation:
    """
    A ``with`` block for new files and folders. If the block raises, they are deleted.

    Existing files are never changed.
    """

    def __init__(self) -> None:
        self._made: list[Path] = []

    def write(self, path: Path, text: str) -> None:
        """Create *path* and its folders. Raise FileExistsError if the file exists, OSError if that is not possible."""
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir()
            self._made.append(folder)
        with path.open("x", encoding="utf-8") as file:
            self._made.append(path)
            file.write(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        for path in reversed(self._made):
            if path.is_dir():
                # Python may have left its bytecode in it
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
