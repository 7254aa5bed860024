"""The code of WorkerFunction where a test says what it can run: see `tests.deployment.driving`."""

import logging

from resonate import Resonate
from tests.deployment import driving

resonate = Resonate(
    group="worker",
    registry=driving.registry,
    dependencies=driving.dependencies,
    encryptor=driving.encryptor,
    log_level=logging.getLogger("resonate").level,  # what the test listens to
)

handler = resonate.handler()
