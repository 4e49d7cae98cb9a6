"""The tables of the documentation; `test_networks` builds the networks of theirs."""

from official.data import DATASETS, describe
from tests.official.tables import PAGE, table


def test_the_data_sets_are_described_as_the_table_says():
    rows = {row["name"]: row for row in table(PAGE, "licence")}
    assert list(rows) == [name for name in DATASETS if name.islower()]
    for name, row in rows.items():
        told = describe(name)
        about = "" if told.is_exact else "about "
        images = f"{about}{told.train_size:,} + {told.test_size:,}"
        shape = "x".join(map(str, told.input_shape))
        assert [cell.replace("`", "") for cell in row.values()] == [
            text.replace("`", "")
            for text in (
                *(name, told.title, images, shape, f"{told.classes:,}"),
                *(told.source, told.terms),
            )
        ]
