"""Names of SDK 0.6.7 that this package itself does not use.

The import paths of that SDK are modules of one line each (`resonate.models.*`, `resonate.clocks.*`,
`resonate.errors.errors`, ...). They import from other packages what exists there under another name, and everything
else from here. They are loaded only when a program imports them. docs/compatibility.md lists the paths that do not
exist.
"""
