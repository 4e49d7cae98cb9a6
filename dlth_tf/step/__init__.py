"""How callbacks take part in every training step: the door, and who passes it."""
