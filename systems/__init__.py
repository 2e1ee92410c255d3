"""The systems under test. Nothing here knows that it is being tested."""
