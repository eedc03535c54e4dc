"""The command line: every step is a command, whose options are the step's params and tuning."""
