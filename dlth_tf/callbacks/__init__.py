"""What becomes part of a training step: transformation, fixed tickets, moving masks."""
