"""What a person reads of a run: the HTML page and the lines at the end of a command."""
