"""What an execution did and what it waits for: records of a store, read for people.

The command line and the console share it.
"""
