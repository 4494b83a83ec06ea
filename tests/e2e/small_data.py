"""Five classes of four drawings, which a command reads in no time: to draw glyphs takes seconds."""

import tempfile

# Goes with the process that runs the tests.
_CACHE = tempfile.TemporaryDirectory(prefix="figr_tf-")
FLAGS = ("--dataset=folder", "--data_dir=examples", f"--cache_dir={_CACHE.name}")
