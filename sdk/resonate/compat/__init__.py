"""What programs written for SDK 0.6.7 import and this package has no other use for.

The import paths of that SDK are modules of one line each (`resonate.models.*`, `resonate.clocks.*`,
`resonate.errors.errors`, ...). What this package has under another name they take from its place; the rest is here.
They are loaded only when they are imported. docs/compatibility.md lists the paths that do not exist.
"""
