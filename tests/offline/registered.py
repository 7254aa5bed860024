"""The code of WorkerFunction where a test says what it can run: see `tests.offline.driving`."""

from resonate import Resonate
from tests.offline import driving

resonate = Resonate(group="worker", registry=driving.registry, dependencies=driving.dependencies)

handler = resonate.handler()
