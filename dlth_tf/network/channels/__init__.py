"""Coupled channels: which filters of a network can only be removed together.

`couplings` holds the bookkeeping, `rules` and `operations` what is done to channels,
`analysis` follows them through a model's graph, `groups` is what comes out.
"""

from dlth_tf.network.channels.groups import ChannelGroup as ChannelGroup
from dlth_tf.network.channels.groups import ChannelGroups as ChannelGroups
from dlth_tf.network.channels.groups import channel_groups as channel_groups
