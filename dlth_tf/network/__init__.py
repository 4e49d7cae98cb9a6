"""What is read from a model: kernels by stable name, its graph, its channels."""
