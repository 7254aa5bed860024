"""Import path of SDK 0.6.7."""
