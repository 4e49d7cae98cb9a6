"""What a checkpoint keeps of a callback whose mask changes while it trains."""

from collections.abc import Mapping

import numpy as np

from dlth_tf.tickets.ticket import Ticket

_MASK = "mask/"


def progress_state(ticket: Ticket, step: int) -> dict[str, np.ndarray]:
    """The ticket reached and the optimizer steps it took, as arrays by name."""
    masks = {f"{_MASK}{name}": mask for name, mask in ticket.masks.items()}
    return {"step": np.array(step), **masks}


def ticket_in(state: Mapping[str, np.ndarray]) -> Ticket:
    """The ticket in what `progress_state` gave."""
    return Ticket(
        {
            name.removeprefix(_MASK): mask
            for name, mask in state.items()
            if name.startswith(_MASK)
        }
    )
