"""Internal: values and exceptions as the text that promises hold, and back."""
