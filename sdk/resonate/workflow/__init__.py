"""Internal: what a user's function uses: context, commands, options and registered functions."""
