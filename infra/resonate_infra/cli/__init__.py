"""Command line `resonate`: a server for development, and commands for the promises of any Resonate server or table.

`main` is the entry point. `application` assembles the commands and turns errors into one line and an exit code.
`session` connects to the promises. Each group of commands has one module in `commands`. A help text needs few imports.
A command imports what else it needs: AWS's libraries for a table, the web server for `resonate dev`.
"""
