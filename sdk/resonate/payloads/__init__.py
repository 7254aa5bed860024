"""Values, arguments and errors as text, and back. Internal."""
