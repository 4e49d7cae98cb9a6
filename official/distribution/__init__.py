"""Training on several devices and machines: `tf.distribute`, on JAX Keras's own."""
