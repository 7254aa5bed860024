"""Blocks of code in the documentation: how they are found, parsed and run."""
