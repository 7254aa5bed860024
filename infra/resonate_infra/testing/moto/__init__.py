"""moto as AWS, with the corrections that the offline stack needs. Internal."""
