"""Tickets found before training, by a score for every weight."""

import dataclasses
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dlth_tf.experiment.placement import Placement
from dlth_tf.experiment.stages import StageFailed, TicketStage, WeightsStage

if TYPE_CHECKING:
    from official.data.image_data import Batch, ImageData

# How often a criterion runs its images through the network, forth and back.
_PASSES = {"snip": 1, "grasp": 2, "synflow": 0}

_AT_A_TIME = 250


@dataclasses.dataclass(frozen=True)
class FirstImages:
    """The first so many images of a seed's training order, some at a time."""

    data: "ImageData"
    count: int
    seed: int

    def __iter__(self) -> Iterator["Batch"]:
        for start in range(0, self.count, _AT_A_TIME):
            rows = slice(start, min(start + _AT_A_TIME, self.count))
            yield next(
                self.data.epoch_batches(
                    self.count, seed=self.seed, epoch=0, first_step=0, rows=rows
                )
            )


@dataclasses.dataclass(frozen=True)
class SaliencyTicket(TicketStage):
    """The ticket of the highest scores of an untrained network.

    Criteria that need images see the first of the seed's training order, so many for
    each class on average, augmented as in training.
    """

    weights: WeightsStage
    criterion: str
    sparsity: float
    placement: Placement
    seed: int
    images_per_class: int = 10

    @property
    def title(self):
        return f"{self.criterion} ticket {self.amount}, seed {self.seed}"

    def steps(self, bench):
        return _PASSES[self.criterion]

    def images(self, bench):
        return self.steps(bench) * self._examples(bench)

    def check(self, bench):
        super().check(bench)
        if self.criterion == "synflow" and self.placement.unit != "weight":
            raise ValueError(
                "The method synflow removes single weights, round by round. Received: "
                f"--unit={self.placement.unit}"
            )

    def compute(self, bench, folder):
        model = bench.network_with(self.weights)
        sparsity = bench.sparsity(model, self.sparsity, self.placement)
        began = time.monotonic()
        try:
            ticket = self._ticket(bench, model, sparsity)
        except ValueError as error:  # The scores are no numbers: the rest was checked.
            raise StageFailed(self, f"failed: {error}") from error
        ticket.save(folder / self.FILE)
        return {
            "images": self.images(bench),
            "seconds": round(time.monotonic() - began, 3),
            "sparsity_per_layer": ticket.sparsity_per_kernel(),
        }

    def _ticket(self, bench, model, sparsity):
        from keras.losses import SparseCategoricalCrossentropy

        from dlth_tf.saliency import grasp_ticket, snip_ticket, synflow_ticket

        if self.criterion == "synflow":
            return synflow_ticket(model, sparsity)
        images = FirstImages(bench.data, self._examples(bench), self.seed)
        find = {"snip": snip_ticket, "grasp": grasp_ticket}[self.criterion]
        loss = SparseCategoricalCrossentropy(from_logits=True)
        return find(model, sparsity, images, None, loss, unit=self.placement.unit)

    def _examples(self, bench) -> int:
        return min(self.images_per_class * bench.classes, bench.data.train_size)
