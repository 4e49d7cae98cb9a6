"""ResNet-20 in plain PyTorch: what `throughput` compares with."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions and a parameter-free shortcut."""

    def __init__(self, channels: int, filters: int):
        super().__init__()
        self.stride = 1 if channels == filters else 2
        self.padding = (filters - channels) // 2
        self.conv1 = nn.Conv2d(
            channels, filters, 3, stride=self.stride, padding=1, bias=False
        )
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride == 2:
            sides = (0, 0, 0, 0, self.padding, self.padding)
            x = functional.pad(x[:, :, ::2, ::2], sides)
        return functional.relu(y + x)


class ResNet20(nn.Module):
    """Images `[batch, 3, 32, 32]` to ten logits; 269,722 parameters."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        self.blocks = nn.Sequential(*map(Block, widths[:-1], widths[1:]))
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(functional.relu(self.bn(self.conv(x))))
        return self.classifier(x.mean(dim=(2, 3)))
