"""What tickets do to a network of each family: the table of docs/structured_tickets.md.

    python -m benchmarks.structured

For each network: whether single weights are transformed, kept at zero, saved and loaded;
then what a random ticket of whole units at one half removes: how the shrunken network
differs from the masked one, parameters left, kernels that lose filters, heads or hidden
units, and why others lose none. It needs KerasHub.
"""

import argparse
import collections
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import keras
import keras_hub
import numpy as np

import dlth_tf as dlth
from benchmarks import families, timing

_COLUMNS = (
    *("network", "single weights", "difference of outputs", "parameters left"),
    *("what shrinks", "kernels left whole, and why"),
)


def main() -> None:
    """Runs the comparison and prints it, a network a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [f"keras:{name}" for name in families.APPLICATIONS]
    names += [f"keras_hub:{name}" for name in families.KERAS_HUB]
    parser.add_argument(
        "--networks", nargs="+", default=names, choices=names, metavar="NETWORK"
    )
    print(timing.head(_COLUMNS))
    for name in parser.parse_args().networks:
        print(timing.row((name, *_results(name))), flush=True)


def _results(name: str) -> tuple[str, ...]:
    single = _single_weights(_built(name))
    model = _built(name)
    groups = dlth.channel_groups(model)
    whole = _reasons(groups.whole.values())
    if not groups.groups:
        return single, "", "100%", "none", whole
    shrinking = _kinds(model, groups)
    size = model.count_params()
    small, difference = families.shrunken(model)
    left = f"{small.count_params() / size:.0%}"
    return single, f"{difference:.0e}", left, shrinking, whole


def _built(name: str) -> keras.Model:
    library, _, name = name.partition(":")
    if library == "keras_hub":
        backbone = getattr(keras_hub.models, f"{name}Backbone")
        return backbone(**families.KERAS_HUB[name])
    side = families.APPLICATIONS[name]
    network = getattr(keras.applications, name)
    return network(weights=None, classes=10, input_shape=(side, side, 3))


def _single_weights(model: keras.Model) -> str:
    """Transforms a random ticket, trains it, and has it saved and loaded on the way."""
    ticket = dlth.random_ticket(model, 0.9, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        ticket.save(Path(folder) / "ticket")
        ticket = dlth.Ticket.load(Path(folder) / "ticket")
    x = families.inputs_of(model)
    y = keras.tree.map_structure(lambda out: np.zeros(out.shape), model(x))
    model.compile("sgd", "mse", run_eagerly=True)
    rst = dlth.RandomSparseTransformation(ticket, growth=1.0, every=1, bound=2.0)
    for callback in (rst, dlth.FixedTicket(ticket)):
        model.fit(x, y, epochs=2, callbacks=[callback], verbose=0)
    removed = [keras.ops.convert_to_numpy(v)[~m] for _, v, m in ticket.pairs(model)]
    return "fail" if any(weights.any() for weights in removed) else "works"


def _kinds(model: keras.Model, groups: dlth.ChannelGroups) -> str:
    """How many kernels lose filters, heads or hidden units."""
    ranks = {n: len(kernel.shape) for n, kernel in dlth.maskable_kernels(model).items()}
    kinds: dict[str, set[str]] = collections.defaultdict(set)
    for group in groups.groups:
        attention = any(name.endswith("attention_output") for name in group.kernels)
        convolution = any(ranks[name] > 3 for name in group.kernels)
        kind = "heads" if attention else "filters" if convolution else "hidden units"
        kinds[kind] |= set(group.kernels)
    return ", ".join(
        f"{kind} ({len(of)} of {len(ranks)} kernels)" for kind, of in kinds.items()
    )


def _reasons(of_kernels: Iterable[str]) -> str:
    named = re.compile(r"layer '[^']*'")
    counted = collections.Counter(named.sub("its layer", why) for why in of_kernels)
    return "; ".join(f"{count}: {why}" for why, count in counted.most_common())


if __name__ == "__main__":
    main()
