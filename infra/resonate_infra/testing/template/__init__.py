"""A SAM template, read and created in moto. Internal."""
