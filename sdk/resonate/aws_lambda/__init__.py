"""A worker as a Lambda function: the handler, and what it logs and measures. Internal."""
