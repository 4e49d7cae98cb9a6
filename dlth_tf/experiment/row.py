"""What the rows of finished and of failed runs say."""

import os
from collections.abc import Mapping

from dlth_tf.experiment.cost import (
    dense_training_flops,
    network_cost,
    training_flops,
)
from dlth_tf.experiment.plan import Run
from dlth_tf.experiment.stages import Stage, StageFailed
from dlth_tf.experiment.workbench import Workbench

_SETTLED = "settled_after_epochs"


def finished_row(run: Run, bench: Workbench) -> dict:
    """Looks at a run whose stages are done, and measures it on the test set.

    Raises:
        StageFailed: its numbers would be no evidence.
    """
    from dlth_tf.experiment import audit
    from dlth_tf.experiment.evaluation import evaluate

    stage = run.stage
    shrunk_by = stage.masked_by if getattr(stage, "shrunk", False) else None
    masked_by = None if shrunk_by else stage.masked_by
    ticket = masked_by and bench.ticket(masked_by)
    records = {needed: bench.store.record(needed) for needed in stage.lineage()}
    network = bench.network_with(stage)
    audit.check_steps(records, bench)
    audit.check_weights(stage, network, ticket)
    measured = evaluate(network, bench.data, "test", workers=bench.hardware.workers)
    audit.check_measured(stage, measured, bench.data.split_size("test"))
    return {
        **_identity(run),
        "test_accuracy": measured.accuracy,
        "test_top5": measured.top5,
        "test_loss": measured.loss,
        "test_images": measured.images,
        **_costs(run, records, bench),
        **network_cost(network, audit.weights_left(network, ticket), bench),
        "history": {
            bench.store.folder(needed).name: record["history"]
            for needed, record in records.items()
            if "history" in record
        },
        "shrunk_by": shrunk_by and os.fspath(bench.store.folder(shrunk_by)),
        "stages": [os.fspath(bench.store.folder(needed)) for needed in records],
    }


def failed_row(run: Run, bench: Workbench, failure: StageFailed) -> dict:
    """Says why a run has no numbers; its last stage is the one to try again."""
    lineage = run.stage.lineage()
    made = lineage[: lineage.index(failure.stage) + 1]
    return {
        **_identity(run),
        "failed": str(failure),
        "stages": [os.fspath(bench.store.folder(stage)) for stage in made],
    }


def _identity(run: Run) -> dict:
    return {
        "key": run.stage.key,
        "method": run.method,
        "sparsity": run.sparsity,
        "seed": run.seed,
    }


def _costs(run: Run, records: Mapping[Stage, Mapping], bench: Workbench) -> dict:
    """What its trainings took, by what was recorded of them."""
    images = sum(record.get("images", 0) for record in records.values())
    flops = training_flops(records, bench)
    settled = (r[_SETTLED] for r in records.values() if _SETTLED in r)
    return {
        "train_images": images,
        "train_cost": images / run.dense_stage.images(bench),
        "train_flops": flops,
        "train_flops_cost": flops / dense_training_flops(run.dense_stage, bench),
        "seconds": sum(record.get("seconds", 0.0) for record in records.values()),
        _SETTLED: next(settled, None),
    }
