"""Parser of a SAM template, and creation of its resources in moto. Internal."""
