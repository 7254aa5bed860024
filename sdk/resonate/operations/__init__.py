"""What programs do to executions from outside: forks and redrives."""
