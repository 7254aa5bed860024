"""Place of the promises of a command: options and environment."""

from __future__ import annotations

from resonate_infra.server.assembly import Server, ServerOptions
from tests.support import tokens
from tests.support.command_line import CommandLine
from tests.support.dynamo import Table


def test_option_has_priority_over_the_environment(server: Server, table: Table, id: str) -> None:
    both = CommandLine(RESONATE_URL=server.url, RESONATE_TABLE=table.name)
    both.ok("promises", "create", id)  # A table has priority over a server, as with `Resonate()`.

    assert both.run("promises", "get", id, "--table", table.name).code == 0
    assert both.run("promises", "get", id, "--url", server.url).code == 6
    assert CommandLine(RESONATE_URL=server.url).run("promises", "get", id).code == 6


def test_unusable_store_options_are_named(table: Table) -> None:
    code, line = CommandLine(RESONATE_TABLE="nowhere").fails("promises", "get", "x")
    assert code == 7
    assert "there is no table 'nowhere'" in line
    code, line = CommandLine(RESONATE_GROUPS="{").fails("promises", "get", "x", "--table", table.name)
    assert code == 2
    assert "RESONATE_GROUPS" in line


def test_token_is_sent_to_the_server() -> None:
    token = tokens.token(exp=2**40, prefix="mine")
    with Server(ServerOptions(port=0, auth_key=tokens.public("rsa"))).running() as server:
        assert CommandLine().run("promises", "create", "mine.1", "--url", server.url, "--token", token).code == 0
        with_token = CommandLine(RESONATE_URL=server.url, RESONATE_TOKEN=token)
        assert with_token.json("promises", "get", "mine.1")["id"] == "mine.1"
        for command in (
            ("promises", "get", "yours.1"),
            ("promises", "create", "yours.1"),
            ("promises", "search"),
            ("tasks", "get", "yours.1"),
            ("tasks", "search"),
            ("schedules", "get", "yours"),
            ("executions", "list"),
            ("tree", "yours.1"),
            ("tree", "mine.1"),  # It searches.
            ("history", "export", "yours.1"),
            ("history", "export", "mine.1"),
            ("invoke", "yours.2", "--func", "f"),
        ):
            code, line = with_token.fails(*command)
            assert (code, "Forbidden" in line) == (7, True), (command, line)
        code, line = CommandLine(RESONATE_URL=server.url).fails("promises", "get", "mine.1")
        assert code == 7
        assert "Unauthorized" in line
