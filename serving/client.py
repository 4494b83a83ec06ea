"""Few-shot learning by a server: adapts a served model to a few images, and draws or recognises.

python -m serving.client generate --images my_drawings/ --target localhost:8500 --out out.png
python -m serving.client classify --images a/ b/ c/ --query q.png --target localhost:8500
"""

import argparse
import contextlib
import json
import os
import sys
from typing import NoReturn

from figr_common import images, streams
from serving import client_commands, remote
from serving.errors import ServingError

# By gRPC's names. What a script would treat alike has one status.
EXIT_STATUS = {
    "INVALID_ARGUMENT": 3,
    "OUT_OF_RANGE": 3,
    "NOT_FOUND": 4,
    "FAILED_PRECONDITION": 4,
    "UNIMPLEMENTED": 4,
    "UNAVAILABLE": 5,
    "DEADLINE_EXCEEDED": 6,
    "RESOURCE_EXHAUSTED": 7,
}
_OTHER_STATUS = 8

_EPILOG = """exit status:
  0  done
  1  a file here cannot be read or written
  2  wrong usage
  3  the server refused the request: an image or a number that it does not take
  4  no such model, version or signature there
  5  no server answers, or none is ready
  6  no answer within --timeout
  7  the server is overloaded
  8  any other failure of the server
Each failure is one line on stderr."""


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"need a number above 0. Received: {text}")
    return number


def _version(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"need a number from 0 to 2^63 - 1. Received: {text}")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"need 1 or more. Received: {text}")
    return number


def _common() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--target", default="localhost:8500", help="host:port, or http://host:port for REST"
    )
    parser.add_argument("--rest", action="store_true", help="speak REST to host:port")
    parser.add_argument(
        "--tls_ca",
        type=os.path.expanduser,
        help="PEM file of the authority that signed the gRPC server's certificate",
    )
    parser.add_argument("--model", default="figr", help="name of the model on the server (figr)")
    parser.add_argument(
        "--version", type=_version, help="version of the model; the newest unless given"
    )
    parser.add_argument(
        "--timeout", type=_positive, default=60.0, help="seconds for a request (60)"
    )
    parser.add_argument(
        "--retry_for",
        type=float,
        default=5.0,
        help="seconds to try again while no server answers (5)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result, or the error, as one JSON object"
    )
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.client",
        description="Few-shot image generation, and recognition, by a server.",
        epilog=_EPILOG,
        # Or argparse would join the lines of the list of statuses.
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Parents: a group of arguments that several commands share is described once.
    support, ink, inner, samples = (argparse.ArgumentParser(add_help=False) for _ in range(4))
    support.add_argument(
        "--images",
        type=os.path.expanduser,
        required=True,
        help="folder with the support set's images, or one image",
    )
    ink.add_argument("--ink", default="dark", choices=images.INKS, help="ink in the given images")
    inner.add_argument(
        "--num_inner_steps", type=int, help="inner-loop steps (K); the export's unless given"
    )
    samples.add_argument(
        "--num_samples", type=int, help="images to draw; the export's default unless given"
    )
    seed = argparse.ArgumentParser(add_help=False)
    seed.add_argument("--seed", type=int, default=0, help="the same seed draws the same images (0)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, call, text: str, *parents: argparse.ArgumentParser, out: str | None = None):
        command = commands.add_parser(
            name, help=text, description=text, parents=[*parents, _common()]
        )
        command.set_defaults(call=call)
        if out:
            command.add_argument(
                "--out", type=os.path.expanduser, default=out, help=f"file to write ({out})"
            )
        return command

    add(
        "generate",
        client_commands.generate,
        "adapt and write samples",
        support,
        ink,
        inner,
        samples,
        seed,
        out="out.png",
    )
    add(
        "adapt",
        client_commands.adapt,
        "adapt and keep the adapted generator",
        support,
        ink,
        inner,
        seed,
        out="adapted.npz",
    )
    sample = add(
        "sample",
        client_commands.sample,
        "write samples of an adapted generator",
        samples,
        seed,
        out="out.png",
    )
    sample.add_argument(
        "--adapted", type=os.path.expanduser, required=True, help=".npz file of `adapt`"
    )
    classify = add(
        "classify", client_commands.classify, "tell which class images are of", ink, inner, seed
    )
    classify.add_argument(
        "--images",
        type=os.path.expanduser,
        nargs="+",
        action="extend",
        required=True,
        help="the classes: a folder with the images of each, or one image of it",
    )
    classify.add_argument(
        "--query",
        type=os.path.expanduser,
        required=True,
        help="an image to recognise, or a folder of them",
    )
    add("status", client_commands.status, "state of the model's versions")
    load = add(
        "bench",
        client_commands.bench_server,
        "measure latency and rate under load",
        support,
        ink,
        inner,
        samples,
    )
    load.add_argument("--num_requests", type=_count, default=32, help="requests in all (32)")
    load.add_argument(
        "--concurrency", type=_count, default=1, help="requests under way at once, at most (1)"
    )
    load.add_argument(
        "--rate",
        type=_positive,
        help="requests a second; unless given, as fast as they are answered",
    )
    return parser


def _run(options: argparse.Namespace) -> dict:
    if options.command in ("generate", "sample"):
        client_commands.check_out(options.out, images.writable_suffixes())
    if options.command == "adapt":
        client_commands.check_out(options.out, (".npz",))
    # An address that begins with http:// is REST by itself.
    rest = options.rest and "://" not in options.target
    address = f"http://{options.target}" if rest else options.target
    endpoint = remote.Endpoint(address, options.model, options.version, options.tls_ca)
    with remote.RemoteModel(endpoint, options.timeout, options.retry_for) as model:
        return options.call(model, options)


def _as_text(result: dict) -> str:
    lines = []
    for name, value in result.items():
        rows = value if isinstance(value, list) else [value]
        lines += [f"{name}: {_row(row)}" for row in rows]
    return "\n".join(lines)


def _row(value: object) -> str:
    if isinstance(value, dict):
        return (
            ", ".join(f"{name} {_row(item)}" for name, item in value.items() if item != "")
            or "none"
        )
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _fail(message: str, code: str, status: int, as_json: bool) -> NoReturn:
    if as_json:
        # If it was standard output that failed, the line on stderr has to do.
        with contextlib.suppress(OSError):
            print(json.dumps({"error": message, "code": code}), flush=True)
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


def main() -> None:
    """Runs a subcommand; every failure is one line and a status of its own."""
    with streams.tolerated():
        _main()


def _main() -> None:
    options = _parser().parse_args()
    try:
        result = _run(options)
        # At once, while a full disk behind it is still an error to report.
        print(json.dumps(result) if options.json else _as_text(result), flush=True)
    except ServingError as error:
        message = error.message or error.code
        _fail(message, error.code, EXIT_STATUS.get(error.code, _OTHER_STATUS), options.json)
    except client_commands.UsageError as error:
        _fail(str(error), "USAGE", 2, options.json)
    except (client_commands.FileError, images.ImageError) as error:
        _fail(str(error), "FILE", 1, options.json)
    except BrokenPipeError:  # An OSError, but no file's: `streams.tolerated` deals with it.
        raise
    # Such as a folder that may not be read, or a full disk.
    except OSError as error:
        place = error.filename or streams.failing() or "a file"
        message = f"{place}: {error.strerror or error}"
        _fail(message, "FILE", 1, options.json)
    except KeyboardInterrupt:
        # 128 + SIGINT, as shells have it.
        sys.exit(130)


if __name__ == "__main__":
    main()
