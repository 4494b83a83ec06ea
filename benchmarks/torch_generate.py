"""What a server in eager PyTorch would do for one request: adapt, then draw 64 samples.

  python benchmarks/torch_generate.py torch_figr.py --hidden 16 --steps 3

Needs torch 2.13 and numpy. The networks are those of the peer's file, and each inner step is that
of FIGR's Algorithm 1. Prints one JSON line, as the peer does.
"""

import argparse
import copy
import json
import runpy
import time

import torch


def _generate(generator, discriminator, support, args):
    # A server may not let one request change the next.
    generator, discriminator = copy.deepcopy(generator), copy.deepcopy(discriminator)
    n = len(support)
    for _ in range(args.inner):
        # The discriminator's step sends no gradient into the generator, here as in ours.
        with torch.no_grad():
            generated = generator(torch.randn(n, 100))
        mix = torch.rand(n, 1, 1, 1)
        interpolates = (generated + mix * (support - generated)).requires_grad_()
        (gradient,) = torch.autograd.grad(
            discriminator(interpolates).sum(),
            interpolates,
            create_graph=True,
        )
        # WGAN-GP: the norm is that of a whole image, its target 1.
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        loss = discriminator(generated).mean() - discriminator(support).mean() + 10 * penalty
        _descend(discriminator, loss)
        # Against the discriminator that has just moved, as in Algorithm 1.
        _descend(generator, -discriminator(generator(torch.randn(n, 100))).mean())
    with torch.no_grad():
        return generator(torch.randn(args.samples, 100))


def _descend(network, loss, rate=1e-4):
    weights = list(network.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        # On the data, so that autograd does not record the step.
        weight.data.sub_(gradient, alpha=rate)


def main():
    """Times `--steps` requests after one that does not count."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("peer")
    for name, default in (
        ("hidden", 64),
        ("size", 32),
        ("shots", 4),
        ("inner", 10),
        ("samples", 64),
        ("steps", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    peer = runpy.run_path(args.peer)
    generator, discriminator = (
        peer[name](args.size, args.hidden) for name in ("Generator", "Discriminator")
    )
    support = torch.rand(args.shots, 1, args.size, args.size) * 2 - 1
    seconds = []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        _generate(generator, discriminator, support, args)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds[1:]}))


if __name__ == "__main__":
    main()
