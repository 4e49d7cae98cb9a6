"""Training on several devices and machines: `tf.distribute`, on JAX Keras's own.

`strategies` makes a strategy from names and numbers, `cluster` finds the machines and is
how their programs agree, `missing_workers` names one that does not come or is gone, and
`replicas` keeps the result independent of how many there are. With
`official.private_keras.multi_worker_fit` Keras 3 trains on several machines.
"""
