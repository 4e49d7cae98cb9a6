"""Where a convolution looks, and where its mirror image does."""

import dataclasses

from keras import layers

Sides = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Window:
    """A convolution's window along one axis of its input.

    Attributes:
        inside: positions of the input, without padding.
        before: positions of padding before the first.
        width: positions that a window spans.
        stride: from one window to the next.
        outside: windows, and so positions of the output.
    """

    inside: int
    before: int
    width: int
    stride: int
    outside: int

    @property
    def symmetric(self) -> Sides:
        return self.width // 2, self.width // 2

    def mirrored(self) -> "Window":
        """The window of the same convolution on a reversed input."""
        return dataclasses.replace(self, before=self._end - self.inside - self.before)

    @property
    def padding(self) -> Sides:
        """Before and after: the same on both sides where the output allows it."""
        half = self.width // 2
        outside = (self.inside + 2 * half - self.width) // self.stride + 1
        if self.before == half and outside == self.outside:
            return self.symmetric
        return self.before, max(0, self._end - self.inside - self.before)

    @property
    def _end(self) -> int:
        """Where the last window ends, from the first padded position."""
        return (self.outside - 1) * self.stride + self.width


def windows_of(layer: layers.Layer, padding: tuple[Sides, Sides], sizes: Sides) -> list:
    """The windows of a layer along height and width.

    Args:
        layer: a two-dimensional convolution.
        padding: by a layer before it.
        sizes: of what it looks at, without that padding.
    """
    windows = []
    for axis in (0, 1):
        stride, inside = layer.strides[axis], sizes[axis]
        width = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
        before, padded = padding[axis][0], inside + sum(padding[axis])
        if layer.padding == "same":
            outside = -(-padded // stride)
            before += max(0, (outside - 1) * stride + width - padded) // 2
        else:
            outside = (padded - width) // stride + 1
        windows.append(Window(inside, before, width, stride, outside))
    return windows
