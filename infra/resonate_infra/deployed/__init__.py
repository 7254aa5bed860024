"""The parts of the deployed functions: dispatcher, API, their wiring and what they log. Internal."""
