"""Stack for the AWS CDK that is this project's deployment: `template.yaml`, as `sam build` leaves it.

    app = cdk.App()
    resonate = ResonateStack(app, "resonate", build=".aws-sam/build", parameters={"WorkerMemory": "1024"})
    resonate.grant_start(my_function)

The stack has the parameters, resources and outputs of the template under their own names. It keeps the transform of
SAM, which CloudFormation applies. The code of functions and of the layer becomes assets of the CDK.

Needs the extra `cdk`, in an environment of its own, and Node.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk.aws_s3_assets import Asset
from aws_cdk.cloudformation_include import CfnInclude
from constructs import Construct
from samtranslator.plugins.globals.globals_plugin import GlobalsPlugin  # pyright: ignore[reportMissingTypeStubs]
from samtranslator.yaml_helper import yaml_parse  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

_CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
"""The property of a resource that names its code."""
_SECTIONS = (
    "AWSTemplateFormatVersion",
    "Transform",
    "Description",
    "Metadata",
    "Parameters",
    "Mappings",
    "Rules",
    "Conditions",
)
"""The sections that refer to no resource."""


class ResonateStack(cdk.Stack):
    """Stack with a whole deployment.

    Args:
        scope: the application, or a stage of it.
        id: the name of the stack in the application. Names of functions begin with the name of the stack.
        build: the directory that `sam build` has written, with `template.yaml` and the code.
        parameters: values of parameters, which replace their defaults.
        properties: properties of `cdk.Stack`, such as `env` or `stack_name`.

    Raises:
        ValueError: the template does not have a parameter.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        build: str | Path,
        parameters: Mapping[str, str] | None = None,
        **properties: Any,
    ) -> None:
        super().__init__(scope, id, **properties)
        template = Path(build) / "template.yaml"
        content: dict[str, Any] = yaml_parse(template.read_text(encoding="utf-8"))
        GlobalsPlugin().on_before_transform_template(content)  # the CDK has no section for them
        for name, value in (parameters or {}).items():
            if name not in content["Parameters"]:
                known = ", ".join(sorted(content["Parameters"]))
                raise ValueError(f"the template has no parameter {name}: it has {known}")
            content["Parameters"][name]["Default"] = value
        sections = self._sections(content)
        self._resources = {
            name: self._resource(name, resource, template.parent) for name, resource in content["Resources"].items()
        }
        for name, output in content["Outputs"].items():
            self._output(name, output, sections)

    @property
    def worker_function_arn(self) -> str:
        """The ARN of the function that runs workflows. Other stacks may refer to it."""
        return self._attribute("WorkerFunction", "Arn")

    @property
    def layer_arn(self) -> str:
        """The ARN of the layer, for functions with workflows of your own."""
        return self._resources["DependenciesLayer"].ref

    @property
    def table_name(self) -> str:
        """The name of the table of promises that this stack creates, for `RESONATE_TABLE`."""
        return self._resources["PromiseTable"].ref

    @property
    def bucket_name(self) -> str:
        """The name of the bucket of large values that this stack creates, for `RESONATE_BUCKET`."""
        return self._resources["PayloadBucket"].ref

    def grant_start(self, grantee: iam.IGrantable) -> None:
        """Allow a role or function to start executions in the table, and to deliver them to the worker.

        It has the permissions of docs/triggers.md: on the table, the large values, and the worker. A deployment with a
        table or bucket that exists already needs permissions on those instead.

        Args:
            grantee: the role, or what has one.
        """
        table = self._attribute("PromiseTable", "Arn")
        values = f"{self._attribute('PayloadBucket', 'Arn')}/{self.table_name}/*"
        rights = {
            table: ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"],
            values: ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObjectTagging"],
            self.worker_function_arn: ["lambda:InvokeFunction"],
        }
        for resource, actions in rights.items():
            statement = iam.PolicyStatement(actions=actions, resources=[resource])
            grantee.grant_principal.add_to_principal_policy(statement)

    def _sections(self, content: Mapping[str, Any]) -> CfnInclude:
        """Add what is neither a resource nor an output."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "sections.json"
            path.write_text(json.dumps({name: content[name] for name in _SECTIONS}, default=str), encoding="utf-8")
            return CfnInclude(self, "Sections", template_file=str(path))

    def _resource(self, name: str, resource: Mapping[str, Any], directory: Path) -> cdk.CfnResource:
        properties: dict[str, Any] = json.loads(json.dumps(resource.get("Properties", {}), default=str))
        code = _CODE.get(resource["Type"])
        if code is not None:
            asset = Asset(self, f"{name}Code", path=str(directory / properties[code]))
            properties[code] = {"Bucket": asset.s3_bucket_name, "Key": asset.s3_object_key}
        added = cdk.CfnResource(self, name, type=resource["Type"], properties=properties or None)
        added.override_logical_id(name)
        for attribute, value in resource.items():
            if attribute not in ("Type", "Properties"):
                added.add_override(attribute, value)
        return added

    def _output(self, name: str, output: Mapping[str, Any], sections: CfnInclude) -> None:
        value = cdk.Token.as_string(output["Value"])
        added = cdk.CfnOutput(self, f"{name}Output", value=value, description=output.get("Description"))
        added.override_logical_id(name)
        if "Condition" in output:
            added.condition = sections.get_condition(output["Condition"])

    def _attribute(self, resource: str, attribute: str) -> str:
        return self._resources[resource].get_att(attribute).to_string()
