"""Options of connection and output, before and after the name of a command."""

from __future__ import annotations

import json

from resonate_infra.server.assembly import Server
from tests.support.command_line import CommandLine


def test_common_options_are_accepted_before_the_command(server: Server, over_table: CommandLine, id: str) -> None:
    elsewhere = CommandLine(RESONATE_URL="http://localhost:1")
    elsewhere.ok("--url", server.url, "promises", "create", id)

    assert json.loads(elsewhere.ok("--url", server.url, "--json", "tree", id).out)["id"] == id
    assert elsewhere.json("--url", "http://localhost:2", "tree", id, "--url", server.url)["id"] == id
    assert elsewhere.run("tree", id).code == 7
    assert over_table.ok("invoke", id, "-f", "f").code == 0
    message = "promises are at --url or in --table: give one of both"
    assert over_table.fails("--url", server.url, "--table", "t", "tree", id) == (2, message)
    for command in ("dev", "init"):
        message = f"--json does not belong before {command}: it has options of its own; see resonate --help"
        code, line = elsewhere.fails("--json", command, "x")
        assert (code, message.startswith(line)) == (2, True)
