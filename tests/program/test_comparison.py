"""Which methods a report calls close."""

import pytest

from dlth_tf.reporting.comparison import Comparison
from dlth_tf.reporting.records import RunRecord


@pytest.mark.parametrize(
    ("others", "close"),
    [
        ([0.90, 0.90, 0.90], True),
        ([0.80, 0.80, 0.80], False),
        ([0.60, 0.99, 0.70], True),
        ([0.70], False),
        ([0.899], True),
    ],
)
def test_close_is_what_neither_the_seeds_nor_the_test_images_tell_apart(others, close):
    given = {"l1": [0.90, 0.90, 0.90], "rst": others}
    runs = [
        RunRecord.parse(
            f"{method}{seed}",
            {"method": method, "sparsity": 0.9, "seed": seed, "test_accuracy": accuracy}
            | {"test_images": 10_000},
        )
        for method, accuracies in given.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    l1, rst = Comparison.of(runs).cells
    assert l1.close_to(rst) == rst.close_to(l1) == close
