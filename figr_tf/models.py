"""Models ready to draw with: run folders, and those that ship with the package, by name."""

import pathlib

from figr_tf.errors import RunError
from figr_tf.generation import FewShotModel, load_run
from figr_tf.warp.model import WarpModel, is_warp_run

_SHIPPED = pathlib.Path(__file__).with_name("pretrained")


def shipped_names() -> list[str]:
    return sorted(path.name for path in _SHIPPED.iterdir() if is_warp_run(path))


def find(name_or_folder: str | pathlib.Path) -> pathlib.Path:
    """The folder of a shipped model's name, or the folder itself: write ./omniglot-32 for one of the same name.

    Raises:
        RunError: there is neither.
    """
    if str(name_or_folder) in shipped_names():
        return _SHIPPED / str(name_or_folder)
    folder = pathlib.Path(name_or_folder).expanduser()
    if not folder.is_dir():
        raise RunError(f"{name_or_folder}: no such run folder, nor a shipped model ({', '.join(shipped_names())}).")
    return folder


def load(name_or_folder: str | pathlib.Path) -> FewShotModel | WarpModel:
    """Loads a shipped model, or the newest state of a run folder.

    Raises:
        RunError: neither, or nothing usable in it; for a warp generator also if a byte of its weights has changed.
    """
    folder = find(name_or_folder)
    return WarpModel(folder) if is_warp_run(folder) else load_run(folder)
