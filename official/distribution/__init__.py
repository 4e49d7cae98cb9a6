"""Training on several devices and machines: `tf.distribute`, on JAX Keras's own.

`strategies` makes a strategy from names and numbers, `cluster` finds the machines,
`multi_worker_fit` lets Keras 3 train on several of them, `workers` is how their programs
agree, `connecting` names one that does not come and `dead_workers` one that is gone.
`batches`, `statistics` and `loss_scaling` keep the result independent of how many there
are.
"""
