"""What a user's function touches: context, commands, options and registered functions. Internal."""
