"""Static check of workflows: `resonate lint`. It reads programs as syntax trees, and imports nothing of them.

`source` reads a file and its names, and `workflows` finds the code that is replayed. Each module of rules yields
findings in that code. `checking` runs all rules over files, and `output` writes the findings.
"""
