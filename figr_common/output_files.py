"""Whether a result can be written: asked before the work that makes it."""

import os
import pathlib
from collections.abc import Sequence


def problem(path: str, suffixes: Sequence[str] = ()) -> str:
    """Why a file could not be written there, as a sentence for people; "" if nothing is wrong.

    Args:
        suffixes: how its name may end; empty for any.
    """
    if suffixes and pathlib.Path(path).suffix.lower() not in suffixes:
        return f"{path}: give it a name that ends in {suffixes[0]}."
    if not (folder := pathlib.Path(path).resolve().parent).is_dir():
        return f"{path}: its folder does not exist. Make it first."
    if pathlib.Path(path).is_dir():
        return f"{path}: is a folder. Give the name of a file."
    if not os.access(folder, os.W_OK):
        return f"{path}: its folder cannot be written to. Choose another."
    return ""
