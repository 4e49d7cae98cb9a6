"""What is to be done: methods, and the stages they are made of. Nothing is computed."""
