"""Commands that consist of other commands: waits for several promises, maps and sagas."""
