"""What is said where the package of an extra is missing: one line, with what to install."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hypothesis_settings import in_ci

ROOT = Path(__file__).parents[2]
OFFLINE = "def test_it(resonate_offline_stack): pass"


def without(package: str, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program where a package cannot be imported."""
    script = f"import sys; sys.modules[{package!r}] = None; {program}"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("package", "program", "said"),
    [
        (
            "botocore",
            "import os; os.environ['RESONATE_TABLE'] = 'orders'; import resonate; resonate.Resonate()",
            "the table 'orders' of RESONATE_TABLE needs botocore: pip install 'resonate-serverless[aws]'",
        ),
        (
            "botocore",
            "from resonate_infra.cli.main import main; main(['tree', 'a', '--table', 'orders'])",
            "error: a table needs botocore: pip install 'resonate-serverless[aws,cli]'",
        ),
        (
            "botocore",
            "from resonate_infra.cli.main import main; main(['dev', '--table', 'orders', '--port', '0'])",
            "error: a table needs botocore: pip install 'resonate-serverless[aws,cli]'",
        ),
        (
            "watchfiles",
            "from resonate_infra.cli.main import main; main(['dev', '--port', '0', '--reload', '--lambda', 'a=b:c'])",
            "error: --reload needs watchfiles: pip install 'resonate-serverless[cli]'",
        ),
        (
            "chalice",
            "import functions.api.app",
            "the API function needs chalice: pip install 'resonate-serverless[api]'",
        ),
    ],
    ids=["environment", "command", "server", "reload", "api"],
)
def test_missing_extra_is_named_at_the_end(package: str, program: str, said: str) -> None:
    *_, text = (
        line for line in without(package, program).stderr.splitlines() if not line.startswith("Causes and way out: ")
    )
    assert text.endswith(said)


@pytest.mark.parametrize(
    ("module", "subject"), [("resonate_infra.demo", "the demo"), ("resonate_infra.testing.endpoint", "the endpoint")]
)
@pytest.mark.parametrize("package", ["boto3", "moto", "samtranslator"])
def test_program_of_offline_stack_says_what_to_install(module: str, subject: str, package: str) -> None:
    ran = without(package, f"import runpy; runpy.run_module({module!r}, run_name='__main__')")

    said = f"{subject} needs {package}: pip install 'resonate-serverless[testing,api]'\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", said)


@in_ci
def test_offline_fixture_names_the_missing_extra(tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(OFFLINE)

    ran = without("moto", "import pytest; pytest.main(['-q', '-n0', sys.argv[1]])", test)

    assert "\nthe offline stack needs moto: pip install 'resonate-serverless[testing,api]'\n" in ran.stdout


def test_init_without_pytest_says_what_to_install(tmp_path: Path) -> None:
    ran = without("pytest", "from resonate_infra.cli.main import main; main(['init', sys.argv[1]])", tmp_path / "new")

    assert ran.stderr == "the project's tests need pytest: pip install pytest\n"
    assert (tmp_path / "new" / "app.py").exists()
