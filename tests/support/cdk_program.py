"""Program of the AWS CDK with the stack of the deployment, and a stack beside it. Its environment has aws-cdk-lib.

Its arguments are the directory of the build, and that of the output.
"""

import sys

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from resonate_infra.cdk import ResonateStack

build, outdir = sys.argv[1:]
app = cdk.App(outdir=outdir, analytics_reporting=False)
synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
resonate = ResonateStack(app, "resonate", build=build, parameters={"WorkerMemory": "1024"}, synthesizer=synthesizer)
shop = cdk.Stack(app, "shop")
role = iam.Role(shop, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
resonate.grant_start(role)
cdk.CfnOutput(shop, "Layer", value=resonate.layer_arn)
try:
    ResonateStack(app, "wrong", build=build, parameters={"Memory": "1"})
except ValueError as error:
    print(str(error).partition(":")[0])
app.node.try_remove_child("wrong")
app.synth()
