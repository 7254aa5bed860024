"""Internal: a worker as a Lambda function. `Resonate.handler` returns its handler."""
