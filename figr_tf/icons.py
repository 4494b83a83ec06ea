"""Makes a data set of pictograms from the npm package @iconify/json (docs/data.md).

  npm pack @iconify/json
  python -m figr_tf.icons --source iconify-json-2.2.535.tgz --out icons.zip
  python -m figr_tf.train --flagfile flags/icons.flags --data_dir=icons.zip

Drawings of many open icon sets that share a name are a class, as in FIGR-8. SOURCES.txt in the zip
names the sets, their licences and authors. Needs the extra "icons".
"""

import pathlib

from figr_tf.core import console
from figr_tf.core.errors import UserError

flags = console.OwnFlags(__name__)

_SOURCE = flags.DEFINE_path("source", None, "The package as npm pack fetches it.", required=True)
_OUT = flags.DEFINE_path("out", None, "Zip to write, replaced if it is there.", required=True)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 64, "Height and width in pixels.", 16, 512)
_MIN_DRAWINGS = flags.DEFINE_integer(
    "min_drawings", 8, "Drawings that a class has at the least; 2·n are worth training on.", 2
)
_COLOUR = flags.DEFINE_bool(
    "colour", False, "The coloured sets (emoji, flags, …) in place of those of one colour."
)


def main() -> None:
    """Makes the zip and says what is in it."""
    console.check_output(_OUT.value, (".zip",))
    source = pathlib.Path(_SOURCE.value)
    # Before the renderer is imported: who has no file yet need not install the extra first.
    if not source.is_file():
        raise UserError(f"{source}: no such file. Fetch it with: npm pack @iconify/json")
    from figr_tf.data import icons

    made = icons.make(
        source,
        pathlib.Path(_OUT.value),
        icons.Form(_IMAGE_SIZE.value, _COLOUR.value, _MIN_DRAWINGS.value),
    )
    print(
        f"{_OUT.value}: {made.num_drawings} drawings of {made.num_classes} classes from"
        f" {made.num_sets} sets, sha256 {made.sha256[:12]}"
    )


if __name__ == "__main__":
    console.run(main)
