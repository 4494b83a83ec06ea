"""Times meta-steps, adaptation and generation, beside PyTorch and beside the machine's own limits.

  python -m benchmarks.speed --peer=PATH/torch_figr.py --peer_python=PATH/bin/python --json=out.json

Everything runs in turns, so that ratios hold on a busy machine. Without a peer, which is an eager
PyTorch version of the same meta-step, its columns are left out.
"""

import json
import pathlib
import platform
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks import floor
from benchmarks.contestants import Ours, Peer, spread
from benchmarks.worker import Work
from figr_tf.core import console
from figr_tf.gan import networks

flags = console.OwnFlags(__name__)

_PEER = flags.DEFINE_path("peer", None, "The peer's script, torch_figr.py.")
_PEER_PYTHON = flags.DEFINE_path("peer_python", None, "Python with torch and numpy.")
_HIDDEN = flags.DEFINE_list(
    "hidden",
    ["4", "16", "64"],
    "Channels h at full resolution of the networks to time.",
)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Turns of everybody.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 3, "Timed runs in each turn.", lower_bound=1)
_JSON = flags.DEFINE_path("json", None, "Writes all figures there.")


def _rows() -> list[tuple[str, Work]]:
    rows = []
    for h in map(int, _HIDDEN.value):
        rows.append((f"meta-step, h = {h}", Work("meta_step", h)))
        if h == 16:
            rows.append(("meta-step, h = 16, n = 8, 64²", Work("meta_step", h, 64, 8)))
        # At h = 64 every run takes eleven seconds, nearly all of it adaptation: the meta-step
        # stands for all.
        if h < 64:
            rows.append((f"adapt alone, h = {h}", Work("adapt", h)))
            rows.append((f"adapt + 64 samples, h = {h}", Work("generate", h)))
            rows.append((f"the same, exported, h = {h}", Work("exported", h)))
    rows.append(("one support set", Work("sampling")))
    return rows


def _export(hidden: int, folder: pathlib.Path) -> str:
    """An export of an untrained network, by the commands that a user types."""
    run, models = folder / f"run{hidden}", folder / f"models{hidden}"
    # One meta-step: the time of an adaptation hardly depends on what the weights are.
    sizes = [f"--hidden={hidden}", "--num_meta_steps=1", "--num_shots=4"]
    for command in (
        ["figr_tf.train", "--dataset=glyphs", *sizes, f"--run={run}"],
        [
            "exporters.export_saved_model",
            f"--run={run}",
            f"--export_dir={models}",
            "--signatures=generate_tensor",
        ],
    ):
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
    return str(next(path for path in models.iterdir() if path.name.isdigit()))


def _peer(work: Work) -> Peer | None:
    # The peer can be asked for a meta-step and for a request, not for a part of them.
    if not (_PEER.value and _PEER_PYTHON.value) or work.kind in ("adapt", "sampling"):
        return None
    python, script = pathlib.Path(_PEER_PYTHON.value), pathlib.Path(_PEER.value)
    arguments = [
        f"--hidden={work.hidden}",
        f"--size={work.image_size}",
        f"--shots={work.num_shots}",
    ]
    if work.kind != "meta_step":
        arguments.insert(0, str(script))
        # The peer's script has the networks and becomes an argument; the request is in ours.
        script = pathlib.Path(__file__).parent / "torch_generate.py"
    return Peer(python, script, arguments, _RUNS.value)


def _time(name: str, work: Work, rates: floor.Rates) -> dict[str, Any]:
    ours, peer = Ours(work), _peer(work)
    try:
        for _ in range(_ROUNDS.value):
            if peer:
                peer.run()
            for _ in range(_RUNS.value):
                ours.run()
    finally:
        # A worker left behind would keep its memory while the next one is timed.
        ours.close()
    result = {"name": name} | ours.ready | {"peak_mib": ours.peak_mib} | spread(ours.seconds)
    if peer:
        result["peer"] = spread(peer.seconds)
        result["ratio"] = result["peer"]["median_s"] / result["median_s"]
    if work.kind in ("meta_step", "adapt"):
        spec = networks.NetworkSpec(hidden=work.hidden, image_size=work.image_size)
        result["floor_s"] = floor.seconds(spec, work.num_shots, work.num_inner_steps, rates)
    return result


def _line(row: dict[str, Any]) -> str:
    peer, ratio = "–", "–"
    if "peer" in row:
        peer, ratio = f"{row['peer']['median_s']:.3f}", f"{row['ratio']:.2f}"
    least = f"{row['median_s'] / row['floor_s']:.1f}" if "floor_s" in row else "–"
    peak = f"{row['peak_mib']:.0f}" if row["peak_mib"] else "–"
    return (
        f"| {row['name']} | {row['median_s']:.4f} | {peer} | {ratio} | {least} |"
        f" {row['first_call_s']:.1f} | {row['import_s']:.1f} | {peak} |"
    )


def main() -> None:
    """Prints the table, row by row as it comes."""
    if _JSON.value:
        console.check_output(_JSON.value, ())
    device = console.start_tensorflow()
    # Before the first worker starts, which would take its share of the machine.
    rates = floor.measure_rates()
    print(
        f"device {device}; {rates.flops / 1e9:.0f} GFLOP/s in matrix products,"
        f" {rates.bytes / 1e9:.1f} GB/s copied"
    )
    if not (_PEER.value and _PEER_PYTHON.value):
        print("no peer: give --peer and --peer_python to compare with PyTorch")
    print(
        "| | ours, s | peer, s | peer / ours | ours / floor"
        " | first call, s | import, s | peak MiB |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, work in _rows():
            if work.kind == "exported":
                work = Work(
                    work.kind,
                    work.hidden,
                    saved_model=_export(work.hidden, pathlib.Path(folder)),
                )
            results.append(_time(name, work, rates))
            print(_line(results[-1]), flush=True)
    if _JSON.value:
        facts = {
            "device": device,
            "machine": platform.processor() or platform.machine(),
            "rates": rates._asdict(),
        }
        pathlib.Path(_JSON.value).write_text(json.dumps(facts | {"rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    console.run(main)
