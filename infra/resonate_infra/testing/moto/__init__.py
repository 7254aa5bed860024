"""AWS as moto plays it, with the corrections that the offline stack needs. Internal."""
