"""Which callbacks train on one device only."""

import keras


def refuse_replicas(callback: keras.callbacks.Callback, model: keras.Model) -> None:
    """Makes sure that a callback whose mask changes is not given several replicas.

    Raises:
        ValueError: the model was made under a `tf.distribute` strategy with several.
    """
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync > 1:
        raise ValueError(
            f"`{type(callback).__name__}` trains on one device. Received: a model under "
            f"{type(strategy).__name__} with {strategy.num_replicas_in_sync} replicas. "
            "Find the ticket on one, then train it on several with `FixedTicket`."
        )
