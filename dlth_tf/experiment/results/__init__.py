"""What came of it: a row for each run, audited before it is written."""
