"""The code of WorkerFunction where random programs run: it can do what `tests.support.programs` makes up."""

from resonate import Resonate
from tests.support.programs import FUNCTIONS

resonate = Resonate(group="worker")
for function in FUNCTIONS:
    resonate.register(function)

handler = resonate.handler()
