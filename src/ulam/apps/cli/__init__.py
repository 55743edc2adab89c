"""The command line: data to standard output, talk to standard error, an exit code that says what happened."""
