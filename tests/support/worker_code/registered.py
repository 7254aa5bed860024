"""The code of WorkerFunction where a test says what it can run: see `tests.support.offline_driver`."""

import logging

from resonate import Resonate
from tests.support import offline_driver

resonate = Resonate(
    group="worker",
    registry=offline_driver.registry,
    dependencies=offline_driver.dependencies,
    encryptor=offline_driver.encryptor,
    log_level=logging.getLogger("resonate").level,  # what the test listens to
)

handler = resonate.handler()
