"""Networks for LiteRT whose zeros make them fast. Needs Keras on TensorFlow.

XNNPACK, LiteRT's engine for CPUs, skips the zeros of 1x1 convolutions in a network that
it can run with the channels first, in browsers and on ARM (Elsen et al., "Fast Sparse
ConvNets", CVPR 2020). `rearranging` makes a network one of these where it can be,
`converting` and `running` write and run the file, `qualification` says what is in the
way.
"""
