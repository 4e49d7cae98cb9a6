"""What every part of the program shares."""
