"""What a type checker tells the users of the programming model: `tests/typing` holds programs, and what pyright says.

The programs state the types that they expect, and where they expect an error; an error too many or too few fails.
"""

import json
import subprocess
import sys
from pathlib import Path

PROGRAMS = Path(__file__).parent / "typing"


def test_types_are_inferred_and_mistakes_are_found() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(PROGRAMS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    report = json.loads(completed.stdout)

    assert report["summary"]["filesAnalyzed"] == len(list(PROGRAMS.glob("*.py"))) > 2
    places = [
        f"{Path(each['file']).name}:{each['range']['start']['line'] + 1} {each['message']}"
        for each in report["generalDiagnostics"]
    ]
    assert places == []
