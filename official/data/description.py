"""What is known of a data set without loading it."""

import dataclasses

from official.data import splits


@dataclasses.dataclass(frozen=True)
class Description:
    """The size of a data set, and where it comes from.

    Attributes:
        name: what the data set is called on the command line.
        title: what people call it.
        train_size: images trained on in an epoch, validation images excluded.
        test_size: images tested on.
        input_shape: height, width and channels of an image.
        classes: number of classes.
        source: how to get it.
        terms: what its licence allows, in a few words.
        validation_size: training images that are held out.
        is_exact: whether the sizes are known, or a guess until the images are there.
    """

    name: str
    title: str
    train_size: int
    test_size: int
    input_shape: tuple[int, int, int]
    classes: int
    source: str = ""
    terms: str = ""
    validation_size: int = 0
    is_exact: bool = True

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of full batches in the training images.

        Raises:
            ValueError: there is not one.
        """
        return splits.steps_per_epoch(self.name, self.train_size, batch_size)

    def used(
        self, train_examples: int | None, validation_fraction: float
    ) -> "Description":
        """Returns the set as `official.data.load` would load it with these arguments.

        Raises:
            ValueError: a number is out of its range, or there are no test images.
        """
        splits.require_images(self.name, "test", self.test_size)
        train, validation = splits.training_sizes(
            self.name, self.train_size, train_examples, validation_fraction
        )
        return dataclasses.replace(self, train_size=train, validation_size=validation)
