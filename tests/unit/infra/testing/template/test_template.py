from pathlib import Path
from typing import Any

import pytest

from resonate_infra.testing.template.template import (
    ParameterError,
    Resolver,
    Template,
    TemplateError,
    UnresolvedReferenceError,
    UnsupportedIntrinsicError,
    default_template,
    load,
)
from tests.support.shipped_template import ROOT, STACK, shipped

QUEUE = "{Type: AWS::SQS::Queue}"


def read(tmp_path: Path, text: str, **parameters: str | int) -> Template:
    path = tmp_path / "template.yaml"
    path.write_text(f"Transform: AWS::Serverless-2016-10-31\n{text}", encoding="utf-8")
    return load(path, stack=STACK, parameters=parameters)


def resolved(tmp_path: Path, value: str, head: str = "") -> Any:
    """Return the resolved value of a property of a resource. Another resource exists already."""
    template = read(
        tmp_path,
        f"""
Mappings: {{Seconds: {{"1": {{Day: "86400"}}}}}}
{head}
Resources:
  Jobs: {QUEUE}
  Probe:
    Type: AWS::SQS::Queue
    Properties: {{Value: {value}}}
""",
    )
    resolver = Resolver(template)
    resolver.register("Jobs", "https://sqs/jobs", {"Arn": "arn:jobs"})
    [probe] = [resource for resource in template.resources if resource.logical_id == "Probe"]
    return resolver.resolve(probe.properties).get("Value", "nothing")


# --- Intrinsic functions


REFERENCES: list[tuple[str, Any]] = [
    ("!Ref Jobs", "https://sqs/jobs"),
    ("!GetAtt Jobs.Arn", "arn:jobs"),
    ("!Ref AWS::StackName", "shop"),
    ("!Sub '${AWS::Partition}:${AWS::Region}:${AWS::AccountId}:x'", "aws:eu-central-1:111122223333:x"),
    ("!Sub '${Jobs} ${Jobs.Arn} {plain}'", "https://sqs/jobs arn:jobs {plain}"),
    ("!Sub ['${x} ${Jobs.Arn} ${AWS::Region}', {x: !Ref Jobs}]", "https://sqs/jobs arn:jobs eu-central-1"),
    ("!FindInMap [Seconds, !Sub '1', Day]", "86400"),
    ("[!Ref Jobs, {deep: [!GetAtt Jobs.Arn]}, 5, true]", ["https://sqs/jobs", {"deep": ["arn:jobs"]}, 5, True]),
    ("!Ref AWS::NoValue", "nothing"),
    ("[a, !Ref AWS::NoValue]", ["a"]),
]
UNSUPPORTED = {
    "!Join [',', [a, b]]": "Fn::Join",
    "!Select [0, [a]]": "Fn::Select",
    "!Sub ['${x}', y]": "Fn::Sub",
    "!Sub '${!literal}'": "literal",
    "{Condition: Trial}": "Condition",
}
UNRESOLVED = {
    "!Ref Elsewhere": "Elsewhere",
    "!GetAtt Jobs.Color": "Jobs has no attribute Color",
    "!Sub '${Elsewhere.Arn}'": "Elsewhere",
    "!FindInMap [Seconds, '2', Day]": "Seconds has no 2",
    "!If [Unknown, a, b]": "Unknown",
}


def test_references_resolve_to_created_resources(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for value, expected in REFERENCES:
        with subtests.test(value):
            assert resolved(tmp_path, value) == expected


def test_if_chooses_a_value_by_its_condition(tmp_path: Path) -> None:
    for stage, expected in (("live", "big"), ("trial", "small")):
        head = f"""
Parameters: {{Stage: {{Type: String, Default: {stage}}}}}
Conditions: {{Trial: !Not [!Equals [!Ref Stage, live]]}}
"""
        assert resolved(tmp_path, "!If [Trial, small, big]", head) == expected


def test_unsupported_or_unresolved_intrinsic_is_named(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for error, values in ((UnsupportedIntrinsicError, UNSUPPORTED), (UnresolvedReferenceError, UNRESOLVED)):
        for value, named in values.items():
            with subtests.test(value), pytest.raises(error, match=named):
                resolved(tmp_path, value)


# --- Parameters

PARAMETERS = """
Parameters:
  Days: {Type: Number, Default: 7, MinValue: 1, MaxValue: 90}
  Level: {Type: String, Default: INFO, AllowedValues: [INFO, DEBUG]}
  Topic: {Type: String, Default: "", AllowedPattern: "^(arn:.+)?$"}
Resources: {Jobs: {Type: AWS::SQS::Queue}}
"""


def test_parameters_override_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, PARAMETERS).parameters == {"Days": "7", "Level": "INFO", "Topic": ""}
    given = read(tmp_path, PARAMETERS, Days=30, Topic="arn:sns").parameters
    assert given == {"Days": "30", "Level": "INFO", "Topic": "arn:sns"}


def test_parameter_that_cloudformation_refuses_is_refused(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for name, value, named in (
        ("Dayz", 7, "Dayz"),
        ("Days", 0, "from 1 to 90"),
        ("Days", "soon", "not a number"),
        ("Level", "LOUD", "INFO, DEBUG"),
        ("Topic", "sns", "AllowedPattern"),
    ):
        with subtests.test(name, value=value), pytest.raises(ParameterError, match=named):
            read(tmp_path, PARAMETERS, **{name: value})


def test_allowed_pattern_matches_as_in_java(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for pattern, matching, refused in (
        ("^(arn:.+)?$", "arn:x", "arn:x\ny"),
        ("^(arn:.+)?$", "", "arn:x\r"),
        (r"^[\s\S]*$", "a\nb\u2028c", None),
        (r"^\.[.]$", "..", ".\n"),
        ("a", "a", "ab"),
        (r"\s", "\t", "\u00a0"),
    ):
        with subtests.test(pattern, refused=refused):
            text = PARAMETERS.replace('"^(arn:.+)?$"', f"'{pattern}'").replace('Default: ""', "Default: 'a'")
            assert read(tmp_path, text, Topic=matching).parameters["Topic"] == matching
            if refused is not None:
                with pytest.raises(ParameterError, match="AllowedPattern"):
                    read(tmp_path, text, Topic=refused)


def test_parameter_without_default_needs_a_value(tmp_path: Path) -> None:
    text = PARAMETERS.replace("Default: 7, ", "")
    with pytest.raises(ParameterError, match="Days"):
        read(tmp_path, text)
    assert read(tmp_path, text, Days=1).parameters["Days"] == "1"


def test_unsupported_parameter_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="CommaDelimitedList"):
        read(tmp_path, PARAMETERS.replace("Type: Number", "Type: CommaDelimitedList"))


# --- Resources


def test_resources_are_ordered_after_their_references(tmp_path: Path) -> None:
    template = read(
        tmp_path,
        f"""
Resources:
  Last: {{Type: AWS::SQS::Queue, Properties: {{Value: !Sub "${{Middle.Arn}}"}}}}
  Middle: {{Type: AWS::SQS::Queue, Properties: {{Deep: [{{Value: !GetAtt First.Arn}}]}}}}
  First: {QUEUE}
""",
    )
    assert [resource.logical_id for resource in template.resources] == ["First", "Middle", "Last"]


def test_circular_dependency_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"One -> Two -> One|Two -> One -> Two"):
        read(
            tmp_path,
            """
Resources:
  One: {Type: AWS::SQS::Queue, Properties: {Value: !Ref Two}}
  Two: {Type: AWS::SQS::Queue, Properties: {Value: !GetAtt One.Arn}}
""",
        )


def test_unsupported_resource_attribute_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"Jobs.*UpdatePolicy"):
        read(tmp_path, "Resources: {Jobs: {Type: AWS::SQS::Queue, UpdatePolicy: {}}}")


def test_resource_is_created_after_the_one_it_depends_on(tmp_path: Path) -> None:
    template = read(tmp_path, "Resources: {A: {Type: AWS::SQS::Queue, DependsOn: B}, B: {Type: AWS::SQS::Queue}}")
    assert [each.logical_id for each in template.resources] == ["B", "A"]


def test_conditions_combine_conditions(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for condition, expected in {
        "!And [!Condition IsUp, !Condition IsDown]": False,
        "!Or [!Condition IsUp, !Condition IsDown]": True,
        "!And [!Condition IsUp, !Not [!Condition IsDown]]": True,
        "!Or [!Condition IsDown, !Equals [a, b]]": False,
    }.items():
        with subtests.test(condition):
            template = read(
                tmp_path,
                f"""
Conditions:
  IsUp: !Equals [a, a]
  IsDown: !Not [!Condition IsUp]
  Asked: {condition}
Resources: {{Jobs: {{Type: AWS::SQS::Queue, Condition: Asked}}}}
""",
            )
            [jobs] = template.resources
            assert jobs.condition == "Asked"
            assert Resolver(template).condition("Asked") is expected


def test_code_directory_of_a_function_is_its_folder() -> None:
    directories = shipped().code_directories
    assert (directories["WorkerFunction"], directories["DependenciesLayer"]) == (
        ROOT / "functions/worker",
        ROOT / "layer",
    )


def test_load_needs_no_region_and_logs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert load(ROOT / "template.yaml", stack=STACK).resources
    assert caplog.records == []


def test_default_template_is_one_that_creates_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_template() == ROOT / "template.yaml"
    here = tmp_path / "template.yaml"
    here.write_text((ROOT / "infra/resonate_infra/project/worker/template.yaml").read_text(encoding="utf-8"))
    assert default_template() == ROOT / "template.yaml", "the template of a project has no table"
    here.write_text((ROOT / "template.yaml").read_text(encoding="utf-8"))
    assert default_template().resolve() == here
