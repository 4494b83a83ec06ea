"""What the client's commands do: one function each, from a model and options to what is printed."""

import argparse
import sys
import zipfile
import zlib

import numpy as np

from figr_common import image_grid, output_files
from serving import bench, remote
from serving.errors import ServingError

# What `adapt` writes: dtype and number of dimensions.
_KINDS_OF_ARRAYS = {
    "support_images": (np.uint8, 4),
    "generator_delta": (np.float32, 1),
    "fingerprint": (np.int64, 0),
}


class FileError(Exception):
    """Something here, not at the server; one line."""


class UsageError(Exception):
    """A command line that cannot be meant; one line."""


def check_out(out: str, suffixes: tuple[str, ...]) -> None:
    """Raises FileError for a file that could not be written: now, not after the server's work."""
    if problem := output_files.problem(out, suffixes):
        raise FileError(problem)


def generate(model: remote.RemoteModel, options: argparse.Namespace) -> dict:
    """Adapts to --images, and writes samples to --out."""
    support = _read_support(model, options)
    samples = model.generate(support, options.num_samples, options.seed, options.num_inner_steps)
    _save_picture(support, samples, options.out)
    return {"samples": len(samples), "support_images": len(support), "out": options.out}


def adapt(model: remote.RemoteModel, options: argparse.Namespace) -> dict:
    """Adapts to --images, and writes the adapted generator to --out."""
    support = _read_support(model, options)
    adapted = model.adapt(support, options.seed, options.num_inner_steps)
    try:
        # An open file, since `savez` appends .npz to a name that does not end in it.
        with open(options.out, "wb") as file:
            # With the support set, which `sample` draws above the samples.
            np.savez(file, support_images=support, **adapted._asdict())
    except OSError as error:
        raise FileError(f"{options.out}: {error.strerror or error}") from error
    return {
        "weights": len(adapted.generator_delta),
        "fingerprint": adapted.fingerprint,
        "out": options.out,
    }


def sample(model: remote.RemoteModel, options: argparse.Namespace) -> dict:
    """Writes samples of an adapted generator to --out."""
    try:
        # A pickle in somebody's file would run code here.
        with np.load(options.adapted, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _KINDS_OF_ARRAYS}
    except OSError as error:
        raise FileError(f"{options.adapted}: {error.strerror or error}") from error
    # Of a .npy file there is nothing to open: a TypeError.
    except (ValueError, KeyError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise FileError(f"{options.adapted}: not a file of `adapt`") from error
    if {name: (a.dtype, a.ndim) for name, a in arrays.items()} != _KINDS_OF_ARRAYS:
        raise FileError(f"{options.adapted}: not a file of `adapt`: its arrays are others")
    support = arrays["support_images"]
    adapted = remote.Adapted(arrays["generator_delta"], int(arrays["fingerprint"]))
    samples = model.sample(adapted, options.num_samples, options.seed)
    _save_picture(support, samples, options.out)
    return {"samples": len(samples), "out": options.out}


def classify(model: remote.RemoteModel, options: argparse.Namespace) -> dict:
    """Says which of the classes of --images the queries are of."""
    names = options.images
    if len(names) < 2:
        raise UsageError(f"--images: give 2 classes or more. Received: {len(names)}")
    if len(set(names)) < len(names):
        raise UsageError("--images: a class is given twice")
    classes = [_read(model, name, options) for name in names]
    # The server takes classes of several sizes. The classifier was trained on equal ones.
    num_shots = min(map(len, classes))
    if num_shots < max(map(len, classes)):
        _warn(f"taking the first {num_shots} images of each class, as many as the smallest has")
    support = np.concatenate([images[:num_shots] for images in classes])
    labels = np.repeat(np.arange(len(classes)), num_shots)
    queries = _read(model, options.query, options)
    answers = model.classify(support, labels, queries, options.seed, options.num_inner_steps)
    return {"answers": [_answer(options.query, i, row, names) for i, row in enumerate(answers)]}


def _answer(query: str, number: int, row: np.ndarray, names: list[str]) -> dict:
    """The probabilities of one query, the likeliest class first."""
    probabilities = {names[i]: float(row[i]) for i in np.argsort(-row)}
    return {"query": query, "image": number, "probabilities": probabilities}


def status(model: remote.RemoteModel, options: argparse.Namespace) -> dict:
    """States of the model's versions; raises ServingError unless one is ready."""
    versions = model.versions()
    # A script that waits for a server should see another status than 0 until one is ready.
    if not any(version.state == "AVAILABLE" for version in versions):
        states = ", ".join(f"{v.version}: {v.state} {v.error}".rstrip() for v in versions)
        raise ServingError("UNAVAILABLE", f"no version is ready ({states})")
    return {"versions": [version._asdict() for version in versions]}


def bench_server(model: remote.RemoteModel, options: argparse.Namespace) -> dict:
    """Puts a load on the server, and says what became of it."""
    load = bench.Load(
        num_requests=options.num_requests,
        concurrency=options.concurrency,
        rate=options.rate,
        num_samples=options.num_samples,
        num_inner_steps=options.num_inner_steps,
    )
    return bench.run(model, _read_support(model, options), load)


def _read_support(model: remote.RemoteModel, options: argparse.Namespace) -> np.ndarray:
    return _read(model, options.images, options)


def _read(model: remote.RemoteModel, path: str, options: argparse.Namespace) -> np.ndarray:
    return model.read_support(path, options.ink, _warn)


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)


def _save_picture(support: np.ndarray, samples: np.ndarray, out: str) -> None:
    try:
        image_grid.result_picture(support, samples).save(out)
    except OSError as error:
        raise FileError(f"{out}: {error.strerror or error}") from error
