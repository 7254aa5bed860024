"""The command line `resonate`: a server for development, and a hand on the promises of any Resonate.

`main` is the way in, `application` puts the commands together and turns what goes wrong into one line and an exit code,
`session` knows where the promises are. One module for each group of commands. Everything that is not needed to show a
help text is loaded by the command that needs it: AWS's libraries for a table, the web server for `resonate dev`.
"""
