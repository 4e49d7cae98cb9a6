"""What layers state of their own channels: heads, hidden units, what passes through.

A coupling is a pair: the arguments of the layer's configuration that count some units,
and the places where these lie.
"""

import collections
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from dlth_tf.keras_internals import functional_graph
from dlth_tf.network.channel_couplings import Call, Channels, joined
from dlth_tf.network.known_couplings import known_couplings

Place = tuple[keras.Variable, int]
"""A variable and its axis along which the units lie, in parts of equal size."""

Coupling = tuple[tuple[str, ...], list[Place], bool]
"""Arguments, places, and whether the units are the channels that pass through."""

_PASSING = "channels"


def stated_couplings(layer: Any) -> list[Coupling] | None:
    """What a layer says by `get_channel_couplings`, or what is known; None if nothing."""
    if hasattr(layer, "get_channel_couplings"):
        stated = layer.get_channel_couplings()
    else:
        stated = known_couplings(layer)
    return None if stated is None else [_checked(layer, pair) for pair in stated]


def graph_within(operation: Any) -> Any | None:
    """The graph of a nested model, unless the model states couplings as a whole."""
    graph = functional_graph(operation)
    return None if graph is None or stated_couplings(operation) is not None else graph


def follow_stated(call: Call, couplings: Sequence[Coupling]) -> Channels | None:
    """Notes where a layer's units lie; returns its channels if they pass through it."""
    passed = None
    rows: dict[tuple[str, ...], list[np.ndarray]] = collections.defaultdict(list)
    config = call.layer.get_config() if any(names for names, *_ in couplings) else {}
    for arguments, places, passing in couplings:
        counts = {f"`{name}`": config[name] for name in arguments}
        sizes = {what: n for what, n in counts.items() if isinstance(n, int)}
        sizes |= {f"axis {axis} of {v.path}": v.shape[axis] for v, axis in places}
        if passing:
            passed = joined(call, np.logical_and)
            units = passed.ids
        else:
            units = call.couplings.new(min(sizes.values()))
        for what, size in sizes.items():
            if size % len(units):
                raise ValueError(
                    f"{_said(call.layer)} must name equal parts for {len(units)} units. "
                    f"Received: {size} of {what}"
                )
        for variable, axis in places:
            ids = np.repeat(units, variable.shape[axis] // len(units))
            call.couplings.use(variable, axis, ids, masked=True)
        rows[arguments].append(units)
    _note_sizes(call, rows, config)
    return passed


def _note_sizes(call: Call, rows: dict, config: dict) -> None:
    """Says how the config counts the units that are left, equally many in equal rows."""
    firsts = {arguments: of_argument[0] for arguments, of_argument in rows.items()}

    def resizing(*left: int) -> dict:
        return {
            name: _part(config[name], count, len(units))
            for (arguments, units), count in zip(firsts.items(), left, strict=True)
            for name in arguments
        }

    call.size(list(firsts.values()), resizing)
    call.couplings.alike.extend(rows.values())


def _part(number: int | float, count: int, of: int) -> int | float:
    """What is left of a number of units, or of a ratio of their number to another."""
    if isinstance(number, int):
        return number * count // of
    # Layers cut off what follows the point.
    return number if count == of else number * count / of * (1 + 1e-12)


def _said(layer: Any) -> str:
    return f"`get_channel_couplings` of layer '{layer.name}' ({type(layer).__name__})"


def _checked(layer: Any, pair: Any) -> Coupling:
    """One coupling as its parts, or an error that says what is wrong with it."""
    own = {id(variable) for variable in layer.variables}
    try:
        arguments, stated = pair
        arguments = (arguments,) if isinstance(arguments, str) else tuple(arguments)
        places = [place for place in stated if not isinstance(place, str)]
        passing = [place for place in stated if isinstance(place, str)]
        places = [(v, range(len(v.shape))[axis]) for v, axis in places]
        if not stated or passing not in ([], [_PASSING]):
            raise ValueError
    except (AttributeError, IndexError, TypeError, ValueError):
        pair = keras.tree.map_structure(lambda x: getattr(x, "path", x), pair)
        raise ValueError(
            f"{_said(layer)} must return pairs: arguments that count units, and places "
            f"where these lie, each (variable, axis) or '{_PASSING}'. Received: {pair!r}"
        ) from None
    for variable, _ in places:
        if id(variable) not in own:
            raise ValueError(
                f"{_said(layer)} must name variables of the layer. "
                f"Received: {variable.path!r}"
            )
    config = layer.get_config() if arguments else {}
    for argument in arguments:
        if not isinstance(config.get(argument), int | float):
            raise ValueError(
                f"{_said(layer)} must name arguments that count units in the config. "
                f"Received: {argument!r}, there {config.get(argument, 'missing')!r}"
            )
    return arguments, places, bool(passing)
